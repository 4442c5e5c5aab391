"""``python -m bench.list`` (``make bench-list``): what a page of the list costs, at any size.

For each size of store it asks random queries of every kind for their first page (without search:
for any page) and writes docs/bench/list.json, list.md and list.svg. See bench/list_store.py for the
stores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.list_picture import picture
from bench.list_report import text
from bench.list_store import NOW, PRODUCTS, SPAN, STORE, people, write_file
from functions.list_customers.list import list_customers
from shared.domain.customer import CustomerRow
from shared.domain.merge import Observation
from shared.domain.search import make_query, normalize, sort_key
from shared.http import cursor
from shared.storage.customer_index import MAX_EVALUATED, CustomerIndex
from shared.storage.customers import Customers
from shared.storage.dynamo import Table
from shared.storage.keys import profile_key, purchase_key
from shared.storage.records import Records
from tests.dynamo import create_tables, make_client, running_dynoxide

OUT = Path(__file__).resolve().parent.parent / "docs" / "bench"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
KEY = b"a key of the benchmark"
SAMPLE = 5000

Params = dict[str, list[str]]


class Metered:
    """A client that adds up the calls and the read units."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()
        self.units = 0.0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)

        def call(**request: Any) -> Any:
            answer = operation(**request, ReturnConsumedCapacity="TOTAL")
            self.calls[name] += 1
            used = answer.get("ConsumedCapacity", [])
            for part in used if isinstance(used, list) else [used]:
                self.units += part["CapacityUnits"]
            return answer

        return call


# -- queries -------------------------------------------------------------------------------------


def _filters(chance: random.Random) -> Params:
    params: Params = {"sort": [chance.choice(["newest", "oldest"])]}
    if chance.random() < 0.4:
        params["product_id"] = chance.sample(PRODUCTS, chance.choice([1, 1, 1, 2, 3]))
    if chance.random() < 0.2:
        params["payment_provider"] = [chance.choice(["stripe", "stripe_test"])]
    if chance.random() < 0.2:
        params["used_access_code"] = [chance.choice(["true", "false"])]
    return params


def _any_page(chance: random.Random, filters: bool) -> Params:
    """No search, and any page: from a random moment on."""
    params = _filters(chance) if filters else {"sort": [chance.choice(["newest", "oldest"])]}
    if chance.random() < 0.5:
        query = make_query(
            sort=params["sort"][0],
            products=params.get("product_id", ()),
            providers=params.get("payment_provider", ()),
            used_access_code=params.get("used_access_code", [None])[0],
        )
        moment = NOW - chance.randrange(SPAN)
        bind = cursor.binding(STORE, "customers", query.binding)
        params["cursor"] = [cursor.encode(KEY, bind, sort_key(moment, "cust_m"))]
    return params


def _searching(text: Callable[[random.Random, CustomerRow], str]) -> Callable[..., Params]:
    def ask(chance: random.Random, row: CustomerRow) -> Params:
        params = _filters(chance) if chance.random() < 0.4 else {"sort": ["newest"]}
        return {**params, "search": [text(chance, row)]}

    return ask


def _part(chance: random.Random, row: CustomerRow) -> str:
    """Three to eight characters out of a name or an address."""
    text = str(chance.choice([row.name, row.email]))
    words = [word for word in text.split() if len(word) >= 3] or ["renee"]
    word = chance.choice(words)
    at = chance.randrange(len(word) - 2)
    return word[at : at + chance.randrange(3, 9)]


def _name(_: random.Random, row: CustomerRow) -> str:
    return str(row.name)


def _word(chance: random.Random, row: CustomerRow) -> str:
    return chance.choice(str(row.name).split())


def _email(_: random.Random, row: CustomerRow) -> str:
    return str(row.email)


def _domain(_: random.Random, row: CustomerRow) -> str:
    return "@" + str(row.email).split("@")[1]


def _beginning(chance: random.Random, row: CustomerRow) -> str:
    return normalize(_word(chance, row))[: chance.randrange(1, 3)]


def _two_words(chance: random.Random, row: CustomerRow) -> str:
    words = str(row.name).split()
    return f"{words[-1]} {words[0][: chance.randrange(1, 4)]}"


def _id(chance: random.Random, row: CustomerRow) -> str:
    known = chance.choice([row.customer_id, str(row.grouptizer_id), row.accounts[0]])
    return known[: chance.choice([len(known), len(known), 10, 12])]


def _nobody(chance: random.Random, row: CustomerRow) -> str:
    return _word(chance, row)[:4] + "".join(chance.choice("abcdeklmnoprstuz") for _ in range(4))


KINDS: dict[str, Callable[[random.Random, CustomerRow], Params]] = {
    "everybody": lambda chance, _: _any_page(chance, filters=False),
    "filters": lambda chance, _: _any_page(chance, filters=True),
    "full name": _searching(_name),
    "one name": _searching(_word),
    "part of a word": _searching(_part),
    "e-mail": _searching(_email),
    "@domain": _searching(_domain),
    "two words": _searching(_two_words),
    "1-2 letters": _searching(_beginning),
    "id": _searching(_id),
    "nobody": _searching(_nobody),
}


# -- measuring -----------------------------------------------------------------------------------


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def measure(index: CustomerIndex, client: Metered, size: int, queries: int) -> dict[str, Any]:
    """Every kind of query against one store."""
    chance = random.Random(99)
    sample: list[CustomerRow] = []
    for number, row in enumerate(people(size)):
        # A fair sample of all customers (reservoir sampling), so that the skew is in the queries.
        if len(sample) < SAMPLE:
            sample.append(row)
        elif (place := chance.randrange(number + 1)) < SAMPLE:
            sample[place] = row
    results: dict[str, Any] = {}
    everything: list[int] = []
    for kind, ask in KINDS.items():
        evaluated, calls, units, times, short = [], [], [], [], 0
        for _ in range(queries):
            params = ask(chance, chance.choice(sample))
            calls_before, units_before = client.calls.total(), client.units
            started = time.perf_counter()
            body, page = list_customers(index, STORE, params, KEY)
            times.append((time.perf_counter() - started) * 1000)
            assert body
            evaluated.append(page.evaluated)
            calls.append(client.calls.total() - calls_before)
            units.append(client.units - units_before)
            short += page.position is not None and len(page.rows) < 25
        if kind not in ("everybody", "filters"):
            everything += evaluated
        results[kind] = {
            "evaluated": {name: percentile(evaluated, p) for name, p in PARTS.items()},
            "evaluated_max": max(evaluated),
            "calls": round(statistics.mean(calls), 2),
            "read_units": round(statistics.mean(units), 2),
            "ms": {name: round(percentile(times, p), 2) for name, p in PARTS.items()},
            "short_pages": round(short / queries, 4),
        }
        print(f"  {kind:15} {results[kind]}", flush=True)
    results["all searches"] = {
        "evaluated": {name: percentile(everything, p) for name, p in PARTS.items()},
        "evaluated_max": max(everything),
    }
    return results


PARTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def measure_writes(records: Table, index: Table, client: Metered) -> dict[str, Any]:
    """What customers cost the list when they come by events, one transaction each."""
    filed, customers = Records(records), Customers(records, index)
    rows, units, later = [], [], []
    seconds = 0.0
    for number, row in enumerate(people(300)):
        account = row.accounts[0]
        profile = {
            "id": account,
            "name": row.name,
            "email": row.email,
            "grouptizer_id": row.grouptizer_id,
            "created_at": row.customer_since,
        }
        bought = {
            "id": f"sub_{number}",
            "status": "active",
            "products": list(row.product_ids),
            "created_at": row.customer_since,
            "current_period_end": NOW,
            "livemode": "stripe_test" not in row.payment_providers,
        }
        at = row.customer_since
        seen = Observation("customer", profile, at, f"evt_{number}", rank=0)
        filed.observe(profile_key(STORE, account), seen, fetch=lambda: None)
        key = purchase_key(STORE, account, f"sub_{number}")
        filed.observe(key, Observation("subscription", bought, at, "evt_a"), fetch=lambda: None)
        before, started = client.units, time.perf_counter()
        customers.reindex(STORE, account)
        seconds += time.perf_counter() - started
        units.append(client.units - before)
        found = customers.of_account(STORE, account)
        assert found is not None
        rows.append(len(customers.keys(STORE, found.customer_id)))
        renewed = {**bought, "current_period_end": NOW + 30 * 86_400}
        writes = client.calls["transact_write_items"]
        filed.observe(
            key, Observation("subscription", renewed, at + 9, "evt_b"), fetch=lambda: None
        )
        customers.reindex(STORE, account)
        later.append(client.calls["transact_write_items"] - writes)
    return {
        "index_rows_per_new_customer": {n: percentile(rows, p) for n, p in PARTS.items()},
        "units_of_bringing_a_new_customer_into_the_list": round(statistics.mean(units), 1),
        "index_writes_of_a_later_event": max(later),
        "customers_per_second_by_events": round(300 / seconds, 1),
    }


class Made(NamedTuple):
    """A store in a file: its tables (records, index), what is in it, how long writing took."""

    path: Path
    tables: tuple[str, str]
    rows: int
    bytes: int
    seconds: float


def made_store(folder: Path, size: int) -> Made:
    """The store of ``size`` customers in ``folder``, made unless it is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    path, about = folder / "dynamodb.sqlite", folder / "about.json"
    if about.exists():
        return Made(path, *json.loads(about.read_text()))
    path.unlink(missing_ok=True)
    with running_dynoxide(path) as endpoint:
        records, index, *_ = create_tables(make_client(endpoint))
    started = time.perf_counter()
    rows, total = write_file(path, index, size)
    store = Made(path, (records, index), rows, total, time.perf_counter() - started)
    about.write_text(json.dumps(store[1:]))
    return store


def measure_in_turns(small: Made, large: Made, queries: int) -> dict[str, Any]:
    """Pages without a search in two stores, asked in turns: median milliseconds of each.

    The machine is as busy for the one as for the other, so their ratio tells more than the times
    of two runs.
    """
    with running_dynoxide(small.path) as one, running_dynoxide(large.path) as other:
        indexes = [
            CustomerIndex(Table(client, store.tables[1]), Records(Table(client, store.tables[0])))
            for client, store in ((make_client(one), small), (make_client(other), large))
        ]
        times: list[list[float]] = [[], []]
        chance = random.Random(7)
        for _ in range(queries):
            params = _any_page(chance, filters=False)
            for index, found in zip(indexes, times, strict=True):
                started = time.perf_counter()
                list_customers(index, STORE, params, KEY)
                found.append((time.perf_counter() - started) * 1000)
    small_ms, large_ms = map(statistics.median, times)
    return {"small": small_ms, "large": large_ms, "ratio": round(large_ms / small_ms, 2)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--queries", type=int, default=1500)
    parser.add_argument(
        "--dir", type=Path, default=None, help="where the stores are made and kept for another run"
    )
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    kept = OUT / "list.json"
    report: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"stores": {}}
    report["bound"] = MAX_EVALUATED
    report["machine"] = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    with running_dynoxide() as endpoint:
        client = Metered(make_client(endpoint))
        names = create_tables(client._client)
        report["writes"] = measure_writes(Table(client, names[0]), Table(client, names[1]), client)
        print(report["writes"], flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-list-") as passing:
        folder = options.dir or Path(passing)
        for size in options.sizes:
            store = made_store(folder / str(size), size)
            print(f"{size:,} customers: {store}", flush=True)
            with running_dynoxide(store.path) as endpoint:
                client = Metered(make_client(endpoint))
                records = Records(Table(client, store.tables[0]))
                index = CustomerIndex(Table(client, store.tables[1]), records)
                kinds = measure(index, client, size, options.queries)
            report["stores"][str(size)] = {
                "rows_per_customer": round(store.rows / size, 2),
                "bytes_per_customer": round(store.bytes / size),
                "rows_per_second_into_the_file": round(store.rows / store.seconds),
                "queries_per_kind": options.queries,
                "kinds": kinds,
            }
            kept.write_text(json.dumps(report, indent=1) + "\n")
        if len(options.sizes) > 1:
            ends = [min(options.sizes), max(options.sizes)]
            small, large = (made_store(folder / str(size), size) for size in ends)
            report["in_turns"] = {
                "sizes": ends,
                **measure_in_turns(small, large, options.queries),
            }
    kept.write_text(json.dumps(report, indent=1) + "\n")
    (OUT / "list.svg").write_text(picture(report))
    (OUT / "list.md").write_text(text(report))


if __name__ == "__main__":
    main()
