"""Do what is due: for one purchase when its schedule fires, for all of them in the sweep.

The sweep is the guarantee; the schedules only make it punctual. It walks the ``due`` index, so a
purchase is found whatever was lost on the way: an invocation, a schedule, an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from shared.ending.drive import Driver
from shared.observability import log_failure
from shared.storage.items import Record
from shared.storage.keys import DUE_INDEX, DUE_SHARDS, Key
from shared.tenant import account_of, store_of

# A sweep ends after the database timed out at so many records in a row.
MOST_TIMEOUTS = 3


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did.

    Attributes:
        purchases: driven now.
        profiles: customers the list was brought up to date for.
        failed: left due because of an error.
        busy: left to whoever drives them now.
        oldest_seconds: how long the oldest due item had been waiting.
        finished: whether everything that was due was looked at.
    """

    purchases: int = 0
    profiles: int = 0
    failed: int = 0
    busy: int = 0
    oldest_seconds: int = 0
    finished: bool = True


@dataclass(frozen=True)
class Revoker:
    """Drives due purchases."""

    driver: Driver

    def revoke(self, key: Key, *, deadline: float) -> bool:
        """Look at one purchase again and do what is due.

        Returns:
            Whether it was looked at; ``False``: another does so now, or it isn't there.
        """
        return self.driver.drive(key, deadline=deadline) is not None

    def sweep(self, *, deadline: float) -> Swept:
        """Do everything that is due, oldest first, until the deadline."""
        counts: Counter[str] = Counter()
        oldest = timeouts = 0
        finished = True
        table = self.driver.records.table
        for key in self._due():
            if self.driver.monotonic() >= deadline:
                finished = False
                break
            try:
                record = self.driver.records.get(key)
                now = int(self.driver.clock())
                if record is None or record.due_at is None or record.due_at > now:
                    continue
                oldest = max(oldest, now - max(record.due_at, record.written_at))
                counts[self._settle(record, deadline)] += 1
            except Exception as error:  # noqa: BLE001
                # One record must not keep the others from their turn; it stays due.
                counts["failed"] += 1
                log_failure("a due record could not be settled", error, record=key.sk)
            timeouts = timeouts + 1 if table.deadline.has_given_up else 0
            if timeouts == MOST_TIMEOUTS:
                finished = False
                break
            table.deadline.go_on()
        return Swept(
            purchases=counts["purchases"],
            profiles=counts["profiles"],
            failed=counts["failed"],
            busy=counts["busy"],
            oldest_seconds=oldest,
            finished=finished,
        )

    def _settle(self, record: Record, deadline: float) -> str:
        if record.key.kind == "PURCHASE":
            driven = self.driver.drive(record.key, deadline=deadline)
            return "busy" if driven is None else "purchases"
        key = record.key
        self.driver.customers.reindex(store_of(key.pk), account_of(key.pk))
        return "profiles"

    def _due(self) -> Iterator[Key]:
        """What is due now. The shards take turns, so a long one does not delay the others."""
        now = int(self.driver.clock())
        shards = [
            self.driver.records.table.query_all(
                "due_shard = :shard AND due_at <= :now", index=DUE_INDEX, shard=shard, now=now
            )
            for shard in DUE_SHARDS
        ]
        while shards:
            for shard in list(shards):
                item = next(shard, None)
                if item is None:
                    shards.remove(shard)
                else:
                    yield Key(item["pk"], item["sk"])
