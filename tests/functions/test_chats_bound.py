"""What ``GET /v1/chats`` reads in a store of many products, on a database with pages of 1 MB."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.storage.dynamo import unmarshal
from tests.dynamo import Tables, write_all
from tests.functions.shop import CHAT, OTHER_CHAT, Shop
from tests.functions.test_chats import chats, open_chat
from tests.telling import Tell

PRODUCTS = 1_000
# Two pages of products, one of looks, ten batches of a hundred chats, and who is a store.
MOST_CALLS = 14


@pytest.fixture
def tables(dynoxide_tables: Tables) -> Tables:
    return dynoxide_tables


def multiply(shop: Shop, product: str, copies: int) -> int:
    """Copies of a product, each with a chat of its own that the bot looked at; the bytes of one."""
    items = [unmarshal(raw) for raw in shop.tables.dump(shop.tables.records)]
    ours = [item for item in items if product in item["sk"] or str(CHAT) in item["pk"] + item["sk"]]
    text = json.dumps(ours)
    made: list[dict[str, Any]] = []
    for number in range(1, copies):
        copied = text.replace(str(CHAT), str(CHAT - number)).replace(
            product, f"{product}{number:04}"
        )
        made += json.loads(copied)
    write_all(shop.tables.records, puts=made)
    return len(json.dumps(next(item for item in ours if product in item["sk"])))


def test_the_chats_of_a_thousand_products_take_a_bounded_number_of_calls(
    shop: Shop, tell: Tell
) -> None:
    live = shop.stripe.live
    product = live.create_product(name="Signals of the Alps" * 3, telegram_chat_ids=str(CHAT))["id"]
    shop.deliver()
    for ids in (f"{CHAT},{OTHER_CHAT}", str(CHAT)):
        live.update_product(product, metadata={"telegram_chat_ids": ids})
        shop.stripe.advance(60)
        shop.deliver()
    open_chat(shop)
    shop.sweep()
    size = multiply(shop, product, PRODUCTS)
    before = shop.tables.client.calls.copy()
    found = chats(shop)
    calls = shop.tables.client.calls - before
    tell(f"{PRODUCTS} products of {size} bytes with a chat each: {dict(calls)}")
    assert len(found) == PRODUCTS
    assert {chat["bot"] for chat in found.values()} == {"can_remove"}
    assert calls.total() <= MOST_CALLS
