"""Stripe's events applied to tables in memory, with Stripe's stand-in in the same process.

The webhook's own code from the signed bytes on; only what sets
schedules is a fake that notes what it was given.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe
from stripe import WebhookSignature

from functions.stripe_webhook.delivery import Deliveries
from shared.compose import BUDGETS, Composition, Leaves
from shared.domain.clock import Clock, system_clock
from shared.settings import Settings
from shared.storage.dynamo import unmarshal
from shared.storage.items import from_item
from shared.storage.keys import Key
from shared.stripe_events.context import Services
from shared.stripe_events.receive import Receiver
from shared.tenant import Tenant
from standins.stripe import NEWEST, OLDEST, StripeAccount, StripeStandin
from standins.stripe.api import handle
from standins.stripe.calls import ApiRequest
from tests.dynamo import table_definition
from tests.memory_dynamo.database import MemoryDynamo

STORE = Tenant("demo")
SECRET = "whsec_local"
KEYS = {"live": "sk_live_local", "test": "sk_test_local"}
# Bookkeeping: what arrived when and how often. What is known must not depend on it.
_BOOKKEEPING = (
    "v_",
    "r_",
    "m_",
    "x_",
    "rev",
    "written_at",
    "settle_until",
    "attention_at",
    "lease_",
    "parked_at",
    "dirty",
)


VARIABLES = {
    "DEFAULT_STORE": STORE.store_id,
    "RECORDS_TABLE": "records",
    "INDEX_TABLE": "index",
    "STRIPE_API_BASE": "http://stand-in",
    "STRIPE_API_SECRET_ARN": "stripe",
    "STRIPE_WEBHOOK_SECRET_ARN": "webhook",
}
SECRETS: dict[str, Any] = {"stripe": KEYS, "webhook": {"secrets": [SECRET]}}


class Secrets:
    """Secrets Manager."""

    def get_secret_value(self, **request: Any) -> dict[str, Any]:
        return {"SecretString": json.dumps(SECRETS[request["SecretId"]])}


class InProcessStripe(stripe.HTTPClient):
    """The stand-in behind Stripe's SDK, without a socket.

    Attributes:
        asked: (method, path) of every request.
        after: called with the number of each request once it is answered, counted from 1.
    """

    name = "in process"

    def __init__(self, standin: StripeStandin) -> None:
        super().__init__()
        self.standin = standin
        self.asked: list[tuple[str, str]] = []
        self.after: Callable[[int], None] = lambda _: None

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        **_: Any,
    ) -> tuple[str, int, Mapping[str, str]]:
        parts = urlsplit(url)
        self.asked.append((method, parts.path))
        pairs = parse_qsl(parts.query) + parse_qsl(post_data or "")
        status, body = self.answer(method, parts.path, pairs, headers or {})
        self.after(len(self.asked))
        return body, status, {}

    def answer(
        self, method: str, path: str, pairs: list[tuple[str, str]], headers: Mapping[str, str]
    ) -> tuple[int, str]:
        answer = handle(self.standin, ApiRequest(method.upper(), path, pairs, headers))
        return answer.status, answer.body

    def close(self) -> None:
        return None


class World:
    """Tables, the receiver before them, and what came of it.

    Attributes:
        driven: keys of purchases that were looked at for what follows.
        counted: names of metrics.
    """

    def __init__(
        self,
        standin: StripeStandin,
        client: Any = None,
        wrap: Callable[[Any], Any] = lambda client: client,
        stripe: InProcessStripe | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.standin = standin
        if client is None:
            client = MemoryDynamo()
            client.create_table("records", **table_definition("RecordsTable"))
            client.create_table("index", **table_definition("CustomerIndexTable"))
        self.memory = client
        self.client = wrap(client)
        self.driven: list[Key] = []
        self.counted: list[str] = []
        self.stripe = http = stripe or InProcessStripe(standin)
        clients: dict[str, Any] = {"dynamodb": self.client, "secretsmanager": Secrets()}
        self.parts = parts = Composition(
            BUDGETS["stripe_webhook"],
            Settings(VARIABLES),
            Leaves(
                aws=clients.__getitem__,
                stripe_http=lambda: http,
                clock=clock,
                count=self.counted.append,
            ),
        )
        self.table = parts.records_table
        self.records = parts.records
        self.customers = parts.customers
        self.registry = parts.registry
        self.parked = parts.parked
        self.products = parts.products
        self.services = Services(
            records=self.records,
            customers=self.customers,
            products=self.products,
            registry=self.registry,
            stripe=parts.stripe,
            wake=lambda record: self.driven.append(record.key),
            count=self.counted.append,
            clock=clock,
        )
        self.receiver = Receiver(self.services, self.parked)
        self.deliveries = Deliveries(parts.webhook_secrets, self.receiver)

    def copy(self) -> World:
        """Another world with the same tables, and the same Stripe."""
        return World(self.standin, self.memory.copy())

    def receive(self, event: Mapping[str, Any]) -> str:
        body = json.dumps(event).encode()
        return self.deliveries.receive(body, signed(body))

    def receive_all(self, events: Iterable[Mapping[str, Any]]) -> World:
        for event in events:
            assert self.receive(event) == "applied", event["type"]
        return self

    def state(self) -> dict[str, Any]:
        """What is known, without how it came to be known."""
        state: dict[str, Any] = {}
        for name, table in self.memory._tables.items():
            for pk, partition in table.items.items():
                for sk, item in partition.items():
                    told = {
                        attribute: next(iter(value.values()))
                        for attribute, value in item.items()
                        if not attribute.startswith(_BOOKKEEPING)
                    }
                    if "due_at" in told:
                        told["due_at"] = "later or now"  # by when what was stored
                    if isinstance(told.get("seen"), (list, set, frozenset)):
                        told["seen"] = sorted(told["seen"])
                    if sk == "CUSTOMER" and "row" not in told:
                        continue  # a customer that nobody is any more
                    if sk.startswith("FORMER#"):
                        continue  # an id that somebody had in between
                    told.pop("former", None)
                    if "#TELEGRAM#" in pk:
                        continue  # of whom was linked once: see unlinked()
                    if "#SOLD#" in pk or sk.startswith(("REPLAN#", "CHAT#")):
                        continue  # notes of what must be looked at, which order may leave or not
                    state[f"{name} {pk} {sk}"] = told
        return state

    def everything(self) -> str:
        """What the tables hold, bookkeeping and all."""
        tables = [self.memory.dump(name) for name in ("records", "index")]
        return json.dumps(tables, sort_keys=True)

    def sources(self, sk_prefix: str) -> dict[str, dict[str, Any]]:
        """The sources of records, by sort key."""
        found: dict[str, dict[str, Any]] = {}
        for partition in self.memory._tables["records"].items.values():
            for sk, item in partition.items():
                if sk.startswith(sk_prefix):
                    found[sk] = {
                        attribute[2:]: json.loads(value["S"])
                        for attribute, value in item.items()
                        if attribute.startswith("s_")
                    }
        return found

    def unlinked(self) -> list[str]:
        """Live purchases that a removal of their Telegram user would overlook."""
        missing = []
        for partition in self.memory._tables["records"].items.values():
            for sk, item in partition.items():
                if not sk.startswith("PURCHASE#"):
                    continue
                record = from_item(unmarshal(item))
                user = record.purchase.telegram_user_id
                if user is None or not record.purchase.is_live:
                    continue
                link = self.table.get(STORE.telegram_user_pk(user), f"LINK#{sk}")
                if link is None or link["account"] != record.key.pk:
                    missing.append(f"{record.key.pk} {sk}")
        return missing

    def marked(self) -> list[str]:
        """Records the customer list doesn't show yet."""
        return [
            f"{pk} {sk}"
            for pk, partition in self.memory._tables["records"].items.items()
            for sk, item in partition.items()
            if "reindex_at" in item and not sk.startswith(("REPLAN#", "CHAT#"))
        ]


def signed(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    header: str = WebhookSignature.generate_signature_header(
        body.decode(), secret, int(time.time() if at is None else at)
    )
    return header


def shapes_mixed(shop: StripeAccount, ids: Iterable[str]) -> list[dict[str, Any]]:
    """Events in turn in the newest and the oldest shape: an endpoint without a version."""
    shapes = [
        {event["id"]: event for event in shop.events(api_version=version)}
        for version in (NEWEST, OLDEST)
    ]
    return [shapes[number % 2][id_] for number, id_ in enumerate(ids)]


class Crash(BaseException):
    """The process is gone."""


class CrashingClient:
    """A client whose process dies right after its ``at``-th write."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.at: int | None = None
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)
        if not name.startswith(("put", "update", "delete", "transact", "batch_write")):
            return operation

        def call(**request: Any) -> Any:
            answer = operation(**request)
            with self._lock:
                self.writes += 1
                if self.writes == self.at:
                    raise Crash
            return answer

        return call
