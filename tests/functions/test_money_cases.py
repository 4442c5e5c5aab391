"""Recorded shapes of Stripe's events, and what the API must tell after them.

Each file of ``tests/fixtures/cases`` is one case: its events, why the answer is right, and the
fields that must be so, by Stripe's ids; ``null``: it must not be shown.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from shared.domain import stripe_objects
from shared.showing.reader import Reader
from standins.stripe import StripeStandin
from tests.functions.shop import CHAT, Shop
from tests.functions.webhook_world import STORE, InProcessStripe, World, signed
from tests.storage.owners import store_chats

CASES = sorted((Path(__file__).parents[1] / "fixtures" / "cases").glob("*.json"))
IDS = {"purchase": "purchase_id", "transaction": "provider_id", "method": "payment_method_id"}
# Rows of other statuses moved no money, or none yet.
MOVED = frozenset({"succeeded", "lost", "fee", "issued", "applied"})


def events_of(case: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A case's events, those of the products that are named first, and what must be told."""
    told = json.loads(case.read_text())
    return [*products_of(told["events"]), *told["events"]], told["expect"]


def products_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events of the products that are named: each opens a chat."""
    told = ((e["data"]["object"].get("metadata") or {}).get("product_id") for e in events)
    first = events[0]
    return [
        {
            **{name: first[name] for name in ("object", "api_version", "livemode", "created")},
            "id": f"evt_{id_}",
            "type": "product.created",
            "data": {
                "object": {
                    "id": id_,
                    "object": "product",
                    "name": id_,
                    "livemode": first["livemode"],
                    "metadata": {"telegram_chat_ids": str(CHAT)},
                }
            },
        }
        for id_ in sorted({id_ for id_ in told if id_ is not None})
    ]


def rows_of(detail: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = {
        "purchase": detail["purchases"],
        "transaction": detail["transactions"]["items"],
        "method": detail["payment_methods"],
    }[kind]
    return rows


def field(row: dict[str, Any], name: str) -> Any:
    if name == "access_state":
        return row["access"]["state"]
    if name.startswith("product_"):
        return (row["product"] or {}).get(name if name == "product_id" else "name")
    return row[name]


def differences(details: list[dict[str, Any]], expect: dict[str, Any]) -> list[str]:
    """Where customers' pages are not as they must be."""
    found = []
    for kind, name in IDS.items():
        rows = {row[name]: row for detail in details for row in rows_of(detail, kind)}
        for id_, fields in expect.get(kind, {}).items():
            row = rows.get(id_)
            if fields is None or row is None:
                if (fields is None) != (row is None):
                    found.append(f"{id_} is {'not ' if row is None else ''}shown")
                continue
            found += [
                f"{id_}: {key} is {field(row, key)!r}, not {value!r}"
                for key, value in fields.items()
                if field(row, key) != value
            ]
    for id_, wanted in expect.get("sums", {}).items():
        for detail in details:
            shown = {row["provider_id"]: row for row in rows_of(detail, "transaction")}
            total = sum(row["amount"] for row in shown.values() if row["status"] in MOVED)
            if id_ in shown and total != wanted:
                found.append(f"the rows with {id_} add up to {total}, not {wanted}")
    return found


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_recorded_events_are_told_right(shop: Shop, case: Path) -> None:
    events, expect = events_of(case)
    for event in events:
        body = json.dumps(event).encode()
        assert shop.receive(body, {"Stripe-Signature": signed(body)}) == 200, event["type"]
    _, page = shop.get("/v1/customers", "limit=100")
    details = [shop.get(f"/v1/customers/{c['customer_id']}")[1] for c in page["items"]]
    assert differences(details, expect) == []


class LastTold(InProcessStripe):
    """A Stripe whose objects are as the last event of each tells them."""

    def __init__(self, standin: StripeStandin, events: Iterable[dict[str, Any]]) -> None:
        super().__init__(standin)
        self.objects: dict[str, Any] = {}
        for event in events:
            about = event["data"]["object"]
            self.objects[about["id"]] = {
                name: value
                for name, value in stripe_objects.since_2025(about, event["api_version"]).items()
                if name != "never_collected"
            }

    def answer(
        self, method: str, path: str, pairs: list[tuple[str, str]], headers: Any
    ) -> tuple[int, str]:
        found = self.objects.get(path.rsplit("/", 1)[1])
        if found is None:
            return super().answer(method, path, pairs, headers)
        return 200, json.dumps(found)


def pages(world: World) -> list[dict[str, Any]]:
    """Every customer's page."""
    reader = Reader(world.records, world.customers, store_chats(world.table), world.registry)
    items = [item for item in world.memory.dump("records") if item["sk"]["S"] == "CUSTOMER"]
    return [
        reader.detail(STORE, item["pk"]["S"].rpartition("#")[2], limit=100)[0]
        for item in items
        if "row" in item
    ]


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_recorded_events_are_told_right_in_any_order_and_twice(case: Path) -> None:
    events, expect = events_of(case)
    dice = random.Random(case.stem)
    for _ in range(25):
        standin = StripeStandin()
        world = World(standin, stripe=LastTold(standin, events))
        order = [*events, *dice.sample(events, 2)]
        dice.shuffle(order)
        for event in order:
            world.receive(event)
        assert differences(pages(world), expect) == [], [event["id"] for event in order]
