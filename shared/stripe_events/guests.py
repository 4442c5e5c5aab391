"""A payment whose payer was unknown at first, and whose customer a later event names.

Checkout may create the customer of a payment at its end, so that the events of one payment
disagree: a charge without a customer, a session with one. The charge is kept under
``guest:{payment}`` then, the session under the customer. Whichever comes second brings both
together under the customer.

Each side writes first and looks after it: the customer's event leaves a note (``MOVED``) in the
guest's partition and then reads what is there, the guest's event stores its record and then reads
the note. In any interleaving at least one of them sees the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.domain.errors import TryAgainLater
from shared.domain.merge import Source
from shared.domain.timeline import Timeline
from shared.storage.dynamo import ConditionFailed, Contention, Item
from shared.storage.items import Record, from_item, to_item
from shared.storage.keys import Key, moved_key, profile_key
from shared.storage.records import Records
from shared.tenant import Tenant, store_of

_MAX_CONFLICTS = 20
# A removal holds the lock of its Telegram user for a few seconds.
_PATIENCE_SECONDS = 10.0


class Guests:
    """Moves what is known of a guest to the customer it turned out to be."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.table = records.table

    def moved_to(self, tenant: Tenant, guest: str) -> str | None:
        """The customer's account that this guest's records belong to, where one is known."""
        key = moved_key(tenant, guest)
        note = self.table.get(key.pk, key.sk)
        return None if note is None else note["account"]

    def belongs_to(self, tenant: Tenant, guest: str, account: str) -> str:
        """Note that a guest is this customer; the first who says so is right."""
        key = moved_key(tenant, guest)
        note: Item = {"pk": key.pk, "sk": key.sk, "account": account}
        try:
            self.table.put(note, "attribute_not_exists(pk)")
        except ConditionFailed as refused:
            if refused.item is not None:
                return str(refused.item["account"])
        return account

    def adopt(self, tenant: Tenant, guest: str, account: str) -> list[Key]:
        """Move everything there is of a guest; repeatable.

        The guest's profile keeps nothing but under whom it was listed, so that it can be taken
        off the list: call :meth:`forget` when that is done.

        Returns:
            Where it is now; empty: there was nothing.
        """
        moved = []
        for item in self.table.query_all("pk = :pk", pk=tenant.account_pk(guest)):
            if "rev" not in item:
                continue  # notes
            record = from_item(item)
            there = replace(record.key, pk=tenant.account_pk(account))
            if record.key.kind == "PROFILE":
                self._empty(record)
            else:
                self._move(record, there)
            moved.append(there)
        return moved

    def forget(self, tenant: Tenant, guest: str) -> None:
        """Delete a guest's empty profile once it is off the list.

        The profile says itself under whom the guest is listed, and is written in the transaction
        that lists it: one that says nothing and is still the same belongs to nobody on the list.
        """
        record = self.records.get(profile_key(tenant, guest))
        if record is None or record.sources or record.own:
            return
        try:
            self.table.delete(record.key.pk, record.key.sk, "rev = :rev", rev=record.rev)
        except ConditionFailed:
            return

    def _empty(self, record: Record) -> None:
        if not record.sources:
            return
        now = int(self.records.clock())
        emptied = replace(record, sources={}, reindex_at=now, rev=record.rev + 1)
        try:
            self.table.put(to_item(emptied), "rev = :rev", rev=record.rev)
        except ConditionFailed:
            raise TryAgainLater("a guest's profile changed while it was moved") from None

    def _move(self, record: Record | None, key: Key) -> None:
        """One record, in one transaction: it is never in both places, and never in neither."""
        deadline = self.records.table.deadline
        patience = deadline.monotonic() + _PATIENCE_SECONDS
        for attempt in range(_MAX_CONFLICTS):
            if record is None:
                return
            now = int(self.records.clock())
            if record.lease_owner is not None and record.lease_until > now:
                raise TryAgainLater("a guest's purchase is being driven")
            target = self.records.get(key)
            # The list shows a customer's purchases, and of its rows none: only a guest's.
            reindex_at = now if key.kind == "PURCHASE" else None
            merged = replace(_merged(target, record, key), written_at=now, reindex_at=reindex_at)
            try:
                self.table.transact(self._actions(record, target, merged, now))
            except ConditionFailed as refused:
                if refused.index > 1 and deadline.monotonic() > patience:
                    raise TryAgainLater("a removal of this buyer is under way") from None
                deadline.sleep(0.1 if refused.index > 1 else 0)
            except Contention:
                deadline.sleep(min(0.01 * 2**attempt, 0.3))
            else:
                return
            record = self.records.get(record.key)
        raise TryAgainLater("too many writers of one record")

    def _actions(
        self, record: Record, target: Record | None, merged: Record, now: int
    ) -> list[Item]:
        condition = "attribute_not_exists(pk)" if target is None else "rev = :rev"
        values = {} if target is None else {"rev": target.rev}
        actions = [
            self.table.put_action(to_item(merged), condition, **values),
            self.table.delete_action(record.key.pk, record.key.sk, "rev = :rev", rev=record.rev),
        ]
        if merged.key.kind == "PURCHASE" and merged.purchase.is_live:
            user = merged.purchase.telegram_user_id
            if user is not None:
                # The link by which a removal finds this purchase must lead to where it is now,
                # and a removal that has read the old one must not be half done.
                pk = store_of(merged.key.pk).telegram_user_pk(user)
                actions += [
                    self.table.check_action(
                        pk,
                        "LOCK",
                        "attribute_not_exists(lease_until) OR lease_until < :now",
                        now=now,
                    ),
                    self.table.put_action(
                        {"pk": pk, "sk": f"LINK#{merged.key.sk}", "account": merged.key.pk}
                    ),
                ]
        return actions


def _merged(target: Record | None, record: Record, key: Key) -> Record:
    """Both records as one: of each source the newer, and both of our own parts."""
    if target is None:
        return replace(record, key=key, rev=1, lease_owner=None, lease_until=0)
    sources = dict(target.sources)
    for name, source in record.sources.items():
        there = sources.get(name)
        if there is None or _age(source) > _age(there):
            sources[name] = source
    merged = replace(target, sources=sources, timelines={})
    timelines = {}
    for name in sources:
        told = target.timeline(name).with_points(*record.timeline(name).points)
        if told not in (merged.timeline(name), Timeline()):
            timelines[name] = told
    settle_until = max(target.settle_until or 0, record.settle_until or 0)
    return replace(
        merged,
        seen=target.seen | record.seen,
        products=target.products | record.products,
        own=_own_of_both(target.own, record.own),
        timelines=timelines,
        settle_until=settle_until or None,
        rev=target.rev + 1,
    )


def _own_of_both(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Our own parts as one: of each field ours, where there is one; of the log all."""
    if not ours or not theirs:
        return ours or theirs
    log = [*ours.get("audit", ()), *theirs.get("audit", ())]
    once = [entry for number, entry in enumerate(log) if entry not in log[:number]]
    return {**theirs, **ours, "audit": sorted(once, key=lambda entry: entry["at"])}


def _age(source: Source) -> tuple[bool, int, bool, int]:
    """What was fetched holds every event from before it was asked for, whatever its version says:
    it may have been fetched before any event came."""
    asked_at = source.fetched_at or 0
    known_at = max(source.version, asked_at)
    return (source.terminal, known_at, asked_at == known_at, source.rank)
