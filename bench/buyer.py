"""``python -m bench.buyer`` (``make bench-buyer``): what one big buyer costs.

Tells the webhook function of a buyer with more and more guest checkouts, purchases, failed payments
or transactions, on a database in memory, and counts the database's calls of a customer's page, of
one more event and of a cancel, and the length of the page's answer. Calls are exact: a second run
gives the same. Prints a table and writes docs/bench/buyer.md and docs/bench/buyer.svg.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from unittest.mock import patch

# Powertools reads these when it is imported.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "bench")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Customers")

from bench.buyer_picture import picture
from standins.telegram.server import TelegramStandin
from tests.dynamo import memory_database
from tests.functions.big_buyers import HABITS, Cost, cost, fill
from tests.functions.conftest import ENVIRONMENT, FakeSecretsManager
from tests.functions.shop import Shop, open_shop

OUT = Path(__file__).resolve().parent.parent / "docs" / "bench"
SIZES = {
    "guest checkouts": (1, 10, 50, 100, 200, 1000),
    "purchases": (1, 10, 100, 300, 1000),
    "failed payments": (1, 10, 100, 1000, 5000),
    "transactions": (1, 10, 100, 1000, 10_000),
}

Costs = dict[str, dict[int, Cost]]


@contextmanager
def shop() -> Iterator[Shop]:
    """A store of its own, without a server but Stripe's and Telegram's stand-ins."""
    tables = memory_database()
    names = {"RECORDS_TABLE": tables.records.name, "INDEX_TABLE": tables.index.name}
    with (
        patch.dict(os.environ, {**ENVIRONMENT, **names}),
        TelegramStandin(token="123:local") as telegram,
        open_shop(tables, FakeSecretsManager(), telegram) as opened,
    ):
        yield opened


def measure(habit: str, sizes: tuple[int, ...]) -> dict[int, Cost]:
    costs = {}
    with shop() as opened:
        told = 0
        for size in sizes:
            with redirect_stdout(io.StringIO()):  # the functions' metrics
                fill(opened, habit, told, size)
                costs[size] = cost(opened, habit, size)
            told = size + 1  # what is measured tells of one more
            print(f"{habit:>16} {size:>6} {costs[size]}", flush=True)
    return costs


def report(costs: Costs) -> str:
    lines = [
        "# One big buyer",
        "",
        "Calls of the database for a customer's page, for one more event of the buyer (a purchase"
        " that is new, with its charge) and for a cancel, by how much the buyer did before. Written"
        " by `make bench-buyer`; `tests/functions/test_big_buyers.py` holds the bounds.",
        "",
        "![calls against size](buyer.svg)",
        "",
        "| buyer with | page: calls | page: KB | event: calls | cancel: calls |",
        "|---|---|---|---|---|",
    ]
    for habit, by_size in costs.items():
        lines += [
            f"| {size:,} {habit} | {c.page} | {c.page_bytes / 1000:.0f} | {c.event} | {c.cancel} |"
            for size, c in by_size.items()
        ]
    return "\n".join([*lines, *TEXT]) + "\n"


TEXT = [
    "",
    "## The bounds",
    "",
    "- **Page**: one read of the customer's item, two queries for each Stripe customer that the"
    " person is (payment methods; transactions), and batch reads of at most 100 items: purchases,"
    " guests' transactions, what refunds gave back, products, chats. It does not depend on how many"
    " guest checkouts, purchases, attempts or transactions there are.",
    "- **Event**: what the event changed, the customer's item, and one transaction.",
    "- **Cancel**: as many calls as for any purchase, and one batch read for every 100 purchases"
    " that were ever linked to the same Telegram user: all of them may keep the person in it.",
    "- **Answer**: a page lists the newest 100 purchases, and fewer where these take more than"
    " 600 KB; the rest is read by its cursor. Of failed attempts the newest 50 are listed, of"
    " purchases the newest 3,000.",
    "",
    "The size of the customer's item grows with the purchases it lists, by about 80 bytes each; a"
    " write of it costs a write unit per KB.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes only; write nothing")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    costs = {
        habit: measure(habit, SIZES[habit][:2] if given.quick else SIZES[habit]) for habit in HABITS
    }
    text = report(costs)
    print(text)
    if not given.quick:
        (OUT / "buyer.md").write_text(text)
        (OUT / "buyer.svg").write_text(picture(costs))


if __name__ == "__main__":
    main()
