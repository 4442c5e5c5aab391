"""What follows from each of Stripe's events.

:data:`HANDLERS` is the table: an event's type, the function that applies it, its stage within one
second, and why we listen to it. Each function says what the event tells of which record
(:meth:`Context.observe`) and then lets the rest follow (:meth:`Context.settle`): the customer
list, and whatever a purchase now needs. Order, duplicates and ties are decided in
:mod:`shared.domain.merge`, so no function here knows what came before.

Every function may be stopped after any write and run again from its start: each write is
conditional on what is stored, and what follows is done again as long as a record is marked for it.

Where a record is kept is decided by the payload alone: with its ``customer``, and with
``guest:{payment}`` where a payment has none (see :mod:`shared.stripe_events.guests`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from shared.domain import stripe_objects as of
from shared.domain import well_formed
from shared.domain.customer import is_guest
from shared.domain.merge import Fetched, Observation
from shared.domain.purchase import ENDED_SUBSCRIPTION
from shared.domain.stripe_objects import Raw
from shared.domain.timeline import UNTOLD
from shared.domain.transaction import transaction_id_of
from shared.integrations.stripe_gateway import (
    StripeMissing,
    StripeRefusal,
    SubscriptionRef,
)
from shared.storage.items import Record
from shared.storage.keys import (
    Key,
    invoice_key,
    method_key,
    payment_link_key,
    profile_key,
    purchase_key,
    transaction_key,
)
from shared.storage.records import Outcome
from shared.stripe_events.context import (
    Context,
    Normalise,
    Services,
    charge_key,
    customer_of,
    payer_of,
    purchase_of,
)
from shared.stripe_events.event import Event, Unappliable
from shared.tenant import Tenant, account_of


def apply(event: Event, tenant: Tenant, services: Services) -> None:
    """Apply an event of a known type to a store's records.

    Raises:
        Unappliable, or ``KeyError``, ``TypeError``, ``ValueError``, ``AttributeError``: it never
            can be.
        StripeUnavailable, TryAgainLater, botocore's errors: it may be later.
    """
    row = HANDLERS[event.type]
    row.handle(Context(event, tenant, services, row.stage))


# -- customers ------------------------------------------------------------------------------------


def on_customer(context: Context) -> None:
    account = context.raw["id"]
    _observe_customer(context, account, of.customer)
    balance = context.raw.get("balance")
    begins_with_one = context.event.type == "customer.created" and balance != 0
    # No event of its own tells of a balance that changed: the list of changes does.
    if type(balance) is int and ("balance" in context.event.previous or begins_with_one):
        _store_balance_changes(context, account)


def on_customer_deleted(context: Context) -> None:
    account = context.raw["id"]
    known: Raw = {}
    if "email" not in context.raw:
        record = context.services.records.get(profile_key(context.tenant, account))
        known = dict(record.sources["customer"].data) if record and record.sources else {}
    _observe_customer(context, account, lambda raw: {**of.customer(raw), **known, "deleted": True})


def _observe_customer(context: Context, account: str, normalise: Normalise) -> None:
    outcome = context.observe(
        profile_key(context.tenant, account),
        "customer",
        normalise,
        fetch=lambda: context.retrieve("customers", account),
        terminal=lambda data: data["deleted"],
    )
    context.settle(account, outcome)


def _store_balance_changes(context: Context, customer: str) -> None:
    """Store the changes of a customer's balance that aren't stored yet, the oldest first.

    Where one is stored, all before it are: the list is read back to there only. A customer who is
    gone meanwhile has no list.
    """
    records = context.services.records
    news: list[tuple[Key, Raw]] = []
    with contextlib.suppress(StripeMissing):
        for raw in context.services.stripe.list_balance_transactions(customer, context.mode):
            data = of.balance_transaction(raw)
            transaction_id = transaction_id_of(data["id"])
            key = transaction_key(context.tenant, customer, data["created_at"], transaction_id)
            if records.get(key) is not None:
                break
            news.append((key, data))
    for key, data in reversed(news):
        context.state(key, "balance", data)


# -- subscriptions --------------------------------------------------------------------------------


def on_subscription(context: Context) -> None:
    context = _with_all_items(context)
    account, subscription_id = customer_of(context.raw), context.raw["id"]
    outcome = context.observe(
        purchase_key(context.tenant, account, subscription_id),
        "subscription",
        of.subscription,
        fetch=lambda: _retrieve_subscription(context, subscription_id),
        terminal=lambda data: data["status"] in ENDED_SUBSCRIPTION,
    )
    context.settle(account, outcome, *_tell_one_time_items(context, account, outcome))


def _retrieve_subscription(context: Context, subscription_id: str) -> Raw:
    ref = SubscriptionRef(subscription_id, context.event.livemode, context.event.account)
    return context.services.stripe.retrieve_subscription(ref)


def _with_all_items(context: Context) -> Context:
    """Events, like lists, hold the first ten items of a subscription; the others are asked for.

    They are told as they are now. So is the rest of what was before the event: nothing says what
    the eleventh item was, and an item that was taken off is in what was stored before.
    """
    raw, before = context.raw, context.event.before
    items = raw["items"]["data"]
    if of.lacks_items(raw):
        items = context.services.stripe.list_items(raw, context.mode)
        raw = of.with_items(raw, items)
    if before is not None and of.lacks_items(before):
        before = of.with_items(before, items)
    if raw is context.raw and before is context.event.before:
        return context
    return replace(context, event=replace(context.event, object=raw, before=before))


def _tell_one_time_items(context: Context, account: str, outcome: Outcome) -> list[Outcome]:
    """Tell what was sold once in a subscription's checkout who the buyer is.

    Whoever is linked to the subscription is linked to it. An outcome without a record changed no
    link.
    """
    if outcome.record is None or "session" not in outcome.record.sources:
        return []
    session = outcome.record.sources["session"].data
    if not session.get("sold_once"):
        return []
    return [
        context.observe(
            purchase_key(context.tenant, account, session["id"]),
            "beside",
            of.buyer_of_subscription,
            fetch=lambda: _retrieve_subscription(context, context.raw["id"]),
        )
    ]


# -- one-off purchases ----------------------------------------------------------------------------


def on_session_completed(context: Context) -> None:
    _on_session(context, "completed")


def on_session_paid_later(context: Context) -> None:
    # As if it had been paid at once: what Stripe's API tells of it afterwards is the same too.
    _on_session(context, "completed")


def on_session_failed_later(context: Context) -> None:
    _on_session(context, "failed")


def on_session_expired(context: Context) -> None:
    if context.raw.get("payment_intent") or context.raw.get("subscription"):
        _on_session(context, "expired")


def _on_session(context: Context, outcome: str) -> None:
    mode = context.raw["mode"]
    if mode == "payment":
        _on_payment_session(context, outcome)
    elif mode == "subscription" and context.raw.get("subscription"):
        _on_subscription_session(context, outcome)


def _on_payment_session(context: Context, outcome: str) -> None:
    raw, account = context.raw, payer_of(context.raw)
    key = purchase_of(context.tenant, account, raw)
    payer = _payer_of_session(context)
    products = cache(lambda: _products_of_line_items(context, key))

    def normalise(raw: Mapping[str, Any]) -> Raw:
        data = of.session(raw, outcome)
        return data if data["product_id"] is not None else {**data, "products": products()}

    stored = _observe_session(context, key, normalise)
    stored = _ask_for_payment(context, key, stored)
    context.settle(account, stored, *_tell_payer(context, account, payer))
    if "expiry_not_understood" in of.session(raw, outcome):
        raise Unappliable("its date of expiry is not understood")


def _payer_of_session(context: Context) -> Raw | None:
    """What a checkout was told of its buyer.

    Raises:
        ValueError and the like: it is malformed.
    """
    raw = context.raw
    payer = of.payer(raw.get("customer_details"), raw["created"])
    well_formed.check(payer or {})
    return payer


def _tell_payer(context: Context, account: str, payer: Raw | None) -> list[Outcome]:
    """Store it: it is all there is of a guest, and counts where a Stripe customer has no name."""
    if payer is None:
        return []
    key = profile_key(context.tenant, account)
    if is_guest(account):
        return [context.state(key, "guest", payer)]
    # The last checkout counts, whichever is told last.
    at, by = context.raw["created"], context.raw["id"]
    return [context.state_once(key, "checkout", payer, at=at, by=by)]


def _ask_for_payment(context: Context, key: Key, session: Outcome) -> Outcome:
    """Ask how a payment stands that a session leaves open: collected by hand, or by a bank.

    The payment's own events need not have our metadata, so that those before this one were not
    stored. Later ones find the purchase.
    """
    intent_id = of.id_of(context.raw.get("payment_intent"))
    if context.raw["payment_status"] != "unpaid" or intent_id is None or session.record is None:
        return session
    if "payment_intent" in session.record.sources:
        return session
    asked_at = int(context.services.clock())
    try:
        intent = of.payment_intent(context.retrieve("payment_intents", intent_id))
    except (StripeMissing, StripeRefusal):
        return session
    fetched = Fetched("payment_intent", intent, asked_at)
    asked = context.services.records.refresh(key, fetched, of.users_of(intent))
    return replace(asked, facts_changed=asked.facts_changed or session.facts_changed)


def _on_subscription_session(context: Context, outcome: str) -> None:
    """A session tells of its subscription, and of what was sold once in the same checkout.

    The latter is a purchase of its own, by the session's id: it isn't billed again, and goes on
    when the subscription ends.
    """
    raw, account = context.raw, customer_of(context.raw)
    payer = _payer_of_session(context)
    subscription_id = of.id_of(raw["subscription"]) or ""
    key = purchase_key(context.tenant, account, subscription_id)
    sold = None if outcome == "expired" else _products_sold_beside(context, account, key)

    def of_subscription(raw: Mapping[str, Any]) -> Raw:
        data = of.session(raw, outcome)
        return data if sold is None else {**data, "sold_once": bool(sold)}

    stored = _observe_session(context, key, of_subscription)
    told = _tell_payer(context, account, payer)
    if not sold:
        context.settle(account, stored, *told)
        return
    own_key = purchase_key(context.tenant, account, raw["id"])
    own = _observe_session(
        context, own_key, lambda raw: of.session_of_one_time_items(raw, sold, outcome)
    )
    known = stored.record or context.services.records.get(key)
    buyer = [] if known is None else _repeat_buyer(context, own_key, known)
    context.settle(account, stored, own, *buyer, *told)


def _repeat_buyer(context: Context, key: Key, subscription: Record) -> list[Outcome]:
    """Tell what was sold once what was said of the subscription's buyer before it was known that
    there is anybody to tell; later events tell it themselves."""
    records, subscription_id = context.services.records, subscription.purchase.purchase_id
    outcomes = []
    for point in subscription.purchase.timeline("subscription").points:
        data = {"id": subscription_id, "telegram_user_id": point.value.get("user")}
        before = None if point.before is UNTOLD else point.before.get("user")
        if point.is_fetched:
            fetched = Fetched("beside", data, point.at)
            outcomes.append(records.refresh(key, fetched, of.users_of(data)))
            continue
        seen = Observation(
            source="beside",
            data=data,
            created_at=point.at,
            event_id=point.event_id,
            previous=None if point.before is UNTOLD else {**data, "telegram_user_id": before},
            rank=point.stage,
        )
        fetch = partial(_fetch_buyer, context, subscription_id)
        outcomes.append(records.observe(key, seen, fetch=fetch, ids=of.users_of(data)))
    return outcomes


def _fetch_buyer(context: Context, subscription_id: str) -> Fetched | None:
    asked_at = int(context.services.clock())
    try:
        data = of.buyer_of_subscription(_retrieve_subscription(context, subscription_id))
    except StripeMissing:
        return None
    return Fetched("beside", data, asked_at)


def _observe_session(context: Context, key: Key, normalise: Normalise) -> Outcome:
    session_id = context.raw["id"]
    return context.observe(
        key, "session", normalise, fetch=lambda: context.retrieve("checkout/sessions", session_id)
    )


def _products_of_line_items(context: Context, key: Key) -> list[str]:
    """What a session without a product in its metadata sold: asked once, it never changes."""
    record = context.services.records.get(key)
    if record is not None and "session" in record.sources:
        known: list[str] = record.sources["session"].data.get("products") or []
        if known:
            return known
    return _ask_for_products(context) or []


def _products_sold_beside(context: Context, account: str, subscription: Key) -> list[str] | None:
    """What a subscription's session sold once: asked once. ``None``: Stripe doesn't tell.

    The session itself doesn't say whether there is any: its total may be that of a discount, a
    trial or a fee.
    """
    records, session_id = context.services.records, context.raw["id"]
    record = records.get(subscription)
    if record is not None and "session" in record.sources:
        session = record.sources["session"].data
        known = session.get("sold_once") if session.get("id") == session_id else None
        if known is False:
            return []
        if known:
            beside = records.get(purchase_key(context.tenant, account, session_id))
            if beside is not None and "session" in beside.sources:
                return [*beside.sources["session"].data["products"]]
    return _ask_for_products(context)


def _ask_for_products(context: Context) -> list[str] | None:
    try:
        items = list(context.services.stripe.list_line_items(context.raw["id"], context.mode))
    except (StripeMissing, StripeRefusal):
        context.services.count("LineItemsNotReadable")
        return None
    return of.products_sold_once(items)


def on_payment_intent(context: Context) -> None:
    """A PaymentIntent is a purchase where our metadata says so; a renewal's is none."""
    account = payer_of(context.raw)
    key = purchase_of(context.tenant, account, context.raw)
    released = None
    if context.raw["status"] == "canceled":
        context.check(of.payment_intent)
        released = _release_charge(context)
    if not _is_purchase(context):
        _link_unpaid(context)
        if not _is_of_session(context, key):
            if released is not None and of.invoice_of_payment_intent(context.raw) is None:
                # Our metadata may be on its charge only, whose events tell of no end.
                context.settle(account, context.state(key, "released", {"id": released}))
            return
    outcome = context.observe(
        key,
        "payment_intent",
        of.payment_intent,
        fetch=lambda: context.retrieve("payment_intents", context.raw["id"]),
    )
    context.settle(account, outcome)


def _is_of_session(context: Context, key: Key) -> bool:
    """Whether a payment without our metadata pays a checkout that has it.

    A session that comes later asks for its payment by itself (:func:`_ask_for_payment`).
    """
    if of.invoice_of_payment_intent(context.raw) is not None:
        return False
    record = context.services.records.get(key)
    return record is not None and "session" in record.sources


def _release_charge(context: Context) -> str | None:
    """An authorisation whose PaymentIntent was cancelled will never be collected. Since API version
    2025-03-31 its charge says nothing of it.

    Returns:
        The charge's id, where there is one.
    """
    charge_id = of.id_of(context.raw.get("latest_charge"))
    if charge_id is None:
        return None
    try:
        charge = context.charge_key(charge_id)
    except Unappliable:
        return None
    context.state(charge, "released", {"id": charge_id})
    return charge_id


def _link_unpaid(context: Context) -> None:
    """Link an attempt to pay an invoice that has not paid it (yet): ``invoice_payment.paid`` never
    tells of those, and their charges name no invoice. What paid one is left to that event."""
    invoice_id = of.invoice_of_payment_intent(context.raw)
    if invoice_id is None or context.raw["status"] == "succeeded":
        return
    try:
        account, subscription_id = _whose_invoice(context, invoice_id)
    except (StripeMissing, StripeRefusal):
        return  # a reference of the store's own that looks like one
    if account == of.id_of(context.raw.get("customer")):
        _link_payment(context, account, context.raw["id"], invoice_id, subscription_id)


def _is_purchase(context: Context) -> bool:
    """Whether our metadata is on the payment, or was until this event took it away."""
    if of.pays_invoice(context.raw):
        return False
    before = context.event.before
    return of.names_product_or_user(context.raw) or (
        before is not None and of.names_product_or_user(before)
    )


# -- charges, refunds, disputes -------------------------------------------------------------------


def on_charge(context: Context) -> None:
    raw, account = context.raw, payer_of(context.raw)
    charge_id = raw["id"]

    def fetch() -> Raw:
        return context.retrieve("charges", charge_id)

    # All that may be malformed is looked at before anything is written.
    is_purchase = _is_purchase(context)
    payer = of.payer(raw.get("billing_details"), raw["created"]) if is_guest(account) else None
    refunds, given_back = of.refunds_within(raw), {"amount": of.given_back(raw)}
    context.check(of.charge, of.charge_of_purchase)
    for data in (payer, given_back, *map(of.refund, refunds)):
        well_formed.check(data or {})
    key = charge_key(context.tenant, account, raw)
    outcomes = [context.observe(key, "charge", of.charge, fetch=fetch)]
    released = of.is_released(raw) or context.event.type == "charge.expired"
    if released:
        context.state(key, "released", {"id": charge_id})
    if given_back["amount"]:
        context.state(key, f"total_{given_back['amount']}", given_back)
    if rest := of.never_collected(raw):
        context.state(key, "never_collected", {"amount": rest})
    outcomes += [_mention_refund(context, key, refund) for refund in refunds]
    # One PaymentIntent may take several charges to pay. Of those that failed only the failure is
    # news; what happens to them later must not hide the one that paid.
    late = raw["status"] == "failed" and context.event.type in ("charge.updated", "charge.refunded")
    if is_purchase and not late:
        key = purchase_of(context.tenant, account, raw)
        outcomes.append(context.observe(key, "charge", of.charge_of_purchase, fetch=fetch))
        if released:
            outcomes.append(context.state(key, "released", {"id": charge_id}))
        if payer is not None:
            outcomes.append(context.state(profile_key(context.tenant, account), "billing", payer))
    if raw["status"] == "succeeded" and not (is_purchase and raw.get("captured", True)):
        outcomes += context.paid(account)
    context.settle(account, *outcomes)


def _mention_refund(context: Context, charge: Key, raw: Raw) -> Outcome:
    """What :func:`on_refund` stores, of a refund within an old-shaped charge: older endpoints may
    be told of refunds in no other way."""

    def fetch() -> Raw:
        return context.retrieve("refunds", raw["id"])

    account = account_of(charge.pk)
    key = transaction_key(context.tenant, account, raw["created"], transaction_id_of(raw["id"]))
    context.mention(charge, raw["id"], of.refund_of_charge, raw, fetch=fetch)
    return context.mention(key, "refund", _refund_at(context, charge), raw, fetch=fetch)


def on_refund(context: Context) -> None:
    """A row of its own per refund, and its share in what its charge has given back."""
    raw, refund_id = context.raw, context.raw["id"]
    context.check(of.refund, of.refund_of_charge)
    charge_id = _charge_of_refund(context)
    charge = None if charge_id is None else context.charge_key(charge_id)
    if charge is not None:
        account = account_of(charge.pk)
    elif raw.get("customer") is not None:  # of a customer's cash balance, say
        account = customer_of(raw)
    else:
        raise Unappliable("a refund without a charge and without a customer")

    def fetch() -> Raw:
        return context.retrieve("refunds", refund_id)

    key = transaction_key(context.tenant, account, raw["created"], transaction_id_of(refund_id))
    told = _refund_at(context, charge)
    outcomes = [
        context.observe(key, "refund", lambda raw: {**told(raw), "charge": charge_id}, fetch=fetch)
    ]
    if charge is not None:
        context.observe(charge, refund_id, of.refund_of_charge, fetch=fetch)
    else:
        outcomes += context.paid(account)  # what goes back came in before
    context.settle(account, *outcomes)


def _charge_of_refund(context: Context) -> str | None:
    """The charge a refund gives back. Where it names only its payment, that is asked for: it has
    one charge that succeeded, the latest.

    Raises:
        Unappliable: Stripe has no such payment.
    """
    charge_id = of.id_of(context.raw.get("charge"))
    intent_id = of.id_of(context.raw.get("payment_intent"))
    if charge_id is not None or intent_id is None:
        return charge_id
    try:
        intent = context.retrieve("payment_intents", intent_id)
    except StripeMissing:
        raise Unappliable("its payment is not in this account") from None
    return of.id_of(intent.get("latest_charge"))


def _refund_at(context: Context, charge: Key | None) -> Normalise:
    """A refund, and where its charge is kept: what that says decides whether it is shown."""
    told = {"charge_at": None if charge is None else charge.sk, "livemode": context.event.livemode}
    return lambda raw: {**of.refund(raw), **told}


def on_dispute(context: Context) -> None:
    """A row per dispute, and one per fee the bank took or gave back."""
    raw = context.raw
    charge_id, dispute_id = of.id_of(raw.get("charge")), raw["id"]
    if charge_id is None:
        raise Unappliable("a dispute without a charge")
    context.check(of.dispute)
    transaction_id, fees = transaction_id_of(dispute_id), of.dispute_fees(raw)
    for fee in fees:
        well_formed.check(fee)
    account = account_of(context.charge_key(charge_id).pk)
    key = transaction_key(context.tenant, account, raw["created"], transaction_id)
    outcomes = [
        context.observe(
            key,
            "dispute",
            of.dispute,
            fetch=lambda: context.retrieve("disputes", dispute_id),
        )
    ]
    for fee in fees:
        transaction_id = transaction_id_of(fee["id"])
        key = transaction_key(context.tenant, account, fee["created_at"], transaction_id)
        outcomes.append(context.state(key, "fee", fee))
    context.settle(account, *outcomes)


def on_credit_note(context: Context) -> None:
    raw = context.raw
    key = transaction_key(
        context.tenant, customer_of(raw), raw["created"], transaction_id_of(raw["id"])
    )
    context.observe(
        key,
        "credit_note",
        of.credit_note,
        fetch=lambda: context.retrieve("credit_notes", raw["id"]),
    )
    context.settle(account_of(key.pk), *context.paid(account_of(key.pk)))


# -- invoices: which subscription a payment was for -----------------------------------------------


def on_invoice(context: Context) -> None:
    raw, account = context.raw, customer_of(context.raw)
    subscription_id = of.subscription_of_invoice(raw)
    paid_by = of.payments_of_invoice(raw)
    context.observe(
        invoice_key(context.tenant, account, raw["id"], subscription_id),
        "invoice",
        of.invoice,
        fetch=lambda: context.retrieve("invoices", raw["id"]),
    )
    context.services.invoices.add(context.tenant, raw["id"], account, subscription_id)
    if context.event.type == "invoice.paid":
        # The old shape names what paid it; in the new one, invoice_payment.paid does.
        for payment in paid_by:
            _link_payment(context, account, payment, raw["id"], subscription_id)


def on_invoice_payment(context: Context) -> None:
    raw = context.raw
    paid_by = of.payment_named_by(raw["payment"])
    invoice_id = of.id_of(raw.get("invoice"))
    if paid_by is None or invoice_id is None:
        return
    try:
        account, subscription_id = _whose_invoice(context, invoice_id)
    except StripeMissing:
        raise Unappliable("its invoice is not in this account") from None
    _link_payment(context, account, paid_by, invoice_id, subscription_id)


def _whose_invoice(context: Context, invoice_id: str) -> tuple[str, str | None]:
    """Account and subscription of an invoice: remembered, stored or asked for.

    Raises:
        StripeMissing: Stripe has none either.
    """
    known = context.services.invoices.get(context.tenant, invoice_id)
    if known is not None:
        return known
    found = context.services.records.find(context.tenant, invoice_id)
    if found:
        return account_of(found[0]["pk"]), found[0].get("subscription")
    invoice = context.retrieve("invoices", invoice_id)
    return customer_of(invoice), of.subscription_of_invoice(invoice)


def _link_payment(
    context: Context, account: str, paid_by: str, invoice_id: str, subscription_id: str | None
) -> None:
    link = {"invoice": invoice_id, "subscription": subscription_id}
    context.state(payment_link_key(context.tenant, account, paid_by), "payment", link)


# -- payment methods ------------------------------------------------------------------------------


def on_payment_method(context: Context) -> None:
    _observe_method(context, of.id_of(context.raw.get("customer")), deleted=False)


def on_payment_method_detached(context: Context) -> None:
    """It belongs to nobody any more: the event says whose it was."""
    before = context.event.before or {}
    customer = of.id_of(before.get("customer")) or of.id_of(context.raw.get("customer"))
    _observe_method(context, customer, deleted=True)


def _observe_method(context: Context, customer: str | None, *, deleted: bool) -> None:
    if customer is None:
        return  # never attached to anybody: nobody's payment method
    method_id = context.raw["id"]
    context.observe(
        method_key(context.tenant, customer, method_id),
        "method",
        lambda raw: of.payment_method(raw, deleted=deleted or raw.get("customer") is None),
        fetch=lambda: context.retrieve("payment_methods", method_id),
        terminal=lambda data: data["deleted"],
    )


def on_source(context: Context) -> None:
    _observe_source(context, deleted=False)


def on_source_deleted(context: Context) -> None:
    _observe_source(context, deleted=True)


def _observe_source(context: Context, *, deleted: bool) -> None:
    account, source_id = customer_of(context.raw), context.raw["id"]
    livemode = context.event.livemode
    context.observe(
        method_key(context.tenant, account, source_id),
        "method",
        lambda raw: of.legacy_source(raw, livemode=livemode, deleted=deleted),
        fetch=lambda: context.services.stripe.retrieve_source(account, source_id, context.mode),
        terminal=lambda data: data["deleted"],
    )


# -- products -------------------------------------------------------------------------------------


def on_product(context: Context) -> None:
    _observe_product(context, deleted=False)


def on_product_deleted(context: Context) -> None:
    _observe_product(context, deleted=True)


def _observe_product(context: Context, *, deleted: bool) -> None:
    event = context.event
    seen = Observation(
        source="product",
        data=of.product(event.object, deleted=deleted),
        created_at=event.created_at,
        event_id=event.id,
        previous=None if event.before is None else of.product(event.before),
        rank=context.stage,
        terminal=deleted,
    )
    foreign = context.services.products.observe(
        context.tenant, event.object["id"], seen, event.livemode
    )
    for _ in range(foreign):
        context.services.count("ChatOfAnotherStore")


# -- the connection to Stripe itself --------------------------------------------------------------


def on_deauthorized(context: Context) -> None:
    if context.event.account is not None:
        context.services.registry.disconnected(context.event.account, context.event.created_at)


def on_authorized(context: Context) -> None:
    if context.event.account is not None:
        context.services.registry.connected_again(context.event.account, context.event.created_at)


# -- the table ------------------------------------------------------------------------------------


class Row(NamedTuple):
    """How an event type is applied.

    Attributes:
        stage: where it stands among the events of its object within one second; where stages
            are equal, ``previous_attributes`` tell the order.
        why: what we would not know without it.
    """

    handle: Callable[[Context], None]
    stage: int
    why: str


# fmt: off
HANDLERS: Mapping[str, Row] = {
    "customer.created": Row(on_customer, 0, "who the customer is"),
    "customer.updated": Row(on_customer, 1, "a new name or address, default method, or balance"),
    "customer.deleted": Row(on_customer_deleted, 2, "the customer is gone; what was bought stays"),

    "customer.subscription.created": Row(on_subscription, 0, "a subscription was bought"),
    "customer.subscription.updated": Row(on_subscription, 1, "paid, renewed, failed, linked ..."),
    "customer.subscription.paused": Row(on_subscription, 1, "a trial ended with nothing to pay by"),
    "customer.subscription.resumed": Row(on_subscription, 1, "and goes on with one"),
    "customer.subscription.trial_will_end": Row(on_subscription, 1, "a trial ends in three days"),
    "customer.subscription.pending_update_applied": Row(on_subscription, 1, "a change was paid"),
    "customer.subscription.pending_update_expired": Row(on_subscription, 1, "or was not"),
    "customer.subscription.deleted": Row(on_subscription, 2, "it is over, in whatever way"),

    "checkout.session.completed": Row(on_session_completed, 1, "a one-off purchase; may be unpaid"),
    "checkout.session.async_payment_succeeded": Row(on_session_paid_later, 2, "a bank debit came"),
    "checkout.session.async_payment_failed": Row(on_session_failed_later, 2, "or did not"),
    "checkout.session.expired": Row(on_session_expired, 1, "abandoned after an attempt to pay"),

    "payment_intent.processing": Row(on_payment_intent, 0, "a purchase without a session, pending"),
    "payment_intent.payment_failed": Row(on_payment_intent, 1, "an attempt failed; more may come"),
    "payment_intent.succeeded": Row(on_payment_intent, 2, "it is paid"),
    "payment_intent.canceled": Row(on_payment_intent, 2, "it never will be"),

    "charge.pending": Row(on_charge, 0, "money on its way"),
    "charge.failed": Row(on_charge, 1, "an attempt to charge, in the list of transactions"),
    "charge.succeeded": Row(on_charge, 2, "money came in, or was authorised"),
    "charge.captured": Row(on_charge, 3, "an authorisation was collected"),
    "charge.expired": Row(on_charge, 3, "or ran out"),
    "charge.updated": Row(on_charge, 4, "its metadata links a Telegram account, or another"),
    "charge.refunded": Row(on_charge, 4, "money goes back, or an authorisation was released"),

    "refund.created": Row(on_refund, 0, "money goes back"),
    "refund.updated": Row(on_refund, 1, "it has arrived, or was cancelled"),
    "refund.failed": Row(on_refund, 2, "it came back: it doesn't count"),
    "charge.refund.updated": Row(on_refund, 1, "the same, as older endpoints are told"),

    "charge.dispute.created": Row(on_dispute, 0, "a buyer's bank disputes a charge"),
    "charge.dispute.updated": Row(on_dispute, 1, "evidence was given"),
    "charge.dispute.funds_withdrawn": Row(on_dispute, 1, "the amount and a fee were taken"),
    "charge.dispute.funds_reinstated": Row(on_dispute, 1, "the amount came back"),
    "charge.dispute.closed": Row(on_dispute, 1, "won or lost"),

    "credit_note.created": Row(on_credit_note, 0, "an invoice was corrected in the buyer's favour"),
    "credit_note.updated": Row(on_credit_note, 1, "its memo changed"),
    "credit_note.voided": Row(on_credit_note, 2, "and taken back"),

    "invoice.finalized": Row(on_invoice, 0, "which subscription an invoice is for"),
    "invoice.payment_failed": Row(on_invoice, 1, "the same, where that was missed"),
    "invoice.paid": Row(on_invoice, 2, "the same, and in old shapes what paid it"),
    "invoice.voided": Row(on_invoice, 2, "it will not be paid"),
    "invoice.marked_uncollectible": Row(on_invoice, 2, "nor will this one"),
    "invoice_payment.paid": Row(on_invoice_payment, 1, "which invoice a payment paid"),

    "payment_method.attached": Row(on_payment_method, 0, "a payment method on file"),
    "payment_method.updated": Row(on_payment_method, 1, "a new expiry date"),
    "payment_method.automatically_updated": Row(on_payment_method, 1, "a new card from the bank"),
    "payment_method.detached": Row(on_payment_method_detached, 2, "it was removed"),
    "customer.source.created": Row(on_source, 0, "a card on file, by the older API"),
    "customer.source.updated": Row(on_source, 1, "a new expiry date"),
    "customer.source.expiring": Row(on_source, 1, "it expires this month"),
    "customer.source.deleted": Row(on_source_deleted, 2, "it was removed"),

    "product.created": Row(on_product, 0, "a name, and the chats it opens"),
    "product.updated": Row(on_product, 1, "another name, or other chats"),
    "product.deleted": Row(on_product_deleted, 2, "no longer sold; purchases of it go on"),

    "account.application.deauthorized": Row(on_deauthorized, 1, "a store disconnected its Stripe"),
    "account.application.authorized": Row(on_authorized, 1, "and connected it again"),
}
# fmt: on
