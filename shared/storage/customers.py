"""Customers: which accounts are one person, and their rows in the list.

A customer's item (``CUSTOMER``) holds its accounts, the row the list shows and the *manifest*: the
keys of every row it has in the index. One transaction writes the item, under its ``rev``, together
with the rows that changed, so the list and the item never differ, whoever crashes or comes late.
Only a customer with more rows than a transaction takes is written in several: then the item first
says which rows there may be (``dirty``), and every later part checks that the item is still the
one it said it in.

Whether an account belongs to a customer is decided by what the account says *after* the customer's
item was read. Whoever changes an account brings its customers up to date afterwards, so of two
writers one either sees the other's result or is refused, and begins again.

A customer's id changes when it turns out who an account is. The item of the former id then says
which accounts it leads to (``former``), and each of these has a note of it (``FORMER#{id}``), so
that forgetting the person ends that, too.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.domain.clock import Clock, system_clock
from shared.domain.customer import (
    MOST_ATTEMPTS,
    Account,
    Bought,
    customer_id_of,
    identity,
    is_guest,
    summarize,
    within_bounds,
)
from shared.domain.errors import NotFound, TryAgainLater
from shared.domain.search import ID_END, Entry, entry_of, id_sort_key
from shared.storage.dynamo import ConditionFailed, Contention, Item, Table
from shared.storage.items import Record, dumps, from_item
from shared.storage.keys import Key, former_key, moved_key, profile_key, purchase_key
from shared.storage.products import products_of
from shared.storage.records import MAX_CONFLICTS, Records
from shared.tenant import Tenant, account_of

IDS = "I"
# DynamoDB takes 100 actions in a transaction; one is the customer's item.
ROWS_PER_TRANSACTION = 99

RowKey = tuple[str, str]
"""A row of the index: its list and its sort key."""


@dataclass(frozen=True, slots=True)
class CustomerEntry:
    """A customer as it is filed.

    Attributes:
        row: the list's row, as the API answers it.
        accounts: the billing accounts that are this customer, by name.
    """

    customer_id: str
    row: Mapping[str, Any]
    accounts: Mapping[str, Account]


class _Moved(Exception):
    """Somebody else wrote what this was based on."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What :meth:`Customers.reindex` was asked for."""

    account: str
    was: str | None
    rewrite: bool
    changed: tuple[Key, ...] | None


@dataclass(frozen=True, slots=True)
class _Stored:
    """A customer's item.

    Attributes:
        former: accounts that were this customer before and are another one now.
        parts: what each account adds, JSON by account; ``None`` in an item from before there were
            any: the accounts are read then.
        digest: of what the rows hold besides the row itself.
        manifests: key sets; several while ``dirty``.
    """

    rev: int = 0
    accounts: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    parts: str | None = None
    row: str | None = None
    digest: str | None = None
    manifests: tuple[Mapping[str, Any], ...] = ()
    dirty: bool = False

    @property
    def keys(self) -> frozenset[RowKey]:
        return frozenset(key for manifest in self.manifests for key in _keys(manifest))


class Customers:
    """The customers of all stores.

    Args:
        index_table: ``None`` in a function that only reads.
        only_with_chats: only purchases of products that name a chat, or once did, count.
    """

    def __init__(
        self,
        records_table: Table,
        index_table: Table | None = None,
        clock: Clock = system_clock,
        *,
        only_with_chats: bool = False,
    ) -> None:
        self.only_with_chats = only_with_chats
        self._table = records_table
        self._index = index_table
        self._records = Records(records_table, clock)

    # -- reading --------------------------------------------------------------------------------

    def get(self, tenant: Tenant, customer_id: str) -> CustomerEntry | None:
        """A customer of this store; ``None`` where there is nobody to show."""
        return self._entry(tenant, customer_id, self._stored(tenant, customer_id))

    def _entry(self, tenant: Tenant, customer_id: str, stored: _Stored) -> CustomerEntry | None:
        if stored.row is None:
            return None
        parts = self._parts(tenant, customer_id, stored)
        return CustomerEntry(customer_id, json.loads(stored.row), parts)

    def resolve(self, tenant: Tenant, customer_id: str) -> CustomerEntry | None:
        """The customer that an id means, also one that it had before; ``None``: nobody is shown.

        Where a former id means several customers, it is the one with the earliest purchase.
        """
        return next(self._meant_by(tenant, customer_id), None)

    def _meant_by(self, tenant: Tenant, customer_id: str) -> Iterator[CustomerEntry]:
        """The customers that an id means: who has it now, then those who had it before."""
        stored = self._stored(tenant, customer_id)
        entry = self._entry(tenant, customer_id, stored)
        if entry is not None:
            yield entry
        found = {one.customer_id: one for one in self.of_accounts(tenant, stored.former).values()}
        found.pop(customer_id, None)
        yield from sorted(
            found.values(), key=lambda one: (one.row["customer_since"], one.customer_id)
        )

    def everybody(self, tenant: Tenant, who: str) -> list[tuple[str, tuple[str, ...]]]:
        """The id and the accounts of a customer, or of somebody who is known and never bought.

        Args:
            who: a public id, also one of before, or an account, which Stripe's id of a customer
                is.

        Returns:
            Several where a former id means several.
        """
        stored = self._stored(tenant, who)
        ids: set[str | None] = {who}
        if not stored.accounts:
            names = stored.former or (who,)
            ids = {_filed_under(self._records.get(profile_key(tenant, name))) for name in names}
        found = [(id_, self._stored(tenant, id_).accounts) for id_ in sorted(filter(None, ids))]
        return [(id_, accounts) for id_, accounts in found if accounts]

    def former_ids(self, tenant: Tenant, account: str) -> list[str]:
        """The ids of before that lead to an account."""
        notes = self._table.query_all(
            "pk = :pk AND begins_with(sk, :notes)", pk=tenant.account_pk(account), notes="FORMER#"
        )
        return [note["sk"].removeprefix("FORMER#") for note in notes]

    def not_listed(self, tenant: Tenant, customer_id: str) -> list[str]:
        """Guests of a customer whose attempts are too many to be listed. It scans the table, where
        there can be any: for operators only."""
        stored = self._stored(tenant, customer_id)
        parts = self._parts(tenant, customer_id, stored)
        attempts = [b for part in parts.values() for b in part.listed.values() if not b.came_about]
        if len(attempts) < MOST_ATTEMPTS:
            return []
        profiles = self._table.scan_all(
            "begins_with(pk, :guests) AND sk = :profile AND contains(own, :customer_id)",
            guests=tenant.account_pk("guest:"),
            profile="PROFILE",
            customer_id=customer_id,
        )
        return sorted({account_of(item["pk"]) for item in profiles} - parts.keys())

    def of_account(self, tenant: Tenant, account: str) -> CustomerEntry | None:
        """The customer an account is filed under."""
        customer_id = _filed_under(self._records.get(profile_key(tenant, account)))
        return None if customer_id is None else self.get(tenant, customer_id)

    def of_accounts(self, tenant: Tenant, accounts: Iterable[str]) -> dict[str, CustomerEntry]:
        """The same for several accounts, in two batch reads; those that are shown nowhere are left
        out."""
        keys = {account: profile_key(tenant, account) for account in accounts}
        profiles = self._table.batch_get((key.pk, key.sk) for key in keys.values())
        filed = {
            account: _filed_under(from_item(profiles[key.pk, key.sk]))
            for account, key in keys.items()
            if (key.pk, key.sk) in profiles
        }
        items = self._table.batch_get(
            (tenant.customer_pk(customer_id), "CUSTOMER")
            for customer_id in filed.values()
            if customer_id is not None
        )
        entries: dict[str, CustomerEntry] = {}
        for account, customer_id in filed.items():
            if customer_id is None:
                continue
            stored = _unpack(items.get((tenant.customer_pk(customer_id), "CUSTOMER")))
            entry = self._entry(tenant, customer_id, stored)
            entries |= {} if entry is None else {account: entry}
        return entries

    def purchase(self, tenant: Tenant, customer_id: str, purchase_id: str) -> Record:
        """A purchase of a customer, or of one who had this id before.

        Raises:
            NotFound: there is no such customer in this store, or no such purchase of theirs.
        """
        for customer in self._meant_by(tenant, customer_id):
            keys = [purchase_key(tenant, account, purchase_id) for account in customer.accounts]
            items = self._table.batch_get((key.pk, key.sk) for key in keys)
            found = [from_item(items[k.pk, k.sk]) for k in keys if (k.pk, k.sk) in items]
            for record in found:
                if record.purchase.visible:
                    return record
        raise NotFound

    def keys(self, tenant: Tenant, customer_id: str) -> frozenset[RowKey]:
        """The rows of the index that a customer has."""
        return self._stored(tenant, customer_id).keys

    def _stored(self, tenant: Tenant, customer_id: str) -> _Stored:
        return _unpack(self._table.get(tenant.customer_pk(customer_id), "CUSTOMER"))

    def _parts(self, tenant: Tenant, customer_id: str, stored: _Stored) -> dict[str, Account]:
        """What each account of a customer adds to it, as it is filed."""
        if stored.parts is not None:
            parts = json.loads(stored.parts)
            return {name: Account.from_json(name, part) for name, part in parts.items()}
        return self._as_recorded(tenant, customer_id, stored.accounts)

    def _as_recorded(
        self, tenant: Tenant, customer_id: str, names: Iterable[str]
    ) -> dict[str, Account]:
        """What each of these accounts that are this customer adds, from the accounts' records."""
        accounts = []
        for name in sorted(names):
            records = self._account_records(tenant, name)
            if _holds_anything(records) and self._whose(tenant, name, records) == customer_id:
                accounts.append(_account(name, self._that_count(tenant, records)))
        return within_bounds(accounts)

    def _that_count(self, tenant: Tenant, records: list[Record]) -> list[Record]:
        """The records without the purchases that :attr:`only_with_chats` leaves out."""
        if not self.only_with_chats:
            return records
        purchases = [record.purchase for record in records if record.key.kind == "PURCHASE"]
        products = products_of(self._table, tenant, purchases)
        opening = {
            purchase_id
            for purchase_id, found in products.items()
            if any(product.ever_opened_a_chat for product in found.values())
        }
        return [
            record
            for record in records
            if record.key.kind != "PURCHASE" or record.purchase.purchase_id in opening
        ]

    def _account_records(self, tenant: Tenant, account: str) -> list[Record]:
        last = "TXN~" if is_guest(account) else "PURCHASE~"
        return self._records.account(tenant, account, "PROFILE", last)

    # -- bringing the list up to date -------------------------------------------------------------

    def reindex(
        self,
        tenant: Tenant,
        account: str,
        *,
        changed: Iterable[Key] | None = None,
        profile: Record | None = None,
        was: str | None = None,
        rewrite: bool = False,
    ) -> None:
        """Bring the list up to date for the customer an account belongs to.

        Does nothing but reads where the list shows everything already.

        Args:
            changed: the account's records, besides its profile, that may not be shown yet: only
                these are read. ``None``: any of them.
            profile: the account's, by somebody who has just read or written it: saves a call.
            was: a customer the account was filed under, where its profile doesn't tell any more.
            rewrite: write every row, also those that should be there.

        Raises:
            TryAgainLater: other writers got in the way too often.
        """
        asked = _Asked(
            account, was, rewrite, None if changed is None or rewrite else tuple(changed)
        )
        for attempt in range(MAX_CONFLICTS):
            try:
                self._reindex(tenant, asked, profile)
            except (ConditionFailed, Contention, _Moved):
                profile = None
                # Jitter of a retry, not a secret.
                wait = min(0.005 * 2**attempt, 0.3) * random.random()  # noqa: S311
                self._table.deadline.sleep(wait)
            else:
                return
        raise TryAgainLater("too many writers of one customer")

    def _reindex(self, tenant: Tenant, asked: _Asked, seen: Record | None) -> None:
        account = asked.account
        key = profile_key(tenant, account)
        profile = seen or self._records.get(key) or Record(key)
        records = [profile]
        if not profile.sources:
            records = self._account_records(tenant, account)
            profile = _profile(records) or Record(key)
            asked = replace(asked, changed=None)
        customer_id = self._whose(tenant, account, records) if _holds_anything(records) else None
        known = {profile.own.get("customer_id"), asked.was, *profile.own.get("left", ())}
        if customer_id is None:
            # A guest's former ids lead to the customer from now on that it turned out to be.
            known.update(self.former_ids(tenant, account))
        left = sorted(known - {None, customer_id})
        own: dict[str, Any] = {"customer_id": customer_id} if customer_id else {}
        moving = {**own, "left": left} if left else own
        # Into the new one first: a customer is for a moment in two places, but never in none. Its
        # profile says from that moment on which ones it has to be taken out of.
        filed, filing, marked = profile, None, records
        if customer_id is not None:
            if profile.own != moving or profile.reindex_at is not None:
                filed, filing = self._records.file(profile, moving, marked=bool(left))
            marked = self._bring_up_to_date(
                tenant,
                customer_id,
                asked,
                profile,
                filing=filing,
                is_new=seen is profile and profile.rev == 1,
            )
        for other in left:
            self._take_out(tenant, other, asked)
        if left and filed.rev:
            self._table.transact([self._records.file(filed, own, marked=False)[1]])
        elif filing is None and filed.rev:
            self._records.indexed(filed)
        for record in marked:
            if record.key.kind != "PROFILE":
                self._records.indexed(record)

    def _whose(self, tenant: Tenant, account: str, records: Iterable[Record]) -> str:
        """Which customer the account is."""
        profile = _profile(records)
        sources = {} if profile is None else profile.sources
        return customer_id_of(tenant.store_id, identity(account, sources))

    def _bring_up_to_date(
        self,
        tenant: Tenant,
        customer_id: str,
        asked: _Asked,
        profile: Record,
        *,
        filing: Item | None,
        is_new: bool,
    ) -> list[Record]:
        """Write a customer's item and rows, where an account of it adds something else to them.

        Args:
            profile: of the account, as it was read before.
            filing: to be written together with the customer's item.
            is_new: there is hardly an item yet, and none is looked for. If there is one after all,
                the write is refused: items are never deleted, so one that isn't there when it is
                written wasn't there when the accounts were read.

        Returns:
            The account's records that are still marked though the list shows them.

        Raises:
            _Moved: the profile was written since.
        """
        account, rewrite = asked.account, asked.rewrite
        stored = _Stored() if is_new else self._stored(tenant, customer_id)
        parts = {} if is_new else self._parts(tenant, customer_id, stored)
        if rewrite:
            parts = self._as_recorded(tenant, customer_id, stored.accounts)
        if asked.changed is None or account not in parts:
            records = self._account_records(tenant, account)
            part = _account(account, self._that_count(tenant, records))
        else:
            keys = {(key.pk, key.sk): key for key in (profile.key, *asked.changed)}
            items = self._table.batch_get(keys)
            records = [from_item(items[at]) for at in keys if at in items]
            gone = [key for at, key in keys.items() if at not in items]
            counting = self._that_count(tenant, records)
            gone += [record.key for record in records if record not in counting]
            part = _account(account, counting, before=parts[account], gone=gone)
        if (_profile(records) or Record(profile.key)) != profile:
            raise _Moved
        marked = [r for r in records if r.reindex_at is not None and r.key.kind != "PROFILE"]
        parts = within_bounds({**parts, account: part}.values())
        entry = self._entry_of(customer_id, parts)
        after = _after(stored, parts, entry)
        if after == stored and not rewrite and filing is None:
            return marked
        at_once = self._write(
            tenant,
            customer_id,
            stored,
            after,
            entry=entry,
            rewrite=rewrite,
            filing=[] if filing is None else [filing],
            marked=marked,
        )
        return [] if at_once else marked

    def _take_out(self, tenant: Tenant, customer_id: str, asked: _Asked) -> None:
        """Write a customer's item and rows without an account, that its id leads to from now on.

        Raises:
            _Moved: the account is this customer's again: its profile must say so before the list
                shows it here.
        """
        account, rewrite = asked.account, asked.rewrite
        stored = self._stored(tenant, customer_id)
        records = self._account_records(tenant, account)
        if _holds_anything(records) and self._whose(tenant, account, records) == customer_id:
            raise _Moved
        if account not in (*stored.accounts, *stored.former) and not rewrite:
            return
        parts = self._parts(tenant, customer_id, stored)
        if rewrite:
            parts = self._as_recorded(tenant, customer_id, stored.accounts)
        parts.pop(account, None)
        heir = self._heir(tenant, account, records)
        former = {*stored.former} - {account}
        if stored.rev and heir is not None and heir not in parts:
            former.add(heir)
        entry = self._entry_of(customer_id, parts)
        after = replace(_after(stored, parts, entry), former=tuple(sorted(former)))
        if after != stored or (rewrite and stored.rev):
            notes = self._notes(tenant, customer_id, stored, after)
            self._write(
                tenant, customer_id, stored, after, entry=entry, rewrite=rewrite, filing=notes
            )

    def _notes(
        self, tenant: Tenant, customer_id: str, before: _Stored, after: _Stored
    ) -> list[Item]:
        """The notes of former ids that follow from an item's change."""
        actions = []
        for account in sorted({*before.former} ^ {*after.former}):
            key = former_key(tenant, account, customer_id)
            if account in after.former:
                actions.append(self._table.put_action({"pk": key.pk, "sk": key.sk}))
            else:
                actions.append(self._table.delete_action(key.pk, key.sk))
        return actions

    def _heir(self, tenant: Tenant, account: str, records: list[Record]) -> str | None:
        """The account that the former id of an account leads to: itself, or the one that a guest
        turned out to be; none of somebody who was forgotten."""
        if _holds_anything(records):
            profile = _profile(records)
            return None if profile is not None and profile.is_frozen else account
        key = moved_key(tenant, account)
        note = self._table.get(key.pk, key.sk) if is_guest(account) else None
        return None if note is None else str(note["account"])

    def forget_former(self, tenant: Tenant, account: str) -> None:
        """Have no former id lead to an account any more; repeatable.

        Raises:
            TryAgainLater: other writers got in the way too often.
        """
        for customer_id in self.former_ids(tenant, account):
            for _ in range(MAX_CONFLICTS):
                if self._leads_elsewhere(tenant, customer_id, account):
                    break
            else:
                raise TryAgainLater("too many writers of one customer")

    def _leads_elsewhere(self, tenant: Tenant, customer_id: str, account: str) -> bool:
        """Take an account out of those that an id leads to; whether nobody got in the way."""
        stored = self._stored(tenant, customer_id)
        note = former_key(tenant, account, customer_id)
        actions = [self._table.delete_action(note.pk, note.sk)]
        if account in stored.former:
            rest = tuple(name for name in stored.former if name != account)
            after = replace(stored, former=rest)
            actions.append(self._item_action(tenant, customer_id, stored, after))
        try:
            self._table.transact(actions)
        except (ConditionFailed, Contention):
            return False
        return True

    def _entry_of(self, customer_id: str, parts: Mapping[str, Account]) -> Entry | None:
        """What the index should hold of a customer."""
        row = summarize(customer_id, parts.values(), only_purchases=self.only_with_chats)
        return None if row is None else entry_of(row)

    def _write(
        self,
        tenant: Tenant,
        customer_id: str,
        before: _Stored,
        after: _Stored,
        *,
        entry: Entry | None,
        rewrite: bool,
        filing: Sequence[Item] = (),
        marked: Sequence[Record] = (),
    ) -> bool:
        """Write a customer's item and the rows that differ, if the marked records are as they were.

        They may have been written since, and those of a guest may have moved to its customer.

        Returns:
            Whether it was one transaction: then it took the marks off, too.
        """
        index = self._index_table()
        same = (before.row, before.digest) == (after.row, after.digest)
        known = before.keys if same and not (before.dirty or rewrite) else frozenset()
        rows = [
            index.put_action(item)
            for key, item in ({} if entry is None else _rows(tenant, entry)).items()
            if key not in known
        ]
        rows += [
            index.delete_action(tenant.index_pk(key[0]), key[1])
            for key in sorted(before.keys - after.keys)
        ]
        if len(filing) + len(marked) + len(rows) <= ROWS_PER_TRANSACTION:
            item = self._item_action(tenant, customer_id, before, after)
            unmarking = [self._records.unmarking(record) for record in marked]
            self._table.transact([item, *filing, *unmarking, *rows])
            return True
        announced = replace(after, manifests=(*before.manifests, *after.manifests), dirty=True)
        item = self._item_action(tenant, customer_id, before, announced)
        checks = [
            self._table.check_action(r.key.pk, r.key.sk, "rev = :rev", rev=r.rev)
            for r in marked[: ROWS_PER_TRANSACTION - len(filing)]
        ]
        self._table.transact([item, *filing, *checks])
        announced = replace(announced, rev=before.rev + 1)
        check = self._table.check_action(
            tenant.customer_pk(customer_id), "CUSTOMER", "rev = :rev", rev=announced.rev
        )
        while len(rows) > ROWS_PER_TRANSACTION:
            part, rows = rows[:ROWS_PER_TRANSACTION], rows[ROWS_PER_TRANSACTION:]
            self._table.transact([check, *part])
        self._table.transact([self._item_action(tenant, customer_id, announced, after), *rows])
        return False

    def _index_table(self) -> Table:
        if self._index is None:
            raise RuntimeError("this function was given no index table")
        return self._index

    # -- comparing the list with the records -------------------------------------------------------

    def is_shown(self, tenant: Tenant, account: str) -> bool:
        """Whether the list shows exactly what the records say of an account's customer, or is
        known to be behind, so that the sweep will bring it up to date."""
        records = self._account_records(tenant, account)
        customer_id = self._whose(tenant, account, records)
        profile = _profile(records)
        stored = self._stored(tenant, customer_id)
        names = {*stored.accounts, account}
        found = {name: self._account_records(tenant, name) for name in names}
        if any(r.reindex_at is not None for part in found.values() for r in part):
            return True
        parts = self._as_recorded(tenant, customer_id, names)
        entry = self._entry_of(customer_id, parts)
        wanted = {} if entry is None else _rows(tenant, entry)
        shown = self._index_table().batch_get((row["pk"], row["sk"]) for row in wanted.values())
        return (
            stored.accounts == tuple(sorted(parts))
            and stored.keys == frozenset(wanted)
            and all(shown.get((row["pk"], row["sk"])) == row for row in wanted.values())
            and (not _holds_anything(records) or _filed_under(profile) == customer_id)
        )

    def strays(self, tenant: Tenant, rows: Iterable[RowKey]) -> list[RowKey]:
        """Those of these rows of the index that no customer's item knows of."""
        owners = {row: tenant.customer_pk(_owner(row)) for row in rows}
        items = self._table.batch_get((pk, "CUSTOMER") for pk in owners.values())
        known = {pk: _unpack(item).keys for (pk, _), item in items.items()}
        return [row for row, pk in owners.items() if row not in known.get(pk, frozenset())]

    def drop_stray(self, tenant: Tenant, row: RowKey) -> bool:
        """Delete such a row, unless its customer has it by now; whether it was deleted."""
        customer_id = _owner(row)
        stored = self._stored(tenant, customer_id)
        if row in stored.keys:
            return False
        condition, values = "attribute_not_exists(pk)", {}
        if stored.rev:
            condition, values = "rev = :rev", {"rev": stored.rev}
        pk = tenant.customer_pk(customer_id)
        check = self._table.check_action(pk, "CUSTOMER", condition, **values)
        drop = self._index_table().delete_action(tenant.index_pk(row[0]), row[1])
        try:
            self._table.transact([check, drop])
        except (ConditionFailed, Contention):
            return False
        return True

    def _item_action(
        self, tenant: Tenant, customer_id: str, before: _Stored, after: _Stored
    ) -> Item:
        """The customer's item, if nobody wrote it since. It is never deleted, so that ``rev``
        never begins again; where nobody is left, it holds nothing of anybody."""
        item: Item = {
            "pk": tenant.customer_pk(customer_id),
            "sk": "CUSTOMER",
            "rev": before.rev + 1,
            "accounts": dumps(after.accounts),
            "former": dumps(after.former) if after.former else None,
            "parts": after.parts,
            "row": after.row,
            "digest": after.digest,
            "manifests": dumps(after.manifests),
            "dirty": 1 if after.dirty else None,
        }
        if before.rev:
            return self._table.put_action(item, "rev = :rev", rev=before.rev)
        return self._table.put_action(item, "attribute_not_exists(pk)")


def _unpack(item: Item | None) -> _Stored:
    if item is None:
        return _Stored()
    return _Stored(
        rev=item["rev"],
        accounts=tuple(json.loads(item["accounts"])),
        former=tuple(json.loads(item.get("former") or "[]")),
        parts=item.get("parts"),
        row=item.get("row"),
        digest=item.get("digest"),
        manifests=tuple(json.loads(item["manifests"])),
        dirty=bool(item.get("dirty")),
    )


def _profile(records: Iterable[Record]) -> Record | None:
    return next((record for record in records if record.key.kind == "PROFILE"), None)


def _filed_under(profile: Record | None) -> str | None:
    return None if profile is None else profile.own.get("customer_id")


def _account(
    name: str,
    records: Iterable[Record],
    *,
    before: Account | None = None,
    gone: Iterable[Key] = (),
) -> Account:
    """What an account adds to its customer.

    Args:
        records: all that matter, or those that changed since ``before``.
        gone: those that are not there any more.
    """
    bought = {} if before is None else dict(before.bought)
    rows = set[str]() if before is None else set(before.rows)
    profile = {} if before is None else before.profile
    for key in gone:
        bought.pop(key.sk.removeprefix("PURCHASE#"), None)
        rows.discard(key.sk)
    for record in records:
        match record.key.kind:
            case "PROFILE":
                profile = record.sources
            case "PURCHASE":
                purchase = record.purchase
                shown = Bought.of(purchase)
                bought.pop(purchase.purchase_id, None)
                bought |= {} if shown is None else {purchase.purchase_id: shown}
            case "TXN" if is_guest(name):
                rows.add(record.key.sk)
    return Account(name, profile, bought, frozenset(rows))


def _after(stored: _Stored, parts: Mapping[str, Account], entry: Entry | None) -> _Stored:
    return replace(
        stored,
        accounts=tuple(sorted(parts)),
        former=tuple(name for name in stored.former if name not in parts),
        parts=dumps({name: part.to_json() for name, part in parts.items()}),
        row=None if entry is None else entry.row,
        digest=None if entry is None else _digest(entry),
        manifests=() if entry is None else (_manifest(entry),),
        dirty=False,
    )


def _holds_anything(records: Iterable[Record]) -> bool:
    """Whether an account says anything; a guest's that became a customer's is left empty."""
    return any(record.sources for record in records)


def _manifest(entry: Entry) -> dict[str, Any]:
    return {"sk": entry.sort_key, "lists": list(entry.lists), "ids": list(entry.id_keys)}


def _keys(manifest: Mapping[str, Any]) -> Iterable[RowKey]:
    customer_id = manifest["sk"].rsplit("#", 1)[1]
    yield from ((name, manifest["sk"]) for name in manifest["lists"])
    yield from ((IDS, id_sort_key(key, customer_id)) for key in manifest["ids"])


def _owner(row: RowKey) -> str:
    """The customer that a row of the index is of."""
    name, sk = row
    return sk.rsplit(ID_END if name == IDS else "#", 1)[1]


def _digest(entry: Entry) -> str:
    """Of what a row holds besides the row the list shows."""
    text = dumps([entry.text, entry.ids, entry.facets])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _rows(tenant: Tenant, entry: Entry) -> dict[RowKey, Item]:
    """Every row of a customer in the index.

    ``j`` is the row the list shows, ``t``, ``i`` and ``f`` are what conditions look at; a row of
    the list of ids has its place in all other lists as ``s``.
    """
    content = {"j": entry.row, "t": entry.text, "i": entry.ids, "f": entry.facets}
    rows = {}
    for name, sk in _keys(_manifest(entry)):
        item: Item = {"pk": tenant.index_pk(name), "sk": sk, **content}
        if name == IDS:
            item["s"] = entry.sort_key
        rows[name, sk] = item
    return rows
