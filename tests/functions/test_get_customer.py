"""One customer: every field the API promises, from real events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.domain.transaction import transaction_id_of
from shared.settings import SETTLE_SECONDS
from standins.stripe.history import history
from tests.functions.shop import CHAT, USER, Shop

OPENAPI = json.loads(
    (Path(__file__).resolve().parents[2] / "shared" / "http" / "openapi.json").read_text()
)


def check(schema: str, value: Any) -> None:
    """Hold an answer against the API's own document: every field, and no other."""
    reference = {"components": OPENAPI["components"], "$ref": f"#/components/schemas/{schema}"}
    Draft202012Validator(reference).validate(value)


def detail_of(shop: Shop) -> dict[str, Any]:
    detail = shop.customer()
    check("CustomerDetail", detail)
    return detail


@pytest.fixture
def product(shop: Shop) -> str:
    made = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
    return str(made["id"])


def test_a_subscriber_is_shown_whole(shop: Shop, product: str) -> None:
    made = shop.stripe.live.subscribe(
        product=product,
        name="Renée Dupont",
        email="renee@acme.example",
        grouptizer_id="gz_1",
        avatar_url="https://pictures.example/1.png",
        telegram_user_id=USER,
        amount=900,
        currency="eur",
    )
    shop.deliver()
    detail = detail_of(shop)
    since = detail["purchases"][0]["purchased_at"]
    customer_id = detail["customer"].pop("customer_id")
    assert customer_id.startswith("cust_")
    assert detail["customer"] == {
        "grouptizer_id": "gz_1",
        "name": "Renée Dupont",
        "email": "renee@acme.example",
        "avatar_url": "https://pictures.example/1.png",
        "payment_providers": ["stripe"],
        "used_access_code": False,
        "customer_since": since,
    }
    (purchase,) = detail["purchases"]
    assert purchase["purchase_id"] == made["id"]
    assert purchase["product"] == {"product_id": product, "name": "Signals"}
    assert (purchase["kind"], purchase["status"]) == ("subscription", "active")
    assert purchase["payment_provider"] == "stripe"
    assert set(purchase["payment_method"]) == {"type", "brand", "last4"}
    assert purchase["payment_method"]["type"] == "card"
    assert purchase["current_period_end"] > purchase["purchased_at"]
    for name in ("access_code", "cancel_at", "expires_at", "ended_at", "end_reason"):
        assert purchase[name] is None
    assert [entry["event"] for entry in purchase["history"]] == ["purchased"]
    (charge,) = detail["transactions"]["items"]
    assert (charge["type"], charge["status"]) == ("charge", "succeeded")
    assert (charge["amount"], charge["currency"], charge["refunded"]) == (900, "eur", "no")
    assert charge["purchase_id"] == made["id"]
    assert charge["transaction_id"] == transaction_id_of(charge["provider_id"])
    (method,) = detail["payment_methods"]
    assert method["last4"] == purchase["payment_method"]["last4"]
    assert method["payment_provider"] == "stripe"


def test_a_one_off_shows_how_it_was_paid(shop: Shop) -> None:
    session = shop.stripe.test.buy_one_off(telegram_user_id=USER)
    shop.deliver()
    (purchase,) = detail_of(shop)["purchases"]
    assert purchase["purchase_id"] == session["payment_intent"]
    assert (purchase["kind"], purchase["status"]) == ("one_off", "active")
    assert purchase["payment_provider"] == "stripe_test"
    assert purchase["payment_method"]["type"] == "card"
    assert purchase["cancel_options"] == ["immediately"]


def test_a_redeemed_access_code_is_no_payment(shop: Shop, product: str) -> None:
    session = shop.stripe.live.redeem_access_code(
        product=product, access_code="ABCD2345EFGH", access_expires_at="2099-01-01T00:00:00Z"
    )
    shop.deliver()
    detail = detail_of(shop)
    (purchase,) = detail["purchases"]
    assert purchase["purchase_id"] == session["id"]
    assert (purchase["kind"], purchase["access_code"]) == ("access_code", "ABCD2345EFGH")
    assert purchase["payment_provider"] is None
    assert purchase["payment_method"] is None
    assert purchase["expires_at"] == "2099-01-01T00:00:00Z"
    assert detail["customer"]["payment_providers"] == []
    assert detail["customer"]["used_access_code"] is True
    assert detail["transactions"]["items"] == []


def test_a_guest_is_a_customer_too(shop: Shop, product: str) -> None:
    shop.stripe.live.guest_checkout(product=product, name="Guest", email="guest@example.com")
    shop.deliver()
    detail = detail_of(shop)
    assert (detail["customer"]["name"], detail["customer"]["email"]) == (
        "Guest",
        "guest@example.com",
    )
    assert len(detail["purchases"]) == 1


def test_the_same_grouptizer_id_in_both_modes_is_one_customer(shop: Shop, product: str) -> None:
    shop.stripe.live.subscribe(product=product, grouptizer_id="gz_1")
    shop.stripe.test.buy_one_off(grouptizer_id="gz_1")
    shop.deliver()
    detail = detail_of(shop)
    assert detail["customer"]["payment_providers"] == ["stripe", "stripe_test"]
    assert {p["payment_provider"] for p in detail["purchases"]} == {"stripe", "stripe_test"}
    assert len(detail["transactions"]["items"]) == 2


def test_refunds_and_disputes_are_signed_rows_of_their_own(shop: Shop, product: str) -> None:
    session = shop.stripe.live.buy_one_off(product=product, amount=2000, telegram_user_id=USER)
    shop.stripe.live.refund(session["payment_intent"], amount=500)
    dispute = shop.stripe.live.dispute(session["payment_intent"], amount=1500)
    shop.stripe.live.close_dispute(dispute["id"], won=False)
    shop.deliver()
    detail = detail_of(shop)
    rows = {row["provider_id"]: row for row in detail["transactions"]["items"]}
    charge = next(row for row in rows.values() if row["type"] == "charge")
    assert (charge["amount"], charge["refunded"]) == (2000, "partly")
    refund = next(row for row in rows.values() if row["type"] == "refund")
    assert refund["amount"] == -500
    assert refund["related_transaction_id"] == charge["transaction_id"]
    lost = rows[dispute["id"]]
    assert (lost["type"], lost["status"], lost["amount"]) == ("dispute", "lost", -1500)
    fees = [r for r in rows.values() if r["type"] == "dispute" and r["status"] == "fee"]
    assert [fee["amount"] < 0 for fee in fees] == [True]
    assert {row["purchase_id"] for row in rows.values()} == {session["payment_intent"]}
    # Refunds and disputes never change access.
    assert detail["purchases"][0]["access"]["state"] == "granted"


def test_a_charge_that_went_back_whole_is_fully_refunded(shop: Shop, product: str) -> None:
    session = shop.stripe.live.buy_one_off(product=product, amount=2000)
    shop.stripe.live.refund(session["payment_intent"])
    shop.deliver()
    rows = detail_of(shop)["transactions"]["items"]
    assert {row["type"]: row["refunded"] for row in rows} == {"charge": "fully", "refund": "no"}


def test_every_field_of_a_payment_method_and_which_one_is_charged(shop: Shop, product: str) -> None:
    live = shop.stripe.live
    customer = live.create_customer()["id"]
    made = [
        live.attach_payment_method(
            customer, brand="visa", last4="4242", exp_month=8, exp_year=2031
        ),
        live.attach_payment_method(customer, type="sepa_debit", last4="3000", default=True),
        live.attach_payment_method(customer, brand="amex", last4="0005"),
    ]
    live.detach_payment_method(made[2]["id"])
    live.buy_one_off(customer=customer, product=product)
    shop.deliver()
    methods = {m["payment_method_id"]: m for m in detail_of(shop)["payment_methods"]}
    assert methods.pop(made[0]["id"]) == {
        "payment_method_id": made[0]["id"],
        "type": "card",
        "brand": "visa",
        "last4": "4242",
        "exp_month": 8,
        "exp_year": 2031,
        "is_default": False,
        "payment_provider": "stripe",
    }
    debit = methods.pop(made[1]["id"])
    assert (debit["type"], debit["last4"], debit["is_default"]) == ("sepa_debit", "3000", True)
    assert (debit["brand"], debit["exp_month"], debit["exp_year"]) == (None, None, None)
    assert made[2]["id"] not in methods


def test_times_are_iso_8601_in_utc_and_a_trial_shows_its_end(shop: Shop, product: str) -> None:
    made = shop.stripe.live.subscribe(product=product, trial_days=7)
    shop.stripe.live.portal_cancel(made["id"])
    shop.deliver()
    (purchase,) = detail_of(shop)["purchases"]
    stripes = shop.stripe.live.get("subscription", made["id"])

    def iso(at: int) -> str:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert purchase["status"] == "trialing"
    assert purchase["purchased_at"] == iso(stripes["created"])
    assert purchase["trial_end"] == iso(stripes["trial_end"])
    assert purchase["current_period_end"] == iso(stripes["trial_end"])
    assert purchase["cancel_at"] == iso(stripes["trial_end"])


def test_purchases_and_what_happened_to_them_come_newest_first(shop: Shop, product: str) -> None:
    live = shop.stripe.live
    customer = live.create_customer()["id"]
    live.buy_one_off(customer=customer, product=product)
    shop.stripe.advance(60)
    second = live.subscribe(customer=customer, product=product)
    shop.stripe.advance(60)
    live.portal_cancel(second["id"], immediately=True)
    shop.deliver()
    purchases = detail_of(shop)["purchases"]
    assert [purchase["kind"] for purchase in purchases] == ["subscription", "one_off"]
    history = purchases[0]["history"]
    assert [(entry["event"], entry["actor"]) for entry in history][-1] == ("purchased", "customer")
    assert ("ended", "customer") in [(entry["event"], entry["actor"]) for entry in history]
    times = [entry["at"] for entry in history]
    assert times == sorted(times, reverse=True)
    assert (purchases[0]["status"], purchases[0]["end_reason"]) == (
        "cancelled",
        "cancelled_by_customer",
    )
    assert purchases[0]["ended_at"] == times[0]


@pytest.mark.parametrize("kind", ["subscription", "one_off"])
def test_a_later_change_of_metadata_links_and_then_switches(
    shop: Shop, product: str, kind: str, clock: Any
) -> None:
    live = shop.stripe.live
    if kind == "subscription":
        bought = live.subscribe(product=product)["id"]
    else:
        bought = live.buy_one_off(product=product)["id"]

    def access() -> tuple[str, str | None, list[str]]:
        shop.deliver()
        (purchase,) = detail_of(shop)["purchases"]
        shown = purchase["access"]
        return shown["state"], shown["telegram_user_id"], [c["chat_id"] for c in shown["chats"]]

    assert access() == ("not_linked", None, [])
    shop.stripe.advance(60)
    live.link_telegram(bought, USER)
    assert access() == ("granted", str(USER), [str(CHAT)])
    shop.telegram.bot_api.join(CHAT, USER)
    shop.stripe.advance(60)
    live.link_telegram(bought, USER + 1)
    assert access() == ("revoking", str(USER + 1), [str(CHAT), str(CHAT)])
    clock.later(SETTLE_SECONDS + 1)
    shop.fire()
    assert access() == ("granted", str(USER + 1), [str(CHAT)])
    assert shop.kicks() == [(CHAT, USER)]


def test_a_page_has_25_transactions_unless_asked_otherwise(shop: Shop, product: str) -> None:
    subscription = shop.stripe.live.subscribe(product=product, interval="day")
    for _ in range(25):
        shop.stripe.live.renew(subscription["id"])
    shop.deliver()
    detail = detail_of(shop)
    first = detail["transactions"]
    assert len(first["items"]) == 25
    path = f"/v1/customers/{detail['customer']['customer_id']}/transactions"
    assert shop.get(path)[1]["items"] == first["items"]
    rest = shop.get(path, [("cursor", first["next_cursor"])])[1]
    assert (len(rest["items"]), rest["next_cursor"]) == (1, None)


def test_transactions_come_in_pages_without_gap_or_repeat(shop: Shop, product: str) -> None:
    subscription = shop.stripe.live.subscribe(product=product)
    for _ in range(6):
        shop.stripe.live.renew(subscription["id"])
    shop.deliver()
    customer_id = detail_of(shop)["customer"]["customer_id"]
    path = f"/v1/customers/{customer_id}/transactions"
    _, everything = shop.get(path, [("limit", "100")])
    seen, cursor = [], None
    while True:
        query = [("limit", "3")] + ([("cursor", cursor)] if cursor else [])
        status, page = shop.get(path, query)
        assert status == 200
        check("TransactionPage", page)
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == everything["items"]
    assert len(seen) == 7
    times = [row["created_at"] for row in seen]
    assert times == sorted(times, reverse=True)


def test_a_cursor_of_another_customer_or_altered_is_refused(shop: Shop, product: str) -> None:
    for name in ("Ada", "Grace"):
        made = shop.stripe.live.subscribe(product=product, name=name, email=f"{name}@example.com")
        shop.stripe.live.renew(made["id"])
    shop.deliver()
    ids = [
        item["pk"]["S"].rpartition("#")[2]
        for item in shop.tables.dump(shop.tables.records)
        if item["sk"]["S"] == "CUSTOMER"
    ]
    paths = [f"/v1/customers/{i}/transactions" for i in ids]
    cursor = shop.get(paths[0], [("limit", "1")])[1]["next_cursor"]
    assert cursor
    for path, given in ((paths[1], cursor), (paths[0], cursor[:-1]), (paths[0], "x.y")):
        status, problem = shop.get(path, [("cursor", given)])
        assert (status, problem["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "", "x", "٣"])
def test_a_bad_limit_is_refused(shop: Shop, product: str, limit: str) -> None:
    status, problem = shop.get("/v1/customers/cust_x/transactions", [("limit", limit)])
    assert (status, problem["code"]) == (422, "invalid_request")
    assert problem["detail"].startswith("limit:")


@pytest.mark.parametrize("path", ["", "/transactions"])
def test_foreign_and_unknown_customers_are_answered_alike(
    shop: Shop, product: str, path: str
) -> None:
    shop.stripe.live.subscribe(product=product)
    shop.deliver()
    customer_id = detail_of(shop)["customer"]["customer_id"]
    foreign = shop.get(f"/v1/customers/{customer_id}{path}", store="other")
    unknown = shop.get(f"/v1/customers/cust_none{path}")
    assert foreign[0] == unknown[0] == 404
    assert foreign[1].pop("request_id") != unknown[1].pop("request_id")
    assert foreign[1] == unknown[1]


IMPOSSIBLE = {
    "256 characters": "c" * 256,
    "3,000 characters": "c" * 3000,
    "no UTF-8": "%FF%FE",
    "short once it is decoded": "%63" * 255,
    "too many bytes for a key": "%F0%9F%98%80" * 200,
    "a zero byte": "cust_%00",
    "half a surrogate": "%ED%A0%80",
    "3,000 bytes of 750 characters": "%F0%9F%98%80" * 750,
}


@pytest.mark.parametrize("id_", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("route", ["", "/transactions", "/purchases/{id}/cancel_preview"])
def test_ids_that_nothing_can_have_are_unknown_and_nothing_is_read(
    shop: Shop, id_: str, route: str
) -> None:
    unknown = shop.get("/v1/customers/cust_none")[1]
    calls = shop.tables.client.calls.total()
    at = "cust_none" if route.startswith("/purchases") else id_
    status, problem = shop.get(f"/v1/customers/{at}{route.format(id=id_)}")
    assert status == 404
    assert {**problem, "request_id": None} == {**unknown, "request_id": None}
    assert shop.tables.client.calls.total() == calls


@pytest.mark.parametrize("id_", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("action", ["cancel", "revocation"])
def test_nothing_is_cancelled_by_an_id_that_nothing_can_have(
    shop: Shop, id_: str, action: str
) -> None:
    body = {"when": "immediately", "confirmation": "CANCEL PURCHASE"}
    for path in (f"{id_}/purchases/sub_1", f"cust_none/purchases/{id_}"):
        status, problem = shop.post(
            f"/v1/customers/{path}/{action}", body if action == "cancel" else None
        )
        assert (status, problem["code"]) == (404, "not_found")


def answers(shop: Shop) -> list[Any]:
    """What every read route answers."""
    _, page = shop.get("/v1/customers", [("limit", "100")])
    found = [page, shop.get("/v1/products")]
    for item in page["items"]:
        path = f"/v1/customers/{item['customer_id']}"
        found += [shop.get(path), shop.get(f"{path}/transactions", [("limit", "100")])]
    return found


def test_a_lifecycle_that_is_posted_twice_answers_the_same_bytes(shop: Shop) -> None:
    events = history(shop.stripe.live, events=40)
    shop.deliver()
    first = json.dumps(answers(shop))
    assert len(events) == 40
    assert '"subscription"' in first
    for event in events:
        shop.stripe.deliveries.redeliver(event["id"])
    shop.deliver()
    assert json.dumps(answers(shop)) == first
