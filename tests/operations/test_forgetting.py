"""Exporting and forgetting one customer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.stripe_webhook.handler import receiver
from functions.stripe_webhook.receive import parse
from local.export import export
from local.forget import StillNeeded, forget
from shared.domain.errors import NotFound
from shared.storage.parked import Parked, ParkedEvent
from shared.tenant import Tenant
from tests.functions.shop import CHAT, USER, Shop

STORE = Tenant("demo")
NAME = "Ottilie Vergissmich"
EMAIL = "ottilie@forget.example"
GROUPTIZER_ID = "gz-ottilie"
WHO = (NAME, EMAIL, EMAIL.upper(), GROUPTIZER_ID, "pictures.example", str(USER), "asked to leave")


def everything(shop: Shop) -> str:
    tables = (shop.tables.records, shop.tables.index)
    dumped = [shop.tables.dump(table) for table in tables]
    return json.dumps(dumped, ensure_ascii=False, sort_keys=True)


@pytest.fixture
def customer(shop: Shop) -> str:
    """Somebody who had a subscription, was refunded, and is gone; the Stripe customer's id."""
    live = shop.stripe.live
    product = live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    made = live.create_customer(
        name=NAME,
        email=EMAIL,
        grouptizer_id=GROUPTIZER_ID,
        avatar_url="https://pictures.example/o.png",
    )["id"]
    live.subscribe(product=product, customer=made, telegram_user_id=USER)
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    shop.cancel(reason="asked to leave")
    shop.deliver()
    return str(made)


def customer_id(shop: Shop) -> str:
    return str(shop.customer()["customer"]["customer_id"])


def forget_it(shop: Shop) -> None:
    forget(shop.tables.records, shop.tables.index, STORE, customer_id(shop))


def test_an_export_holds_all_that_is_kept(shop: Shop, customer: str) -> None:
    exported = export(shop.tables.records, STORE, customer_id(shop))
    text = json.dumps(exported, ensure_ascii=False)
    for part in (NAME, EMAIL, GROUPTIZER_ID, str(USER), "asked to leave", customer, "4242"):
        assert part in text
    with pytest.raises(NotFound):
        export(shop.tables.records, Tenant("other"), customer_id(shop))


def test_forgetting_leaves_the_money_and_nobodys_name(shop: Shop, customer: str) -> None:
    before = shop.customer()
    Parked(shop.tables.records).park(
        STORE,
        ParkedEvent("evt_p", 1, "stripe", "odd", json.dumps({"c": customer, "n": NAME}).encode()),
    )
    forget_it(shop)
    left = everything(shop)
    assert not [part for part in WHO if part in left]
    after = shop.customer()
    assert after["customer"]["name"] is after["customer"]["email"] is None
    assert after["payment_methods"] == []

    def money(detail: dict[str, Any]) -> list[Any]:
        names = ("transaction_id", "type", "status", "amount", "currency", "created_at")
        return [[row[name] for name in names] for row in detail["transactions"]["items"]]

    assert money(after) == money(before)
    assert money(after)
    (purchase,) = after["purchases"]
    assert (purchase["status"], purchase["product"]["name"]) == ("cancelled", "Signals")
    assert "asked to leave" not in json.dumps(after)


def test_nobody_finds_the_forgotten_by_name(shop: Shop, customer: str) -> None:
    assert len(shop.get("/v1/customers", [("search", "ottilie")])[1]["items"]) == 1
    forget_it(shop)
    for text in ("ottilie", "vergissmich", "forget.example", GROUPTIZER_ID):
        assert shop.get("/v1/customers", [("search", text)])[1]["items"] == []
    transaction = shop.customer()["transactions"]["items"][0]["transaction_id"]
    assert len(shop.get("/v1/customers", [("transaction_id", transaction)])[1]["items"]) == 1


def test_later_events_do_not_bring_the_name_back(shop: Shop, customer: str) -> None:
    live = shop.stripe.live
    charge = shop.customer()["transactions"]["items"][0]["provider_id"]
    forget_it(shop)
    live.update_customer(customer, name=NAME, email=EMAIL.upper())
    live.refund(charge)
    live.attach_payment_method(customer, brand="visa", last4="9997")
    live.delete_customer(customer)
    shop.deliver()
    assert not [part for part in WHO if part in everything(shop)]
    rows = shop.customer()["transactions"]["items"]
    assert sorted(row["type"] for row in rows) == ["charge", "refund"]
    assert {row["refunded"] for row in rows if row["type"] == "charge"} == {"fully"}


def test_every_event_of_the_past_may_come_again_after_forgetting(shop: Shop, customer: str) -> None:
    forget_it(shop)
    forgotten = shop.customer()
    for event in shop.stripe.events():
        body = json.dumps(event).encode()
        assert receiver().take(parse(body), body) in ("applied", "ignored")
    assert not [part for part in WHO if part in everything(shop)]
    assert shop.customer()["customer"] == forgotten["customer"]


def test_a_purchase_that_gives_access_is_cancelled_first(shop: Shop) -> None:
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    shop.stripe.live.subscribe(product=product, telegram_user_id=USER)
    shop.deliver()
    before = everything(shop)
    with pytest.raises(StillNeeded, match="cancel it first"):
        forget_it(shop)
    assert everything(shop) == before


def test_what_is_outstanding_is_seen_through_first(shop: Shop) -> None:
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    shop.stripe.live.subscribe(product=product, telegram_user_id=USER)
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    shop.telegram.fail("server_error")
    shop.cancel()
    with pytest.raises(StillNeeded, match="outstanding"):
        forget_it(shop)


def test_a_guest_is_forgotten_too(shop: Shop) -> None:
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    shop.stripe.live.guest_checkout(product=product, name=NAME, email=EMAIL)
    shop.deliver()
    shop.cancel()
    forget_it(shop)
    shop.stripe.deliveries.flush()
    left = everything(shop)
    assert not [part for part in WHO if part in left]


def test_forgetting_twice_changes_nothing_more(shop: Shop, customer: str) -> None:
    forget_it(shop)
    first = shop.customer()
    forget_it(shop)
    assert shop.customer() == first
    assert shop.sweep()["failed"] == 0
