"""What the owner sees of one customer: purchases, transactions, payment methods."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from shared.domain import access, transaction
from shared.domain.customer import is_guest
from shared.domain.errors import NotFound
from shared.domain.key_parts import moment
from shared.domain.merge import Data, Source
from shared.domain.purchase import Purchase
from shared.domain.transaction import Transaction
from shared.showing.presentation import Context, products_json, purchase_json
from shared.storage.chats import Chats
from shared.storage.customers import CustomerEntry, Customers
from shared.storage.items import Record, from_item
from shared.storage.keys import Key, invoice_key, payment_link_key, purchase_key
from shared.storage.products import products_of
from shared.storage.records import Records
from shared.storage.registry import Registry
from shared.tenant import Tenant, account_of

_T = TypeVar("_T")

# How many of the newest rows are read to tell how one-off purchases were paid. An older
# purchase whose payment carried no metadata of ours is shown without its payment method.
RECENT_ROWS = 100
# So many purchases a customer's page begins with.
MOST_PURCHASES_SHOWN = 100
# An answer stays below 1 MB: its purchases take less than this much of it, or are one.
MOST_BYTES = 600_000
# A purchase is paid within this time of when it is made, mostly.
SOON_SECONDS = 86_400
# Rows whose refunds' charges are read together.
ROWS_AT_ONCE = 25


@dataclass(frozen=True, slots=True)
class Row:
    """A transaction where it is kept.

    Attributes:
        position: its sort key: where the next page goes on.
    """

    account: str
    position: str
    transaction: Transaction
    method: Data | None


@dataclass(frozen=True)
class Reader:
    """Reads what the owner sees of one customer. Every read is strongly consistent."""

    records: Records
    customers: Customers
    chats: Chats
    registry: Registry

    def detail(
        self, tenant: Tenant, customer_id: str, *, limit: int
    ) -> tuple[dict[str, Any], str | None, str | None]:
        """The customer with the payment methods, the newest purchases and the newest transactions.

        Returns:
            The answer without its cursors, and the positions that they stand for: of the
            purchases, of the transactions.

        Raises:
            NotFound: no such customer in this store.
        """
        customer = self._customer(tenant, customer_id)
        holders = self._holders(tenant, customer.accounts)
        rows = list(itertools.islice(self._rows(tenant, customer, None), RECENT_ROWS))
        page, row_position = self._page(tenant, rows, limit)
        purchases, position = self._purchases(
            tenant, customer, holders, _paid_with(rows), limit=MOST_PURCHASES_SHOWN, position=None
        )
        methods = [m for records in holders.values() for m in _methods_json(records)]
        return (
            {
                "customer": customer.row,
                "purchases": purchases,
                "transactions": {"items": page},
                "payment_methods": methods,
            },
            position,
            row_position,
        )

    def purchases(
        self, tenant: Tenant, customer_id: str, *, limit: int, position: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of purchases, newest first, and the position of the next.

        Raises:
            NotFound: no such customer in this store.
        """
        customer = self._customer(tenant, customer_id)
        # A purchase is paid when it is made, or soon after.
        soon = None
        if position is not None:
            soon = f"TXN#{moment(int(position.split('#')[0]) + SOON_SECONDS)}#"
        rows = itertools.islice(self._rows(tenant, customer, soon), RECENT_ROWS)
        return self._purchases(
            tenant,
            customer,
            self._holders(tenant, customer.accounts),
            _paid_with(rows),
            limit=limit,
            position=position,
        )

    def purchase(self, tenant: Tenant, account: str, purchase_id: str) -> dict[str, Any]:
        """One purchase, as :meth:`detail` shows it.

        Raises:
            NotFound: no such purchase in this account, or it is nobody's who is shown.
        """
        customer = self.customers.of_account(tenant, account)
        record = self.records.get(purchase_key(tenant, account, purchase_id))
        if customer is None or record is None or not record.purchase.visible:
            raise NotFound
        rows = itertools.islice(self._rows(tenant, customer, None), RECENT_ROWS)
        holders = self._holders(tenant, [account])
        found = [(account, record.purchase)]
        return self._purchases_json(tenant, found, holders, _paid_with(rows))[0]

    def transactions(
        self, tenant: Tenant, customer_id: str, *, limit: int, position: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of transactions, newest first, and the position of the next.

        Raises:
            NotFound: no such customer in this store.
        """
        customer = self._customer(tenant, customer_id)
        rows = itertools.islice(self._rows(tenant, customer, position, limit + 1), limit + 1)
        return self._page(tenant, list(rows), limit)

    def _customer(self, tenant: Tenant, customer_id: str) -> CustomerEntry:
        customer = self.customers.resolve(tenant, customer_id)
        if customer is None:
            raise NotFound
        return customer

    # -- purchases --------------------------------------------------------------------------------

    def _holders(self, tenant: Tenant, accounts: Iterable[str]) -> dict[str, list[Record]]:
        """The profile and the payment methods of accounts; a guest has no payment methods."""
        return {
            account: self.records.account(tenant, account, last="PROFILE")
            for account in accounts
            if not is_guest(account)
        }

    def _purchases(
        self,
        tenant: Tenant,
        customer: CustomerEntry,
        holders: Mapping[str, list[Record]],
        paid_with: Mapping[str, Data],
        *,
        limit: int,
        position: str | None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of the purchases that a customer's item lists, as they are now.

        A page ends early where it would be too long for an answer.
        """
        listed = sorted(
            (
                (f"{bought.purchased_at:011d}#{purchase_id}", account, purchase_id)
                for account, part in customer.accounts.items()
                for purchase_id, bought in part.listed.items()
            ),
            reverse=True,
        )
        after = [one for one in listed if position is None or one[0] < position]
        keys = {at: purchase_key(tenant, account, name) for at, account, name in after[:limit]}
        records = self._by_key(keys.values())
        found = {
            at: (account_of(key.pk), records[key.pk, key.sk].purchase)
            for at, key in keys.items()
            if (key.pk, key.sk) in records and records[key.pk, key.sk].purchase.visible
        }
        shown: list[dict[str, Any]] = []
        length = 0
        each = self._purchases_json(tenant, list(found.values()), holders, paid_with)
        for at, purchase in zip(found, each, strict=True):
            length += len(json.dumps(purchase, ensure_ascii=False).encode())
            if shown and length > MOST_BYTES:
                break
            shown.append(purchase)
            position = at
        is_last = len(shown) == len(found) and len(after) <= limit
        return shown, None if is_last else position if shown else after[limit - 1][0]

    def _purchases_json(
        self,
        tenant: Tenant,
        found: Sequence[tuple[str, Purchase]],
        holders: Mapping[str, list[Record]],
        paid_with: Mapping[str, Data],
    ) -> list[dict[str, Any]]:
        contexts = {
            account: Context(
                methods=_methods(records),
                charge_methods=paid_with,
                default_method=_default_method(records),
            )
            for account, records in holders.items()
        }
        guest = Context(methods={}, charge_methods=paid_with, default_method=None)
        referred = self.context(tenant, [purchase for _, purchase in found])
        return [
            purchase_json(
                purchase,
                replace(
                    contexts.get(account, guest),
                    products=referred[purchase.purchase_id].products,
                    standings=referred[purchase.purchase_id].standings,
                ),
            )
            for account, purchase in found
        ]

    def context(self, tenant: Tenant, purchases: Sequence[Purchase]) -> dict[str, Context]:
        """The products of purchases and the chats they are about, by purchase: two batch reads."""
        table = self.records.table
        products = products_of(table, tenant, purchases)
        named = {
            purchase.purchase_id: _chats_of(purchase, products[purchase.purchase_id])
            for purchase in purchases
        }
        standings = self.chats.standings(tenant, {c for chats in named.values() for c in chats})
        return {
            purchase_id: Context(
                products=products[purchase_id],
                standings={chat: standings[chat] for chat in chats},
            )
            for purchase_id, chats in named.items()
        }

    # -- transactions -----------------------------------------------------------------------------

    def _rows(
        self,
        tenant: Tenant,
        customer: CustomerEntry,
        position: str | None,
        page: int = RECENT_ROWS,
    ) -> Iterator[Row]:
        """The rows of all of the customer's accounts after a position, newest first.

        The customer's item lists those of its guests, so that all of them are read together.
        """
        accounts = [account for account in customer.accounts if not is_guest(account)]
        of_guests = sorted(
            (
                (row, account)
                for account, part in customer.accounts.items()
                for row in part.rows
                if position is None or row < position
            ),
            reverse=True,
        )
        return heapq.merge(
            *(self._account_rows(tenant, a, position, page) for a in accounts),
            self._shown(self._guests_rows(tenant, of_guests, page)),
            key=lambda row: row.position,
            reverse=True,
        )

    def _account_rows(
        self, tenant: Tenant, account: str, position: str | None, page: int
    ) -> Iterator[Row]:
        found = self.records.table.query_all(
            "pk = :pk AND sk BETWEEN :first AND :last",
            forward=False,
            page=page + 1,
            pk=tenant.account_pk(account),
            first="TXN#",
            last=position or "TXN~",
        )
        return self._shown(record for record in map(from_item, found) if record.key.sk != position)

    def _guests_rows(
        self, tenant: Tenant, places: Sequence[tuple[str, str]], page: int
    ) -> Iterator[Record]:
        for some in _batches(places, page):
            keys = [Key(tenant.account_pk(account), sk) for sk, account in some]
            records = self._by_key(keys)
            yield from (records[k.pk, k.sk] for k in keys if (k.pk, k.sk) in records)

    def _shown(self, records: Iterable[Record]) -> Iterator[Row]:
        for record, refunded in self._with_charges(iter(records)):
            shown = transaction.view(record.sources, refunded)
            if shown is not None:
                charge = record.sources.get("charge")
                method = None if charge is None else charge.data.get("method")
                yield Row(account_of(record.key.pk), record.key.sk, shown, method)

    def _with_charges(
        self, records: Iterator[Record]
    ) -> Iterator[tuple[Record, Mapping[str, Source]]]:
        """Each record with what is known of the charge that it gave back, if it is a refund."""
        while some := list(itertools.islice(records, ROWS_AT_ONCE)):
            charges = {
                record.key.sk: Key(record.key.pk, charge_at)
                for record in some
                if "refund" in record.sources
                and (charge_at := record.sources["refund"].data.get("charge_at")) is not None
            }
            found = self._by_key(charges.values())
            for record in some:
                at = charges.get(record.key.sk)
                charge = None if at is None else found.get((at.pk, at.sk))
                yield record, {} if charge is None else charge.sources

    def _page(
        self, tenant: Tenant, rows: list[Row], limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        shown = rows[:limit]
        purchase_ids = self._purchase_ids(tenant, shown)
        products = self._products(tenant, shown, purchase_ids)
        connected = self.registry.of_store(tenant).account
        items = []
        for row in shown:
            purchase_id = purchase_ids.get(row.position)
            url = row.transaction.provider_url(row.account, connected)
            product = None if purchase_id is None else products.get(purchase_id)
            items.append(row.transaction.to_json(purchase_id, product, url))
        return items, shown[-1].position if len(rows) > limit else None

    def _products(
        self, tenant: Tenant, rows: Iterable[Row], purchase_ids: Mapping[str, str]
    ) -> dict[str, str]:
        """The name of the product that each purchase shows first: two batch reads."""
        keys = {
            purchase_key(tenant, row.account, purchase_ids[row.position])
            for row in rows
            if row.position in purchase_ids
        }
        purchases = [record.purchase for record in self._by_key(keys).values()]
        products = products_of(self.records.table, tenant, purchases)
        named = {p.purchase_id: products_json(p, products[p.purchase_id]) for p in purchases}
        return {purchase_id: shown[0]["name"] for purchase_id, shown in named.items() if shown}

    def _purchase_ids(self, tenant: Tenant, rows: list[Row]) -> dict[str, str]:
        """Which purchase each row belongs to, by position.

        A payment either is a one-off purchase, or paid the invoice of a subscription.
        """
        keys: list[Key] = []
        for row in rows:
            payment, invoice = row.transaction.payment, row.transaction.invoice
            if payment is not None:
                keys.append(payment_link_key(tenant, row.account, payment))
                keys.append(purchase_key(tenant, row.account, payment))
            if invoice is not None:
                keys.append(invoice_key(tenant, row.account, invoice))
        found = self._by_key(keys)
        return {
            row.position: purchase_id
            for row in rows
            if (purchase_id := _purchase_of(tenant, row, found)) is not None
        }

    def _by_key(self, keys: Iterable[Key]) -> dict[tuple[str, str], Record]:
        items = self.records.table.batch_get((key.pk, key.sk) for key in keys)
        return {at: from_item(item) for at, item in items.items()}


def _batches(places: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (places[at : at + size] for at in range(0, len(places), size))


def _chats_of(purchase: Purchase, products: access.Products) -> frozenset[str]:
    chats = access.chats_opened(purchase, products)
    leaving = access.leaving(purchase, products) if purchase.plan_is_stale else {}
    removed = (removal.chat_id for removal in purchase.own.removals.values())
    return chats.union((chat for chat, _ in leaving), removed)


def _paid_with(rows: Iterable[Row]) -> dict[str, Data]:
    """How payments were made, by their ids: by their newest charge."""
    methods: dict[str, Data] = {}
    for row in rows:
        if row.method is not None and row.transaction.payment is not None:
            methods.setdefault(row.transaction.payment, row.method)
    return methods


def _purchase_of(tenant: Tenant, row: Row, found: Mapping[tuple[str, str], Record]) -> str | None:
    def record(key: Key) -> Record | None:
        return found.get((key.pk, key.sk))

    payment, invoice_id = row.transaction.payment, row.transaction.invoice
    if payment is not None:
        link = record(payment_link_key(tenant, row.account, payment))
        if link is not None and link.sources["payment"].data.get("subscription"):
            return str(link.sources["payment"].data["subscription"])
        purchase = record(purchase_key(tenant, row.account, payment))
        if purchase is not None and purchase.purchase.visible:
            return payment
    if invoice_id is not None:
        invoice = record(invoice_key(tenant, row.account, invoice_id))
        if invoice is not None and "invoice" in invoice.sources:
            subscription: str | None = invoice.sources["invoice"].data.get("subscription")
            return subscription
    return None


def _methods(records: Iterable[Record]) -> dict[str, Data]:
    """Payment methods by id, detached ones too: an old purchase still shows its card."""
    return {
        record.key.sk.removeprefix("METHOD#"): record.sources["method"].data
        for record in records
        if record.key.kind == "METHOD" and "method" in record.sources
    }


def _default_method(records: Iterable[Record]) -> str | None:
    """What Stripe charges where nothing else is said: the invoice settings' payment method, else
    the legacy default source (https://docs.stripe.com/api/customers/object)."""
    for record in records:
        if record.key.kind == "PROFILE" and "customer" in record.sources:
            data = record.sources["customer"].data
            default: str | None = data.get("default_payment_method") or data.get("default_source")
            return default
    return None


def _methods_json(records: list[Record]) -> list[dict[str, Any]]:
    default = _default_method(records)
    shown = [(i, method) for i, method in _methods(records).items() if not method["deleted"]]
    shown.sort(key=lambda m: (m[0] != default, -(m[1].get("created_at") or 0), m[0]))
    return [
        {
            "payment_method_id": method_id,
            "type": method["type"],
            "brand": method.get("brand"),
            "last4": method.get("last4"),
            "exp_month": method.get("exp_month"),
            "exp_year": method.get("exp_year"),
            "is_default": method_id == default,
            "payment_provider": "stripe" if method["livemode"] else "stripe_test",
        }
        for method_id, method in shown
    ]
