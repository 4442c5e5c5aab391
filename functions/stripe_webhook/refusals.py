"""Deliveries with a signature that no secret of ours made.

A wrong secret is silent on our side: Stripe's events are refused, and so are those of a stranger.
The id that a refused delivery gives itself is noted, so that ``customers doctor`` can ask Stripe
whether it is one of its own. Anybody may send such deliveries, so a process writes once a minute at
most.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from functions.stripe_webhook.delivery import MAX_BYTES
from functions.stripe_webhook.signature import has_form
from shared.domain.errors import TryAgainLater
from shared.observability import log_failure
from shared.storage.dynamo import AWS_ERRORS
from shared.stripe_events.event import OBJECTS

if TYPE_CHECKING:
    from shared.storage.stripe_notes import StripeNotes

GAP_SECONDS = 60.0
_EVENT_ID = re.compile(r"evt_[A-Za-z0-9_]{1,200}")


class Refusals:
    """Notes refused deliveries.

    Args:
        notes: makes the notes, when there is something to note.
    """

    def __init__(
        self, notes: Callable[[], StripeNotes], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._notes = notes
        self._monotonic = monotonic
        self._next_at = float("-inf")

    def add(self, body: bytes, signature: str | None) -> None:
        """Note a refused delivery that looks like one of Stripe's; never fails."""
        if self._monotonic() < self._next_at or not has_form(signature) or len(body) > MAX_BYTES:
            return
        self._next_at = self._monotonic() + GAP_SECONDS
        told = _parsed(body)
        if told is None:
            return
        try:
            self._notes().refused(told["id"], livemode=told["livemode"])
        except (TryAgainLater, *AWS_ERRORS) as error:
            log_failure("a refused signature could not be noted", error)


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("object") not in OBJECTS:
        return None
    event_id, livemode = told.get("id"), told.get("livemode")
    if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
        return None
    return told if isinstance(livemode, bool) else None
