"""The purchases whose buyers should be out of a chat and are not.

They are found by a sparse index of the records: whatever stores a purchase puts it there or takes
it away (:attr:`shared.domain.purchase.Purchase.overdue`), so there is nothing to keep in step.
The index may lag behind the records by a moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.storage.dynamo import Table
from shared.storage.keys import ATTENTION_INDEX, Key
from shared.tenant import Tenant, store_of

# A removal that only waits needs nobody before this: most are done within a minute or two.
LATE_SECONDS = 900
# The backlog of all stores is counted up to this many pages of 1 MB, some 50,000 purchases.
MOST_PAGES = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where a purchase stands in a store's list.

    Attributes:
        since: since when its buyer should be out, seconds since the epoch.
        failed: a removal of it failed; else it waits.
    """

    key: Key
    since: int
    failed: bool = False

    def to_json(self) -> list[Any]:
        return [self.key.pk, self.key.sk, self.since]

    @classmethod
    def of(cls, parts: list[Any] | None) -> Place | None:
        return None if parts is None else cls(Key(parts[0], parts[1]), parts[2])


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits in all stores.

    Attributes:
        failed: purchases with a removal that failed.
        late: purchases whose removals wait for longer than :data:`LATE_SECONDS`.
        by_chat: purchases with a removal that failed for what may end by itself, by store and
            chat.
    """

    failed: int = 0
    late: int = 0
    by_chat: Mapping[tuple[Tenant, str], list[Key]] = field(default_factory=dict)


class Attention:
    """Reads the index."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def places(
        self, tenant: Tenant, *, now: int, after: Place | None = None, most: int
    ) -> tuple[list[Place], Place | None]:
        """Purchases that need attention, the oldest first; one Query.

        Args:
            after: go on behind this one.
            most: rows to read, those that only wait included.

        Returns:
            The places, and where to go on; ``None`` at the end.
        """
        rows, following = self.table.query(
            "attention_pk = :pk AND attention_at <= :now",
            index=ATTENTION_INDEX,
            limit=most,
            start=None if after is None else _start(tenant, after),
            pk=tenant.attention_pk(),
            now=now,
        )
        read = [
            Place(Key(row["pk"], row["sk"]), row["attention_at"], row["attention"] == "failed")
            for row in rows
        ]
        late = [place for place in read if is_late(place.since, place.failed, now)]
        return late, read[-1] if following is not None else None

    def backlog(self, now: int) -> Backlog:
        """Count what waits in all stores."""
        failed = late = 0
        by_chat: dict[tuple[Tenant, str], list[Key]] = {}
        for row in self.table.rows_of_index(ATTENTION_INDEX, MOST_PAGES):
            if row["attention"] == "failed":
                failed += 1
                for chat_id in row.get("attention_chats", ()):
                    waiting = by_chat.setdefault((store_of(row["pk"]), chat_id), [])
                    waiting.append(Key(row["pk"], row["sk"]))
            elif is_late(row["attention_at"], False, now):
                late += 1
        return Backlog(failed, late, by_chat)


def is_late(since: int, failed: bool, now: int) -> bool:
    """Whether a removal needs somebody: it failed, or waits for long."""
    return failed or now - since >= LATE_SECONDS


def _start(tenant: Tenant, after: Place) -> dict[str, dict[str, str]]:
    """DynamoDB's key to go on from. The partition is the store's, whatever the place says."""
    return {
        "pk": {"S": after.key.pk},
        "sk": {"S": after.key.sk},
        "attention_pk": {"S": tenant.attention_pk()},
        "attention_at": {"N": str(after.since)},
    }
