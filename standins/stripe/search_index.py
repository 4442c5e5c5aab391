"""What Search knows: each object as it was a while ago, and who may ask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from standins.stripe.clock import Clock
from standins.stripe.connected_accounts import key_of
from standins.stripe.errors import invalid
from standins.stripe.search_queries import Query, searchable
from standins.stripe.shapes import Object
from standins.stripe.store import Store

DEFAULT_LAG = 2
"""Seconds. Stripe's own is "under 1 minute", and up to an hour during outages."""


class SearchIndex:
    """The searchable fields of objects, and when they became what they are.

    What is written is found ``lag`` seconds later by the stand-in's clock; until then the object
    is found as it was before, or not at all. ``refused``: the status (400 or 404) that Search
    answers instead, by account; "" is the platform's own.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._versions: dict[tuple[str, str], dict[str, list[tuple[int, Object]]]] = {}
        kept = store.value("search", {})
        self.lag: float = kept.get("lag", DEFAULT_LAG)
        self.refused: dict[str, int] = kept.get("refused", {})
        for space, kind, id_, at, fields in store.rows(
            "SELECT space, kind, id, at, fields FROM searchable ORDER BY number"
        ):
            self._keep(space, kind, id_, at, json.loads(fields))

    # --- what is found --------------------------------------------------------------------

    def note(self, space: str, target: Mapping[str, Any]) -> None:
        """Write down what an object has become, where that can be searched for."""
        fields = searchable(target)
        if fields is None:
            return
        kind, id_, at = target["object"], target["id"], self._clock.now()
        versions = self._versions.get((space, kind), {}).get(id_)
        if versions and versions[-1][1] == fields:
            return
        self._keep(space, kind, id_, at, fields)
        self._store.insert(
            "INSERT INTO searchable (space, kind, id, at, fields) VALUES (?, ?, ?, ?, ?)",
            (space, kind, id_, at, json.dumps(fields)),
        )

    def adopt(self, space: str, stored: Mapping[str, Any]) -> None:
        """Take in an object of a file that was written before there was Search."""
        fields = searchable(stored)
        if fields is not None and stored["id"] not in self._versions.get(
            (space, stored["object"]), {}
        ):
            self._keep(space, stored["object"], stored["id"], stored["created"], fields)

    def _keep(self, space: str, kind: str, id_: str, at: int, fields: Object) -> None:
        self._versions.setdefault((space, kind), {}).setdefault(id_, []).append((at, fields))

    def found(self, space: str, kind: str, query: Query) -> list[str]:
        """The ids of the objects that match, as Search knows them now."""
        until = self._clock.now() - self.lag
        found = []
        for id_, versions in self._versions.get((space, kind), {}).items():
            known = next((fields for at, fields in reversed(versions) if at <= until), None)
            if known is not None and query.matches(known):
                found.append(id_)
        return found

    # --- switches -------------------------------------------------------------------------

    def set_lag(self, seconds: float) -> None:
        """How long after it is written something is found."""
        if seconds < 0:
            raise invalid("The lag of Search is a number of seconds, not negative.", param="lag")
        self.lag = seconds
        self._keep_switches()

    def refuse(self, status: int | None, account_id: str | None = None) -> None:
        """Let Search answer an account (``None``: the platform's own) with 400 or 404 only.

        ``status`` ``None``: let it be searched again.
        """
        if status not in (None, 400, 404):
            raise invalid("Search refuses with 400 or 404.", param="refuse")
        self.refused.pop(key_of(account_id), None)
        if status is not None:
            self.refused[key_of(account_id)] = status
        self._keep_switches()

    def _keep_switches(self) -> None:
        self._store.set_value("search", {"lag": self.lag, "refused": self.refused})
