"""Customers for tests, by the way events take: keyword-only builders with defaults."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from shared.domain.merge import Observation
from shared.storage.customers import Customers
from shared.storage.keys import profile_key, purchase_key, transaction_key
from shared.storage.records import Records
from shared.tenant import Tenant

_numbers = itertools.count(1)


def no_fetch() -> Any:
    raise AssertionError("nothing here needs Stripe")


def observe_profile(
    records: Records,
    tenant: Tenant,
    account: str,
    *,
    name: str | None = "Renée Smith",
    email: str | None = "renee@example.com",
    grouptizer_id: str | None = None,
    source: str = "customer",
    at: int = 1_763_800_000,
    created_at: int | None = None,
    first: bool = False,
) -> None:
    """What an event says of a payer."""
    data = {
        "id": account,
        "name": name,
        "email": email,
        "grouptizer_id": grouptizer_id,
        "created_at": at if created_at is None else created_at,
    }
    seen = Observation(source, data, at, f"evt_{next(_numbers)}", rank=0 if first else 1)
    records.observe(profile_key(tenant, account), seen, fetch=no_fetch)


def observe_subscription(
    records: Records,
    tenant: Tenant,
    account: str,
    purchase_id: str,
    *,
    products: Iterable[str] = ("prod_1",),
    livemode: bool = True,
    status: str = "active",
    at: int = 1_763_800_000,
    created_at: int | None = None,
    current_period_end: int = 1_766_000_000,
) -> bool:
    """What an event says of a subscription; whether the list has to follow."""
    data = {
        "id": purchase_id,
        "status": status,
        "products": list(products),
        "created_at": at if created_at is None else created_at,
        "current_period_end": current_period_end,
        "livemode": livemode,
    }
    seen = Observation("subscription", data, at, f"evt_{next(_numbers)}")
    key = purchase_key(tenant, account, purchase_id)
    return records.observe(key, seen, fetch=no_fetch).facts_changed


def observe_redemption(
    records: Records,
    tenant: Tenant,
    account: str,
    purchase_id: str,
    *,
    product: str = "prod_1",
    at: int = 1_763_800_000,
) -> None:
    """A redeemed access code."""
    data = {"access_code": "ABCDEFGHIJKL", "product_id": product, "redeemed_at": at}
    seen = Observation("redemption", data, at, f"evt_{next(_numbers)}")
    records.observe(purchase_key(tenant, account, purchase_id), seen, fetch=no_fetch)


def observe_charge(
    records: Records, tenant: Tenant, account: str, transaction_id: str, *, at: int = 1_763_800_000
) -> None:
    """A payment's row among the transactions."""
    seen = Observation("charge", {"id": f"ch_{transaction_id}"}, at, f"evt_{next(_numbers)}")
    key = transaction_key(tenant, account, at, transaction_id)
    records.observe(key, seen, fetch=no_fetch)


def add_customer(
    records: Records,
    customers: Customers,
    tenant: Tenant,
    account: str,
    *,
    name: str | None = "Renée Smith",
    email: str | None = "renee@example.com",
    grouptizer_id: str | None = None,
    products: Iterable[str] = ("prod_1",),
    livemode: bool = True,
    at: int = 1_763_800_000,
) -> str:
    """A customer with one subscription, in the list; its id."""
    observe_profile(
        records,
        tenant,
        account,
        name=name,
        email=email,
        grouptizer_id=grouptizer_id,
        at=at,
        first=True,
    )
    observe_subscription(
        records,
        tenant,
        account,
        f"sub_{account}",
        products=products,
        livemode=livemode,
        at=at,
    )
    customers.reindex(tenant, account)
    entry = customers.of_account(tenant, account)
    assert entry is not None
    return entry.customer_id
