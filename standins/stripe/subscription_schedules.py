"""Subscription schedules: the phases a subscription is to go through.

What a schedule does to its subscription stands in ``subscriptions`` and ``renewals``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from standins.stripe.errors import invalid
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object


def create(
    ledger: Ledger, subscription: Mapping[str, Any], phases: list[Object], end_behavior: str
) -> Object:
    """A new schedule of a subscription, in its first phase."""
    schedule = ledger.add(
        {
            "id": ledger.new_id("sub_sched"),
            "object": "subscription_schedule",
            "application": None,
            "billing_mode": dict(subscription["billing_mode"]),
            "canceled_at": None,
            "completed_at": None,
            "created": ledger.now(),
            "current_phase": _times(phases[0]),
            "customer": subscription["customer"],
            "default_settings": {
                "billing_cycle_anchor": "automatic",
                "collection_method": "charge_automatically",
                "default_payment_method": None,
            },
            "end_behavior": end_behavior,
            "livemode": subscription["livemode"],
            "metadata": {},
            "phases": phases,
            "released_at": None,
            "released_subscription": None,
            "status": "active",
            "subscription": subscription["id"],
            "test_clock": None,
        }
    )
    ledger.emit("subscription_schedule.created", schedule)
    return schedule


def phase(start: int, end: int, price: str, currency: str) -> Object:
    """A phase with one price."""
    return {
        "currency": currency,
        "end_date": end,
        "items": [{"metadata": {}, "price": price, "quantity": 1}],
        "metadata": {},
        "proration_behavior": "create_prorations",
        "start_date": start,
        "trial_end": None,
    }


def _times(of: Mapping[str, Any]) -> Object:
    return {"end_date": of["end_date"], "start_date": of["start_date"]}


def begin_next_phase(ledger: Ledger, schedule: Object) -> Object | None:
    """Begin the phase after the present one and return it; ``None`` after the last one."""
    ended = schedule["current_phase"]["end_date"]
    following = [phase for phase in schedule["phases"] if phase["start_date"] >= ended]
    if not following:
        return None
    begun: Object = following[0]
    ledger.change(schedule, current_phase=_times(begun))
    ledger.emit("subscription_schedule.updated", schedule)
    return begun


def complete(ledger: Ledger, schedule: Object) -> None:
    """The last phase is over, and the subscription ends with it."""
    ledger.change(schedule, status="completed", completed_at=ledger.now(), current_phase=None)
    ledger.emit("subscription_schedule.completed", schedule)


def cancel(ledger: Ledger, schedule: Object) -> None:
    """The subscription has ended before its schedule."""
    ledger.change(schedule, status="canceled", canceled_at=ledger.now(), current_phase=None)
    ledger.emit("subscription_schedule.canceled", schedule)


def release(ledger: Ledger, schedule: Object) -> None:
    """Let the subscription go on without this schedule."""
    if schedule["status"] not in ("active", "not_started"):
        raise invalid(
            "You cannot release a subscription schedule that is currently in the "
            f"`{schedule['status']}` status. It must be in one of these statuses: "
            "not_started, active."
        )
    ledger.change(
        schedule,
        status="released",
        released_at=ledger.now(),
        released_subscription=schedule["subscription"],
        subscription=None,
        current_phase=None,
    )
    ledger.emit("subscription_schedule.released", schedule)


def due_at(schedule: Mapping[str, Any]) -> int | None:
    """When the present phase ends."""
    current = schedule["current_phase"]
    return current["end_date"] if schedule["status"] == "active" and current else None
