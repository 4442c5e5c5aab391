"""One object of a list of Stripe's, stored as if an event had told of it.

The backfill reads whole lists this way, and :mod:`shared.ending.catch_up` those of one buyer. Every
object is given to the function that an event of such an object is given to
(:data:`shared.stripe_events.events.HANDLERS`); only what is stored comes from a fetch, which never
lowers a version and never overwrites what a newer event said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.domain import stripe_objects as of
from shared.domain.merge import Fetched, Observation
from shared.domain.stripe_objects import Raw
from shared.domain.transaction import transaction_id_of
from shared.storage.keys import Key, transaction_key
from shared.storage.records import Outcome
from shared.stripe_events import events
from shared.stripe_events.context import Context


@dataclass(frozen=True)
class Listed(Context):
    """An object of a list, on its way into one store's records as if an event had told of it.

    Attributes:
        asked_at: when the list was asked for, seconds since the epoch by our clock.
    """

    asked_at: int = 0

    def _observe(self, key: Key, seen: Observation, fetch: Callable[[], Fetched | None]) -> Outcome:
        ids = of.users_of(seen.data) if key.kind == "PURCHASE" else frozenset[str]()
        fetched = Fetched(seen.source, seen.data, self.asked_at, terminal=seen.terminal)
        return self.services.records.refresh(key, fetched, ids, again=fetch)


def on_product(listed: Listed) -> None:
    services = listed.services
    services.products.fetch(listed.tenant, listed.raw["id"], listed.event.livemode)


def on_customer(listed: Listed) -> None:
    """The customer, and what Stripe lists by customer only: methods, older cards, the balance."""
    events.on_customer(listed)
    customer, stripe = listed.raw["id"], listed.services.stripe
    below = f"customers/{customer}"
    for raw in stripe.list_all(f"{below}/payment_methods", listed.mode):
        events.on_payment_method(_beside(listed, raw))
    # The first ten come with the customer.
    sources = listed.raw.get("sources") or {"data": [], "has_more": False}
    more = stripe.list_all(f"{below}/sources", listed.mode) if sources["has_more"] else None
    for raw in more or sources["data"]:
        events.on_source(_beside(listed, raw))
    for raw in stripe.list_balance_transactions(customer, listed.mode):
        on_balance_transaction(_beside(listed, raw), customer)


def on_balance_transaction(listed: Listed, customer: str) -> None:
    data = of.balance_transaction(listed.raw)
    transaction_id = transaction_id_of(data["id"])
    key = transaction_key(listed.tenant, customer, data["created_at"], transaction_id)
    listed.state(key, "balance", data)


def on_session(listed: Listed) -> None:
    if not code_has_run_out(listed):
        _on_session(listed)


def on_session_of_code_that_ran_out(listed: Listed) -> None:
    if code_has_run_out(listed):
        _on_session(listed)


def _on_session(listed: Listed) -> None:
    raw = listed.raw
    intent = raw.get("payment_intent") or {}
    if raw["status"] == "expired":
        events.on_session_expired(listed)
    elif raw["status"] != "complete":
        return
    elif raw["payment_status"] == "unpaid" and intent.get("status") in _NOT_PAID:
        events.on_session_failed_later(listed)
    else:
        events.on_session_completed(listed)


_NOT_PAID = ("requires_payment_method", "canceled")


def code_has_run_out(listed: Listed) -> bool:
    """Whether a session redeemed an access code whose term is over: then it ends access."""
    if not (listed.raw.get("metadata") or {}).get("access_code"):
        return False
    expires_at = of.session(listed.raw)["access_expires_at"]
    return expires_at is not None and expires_at <= listed.services.clock()


def on_payment_intent(listed: Listed) -> None:
    raw = listed.raw
    failed = of.payment_intent(raw)["failed"]
    if failed or raw["status"] in ("processing", "succeeded", "canceled"):
        events.on_payment_intent(listed)


def on_charge(listed: Listed) -> None:
    """Of the charges of one PaymentIntent the latest says how its purchase stands."""
    raw = listed.raw
    intent = raw.get("payment_intent")
    latest = of.id_of(intent.get("latest_charge")) if isinstance(intent, dict) else None
    superseded = raw["status"] == "failed" and latest not in (None, raw["id"])
    kind = "charge.updated" if superseded else "charge.succeeded"
    events.on_charge(replace(listed, event=replace(listed.event, type=kind)))


def on_invoice(listed: Listed) -> None:
    if listed.raw["status"] != "draft":
        events.on_invoice(listed)


def on_invoice_payment(listed: Listed) -> None:
    if listed.raw["status"] == "paid":
        events.on_invoice_payment(listed)


def _beside(listed: Listed, raw: Raw) -> Listed:
    return replace(listed, event=replace(listed.event, object=raw))
