"""How long one invocation of a function may go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.domain.errors import TryAgainLater


class OutOfTime(TryAgainLater):
    """The invocation has no time left to begin another call."""


class Deadline:
    """The time limits of one invocation, and its clock.

    Every client looks at it before every call. A deadline that was never started has no end:
    operators' commands run without one.

    Attributes:
        monotonic: the clock by which it is measured, in seconds.
        act_until: after this time, no change outside (in Stripe, in Telegram) is begun.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.monotonic = monotonic
        self.act_until = math.inf
        self._sleep = sleep
        self._begin_until = math.inf
        self._has_given_up = False
        self._is_hopeless = False

    def start(self, *, act_within: float, begin_within: float) -> None:
        """Begin an invocation.

        Args:
            act_within: seconds from now to ``act_until``.
            begin_within: seconds from now after which no call is begun.
        """
        now = self.monotonic()
        self.act_until = now + act_within
        self._begin_until = now + begin_within
        self.go_on()

    def left(self) -> float:
        """The seconds in which a call may still begin."""
        return 0.0 if self._has_given_up else self._begin_until - self.monotonic()

    def check(self) -> None:
        """Refuse to begin another call when the time is up.

        Raises:
            OutOfTime: it is.
        """
        if self.left() <= 0:
            raise OutOfTime

    @property
    def has_given_up(self) -> bool:
        """Whether a call timed out, so that no other is begun."""
        return self._has_given_up

    def give_up(self) -> None:
        """Begin no more calls: one timed out, and the next would probably time out too."""
        self._has_given_up = math.isfinite(self._begin_until)

    def go_on(self) -> None:
        """Allow calls again: the next of several independent pieces of work begins."""
        self._has_given_up = self._is_hopeless = False

    @contextmanager
    def giving_back(self) -> Iterator[None]:
        """Allow one call after a call that timed out: to give back a lease or a lock.

        A second one is allowed only if the first did not time out. Both begin in time.
        """
        if self._is_hopeless:
            raise OutOfTime
        before, self._has_given_up = self._has_given_up, False
        try:
            yield
        finally:
            self._is_hopeless = before and self._has_given_up
            self._has_given_up = before or self._has_given_up

    def sleep(self, seconds: float) -> None:
        """Wait between two attempts.

        Raises:
            OutOfTime: the time would be up before the next attempt.
        """
        if seconds >= self.left():
            raise OutOfTime
        self._sleep(seconds)
