"""The webhook from the signed bytes to the answer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from functions.stripe_webhook.delivery import MAX_BYTES
from functions.stripe_webhook.handler import lambda_handler
from functions.stripe_webhook.signature import is_signed
from shared.storage.keys import profile_key
from shared.storage.parked import Parked
from shared.storage.records import Records
from shared.storage.registry import Registry
from shared.tenant import Tenant
from standins.stripe.deliveries import signature
from tests.functions.http import api_event, json_of
from tests.functions.shop import Shop, forget_what_was_made

STORE = Tenant("demo")
ROOT = Path(__file__).resolve().parent.parent.parent


def event_of(
    kind: str = "customer.created", about: Any = None, **attributes: Any
) -> dict[str, Any]:
    """An event of a customer, unless it is about something else."""
    customer = {
        "id": "cus_1",
        "object": "customer",
        "created": 1_790_000_000,
        "name": "Jane",
        "email": "jane@example.com",
        "livemode": True,
        "metadata": {},
    }
    return {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "created": 1_790_000_000,
        "livemode": True,
        "data": {"object": customer if about is None else about},
        **attributes,
    }


def post(
    shop: Shop,
    event: Any,
    *,
    secret: str = "whsec_local",
    seconds_off: int = 0,
    header: str | None = None,
    encoded: bool = False,
) -> tuple[int, Any]:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signed = signature(body, [secret], int(time.time()) + seconds_off)
    headers = {"Stripe-Signature": signed if header is None else header}
    text: str | bytes = body if encoded else body.decode("utf-8", "surrogateescape")
    answer = shop.invoke(
        "stripe_webhook",
        api_event("POST", "/v1/webhooks/stripe", body=text, headers=headers, store=None),
    )
    return int(answer["statusCode"]), json_of(answer)


def stored(shop: Shop) -> list[dict[str, Any]]:
    """What is stored, but for the note that a signature was refused."""
    return [item for item in shop.tables.dump(shop.tables.records) if item["pk"] != {"S": "STRIPE"}]


def test_a_signed_event_is_applied(shop: Shop) -> None:
    assert post(shop, event_of()) == (200, {"result": "applied"})
    record = Records(shop.tables.records).get(profile_key(STORE, "cus_1"))
    assert record is not None
    assert record.sources["customer"].data["name"] == "Jane"


def test_a_body_in_base64_is_verified_as_the_bytes_it_holds(shop: Shop) -> None:
    assert post(shop, event_of(), encoded=True)[0] == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "whsec_other"},
        {"secret": ""},
        {"seconds_off": -301},
        {"seconds_off": 330},
        {"header": ""},
        {"header": "t=,v1="},
        {"header": "v1=00"},
        {"header": "t=12x,v1=00"},
        {"header": "t=99999999999999999999999,v1=00"},
        {"header": "t=1790000000,v1=é"},
        {"header": "t=٣,v1=00"},
        {"header": "nonsense"},
    ],
    ids=str,
)
def test_a_delivery_that_is_not_stripes_is_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    status, problem = post(shop, event_of(), **wrong)
    assert (status, problem["code"]) == (400, "invalid_signature")
    assert problem["status"] == 400
    assert problem["request_id"]
    assert stored(shop) == []


def test_a_delivery_without_a_signature_is_refused(shop: Shop) -> None:
    body = json.dumps(event_of())
    request = api_event("POST", "/v1/webhooks/stripe", body=body, store=None)
    assert shop.invoke("stripe_webhook", request)["statusCode"] == 400
    assert stored(shop) == []


@pytest.mark.parametrize("offset", [-299, 0, 299])
def test_a_timestamp_may_be_five_minutes_off_either_way(offset: int) -> None:
    header = signature(b"{}", ["whsec_local"], 1_790_000_000)
    assert is_signed(b"{}", header, ["whsec_local"], 1_790_000_000 + offset)


@pytest.mark.parametrize("offset", [-301, 301])
def test_a_timestamp_further_off_is_refused_either_way(offset: int) -> None:
    header = signature(b"{}", ["whsec_local"], 1_790_000_000)
    assert not is_signed(b"{}", header, ["whsec_local"], 1_790_000_000 + offset)


def test_an_empty_secret_verifies_nothing() -> None:
    header = signature(b"{}", [""], 1_790_000_000)
    assert not is_signed(b"{}", header, [""], 1_790_000_000)
    assert not is_signed(b"{}", header, [], 1_790_000_000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe{}",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        json.dumps({"object": "v2.core.account", "id": "evt_1", "type": "x"}).encode(),
        json.dumps({**event_of(), "object": ["event"]}).encode(),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_no_event_is_refused_and_not_stored(shop: Shop, body: bytes) -> None:
    status, problem = post(shop, body, encoded=True)
    assert (status, problem["code"]) == (400, "invalid_event")
    assert stored(shop) == []


def test_base64_that_is_none_is_refused(shop: Shop) -> None:
    request = api_event("POST", "/v1/webhooks/stripe", body=b"x", store=None)
    request["body"] = "%%%"
    assert shop.invoke("stripe_webhook", request)["statusCode"] == 400


def test_a_body_over_one_megabyte_is_refused_before_it_is_read(shop: Shop) -> None:
    status, problem = post(shop, b"{" * (2 * MAX_BYTES))
    assert (status, problem["code"]) == (413, "payload_too_large")
    assert shop.tables.client.calls.total() == 0


def test_an_unknown_event_type_costs_under_a_millisecond_and_writes_nothing(shop: Shop) -> None:
    body = json.dumps(event_of("quantum.entangled", {"padding": "x" * 2500})).encode()
    signed = signature(body, ["whsec_local"], int(time.time()))
    request = api_event(
        "POST",
        "/v1/webhooks/stripe",
        body=body.decode(),
        headers={"Stripe-Signature": signed},
        store=None,
    )
    fastest = 1.0
    for _ in range(200):
        before = time.perf_counter()
        answer = lambda_handler(request, shop.context)
        fastest = min(fastest, time.perf_counter() - before)
        assert json_of(answer) == {"result": "ignored"}
    assert shop.tables.client.calls.total() == 0
    assert fastest < 0.001


def test_both_secrets_count_while_they_are_rotated(shop: Shop) -> None:
    shop.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": ["whsec_new", "whsec_old"]}
    assert post(shop, event_of(), secret="whsec_old")[0] == 200
    assert post(shop, event_of(), secret="whsec_new")[0] == 200


def test_a_secret_that_was_rotated_is_read_again_but_not_for_every_forgery(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert post(shop, event_of())[0] == 200
    shop.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": ["whsec_new"]}
    monkeypatch.setattr("shared.storage.secrets.MIN_REFRESH_SECONDS", 0.0)
    assert post(shop, event_of(), secret="whsec_new")[0] == 200
    monkeypatch.setattr("shared.storage.secrets.MIN_REFRESH_SECONDS", 10.0)
    before = len(shop.secrets.reads)
    for _ in range(20):
        assert post(shop, event_of(), secret="whsec_forged")[0] == 400
    assert len(shop.secrets.reads) == before


def test_an_event_of_an_unregistered_account_is_parked(shop: Shop) -> None:
    event = event_of(account="acct_unknown")
    assert post(shop, event) == (200, {"result": "parked"})
    (parked,) = Parked(shop.tables.records).all(None)
    assert json.loads(parked.body) == event
    assert parked.reason == "no store has registered this account"
    assert {item["pk"]["S"] for item in stored(shop)} == {"PARKED#-"}


def test_an_event_of_a_registered_account_goes_to_its_store_and_no_other(shop: Shop) -> None:
    Registry(shop.tables.records, "demo").register(Tenant("other"), "acct_other")
    assert post(shop, event_of(account="acct_other"))[0] == 200
    records = Records(shop.tables.records)
    assert records.get(profile_key(Tenant("other"), "cus_1")) is not None
    assert records.get(profile_key(STORE, "cus_1")) is None


def test_metadata_never_chooses_the_store(shop: Shop) -> None:
    event = event_of()
    event["data"]["object"]["metadata"] = {"store_id": "other", "store": "other"}
    post(shop, event)
    assert not any(item["pk"]["S"].startswith("other#") for item in stored(shop))


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("customer.subscription.updated", {"id": "sub_1"}),
        ("customer.subscription.updated", {"id": "sub_1", "customer": None, "items": {}}),
        ("charge.succeeded", {"id": 5, "customer": []}),
        ("customer.created", {"id": "cus_1", "metadata": "text"}),
        ("refund.created", {"id": "re_1", "charge": None}),
        ("refund.created", {"id": "re_1", "charge": "ch_unknown", "created": 1}),
    ],
)
def test_an_event_that_can_never_be_applied_is_parked_with_its_reason(
    shop: Shop, kind: str, about: Any
) -> None:
    event = event_of(kind, about)
    assert post(shop, event) == (200, {"result": "parked"})
    assert post(shop, event) == (200, {"result": "parked"})
    (parked,) = Parked(shop.tables.records).all(STORE)
    assert json.loads(parked.body) == event
    assert parked.reason
    assert parked.event_id == "evt_1"


def code_session(expires_at: str) -> dict[str, Any]:
    about = {
        "id": "cs_1",
        "mode": "payment",
        "payment_status": "no_payment_required",
        "created": 1_790_000_000,
        "customer": "cus_1",
        "livemode": True,
        "metadata": {"access_code": "A", "access_expires_at": expires_at, "product_id": "p"},
    }
    return event_of("checkout.session.completed", about)


def test_a_code_whose_end_nobody_understands_is_shown_and_its_event_parked(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = code_session("next summer")
    assert post(shop, event) == (200, {"result": "parked"})
    assert post(shop, event) == (200, {"result": "parked"})
    (parked,) = Parked(shop.tables.records).all(STORE)
    assert parked.reason == "its date of expiry is not understood"
    bought = shop.purchase()
    assert (bought["status"], bought["expires_at"]) == ("active", None)
    told = next(entry for entry in bought["history"] if entry["event"] == "expiry_unknown")
    assert "next summer" in told["detail"]
    # An operator applies it again once the code understands such a date.
    monkeypatch.setattr("shared.domain.dates.expiry", lambda _: 1_900_000_000)
    assert post(shop, event) == (200, {"result": "applied"})
    bought = shop.purchase()
    assert bought["expires_at"] == "2030-03-17T17:46:40Z"
    assert "expiry_corrected" in [entry["event"] for entry in bought["history"]]


@pytest.mark.parametrize("told", ["2027-03-28", "28.03.2027", "1806278399000", "1806278399"])
def test_a_code_ends_when_the_store_means(shop: Shop, told: str) -> None:
    assert post(shop, code_session(told)) == (200, {"result": "applied"})
    assert shop.purchase()["expires_at"] == "2027-03-28T23:59:59Z"


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": None},
        {"data": {"object": "cus_1"}},
        {"created": "now"},
        {"created": True},
        {"created": -1},
        {"created": 10**40},
        {"created": 9_999_999_999},
        {"livemode": "false"},
        {"type": ["customer.created"]},
        {"id": None},
        {"id": ["evt_1"]},
        {"id": "evt_" + "1" * 3000},
        {"id": "evt_\ud800"},
        {"id": "evt_\0"},
    ],
    ids=repr,
)
def test_a_malformed_event_is_parked_once(shop: Shop, wrong: dict[str, Any]) -> None:
    event = {**event_of(), **wrong}
    assert post(shop, event) == (200, {"result": "parked"})
    assert post(shop, event) == (200, {"result": "parked"})
    (parked,) = Parked(shop.tables.records).all(STORE)
    assert json.loads(parked.body) == event
    assert parked.reason == "malformed: ValueError"
    assert all(item["pk"]["S"].startswith("PARKED#") for item in stored(shop))


def test_an_event_whose_object_stripe_does_not_know_is_parked_with_its_reason(shop: Shop) -> None:
    event = event_of("customer.updated")
    event["data"]["previous_attributes"] = {"balance": 500}  # which only Stripe's list explains
    assert post(shop, event) == (200, {"result": "parked"})
    assert shop.asked_stripe() == [("GET", "/v1/customers/cus_1/balance_transactions")]
    (parked,) = Parked(shop.tables.records).all(STORE)
    assert "no such object" in parked.reason
    profile = Records(shop.tables.records).get(profile_key(STORE, "cus_1"))
    assert profile is not None
    assert profile.sources["customer"].data["name"] == "Jane"


def test_a_large_event_is_parked_in_parts_and_comes_back_whole(shop: Shop) -> None:
    import random  # noqa: PLC0415 - of this test only

    noise = "".join(random.Random(1).choices("0123456789abcdef", k=1_000_000))
    event = event_of("customer.created", {"id": 5, "metadata": "x", "noise": noise})
    assert post(shop, event) == (200, {"result": "parked"})
    assert len(stored(shop)) > 1
    parked_events = Parked(shop.tables.records)
    (parked,) = parked_events.all(STORE)
    assert json.loads(parked.body) == event
    parked_events.remove(STORE, parked)
    assert stored(shop) == []


def test_while_the_database_throttles_stripe_is_told_to_come_again(shop: Shop) -> None:
    def throttled(operation: str, request: dict[str, Any]) -> None:
        error = {"Code": "ProvisionedThroughputExceededException", "Message": "no"}
        raise ClientError({"Error": error}, operation)

    shop.tables.client.hook = throttled
    status, problem = post(shop, event_of())
    assert (status, problem["code"]) == (503, "try_again_later")
    shop.tables.client.hook = None
    assert post(shop, event_of())[0] == 200


def test_while_the_database_is_gone_stripe_is_told_to_come_again(shop: Shop) -> None:
    def gone(operation: str, request: dict[str, Any]) -> None:
        raise EndpointConnectionError(endpoint_url="http://x")

    shop.tables.client.hook = gone
    assert post(shop, event_of())[0] == 503
    shop.tables.client.hook = None


def test_a_fault_of_ours_shows_no_traceback(shop: Shop) -> None:
    def broken(operation: str, request: dict[str, Any]) -> None:
        raise ZeroDivisionError("secret detail")

    shop.tables.client.hook = broken
    status, problem = post(shop, event_of())
    assert status == 500
    assert "secret" not in json.dumps(problem)
    shop.tables.client.hook = None


def test_while_stripe_is_down_an_event_that_needs_it_comes_again(shop: Shop) -> None:
    """A subscription of a customer and a product nobody told of yet."""
    shop.stripe.live.subscribe(checkout=False)
    events = [e for e in shop.stripe.events() if e["type"] == "customer.subscription.updated"]
    shop.stripe.outage = True
    assert post(shop, events[0])[0] == 503
    shop.stripe.outage = False
    assert post(shop, events[0])[0] == 200
    status, page = shop.get("/v1/customers")
    assert status == 200
    assert [customer["email"] for customer in page["items"]] == ["jane@example.com"]


def test_where_stripe_refuses_a_purchase_counts_without_a_name(shop: Shop) -> None:
    shop.stripe.live.subscribe(checkout=False)
    events = [e for e in shop.stripe.events() if e["type"] == "customer.subscription.updated"]
    shop.secrets.values["STRIPE_API_SECRET_ARN"] = {}
    assert post(shop, events[0]) == (200, {"result": "applied"})
    _, page = shop.get("/v1/customers")
    assert [customer["name"] for customer in page["items"]] == [None]


def test_the_usual_event_of_a_living_subscription_is_one_call(shop: Shop) -> None:
    bought = shop.stripe.live.subscribe(checkout=False, telegram_user_id=700001)
    shop.deliver()
    shop.stripe.advance(60)
    shop.stripe.live.renew(bought["id"])
    calls: dict[str, int] = {}
    for event in shop.stripe.events():
        if shop.stripe.deliveries.delivered(event["id"]):
            continue
        before = shop.tables.client.calls.total()
        assert post(shop, event)[0] == 200
        calls[event["type"]] = shop.tables.client.calls.total() - before
    assert calls["customer.subscription.updated"] == 1
    assert calls["charge.succeeded"] == 1
    assert calls["invoice.finalized"] == 1
    assert calls["payment_intent.succeeded"] == 0
    # Finalized and paid within one second: a later stage is one write too.
    assert calls["invoice.paid"] == 1
    # It names no customer, but its invoice has just been here.
    assert calls["invoice_payment.paid"] == 1
    assert shop.asked_stripe() == []


def test_what_begins_takes_few_calls_and_each_later_event_of_it_four_at_most(shop: Shop) -> None:
    live = shop.stripe.live
    product = live.create_product(name="Signals")["id"]
    bought = live.subscribe(product=product, checkout=False, telegram_user_id=700001)
    shop.deliver()
    shop.stripe.advance(60)
    live.buy_one_off(customer=bought["customer"], product=product)
    live.update_customer(live.create_customer()["id"], name="Other")
    calls: dict[str, int] = {}
    for event in shop.stripe.events():
        if not shop.stripe.deliveries.delivered(event["id"]):
            before = shop.tables.client.calls.total()
            post(shop, event)
            calls[event["type"]] = shop.tables.client.calls.total() - before
    first, *later = (
        calls[kind]
        for kind in ("charge.succeeded", "payment_intent.succeeded", "checkout.session.completed")
    )
    # Its charge, the purchase and its note under the product; the guest it may have been; customer,
    # product and list.
    assert first <= 10
    # The session says what the buyer wrote, too.
    assert later == [2, 4]
    assert (calls["customer.created"], calls["customer.updated"]) == (3, 5)
    assert shop.asked_stripe() == []


def test_a_payment_of_an_invoice_that_another_process_was_told_of_is_two_calls(shop: Shop) -> None:
    shop.stripe.live.subscribe(checkout=False)
    events = shop.stripe.events()
    (paid,) = (event for event in events if event["type"] == "invoice_payment.paid")
    for event in events:
        if event is not paid:
            assert post(shop, event)[0] == 200
    forget_what_was_made()
    before = shop.tables.client.calls.total()
    assert post(shop, paid)[0] == 200
    assert shop.tables.client.calls.total() - before == 2
    assert shop.asked_stripe() == []


def test_an_end_is_stored_and_given_a_schedule_and_nobody_is_removed_for_it_here(
    shop: Shop,
) -> None:
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=[-1001000000001])
    bought = shop.stripe.live.subscribe(product=product["id"], telegram_user_id=700001)
    shop.deliver()
    shop.stripe.live.cancel_subscription(bought["id"])
    shop.deliver()
    (chat,) = shop.purchase()["access"]["chats"]
    assert (chat["state"], chat["reason"]) == ("revoking", "settling")
    (schedule,) = shop.scheduler.schedules.values()
    assert schedule["ScheduleExpression"] == f"at({chat['next_attempt_at'].removesuffix('Z')})"
    assert shop.telegram.requests() == []


def test_a_schedule_that_can_not_be_set_never_fails_an_event(shop: Shop) -> None:
    bought = shop.stripe.live.subscribe(telegram_user_id=700001)
    shop.deliver()
    shop.stripe.live.cancel_subscription(bought["id"])
    shop.scheduler.down = True
    shop.deliver()
    assert shop.purchase()["status"] == "cancelled"


def test_the_hot_path_imports_neither_the_sdk_nor_telegram() -> None:
    """They cost more than the rest of a cold start."""
    code = (
        "import sys, functions.stripe_webhook.handler;"
        "print([m for m in ('stripe', 'requests', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"POWERTOOLS_SERVICE_NAME": "x", "POWERTOOLS_METRICS_NAMESPACE": "x", "PATH": ""},
    )
    assert done.stdout.strip() == "[]"
