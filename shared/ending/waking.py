"""One-time schedules for the revoker, set by the functions that only store what they are told.

What must be done stands in the record (``due_at``), and the sweep finds it; the schedule makes it
punctual. So a schedule that can't be set is no reason to refuse an event.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.clock import Clock, system_clock
from shared.observability import log_failure
from shared.storage.items import Record
from shared.storage.schedules import SchedulerUnavailable, Schedules


@dataclass(frozen=True)
class Waking:
    """Wakes the revoker for a purchase when something is to be done about it."""

    schedules: Schedules
    clock: Clock = system_clock

    def wake(self, record: Record) -> None:
        """Set the schedules that a purchase as stored needs; what is due already is the sweep's.

        A change that takes somebody's access has a schedule of its own, at the end of its settling:
        the one for a set end stays what it is.
        """
        purchase, now = record.purchase, self.clock()
        try:
            if purchase.plan_is_stale and purchase.plan_at > now:
                self.schedules.put(record.key, purchase.plan_at, settling=True)
            ends_at = purchase.ends_at
            if ends_at is not None and ends_at > now and ends_at != purchase.own.schedule_at:
                self.schedules.put(record.key, ends_at)
        except SchedulerUnavailable as error:
            log_failure("left to the sweep", error)
