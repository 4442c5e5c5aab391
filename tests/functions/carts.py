"""Purchases of several products, as buyers make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from standins.stripe import StripeAccount

USER = 53
FIRST_CHAT = -1001000001003


@dataclass(frozen=True)
class Sold:
    """What was sold.

    Attributes:
        products: of each purchase, by its id; in the order of the items.
        status: of each purchase, by its id.
    """

    products: Mapping[str, Sequence[str]]
    status: Mapping[str, str]


def made(shop: StripeAccount, number: int) -> list[str]:
    """New products; each opens a chat of its own."""
    return [
        shop.create_product(name=f"Channel {n}", telegram_chat_ids=str(FIRST_CHAT - n))["id"]
        for n in range(number)
    ]


def two_in_one_payment(shop: StripeAccount) -> Sold:
    return _cart(shop, made(shop, 2))


def one_product_twice(shop: StripeAccount) -> Sold:
    one, other = made(shop, 2)
    return _cart(shop, [one, other, one])


def more_than_a_page_of_line_items(shop: StripeAccount) -> Sold:
    return _cart(shop, made(shop, 102))


def paid_by_bank_debit(shop: StripeAccount) -> Sold:
    products = made(shop, 2)
    session = shop.buy_one_off_async(
        product=products[0],
        more_products=products[1:],
        product_in_metadata=False,
        telegram_user_id=USER,
        settle=True,
    )
    intent = session["payment_intent"]
    return Sold({intent: products}, {intent: "active"})


def subscription_of_twelve(shop: StripeAccount) -> Sold:
    """The last item's period ends first."""
    products = made(shop, 12)
    bought = shop.subscribe(
        product=products[0], more_products=products[1:], telegram_user_id=USER, checkout=False
    )
    return Sold({bought["id"]: products}, {bought["id"]: "active"})


def one_time_items_beside_a_subscription(shop: StripeAccount) -> Sold:
    product, *once = made(shop, 3)
    bought = shop.subscribe(product=product, one_time_products=once, telegram_user_id=USER)
    return _beside(shop, bought["id"], product, once, "active")


def one_time_item_beside_a_subscription_that_ended(shop: StripeAccount) -> Sold:
    product, once = made(shop, 2)
    bought = shop.subscribe(product=product, one_time_products=[once], telegram_user_id=USER)
    shop.cancel_subscription(bought["id"])
    return _beside(shop, bought["id"], product, [once], "cancelled")


def one_time_item_beside_a_trial(shop: StripeAccount) -> Sold:
    product, once = made(shop, 2)
    bought = shop.subscribe(
        product=product, one_time_products=[once], telegram_user_id=USER, trial_days=7
    )
    return _beside(shop, bought["id"], product, [once], "trialing")


def _cart(shop: StripeAccount, lines: Sequence[str]) -> Sold:
    session = shop.buy_one_off(
        product=lines[0],
        more_products=lines[1:],
        product_in_metadata=False,
        telegram_user_id=USER,
    )
    intent = session["payment_intent"]
    return Sold({intent: list(dict.fromkeys(lines))}, {intent: "active"})


def _beside(
    shop: StripeAccount, subscription: str, product: str, once: Sequence[str], status: str
) -> Sold:
    (session,) = (s["id"] for s in shop.all("checkout.session"))
    return Sold({subscription: [product], session: once}, {subscription: status, session: "active"})


CARTS: list[Callable[[StripeAccount], Sold]] = [
    two_in_one_payment,
    one_product_twice,
    more_than_a_page_of_line_items,
    paid_by_bank_debit,
    subscription_of_twelve,
    one_time_items_beside_a_subscription,
    one_time_item_beside_a_subscription_that_ended,
    one_time_item_beside_a_trial,
]
