"""What time does to subscriptions: first invoices, renewals, retries, the ends of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from standins.stripe import invoices, subscription_schedules, subscriptions
from standins.stripe.clock import DAY, HOUR, next_period_end
from standins.stripe.errors import invalid
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object, clone
from standins.stripe.subscriptions import ENDED, UPDATED, period_end


def _collect(ledger: Ledger, subscription: Object, invoice: Object, *, fails: bool) -> bool:
    method = subscriptions.method_for(ledger, subscription)
    return invoices.collect(ledger, invoice, method, fails=fails)


# --- the first invoice --------------------------------------------------------------------


def open_subscription(
    ledger: Ledger, subscription: Object, *, fails: bool, once: Sequence[Object] = ()
) -> Object:
    """Store a new subscription and collect its first invoice; returns the invoice.

    ``once``: prices that this invoice bills beside the subscription's items.
    """
    ledger.add(subscription)
    items = subscription["items"]["data"]
    invoice = invoices.draft(ledger, subscription, items, "subscription_create", once)
    invoices.finalize(ledger, invoice)
    ledger.change(subscription, latest_invoice=invoice["id"])
    ledger.emit("customer.subscription.created", subscription)
    if subscription["status"] == "trialing":
        _collect(ledger, subscription, invoice, fails=fails)
    elif _collect(ledger, subscription, invoice, fails=fails):
        ledger.update(UPDATED, subscription, status="active")
    return invoice


def pay_incomplete(ledger: Ledger, subscription: str) -> Object:
    """The buyer completes the first payment after all."""
    target = ledger.get("subscription", subscription)
    if target["status"] != "incomplete":
        raise invalid(f"The subscription is {target['status']}.")
    invoice = ledger.get("invoice", target["latest_invoice"])
    if _collect(ledger, target, invoice, fails=False):
        ledger.update(UPDATED, target, status="active")
    return target


def _expire_incomplete(ledger: Ledger, subscription: Object) -> None:
    """The first invoice was not paid within 23 hours."""
    invoice = ledger.get("invoice", subscription["latest_invoice"])
    if invoice["status"] == "open":
        invoices.close(ledger, invoice, "void")
    ledger.update(UPDATED, subscription, status="incomplete_expired", ended_at=ledger.now())


# --- renewals -----------------------------------------------------------------------------


def renew(ledger: Ledger, subscription: str, *, fails: bool = False) -> Object:
    """The next period begins now, whatever the clock says; its payment may fail."""
    target = ledger.get("subscription", subscription)
    if target["status"] not in ("active", "trialing", "past_due", "unpaid"):
        raise invalid(f"A subscription that is {target['status']} does not renew.")
    _begin_next_period(ledger, target, fails=fails)
    return target


def _begin_next_period(ledger: Ledger, subscription: Object, *, fails: bool) -> None:
    """Begin the next period of every item whose period has come to its end, and collect."""
    end = period_end(subscription)
    old = clone(subscription["items"])
    items = clone(subscription["items"])
    due = [item for item in items["data"] if item["current_period_end"] == end]
    for item in due:
        recurring = item["price"]["recurring"]
        item["current_period_start"] = end
        item["current_period_end"] = next_period_end(
            subscription["billing_cycle_anchor"],
            recurring["interval"],
            recurring["interval_count"],
            end,
        )
    trial_over = subscription["status"] == "trialing"
    status = "active" if trial_over else subscription["status"]
    ledger.change(subscription, items=items, status=status)
    invoice = invoices.draft(ledger, subscription, due, "subscription_cycle")
    previous = {"items": {"data": old["data"]}, "latest_invoice": subscription["latest_invoice"]}
    if trial_over:
        previous["status"] = "trialing"
    ledger.change(subscription, latest_invoice=invoice["id"])
    ledger.emit(UPDATED, subscription, previous)
    pause = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (pause and pause["behavior"] == "keep_as_draft"):
        ledger.change(invoice, auto_advance=False)
        return
    invoices.finalize(ledger, invoice)
    if pause:
        how = "void" if pause["behavior"] == "void" else "uncollectible"
        invoices.close(ledger, invoice, how)
    elif _collect(ledger, subscription, invoice, fails=fails):
        _recover(ledger, subscription)
    else:
        ledger.update(UPDATED, subscription, status="past_due")


def _recover(ledger: Ledger, subscription: Object) -> None:
    if subscription["status"] in ("past_due", "unpaid"):
        ledger.update(UPDATED, subscription, status="active")


def fail_renewal(ledger: Ledger, subscription: str, *, keep_failing: bool = True) -> Object:
    """The next period begins and its payment is declined: ``past_due``.

    ``keep_failing``: the coming retries fail as well, until dunning ends.
    """
    target = renew(ledger, subscription, fails=True)
    ledger.change(target, _fails=keep_failing)
    return target


def decline_payments(ledger: Ledger, subscription: str, *, on: bool = True) -> Object:
    """Let all coming payments of a subscription fail, or succeed again."""
    target = ledger.get("subscription", subscription)
    ledger.change(target, _fails=on)
    return target


def _end_trial(ledger: Ledger, subscription: Object) -> None:
    """The trial's last second: collect, or do what the trial settings say without a method."""
    if subscriptions.method_for(ledger, subscription) is None:
        missing = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
        if missing == "cancel":
            subscriptions.end(ledger, subscription, reason="payment_failed")
            return
        if missing == "pause":
            subscriptions.pause(ledger, subscription["id"])
            return
    _begin_next_period(ledger, subscription, fails=bool(subscription.get("_fails")))


# --- retries and the end of dunning -------------------------------------------------------


def _retry(ledger: Ledger, subscription: Object, *, fails: bool) -> None:
    """Another attempt to collect the latest invoice; the last failure ends the dunning."""
    invoice = ledger.get("invoice", subscription["latest_invoice"])
    if _collect(ledger, subscription, invoice, fails=fails):
        _recover(ledger, subscription)
    elif invoice["next_payment_attempt"] is None:
        _end_dunning(ledger, subscription)
    else:
        ledger.save(subscription)  # its next due time lies in the invoice


def _end_dunning(ledger: Ledger, subscription: Object) -> None:
    """What follows the last failed attempt: the account's setting decides."""
    how = ledger.settings["dunning_end"]
    if how == "cancel":
        subscriptions.end(ledger, subscription, reason="payment_failed")
    elif how == "unpaid":
        ledger.update(UPDATED, subscription, status="unpaid")


def pay_open_invoice(ledger: Ledger, subscription: str) -> Object:
    """A retry succeeds: the subscription is active again."""
    target = ledger.get("subscription", subscription)
    ledger.change(target, _fails=False)
    _retry(ledger, target, fails=False)
    return target


def give_up(ledger: Ledger, subscription: str, *, how: str = "cancel") -> Object:
    """The retries are used up: "cancel", "unpaid" or "uncollectible" (and active again)."""
    target = ledger.get("subscription", subscription)
    if how == "cancel":
        subscriptions.end(ledger, target, reason="payment_failed")
    elif how == "unpaid":
        ledger.update(UPDATED, target, status="unpaid")
    elif how == "uncollectible":
        invoice = ledger.get("invoice", target["latest_invoice"])
        invoices.close(ledger, invoice, "uncollectible")
        _recover(ledger, target)
    else:
        raise invalid(f"Unknown end of dunning: {how}")
    return target


def void_open_invoice(ledger: Ledger, subscription: str) -> Object:
    """The store owner voids the latest invoice of a subscription; returns the invoice."""
    target = ledger.get("subscription", subscription)
    invoice = ledger.get("invoice", target["latest_invoice"])
    invoices.close(ledger, invoice, "void")
    return invoice


# --- schedules ----------------------------------------------------------------------------


def end_phase(ledger: Ledger, schedule: Object) -> None:
    """A phase has ended: begin the next one, or let the schedule end as it was told to."""
    subscription = ledger.get("subscription", schedule["subscription"])
    begun = subscription_schedules.begin_next_phase(ledger, schedule)
    if begun is not None:
        items = clone(subscription["items"])
        items["data"][0]["price"] = clone(ledger.get("price", begun["items"][0]["price"]))
        ledger.update(UPDATED, subscription, items=items)
    elif schedule["end_behavior"] == "cancel":
        subscription_schedules.complete(ledger, schedule)
        ledger.change(subscription, schedule=None)
        subscriptions.end(ledger, subscription, reason="cancellation_requested")
    else:
        subscriptions.release_schedule(ledger, schedule["id"], preserve_cancel_date=False)


# --- time ---------------------------------------------------------------------------------


def due_at(ledger: Ledger, subscription: Mapping[str, Any]) -> int | None:
    """When time next does something to a subscription; it follows from the stored objects."""
    status = subscription["status"]
    if status in ENDED:
        return None
    times = [subscription["cancel_at"]]
    if status == "incomplete":
        times.append(subscription["created"] + 23 * HOUR)
    elif status == "paused":
        times = [None if subscription["cancel_at_period_end"] else subscription["cancel_at"]]
    else:
        times.append(period_end(subscription))
        if status == "trialing" and not subscription.get("_trial_warned"):
            times.append(subscription["trial_end"] - 3 * DAY)
        if subscription["pause_collection"]:
            times.append(subscription["pause_collection"]["resumes_at"])
        if status == "past_due":
            invoice = ledger.objects["invoice"][subscription["latest_invoice"]]
            times.append(invoice["next_payment_attempt"])
    known = [time for time in times if time is not None]
    return min(known) if known else None


def happen(ledger: Ledger, subscription: Object, at: int) -> None:
    """Do what is due for a subscription at this time (the clock stands there already)."""
    cancel_at, status = subscription["cancel_at"], subscription["status"]
    pause = subscription["pause_collection"]
    if cancel_at is not None and cancel_at <= at:
        reason = subscription["cancellation_details"]["reason"] or "cancellation_requested"
        subscriptions.end(ledger, subscription, reason=reason)
    elif status == "incomplete":
        _expire_incomplete(ledger, subscription)
    elif (
        status == "trialing"
        and at < period_end(subscription)
        and not subscription.get("_trial_warned")
    ):
        ledger.change(subscription, _trial_warned=True)
        ledger.emit("customer.subscription.trial_will_end", subscription)
    elif pause and (pause["resumes_at"] or at + 1) <= at:
        ledger.update(UPDATED, subscription, pause_collection=None)
    elif period_end(subscription) <= at:
        if status == "trialing":
            _end_trial(ledger, subscription)
        else:
            _begin_next_period(ledger, subscription, fails=bool(subscription.get("_fails")))
    else:
        _retry(ledger, subscription, fails=bool(subscription.get("_fails")))


def end_period(ledger: Ledger, subscription: str) -> Object:
    """What the period's end does, now: the scheduled end, the trial's end or a renewal."""
    target = ledger.get("subscription", subscription)
    at = target["cancel_at"] or period_end(target)
    happen(ledger, target, max(at, ledger.now()))
    return target
