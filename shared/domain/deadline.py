"""How long one invocation of a function may go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from shared.domain.errors import TryAgainLater


class OutOfTime(TryAgainLater):
    """The invocation has no time left to begin another call."""


class Deadline:
    """The time limits of one invocation, and its clock.

    Every client looks at it before every call. A deadline that was never started has no end:
    operators' commands run without one.

    Attributes:
        monotonic: the clock by which it is measured, in seconds.
        act_until: until when something outside may be begun (a step of a cancel, a removal).
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

    def start(self, *, act_within: float, begin_within: float) -> None:
        """Begin an invocation.

        Args:
            act_within: seconds from now to ``act_until``.
            begin_within: seconds from now after which no call is begun.
        """
        now = self.monotonic()
        self.act_until = now + act_within
        self._begin_until = now + begin_within

    def left(self) -> float:
        """The seconds in which a call may still begin."""
        return self._begin_until - self.monotonic()

    def check(self) -> None:
        """Refuse to begin another call when the time is up.

        Raises:
            OutOfTime: it is.
        """
        if self.left() <= 0:
            raise OutOfTime

    def give_up(self) -> None:
        """End the time now: a call timed out, and a second one would time out too."""
        if math.isfinite(self._begin_until):
            self.act_until = self._begin_until = self.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait between two attempts.

        Raises:
            OutOfTime: the time would be up before the next attempt.
        """
        if seconds >= self.left():
            raise OutOfTime
        self._sleep(seconds)
