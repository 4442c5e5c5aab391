"""Every function answers in its own words, and before its timeout, when a service of AWS fails."""

from __future__ import annotations

import importlib
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from functions.period_end_revoker.revoke import MOST_TIMEOUTS
from shared import compose
from shared.compose import BUDGETS
from shared.domain.deadline import Deadline
from shared.domain.errors import CustomersError
from shared.observability import InvocationFailed
from shared.storage.dynamo import Contention, Table
from shared.storage.records import LEASE_SECONDS
from tests.failing_databases.databases import DATABASES, silent
from tests.functions.conftest import Context, FakeSecretsManager
from tests.functions.http import api_event, json_of
from tests.functions.shop import CHAT, USER, FakeScheduler, MovableClock, Shop, queue_message
from tests.functions.webhook_world import signed

PURCHASE = "/v1/customers/cust_1/purchases/sub_1"
CANCEL = json.dumps({"when": "immediately", "confirmation": "CANCEL PURCHASE"})
EVENT = json.dumps(
    {
        "object": "event",
        "id": "evt_1",
        "type": "customer.created",
        "created": 1_790_000_000,
        "livemode": True,
        "data": {"object": {"id": "cus_1", "object": "customer", "created": 1_790_000_000}},
    }
).encode()


def webhook() -> dict[str, Any]:
    headers = {"Stripe-Signature": signed(EVENT)}
    return api_event("POST", "/v1/webhooks/stripe", body=EVENT.decode(), headers=headers)


ANSWERING: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "list": ("list_customers", lambda: api_event("GET", "/v1/customers")),
    "products": ("list_customers", lambda: api_event("GET", "/v1/products")),
    "customer": ("get_customer", lambda: api_event("GET", "/v1/customers/cust_1")),
    "cancel": ("cancel_purchase", lambda: api_event("POST", f"{PURCHASE}/cancel", body=CANCEL)),
    "cancel with a key": (
        "cancel_purchase",
        lambda: api_event(
            "POST", f"{PURCHASE}/cancel", body=CANCEL, headers={"Idempotency-Key": "k"}
        ),
    ),
    "revocation": ("cancel_purchase", lambda: api_event("POST", f"{PURCHASE}/revocation")),
    "webhook": ("stripe_webhook", webhook),
}
RAISING: dict[str, tuple[str, dict[str, Any]]] = {
    "bus": (
        "store_events",
        {
            "id": "1",
            "detail-type": "ProductChanged",
            "time": "2026-11-01T10:00:00Z",
            "detail": {"store_id": "demo", "product_id": "prod_1", "name": "Signals"},
        },
    ),
    "stripe bus": ("stripe_bus", queue_message(json.loads(EVENT))),
    "sweep": ("period_end_revoker", {}),
    "schedule": (
        "period_end_revoker",
        {"store": "demo", "account": "cus_1", "purchase_id": "sub_1"},
    ),
}


@pytest.fixture(params=DATABASES)
def failing(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    secrets_manager: FakeSecretsManager,
    environ: None,
) -> Iterator[None]:
    """The functions on a database that fails, which they ask with boto3's own client."""
    clients = {"secretsmanager": secrets_manager, "scheduler": FakeScheduler()}
    with DATABASES[request.param]() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", address)
        with compose.replaced(aws=clients.get):
            yield


def run(function: str, event: dict[str, Any]) -> tuple[Any, float]:
    """What a function answers or raises, and the seconds it took."""
    handler = importlib.import_module(f"functions.{function}.handler").lambda_handler
    began = time.monotonic()
    try:
        answer = handler(event, Context())
    except (CustomersError, InvocationFailed) as error:
        answer = error
    return answer, time.monotonic() - began


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("name", ANSWERING)
def test_a_function_answers_503_before_its_timeout(name: str) -> None:
    function, event = ANSWERING[name]
    answer, seconds = run(function, event())
    assert (answer["statusCode"], json_of(answer)["code"]) == (503, "try_again_later")
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert headers["content-type"] == "application/problem+json"
    assert seconds < BUDGETS[function].timeout


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("name", RAISING)
def test_a_function_in_the_background_fails_before_its_timeout(name: str) -> None:
    function, event = RAISING[name]
    answer, seconds = run(function, event)
    assert isinstance(answer, CustomersError | InvocationFailed)
    assert seconds < BUDGETS[function].timeout


def test_a_silent_secrets_manager_is_answered_503_too(
    monkeypatch: pytest.MonkeyPatch, environ: None
) -> None:
    with silent() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", address)
        with compose.replaced():
            answer, seconds = run("stripe_webhook", webhook())
    assert (answer["statusCode"], json_of(answer)["code"]) == (503, "try_again_later")
    assert seconds < BUDGETS["stripe_webhook"].timeout


# -- after the first call that timed out -----------------------------------------------------------


@pytest.mark.parametrize("call", range(1, 16, 2))
def test_a_cancel_asks_a_database_that_timed_out_no_more_and_its_lease_ends_by_itself(
    shop: Shop, clock: MovableClock, call: int
) -> None:
    shop.sell()
    path = shop.path_of(shop.purchase(), "cancel")
    made = 0

    def hang(_operation: str, _request: dict[str, Any]) -> None:
        nonlocal made
        made += 1
        if made >= call:
            raise ReadTimeoutError(endpoint_url="http://dynamodb")

    shop.tables.client.hook = hang
    body = {"when": "immediately", "confirmation": "CANCEL PURCHASE"}
    assert shop.post(path, body)[0] == 503
    assert made <= call + 1  # the lease is tried to be given back
    shop.tables.client.hook = None
    clock.later(LEASE_SECONDS + 15)  # a removal's lock and slot end by then, too
    status, answer = shop.post(path, body)
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    assert len(shop.kicks()) == 1


@pytest.mark.parametrize("call", range(1, 28, 2))
def test_a_cancel_of_which_one_call_timed_out_may_be_tried_again_at_once(
    shop: Shop, call: int
) -> None:
    shop.sell()
    path = shop.path_of(shop.purchase(), "cancel")
    made = 0

    def hang_once(_operation: str, _request: dict[str, Any]) -> None:
        nonlocal made
        made += 1
        if made == call:
            raise ReadTimeoutError(endpoint_url="http://dynamodb")

    shop.tables.client.hook = hang_once
    body = {"when": "immediately", "confirmation": "CANCEL PURCHASE"}
    status, _ = shop.post(path, body, key="the same")
    assert status in (200, 202, 503)
    status, answer = shop.post(path, body, key="the same")
    assert status in (200, 202), answer
    if answer["purchase"]["access"]["state"] == "revoking":
        shop.fire()
        shop.sweep()
    assert len(shop.kicks()) <= 1


def test_a_sweep_goes_on_after_a_record_at_which_the_database_timed_out(
    shop: Shop, clock: MovableClock, log: io.StringIO
) -> None:
    made = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    sold = []
    for user in range(USER, USER + 4):
        sold.append(shop.stripe.live.subscribe(product=made, telegram_user_id=user)["id"])
        shop.telegram.bot_api.join(CHAT, user)
    shop.deliver()
    for purchase in sold:
        shop.stripe.live.portal_cancel(purchase)
    shop.deliver()
    clock.later(40 * 86_400)

    def hang(operation: str, request: dict[str, Any]) -> None:
        if operation == "get_item" and sold[1] in request["Key"]["sk"]["S"]:
            raise ReadTimeoutError(endpoint_url="http://dynamodb")

    shop.tables.client.hook = hang
    swept = shop.sweep()
    shop.tables.client.hook = None
    assert (swept["purchases"], swept["failed"], swept["finished"]) == (3, 1, True)
    assert len(shop.kicks()) == 3
    assert '"message":"DynamoDB timed out"' in log.getvalue()
    assert shop.sweep()["purchases"] == 1
    assert len(shop.kicks()) == 4


def test_a_sweep_ends_after_some_timeouts_in_a_row(shop: Shop, clock: MovableClock) -> None:
    for _ in range(6):
        bought = shop.stripe.live.subscribe()["id"]
        shop.stripe.live.portal_cancel(bought)
    shop.deliver()
    clock.later(40 * 86_400)

    def hang(operation: str, request: dict[str, Any]) -> None:
        if operation == "get_item" and request["Key"]["sk"]["S"].startswith("PURCHASE#"):
            raise ReadTimeoutError(endpoint_url="http://dynamodb")

    shop.tables.client.hook = hang
    swept = shop.sweep()
    assert (swept["purchases"], swept["failed"], swept["finished"]) == (0, MOST_TIMEOUTS, False)


def test_keys_that_stay_unprocessed_are_asked_for_a_few_times_only() -> None:
    class LeavesAllOut:
        asked = 0

        def batch_get_item(self, **request: Any) -> dict[str, Any]:
            self.asked += 1
            return {"Responses": {}, "UnprocessedKeys": request["RequestItems"]}

    client: Any = LeavesAllOut()
    table = Table(client, "records")
    table.deadline = Deadline(sleep=lambda _: None)
    with pytest.raises(Contention):
        table.batch_get([("REGISTRY", "STORE#acct_1")])
    assert client.asked < 12
