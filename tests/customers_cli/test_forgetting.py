"""Exporting and forgetting one customer."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from customers_cli.export import export
from customers_cli.forget import StillNeeded, forget
from functions.store_events import handler as store_events
from shared import compose
from shared.compose import COMMAND, Composition, Leaves
from shared.domain.clock import iso
from shared.domain.customer import customer_id_of
from shared.domain.errors import NotFound
from shared.settings import SETTLE_SECONDS, Settings
from shared.storage.parked import Parked, ParkedEvent
from shared.stripe_events.events import HANDLERS
from shared.stripe_events.receive import Receiver
from shared.tenant import Tenant
from tests.customers_cli.test_restore import restore
from tests.functions.shop import CHAT, USER, Shop, SlowContext

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


def parts(shop: Shop) -> Composition:
    settings = {"RECORDS_TABLE": shop.tables.records.name, "INDEX_TABLE": shop.tables.index.name}
    return Composition(COMMAND, Settings(settings), Leaves(aws=lambda _: shop.tables.client))


def webhook() -> Receiver:
    return compose.function("stripe_webhook").receiver


def forget_it(shop: Shop) -> None:
    forget(parts(shop), STORE, customer_id(shop))


def test_an_export_holds_all_that_is_kept(shop: Shop, customer: str) -> None:
    exported = export(parts(shop), STORE, customer_id(shop))
    text = json.dumps(exported, ensure_ascii=False)
    for part in (NAME, EMAIL, GROUPTIZER_ID, str(USER), "asked to leave", customer, "4242"):
        assert part in text
    with pytest.raises(NotFound):
        export(parts(shop), Tenant("other"), customer_id(shop))


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
        assert webhook().take(body) in (
            "applied",
            "ignored",
        )
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


# -- stopped, and too late -------------------------------------------------------------------------


class Stopped(BaseException):
    """The command is gone."""


def writes_of(shop: Shop, run: Callable[[], None], stop_after: int | None = None) -> int:
    """How many writes a command makes; it is stopped after some of them."""
    count = 0

    def note(operation: str, request: dict[str, Any]) -> None:
        nonlocal count
        if operation in ("put_item", "update_item", "delete_item", "transact_write_items"):
            if count == stop_after:
                raise Stopped
            count += 1

    shop.tables.client.hook = note
    try:
        run()
    finally:
        shop.tables.client.hook = None
    return count


def test_forgetting_that_was_stopped_anywhere_is_finished_by_running_it_again(
    shop: Shop, customer: str
) -> None:
    whole = [shop.tables.dump(table) for table in (shop.tables.records, shop.tables.index)]
    id_ = customer_id(shop)

    def run() -> None:
        forget(parts(shop), STORE, id_)

    def put_back() -> None:
        for table, items in zip((shop.tables.records, shop.tables.index), whole, strict=True):
            restore(shop, table, items)

    number = writes_of(shop, run)
    assert number > 5
    for stop_after in range(number):
        put_back()
        with pytest.raises(Stopped):
            writes_of(shop, run, stop_after)
        # Still known by its id, or by the one it has without a name.
        for known in {id_, customer_id_of("demo", f"account:{customer}")}:
            with contextlib.suppress(NotFound):
                forget(parts(shop), STORE, known)
        left = everything(shop)
        assert not [part for part in WHO if part in left], stop_after
        assert shop.sweep()["failed"] == 0


def late_events(shop: Shop) -> list[dict[str, Any]]:
    return [event for event in shop.stripe.events() if event["type"] in HANDLERS]


def test_an_event_that_comes_first_after_forgetting_brings_no_name(shop: Shop, clock: Any) -> None:
    """Each event of the story in turn is the one that was lost, and is sent again afterwards."""
    live = shop.stripe.live
    product = live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    made = live.create_customer(name=NAME, email=EMAIL, grouptizer_id=GROUPTIZER_ID)["id"]
    sold = live.subscribe(product=product, customer=made, telegram_user_id=USER)
    live.renew(sold["id"])
    live.portal_cancel(sold["id"], immediately=True, comment="asked to leave")
    live.buy_one_off(product=product, customer=made, telegram_user_id=USER, outcome="failed")
    events = late_events(shop)
    empty = [shop.tables.dump(table) for table in (shop.tables.records, shop.tables.index)]
    told = 0
    for late in events:
        for table, items in zip((shop.tables.records, shop.tables.index), empty, strict=True):
            restore(shop, table, items)
        take(shop, [event for event in events if event is not late])
        clock.later(SETTLE_SECONDS + 1)
        shop.sweep()
        try:
            forget_it(shop)
        except (StillNeeded, ValueError):
            continue  # without this event the story has not come to its end
        take(shop, [late])
        left = everything(shop)
        assert not [part for part in WHO if part in left], late["type"]
        for row in shop.get("/v1/customers")[1]["items"]:
            assert shop.get(f"/v1/customers/{row['customer_id']}")[0] == 200
        assert shop.sweep()["failed"] == 0
        told += 1
    assert told > len(events) / 2


def take(shop: Shop, events: list[dict[str, Any]]) -> None:
    for event in events:
        body = json.dumps(event).encode()
        assert webhook().take(body) in (
            "applied",
            "ignored",
        ), event["type"]


def test_the_platforms_late_events_bring_nobody_back(shop: Shop, customer: str) -> None:
    (purchase,) = shop.customer()["purchases"]
    id_ = purchase["purchase_id"]
    store_events.store_events.cache_clear()

    def bus(number: int, kind: str, **detail: Any) -> None:
        event = {
            "id": f"bus-{number}",
            "detail-type": kind,
            "time": iso(int(time.time()) + number),
            "detail": {"store_id": "demo", **detail},
        }
        shop.invoke("store_events", event, SlowContext())

    code = {
        "grouptizer_id": "gz-code",
        "access_code": "ABCDEFGHJKLM",
        "product_id": "own",
        "redeemed_at": iso(1_770_000_000),
        "expires_at": iso(1_780_000_000),
        "telegram_user_id": str(USER),
    }
    profile = {"grouptizer_id": "gz-code", "name": NAME, "email": EMAIL}
    bus(0, "ProductChanged", product_id="own", name="Own", telegram_chat_ids=str(CHAT))
    bus(1, "AccessCodeRedeemed", **code)
    bus(2, "CustomerProfileChanged", **profile)
    shop.sweep()
    forget_it_of(shop, customer)
    others = [
        row["customer_id"]
        for row in shop.get("/v1/customers")[1]["items"]
        if row["grouptizer_id"] == "gz-code"
    ]
    for other in others:
        forget(parts(shop), STORE, other)
    bus(3, "CustomerProfileChanged", **profile)
    bus(4, "AccessCodeRedeemed", **code)
    bus(5, "TelegramLinked", purchase_id=id_, telegram_user_id=str(USER))
    bus(6, "TelegramLinked", purchase_id="code_ABCDEFGHJKLM", telegram_user_id=str(USER))
    left = everything(shop)
    assert not [part for part in WHO if part in left]
    store_events.store_events.cache_clear()


def forget_it_of(shop: Shop, account: str) -> None:
    for row in shop.get("/v1/customers")[1]["items"]:
        exported = json.dumps(export(parts(shop), STORE, row["customer_id"]))
        if account in exported:
            forget(parts(shop), STORE, row["customer_id"])
