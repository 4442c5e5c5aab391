"""``python -m bench`` (``make bench``): cold starts, warm calls, the package and the price.

Functions run from a built package in processes of their own; the database is dynoxide, everything
else a stand-in on loopback, all outside of what is measured. Figures are ratios, so that machines
can be compared: of instructions (valgrind's cachegrind, repeatable to a thousandth) and, as a
second opinion, of CPU time measured in turn. Prints one table and writes docs/bench/perf.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import measure
from bench.call import Context
from bench.measure import ROOT, Ran, Runner

# Powertools reads these when it is imported, which the world's functions are.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "bench")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Customers")

from bench.world import World, get, world
from shared.observability import logger

CUSTOMERS = 40
PAIRS = 3
# Warm calls: so many before, and so many that are counted.
WARM, COUNTED = 5, 40
# The functions' memory (template.yaml), the share of a processor that comes with it, and how long
# DynamoDB takes to answer: waiting is billed like working.
MEMORY_MB = 1024
MB_OF_A_PROCESSOR = 1769
DATABASE_SECONDS = 0.004


HEAD = """# Cold starts, warm calls, package, price

`make bench` on {date}: {machine}, other work beside it (load {load}).
Ratios of instructions (cachegrind), in brackets of CPU time measured in turn, which is noisy on a
machine with other work.

**B**: a process from its start to a ready `boto3.client("dynamodb")` of the untrimmed packages.
Cold: a process from its start to the answer to its first event. **Q**: one bare boto3 Query that
returns 25 rows of separate attributes. Dollars: bench/prices.json, 1,024 MB, 4 ms a database call.
"""


@dataclass
class Table:
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, what: str, measured: str, must: str = "", aim: str = "") -> None:
        self.rows.append((what, measured, must, aim))
        print(f"{what:<64}{measured:<40}{must:<8}{aim}", file=sys.__stdout__, flush=True)

    def markdown(self) -> str:
        lines = ["| | measured | must | aim |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join(lines)


@dataclass(frozen=True)
class Scenario:
    """One thing that is asked of a function."""

    name: str
    function: str
    event: Callable[[], dict[str, Any]]
    must: str = ""
    aim: str = ""


def scenarios(here: World) -> list[Scenario]:
    customer = here.customer_of(here.subscriptions[0])
    payload = "customer.subscription.updated"
    return [
        Scenario("list, 25 rows", "list_customers", lambda: get("/v1/customers"), "1.20"),
        Scenario("one customer", "get_customer", lambda: get(customer), "1.20"),
        Scenario(
            "webhook, payload path",
            "stripe_webhook",
            lambda: here.renewed(payload),
            "1.10",
        ),
        Scenario("sweep, nothing due", "period_end_revoker", dict, "1.15"),
        Scenario(
            "cancel at once, with removal",
            "cancel_purchase",
            lambda: here.cancel("immediately"),
            "1.55",
        ),
        Scenario(
            "cancel at the period's end",
            "cancel_purchase",
            lambda: here.cancel("period_end"),
            "1.55",
        ),
    ]


# -- cold ------------------------------------------------------------------------------------------


def cold(table: Table, runner: Runner, here: World, *, count: bool) -> dict[str, Ran]:
    """Import and first event of each function ÷ B."""
    unit = runner.unit_b(count=count)
    if unit.instructions is not None:
        table.add("B, million instructions", f"{unit.instructions / 1e6:.0f}")
    found = {}
    for scenario in scenarios(here):
        ran = runner.invoke(scenario.function, [scenario.event()], timed=0, count=count)
        found[scenario.name] = ran
        ours, units = [], []
        for _ in range(PAIRS):
            units.append(runner.unit_b(count=False).cpu_seconds)
            again = runner.invoke(scenario.function, [scenario.event()], timed=0, count=False)
            ours.append(again.cpu_seconds)
        cpu = f"{measure.paired(ours, units):.2f}"
        if ran.instructions is None or unit.instructions is None:
            shown = f"CPU {cpu}"
        else:
            shown = f"{ran.instructions / unit.instructions:.3f} (CPU {cpu})"
        table.add(f"cold ÷ B: {scenario.name}", shown, scenario.must, scenario.aim)
    for name, ran in found.items():
        table.add(f"modules imported: {name}", str(len(ran.report["modules"])))
    return found


# -- warm ------------------------------------------------------------------------------------------


def warm(table: Table, runner: Runner, here: World, *, count: bool) -> dict[str, float]:
    """CPU per call ÷ that of bare calls; seconds of CPU per call by function."""
    listing, webhook = scenarios(here)[0], scenarios(here)[2]
    query = full_rows(here)

    def bare(calls: Callable[[], list[dict[str, Any]]]) -> Callable[[int, bool], Ran]:
        return lambda calls_made, counting: runner.bare(
            calls()[: WARM + calls_made], timed=calls_made, count=counting
        )

    def function(scenario: Scenario) -> Callable[[int, bool], Ran]:
        def run(calls_made: int, counting: bool) -> Ran:
            events = [scenario.event() for _ in range(WARM + calls_made)]
            return runner.invoke(scenario.function, events, timed=calls_made, count=counting)

        return run

    seconds = {}
    for name, ours, other, must, aim in (
        (
            "warm list of 25 ÷ Q",
            function(listing),
            bare(lambda: [query] * (WARM + COUNTED)),
            "0.60",
            "",
        ),
        (
            "warm webhook ÷ its calls",
            function(webhook),
            bare(lambda: same_writes(here, webhook.event())),
            "1.25",
            "1.15",
        ),
    ):
        pairs = [(ours(COUNTED, False), other(COUNTED, False)) for _ in range(PAIRS)]
        one = [a.report["seconds"] for a, _ in pairs]
        cpu = measure.paired(one, [b.report["seconds"] for _, b in pairs])
        shown = f"CPU {cpu:.2f}"
        if count:
            ratio = _per_call(ours) / _per_call(other)
            shown = f"{ratio:.3f} ({shown})"
        table.add(name, shown, must, aim)
        seconds[name] = statistics.median(one) / COUNTED
    return seconds


def _per_call(run: Callable[[int, bool], Ran]) -> float:
    few = COUNTED // 4
    return measure.per_call(run(few, True), run(COUNTED, True), COUNTED - few)


def full_rows(here: World) -> dict[str, Any]:
    """Q: a query that returns 25 rows of separate attributes, about 15 KB."""
    name = here.environ["INDEX_TABLE"]
    for number in range(25):
        row: dict[str, Any] = {"pk": {"S": "Q"}, "sk": {"S": f"{number:04d}"}}
        row |= {f"attribute_{n:02d}": {"S": f"{number:04d} {n:02d} value of it"} for n in range(12)}
        row |= {f"number_{n}": {"N": str(1_790_000_000 + n)} for n in range(4)}
        row["providers"] = {"L": [{"S": "stripe"}, {"S": "stripe_test"}]}
        row["address"] = {"M": {"name": {"S": "Alexandra"}, "email": {"S": "a@example.com"}}}
        row["used"] = {"BOOL": True}
        here.client.put_item(TableName=name, Item=row)
    request = {
        "TableName": name,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "Q"}},
    }
    return {"operation": "query", "request": request}


def same_writes(here: World, event: dict[str, Any]) -> list[dict[str, Any]]:
    """The one write that the webhook makes of an event, to a copy of its record.

    Each is later than the one before, and the copy older than all of them: no condition fails.
    """
    from functions.stripe_webhook.handler import lambda_handler

    here.meter.calls.clear()
    lambda_handler(event, None)
    ((operation, request, _),) = here.meter.calls
    name, key = request["TableName"], request["Key"]
    copy = {**key, "sk": {"S": f"{key['sk']['S']}_copy"}}
    item = here.client.get_item(TableName=name, Key=key)["Item"]
    here.client.put_item(TableName=name, Item={**item, **copy, "v_subscription": {"N": "0"}})
    values = request["ExpressionAttributeValues"]
    first = int(values[":v"]["N"])
    return [
        {
            "operation": operation,
            "request": {
                **request,
                "Key": copy,
                "ExpressionAttributeValues": {**values, ":v": {"N": str(first + number)}},
            },
        }
        for number in range(WARM + COUNTED)
    ]


# -- database, answers, logs -----------------------------------------------------------------------


def operations(
    table: Table, runner: Runner, here: World
) -> dict[str, tuple[float, float, int, int]]:
    """Calls, units, bytes of the answer and of the log of each operation."""
    found = {}
    for scenario in scenarios(here):
        handler = importlib.import_module(f"functions.{scenario.function}.handler").lambda_handler
        handler(scenario.event(), Context(300_000))
        here.meter.calls.clear()
        answer = handler(scenario.event(), Context(300_000))
        reads, writes = here.meter.units()
        events = [scenario.event(), scenario.event()]
        log = runner.invoke(scenario.function, events, timed=0, count=False).log
        lines = log.splitlines()
        logged = len(log.encode()) // 2
        body = len(answer.get("body", "").encode()) * (3 if answer.get("isBase64Encoded") else 4)
        found[scenario.name] = (reads, writes, body // 4, logged)
        table.add(
            f"database calls, read + write units: {scenario.name}",
            f"{len(here.meter.calls)}, {reads:g} + {writes:g}",
        )
        table.add(
            f"bytes of answer, of log (lines): {scenario.name}",
            f"{body // 4}, {logged} ({len(lines) / 2:g})",
        )
    return found


def dollars(
    prices: dict[str, Any], seconds: float, calls: int, units: tuple[float, float, int, int]
) -> tuple[float, float]:
    """Dollars per million calls, without and with the log.

    Args:
        seconds: CPU of a call on a whole processor.
        calls: of the database.
    """
    reads, writes, answer, logged = units
    billed = seconds * max(1.0, MB_OF_A_PROCESSOR / MEMORY_MB) + calls * DATABASE_SECONDS
    total = (
        prices["http_api_per_million_requests"]
        + prices["lambda_per_million_requests"]
        + prices["lambda_arm64_per_gb_second"] * 1e6 * MEMORY_MB / 1024 * billed
        + prices["dynamodb_per_million_read_units"] * reads
        + prices["dynamodb_per_million_write_units"] * writes
        + prices["data_out_per_gb"] * answer / 1000
    )
    return float(total), float(total + prices["cloudwatch_logs_per_gb"] * logged / 1000)


# -- TLS -------------------------------------------------------------------------------------------


def tls(table: Table, runner: Runner) -> None:
    """CPU of reading the authorities, the larger part of a first TLS request."""
    code = (
        "import ssl, sys, time; t = time.process_time();"
        "ssl.create_default_context(cafile=sys.argv[1]); print(time.process_time() - t)"
    )
    ours = runner.packages / "aws-authorities.pem"
    for name, bundle in (("usual", runner.packages / "certifi/cacert.pem"), ("own", ours)):
        ratios = []
        for _ in range(PAIRS):
            command = [runner.python, "-S", "-c", code, str(bundle)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            ratios.append(float(done.stdout) / runner.unit_b(count=False).cpu_seconds)
        shown = f"CPU {statistics.median(ratios):.3f}"
        table.add(f"first TLS request, {name} authorities ÷ B", shown)


# -- all of it -------------------------------------------------------------------------------------


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cpu-only", action="store_true", help="count no instructions")
    count = measure.VALGRIND is not None and not arguments.parse_args().cpu_only
    if not count:
        print("valgrind is not here: CPU time only")
    load = os.getloadavg()[0]
    python = os.path.realpath(ROOT / ".venv" / "bin" / "python")
    packages, code = measure.build(python)
    table = Table()
    layer, artefact = measure.size_of(packages), measure.size_of(code)
    table.add(
        "unzipped: function + layer, MB",
        f"{artefact / 1e6:.1f} + {layer / 1e6:.1f} = {(artefact + layer) / 1e6:.1f}",
        "30",
    )
    fresh = [measure.fresh_bytecode(folder) for folder in (packages, code)]
    table.add(
        "modules with fresh bytecode",
        f"{sum(f for f, _ in fresh)} of {sum(n for _, n in fresh)}",
        "all",
    )
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        # The store is filled by functions in this process; what they log is no result.
        logger.registered_handler.setStream(nowhere)  # type: ignore[attr-defined]
        with contextlib.redirect_stdout(nowhere):
            _measure(table, python, packages, code, count=count)
    write(table, f"{load:.0f} to {os.getloadavg()[0]:.0f}")


def _measure(table: Table, python: str, packages: Path, code: Path, *, count: bool) -> None:
    with world(CUSTOMERS) as here:
        stock = Path(sysconfig.get_path("purelib"))
        runner = Runner(python, here.environ, stock, packages, code)
        cold(table, runner, here, count=count)
        tls(table, runner)
        seconds = warm(table, runner, here, count=count)
        units = operations(table, runner, here)
    prices = json.loads((ROOT / "bench" / "prices.json").read_text())
    for name, warm_name, of, must, aim in (
        ("webhook", "warm webhook ÷ its calls", "webhook, payload path", "3.80", "1.90"),
        ("list page", "warm list of 25 ÷ Q", "list, 25 rows", "2.35", "1.50"),
    ):
        plain, logged = dollars(prices, seconds[warm_name], 1, units[of])
        table.add(
            f"dollars per million: {name}", f"{plain:.2f} ({logged:.2f} with its log)", must, aim
        )


def write(table: Table, load: str) -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = HEAD.format(date=f"{datetime.now(UTC):%Y-%m-%d}", machine=machine, load=load)
    target = ROOT / "docs" / "bench" / "perf.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f"{text}\n{table.markdown()}\n")


if __name__ == "__main__":
    main()
