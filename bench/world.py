"""The world that measured functions run in: a database, AWS, Stripe and Telegram on loopback.

The functions run in processes of their own from a built package; everything here is outside of
what is measured. The store is filled through the webhook.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared import compose
from standins.stripe import StandinServer, StripeStandin
from standins.stripe.deliveries import signature
from standins.telegram.server import TelegramStandin
from tests.dynamo import create_tables, make_client, running_dynoxide
from tests.functions.http import api_event

CHAT = -1001000000001
FIRST_USER = 700_001
WEBHOOK_SECRET = "whsec_local"
SECRETS: dict[str, dict[str, Any]] = {
    "STRIPE_API_SECRET_ARN": {"live": "sk_live_local", "test": "sk_test_local"},
    "STRIPE_WEBHOOK_SECRET_ARN": {"secrets": [WEBHOOK_SECRET]},
    "TELEGRAM_SECRET_ARN": {"token": "123:local"},
    "CURSOR_SECRET_ARN": {"key": "a key for measuring"},
}
READS = ("get_item", "query", "batch_get_item")


class _Aws(BaseHTTPRequestHandler):
    """Secrets Manager's and Scheduler's calls that the functions make, always well."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        return

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer: dict[str, Any] = {}
        if "X-Amz-Target" in self.headers:
            arn = json.loads(body)["SecretId"]
            answer = {"ARN": arn, "Name": arn, "SecretString": json.dumps(SECRETS[arn])}
        elif self.command == "POST":
            answer = {"ScheduleArn": "arn:aws:scheduler:us-east-1:000000000000:schedule/bench"}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - BaseHTTPRequestHandler's names


@dataclass
class Meter:
    """DynamoDB's client, with every call and its capacity noted.

    Attributes:
        calls: (operation, request, units) of every call since it was emptied.
    """

    client: Any
    calls: list[tuple[str, dict[str, Any], float]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.client, name)

        def call(**request: Any) -> Any:
            try:
                answer = operation(**request, ReturnConsumedCapacity="TOTAL")
            except self.client.exceptions.ConditionalCheckFailedException as error:
                # A refused write costs what the stored item does.
                size = len(json.dumps(error.response.get("Item", {})))
                self.calls.append((name, request, max(1, math.ceil(size / 1024))))
                raise
            used = answer.pop("ConsumedCapacity", None) or {}
            parts = used if isinstance(used, list) else [used]
            units = sum(part.get("CapacityUnits", 0.0) for part in parts)
            self.calls.append((name, request, units))
            return answer

        return call

    def units(self) -> tuple[float, float]:
        """Read and write units of what was noted."""
        reads = sum(units for name, _, units in self.calls if name in READS)
        return reads, sum(units for _, _, units in self.calls) - reads


@dataclass
class World:
    """A filled store and what is needed to call its functions.

    Attributes:
        environ: the environment of a function's process.
        meter: the database as the functions of this very process see it.
        delivered: (type, body) of every event Stripe sent.
    """

    environ: dict[str, str]
    meter: Meter
    client: Any
    stripe: StripeStandin
    telegram: TelegramStandin
    delivered: list[tuple[str, bytes]] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**9)))

    # -- filling it -------------------------------------------------------------------------------

    def receive(self, body: bytes, headers: dict[str, str]) -> int:
        # Powertools reads the environment when it is imported.
        from functions.stripe_webhook.handler import lambda_handler

        self.delivered.append((json.loads(body)["type"], body))
        answer = lambda_handler(_webhook(body, headers), None)
        return int(answer["statusCode"])

    def fill(self, customers: int) -> None:
        """So many customers with a living subscription each."""
        product = self.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
        for number in range(customers):
            made = self.stripe.live.subscribe(
                product=product["id"],
                name=f"Alexandra Fernandez {number}",
                email=f"alexandra.fernandez.{number}@example.com",
                grouptizer_id=f"gz_{number:08d}",
                avatar_url=f"https://cdn.example.com/avatars/{number:08d}.png",
                telegram_user_id=FIRST_USER + number,
            )
            self.subscriptions.append(made["id"])
        if self.stripe.deliveries.flush() != 0:
            raise RuntimeError("the webhook refused some of Stripe's events")
        for number in range(customers):
            self.telegram.bot_api.join(CHAT, FIRST_USER + number)

    # -- requests ---------------------------------------------------------------------------------

    def renewed(self, kind: str) -> dict[str, Any]:
        """The first event of a type, said once more, later: nothing follows from it.

        It is of the subscription that :meth:`cancel` comes to last.
        """
        body = next(body for type_, body in self.delivered if type_ == kind)
        event = json.loads(body)
        number = next(self._numbers)
        event |= {"id": f"evt_again{number}", "created": int(time.time()) + number}
        text = json.dumps(event).encode()
        signed = signature(text, (WEBHOOK_SECRET,), int(time.time()))
        return _webhook(text, {"Stripe-Signature": signed})

    def cancel(self, when: str) -> dict[str, Any]:
        """The console cancels the next subscription that nobody has cancelled yet."""
        subscription = self.subscriptions.pop()
        body = json.dumps({"when": when, "confirmation": "CANCEL PURCHASE"})
        path = f"{self.customer_of(subscription)}/purchases/{subscription}/cancel"
        headers = {"Idempotency-Key": f"key-{subscription}", "Accept-Encoding": "gzip"}
        return api_event("POST", path, body=body, headers=headers)

    def customer_of(self, subscription: str) -> str:
        """The path of the customer whose subscription this is."""
        account = self.stripe.live.get("subscription", subscription)["customer"]
        key = {"pk": {"S": f"demo#ACCOUNT#{account}"}, "sk": {"S": "PROFILE"}}
        item = self.client.get_item(TableName=self.environ["RECORDS_TABLE"], Key=key)["Item"]
        return f"/v1/customers/{json.loads(item['own']['S'])['customer_id']}"


def get(path: str, query: str = "") -> dict[str, Any]:
    """A GET as a browser sends it."""
    return api_event("GET", path, query=query, headers={"Accept-Encoding": "gzip, deflate, br"})


def _webhook(body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    return api_event("POST", "/v1/webhooks/stripe", body=body.decode(), headers=headers, store=None)


@contextlib.contextmanager
def world(customers: int) -> Iterator[World]:
    """A world with a store of so many customers; everything in it ends with it."""
    aws_server = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    threading.Thread(target=aws_server.serve_forever, daemon=True).start()
    stripe = StripeStandin(api_keys=("sk_live_local", "sk_test_local"))
    with (
        running_dynoxide() as database,
        StandinServer(stripe, deliver=False) as stripe_server,
        TelegramStandin(token="123:local") as telegram,
    ):
        client = make_client(database)
        records, index = create_tables(client)
        aws_url = f"http://127.0.0.1:{aws_server.server_port}"
        environ = {
            "RECORDS_TABLE": records,
            "INDEX_TABLE": index,
            "SCHEDULE_GROUP": "customers",
            "SCHEDULE_ROLE_ARN": "arn:aws:iam::000000000000:role/schedule",
            "REVOKER_ARN": "arn:aws:lambda:us-east-1:000000000000:function:period-end-revoker",
            "STRIPE_EVENT_SOURCE": "aws.partner/stripe.com/ed_1",
            "AWS_CA_BUNDLE": "/opt/python/aws-authorities.pem",
            "PYTHONWARNINGS": "ignore:Unable to find acceptable character detection",
            "POWERTOOLS_SERVICE_NAME": "bench",
            "POWERTOOLS_METRICS_NAMESPACE": "Customers",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_ENDPOINT_URL_DYNAMODB": database,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws_url,
            "AWS_ENDPOINT_URL_SCHEDULER": aws_url,
            "STRIPE_API_BASE": stripe_server.url,
            "TELEGRAM_API_BASE": telegram.url,
            **{name: name for name in SECRETS},
        }
        outside = dict(os.environ)
        os.environ.update(environ)
        meter = Meter(client)
        telegram.bot_api.chats.clear()
        here = World(environ, meter, client, stripe, telegram)
        stripe.add_endpoint(secret=WEBHOOK_SECRET, send=here.receive)
        try:
            with compose.replaced(aws={"dynamodb": meter}.get):
                here.fill(customers)
                yield here
        finally:
            os.environ.clear()
            os.environ.update(outside)
            aws_server.shutdown()
            stripe.close()
