"""Events of the store's own platform, through the function's handler."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from functions.store_events import handler
from functions.store_events.apply import HANDLERS
from shared import compose
from shared.domain.errors import TryAgainLater
from shared.storage.items import Record
from shared.storage.keys import product_key, profile_key, purchase_key
from shared.storage.parked import Parked
from shared.storage.records import Records
from shared.tenant import Tenant
from tests.functions.shop import CHAT, USER, Shop
from tests.storage.owners import store_chats

STORE = Tenant("demo")
CODE = "ABCDEF123456"


def bus_event(
    kind: str,
    detail: dict[str, Any] | None,
    *,
    number: int = 1,
    at: str = "2026-11-01T10:00:00Z",
    store: str = "demo",
) -> dict[str, Any]:
    return {
        "version": "0",
        "id": f"event-{number}",
        "detail-type": kind,
        "source": "grouptizer.store",
        "time": at,
        "detail": None if detail is None else {"store_id": store, **detail},
    }


def redeemed(**more: Any) -> dict[str, Any]:
    return bus_event(
        "AccessCodeRedeemed",
        {
            "grouptizer_id": "gz-1",
            "access_code": CODE,
            "product_id": "prod_1",
            "redeemed_at": "2026-11-01T10:00:00Z",
            "telegram_user_id": USER,
            **more,
        },
    )


def profile(name: str, **more: Any) -> dict[str, Any]:
    detail = {"grouptizer_id": "gz-1", "name": name, "email": "jane@example.com"}
    return bus_event("CustomerProfileChanged", detail, **more)


def send(shop: Shop, event: dict[str, Any]) -> str:
    result: str = shop.invoke("store_events", event)["result"]
    return result


def purchase(shop: Shop, account: str = "store:gz-1", id_: str = f"code_{CODE}") -> Record:
    record = Records(shop.tables.records).get(purchase_key(STORE, account, id_))
    assert record is not None
    return record


def test_a_redeemed_code_is_a_purchase_of_somebody_the_store_knows(shop: Shop) -> None:
    assert send(shop, profile("Jane")) == "applied"
    assert send(shop, redeemed()) == "applied"
    found = shop.customer()
    assert found["customer"]["name"] == "Jane"
    assert found["customer"]["grouptizer_id"] == "gz-1"
    assert found["customer"]["used_access_code"] is True
    assert found["customer"]["payment_providers"] == []
    (bought,) = found["purchases"]
    assert (bought["kind"], bought["status"]) == ("access_code", "active")
    assert bought["access_code"] == CODE
    assert bought["access"]["telegram_user_id"] == str(USER)


def test_a_code_whose_term_is_over_takes_access_away(shop: Shop) -> None:
    chats = {"product_id": "prod_1", "name": "Signals", "telegram_chat_ids": [CHAT]}
    send(shop, bus_event("ProductChanged", chats))
    send(shop, redeemed(expires_at="2026-11-08T10:00:00Z"))
    shop.sweep()
    bought = shop.purchase()
    assert bought["status"] == "expired"
    assert bought["access"]["state"] == "revoked"


def test_a_link_and_its_invite_links_are_kept_with_the_purchase(shop: Shop) -> None:
    bought = shop.stripe.live.subscribe(checkout=False)
    shop.deliver()
    link = {
        "purchase_id": bought["id"],
        "telegram_user_id": str(USER),
        "invite_links": {str(CHAT): "https://t.me/+abc"},
    }
    assert send(shop, bus_event("TelegramLinked", link)) == "applied"
    assert shop.purchase()["access"]["telegram_user_id"] == str(USER)
    stored = purchase(shop, bought["customer"], bought["id"])
    assert stored.purchase.invite_link(str(CHAT)) == "https://t.me/+abc"


def test_a_link_that_overtook_its_purchase_comes_again_for_a_while(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = {"purchase_id": "sub_later", "telegram_user_id": USER}
    event = bus_event("TelegramLinked", link, at="2026-11-01T10:00:00Z")
    sent_at = 1_793_527_200
    store_events = handler.store_events(compose.function("store_events"))
    object.__setattr__(store_events, "clock", lambda: sent_at + 10)
    with pytest.raises(TryAgainLater):
        send(shop, event)
    object.__setattr__(store_events, "clock", lambda: sent_at + 200)
    assert send(shop, event) == "parked"
    (parked,) = Parked(shop.tables.records).all(STORE)
    assert (parked.origin, parked.reason) == ("store", "no such purchase")
    assert json.loads(parked.body) == event


def test_a_link_to_what_is_no_purchase_is_parked(shop: Shop) -> None:
    shop.stripe.live.subscribe()
    shop.deliver()
    (charge, *_) = shop.customer()["transactions"]["items"]
    before = shop.customer()
    link = {"purchase_id": charge["transaction_id"], "telegram_user_id": USER}
    assert send(shop, bus_event("TelegramLinked", link)) == "parked"
    assert shop.customer() == before


def test_chats_are_kept_as_they_were_given_whosever_they_are(shop: Shop) -> None:
    store_chats(shop.tables.records).approve(Tenant("other"), "-1009")
    product = {"product_id": "prod_1", "name": "Signals", "telegram_chat_ids": f"{CHAT}, -1009"}
    assert send(shop, bus_event("ProductChanged", product)) == "applied"
    record = Records(shop.tables.records).get(product_key(STORE, "prod_1", True))
    assert record is not None
    assert record.sources["store"].data["chats"] == [str(CHAT), "-1009"]


@pytest.mark.parametrize("seconds", [0, 1], ids=["in one second", "seconds apart"])
def test_profiles_in_any_order_end_the_same(shop: Shop, seconds: int) -> None:
    events = [
        profile(f"Jane {number}", number=number, at=f"2026-11-01T10:00:0{number * seconds}Z")
        for number in range(3)
    ]
    names = set()
    for order in permutations(events):
        for event in order:
            send(shop, event)
        key = profile_key(STORE, "store:gz-1")
        record = Records(shop.tables.records).get(key)
        assert record is not None
        names.add(record.sources["store"].data["name"])
        shop.tables.records.delete(key.pk, key.sk)
    assert len(names) == 1
    assert seconds == 0 or names == {"Jane 2"}


def test_the_same_event_twice_changes_nothing(shop: Shop) -> None:
    send(shop, redeemed())
    before = purchase(shop)
    assert send(shop, redeemed()) == "applied"
    after = purchase(shop)
    assert (after.sources, after.seen, after.due_at) == (before.sources, before.seen, before.due_at)


@pytest.mark.parametrize(
    "event",
    [
        {},
        bus_event("Unheard", {"x": 1}),
        bus_event("AccessCodeRedeemed", None),
        redeemed(access_code=None),
        redeemed(access_code="A" * 3000),
        redeemed(access_code="A\0B"),
        redeemed(grouptizer_id="😀" * 200),
        redeemed(redeemed_at="soon"),
        redeemed(telegram_user_id="@jane"),
        redeemed(redeemed_at="1901-01-01T00:00:00Z"),
        bus_event("ProductChanged", {"product_id": "p", "name": "n", "telegram_chat_ids": [{}]}),
        bus_event("CustomerProfileChanged", {"grouptizer_id": "g"}, store="no#store"),
        {**profile("Jane"), "time": "never"},
        {**profile("Jane"), "time": ["2026-11-01T10:00:00Z"]},
        {**profile("Jane"), "time": "9999-11-01T10:00:00Z"},
        {**profile("Jane"), "id": ["event-1"]},
        {**profile("Jane"), "id": True},
        {**profile("Jane"), "id": "e" * 3000},
        {**profile("Jane"), "id": "event-\ud800"},
        {**profile("Jane"), "detail-type": ["CustomerProfileChanged"]},
        {**profile("Jane"), "detail": [profile("Jane")["detail"]]},
        bus_event("CustomerProfileChanged", {"grouptizer_id": "g"}, store="d" * 3000),
        bus_event("CustomerProfileChanged", {"grouptizer_id": "g", "store_id": ["demo"]}),
        bus_event("CustomerProfileChanged", {"grouptizer_id": "g", "store_id": "demo\ud800"}),
    ],
    ids=lambda event: str(event.get("detail"))[:60],
)
def test_what_can_never_be_applied_is_parked_and_not_tried_for_ever(
    shop: Shop, event: dict[str, Any]
) -> None:
    assert send(shop, event) == "parked"
    parked = [*Parked(shop.tables.records).all(None), *Parked(shop.tables.records).all(STORE)]
    assert [json.loads(one.body) for one in parked] == [event]
    _, page = shop.get("/v1/customers")
    assert page["items"] == []


@pytest.mark.parametrize("account", [["1"], True, None, "1" * 3000, "\ud800"], ids=repr)
def test_an_account_of_aws_says_nothing_of_the_store(shop: Shop, account: Any) -> None:
    assert send(shop, {**redeemed(), "account": account, "source": account}) == "applied"
    assert shop.purchase()["access_code"] == CODE


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("2027-03-28", "2027-03-28T23:59:59Z"),
        ("28.03.2027", "2027-03-28T23:59:59Z"),
        ("2027-03-28T10:00:00", "2027-03-28T10:00:00Z"),
        (1_806_228_000, "2027-03-28T10:00:00Z"),
        (1_806_228_000_000, "2027-03-28T10:00:00Z"),
        ("1806228000000", "2027-03-28T10:00:00Z"),
    ],
)
def test_a_code_ends_when_the_store_means(shop: Shop, told: Any, at: str) -> None:
    assert send(shop, redeemed(expires_at=told)) == "applied"
    assert shop.purchase()["expires_at"] == at


@pytest.mark.parametrize("told", ["soon", "0", 0, True, ["2027-03-28"], "\ud800", "x" * 3000])
def test_a_code_whose_end_nobody_understands_is_shown_and_its_event_parked(
    shop: Shop, told: Any
) -> None:
    event = redeemed(expires_at=told)
    assert send(shop, event) == "parked"
    assert send(shop, event) == "parked"
    (parked,) = Parked(shop.tables.records).all(STORE)
    assert (parked.reason, json.loads(parked.body)) == (
        "its date of expiry is not understood",
        event,
    )
    bought = shop.purchase()
    assert (bought["kind"], bought["status"], bought["expires_at"]) == (
        "access_code",
        "active",
        None,
    )
    assert [entry["event"] for entry in bought["history"]].count("expiry_unknown") == 1
    shop.sweep()
    assert shop.purchase()["status"] == "active"


def test_the_store_corrects_an_end_that_nobody_understood(shop: Shop) -> None:
    send(shop, redeemed(expires_at="soon"))
    later = {**redeemed(expires_at="2099-01-01"), "id": "event-2", "time": "2026-11-02T10:00:00Z"}
    assert send(shop, later) == "applied"
    bought = shop.purchase()
    assert bought["expires_at"] == "2099-01-01T23:59:59Z"
    told = [entry["event"] for entry in bought["history"]]
    assert told == ["expiry_corrected", "expiry_unknown", "purchased"]
    assert send(shop, redeemed(expires_at="soon")) == "parked"
    assert shop.purchase() == bought


def test_an_event_that_is_understood_at_last_counts_when_it_is_applied_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = redeemed(expires_at="2099-01-01")
    with monkeypatch.context() as older:
        older.setattr("shared.domain.dates.expiry", _understands_nothing)
        assert send(shop, event) == "parked"
    assert shop.purchase()["expires_at"] is None
    assert send(shop, event) == "applied"
    assert shop.purchase()["expires_at"] == "2099-01-01T23:59:59Z"


def _understands_nothing(_: Any) -> None:
    raise ValueError("not a date")


def test_chats_of_a_list_are_kept_as_those_of_a_text(shop: Shop) -> None:
    many = [f"-{number}" for number in range(1, 300)] + ["x" * 3000]
    product = {"product_id": "prod_1", "name": "Signals", "telegram_chat_ids": many}
    assert send(shop, bus_event("ProductChanged", product)) == "applied"
    record = Records(shop.tables.records).get(product_key(STORE, "prod_1", True))
    assert record is not None
    assert record.sources["store"].data["chats"] == many[:100]


def test_every_detail_type_of_the_template_has_a_handler() -> None:
    assert set(HANDLERS) == {
        "AccessCodeRedeemed",
        "TelegramLinked",
        "ProductChanged",
        "CustomerProfileChanged",
    }
