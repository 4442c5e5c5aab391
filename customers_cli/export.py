"""Everything that is kept of one customer, as JSON (for a request under Art. 15 or 20 GDPR, or
before :mod:`customers_cli.forget`).
"""

from __future__ import annotations

import json
from typing import Any

from customers_cli.command import Customer, Run, Store, command, new_app
from customers_cli.exits import Exit, Refused
from shared.compose import Composition
from shared.domain.errors import NotFound
from shared.storage.dynamo import Table
from shared.storage.items import Record, from_item
from shared.storage.parked import Parked
from shared.tenant import Tenant

app = new_app()


class SeveralCustomers(Refused):
    """An id of before means several customers now."""


def records_of(records: Table, tenant: Tenant, account: str) -> list[Record]:
    """Every record of an account: profile, purchases, payment methods, transactions, invoices."""
    items = records.query_all("pk = :pk", pk=tenant.account_pk(account))
    return [from_item(item) for item in items if "rev" in item]


def ids_in(kept: list[Record]) -> frozenset[str]:
    """Stripe's ids in records, by which an event that was parked names the person."""
    found = {
        str(source.data[name])
        for record in kept
        for source in record.sources.values()
        for name in ("id", "payment_intent", "charge", "email")
        if source.data.get(name)
    }
    return frozenset(found)


def parked_about(
    parked: Parked, tenant: Tenant, accounts: tuple[str, ...], ids: frozenset[str]
) -> list[Any]:
    """Events that were parked and name one of these accounts or ids."""
    names = {account.split(":", 1)[-1] for account in accounts} | ids
    quoted = [json.dumps(name).encode() for name in names]
    return [event for event in parked.all(tenant) if any(name in event.body for name in quoted)]


def person(
    parts: Composition, tenant: Tenant, who: str
) -> tuple[str, dict[str, list[Record]], list[Record]]:
    """Somebody's public id, all records by account, and all of them.

    Args:
        who: a public id, also one of before, or Stripe's id of a customer, who need not have
            bought anything.

    Raises:
        NotFound: nobody in this store, or nobody any more.
        SeveralCustomers: as it says.
    """
    found = parts.customers.everybody(tenant, who)
    if len(found) > 1:
        ids = ", ".join(customer_id for customer_id, _ in found)
        raise SeveralCustomers(f"{who} was the id of several customers. Their ids now: {ids}")
    customer_id, accounts = found[0] if found else (who, ())
    accounts = (*accounts, *parts.customers.not_listed(tenant, customer_id))
    kept = {account: records_of(parts.records_table, tenant, account) for account in accounts}
    every = [record for part in kept.values() for record in part]
    is_shown = parts.customers.get(tenant, customer_id) is not None
    if not is_shown and not any(_says_who(record) for record in every):
        raise NotFound
    return customer_id, kept, every


def _says_who(record: Record) -> bool:
    told = ("name", "email", "grouptizer_id", "avatar_url")
    return record.key.kind == "PROFILE" and any(
        source.data.get(name) for source in record.sources.values() for name in told
    )


def export(parts: Composition, tenant: Tenant, who: str) -> dict[str, Any]:
    """All that is kept of a person.

    Raises:
        NotFound: as :func:`person`.
    """
    customer_id, kept, every = person(parts, tenant, who)
    shown = parts.customers.get(tenant, customer_id)
    users = sorted(
        {user for record in every if record.key.kind == "PURCHASE" for user in record.seen}
    )
    parked = parked_about(parts.parked, tenant, tuple(kept), ids_in(every))
    former = {id_ for account in kept for id_ in parts.customers.former_ids(tenant, account)}
    return {
        "store": tenant.store_id,
        "customer": {"customer_id": customer_id} if shown is None else dict(shown.row),
        "former_ids": sorted(former - {customer_id}),
        "accounts": {
            account: {record.key.sk: _shown(record) for record in part}
            for account, part in kept.items()
        },
        "telegram_users": users,
        "parked_events": [
            {"event_id": event.event_id, "reason": event.reason, "body": event.body.decode()}
            for event in parked
        ],
    }


def _shown(record: Record) -> dict[str, Any]:
    shown: dict[str, Any] = {name: dict(s.data) for name, s in record.sources.items()}
    if record.own:
        shown["own"] = dict(record.own)
    if record.seen:
        shown["telegram_users"] = sorted(record.seen)
    return shown


@command(app, "export")
def export_(run: Run, store: Store, customer: Customer) -> Exit:
    """Print all that is kept of one customer, as JSON.

    The output holds personal data. Give it only to that person or their representative.
    """
    tenant = Tenant(store)
    run.target.require(tenant)
    try:
        exported = export(run.target.parts, tenant, customer)
    except NotFound:
        raise Refused(f"The store {store} has no customer with this id") from None
    run.begin()
    print(json.dumps(exported, indent=2, ensure_ascii=False))
    return Exit.DONE
