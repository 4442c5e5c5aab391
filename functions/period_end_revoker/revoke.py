"""Do what is due: for one purchase when its schedule fires, for all of them in the sweep.

The sweep is the guarantee; the schedules only make it punctual. It walks the ``due`` index, so a
purchase is found whatever was lost on the way: an invocation, a schedule, an answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from shared.domain import steps
from shared.domain.steps import Who
from shared.ending.drive import Driver
from shared.ending.rights import BotRests, NoAnswer, Rights
from shared.observability import log_failure
from shared.storage.attention import Attention, Backlog, Place
from shared.storage.dynamo import AWS_ERRORS
from shared.storage.items import Record
from shared.storage.keys import DUE_INDEX, DUE_SHARDS, Key, chat_key, due_key
from shared.tenant import Tenant, account_of, store_of

# Purchases looked at in one sweep because a product's past turned out to be another.
MOST_REPLANNED = 100
# Chats that one sweep looks at, those where removals wait and the others each, and the time that
# takes: the next sweep goes on.
MOST_LOOKED_AT = 50
LOOKS_SECONDS = 60.0
# Looks in a row to which Telegram does not answer; one chat's silence says nothing of the others.
MOST_SILENT = 3
# Overdue removals made due in one sweep: an owner asked for all of them, or the bot has its rights
# again.
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
        finished: whether everything that was due was done, but for looks at chats.
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


@dataclass
class _Sweep:
    """One sweep under way.

    Attributes:
        finished: whether it still has time.
        timeouts: of the database, in a row.
        chats, retries: due, and put aside until everything else was done.
        again: purchases whose removals the sweep itself made due. The index may not show them yet.
    """

    deadline: float
    counts: Counter[str] = field(default_factory=Counter)
    oldest_seconds: int = 0
    finished: bool = True
    timeouts: int = 0
    chats: list[Key] = field(default_factory=list)
    retries: list[Record] = field(default_factory=list)
    again: list[Key] = field(default_factory=list)


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
        """Do everything that is due, oldest first, until the deadline; then look at chats, and do
        what that, or an owner, made due."""
        backlog = self._backlog()
        sweep = _Sweep(deadline)
        self._do(sweep, self._due())
        for mark in sweep.retries:
            with self._one_of(sweep, mark.key):
                sweep.again += self._retry_all(mark, deadline)
        sweep.counts["retried"] = len(sweep.again)
        self._look_at_chats(sweep, {} if backlog is None else backlog.by_chat)
        self._do(sweep, sweep.again)
        counts = sweep.counts
        return Swept(
            purchases=counts["purchases"],
            products=counts["products"],
            retried=counts["retried"],
            chats=counts["chats"],
            profiles=counts["profiles"],
            failed=counts["failed"],
            busy=counts["busy"],
            oldest_seconds=sweep.oldest_seconds,
            finished=sweep.finished,
            failing=None if backlog is None else backlog.failed,
            late=None if backlog is None else backlog.late,
        )

    def _backlog(self) -> Backlog | None:
        try:
            return self.attention.backlog(int(self.driver.clock()))
        except AWS_ERRORS as error:
            log_failure("what is overdue could not be counted", error)
            self.driver.records.table.deadline.go_on()
            return None

    def _do(self, sweep: _Sweep, keys: Iterable[Key]) -> None:
        """Do what is due of these; what must wait for the rest is put aside."""
        for key in keys:
            if not self._has_time(sweep):
                return
            with self._one_of(sweep, key):
                record = self.driver.records.get(key)
                now = int(self.driver.clock())
                if record is None or record.due_at is None or record.due_at > now:
                    continue
                if record.key.kind == "CHAT":
                    sweep.chats.append(record.key)
                    continue
                waited = now - max(record.due_at, record.written_at)
                sweep.oldest_seconds = max(sweep.oldest_seconds, waited)
                match record.key.kind:
                    case "REPLAN":
                        most = MOST_REPLANNED - sweep.counts["replanned"]
                        sweep.counts["replanned"] += self._replan(record, most, sweep.deadline)
                        sweep.counts["products"] += 1
                    case "RETRY":
                        sweep.retries.append(record)
                    case _:
                        sweep.counts[self._settle(record, sweep.deadline)] += 1

    def _has_time(self, sweep: _Sweep) -> bool:
        if self.driver.monotonic() >= sweep.deadline or sweep.timeouts >= MOST_TIMEOUTS:
            sweep.finished = False
        return sweep.finished

    @contextmanager
    def _one_of(self, sweep: _Sweep, key: Key) -> Iterator[None]:
        """One record must not keep the others from their turn; it stays due."""
        deadline = self.driver.records.table.deadline
        try:
            yield
        except Exception as error:  # noqa: BLE001
            sweep.counts["failed"] += 1
            log_failure("a due record could not be settled", error, record=key.sk)
        sweep.timeouts = sweep.timeouts + 1 if deadline.has_given_up else 0
        deadline.go_on()

    def _look_at_chats(
        self, sweep: _Sweep, waiting: Mapping[tuple[Tenant, str], Sequence[Key]]
    ) -> None:
        """Look at the chats where removals wait for the bot's rights, and at those that are due.

        Where the bot can remove people again, the removals are made due. What waits is looked at
        in no order, so that none waits for ever.
        """
        places = list(waiting)
        random.shuffle(places)
        due = [(store_of(key.pk), key.sk.removeprefix("CHAT#")) for key in sweep.chats]
        rest = [place for place in due if place not in waiting]
        until = self.driver.monotonic() + LOOKS_SECONDS
        silent = 0
        for tenant, chat_id in [*places[:MOST_LOOKED_AT], *rest[:MOST_LOOKED_AT]]:
            if silent == MOST_SILENT or self.driver.monotonic() >= until:
                return
            if not self._has_time(sweep):
                return
            with self._one_of(sweep, chat_key(tenant, chat_id)):
                try:
                    look = self.rights.look(tenant, chat_id)
                except BotRests:
                    return
                except NoAnswer:
                    silent += 1
                    if (tenant, chat_id) in due:
                        self.rights.look_later(tenant, chat_id)
                    continue
                silent = 0
                sweep.counts["chats"] += 1
                if look.bot == "can_remove":
                    self._restart(sweep, chat_id, waiting.get((tenant, chat_id), ()))

    def _restart(self, sweep: _Sweep, chat_id: str, keys: Iterable[Key]) -> None:
        change = partial(steps.restart, chats={chat_id}, now=int(self.driver.clock()))
        for key in keys:
            if len(sweep.again) >= MOST_RETRIED:
                return
            if self.driver.make_due(key, change):
                sweep.again.append(key)

    def _settle(self, record: Record, deadline: float) -> str:
        if record.key.kind == "PURCHASE":
            driven = self.driver.drive(record.key, deadline=deadline)
            return "busy" if driven is None else "purchases"
        key = record.key
        self.driver.customers.reindex(store_of(key.pk), account_of(key.pk), changed=[key])
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
        if record is None:
            return
        if self.driver.customers.only_with_chats:
            # Whether it makes a customer depends on the product's chats, too.
            account = account_of(record.key.pk)
            self.driver.customers.reindex(tenant, account, changed=[record.key])
        if self.driver.is_planned_otherwise(record):
            self.driver.replan(record.key, deadline=deadline)

    def _retry_all(self, mark: Record, deadline: float) -> list[Key]:
        """Make every overdue removal of a store due, as its owner asked.

        Returns:
            The purchases.
        """
        records, tenant = self.driver.records, store_of(mark.key.pk)
        who = Who(str(mark.own.get("actor", "owner")), mark.own.get("actor_name"))
        after = Place.of(mark.own.get("after"))
        now = int(self.driver.clock())
        places, more = self.attention.places(tenant, now=now, after=after, most=MOST_RETRIED)
        made_due: list[Key] = []
        for place in places:
            if self.driver.monotonic() >= deadline:
                if after is not None:
                    records.got_to(mark, after.to_json())
                return made_due
            # With the time of the request: made due twice, it stands in the history once.
            ask = partial(steps.request_revocation, who=who, now=mark.reindex_at or now)
            self.driver.make_due(place.key, ask)
            made_due.append(place.key)
            after = place
        records.got_to(mark, None if more is None else more.to_json())
        return made_due

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
