"""``python -m bench.webhook`` (``make bench-webhook``): what the webhook costs.

One worker takes signed events of about 3 KB through the function's own handler and really stores
them in dynoxide, on disk. Three runs over copies of one filled store:

1. *counted*: each database call and its write units, each request to Stripe, by event type;
2. *timed*: CPU of the worker, CPU of the database process, wall time;
3. *bare*: the calls of the first run made again with botocore's client and nothing around it.

Prints two tables and writes docs/bench/webhook.md. Linux only: the database's CPU comes from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
from botocore.exceptions import ClientError

from bench.figures import machine
from bench.world import CHAT, READS, SECRETS, WEBHOOK_SECRET, _Aws
from standins.stripe import StandinServer, StripeAccount, StripeStandin
from standins.stripe.deliveries import signature
from standins.telegram.server import TelegramStandin
from tests.dynamo import create_tables, make_client, running_dynoxide
from tests.functions.http import api_event

OUT = Path(__file__).resolve().parent.parent / "docs" / "bench" / "webhook.md"
BYTES = 3072
DAY = 86_400
WARM_UP = 60
# Less than between two happenings, so that events stay in their order.
LATER = 3600

# What happens to a store of living subscriptions within a month, per hundred happenings. A guess at
# a store that grows slowly and bills monthly: most of what it is told of are renewals; one in
# fifteen fails at first (cards expire, limits are reached) and nearly all of those are paid by a
# retry; what is new (6) outweighs what ends (2 + 2); one-off purchases beside them; few buyers
# change anything of theirs. Renewals are what is cheap here, so their weight is what counts:
# docs/bench/webhook.md has each type by itself for any other mix.
MIX = {
    "a renewal is paid": 70,
    "a renewal fails, and is paid later": 5,
    "somebody new subscribes": 6,
    "a customer buys once": 8,
    "a customer changes name, address or card": 5,
    "a charge is refunded in part": 2,
    "a subscription is cancelled for its period's end": 2,
    "a subscription ends": 2,
}


# -- what is delivered -----------------------------------------------------------------------------


@dataclass
class Store:
    """A store at the Stripe stand-in.

    Attributes:
        living: subscriptions that nobody has cancelled.
    """

    stripe: StripeStandin
    chance: random.Random
    product: str = ""
    living: list[str] = field(default_factory=list)
    number: int = 0

    @property
    def live(self) -> StripeAccount:
        return self.stripe.live

    def subscribes(self) -> None:
        self.number += 1
        made = self.live.subscribe(
            product=self.product,
            name=f"Alexandra Fernandez {self.number}",
            email=f"alexandra.fernandez.{self.number}@example.com",
            grouptizer_id=f"gz_{self.number:08d}",
            telegram_user_id=700_000 + self.number,
        )
        self.living.append(made["id"])

    def fill(self, subscriptions: int, at: int) -> None:
        with self.stripe.at(at):
            product = self.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
            self.product = product["id"]
        for number in range(subscriptions):
            with self.stripe.at(at + number):
                self.subscribes()

    def any(self) -> str:
        return self.chance.choice(self.living)

    def customer(self, subscription: str) -> str:
        return str(self.live.get("subscription", subscription)["customer"])

    def happens(self, what: str) -> None:
        live, subscription = self.live, self.any()
        if what == "a renewal is paid":
            live.renew(subscription)
        elif what == "a renewal fails, and is paid later":
            live.fail_renewal(subscription, keep_failing=False)
            with self.stripe.at(self.live.now() + LATER):
                live.pay_open_invoice(subscription)
        elif what == "somebody new subscribes":
            self.subscribes()
        elif what == "a customer buys once":
            customer = self.customer(subscription)
            live.buy_one_off(customer=customer, product=self.product, telegram_user_id=700_001)
        elif what == "a customer changes name, address or card":
            name = f"Alexandra Schmidt {self.chance.randrange(10**6)}"
            live.update_customer(self.customer(subscription), name=name)
        elif what == "a charge is refunded in part":
            live.refund(subscription, amount=1)
        elif what == "a subscription is cancelled for its period's end":
            self.living.remove(subscription)
            live.portal_cancel(subscription)
        else:
            self.living.remove(subscription)
            live.cancel_subscription(subscription)


def mixed(store: Store, happenings: int, start: int, end: int) -> list[bytes]:
    """The events of a month in their order."""
    kinds = store.chance.choices(list(MIX), weights=list(MIX.values()), k=happenings)
    known = len(store.stripe.events(account=store.live))
    for number, what in enumerate(kinds):
        with store.stripe.at(start + (end - start) * number // happenings):
            store.happens(what)
    return bodies(store.stripe.events(account=store.live)[known:])


def undecidable(store: Store, number: int, start: int) -> list[bytes]:
    """Pairs of events of one second that come in the wrong order, so that Stripe must be asked."""
    found: list[bytes] = []
    for offset, subscription in enumerate(store.living[:number]):
        known = len(store.stripe.events(account=store.live))
        with store.stripe.at(start + offset):
            store.live.portal_cancel(subscription)
            store.live.portal_uncancel(subscription)
        events = store.stripe.events(account=store.live)[known:]
        found += bodies(reversed(events))
    return found


def unknown(number: int, start: int) -> list[bytes]:
    return bodies(
        {
            "id": f"evt_unknown{index}",
            "object": "event",
            "type": "payout.reconciliation_completed",
            "created": start + index,
            "livemode": True,
            "data": {"object": {"id": f"po_{index}", "object": "payout"}},
        }
        for index in range(number)
    )


def bodies(events: Any) -> list[bytes]:
    """Events as Stripe sends them, none smaller than 3 KB."""
    from shared.stripe_events.events import HANDLERS

    found = []
    for event in events:
        if event["type"] not in HANDLERS and not event["id"].startswith("evt_unknown"):
            continue  # an endpoint subscribes to what it needs
        text = json.dumps(event)
        missing = BYTES - len(text) - len(', "filler": ""')
        if missing > 0:
            filled = {**event, "data": {**event["data"], "filler": "x" * missing}}
            text = json.dumps(filled)
        found.append(text.encode())
    return found


# -- the worker ------------------------------------------------------------------------------------


@dataclass
class Cost:
    """Of the events of one type.

    Attributes:
        worker, database: CPU seconds.
        wall: seconds.
    """

    events: int = 0
    calls: int = 0
    write_units: float = 0.0
    stripe: int = 0
    worker: float = 0.0
    database: float = 0.0
    wall: float = 0.0

    def add(self, other: Cost) -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


class Noting:
    """DynamoDB's client; notes each call, what it asked and how many write units it took."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.write_units = 0.0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)

        def call(**request: Any) -> Any:
            self.made.append((name, request))
            try:
                answer = operation(**request, ReturnConsumedCapacity="TOTAL")
            except self._client.exceptions.ClientError as error:
                # A refused write costs what the stored item does.
                size = len(json.dumps(error.response.get("Item", {})))
                self.write_units += max(1, math.ceil(size / 1024))
                raise
            used = answer.pop("ConsumedCapacity", None) or {}
            if name not in READS:
                for part in used if isinstance(used, list) else [used]:
                    self.write_units += part.get("CapacityUnits", 0.0)
            return answer

        return call


def work(plan: Any) -> dict[str, Any]:
    """Take the events of a plan; runs in a process of its own."""
    from functions.stripe_webhook.handler import lambda_handler
    from shared import compose
    from shared.integrations import stripe_gateway

    noting: Noting | None = None
    made_here = contextlib.ExitStack()
    if plan["counted"]:
        plain = compose.Composition(compose.BUDGETS["stripe_webhook"])
        noting = Noting(plain.aws("dynamodb"))
        made_here.enter_context(compose.replaced(aws={"dynamodb": noting}.get))
    asked = Counter[str]()
    send = stripe_gateway.StripeGateway._send

    def counted(self: Any, *request: Any) -> Any:
        asked["requests"] += 1
        return send(self, *request)

    stripe_gateway.StripeGateway._send = counted  # type: ignore[method-assign, assignment]
    requests = []
    for text in plan["events"]:
        body = text.encode()
        signed = signature(body, (WEBHOOK_SECRET,), int(time.time()))
        headers = {"Stripe-Signature": signed}
        event = api_event("POST", "/v1/webhooks/stripe", body=text, headers=headers, store=None)
        requests.append((json.loads(text)["type"], event))
    costs: dict[str, Cost] = defaultdict(Cost)
    results = Counter[str]()
    calls: list[tuple[str, dict[str, Any]]] = []
    for number, (kind, event) in enumerate(requests):
        asked.clear()
        if noting is not None:
            noting.made, noting.write_units = [], 0.0
        database, wall, cpu = cpu_of(plan["database"]), time.perf_counter(), time.process_time()
        answer = lambda_handler(event, None)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        results[f"{answer['statusCode']} {answer['body']}"] += 1
        if noting is not None:
            calls += noting.made
        if number < plan["warm_up"]:
            if noting is not None and number == plan["warm_up"] - 1:
                warm_calls = len(calls)
            continue
        costs[kind].add(
            Cost(
                1,
                0 if noting is None else len(noting.made),
                0.0 if noting is None else noting.write_units,
                asked["requests"],
                cpu,
                cpu_of(plan["database"]) - database,
                wall,
            )
        )
    report: dict[str, Any] = {
        "costs": {kind: asdict(cost) for kind, cost in costs.items()},
        "results": results,
    }
    if noting is not None:
        report["calls"] = calls
        report["warm_calls"] = warm_calls if plan["warm_up"] else 0
    return report


def bare(plan: Any) -> dict[str, Any]:
    """Make the calls of a plan with botocore's client, and nothing around it."""
    client = botocore.session.get_session().create_client("dynamodb")
    cpu = 0.0
    for number, (name, request) in enumerate(plan["calls"]):
        operation = getattr(client, name)
        before = time.process_time()
        with contextlib.suppress(ClientError):
            operation(**request)
        if number >= plan["warm_calls"]:
            cpu += time.process_time() - before
    return {"cpu": cpu}


def cpu_of(pid: int) -> float:
    """Seconds of CPU that all threads of a process have had."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


# -- the world around it ---------------------------------------------------------------------------


@dataclass
class Bench:
    """Everything but the worker and the database."""

    stripe: StripeStandin
    environ: dict[str, str]
    directory: Path

    def run(self, mode: str, filled: Path, plan: dict[str, Any]) -> dict[str, Any]:
        """A run in a process of its own, on a copy of a filled database."""
        with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
            path = Path(scratch) / "dynamodb.sqlite"
            for file in filled.parent.glob(f"{filled.name}*"):
                shutil.copy(file, path.with_name(file.name.replace(filled.name, path.name)))
            return self.run_on(path, mode, plan)

    def run_on(self, path: Path, mode: str, plan: dict[str, Any]) -> dict[str, Any]:
        """A run in a process of its own, on this database."""
        with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
            plan_file, report_file = Path(scratch) / "plan.json", Path(scratch) / "report.json"
            with running_dynoxide(path) as endpoint:
                plan_file.write_text(json.dumps({**plan, "database": pid_of(path)}))
                subprocess.run(
                    [sys.executable, "-m", "bench.webhook", mode, plan_file, report_file],
                    check=True,
                    env={**self.environ, "AWS_ENDPOINT_URL_DYNAMODB": endpoint},
                    stdout=subprocess.DEVNULL,
                )
            report: dict[str, Any] = json.loads(report_file.read_text())
            return report


def pid_of(path: Path) -> int:
    """The process that has this database."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            if str(path).encode() in command and b"serve" in command:
                return int(process.name)
    raise RuntimeError("the database does not run")


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    aws_server = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    threading.Thread(target=aws_server.serve_forever, daemon=True).start()
    aws_url = f"http://127.0.0.1:{aws_server.server_port}"
    stripe = StripeStandin(api_keys=("sk_live_local", "sk_test_local"))
    with (
        tempfile.TemporaryDirectory() as directory,
        StandinServer(stripe, deliver=False) as server,
        TelegramStandin(token=SECRETS["TELEGRAM_SECRET_ARN"]["token"]) as telegram,
    ):
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "SCHEDULE_GROUP": "customers",
            "SCHEDULE_ROLE_ARN": "arn:aws:iam::000000000000:role/schedule",
            "REVOKER_ARN": "arn:aws:lambda:us-east-1:000000000000:function:period-end-revoker",
            "RECORDS_TABLE": "records",
            "INDEX_TABLE": "customer-index",
            "POWERTOOLS_SERVICE_NAME": "bench",
            "POWERTOOLS_METRICS_NAMESPACE": "Customers",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws_url,
            "AWS_ENDPOINT_URL_SCHEDULER": aws_url,
            "STRIPE_API_BASE": server.url,
            "TELEGRAM_API_BASE": telegram.url,
            **{arn: arn for arn in SECRETS},
        }
        yield Bench(stripe, environ, Path(directory))
    aws_server.shutdown()
    stripe.close()


def measure(subscriptions: int, happenings: int) -> dict[str, Any]:
    now = int(time.time())
    with bench() as around:
        store = Store(around.stripe, random.Random(7))
        store.fill(subscriptions, now - 45 * DAY)
        first = bodies(store.stripe.events(account=store.live))
        filled = around.directory / "filled.sqlite"
        with running_dynoxide(filled) as endpoint:
            create_tables(make_client(endpoint))
        fill = around.run_on(
            filled,
            "work",
            {"events": [body.decode() for body in first], "warm_up": 0, "counted": False},
        )
        mix = mixed(store, happenings, now - 30 * DAY, now - 2 * DAY)
        parts = {
            "payload": mix,
            "fetch": undecidable(store, min(60, len(store.living)), now - DAY),
            "unknown": unknown(300, now - DAY),
        }
        result: dict[str, Any] = {"fill": fill["results"], "bytes": sum(map(len, mix)) / len(mix)}
        for name, events in parts.items():
            warm = parts["payload"][:WARM_UP] if name != "payload" else []
            plan = {
                "events": [body.decode() for body in [*warm, *events]],
                "warm_up": len(warm) or WARM_UP,
            }
            counted = around.run("work", filled, {**plan, "counted": True})
            timed = around.run("work", filled, {**plan, "counted": False})
            calls = {"calls": counted.pop("calls"), "warm_calls": counted.pop("warm_calls")}
            result[name] = {
                "counted": counted,
                "timed": timed,
                "bare": around.run("bare", filled, calls)["cpu"],
            }
        return result


# -- what is told ----------------------------------------------------------------------------------

HEADER = (
    "| events | n | calls | write units | Stripe | worker ms | database ms | per s"
    " | per CPU-s of both |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def row(name: str, counted: Cost, timed: Cost) -> str:
    n, both = timed.events, timed.worker + timed.database
    return (
        f"| {name} | {n} | {counted.calls / n:.2f} | {counted.write_units / n:.2f}"
        f" | {counted.stripe / n:.2f} | {1000 * timed.worker / n:.2f}"
        f" | {1000 * timed.database / n:.2f} | {n / timed.wall:.0f} | {n / both:.0f} |"
    )


def total(costs: dict[str, Any]) -> Cost:
    whole = Cost()
    for cost in costs.values():
        whole.add(Cost(**cost))
    return whole


def report(result: dict[str, Any]) -> str:
    counted, timed = result["payload"]["counted"]["costs"], result["payload"]["timed"]["costs"]
    by_number = sorted(timed, key=lambda kind: -timed[kind]["events"])
    lines = [HEADER]
    names = {"payload": "**the mix**", "fetch": "**fetch path**", "unknown": "unknown type"}
    for part, name in names.items():
        parts = result[part]
        lines.append(row(name, total(parts["counted"]["costs"]), total(parts["timed"]["costs"])))
    lines += [row(f"`{kind}`", Cost(**counted[kind]), Cost(**timed[kind])) for kind in by_number]
    mix = total(timed)
    both = mix.events / (mix.worker + mix.database)
    ratio = mix.worker / result["payload"]["bare"]
    one_call = sum(c["events"] for c in counted.values() if c["calls"] <= 1.005 * c["events"])
    lines += [
        "",
        f"- Worker CPU ÷ the same database calls made bare through botocore: **{ratio:.2f}**"
        f" ({1000 * result['payload']['bare'] / total(counted).calls:.2f} ms a bare call).",
        f"- Events per CPU-second of worker and database together: **{both:.0f}**;"
        f" of the worker alone: {mix.events / mix.worker:.0f}.",
        f"- {100 * one_call / mix.events:.0f} % of the mix are events of types that take one call.",
        f"- Mean size of an event: {result['bytes']:,.0f} bytes.",
    ]
    return "\n".join(lines)


PAGE = """# What the webhook costs

Made by `make bench-webhook` ({machine}). One worker takes signed events of 3 KB or more through the
function's handler; dynoxide stores them on disk. Numbers are per event; CPU is that of the process.

The mix is {happenings} happenings of a month in a store of {subscriptions} living subscriptions, in
their true order, of these kinds: {mix}. An endpoint gets the types in the webhook's table only.

{tables}

*Fetch path*: pairs of events of one second, the later one first (cancelled and taken back): the
second of each pair can't be decided from its payload, so Stripe is asked.

## While Stripe's API and Telegram hang
<!-- hanging -->
<!-- /hanging -->
"""


def main() -> int:
    if sys.argv[1:2] in (["work"], ["bare"]):
        mode, plan, report_file = sys.argv[1:]
        done = (work if mode == "work" else bare)(json.loads(Path(plan).read_text()))
        Path(report_file).write_text(json.dumps(done))
        return 0
    parser = argparse.ArgumentParser(description="What the webhook costs")
    parser.add_argument("--subscriptions", type=int, default=150)
    parser.add_argument("--happenings", type=int, default=400)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    where = machine()
    tables = report(measure(options.subscriptions, options.happenings))
    where += f", after it {os.getloadavg()[0]:.1f}"
    print(tables)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        PAGE.format(
            machine=where,
            happenings=options.happenings,
            subscriptions=options.subscriptions,
            mix=", ".join(f"{share} % {what}" for what, share in MIX.items()),
            tables=tables,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
