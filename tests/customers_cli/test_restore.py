"""After an older copy of the tables was restored, backfill, replay and sweep bring the truth back.
docs/runbook/restore.md, step by step."""

from __future__ import annotations

import json
from typing import Any

from customers_cli.backfill import Backfill
from shared import compose
from shared.ending.removal import SWITCHED_OFF_SECONDS
from shared.integrations.stripe_gateway import Mode
from shared.settings import SETTLE_SECONDS
from shared.storage.bot import Bot
from shared.storage.dynamo import Table
from shared.tenant import Tenant
from tests.functions.shop import CHAT, USER, MovableClock, Shop, forget_what_was_made

STORE = Tenant("demo")


def restore(shop: Shop, table: Table, copy: list[dict[str, Any]]) -> None:
    """Put an older copy in place of what there is."""
    client = shop.tables.client._client
    for item in shop.tables.dump(table):
        client.delete_item(TableName=table.name, Key={"pk": item["pk"], "sk": item["sk"]})
    for item in copy:
        client.put_item(TableName=table.name, Item=item)
    forget_what_was_made()


def backfill(shop: Shop) -> None:
    services = compose.function("stripe_webhook").services
    assert not Backfill(STORE, services, [Mode(livemode=True)], workers=1).run().left_out


def shown(shop: Shop) -> dict[str, dict[str, Any]]:
    """Every customer as the owner sees it, by name, without what was asked when."""
    _, page = shop.get("/v1/customers", [("limit", "100")])
    details = {}
    for row in page["items"]:
        _, detail = shop.get(f"/v1/customers/{row['customer_id']}")
        for purchase in detail["purchases"]:
            purchase.pop("history")
        details[row["name"]] = detail
    return details


def test_an_older_copy_catches_up(shop: Shop, clock: MovableClock) -> None:
    live, chats = shop.stripe.live, shop.telegram.bot_api
    product = live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    ends, stays, owner_ends = (
        live.subscribe(
            product=product, name=name, email=f"{name}@example.com", telegram_user_id=USER + number
        )["id"]
        for number, name in enumerate(("ends", "stays", "owner"))
    )
    shop.deliver()
    for number in range(4):
        chats.join(CHAT, USER + number)
    copy = [shop.tables.dump(table) for table in (shop.tables.records, shop.tables.index)]

    # Since the copy: an end in Stripe, a cancel by the owner, a renewal, and a new buyer.
    live.portal_cancel(ends, immediately=True)
    live.renew(stays)
    live.buy_one_off(
        product=product, name="new", email="new@example.com", telegram_user_id=USER + 3
    )
    shop.deliver()
    clock.later(SETTLE_SECONDS + 1)
    shop.sweep()
    (row,) = (d for n, d in shown(shop).items() if n == "owner")
    path = f"/v1/customers/{row['customer']['customer_id']}/purchases/{owner_ends}/cancel"
    body = {"when": "immediately", "confirmation": "CANCEL PURCHASE"}
    assert shop.post(path, body)[0] == 200
    shop.deliver()
    truth = shown(shop)
    assert {chats.status_of(CHAT, USER + n) for n in (0, 2)} == {"left"}

    restore(shop, shop.tables.records, copy[0])
    restore(shop, shop.tables.index, copy[1])
    assert shown(shop) != truth
    bot = Bot(shop.tables.records)
    bot.switch_removals(enabled=False)
    shop.telegram.forget_requests()
    backfill(shop)
    shop.sweep()
    assert shop.kicks() == []  # nobody is removed on the word of half-restored data

    bot.switch_removals(enabled=True)
    clock.later(SWITCHED_OFF_SECONDS + 1)  # when those that waited for the switch look again
    shop.sweep()
    after = shown(shop)
    for name in truth:
        assert _money_of(after[name]) == _money_of(truth[name]), name
        assert [p["status"] for p in after[name]["purchases"]] == [
            p["status"] for p in truth[name]["purchases"]
        ], name
    assert {chats.status_of(CHAT, USER + n) for n in (0, 2)} == {"left"}
    assert {chats.status_of(CHAT, USER + n) for n in (1, 3)} == {"member"}


def _money_of(detail: dict[str, Any]) -> list[str]:
    rows = detail["transactions"]["items"]
    return sorted(json.dumps([row["provider_id"], row["amount"], row["refunded"]]) for row in rows)
