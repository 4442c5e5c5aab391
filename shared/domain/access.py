"""Which chats a purchase opens for whom, and which ones it opened and doesn't any more. Pure.

A purchase *opens* a chat for a Telegram user while it is live, the user is linked to it, and one
of its products opens the chat. It *opened* the chat where all three held at the same moment of its
life (:attr:`Purchase.holdings`). A user leaves a chat that this purchase opened and doesn't open
any more; that another purchase still opens it is looked at when somebody is removed.

What a product opened before a purchase began, or after it ended, is no business of that purchase.
A product whose chats are edited removes nobody by itself: while a purchase holds the product, what
the product no longer opens is left alone; when the purchase ends or switches, it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.domain.purchase import Lost, Purchase, lost_at
from shared.domain.timeline import Span, Timeline


@dataclass(frozen=True, slots=True)
class Product:
    """A product as far as access goes.

    Attributes:
        chats: the chats it opens now, ids as they were given.
        timelines: the chats it opened over time, as each source told.
    """

    product_id: str
    name: str | None = None
    chats: frozenset[str] = frozenset()
    timelines: tuple[Timeline, ...] = ()

    @property
    def ever_opened_a_chat(self) -> bool:
        told = (span.value for timeline in self.timelines for span in timeline.spans())
        return bool(self.chats) or any(told)


Products = Mapping[str, Product]
Access = tuple[str, str]
"""A chat, as its product names it, and a Telegram user."""


def products_of(purchase: Purchase, products: Products) -> tuple[str, ...]:
    """The products that count: of a subscription its items, and the one that metadata names only
    where no item's product names a chat. Prices made for one checkout have throwaway products."""
    named = purchase.named_product
    if purchase.kind != "subscription" or named is None:
        return purchase.product_ids
    if any(_chats_now(products, item) for item in purchase.item_products):
        return purchase.item_products
    return (named,)


def chats_opened(purchase: Purchase, products: Products) -> frozenset[str]:
    """The chats its products open now, whether or not it is live."""
    counted = products_of(purchase, products)
    return frozenset(chat for product in counted for chat in _chats_now(products, product))


def opens(purchase: Purchase, products: Products) -> frozenset[Access]:
    """What the purchase opens now, and for whom."""
    user = purchase.telegram_user_id
    if not purchase.is_live or user is None:
        return frozenset()
    return frozenset((chat, user) for chat in chats_opened(purchase, products))


def leaving(purchase: Purchase, products: Products) -> dict[Access, Lost]:
    """What the purchase opened for somebody and doesn't any more, and when that was lost."""
    if not purchase.lost or purchase.life is None:
        return {}
    end = purchase.life[1]
    found: dict[Access, list[Span]] = {}
    for user, product_id in purchase.lost:
        held = purchase.holdings[user, product_id]
        if product_id in products and _counted(purchase, product_id, held, products):
            for chat, spans in _opened_while(held, products[product_id]).items():
                found.setdefault((chat, user), []).extend(spans)
    still = opens(purchase, products)
    return {
        access: lost_at(tuple(spans), end) for access, spans in found.items() if access not in still
    }


def may_keep(other: Purchase, user: str, ended: Purchase, at: float) -> bool:
    """Whether another purchase may keep a user in a chat that an ended one opened.

    A test purchase keeps nobody against the end of a live one.

    Args:
        at: when the user would leave.
    """
    return (
        other.gives_access_at(at)
        and other.telegram_user_id == user
        and (other.livemode or not ended.livemode)
    )


def _chats_now(products: Products, product_id: str) -> frozenset[str]:
    return products[product_id].chats if product_id in products else frozenset()


def _counted(purchase: Purchase, product_id: str, held: Iterable[Span], products: Products) -> bool:
    """Whether a product was more than a name in metadata beside items that open chats."""
    if purchase.kind != "subscription" or product_id != purchase.named_product:
        return True
    items = purchase.items_ever
    if product_id in items:
        return True
    rivals = {
        other: spans
        for (_, other), spans in purchase.holdings.items()
        if other in items and other in products
    }
    return not any(
        _opened_while(_common(held, spans), products[other]) for other, spans in rivals.items()
    )


def _opened_while(held: Iterable[Span], product: Product) -> dict[str, list[Span]]:
    """The chats a product opened in these stretches of time, and when."""
    found: dict[str, list[Span]] = {}
    for stretch in held:
        for timeline in product.timelines:
            for told in timeline.spans():
                first, last = max(stretch.start, told.start), min(stretch.end, told.end)
                if first <= last:
                    for chat in told.value:
                        found.setdefault(chat, []).append(Span(first, last, chat))
    return found


def _common(some: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    others = list(others)
    return [
        Span(max(one.start, other.start), min(one.end, other.end), one.value)
        for one in some
        for other in others
        if max(one.start, other.start) <= min(one.end, other.end)
    ]
