"""A store in a box: every function through its ``lambda_handler``, on real tables, with Stripe and
Telegram as stand-ins that keep state.

``shop.stripe.live.subscribe(...)`` and the like make Stripe's events; :meth:`Shop.deliver` posts
them, really signed, through the webhook function. Fixture: ``shop``.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError

from shared import compose
from standins.stripe import StandinServer, StripeStandin
from standins.stripe.deliveries import signature
from standins.telegram.server import TelegramStandin
from tests import guards
from tests.dynamo import Tables
from tests.functions.conftest import ENVIRONMENT, Context, FakeSecretsManager
from tests.functions.http import api_event, json_of

CHAT = -1001000000001
OTHER_CHAT = -1001000000002
USER = 700001
EVENT_SOURCE = ENVIRONMENT["STRIPE_EVENT_SOURCE"]
MESSAGE_ID = "059f36b4-87a3-44ab-83d2-661975830a7d"


def queue_message(event: Any, source: str = EVENT_SOURCE) -> dict[str, Any]:
    """What Lambda hands over of the queue that the rule for Stripe's events fills."""
    told = {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": str(event.get("type")) if isinstance(event, dict) else "?",
        "source": source,
        "account": "000000000000",
        "time": "2026-11-01T10:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": event,
    }
    return {"Records": [{"messageId": MESSAGE_ID, "body": json.dumps(told)}]}


@dataclass
class FakeScheduler:
    """EventBridge Scheduler with state.

    Attributes:
        schedules: what is set, by name.
        down: whether every call fails.
        log: what was asked: (operation, name).
    """

    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    down: bool = False
    log: list[tuple[str, str]] = field(default_factory=list)

    def _asked(self, operation: str, name: str) -> None:
        self.log.append((operation, name))
        if self.down:
            raise _error("InternalServerException", operation)

    def create_schedule(self, **request: Any) -> dict[str, Any]:
        self._asked("create", request["Name"])
        if request["Name"] in self.schedules:
            raise _error("ConflictException", "CreateSchedule")
        self.schedules[request["Name"]] = request
        return {}

    def update_schedule(self, **request: Any) -> dict[str, Any]:
        self._asked("update", request["Name"])
        if request["Name"] not in self.schedules:
            raise _error("ResourceNotFoundException", "UpdateSchedule")
        self.schedules[request["Name"]] = request
        return {}

    def delete_schedule(self, **request: Any) -> dict[str, Any]:
        self._asked("delete", request["Name"])
        if self.schedules.pop(request["Name"], None) is None:
            raise _error("ResourceNotFoundException", "DeleteSchedule")
        return {}


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


class SlowContext(Context):
    """A context with the time of a background function."""

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


@dataclass
class Shop:
    """What a test has at hand."""

    tables: Tables
    stripe: StripeStandin
    telegram: TelegramStandin
    scheduler: FakeScheduler
    secrets: FakeSecretsManager
    context: Context = field(default_factory=Context)
    seconds_passed: float = 0.0

    def monotonic(self) -> float:
        """The clock by which the functions measure waits and the age of what they keep."""
        return time.monotonic() + self.seconds_passed

    def invoke(self, function: str, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        module = importlib.import_module(f"functions.{function}.handler")
        with guards.running(function):
            answer: dict[str, Any] = module.lambda_handler(event, context or self.context)
        return answer

    # -- Stripe -----------------------------------------------------------------------------------

    def sell(self, product: str | None = None) -> str:
        """A live subscription whose linked buyer is in the product's chat; its id."""
        if product is None:
            made = self.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
            product = made["id"]
        sold = self.stripe.live.subscribe(product=product, telegram_user_id=USER)
        self.deliver()
        self.telegram.bot_api.join(CHAT, USER)
        return str(sold["id"])

    def receive(self, body: bytes, headers: dict[str, str]) -> int:
        """One delivery of a signed event; the status it was answered with."""
        event = api_event(
            "POST", "/v1/webhooks/stripe", body=body.decode(), headers=headers, store=None
        )
        return int(self.invoke("stripe_webhook", event)["statusCode"])

    def post_signed(self, event: dict[str, Any]) -> tuple[int, Any]:
        """Deliver an event that Stripe's stand-in did not make; the status and the answer."""
        body = json.dumps(event).encode()
        headers = {"Stripe-Signature": signature(body, ["whsec_local"], int(time.time()))}
        answer = self.invoke(
            "stripe_webhook",
            api_event(
                "POST", "/v1/webhooks/stripe", body=body.decode(), headers=headers, store=None
            ),
        )
        return int(answer["statusCode"]), json_of(answer)

    def take_from_queue(self, event: Any, source: str = EVENT_SOURCE) -> str:
        """An event of Stripe's that EventBridge has put into the queue: what became of it.

        Raises:
            CustomersError, InvocationFailed: the run failed.
        """
        answer = self.invoke("stripe_bus", queue_message(event, source), SlowContext())
        (result,) = answer["results"]
        return str(result)

    def deliver(self) -> None:
        """Deliver all of Stripe's pending events, in order."""
        assert self.stripe.deliveries.flush() == 0

    def asked_stripe(self, *methods: str) -> list[tuple[str, str]]:
        """What Stripe was asked: (method, path); without methods, everything."""
        return [
            (request.method, request.path)
            for request in self.stripe.requests
            if not methods or request.method in methods
        ]

    # -- the API ----------------------------------------------------------------------------------

    def get(self, path: str, query: Any = "", store: str = "demo") -> tuple[int, Any]:
        function = "list_customers"
        if path.startswith(("/v1/customers/", "/v1/attention", "/v1/chats")):
            function = "get_customer"
        answer = self.invoke(function, api_event("GET", path, query=query, store=store))
        return int(answer["statusCode"]), json_of(answer)

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        store: str = "demo",
    ) -> tuple[int, Any]:
        text = body if isinstance(body, str | bytes | None) else json.dumps(body)
        headers = {"content-type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        event = api_event("POST", path, body=text, headers=headers, store=store)
        answer = self.invoke("cancel_purchase", event)
        return int(answer["statusCode"]), json_of(answer)

    def customer(self) -> dict[str, Any]:
        """The detail of the only customer there is."""
        (customer_id,) = (
            item["pk"]["S"].rpartition("#")[2]
            for item in self.tables.dump(self.tables.records)
            if item["sk"]["S"] == "CUSTOMER" and "row" in item
        )
        status, detail = self.get(f"/v1/customers/{customer_id}")
        assert status == 200, detail
        result: dict[str, Any] = detail
        return result

    def purchase(self, purchase_id: str | None = None) -> dict[str, Any]:
        """A purchase of the only customer, the only one where none is named."""
        (purchase,) = (
            shown
            for shown in self.customer()["purchases"]
            if purchase_id in (None, shown["purchase_id"])
        )
        result: dict[str, Any] = purchase
        return result

    def path_of(self, purchase: dict[str, Any], action: str) -> str:
        customer_id = self.customer()["customer"]["customer_id"]
        return f"/v1/customers/{customer_id}/purchases/{purchase['purchase_id']}/{action}"

    def cancel(
        self,
        when: str = "immediately",
        *,
        key: str | None = None,
        purchase_id: str | None = None,
        **more: Any,
    ) -> tuple[int, Any]:
        """Cancel a purchase, the only one where none is named."""
        purchase = self.purchase(purchase_id)
        body = {"when": when, "confirmation": "CANCEL PURCHASE", **more}
        return self.post(self.path_of(purchase, "cancel"), body, key=key)

    # -- time -------------------------------------------------------------------------------------

    def sweep(self) -> dict[str, Any]:
        return self.invoke("period_end_revoker", {}, SlowContext())

    def fire(self) -> list[dict[str, Any]]:
        """Fire every schedule there is, now."""
        due, self.scheduler.schedules = list(self.scheduler.schedules.values()), {}
        return [
            self.invoke(
                "period_end_revoker", json.loads(schedule["Target"]["Input"]), SlowContext()
            )
            for schedule in due
        ]

    def kicks(self) -> list[tuple[int, int]]:
        """Removals Telegram carried out: (chat, user)."""
        return [
            (int(request["params"]["chat_id"]), int(request["params"]["user_id"]))
            for request in self.telegram.requests("unbanChatMember")
            if request["status"] == 200
        ]


def forget_what_was_made() -> None:
    """As if every function started cold."""
    compose.function.cache_clear()


@pytest.fixture(scope="session")
def telegram_server() -> Iterator[TelegramStandin]:
    with TelegramStandin(token="123:local") as standin:
        yield standin


@pytest.fixture
def shop(
    wired: Tables, secrets_manager: FakeSecretsManager, telegram_server: TelegramStandin
) -> Iterator[Shop]:
    with open_shop(wired, secrets_manager, telegram_server) as shop:
        yield shop


@contextmanager
def open_shop(
    tables: Tables, secrets: FakeSecretsManager, telegram: TelegramStandin
) -> Iterator[Shop]:
    """A shop on these tables; the functions' environment is there already."""
    scheduler = FakeScheduler()
    clients = {"dynamodb": tables.client, "secretsmanager": secrets, "scheduler": scheduler}
    telegram.heal()
    telegram.forget_requests()
    telegram.bot_api.chats.clear()
    telegram.bot_api.users.clear()
    stripe = StripeStandin(api_keys=("sk_live_local", "sk_test_local"))
    shop = Shop(tables, stripe, telegram, scheduler, secrets)
    with (
        StandinServer(stripe, deliver=False) as server,
        compose.replaced(aws=clients.__getitem__, monotonic=shop.monotonic),
        patch.dict(os.environ, {"STRIPE_API_BASE": server.url, "TELEGRAM_API_BASE": telegram.url}),
    ):
        stripe.add_endpoint(secret="whsec_local", send=shop.receive)
        yield shop
    stripe.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> Any:
    """Move the time of our own clocks and Stripe's; ``clock(at)``, ``clock.later(seconds)``."""
    return MovableClock(monkeypatch, shop)


class MovableClock:
    """Wall clock time of our code and of Stripe, moved by a test. Deadlines are measured by
    another clock, which goes on as it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shop: Shop) -> None:
        self.offset = 0.0
        self.shop = shop
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.offset)

    def __call__(self, at: float) -> None:
        self.later(at - time.time())

    def later(self, seconds: float) -> None:
        self.offset += seconds
