"""Events that can never be applied, kept with their reason until somebody replays them.

``PARKED#{store or "-"}`` / ``{created:011d}#{event id}#{part}``: the body gzipped, as text, in
parts of 350 KB (an item holds 400 KB, an event up to 1 MB). Payloads hold names and e-mails: they
are kept here, with the rest of the store's data, and never logged.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from shared.domain.clock import Clock, system_clock
from shared.domain.key_parts import is_id, moment, sort_key
from shared.storage.dynamo import Table
from shared.tenant import Tenant

PART_CHARACTERS = 350_000
NO_STORE = "-"


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """One event as it came in.

    Attributes:
        event_id: see :func:`id_of`.
        created_at: seconds since the epoch; 0 where the event doesn't say.
        origin: ``stripe`` or ``store``: who has to apply it.
        reason: why it was parked, without personal data.
    """

    event_id: str
    created_at: int
    origin: str
    reason: str
    body: bytes
    parked_at: int = 0


class Parked:
    """The parked events of all stores. Parking one twice keeps it once."""

    def __init__(self, table: Table, clock: Clock = system_clock) -> None:
        self.table = table
        self.clock = clock

    def park(self, tenant: Tenant | None, event: ParkedEvent) -> None:
        text = base64.b85encode(gzip.compress(event.body, mtime=0)).decode()
        parts = [text[at : at + PART_CHARACTERS] for at in range(0, len(text), PART_CHARACTERS)]
        # The last part first: a crash in between leaves no first part, and Stripe sends it again.
        for number in reversed(range(len(parts))):
            self.table.put(
                {
                    "pk": _pk(tenant),
                    "sk": _sk(event, number),
                    "event_id": event.event_id,
                    "created_at": event.created_at,
                    "origin": event.origin,
                    "reason": event.reason,
                    "parts": len(parts),
                    "body": parts[number],
                    "parked_at": int(self.clock()),
                }
            )

    def all(self, tenant: Tenant | None) -> Iterator[ParkedEvent]:
        """A store's parked events (``None``: those of no store), the oldest first."""
        items = self.table.query_all("pk = :pk", page=20, pk=_pk(tenant))
        for _, group in groupby(items, key=lambda item: item["sk"].rsplit("#", 1)[0]):
            parts = list(group)
            if len(parts) != parts[0]["parts"]:
                continue
            text = "".join(part["body"] for part in parts)
            yield ParkedEvent(
                parts[0]["event_id"],
                parts[0]["created_at"],
                parts[0]["origin"],
                parts[0]["reason"],
                gzip.decompress(base64.b85decode(text)),
                parts[0]["parked_at"],
            )

    def holds(self, tenant: Tenant, event_id: str, created_at: int) -> bool:
        """Whether an event of a store is parked."""
        event = ParkedEvent(event_id, created_at, "", "", b"")
        found, _ = self.table.query(
            "pk = :pk AND sk BETWEEN :first AND :last",
            limit=1,
            pk=_pk(tenant),
            first=_sk(event, 0),
            last=_sk(event, 99),
        )
        return bool(found)

    def remove(self, tenant: Tenant | None, event: ParkedEvent) -> None:
        """Forget an event that was applied after all."""
        sks = [
            item["sk"]
            for item in self.table.query_all(
                "pk = :pk AND sk BETWEEN :first AND :last",
                pk=_pk(tenant),
                first=_sk(event, 0),
                last=_sk(event, 99),
            )
        ]
        for sk in sks:
            self.table.delete(_pk(tenant), sk)


def _pk(tenant: Tenant | None) -> str:
    return f"PARKED#{NO_STORE if tenant is None else tenant.store_id}"


def _sk(event: ParkedEvent, part: int) -> str:
    return sort_key(f"{moment(event.created_at)}#{event.event_id}#{part:02d}")


def id_of(told: Any, body: bytes) -> str:
    """The id under which an event is parked: its own or, where what it tells can be none, a digest
    of its body."""
    return told if is_id(told) else f"body-{hashlib.sha256(body).hexdigest()[:32]}"
