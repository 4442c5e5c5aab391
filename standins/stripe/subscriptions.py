"""Subscriptions and their items: what people change. What time does to them: ``renewals``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from standins.stripe import invoices, products, subscription_schedules
from standins.stripe.clock import DAY, next_period_end
from standins.stripe.errors import StripeError, invalid
from standins.stripe.ledger import Ledger, merged
from standins.stripe.shapes import Object, clone, list_object

ENDED = frozenset(("canceled", "incomplete_expired"))
UPDATED = "customer.subscription.updated"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a new subscription is agreed upon. All prices have the same interval."""

    prices: list[Object]
    trial_days: int
    missing_payment_method: str
    billing_mode: str


def new(
    ledger: Ledger,
    terms: Terms,
    *,
    customer: str,
    payment_method: str | None,
    metadata: Mapping[str, str],
) -> Object:
    """A subscription that is not stored yet; ``renewals.open_subscription`` stores it."""
    start = ledger.now()
    recurring, currency = terms.prices[0]["recurring"], terms.prices[0]["currency"]
    trial_end = start + terms.trial_days * DAY if terms.trial_days else None
    end = trial_end or next_period_end(
        start, recurring["interval"], recurring["interval_count"], start
    )
    id_ = ledger.new_id("sub")
    items = [_item(ledger, id_, price, end) for price in terms.prices]
    return {
        "id": id_,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": trial_end or start,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"type": terms.billing_mode},
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": start,
        "currency": currency,
        "customer": customer,
        "days_until_due": None,
        "default_payment_method": payment_method,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": list_object(items, f"/v1/subscription_items?subscription={id_}"),
        "latest_invoice": None,
        "livemode": ledger.livemode,
        "metadata": dict(metadata),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": start,
        "status": "trialing" if terms.trial_days else "incomplete",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": trial_end,
        "trial_settings": {
            "end_behavior": {"missing_payment_method": terms.missing_payment_method}
        },
        "trial_start": start if terms.trial_days else None,
    }


def _item(ledger: Ledger, subscription: str, price: Mapping[str, Any], period_end: int) -> Object:
    created = ledger.now()
    return {
        "id": ledger.new_id("si", length=14),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": created,
        "current_period_end": period_end,
        "current_period_start": created,
        "discounts": [],
        "metadata": {},
        "price": dict(price),
        "quantity": 1,
        "subscription": subscription,
        "tax_rates": [],
    }


def period_end(subscription: Mapping[str, Any]) -> int:
    """The earliest end among the items' periods."""
    return int(min(item["current_period_end"] for item in subscription["items"]["data"]))


def method_for(ledger: Ledger, subscription: Mapping[str, Any]) -> Object | None:
    """The payment method a renewal is charged to: the subscription's, else the customer's."""
    customer = ledger.get("customer", subscription["customer"])
    for id_ in (
        subscription["default_payment_method"],
        customer["invoice_settings"]["default_payment_method"],
    ):
        if id_ and (method := ledger.objects.get("payment_method", {}).get(id_)):
            return method
    return None


# --- the end ------------------------------------------------------------------------------


def end(
    ledger: Ledger,
    subscription: Object,
    *,
    reason: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """End a subscription now; its open invoices stay open but aren't collected any more."""
    if subscription["schedule"]:
        schedule = ledger.get("subscription_schedule", subscription["schedule"])
        subscription_schedules.cancel(ledger, schedule)
    cancellation = subscription["cancellation_details"] | {"reason": reason} | dict(details or {})
    ledger.change(
        subscription,
        status="canceled",
        ended_at=ledger.now(),
        canceled_at=subscription["canceled_at"] or ledger.now(),
        cancellation_details=cancellation,
        pause_collection=None,
    )
    ledger.emit("customer.subscription.deleted", subscription)
    invoices.stop_collecting(ledger, subscription["id"])


def cancel(
    ledger: Ledger, id_: str, *, cancellation_details: Mapping[str, Any] | None = None
) -> Object:
    """``DELETE /v1/subscriptions/{id}``. A cancelled one answers as if it did not exist."""
    subscription = ledger.get("subscription", id_)
    if subscription["status"] in ENDED:
        raise StripeError(
            404, f"No such subscription: '{id_}'", code="resource_missing", param="id"
        )
    details = _told_by_caller(cancellation_details)
    end(ledger, subscription, reason="cancellation_requested", details=details)
    return subscription


def _told_by_caller(cancellation_details: Mapping[str, Any] | None) -> Object:
    """The cancellation details a caller of the API may set."""
    return {k: v for k, v in (cancellation_details or {}).items() if k in ("comment", "feedback")}


def end_all_of(ledger: Ledger, customer: str) -> None:
    """End every subscription of a customer, as Stripe does before it deletes the customer."""
    for subscription in list(ledger.all("subscription")):
        if subscription["customer"] == customer and subscription["status"] not in ENDED:
            end(ledger, subscription, reason="cancellation_requested")


def portal_cancel(
    ledger: Ledger,
    subscription: str,
    *,
    immediately: bool = False,
    feedback: str | None = "too_expensive",
    comment: str | None = None,
) -> Object:
    """The buyer cancels in the customer portal.

    With flexible billing the end shows as ``cancel_at`` alone, without the flag.
    """
    target = ledger.get("subscription", subscription)
    details = {"feedback": feedback, "comment": comment}
    if immediately:
        end(ledger, target, reason="cancellation_requested", details=details)
        return target
    ledger.update(
        UPDATED,
        target,
        cancel_at=period_end(target),
        cancel_at_period_end=target["billing_mode"]["type"] != "flexible",
        canceled_at=ledger.now(),
        cancellation_details={"reason": "cancellation_requested", **details},
    )
    return target


def portal_uncancel(ledger: Ledger, subscription: str) -> Object:
    """The buyer keeps the subscription after all."""
    target = ledger.get("subscription", subscription)
    if target["status"] in ENDED:
        raise invalid("A canceled subscription cannot be renewed.")
    ledger.update(
        UPDATED,
        target,
        cancel_at=None,
        cancel_at_period_end=False,
        canceled_at=None,
        cancellation_details={"comment": None, "feedback": None, "reason": None},
    )
    return target


# --- POST /v1/subscriptions/{id} ----------------------------------------------------------


def update(ledger: Ledger, id_: str, changes: Mapping[str, Any]) -> Object:
    """``POST /v1/subscriptions/{id}`` with already parsed values."""
    subscription = ledger.get("subscription", id_)
    _refuse_update(subscription, changes)
    values: Object = {
        key: changes[key]
        for key in ("default_payment_method", "description", "pause_collection")
        if key in changes
    }
    method = values.get("default_payment_method")
    if method is not None:
        ledger.get("payment_method", method, param="default_payment_method")
    if "metadata" in changes:
        values["metadata"] = merged(subscription["metadata"], changes["metadata"])
    details = dict(subscription["cancellation_details"])
    details |= _told_by_caller(changes.get("cancellation_details"))
    if "cancel_at_period_end" in changes:
        wanted = bool(changes["cancel_at_period_end"])
        if wanted != subscription["cancel_at_period_end"] or (
            not wanted and subscription["cancel_at"]
        ):
            at = period_end(subscription) if wanted else None
            values |= _scheduled_end(ledger, at, flag=wanted)
            details["reason"] = "cancellation_requested" if wanted else None
    elif "cancel_at" in changes and changes["cancel_at"] != subscription["cancel_at"]:
        values |= _scheduled_end(ledger, changes["cancel_at"], flag=False)
        details["reason"] = "cancellation_requested" if changes["cancel_at"] else None
    values["cancellation_details"] = details
    ledger.update(UPDATED, subscription, **values)
    return subscription


def _refuse_update(subscription: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Raise Stripe's error where the subscription's state forbids these changes."""
    status = subscription["status"]
    if status in ENDED and not set(changes) <= {"metadata", "cancellation_details"}:
        raise invalid(
            "A canceled subscription can only update its cancellation_details and metadata."
        )
    timing = {"cancel_at", "cancel_at_period_end"} & set(changes)
    if subscription["schedule"] and timing:
        raise invalid(
            "The subscription is managed by the subscription schedule "
            f"`{subscription['schedule']}`, and updating any cancelation behavior directly "
            "is not allowed. Please update the schedule instead.",
        )
    if status == "incomplete" and set(changes) - {"metadata", "default_payment_method"}:
        raise invalid(
            "This subscription is incomplete: only its metadata and default payment method "
            "can be updated until its first invoice is paid."
        )
    if len(timing) == 2 and changes["cancel_at_period_end"]:
        raise invalid(
            "You may only specify one of these parameters: cancel_at, cancel_at_period_end.",
            param="cancel_at_period_end",
        )


def _scheduled_end(ledger: Ledger, at: int | None, *, flag: bool) -> Object:
    if at is not None and at < ledger.now():
        raise invalid("`cancel_at` must be in the future.", param="cancel_at")
    return {
        "cancel_at": at,
        "cancel_at_period_end": flag,
        "canceled_at": None if at is None else ledger.now(),
    }


def change_payment_method(ledger: Ledger, subscription: str, payment_method: str) -> Object:
    """Charge a subscription to another payment method."""
    target = ledger.get("subscription", subscription)
    ledger.update(UPDATED, target, default_payment_method=payment_method)
    return target


# --- pauses -------------------------------------------------------------------------------


def pause_collection(
    ledger: Ledger, subscription: str, *, behavior: str = "void", resumes_at: int | None = None
) -> Object:
    """Go on without collecting. ``behavior``: void, keep_as_draft or mark_uncollectible."""
    target = ledger.get("subscription", subscription)
    paused = {"behavior": behavior, "resumes_at": resumes_at}
    ledger.update(UPDATED, target, pause_collection=paused)
    return target


def resume_collection(ledger: Ledger, subscription: str) -> Object:
    """Collect again."""
    target = ledger.get("subscription", subscription)
    ledger.update(UPDATED, target, pause_collection=None)
    return target


def pause(ledger: Ledger, subscription: str) -> Object:
    """The status ``paused``: a trial ended without a payment method."""
    target = ledger.get("subscription", subscription)
    ledger.update(UPDATED, target, status="paused")
    ledger.emit("customer.subscription.paused", target)
    return target


def resume(ledger: Ledger, subscription: str) -> Object:
    """A paused subscription goes on: its period begins anew."""
    target = ledger.get("subscription", subscription)
    if target["status"] != "paused":
        raise invalid("Only a paused subscription can be resumed.")
    now = ledger.now()
    items = clone(target["items"])
    for item in items["data"]:
        recurring = item["price"]["recurring"]
        item["current_period_start"] = now
        item["current_period_end"] = next_period_end(
            now, recurring["interval"], recurring["interval_count"], now
        )
    ledger.update(UPDATED, target, status="active", items=items, billing_cycle_anchor=now)
    ledger.emit("customer.subscription.resumed", target)
    return target


# --- other products -----------------------------------------------------------------------


def change_plan(
    ledger: Ledger,
    subscription: str,
    *,
    product: str,
    amount: int = 1900,
    currency: str | None = None,
) -> Object:
    """Another product in the first item's place, in the same period."""
    target = ledger.get("subscription", subscription)
    items = _items_with(ledger, target, product, amount, currency)
    ledger.update(UPDATED, target, items=items)
    return target


def change_items(
    ledger: Ledger, subscription: str, *, sold: Sequence[str], amount: int = 1900
) -> Object:
    """The items are of the products ``sold`` now; a product that stays keeps its item."""
    target = ledger.get("subscription", subscription)
    old = {item["price"]["product"]: item for item in target["items"]["data"]}
    recurring = target["items"]["data"][0]["price"]["recurring"]
    data = []
    for product in sold:
        if product in old:
            data.append(clone(old[product]))
            continue
        price = products.price_of(
            ledger,
            products.known(ledger, product)["id"],
            amount,
            target["currency"],
            interval=recurring["interval"],
            interval_count=recurring["interval_count"],
        )
        data.append(_item(ledger, subscription, price, period_end(target)))
    ledger.update(UPDATED, target, items={**clone(target["items"]), "data": data})
    return target


def _items_with(
    ledger: Ledger, subscription: Object, product: str, amount: int, currency: str | None = None
) -> Object:
    """The items with another product in the first one's place."""
    items: Object = clone(subscription["items"])
    recurring = items["data"][0]["price"]["recurring"]
    price = products.price_of(
        ledger,
        products.known(ledger, product)["id"],
        amount,
        currency or subscription["currency"],
        interval=recurring["interval"],
        interval_count=recurring["interval_count"],
    )
    items["data"][0]["price"] = clone(price)
    return items


def begin_pending_update(
    ledger: Ledger, subscription: str, *, product: str, amount: int = 1900
) -> Object:
    """A change of plan that waits for its payment."""
    target = ledger.get("subscription", subscription)
    items = _items_with(ledger, target, product, amount)
    pending = {
        "billing_cycle_anchor": None,
        "expires_at": ledger.now() + DAY,
        "subscription_items": items["data"],
        "trial_end": None,
        "trial_from_plan": None,
    }
    ledger.update(UPDATED, target, pending_update=pending)
    return target


def end_pending_update(ledger: Ledger, subscription: str, *, applied: bool = True) -> Object:
    """The payment came (``applied``), or it did not and the change of plan is dropped."""
    target = ledger.get("subscription", subscription)
    pending = target["pending_update"]
    if pending is None:
        raise invalid("The subscription has no pending update.")
    values: Object = {"pending_update": None}
    if applied:
        values["items"] = clone(target["items"]) | {"data": pending["subscription_items"]}
    previous = ledger.change(target, **values)
    kind = "applied" if applied else "expired"
    ledger.emit(f"customer.subscription.pending_update_{kind}", target)
    if applied:
        ledger.emit(UPDATED, target, previous)
    return target


# --- schedules ----------------------------------------------------------------------------


def schedule(
    ledger: Ledger,
    subscription: str,
    *,
    end_behavior: str = "cancel",
    ends_at: int | None = None,
    next_product: str | None = None,
    next_amount: int = 1900,
) -> Object:
    """Put a subscription under a schedule; returns the schedule.

    One phase to ``ends_at`` (default: the period's end), and with ``next_product`` a second
    one of equal length. ``end_behavior``: "cancel" or "release".
    """
    target = ledger.get("subscription", subscription)
    item, currency = target["items"]["data"][0], target["currency"]
    start = item["current_period_start"]
    end_ = ends_at or period_end(target)
    phases = [subscription_schedules.phase(start, end_, item["price"]["id"], currency)]
    if next_product is not None:
        items = _items_with(ledger, target, next_product, next_amount)
        price = items["data"][0]["price"]["id"]
        phases.append(subscription_schedules.phase(end_, end_ + (end_ - start), price, currency))
    made = subscription_schedules.create(ledger, target, phases, end_behavior)
    values: Object = {"schedule": made["id"]}
    if end_behavior == "cancel":
        values |= {"cancel_at": phases[-1]["end_date"], "canceled_at": ledger.now()}
    ledger.update(UPDATED, target, **values)
    return made


def release_schedule(ledger: Ledger, id_: str, *, preserve_cancel_date: bool = False) -> Object:
    """``POST /v1/subscription_schedules/{id}/release``; returns the schedule."""
    released = ledger.get("subscription_schedule", id_)
    subscription = released["subscription"]
    subscription_schedules.release(ledger, released)
    values: Object = {"schedule": None}
    if not preserve_cancel_date:
        values |= _scheduled_end(ledger, None, flag=False)
    ledger.update(UPDATED, ledger.get("subscription", subscription), **values)
    return released
