"""Fifty threads cancel one purchase at the same time, on a real database and in real time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

from functions.cancel_purchase.cancel import Canceller
from shared.compose import BUDGETS, Composition, Leaves
from shared.domain import steps
from shared.domain.errors import CustomersError, OperationInProgress
from shared.domain.purchase import When
from shared.domain.steps import Who
from shared.settings import Settings
from shared.storage.dynamo import unmarshal
from shared.storage.keys import purchase_key
from shared.storage.records import Records
from tests.dynamo import Tables, write_all
from tests.faults.boundaries import Process, StripeHttp, TelegramSession, WrappedScheduler
from tests.faults.operations import begin
from tests.faults.stripe_engine import DAY
from tests.faults.world import INDEX, RECORDS, STORE, VARIABLES, Secrets, World, customer_of
from tests.telling import Tell

THREADS = 50
SECONDS = 60


class _RealTime:
    """What the world's boundaries take as time; they are not to wait here."""

    @property
    def now(self) -> float:
        return time.time()

    def sleep(self, _seconds: float) -> None:
        return None


@pytest.fixture
def tables(dynoxide_tables: Tables) -> Tables:
    """A database that fifty connections ask at the same time."""
    return dynoxide_tables


def _fill(tables: Tables, world: World) -> None:
    for source, table in ((RECORDS, tables.records), (INDEX, tables.index)):
        items = [unmarshal(item) for item in world.dynamo.dump(source)]
        write_all(table, puts=items)


def _canceller(tables: Tables, world: World, process: Process) -> Canceller:
    clients: dict[str, Any] = {
        "dynamodb": tables.client,
        "scheduler": WrappedScheduler(process),
        "secretsmanager": Secrets(),
    }
    names = {"RECORDS_TABLE": tables.records.name, "INDEX_TABLE": tables.index.name}
    parts = Composition(
        BUDGETS["cancel_purchase"],
        Settings({**VARIABLES, **names}),
        Leaves(
            aws=clients.__getitem__,
            stripe_http=lambda: StripeHttp(process),
            telegram_session=lambda: TelegramSession(process),
            count=lambda _: None,
        ),
    )
    return Canceller(parts.driver)


@pytest.mark.parametrize("when", ["immediately", "period_end"])
def test_fifty_threads_cancel_one_purchase_once(tables: Tables, when: When, tell: Tell) -> None:
    with begin("active") as built:
        world = built
    world.time = _RealTime()  # type: ignore[assignment]
    item = world.stripe.objects["subscription", "sub_x"]["items"]["data"][0]
    item["current_period_end"] = int(time.time()) + DAY
    _fill(tables, world)
    answers: Counter[str] = Counter()
    changed: list[bool] = []
    start = threading.Barrier(THREADS)

    def cancel() -> None:
        canceller = _canceller(tables, world, world.process())
        start.wait()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                done = canceller.cancel(
                    STORE,
                    customer_of("cus_1"),
                    "sub_x",
                    when=when,
                    who=Who("owner"),
                    reason=None,
                    without_stripe=False,
                    deadline=time.monotonic() + 8.5,
                )
            except OperationInProgress:
                answers["409"] += 1
                continue
            except CustomersError as error:
                answers[error.code] += 1
                return
            answers["200" if not done.outstanding else "202"] += 1
            changed.append(done.changed)
            return

    threads = [threading.Thread(target=cancel) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    key = purchase_key(STORE, "cus_1", "sub_x")
    driver = _canceller(tables, world, world.process()).driver
    record = Records(tables.records).get(key)
    while record is not None and steps.outstanding(record.purchase):
        # An answer comes within ten seconds, done or not; the revoker goes on with it.
        driver.drive(key, deadline=time.monotonic() + 60)
        record = Records(tables.records).get(key)
    assert record is not None
    own = record.purchase.own
    tell(f"{THREADS} threads, {when}: {dict(answers)}, {changed.count(True)} changed it")
    assert changed.count(True) == 1
    assert len(changed) == THREADS
    assert own.intent is not None
    assert (own.intent.generation, own.intent.phase) == (1, "done")
    effects = ["access_revoked", "access_revoked"] if when == "immediately" else []
    assert [entry.event for entry in own.audit] == [
        "cancel_requested",
        "cancel_confirmed",
        *effects,
    ]
    ours: list[Any] = [change.what for change in world.stripe.changes if change.by == "api"]
    assert ours == ["ended" if when == "immediately" else "scheduled"]
    assert world.truth.removals == (2 if when == "immediately" else 0)
    assert world.truth.violations == []
