"""What a cancel would do: computed by what carries it out, and written nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain import access, steps
from shared.domain.clock import Clock, iso, system_clock
from shared.domain.purchase import Purchase, Removal, When
from shared.showing.presentation import Context, products_json
from shared.showing.reader import Reader
from shared.storage.items import Record
from shared.storage.keys import invoice_key
from shared.storage.telegram_users import TelegramUsers
from shared.tenant import Tenant, account_of


@dataclass(frozen=True, slots=True)
class Other:
    """Another purchase of a Telegram user who may leave.

    Attributes:
        account: where it is kept; it may be another customer's.
        chats: the ids that its chats have now.
    """

    account: str
    purchase: Purchase
    chats: frozenset[str]


@dataclass(frozen=True, slots=True)
class Known:
    """What the chats of a preview are told by.

    Attributes:
        context: of the purchase as it will have ended.
        others: by Telegram user.
        names: how each of the others is called, by its id.
    """

    context: Context
    others: Mapping[str, list[Other]]
    names: Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Previews:
    """Computes previews."""

    reader: Reader
    users: TelegramUsers
    clock: Clock = system_clock

    def of(self, tenant: Tenant, customer_id: str, purchase_id: str) -> dict[str, Any]:
        """What each way to cancel a purchase would do.

        Raises:
            NotFound: there is no such purchase of this customer.
        """
        record = self.reader.customers.purchase(tenant, customer_id, purchase_id)
        purchase, now = record.purchase, int(self.clock())
        if not purchase.cancel_options:
            return {"options": []}
        ended = steps.after_cancel(purchase, now)
        context = self.reader.context(tenant, [ended])[purchase_id]
        open_invoice = self._open_invoice(tenant, record)
        leaving = {
            when: self._leaving(purchase, context, _end(purchase, when, now))
            for when in purchase.cancel_options
        }
        users = {r.telegram_user_id for removals in leaving.values() for r in removals}
        others = {user: self._others(tenant, user, purchase) for user in sorted(users)}
        known = Known(
            context,
            others,
            self._names(tenant, [other for found in others.values() for other in found]),
        )
        return {
            "options": [
                {
                    "when": when,
                    "ends_at": None if when == "immediately" else iso(_end(purchase, when, now)),
                    "no_op": when == "period_end" and purchase.ends_with_period,
                    "charges": _charges(purchase, when, open_invoice),
                    "chats": _chats(purchase, known, leaving[when], _end(purchase, when, now)),
                }
                for when in purchase.cancel_options
            ]
        }

    def _leaving(self, purchase: Purchase, context: Context, at: int) -> list[Removal]:
        """Who would be taken out of which chats, as the cancel plans it."""
        ended = steps.after_cancel(purchase, at)
        planned = steps.plan(ended, access.leaving(ended, context.products), now=at)
        outstanding = (r for r in planned.removals.values() if r.state in ("revoking", "failed"))
        return sorted(outstanding, key=lambda removal: removal.key)

    def _others(self, tenant: Tenant, user: str, purchase: Purchase) -> list[Other]:
        found = [
            (account, other)
            for account, other in self.users.purchases_with_accounts(tenant, user)
            if other.purchase_id != purchase.purchase_id and other.is_live
        ]
        contexts = self.reader.context(tenant, [other for _, other in found])
        return [
            Other(account, other, _current(access.chats_opened(other, context.products), context))
            for account, other in found
            for context in [contexts[other.purchase_id]]
        ]

    def _names(self, tenant: Tenant, others: list[Other]) -> dict[str, dict[str, Any]]:
        """How each of these purchases is called, by its id."""
        customers = self.reader.customers.of_accounts(tenant, {other.account for other in others})
        contexts = self.reader.context(tenant, [other.purchase for other in others])
        names = {}
        for other in others:
            purchase_id, customer = other.purchase.purchase_id, customers.get(other.account)
            products = products_json(other.purchase, contexts[purchase_id].products)
            names[purchase_id] = {
                "customer_id": None if customer is None else customer.customer_id,
                "purchase_id": purchase_id,
                "product": products[0] if products else None,
            }
        return names

    def _open_invoice(self, tenant: Tenant, record: Record) -> dict[str, Any] | None:
        """What is still to be paid of the newest invoice, where it is open."""
        invoice_id = record.purchase.data("subscription").get("latest_invoice")
        if invoice_id is None:
            return None
        key = invoice_key(tenant, account_of(record.key.pk), invoice_id)
        stored = self.reader.records.get(key)
        invoice = {} if stored is None else stored.sources["invoice"].data
        if invoice.get("status") != "open" or not invoice.get("remaining"):
            return None
        return {"amount": invoice["remaining"], "currency": invoice["remaining_currency"]}


def _end(purchase: Purchase, when: When, now: int) -> int:
    """When the purchase would end, seconds since the epoch."""
    if when == "immediately":
        return now
    period_end = purchase.data("subscription").get("current_period_end")
    return min(at for at in (purchase.cancel_at, period_end, None if period_end else now) if at)


def _charges(
    purchase: Purchase, when: When, open_invoice: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "text_code": _text_code(purchase, when),
        "open_invoice": open_invoice,
        "collection_continues": when == "period_end" and open_invoice is not None,
    }


def _text_code(purchase: Purchase, when: When) -> str:
    """What becomes of the charges, as a stable code; the API's document lists them."""
    if purchase.kind != "subscription":
        return "nothing_to_charge"
    intent = purchase.own.intent
    if when == "period_end":
        trial = purchase.stripe_status == "trialing"
        return "never_charged" if trial else "no_charges_after_period"
    if intent is not None and intent.phase == "refused" and intent.can_end_without_stripe:
        return "charges_may_continue" if intent.charges_may_continue else "ends_without_stripe"
    return "no_further_charges"


def _chats(
    purchase: Purchase, known: Known, leaving: Iterable[Removal], at: int
) -> list[dict[str, Any]]:
    context = known.context
    if purchase.telegram_user_id is None:
        opened = access.chats_opened(purchase, context.products)
        rows = [_chat(chat, "not_linked", None, context) for chat in sorted(opened)]
    else:
        rows = []
    for removal in leaving:
        chat, user = removal.chat_id, removal.telegram_user_id
        standing = context.standings.get(chat)
        if standing is not None and not standing.usable:
            rows.append(_chat(chat, "cannot", standing.reason, context))
            continue
        if removal.state == "failed":
            # It failed before, and a cancel doesn't try it again.
            rows.append(_chat(chat, "cannot", removal.reason, context))
            continue
        current = chat if standing is None else standing.current_id
        keeper = next(
            (
                other
                for other in known.others[user]
                if current in other.chats and access.may_keep(other.purchase, user, purchase, at)
            ),
            None,
        )
        if keeper is None:
            rows.append(_chat(chat, "leaves", None, context))
        else:
            rows.append(_chat(chat, "keeps", known.names[keeper.purchase.purchase_id], context))
    return rows


def _chat(chat_id: str, effect: str, because: Any, context: Context) -> dict[str, Any]:
    standing = context.standings.get(chat_id)
    title = None if standing is None else standing.title
    return {"chat_id": chat_id, "title": title, "effect": effect, "because": because}


def _current(chats: Iterable[str], context: Context) -> frozenset[str]:
    standings = context.standings
    return frozenset(standings[chat].current_id if chat in standings else chat for chat in chats)
