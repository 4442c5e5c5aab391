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
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.domain.clock import Clock, system_clock
from shared.domain.customer import Account, customer_id_of, identity, summarize
from shared.domain.errors import NotFound, TryAgainLater
from shared.domain.search import ID_END, Entry, entry_of, id_sort_key
from shared.storage.dynamo import ConditionFailed, Contention, Item, Table
from shared.storage.items import Record, dumps, from_item
from shared.storage.keys import profile_key, purchase_key
from shared.storage.records import MAX_CONFLICTS, Records
from shared.tenant import Tenant

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
        accounts: the billing accounts that are this customer, sorted.
    """

    customer_id: str
    row: Mapping[str, Any]
    accounts: tuple[str, ...]


class _Moved(Exception):
    """Somebody else wrote what this was based on."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A customer's item.

    Attributes:
        digest: of what the rows hold besides the row itself.
        manifests: key sets; several while ``dirty``.
    """

    rev: int = 0
    accounts: tuple[str, ...] = ()
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
    """

    def __init__(
        self, records_table: Table, index_table: Table | None = None, clock: Clock = system_clock
    ) -> None:
        self._table = records_table
        self._index = index_table
        self._records = Records(records_table, clock)

    # -- reading --------------------------------------------------------------------------------

    def get(self, tenant: Tenant, customer_id: str) -> CustomerEntry | None:
        """A customer of this store; ``None`` where there is nobody to show."""
        stored = self._stored(tenant, customer_id)
        if stored.row is None:
            return None
        return CustomerEntry(customer_id, json.loads(stored.row), stored.accounts)

    def everybody(self, tenant: Tenant, who: str) -> tuple[str, tuple[str, ...]] | None:
        """The id and the accounts of a customer, or of somebody who is known and never bought.

        Args:
            who: a public id, or an account, which Stripe's id of a customer is.
        """
        customer_id: str | None = who
        if not self._stored(tenant, who).accounts:
            customer_id = _filed_under(self._records.get(profile_key(tenant, who)))
        accounts = () if customer_id is None else self._stored(tenant, customer_id).accounts
        return (customer_id, accounts) if customer_id is not None and accounts else None

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
        entries = {}
        for account, customer_id in filed.items():
            if customer_id is None:
                continue
            stored = _unpack(items.get((tenant.customer_pk(customer_id), "CUSTOMER")))
            if stored.row is not None:
                entries[account] = CustomerEntry(
                    customer_id, json.loads(stored.row), stored.accounts
                )
        return entries

    def purchase(self, tenant: Tenant, customer_id: str, purchase_id: str) -> Record:
        """A purchase of a customer.

        Raises:
            NotFound: there is no such customer in this store, or no such purchase of theirs.
        """
        customer = self.get(tenant, customer_id)
        for account in () if customer is None else customer.accounts:
            record = self._records.get(purchase_key(tenant, account, purchase_id))
            if record is not None and record.purchase.visible:
                return record
        raise NotFound

    def keys(self, tenant: Tenant, customer_id: str) -> frozenset[RowKey]:
        """The rows of the index that a customer has."""
        return self._stored(tenant, customer_id).keys

    def _stored(self, tenant: Tenant, customer_id: str) -> _Stored:
        return _unpack(self._table.get(tenant.customer_pk(customer_id), "CUSTOMER"))

    # -- bringing the list up to date -------------------------------------------------------------

    def reindex(
        self,
        tenant: Tenant,
        account: str,
        *,
        profile: Record | None = None,
        was: str | None = None,
        rewrite: bool = False,
    ) -> None:
        """Bring the list up to date for the customer an account belongs to.

        Does nothing but reads where the list shows everything already.

        Args:
            profile: the account's, by somebody who has just read or written it: saves a call.
            was: a customer the account was filed under, where its profile doesn't tell any more.
            rewrite: write every row, also those that should be there.

        Raises:
            TryAgainLater: other writers got in the way too often.
        """
        for attempt in range(MAX_CONFLICTS):
            try:
                self._reindex(tenant, account, was, rewrite, profile)
            except (ConditionFailed, Contention, _Moved):
                profile = None
                # Jitter of a retry, not a secret.
                wait = min(0.005 * 2**attempt, 0.3) * random.random()  # noqa: S311
                self._table.deadline.sleep(wait)
            else:
                return
        raise TryAgainLater("too many writers of one customer")

    def _reindex(
        self, tenant: Tenant, account: str, was: str | None, rewrite: bool, seen: Record | None
    ) -> None:
        if seen is not None and seen.sources:
            profile, records = seen, [seen]
        else:
            records = self._records.account(tenant, account, "PROFILE")
            profile = _profile(records) or Record(profile_key(tenant, account))
        customer_id = self._whose(tenant, account, records) if _holds_anything(records) else None
        known = {profile.own.get("customer_id"), was, *profile.own.get("left", ())}
        left = sorted(known - {None, customer_id})
        own: dict[str, Any] = {"customer_id": customer_id} if customer_id else {}
        moving = {**own, "left": left} if left else own
        # Into the new one first: a customer is for a moment in two places, but never in none. Its
        # profile says from that moment on which ones it has to be taken out of.
        filed, filing = profile, None
        if customer_id is not None:
            if profile.own != moving or profile.reindex_at is not None:
                filed, filing = self._records.file(profile, moving, marked=bool(left))
            records = self._bring_up_to_date(
                tenant,
                customer_id,
                account,
                rewrite=rewrite,
                profile=profile,
                filing=filing,
                is_new=seen is profile and profile.rev == 1,
            )
        for other in left:
            self._bring_up_to_date(tenant, other, account, rewrite=rewrite)
        if left and filed.rev:
            self._table.transact([self._records.file(filed, own, marked=False)[1]])
        elif filing is None and filed.rev:
            self._records.indexed(filed)
        for record in records:
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
        account: str,
        *,
        rewrite: bool,
        profile: Record | None = None,
        filing: Item | None = None,
        is_new: bool = False,
    ) -> list[Record]:
        """Write a customer's item and rows, where they differ.

        Args:
            profile: of the account that is this customer's, as it was read before; ``None``: the
                account is to be taken out.
            filing: to be written together with the customer's item.
            is_new: there is hardly an item yet, and none is looked for. If there is one after all,
                the write is refused: items are never deleted, so one that isn't there when it is
                written wasn't there when the accounts were read.

        Returns:
            The account's records that are still marked though the list shows them.

        Raises:
            _Moved: the profile was written since.
        """
        stored = _Stored() if is_new else self._stored(tenant, customer_id)
        found = self._accounts(tenant, {*stored.accounts, account})
        if profile is not None and (_profile(found[account]) or Record(profile.key)) != profile:
            raise _Moved
        marked = [r for r in found[account] if r.reindex_at is not None and r.key.kind != "PROFILE"]
        members, entry = self._members(tenant, customer_id, found)
        if profile is None and account in members:
            raise _Moved  # back again: its profile must say so before the list shows it here
        if not members and not stored.rev:
            return marked
        after = replace(
            stored,
            accounts=members,
            row=None if entry is None else entry.row,
            digest=None if entry is None else _digest(entry),
            manifests=() if entry is None else (_manifest(entry),),
            dirty=False,
        )
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

    def _accounts(self, tenant: Tenant, names: Iterable[str]) -> dict[str, list[Record]]:
        return {name: self._records.account(tenant, name, "PROFILE") for name in sorted(names)}

    def _members(
        self, tenant: Tenant, customer_id: str, found: Mapping[str, list[Record]]
    ) -> tuple[tuple[str, ...], Entry | None]:
        """The accounts that are this customer, and what the index should hold of it."""
        members = {
            name: _account(name, records)
            for name, records in found.items()
            if _holds_anything(records) and self._whose(tenant, name, records) == customer_id
        }
        row = summarize(customer_id, members.values())
        return tuple(members), None if row is None else entry_of(row)

    def _write(
        self,
        tenant: Tenant,
        customer_id: str,
        before: _Stored,
        after: _Stored,
        *,
        entry: Entry | None,
        rewrite: bool,
        filing: list[Item],
        marked: list[Record],
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
        records = self._records.account(tenant, account, "PROFILE")
        customer_id = self._whose(tenant, account, records)
        profile = _profile(records)
        stored = self._stored(tenant, customer_id)
        found = self._accounts(tenant, {*stored.accounts, account})
        if any(r.reindex_at is not None for part in found.values() for r in part):
            return True
        members, entry = self._members(tenant, customer_id, found)
        wanted = {} if entry is None else _rows(tenant, entry)
        shown = self._index_table().batch_get((row["pk"], row["sk"]) for row in wanted.values())
        return (
            stored.accounts == members
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
        row=item.get("row"),
        digest=item.get("digest"),
        manifests=tuple(json.loads(item["manifests"])),
        dirty=bool(item.get("dirty")),
    )


def _profile(records: Iterable[Record]) -> Record | None:
    return next((record for record in records if record.key.kind == "PROFILE"), None)


def _filed_under(profile: Record | None) -> str | None:
    return None if profile is None else profile.own.get("customer_id")


def _account(name: str, records: Iterable[Record]) -> Account:
    profile = _profile(records)
    sources = {} if profile is None else profile.sources
    return Account(name, sources, tuple(r.purchase for r in records if r.key.kind == "PURCHASE"))


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
