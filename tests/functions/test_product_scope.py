"""``ProductScope``: a Stripe account may sell other things than access to chats, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared import compose
from shared.tenant import Tenant, account_of
from tests.functions.shop import CHAT, USER, Shop, forget_what_was_made


@pytest.fixture
def only_with_chats(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PRODUCT_SCOPE", "with_chats")
    forget_what_was_made()
    yield
    forget_what_was_made()


def names(shop: Shop) -> list[str]:
    return [row["name"] for row in shop.get("/v1/customers")[1]["items"]]


def buy(shop: Shop, name: str, *, chats: str | None, kind: str = "buy_one_off") -> dict[str, Any]:
    live = shop.stripe.live
    more: dict[str, Any] = {} if chats is None else {"telegram_chat_ids": chats}
    product = live.create_product(name="Thing", **more)["id"]
    buyer = live.create_customer(name=name)["id"]
    bought = getattr(live, kind)(product=product, customer=buyer, telegram_user_id=USER)
    shop.deliver()
    return {"product": product, **bought}


@pytest.mark.parametrize("kind", ["buy_one_off", "subscribe"])
def test_by_default_buyers_of_every_product_are_customers(shop: Shop, kind: str) -> None:
    buy(shop, "Book", chats=None, kind=kind)
    buy(shop, "Chat", chats=str(CHAT), kind=kind)
    assert sorted(names(shop)) == ["Book", "Chat"]


@pytest.mark.parametrize("kind", ["buy_one_off", "subscribe"])
def test_only_buyers_of_products_with_chats_are_customers_where_asked_for(
    shop: Shop, only_with_chats: None, kind: str
) -> None:
    buy(shop, "Book", chats=None, kind=kind)
    buy(shop, "Chat", chats=str(CHAT), kind=kind)
    assert names(shop) == ["Chat"]


def test_of_such_a_buyer_only_those_purchases_are_shown(shop: Shop, only_with_chats: None) -> None:
    live = shop.stripe.live
    chat = live.create_product(name="Chat", telegram_chat_ids=str(CHAT))["id"]
    book = live.create_product(name="Book")["id"]
    first = live.buy_one_off(product=book)
    live.buy_one_off(product=chat, customer=first["customer"])
    shop.deliver()
    detail = shop.customer()
    assert [p["product"]["name"] for p in detail["purchases"]] == ["Chat"]
    assert shop.get("/v1/customers", f"product_id={book}")[1]["items"] == []


def test_a_product_that_gets_its_first_chat_later_makes_customers_of_its_buyers(
    shop: Shop, only_with_chats: None
) -> None:
    bought = buy(shop, "Early", chats=None)
    assert names(shop) == []
    shop.stripe.live.update_product(bought["product"], metadata={"telegram_chat_ids": str(CHAT)})
    shop.deliver()
    shop.sweep()
    assert names(shop) == ["Early"]


def test_a_product_that_loses_its_chats_keeps_its_buyers(shop: Shop, only_with_chats: None) -> None:
    bought = buy(shop, "Former", chats=str(CHAT))
    shop.stripe.live.update_product(bought["product"], metadata={"telegram_chat_ids": ""})
    shop.deliver()
    shop.sweep()
    assert names(shop) == ["Former"]


def test_the_list_made_anew_is_the_same(shop: Shop, only_with_chats: None) -> None:
    buy(shop, "Book", chats=None)
    buy(shop, "Chat", chats=str(CHAT))
    customers = compose.function("stripe_webhook").customers
    for item in shop.tables.dump(shop.tables.records):
        if item["sk"]["S"] == "PROFILE":
            account = account_of(item["pk"]["S"])
            assert customers.is_shown(Tenant("demo"), account)
            customers.reindex(Tenant("demo"), account, rewrite=True)
    assert names(shop) == ["Chat"]
