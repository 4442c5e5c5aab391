"""What the deployment notes about the arrival of Stripe's events. Items under ``STRIPE``:

``REFUSED#live``, ``REFUSED#test``
    ``event_id``, ``refused_at``: the last delivery whose signature the webhook refused, as it calls
    itself. Nobody has signed it, so it proves nothing until Stripe says that it has such an event.
``SILENCE``
    ``next_at``: when the sweep compares Stripe's events with the records again. ``silent``: since
    when no event of a store and mode has arrived though Stripe has some, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.clock import Clock, system_clock
from shared.storage.dynamo import ConditionFailed, Table

_PK = "STRIPE"
_SILENCE = "SILENCE"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A delivery that the webhook refused for its signature.

    Attributes:
        event_id: what it calls itself.
        at: when, seconds since the epoch.
    """

    event_id: str
    at: int


class StripeNotes:
    """Reads and writes these items."""

    def __init__(self, table: Table, clock: Clock = system_clock) -> None:
        self.table = table
        self.clock = clock

    # -- refused deliveries -----------------------------------------------------------------------

    def refused(self, event_id: str, *, livemode: bool) -> None:
        """Note a delivery that was refused for its signature; the last one of each mode is kept."""
        self.table.put(
            {
                "pk": _PK,
                "sk": _refused_sk(livemode),
                "event_id": event_id,
                "refused_at": int(self.clock()),
            }
        )

    def last_refusal(self, *, livemode: bool) -> Refusal | None:
        item = self.table.get(_PK, _refused_sk(livemode))
        return None if item is None else Refusal(item["event_id"], item["refused_at"])

    # -- silence ----------------------------------------------------------------------------------

    def silent(self) -> dict[str, int]:
        """Since when nothing has arrived, by store and mode, as it was found last."""
        item = self.table.get(_PK, _SILENCE) or {}
        silent: dict[str, int] = json.loads(item.get("silent", "{}"))
        return silent

    def begin_comparison(self, gap_seconds: int) -> bool:
        """Take the turn to compare Stripe's events with the records, at most once in that time.

        A new deployment has nothing to compare: its first turn only sets the next one.

        Returns:
            Whether it is the caller's turn now.
        """
        now = int(self.clock())
        item = self.table.get(_PK, _SILENCE)
        if item is not None and item["next_at"] > now:
            return False
        condition, values = "attribute_not_exists(next_at)", {}
        if item is not None:
            condition, values = "next_at = :read", {"read": item["next_at"]}
        try:
            self.table.update_blind(
                _PK, _SILENCE, "SET next_at = :next", condition, next=now + gap_seconds, **values
            )
        except ConditionFailed:
            return False  # another sweep has it
        return item is not None

    def found_silent(self, silent: Mapping[str, int]) -> None:
        """Note what a comparison found."""
        text = json.dumps(silent, sort_keys=True)
        self.table.update_blind(_PK, _SILENCE, "SET silent = :silent", silent=text)


def _refused_sk(livemode: bool) -> str:
    return "REFUSED#live" if livemode else "REFUSED#test"
