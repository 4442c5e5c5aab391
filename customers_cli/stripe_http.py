"""An HTTP client for Stripe's SDK that limits its rate and retries for minutes.

Commands that read a lot use it.

It is a leaf of the composition (:class:`shared.compose.Leaves`): the gateway above it is the one
of the functions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import requests
import stripe

# Stripe allows 100 requests a second in live mode and 25 in test mode
# (https://docs.stripe.com/rate-limits); the webhook and the store's own use need their share.
REQUESTS_PER_SECOND = 20.0
# 429, 5xx or no answer: four minutes in all, then the command stops and may be started again.
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0)
# A page of a hundred objects takes longer than one object.
TIMEOUT = (3.0, 60.0)


class Pace:
    """Turns, at most so many a second, for all threads together."""

    def __init__(self, per_second: float = REQUESTS_PER_SECOND) -> None:
        self._gap = 1.0 / per_second
        self._next_at = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.turns = 0

    def wait_for_turn(self) -> None:
        """Return when it is the caller's turn.

        Raises:
            stripe.APIConnectionError: :meth:`end` was called; nobody gets a turn any more.
        """
        with self._lock:
            at = max(self._next_at, time.monotonic())
            self._next_at = at + self._gap
            self.turns += 1
        if self._ended.wait(max(0.0, at - time.monotonic())):
            raise stripe.APIConnectionError("the command was stopped")  # type: ignore[no-untyped-call]

    def pause(self, seconds: float) -> None:
        """No turns for a while, for anybody."""
        with self._lock:
            self._next_at = max(self._next_at, time.monotonic() + seconds)

    def end(self) -> None:
        """No turns any more: whoever waits for one stops waiting."""
        self._ended.set()


class PacedClient(stripe.HTTPClient):
    """Sends a request when it is its turn, and again when Stripe can't answer it now.

    Args:
        inner: what sends it.
        waits: seconds before each further attempt.
    """

    name = "requests"

    def __init__(
        self,
        pace: Pace,
        inner: stripe.HTTPClient | None = None,
        waits: Sequence[float] = WAITS,
    ) -> None:
        super().__init__()
        self._pace = pace
        self._inner = inner or stripe.RequestsClient(timeout=TIMEOUT)
        self._waits = waits

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[Any, int, Mapping[str, str]]:
        """The answer of the first attempt that got one, else of the last attempt.

        The SDK gives every POST an idempotency key, so a repeated one changes something once.
        """
        for wait in self._waits:
            self._pace.wait_for_turn()
            try:
                answer = self._inner.request(method, url, headers, post_data)
            except stripe.APIConnectionError as error:
                # All connection errors may be temporary, except a wrong certificate.
                if isinstance(error.__cause__, requests.exceptions.SSLError):
                    raise
            else:
                if not _come_again(answer[1]):
                    return answer
            self._pace.pause(wait)
        self._pace.wait_for_turn()
        return self._inner.request(method, url, headers, post_data)

    def close(self) -> None:
        self._inner.close()  # type: ignore[no-untyped-call]


def _come_again(status: int) -> bool:
    """Whether an answer says that the same request may be answered later.

    409: another request works on the same object (https://docs.stripe.com/api/errors).
    """
    return status in (409, 429) or status >= 500
