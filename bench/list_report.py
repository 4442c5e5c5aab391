"""The benchmark's tables, as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def text(report: dict[str, Any]) -> str:
    stores = {int(size): store for size, store in report["stores"].items()}
    sizes = sorted(stores)
    kinds = list(stores[sizes[0]]["kinds"])
    writes = report["writes"]
    rows = writes["index_rows_per_new_customer"]
    lines = [
        "# What a page of the customer list costs",
        "",
        f"Written by `make bench-list` ({report['machine']}). Pages of 25, strongly consistent, on"
        " dynoxide, which counts read and write units as DynamoDB does; times are of the whole use"
        " case in one process, on a machine that was busy with other work. The stores are made by"
        " [list_store.py](../../bench/list_store.py): what names, addresses and purchases there"
        " are, and how skewed, is said there.",
        "",
        "![Rows evaluated and milliseconds per page against the size of the store](list.svg)",
        "",
        "## Rows evaluated per page: p50 / p95 / p99 (most)",
        "",
        "`everybody`: no search and no filter, at any page. `filters`: no search, random products,"
        " provider and access code. All others search, 40 % of them with filters too."
        f" No page evaluates more than {report['bound']:,} rows.",
        "",
        *_by_kind(stores, kinds, _evaluated),
        "",
        "## Database calls and read units per page (mean), milliseconds (p50 / p95 / p99)",
        "",
        *_by_kind(stores, [kind for kind in kinds if kind != "all searches"], _cost),
    ]
    if "in_turns" in report:
        turns = report["in_turns"]
        small, large = (f"{size:,}" for size in turns["sizes"])
        lines += [
            "",
            f"Without a search, asked in turns: {turns['small']:.1f} ms at {small} and"
            f" {turns['large']:.1f} ms at {large} customers (medians), a ratio of"
            f" {turns['ratio']}.",
        ]
    lines += [
        "",
        "## Writing",
        "",
        f"- A new customer: {rows['p50']} rows of the index (p95 {rows['p95']}, p99 {rows['p99']}),"
        f" {writes['units_of_bringing_a_new_customer_into_the_list']} units in all (the"
        " transaction takes two for each row, item and profile; reading its records is in it).",
        "- A later event that changes neither name, e-mail nor facets:"
        f" {writes['index_writes_of_a_later_event']} writes to the index.",
        f"- {writes['customers_per_second_by_events']} customers a second, one after the other,"
        " from their records into the list.",
        "",
        _row(["Store", *(f"{size:,}" for size in sizes)]),
        _row(["---", *("---:" for _ in sizes)]),
        _row(["rows per customer", *(str(stores[s]["rows_per_customer"]) for s in sizes)]),
        _row(["bytes per customer", *(f"{stores[s]['bytes_per_customer']:,}" for s in sizes)]),
        _row(
            [
                "rows per second into the file",
                *(f"{stores[s]['rows_per_second_into_the_file']:,}" for s in sizes),
            ]
        ),
        _row(["queries of every kind", *(f"{stores[s]['queries_per_kind']:,}" for s in sizes)]),
        "",
    ]
    return "\n".join(lines)


def _by_kind(
    stores: dict[int, Any], kinds: list[str], cell: Callable[[dict[str, Any]], str]
) -> list[str]:
    """A table with a row per kind of query and a column per size of store."""
    sizes = sorted(stores)
    return [
        _row(["", *(f"{size:,}" for size in sizes)]),
        _row(["---", *("---:" for _ in sizes)]),
        *(_row([kind, *(cell(stores[size]["kinds"][kind]) for size in sizes)]) for kind in kinds),
    ]


def _evaluated(found: dict[str, Any]) -> str:
    parts = " / ".join(f"{value:,}" for value in found["evaluated"].values())
    return f"{parts} ({found['evaluated_max']:,})"


def _cost(found: dict[str, Any]) -> str:
    times = " / ".join(f"{value:.0f}" for value in found["ms"].values())
    return f"{found['calls']}, {found['read_units']}, {times} ms"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
