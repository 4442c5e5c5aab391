"""What the passing of time does: which object is due next, and what happens to it then."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from standins.stripe import checkout_sessions, renewals, subscription_schedules
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object

Due = tuple[Ledger, Object, int]
"""An object, where it is stored, and when it is due."""


def due_at(ledger: Ledger, target: Mapping[str, Any]) -> int | None:
    """When time next does something to this object; it follows from the stored objects."""
    if target["object"] == "checkout.session":
        return checkout_sessions.due_at(target)
    if target["object"] == "subscription_schedule":
        return subscription_schedules.due_at(target)
    return renewals.due_at(ledger, target)


def happen(ledger: Ledger, target: Object, at: int) -> None:
    """Do what is due for this object at this time (the clock stands there already)."""
    if target["object"] == "checkout.session":
        checkout_sessions.expire(ledger, target["id"])
    elif target["object"] == "subscription_schedule":
        renewals.end_phase(ledger, target)
    else:
        renewals.happen(ledger, target, at)


def _rank(target: Mapping[str, Any]) -> int:
    """Schedules come first of what is due in the same second."""
    return 0 if target["object"] == "subscription_schedule" else 1


class Timers:
    """The times at which objects of any ledger were found to be due, soonest first."""

    def __init__(self, ledgers: Mapping[str, Ledger]) -> None:
        self._ledgers = ledgers  # by their space
        self._waiting: list[tuple[int, int, int, str, str, str]] = []

    def next(self, until: int) -> Due | None:
        """What is due first, up to this time."""
        for ledger in self._ledgers.values():
            for target in ledger.take_touched():
                self._note(ledger, target)
        while self._waiting and self._waiting[0][0] <= until:
            at, _, _, space, kind, id_ = heapq.heappop(self._waiting)
            ledger = self._ledgers[space]
            target = ledger.get(kind, id_)
            # Times of the past are not removed when an object changes: check them here.
            if due_at(ledger, target) == at:
                return ledger, target, at
        return None

    def _note(self, ledger: Ledger, target: Object) -> None:
        at = due_at(ledger, target)
        if at is not None:
            heapq.heappush(
                self._waiting,
                (at, _rank(target), target["_seq"], ledger.space, target["object"], target["id"]),
            )

    def next_of(self, until: int, customers: Iterable[str]) -> Due | None:
        """What is due first of the objects of these customers, up to this time."""
        found: list[tuple[int, int, int, Ledger, Object]] = []
        for ledger in self._ledgers.values():
            for customer in customers:
                for target in ledger.timed.get(customer, ()):
                    at = due_at(ledger, target)
                    if at is not None and at <= until:
                        found.append((at, _rank(target), target["_seq"], ledger, target))
        if not found:
            return None
        at, _, _, ledger, target = min(found, key=lambda item: item[:3])
        return ledger, target, at
