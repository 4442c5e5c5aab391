"""Times: seconds since the epoch inside, ISO 8601 in UTC outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Seconds since the epoch."""


def system_clock() -> float:
    """The time now."""
    return time.time()


def iso(at: float | None) -> str | None:
    """``1763800000`` → ``"2025-11-22T08:26:40Z"``."""
    if at is None:
        return None
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_iso(text: str) -> int:
    """An ISO 8601 date or time (UTC where it names no zone) as seconds since the epoch.

    Raises:
        ValueError: not such a text.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


# Seconds before the next try of what failed for now; the last one repeats.
_BACKOFF = (5, 30, 120, 600, 1800, 3600)


def backoff_seconds(attempts: int) -> int:
    """The wait after so many failed tries: grows to an hour and stays there."""
    return _BACKOFF[min(max(attempts, 1), len(_BACKOFF)) - 1]
