"""What the API answers of a world: the list, and every customer with all pages of the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from functions.list_customers.list import list_customers
from tests.functions.webhook_world import STORE, World

CURSOR_KEY = b"a key of the tests"


def listed(world: World) -> list[dict[str, Any]]:
    """Every row of the customer list, page after page."""
    rows: list[dict[str, Any]] = []
    params = {"limit": ["100"]}
    while True:
        text, _ = list_customers(world.parts.customer_index, STORE, params, CURSOR_KEY)
        page = json.loads(text)
        rows += page["items"]
        if page["next_cursor"] is None:
            return rows
        params["cursor"] = [page["next_cursor"]]


def answers(world: World, *, limit: int = 3) -> list[dict[str, Any]]:
    """The answer of every customer of the list, with all purchases and transactions.

    Args:
        limit: how many transactions a page has.
    """
    return [_of(world, row["customer_id"], limit) for row in listed(world)]


def _of(world: World, customer_id: str, limit: int) -> dict[str, Any]:
    reader = world.parts.reader
    detail, purchases, position = reader.detail(STORE, customer_id, limit=limit)
    assert purchases is None  # a page begins with far more than any history has
    rows = detail["transactions"]["items"]
    while position is not None:
        page, position = reader.transactions(STORE, customer_id, limit=limit, position=position)
        rows += page
    return {**detail, "transactions": rows}


# -- what must be told -----------------------------------------------------------------------------

IDS = {
    "purchase": ("purchases", "purchase_id"),
    "transaction": ("transactions", "provider_id"),
    "method": ("payment_methods", "payment_method_id"),
}
# Rows of other statuses moved no money, or none yet.
MOVED = frozenset({"succeeded", "lost", "fee", "issued", "applied"})


def differences(shown: list[dict[str, Any]], expect: Mapping[str, Any]) -> list[str]:
    """Where customers' answers are not as they must be.

    Args:
        expect: the fields that must be so, by kind and Stripe's id; ``None``: it must not be shown.
            ``sums``: what all rows of the customer who has a row add up to.
    """
    found = []
    for kind, (part, name) in IDS.items():
        rows = {row[name]: row for answer in shown for row in answer[part]}
        for id_, fields in expect.get(kind, {}).items():
            row = rows.get(id_)
            if fields is None or row is None:
                if (fields is None) != (row is None):
                    found.append(f"{id_} is {'not ' if row is None else ''}shown")
                continue
            found += [
                f"{id_}: {key} is {_field(row, key)!r}, not {value!r}"
                for key, value in fields.items()
                if _field(row, key) != value
            ]
    for id_, wanted in expect.get("sums", {}).items():
        for answer in shown:
            theirs = {row["provider_id"]: row for row in answer["transactions"]}
            total = sum(row["amount"] for row in theirs.values() if row["status"] in MOVED)
            if id_ in theirs and total != wanted:
                found.append(f"the rows with {id_} add up to {total}, not {wanted}")
    return found


def _field(row: dict[str, Any], name: str) -> Any:
    if name == "access_state":
        return row["access"]["state"]
    if name.startswith("product_"):
        return (row["product"] or {}).get(name if name == "product_id" else "name")
    return row[name]
