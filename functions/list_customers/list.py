"""The customer list and the products it is filtered by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.domain.search import make_query, normalize
from shared.http import cursor
from shared.http.app import limit_of, single
from shared.storage.customer_index import CustomerIndex, Page
from shared.storage.products import all_products, id_of, mode_of, name_of
from shared.storage.records import Records
from shared.tenant import Tenant

PARAMETERS = frozenset(
    {
        "search",
        "product_id",
        "payment_provider",
        "used_access_code",
        "transaction_id",
        "sort",
        "limit",
        "cursor",
    }
)


def list_customers(
    index: CustomerIndex, tenant: Tenant, params: Mapping[str, list[str]], cursor_key: bytes
) -> tuple[str, Page]:
    """A page of the list as JSON text, and what it took.

    Raises:
        InvalidRequest: a parameter's value isn't allowed.
        InvalidCursor: the cursor isn't one of this store and query.
    """
    query = make_query(
        sort=single(params, "sort"),
        search=single(params, "search"),
        products=params.get("product_id", ()),
        providers=params.get("payment_provider", ()),
        used_access_code=single(params, "used_access_code"),
        transaction_id=single(params, "transaction_id"),
    )
    limit = limit_of(params)
    bind = cursor.binding(tenant, "customers", query.binding)
    given = single(params, "cursor")
    after = None if given is None else cursor.decode(cursor_key, bind, given)
    page = index.page(tenant, query, limit, after)
    following = None
    if page.position is not None:
        following = cursor.encode(cursor_key, bind, page.position)
    # The rows are JSON already: parsing them to write them again would double the time.
    items = ",".join(page.rows)
    return f'{{"items":[{items}],"next_cursor":{json.dumps(following)}}}', page


def list_products(records: Records, tenant: Tenant) -> dict[str, Any]:
    """The store's products by name, deleted ones too: the filter is by what was ever bought.

    The same id in live and in test mode is two products.
    """
    items = [
        {
            "product_id": id_of(record),
            "name": name_of(record) or id_of(record),
            "payment_provider": "stripe" if mode_of(record) else "stripe_test",
        }
        for record in all_products(records.table, tenant)
    ]
    items.sort(key=lambda i: (normalize(i["name"]), i["product_id"], i["payment_provider"]))
    return {"items": items}
