"""Do what is due: for one purchase when its schedule fires, for all of them in the sweep.

The sweep is the guarantee; the schedules only make it punctual. It walks the ``due`` index, so a
purchase is found whatever was lost on the way: an invocation, a schedule, an answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from shared.domain import steps
from shared.domain.steps import Who
from shared.ending.drive import Driver
from shared.ending.rights import NoAnswer, Rights
from shared.observability import log_failure
from shared.storage.attention import Attention, Backlog, Place
from shared.storage.dynamo import AWS_ERRORS
from shared.storage.items import Record
from shared.storage.keys import DUE_INDEX, DUE_SHARDS, Key, due_key
from shared.tenant import Tenant, account_of, store_of

# Purchases looked at in one sweep because a product's past turned out to be another.
MOST_REPLANNED = 100
# Chats that one sweep looks at, those where removals wait and the others each.
MOST_LOOKED_AT = 50
# Overdue removals made due in one sweep because the owner asked for all of them.
MOST_RETRIED = 500
# A sweep ends after the database timed out at so many records in a row.
MOST_TIMEOUTS = 3


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did.

    Attributes:
        purchases: driven now.
        products: products whose past changed, with purchases looked at again.
        retried: purchases whose removals were made due because an owner asked for all of them.
        chats: chats in which the bot's rights were looked at.
        profiles: customers the list was brought up to date for.
        failed: left due because of an error.
        busy: left to whoever drives them now.
        oldest_seconds: how long the oldest due item had been waiting.
        finished: whether everything that was due was looked at.
        failing: purchases with a removal that failed, when the sweep began; ``None``: they could
            not be counted.
        late: purchases whose removals wait for more than 15 minutes, likewise.
    """

    purchases: int = 0
    products: int = 0
    retried: int = 0
    chats: int = 0
    profiles: int = 0
    failed: int = 0
    busy: int = 0
    oldest_seconds: int = 0
    finished: bool = True
    failing: int | None = None
    late: int | None = None


@dataclass(frozen=True)
class Revoker:
    """Drives due purchases."""

    driver: Driver
    attention: Attention
    rights: Rights

    def revoke(self, key: Key, *, deadline: float) -> bool:
        """Look at one purchase again and do what is due.

        Returns:
            Whether it was looked at; ``False``: another does so now, or it isn't there.
        """
        return self.driver.drive(key, deadline=deadline) is not None

    def sweep(self, *, deadline: float) -> Swept:
        """Do everything that is due, oldest first, until the deadline."""
        backlog = self._try_again(deadline)
        counts: Counter[str] = Counter()
        oldest = timeouts = 0
        finished = True
        table = self.driver.records.table
        left = MOST_REPLANNED
        for key in self._due_twice(counts):
            if self.driver.monotonic() >= deadline:
                finished = False
                break
            try:
                record = self.driver.records.get(key)
                now = int(self.driver.clock())
                if record is None or record.due_at is None or record.due_at > now:
                    continue
                oldest = max(oldest, now - max(record.due_at, record.written_at))
                if record.key.kind == "REPLAN":
                    left -= self._replan(record, left, deadline)
                    counts["products"] += 1
                elif record.key.kind == "CHAT":
                    if counts["chats"] < MOST_LOOKED_AT:
                        counts["chats"] += 1
                        self._look_at_chat(record.key)
                elif record.key.kind == "RETRY":
                    counts["retried"] += self._retry_all(record, deadline)
                else:
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
            products=counts["products"],
            retried=counts["retried"],
            chats=counts["chats"],
            profiles=counts["profiles"],
            failed=counts["failed"],
            busy=counts["busy"],
            oldest_seconds=oldest,
            finished=finished,
            failing=None if backlog is None else backlog.failed,
            late=None if backlog is None else backlog.late,
        )

    def _try_again(self, deadline: float) -> Backlog | None:
        """Make removals due that failed because the bot had lost its rights, where it has them
        again. Chats are looked at in no order, so that none waits for ever."""
        now = int(self.driver.clock())
        try:
            backlog = self.attention.backlog(now)
        except AWS_ERRORS as error:
            log_failure("what is overdue could not be counted", error)
            self.driver.records.table.deadline.go_on()
            return None
        waiting = list(backlog.by_chat.items())
        random.shuffle(waiting)
        for (tenant, chat_id), keys in waiting[:MOST_LOOKED_AT]:
            if self.driver.monotonic() >= deadline:
                break
            try:
                if self.rights.look(tenant, chat_id).bot == "can_remove":
                    for key in keys[:MOST_RETRIED]:
                        self.driver.make_due(key, partial(steps.restart, chats={chat_id}, now=now))
            except NoAnswer:
                break
            except Exception as error:  # noqa: BLE001
                # What is due must be done whatever is wrong with a chat.
                log_failure("the bot's rights could not be looked at", error)
            self.driver.records.table.deadline.go_on()
        return backlog

    def _look_at_chat(self, key: Key) -> None:
        """Look at a chat that a store names."""
        tenant, chat_id = store_of(key.pk), key.sk.removeprefix("CHAT#")
        try:
            self.rights.look(tenant, chat_id)
        except NoAnswer:
            self.rights.look_later(tenant, chat_id)

    def _settle(self, record: Record, deadline: float) -> str:
        if record.key.kind == "PURCHASE":
            driven = self.driver.drive(record.key, deadline=deadline)
            return "busy" if driven is None else "purchases"
        key = record.key
        self.driver.customers.reindex(store_of(key.pk), account_of(key.pk))
        return "profiles"

    def _replan(self, mark: Record, most: int, deadline: float) -> int:
        """Look at purchases of a product again, and plan anew where its chats were others.

        Returns:
            How many were looked at.
        """
        if most <= 0:
            return 0
        records, tenant = self.driver.records, store_of(mark.key.pk)
        _, mode, product_id = mark.key.sk.split("#", 2)
        keys = records.sold(tenant, mode, product_id, mark.own.get("after", ""), most)
        last = mark.own.get("after", "")
        for looked_at, key in enumerate(keys):
            if self.driver.monotonic() >= deadline:
                records.got_to(mark, last)
                return looked_at
            self._replan_one(tenant, key, deadline)
            last = key.sk.removeprefix("PURCHASE#")
        records.got_to(mark, last if len(keys) == most else None)
        return len(keys)

    def _replan_one(self, tenant: Tenant, key: Key, deadline: float) -> None:
        records = self.driver.records
        record = records.get(key)
        if record is None:  # a guest's that was moved
            purchase_id = key.sk.removeprefix("PURCHASE#")
            places = [item for item in records.find(tenant, purchase_id) if item["sk"] == key.sk]
            record = next(filter(None, (records.get(Key(p["pk"], p["sk"])) for p in places)), None)
        if record is not None and self.driver.is_planned_otherwise(record):
            self.driver.replan(record.key, deadline=deadline)

    def _retry_all(self, mark: Record, deadline: float) -> int:
        """Make every overdue removal of a store due, as its owner asked.

        Returns:
            How many purchases were looked at.
        """
        records, tenant = self.driver.records, store_of(mark.key.pk)
        who = Who(str(mark.own.get("actor", "owner")), mark.own.get("actor_name"))
        after = Place.of(mark.own.get("after"))
        now = int(self.driver.clock())
        places, more = self.attention.places(tenant, now=now, after=after, most=MOST_RETRIED)
        for looked_at, place in enumerate(places):
            if self.driver.monotonic() >= deadline:
                if after is not None:
                    records.got_to(mark, after.to_json())
                return looked_at
            self.driver.make_due(place.key, partial(steps.request_revocation, who=who, now=now))
            after = place
        records.got_to(mark, None if more is None else more.to_json())
        return len(places)

    def _due_twice(self, counts: Counter[str]) -> Iterator[Key]:
        """What is due, and what a retry of everything made due meanwhile."""
        yield from self._due()
        if counts["retried"]:
            yield from self._due()

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
                    yield due_key(item)
