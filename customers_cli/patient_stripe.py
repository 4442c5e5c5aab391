"""Stripe's API for commands that read a lot of it: never too often, and patient."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from shared.integrations.stripe_gateway import Raw, StripeGateway, StripeUnavailable

# Stripe allows 100 requests a second in live mode and 25 in test mode
# (https://docs.stripe.com/rate-limits); the webhook and the store's own use need their share.
REQUESTS_PER_SECOND = 20.0
# 429, 5xx or no answer: four minutes in all, then the command stops and may be started again.
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0)


class Pace:
    """Turns, at most so many a second, for all threads together."""

    def __init__(self, per_second: float = REQUESTS_PER_SECOND) -> None:
        self._gap = 1.0 / per_second
        self._next_at = 0.0
        self._lock = threading.Lock()

    def wait_for_turn(self) -> None:
        with self._lock:
            at = max(self._next_at, time.monotonic())
            self._next_at = at + self._gap
        time.sleep(max(0.0, at - time.monotonic()))

    def pause(self, seconds: float) -> None:
        """No turns for a while, for anybody."""
        with self._lock:
            self._next_at = max(self._next_at, time.monotonic() + seconds)


class PatientStripe(StripeGateway):
    """The gateway, for reading: a request that Stripe can't answer now is sent again.

    Attributes:
        requests: how many were sent.
    """

    def __init__(
        self, *args: Any, pace: Pace | None = None, waits: Sequence[float] = WAITS, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._pace = pace or Pace()
        self._waits = waits
        self.requests = 0

    def _send(
        self,
        key: str,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        options: Mapping[str, str],
    ) -> Raw:
        for wait in self._waits:
            try:
                return self._send_in_turn(key, method, path, params, options)
            except StripeUnavailable:
                self._pace.pause(wait)
        return self._send_in_turn(key, method, path, params, options)

    def _send_in_turn(self, *request: Any) -> Raw:
        self._pace.wait_for_turn()
        self.requests += 1
        return super()._send(*request)
