"""Two stores side by side: whatever one asks, with whatever it knows of the other, the other's
items stay as they are and are not shown."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest

from functions.store_events import handler as store_events
from shared.domain.clock import iso
from shared.storage.registry import AccountTaken, Registry
from shared.tenant import Tenant
from tests.functions.http import api_event, json_of
from tests.functions.shop import OTHER_CHAT, USER, Shop
from tests.functions.webhook_world import signed
from tests.guards import Breach, breaches, working_for
from tests.storage.owners import owner_of, store_chats

A, B = Tenant("demo"), Tenant("other")
ACCOUNT_B = "acct_b"
NAME_B = "Beatrix Nebenan"
CHAT_B = -1001000000777


def items_of(shop: Shop, tenant: Tenant) -> str:
    """A digest of everything of one store."""
    items = [
        item
        for table in (shop.tables.records, shop.tables.index)
        for item in shop.tables.dump(table)
        if tenant.owns(item["pk"]["S"]) or item["pk"]["S"] == f"PARKED#{tenant.store_id}"
    ]
    return hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()


@pytest.fixture
def ids(shop: Shop) -> dict[str, str]:
    """A customer of each store; everything A could have learnt of B."""
    Registry(shop.tables.records, A.store_id).register(B, ACCOUNT_B)
    shop.stripe.live.subscribe(name="Anna", email="anna@example.com", telegram_user_id=USER)
    theirs = shop.stripe.account(ACCOUNT_B)
    product = theirs.create_product(name="Theirs", telegram_chat_ids=str(CHAT_B))["id"]
    subscription = theirs.subscribe(
        product=product,
        name=NAME_B,
        email="beatrix@example.com",
        grouptizer_id="gz-b",
        telegram_user_id=USER,
    )
    shop.deliver()
    store_chats(shop.tables.records).approve(B, str(CHAT_B))
    shop.telegram.bot_api.join(CHAT_B, USER)
    shop.sweep()  # the bot looks at every new chat once
    (row,) = shop.get("/v1/customers", store="other")[1]["items"]
    path = f"/v1/customers/{row['customer_id']}"
    detail = shop.get(path, store="other")[1]
    (own,) = shop.get("/v1/customers")[1]["items"]
    charge = detail["transactions"]["items"][0]
    return {
        "path": path,
        "own_path": f"/v1/customers/{own['customer_id']}",
        "subscription": str(subscription["id"]),
        "account": str(subscription["customer"]),
        "product": str(product),
        "transaction": charge["transaction_id"],
        "charge": charge["provider_id"],
    }


def refusal(shop: Shop, function: str, method: str, path: str, **more: Any) -> tuple[int, Any]:
    answer = shop.invoke(function, api_event(method, path, **more))
    body = json_of(answer)
    body.pop("request_id")
    return answer["statusCode"], (body, sorted(answer["headers"].items()))


def test_foreign_ids_are_answered_exactly_as_unknown_ones(shop: Shop, ids: dict[str, str]) -> None:
    body = json.dumps({"when": "immediately", "confirmation": "CANCEL PURCHASE"})
    unknown, sub = "/v1/customers/cust_" + "a" * 24, ids["subscription"]
    own = ids["own_path"]
    for function, method, foreign, none in (
        ("get_customer", "GET", ids["path"], unknown),
        ("get_customer", "GET", f"{ids['path']}/transactions", f"{unknown}/transactions"),
        (
            "cancel_purchase",
            "POST",
            f"{ids['path']}/purchases/{sub}/cancel",
            f"{unknown}/purchases/{sub}/cancel",
        ),
        (
            "cancel_purchase",
            "POST",
            f"{own}/purchases/{sub}/cancel",
            f"{own}/purchases/sub_none/cancel",
        ),
        (
            "cancel_purchase",
            "POST",
            f"{own}/purchases/{sub}/revocation",
            f"{own}/purchases/sub_none/revocation",
        ),
    ):
        sent = {"body": body} if foreign.endswith("/cancel") else {}
        before = items_of(shop, B)
        refused = refusal(shop, function, method, foreign, **sent)
        assert refused[0] == 404
        assert refused == refusal(shop, function, method, none, **sent)
        assert items_of(shop, B) == before


def test_foreign_references_find_nothing(shop: Shop, ids: dict[str, str]) -> None:
    for query in (
        [("transaction_id", ids["transaction"])],
        [("product_id", ids["product"])],
        [("search", "beatrix")],
        [("search", "gz-b")],
    ):
        assert shop.get("/v1/customers", query)[1] == {"items": [], "next_cursor": None}
        assert len(shop.get("/v1/customers", query, store="other")[1]["items"]) == 1
    assert "Theirs" not in json.dumps(shop.get("/v1/products"))


def test_a_cursor_of_another_store_is_refused(shop: Shop, ids: dict[str, str]) -> None:
    shop.stripe.account(ACCOUNT_B).subscribe(name="Berta", email="berta@example.com")
    shop.deliver()
    _, page = shop.get("/v1/customers", [("limit", "1")], store="other")
    query = [("limit", "1"), ("cursor", page["next_cursor"])]
    assert shop.get("/v1/customers", query, store="other")[0] == 200
    assert shop.get("/v1/customers", query)[1]["code"] == "invalid_cursor"
    _, page = shop.get(f"{ids['path']}/transactions", [("limit", "1")], store="other")
    if page["next_cursor"] is not None:
        query = [("cursor", page["next_cursor"])]
        assert shop.get(f"{ids['own_path']}/transactions", query)[0] == 422


def test_an_account_belongs_to_the_store_that_registered_it(
    shop: Shop, ids: dict[str, str]
) -> None:
    with pytest.raises(AccountTaken):
        Registry(shop.tables.records, A.store_id).register(A, ACCOUNT_B)


def test_metadata_never_decides_whose_an_event_is(shop: Shop, ids: dict[str, str]) -> None:
    before = items_of(shop, B)
    metadata = {"store_id": "other", "store": "other", "account": ACCOUNT_B}
    shop.stripe.live.create_customer(name="Anton", email="anton@example.com", metadata=metadata)
    shop.deliver()
    assert items_of(shop, B) == before


def test_a_webhook_of_an_account_nobody_registered_touches_no_store(
    shop: Shop, ids: dict[str, str]
) -> None:
    before = [items_of(shop, tenant) for tenant in (A, B)]
    shop.stripe.account("acct_stranger").subscribe(name="Nobody", email="no@example.com")
    shop.deliver()
    assert [items_of(shop, tenant) for tenant in (A, B)] == before


def test_an_event_that_names_anothers_objects_stays_in_its_own_store(
    shop: Shop, ids: dict[str, str]
) -> None:
    before = items_of(shop, B)
    event = next(
        event
        for event in shop.stripe.events(types=["customer.subscription.created"])
        if event["data"]["object"]["id"] == ids["subscription"]
    )
    forged = {**event, "id": "evt_forged", "account": None, "created": event["created"] + 60}
    forged["data"] = {"object": {**event["data"]["object"], "status": "canceled"}}
    body = json.dumps(forged).encode()
    shop.receive(body, {"Stripe-Signature": signed(body)})
    assert items_of(shop, B) == before
    assert shop.telegram.bot_api.status_of(CHAT_B, USER) == "member"


def test_a_chat_of_another_store_is_left_alone(shop: Shop, ids: dict[str, str]) -> None:
    """The chat is B's: A's product may name it, but no end of A's purchases removes anybody."""
    mine = shop.stripe.live.create_product(name="Mine", telegram_chat_ids=f"{CHAT_B},{OTHER_CHAT}")[
        "id"
    ]
    bought = shop.stripe.live.subscribe(
        product=mine, name="Anna", email="anna2@example.com", telegram_user_id=USER
    )
    shop.deliver()
    assert owner_of(store_chats(shop.tables.records), str(CHAT_B)) == "other"
    before = items_of(shop, B)
    shop.stripe.live.portal_cancel(bought["id"], immediately=True)
    shop.deliver()
    shop.sweep()
    assert all(chat != CHAT_B for chat, _ in shop.kicks())
    assert shop.telegram.bot_api.status_of(CHAT_B, USER) == "member"
    assert items_of(shop, B) == before


def bus_event(number: int, detail_type: str, detail: dict[str, Any]) -> dict[str, Any]:
    at = iso(1_780_000_000 + number)
    return {"id": f"bus-{number}", "detail-type": detail_type, "time": at, "detail": detail}


@pytest.mark.parametrize("seed", range(3))
def test_random_traffic_of_one_store_leaves_the_other_as_it_was(
    shop: Shop, ids: dict[str, str], seed: int, context: Any
) -> None:
    dice = random.Random(seed)
    live = shop.stripe.live
    before = items_of(shop, B)
    store_events.store_events.cache_clear()
    knows = list(ids.values())
    for number in range(25):
        foreign = dice.choice(knows)
        match dice.randrange(7):
            case 0:
                live.subscribe(metadata={"product_id": foreign}, email=f"a{number}@example.com")
            case 1:
                live.buy_one_off(grouptizer_id="gz-b", telegram_user_id=USER)
            case 2:
                live.create_product(name="x", telegram_chat_ids=str(CHAT_B))
            case 3:
                query = [(dice.choice(["search", "product_id", "transaction_id"]), foreign)]
                shop.get("/v1/customers", query)
            case 4:
                shop.get(f"/v1/customers/{foreign.rpartition('/')[2]}")
            case 5:
                body = {"when": "immediately", "confirmation": "CANCEL PURCHASE"}
                path = f"{ids['own_path']}/purchases/{ids['subscription']}/cancel"
                shop.post(path, body, key=f"key-{dice.randrange(3)}")
            case 6:
                detail = {
                    "store_id": "demo",
                    "purchase_id": ids["subscription"],
                    "telegram_user_id": str(USER),
                }
                event = bus_event(number, "TelegramLinked", detail)
                shop.invoke("store_events", event, context)
        shop.deliver()
    shop.sweep()
    assert items_of(shop, B) == before
    assert NAME_B not in json.dumps(shop.get("/v1/customers", [("limit", "100")]))
    assert shop.telegram.bot_api.status_of(CHAT_B, USER) == "member"
    store_events.store_events.cache_clear()


# -- the guard itself ------------------------------------------------------------------------------


def test_a_key_that_no_tenant_built_fails_the_test_it_is_used_in(shop: Shop) -> None:
    table = shop.tables.records
    for request in (
        lambda: table.get("demo#ACCOUNT#cus_made_by_hand", "PROFILE"),
        lambda: table.put({"pk": "made#by#hand", "sk": "x"}),
        lambda: list(table.query_all("pk = :pk", pk="other#PRODUCTS#x")),
        lambda: table.query("#r = :ref", index="by_ref", names={"#r": "ref"}, ref="demo#by-hand"),
        lambda: table.transact([table.put_action({"pk": "made#by#hand", "sk": "x"})]),
        lambda: getattr(table.client, "scan")(TableName=table.name),  # noqa: B009
    ):
        with pytest.raises(Breach):
            request()
    breaches.clear()


def test_one_stores_work_may_not_reach_anothers_partitions(shop: Shop) -> None:
    pk = B.account_pk("cus_b")
    shop.tables.records.get(pk, "PROFILE")
    with working_for("demo"), pytest.raises(Breach):
        shop.tables.records.get(pk, "PROFILE")
    breaches.clear()
