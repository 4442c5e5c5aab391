"""Records: what Stripe and the store said, one item per purchase, profile, method, transaction.

An event that changes no facts is one conditional write without a read: the condition says that
what is stored is older and its facts are the same. When it fails, DynamoDB returns the item, and
:func:`shared.domain.merge.decide` says whether to drop, apply or fetch.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.domain import merge, well_formed
from shared.domain.clock import Clock, system_clock
from shared.domain.errors import TryAgainLater
from shared.domain.merge import Fetched, Observation, Source, Verdict
from shared.domain.purchase import Own, Purchase
from shared.domain.timeline import UNTOLD, WITHOUT_BEFORE, Point, Timeline
from shared.settings import SETTLE_SECONDS
from shared.storage.dynamo import ConditionFailed, Contention, Item, Table
from shared.storage.items import (
    SAID,
    Record,
    due_shard,
    dumps,
    facts_of,
    facts_rule,
    from_item,
    meta_of,
    to_item,
)
from shared.storage.keys import REF_INDEX, Key, sold_key
from shared.tenant import Tenant, store_of

# A lease outlives any single call made under it (30 s is the longest timeout) and is renewed
# before each; an API function is stopped by its own timeout long before.
LEASE_SECONDS = 45
MAX_CONFLICTS = 20
# How long a purchase that becomes live waits for a removal of its buyer that is under way.
USER_LOCK_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an observation did.

    Attributes:
        stored: whether anything was written.
        facts_changed: whether anything follows: the list must be brought up to date, and a
            purchase driven on.
        record: the record as stored, where it had to be looked at.
        before: the record as it was, likewise.
    """

    stored: bool
    facts_changed: bool = False
    record: Record | None = None
    before: Record | None = None


class LeaseLost(Exception):
    """Another writer holds the lease now: stop."""


class Records:
    """Reads and conditional writes of records. Every write recomputes ``due_at``.

    Args:
        settle_seconds: how long a change that takes somebody's access waits for other events,
            from when it was first stored.
    """

    def __init__(
        self, table: Table, clock: Clock = system_clock, *, settle_seconds: int = SETTLE_SECONDS
    ) -> None:
        self.table = table
        self.clock = clock
        self.settle_seconds = settle_seconds

    # -- reading --------------------------------------------------------------------------------

    def get(self, key: Key) -> Record | None:
        item = self.table.get(key.pk, key.sk)
        return None if item is None else from_item(item)

    def find(self, tenant: Tenant, provider_id: str) -> list[Item]:
        """Keys of the records of a Stripe or public id (eventually consistent)."""
        items, _ = self.table.query(
            "#ref = :ref", index=REF_INDEX, names={"#ref": "ref"}, ref=tenant.ref(provider_id)
        )
        return [item for item in items if tenant.owns(item["pk"])]

    def account(
        self, tenant: Tenant, account: str, first: str = "METHOD#", last: str = "PURCHASE~"
    ) -> list[Record]:
        """Payment methods, profile and purchases of an account, in one query.

        Args:
            first: ``"PROFILE"`` leaves the payment methods out.
            last: ``"PROFILE"`` leaves the purchases out, ``"TXN~"`` takes the transactions in.
        """
        return [
            from_item(item)
            for item in self.table.query_all(
                "pk = :pk AND sk BETWEEN :first AND :last",
                pk=tenant.account_pk(account),
                first=first,
                last=last,
            )
        ]

    # -- what events say ------------------------------------------------------------------------

    def observe(
        self,
        key: Key,
        seen: Observation,
        *,
        fetch: Callable[[], Fetched | None],
        ids: frozenset[str] = frozenset(),
    ) -> Outcome:
        """Apply what an event says of one object to a record.

        Args:
            fetch: asks Stripe for the object; called only where the payload can't decide.
                ``None``: Stripe doesn't have it.
            ids: Telegram users (of a purchase) the event names.

        Raises:
            TryAgainLater: other writers got in the way too often.
            ValueError: what is said is not well formed; nothing was stored.
        """
        well_formed.check_observation(seen)
        point = _point_of(key, seen)
        is_point = point is not None and (point.tells_change or seen.source in WITHOUT_BEFORE)
        if key.kind == "PRODUCT" or is_point:
            item = self.table.get(key.pk, key.sk)
        else:
            try:
                return self._observe_without_reading(key, seen, ids)
            except ConditionFailed as refused:
                item = refused.item

        def change(before: Record | None) -> Record | None:
            after = self._observed(before, key, seen, fetch)
            return after if point is None else _with_point(before, after, seen.source, point)

        return self._merge(key, item, change, ids)

    def refresh(
        self,
        key: Key,
        fetched: Fetched,
        ids: frozenset[str] = frozenset(),
        *,
        again: Callable[[], Fetched | None] | None = None,
    ) -> Outcome:
        """Store an object as Stripe's API returned it, unless newer events are stored.

        Args:
            again: asks Stripe once more; called only where what is stored may have been said after
                the object was fetched. Needed where time passes between fetching and storing.
        """

        def change(before: Record | None) -> Record | None:
            stored = None if before is None else before.sources.get(fetched.source)
            latest: Fetched | None = fetched
            if again is not None and merge.may_be_newer(stored, fetched):
                latest = again()
            if latest is None:
                return before
            after = _with_fetched(before, key, latest)
            point = _point_of_fetched(key, latest)
            return after if point is None else _with_point(before, after, latest.source, point)

        item = self.table.get(key.pk, key.sk)
        return self._merge(key, item, change, ids)

    def _observe_without_reading(self, key: Key, seen: Observation, ids: frozenset[str]) -> Outcome:
        source = merge.applied(None, seen)
        rule = facts_rule(key)
        if rule is not None and (seen.rank == 0 or seen.terminal):
            if seen.terminal:
                raise ConditionFailed(self.table.get(key.pk, key.sk))
            after = Record(key, {seen.source: source}, ids, reindex_at=self._now())
            self._note_sold(None, after)
            stored = self._put(None, after)
            return Outcome(stored=True, facts_changed=True, record=stored)
        names = {f"#{part}": f"{part}_{seen.source}" for part in ("s", "v", "r", "m", "x")}
        values: dict[str, Any] = {
            "s": dumps(seen.data),
            "v": seen.created_at,
            "r": seen.rank,
            "m": meta_of(source),
            "one": 1,
        }
        sets = ["#s = :s", "#v = :v", "#r = :r", "#m = :m"]
        older = "(#v < :v OR (#v = :v AND #r < :r)) AND attribute_not_exists(#x)"
        if rule is not None:
            names["#k"] = f"k_{seen.source}"
            values["k"] = dumps(rule(seen.source, seen.data))
            condition = f"#k = :k AND {older}"
        else:
            condition = f"attribute_not_exists(#v) OR ({older})"
            for name, value in (("ref", key.ref), ("subscription", key.subscription)):
                if value is not None:
                    names[f"#{name}"] = name
                    values[name] = value
                    sets.append(f"#{name} = :{name}")
            if seen.terminal:
                sets.append("#x = :one")
        sets.append("rev = if_not_exists(rev, :born) + :one")
        values["born"] = _born(key)
        adds = ""
        if ids and rule is None:
            values["ids"] = ids
            adds = " ADD seen :ids"
        self.table.update_blind(
            key.pk,
            key.sk,
            f"SET {', '.join(sets)}{adds}",
            condition,
            names,
            **values,
        )
        return Outcome(stored=True)

    def _observed(
        self,
        before: Record | None,
        key: Key,
        seen: Observation,
        fetch: Callable[[], Fetched | None],
    ) -> Record | None:
        stored = None if before is None else before.sources.get(seen.source)
        verdict = merge.decide(stored, seen)
        if verdict is Verdict.DROP:
            return before
        if verdict is Verdict.APPLY:
            return _with_source(before, key, seen.source, merge.applied(stored, seen))
        fetched = fetch()
        if fetched is None:
            return before
        return _with_fetched(before, key, replace(fetched, because=seen))

    def _merge(
        self,
        key: Key,
        item: Item | None,
        change: Callable[[Record | None], Record | None],
        ids: frozenset[str],
    ) -> Outcome:
        """Read-decide-write until nobody else wrote in between.

        What is named is noted even where what is said of it is dropped for being old: somebody
        was let in by it.
        """
        for attempt in range(MAX_CONFLICTS):
            before = None if item is None else from_item(item)
            after = change(before)
            if after is not None and ids - after.seen and not after.is_frozen:
                after = replace(after, seen=after.seen | ids)
            if after is None or after == before:
                return Outcome(stored=False, record=before, before=before)
            changed = facts_rule(after.key) is not None and facts_of(before) != facts_of(after)
            if changed:
                after = replace(after, reindex_at=self._now())
            after = self._settling(before, after)
            self._note_sold(before, after)
            try:
                stored = self._put(before, after)
            except ConditionFailed as refused:
                item = refused.item
            except Contention:
                self.table.deadline.sleep(min(0.01 * 2**attempt, 0.3))
                item = self.table.get(key.pk, key.sk)
            else:
                return Outcome(stored=True, facts_changed=changed, record=stored, before=before)
        raise TryAgainLater("too many writers of one record")

    def _settling(self, before: Record | None, after: Record) -> Record:
        """Somebody is to be removed for another reason than before: other events may be on their
        way that say more."""
        if after.key.kind != "PURCHASE":
            return after
        planned_for = "" if before is None else before.purchase.plan_key
        if after.purchase.plan_key in ("", planned_for):
            return after
        return replace(after, settle_until=self._now() + self.settle_seconds)

    def _note_sold(self, before: Record | None, after: Record) -> None:
        """Note under its products that there is this purchase, before it is stored.

        A late word on a product's chats finds by it whose purchases it concerns.
        """
        if after.key.kind != "PURCHASE":
            return
        known = frozenset[str]() if before is None else before.purchase.products_ever
        tenant, purchase = store_of(after.key.pk), after.purchase
        for product_id in sorted(purchase.products_ever - known):
            key = sold_key(tenant, product_id, purchase.livemode, purchase.purchase_id)
            self.table.put({"pk": key.pk, "sk": key.sk, "account": after.key.pk})

    # -- our own part -----------------------------------------------------------------------------

    def lease(self, key: Key, owner: str) -> Record | None:
        """Take the lease of a purchase; ``None`` while another holds it or there is no record."""
        now = self._now()
        try:
            item = self.table.update(
                key.pk,
                key.sk,
                "SET lease_owner = :owner, lease_until = :until ADD rev :one",
                "attribute_exists(pk) AND (attribute_not_exists(lease_owner)"
                " OR lease_owner = :owner OR lease_until < :now)",
                owner=owner,
                until=now + LEASE_SECONDS,
                now=now,
                one=1,
            )
        except ConditionFailed:
            return None
        return from_item(item)

    def release(self, key: Key, owner: str) -> None:
        """Give the lease back; harmless when it is another's by now."""
        with self.table.giving_back():
            self.table.update_blind(
                key.pk,
                key.sk,
                "REMOVE lease_owner, lease_until ADD rev :one",
                "lease_owner = :owner",
                owner=owner,
                one=1,
            )

    def save_own(self, record: Record, owner: str, change: Callable[[Purchase], Own]) -> Record:
        """Write our own part of a purchase, under its lease, which is renewed by it.

        ``change`` is called again with the newer purchase when an event was stored meanwhile.

        Raises:
            LeaseLost: another writer took the lease.
        """
        for _ in range(MAX_CONFLICTS):
            if record.lease_owner != owner:
                raise LeaseLost
            after = replace(
                record,
                own=change(record.purchase).to_json(),
                lease_until=self._now() + LEASE_SECONDS,
            )
            try:
                return self._put(record, after)
            except ConditionFailed as refused:
                if refused.item is None:
                    raise LeaseLost from None
                record = from_item(refused.item)
        raise TryAgainLater("too many writers of one record")

    def indexed(self, record: Record) -> None:
        """The list shows this record's facts now. No-op when it was written since."""
        if record.reindex_at is None:
            return
        try:
            self._put(record, replace(record, reindex_at=None))
        except ConditionFailed:
            return

    def unmarking(self, record: Record) -> Item:
        """:meth:`indexed` as an action for a transaction, which is refused when the record was
        written since."""
        after = replace(record, reindex_at=None, rev=record.rev + 1, written_at=self._now())
        return self.table.put_action(to_item(after), "rev = :rev", rev=record.rev)

    def file(self, profile: Record, own: Mapping[str, Any], *, marked: bool) -> tuple[Record, Item]:
        """Note where an account is filed, if its profile is as it was read.

        Args:
            profile: without a ``rev``: it is made.
            marked: whether something is left to do for the list.

        Returns:
            The profile after it, and the action for a transaction.
        """
        marked_at = profile.reindex_at if profile.reindex_at is not None else self._now()
        after = replace(
            profile,
            own=own,
            reindex_at=marked_at if marked else None,
            rev=(profile.rev or _born(profile.key)) + 1,
            written_at=self._now(),
        )
        item = to_item(after)
        if profile.rev:
            return after, self.table.put_action(item, "rev = :rev", rev=profile.rev)
        return after, self.table.put_action(item, "attribute_not_exists(pk)")

    # -- tasks of the sweep -----------------------------------------------------------------------

    def mark(self, key: Key, **own: Any) -> None:
        """Give the sweep a task that concerns many purchases, to be done from the first.

        Args:
            own: what the sweep must know of it.
        """
        now = self._now()
        self.table.update_blind(
            key.pk,
            key.sk,
            "SET reindex_at = :now, due_at = :now, due_shard = :shard, own = :own ADD rev :one",
            now=now,
            shard=due_shard(key),
            own=dumps(own),
            one=1,
        )

    def sold(self, tenant: Tenant, mode: str, product_id: str, after: str, most: int) -> list[Key]:
        """Purchases that are or were of a product, by id.

        Args:
            mode: ``live`` or ``test``.
            after: the id of the last one seen; empty: from the first.
        """
        notes = self.table.query_all(
            "pk = :pk AND sk BETWEEN :first AND :last",
            page=most,
            pk=tenant.sold_pk(mode, product_id),
            first=f"SOLD#{after}\0" if after else "SOLD#",
            last="SOLD#~",
        )
        return [
            Key(note["account"], note["sk"].replace("SOLD#", "PURCHASE#", 1))
            for note in itertools.islice(notes, most)
        ]

    def got_to(self, mark: Record, after: Any) -> None:
        """Note how far a task was done; no-op when it was given again.

        Args:
            after: what was done last, JSON; ``None``: all of it.
        """
        done = replace(mark, own={}, reindex_at=None)
        try:
            self._put(
                mark, done if after is None else replace(mark, own={**mark.own, "after": after})
            )
        except ConditionFailed:
            return

    # -- writing ----------------------------------------------------------------------------------

    def _put(self, before: Record | None, after: Record) -> Record:
        """Write a whole item if nobody did since ``before`` was read; the record as stored.

        A purchase that begins to give a Telegram user access is written together with its link
        (by which a removal finds every purchase of that user), and not while a removal of that
        user is under way: else the removal could decide without it.
        """
        if before is None:
            condition, values = "attribute_not_exists(pk)", {}
            after = replace(after, rev=_born(after.key))
        else:
            condition, values = "rev = :rev", {"rev": before.rev}
        user = _begins_to_admit(before, after)
        stored = replace(after, rev=after.rev + 1, written_at=self._now())
        item = to_item(stored)
        if user is None:
            self.table.put(item, condition, **values)
            return stored
        tenant = store_of(after.key.pk)
        user_pk = tenant.telegram_user_pk(user)
        deadline = self.table.deadline
        patience = deadline.monotonic() + USER_LOCK_PATIENCE_SECONDS
        while True:
            try:
                self.table.transact(
                    [
                        self.table.put_action(item, condition, **values),
                        self.table.put_action(
                            {"pk": user_pk, "sk": f"LINK#{after.key.sk}", "account": after.key.pk}
                        ),
                        self.table.check_action(
                            user_pk,
                            "LOCK",
                            "attribute_not_exists(lease_until) OR lease_until < :now",
                            now=self._now(),
                        ),
                    ]
                )
            except ConditionFailed as refused:
                if refused.index == 0:
                    raise
                if deadline.monotonic() > patience:
                    raise TryAgainLater("a removal of this buyer is under way") from None
                deadline.sleep(0.1)
            else:
                return stored

    def _now(self) -> int:
        return int(self.clock())


def _born(key: Key) -> int:
    """The ``rev`` before a record's first write.

    A guest's record goes away when it moves to its customer, and may come again. A writer who has
    read the old one must not take the new one for it, so no two of them begin with the same.
    """
    return secrets.randbits(40) if key.is_guests else 0


def _begins_to_admit(before: Record | None, after: Record) -> str | None:
    """The Telegram user whom this write newly gives access, if any."""
    if after.key.kind != "PURCHASE":
        return None
    now = after.purchase
    if not now.is_live or now.telegram_user_id is None:
        return None
    if before is not None:
        then = before.purchase
        if (
            then.is_live
            and then.telegram_user_id == now.telegram_user_id
            and then.candidates == now.candidates
        ):
            return None
    return now.telegram_user_id


def _with_source(before: Record | None, key: Key, name: str, source: Source) -> Record:
    record = before or Record(key)
    merged_key = replace(record.key, ref=key.ref or record.key.ref, subscription=key.subscription)
    return replace(record, key=merged_key, sources={**record.sources, name: source})


def _with_fetched(before: Record | None, key: Key, fetched: Fetched) -> Record | None:
    well_formed.check(fetched.data)
    stored = None if before is None else before.sources.get(fetched.source)
    source = merge.refreshed(stored, fetched)
    return before if source is None else _with_source(before, key, fetched.source, source)


def _point_of(key: Key, seen: Observation) -> Point | None:
    rule = SAID.get(key.kind)
    if rule is None:
        return None
    before = UNTOLD if seen.previous is None else rule(seen.source, seen.previous)
    value = rule(seen.source, seen.data)
    return Point(seen.created_at, seen.rank, seen.event_id, value, before)


def _point_of_fetched(key: Key, fetched: Fetched) -> Point | None:
    rule = SAID.get(key.kind)
    if rule is None:
        return None
    return Point(fetched.fetched_at, 0, "", rule(fetched.source, fetched.data))


def _with_point(
    before: Record | None, after: Record | None, source: str, point: Point
) -> Record | None:
    """A record with what is said of it at one moment, however old that is."""
    if after is None or after.is_frozen:
        return after
    is_whole = source in WITHOUT_BEFORE
    known = Timeline(is_whole=is_whole)
    if before is not None and source in before.sources:
        known = before.timeline(source)
    told = known.with_points(point)
    others = {name: points for name, points in after.timelines.items() if name != source}
    plain = replace(after, timelines=others)
    now = plain.timeline(source)
    says_no_more = (
        not is_whole
        and len(told.points) == 1
        and not told.points[0].tells_change
        and told.points[0].value == now.points[-1].value
    )
    if now == told or says_no_more:
        return plain
    return replace(after, timelines={**others, source: told})
