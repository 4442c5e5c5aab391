"""Time of the stand-in: real time with an offset, or frozen; whole seconds since the epoch."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

HOUR = 3600
DAY = 86_400


class Clock:
    """A clock that can be moved forward, frozen, and overridden for one piece of work."""

    def __init__(self, *, offset: int = 0, frozen_at: int | None = None) -> None:
        self.offset = offset
        self.frozen_at = frozen_at
        self._override: int | None = None

    def now(self) -> int:
        """The time an object made at this moment is stamped with."""
        return self.base() if self._override is None else self._override

    def base(self) -> int:
        """The clock's time without the override of :meth:`at`."""
        if self.frozen_at is not None:
            return self.frozen_at
        return int(time.time()) + self.offset

    def freeze(self, at: int | None = None) -> None:
        """Stop the clock, at this time or where it stands."""
        self.frozen_at = self.base() if at is None else at

    def resume(self) -> None:
        """Let time run on from where the frozen clock stands."""
        if self.frozen_at is not None:
            self.offset = self.frozen_at - int(time.time())
            self.frozen_at = None

    def move_to(self, at: int) -> None:
        """Set the clock to this time; it goes on or stands still as before."""
        if self.frozen_at is not None:
            self.frozen_at = at
        else:
            self.offset = at - int(time.time())

    @contextmanager
    def at(self, at: int | None) -> Iterator[None]:
        """Stamp everything made inside with this time; ``None`` changes nothing."""
        previous = self._override
        if at is not None:
            self._override = at
        try:
            yield
        finally:
            self._override = previous


def add_interval(anchor: int, interval: str, count: int) -> int:
    """The anchor plus a number of days, weeks, months or years; months clamp to their last day.

    Stripe counts every period from the billing cycle anchor, so that a subscription of the 31st
    renews on 28 February and on 31 March again.
    """
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        return anchor + int(timedelta(**{f"{interval}s": count}).total_seconds())
    months = start.year * 12 + start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def next_period_end(anchor: int, interval: str, count: int, start: int) -> int:
    """The first end of a billing period, counted from the anchor, that lies after ``start``."""
    periods = 1
    if interval in ("month", "year"):
        begun = datetime.fromtimestamp(anchor, UTC)
        now = datetime.fromtimestamp(start, UTC)
        months = (now.year - begun.year) * 12 + now.month - begun.month
        periods = max(1, months // (count * (12 if interval == "year" else 1)))
    while (end := add_interval(anchor, interval, periods * count)) <= start:
        periods += 1
    return end
