"""A month of a store with ten thousand purchases, while everything fails now and then.

``python -m tests.faults.soak`` runs it on virtual time and prints what came of it; ``--into`` also
puts the figures into a document, between its two ``soak`` marks. Half of the
one-time schedules are lost, so that one run tells how late people leave with a schedule and how
late without. Five of a hundred calls to Stripe, Telegram and Scheduler fail, five of a hundred
runs of a function meet a fault at the database or die there, and each service is down for an hour,
a day and four days.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import put_into, quantile
from shared.domain.purchase import When
from tests.faults import invariants
from tests.faults.boundaries import (
    DYNAMODB,
    SCHEDULER,
    STRIPE,
    TELEGRAM,
    Boundary,
    Faults,
    Mode,
    no_faults,
)
from tests.faults.stripe_engine import DAY
from tests.faults.world import START, World, on_virtual_time

HOUR = 3600
WEEK = 7 * DAY
MINUTE = 60
TICK = 20
# As deployed by default.
SWEEP_EVERY = 5 * MINUTE
PRODUCTS = 40
# Outages as parts of the whole time: when they begin; one after the other for each service.
OUTAGES = (HOUR, DAY, 4 * DAY)


@dataclass
class Plan:
    """How large a run is.

    Attributes:
        days: how long things are bought and cancelled; a week more lets everything come to rest.
        fault_rate: of a hundred calls to a service, and of a hundred runs at the database.
    """

    purchases: int = 10_000
    days: int = 30
    fault_rate: float = 5.0
    outages: tuple[int, ...] = OUTAGES
    seed: int = 1


@dataclass
class Report:
    """What came of a run. Delays are seconds from the end of a purchase to the removal."""

    purchases: int = 0
    removals: int = 0
    early: int = 0
    stuck: int = 0
    broken: list[str] = field(default_factory=list)
    faults: int = 0
    crashes: int = 0
    boundaries: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    delays: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def rows(self) -> list[tuple[str, int, float, float, float]]:
        """(group, people, p50, p99, max) of the delays."""
        found = []
        for group, delays in sorted(self.delays.items()):
            p50, p99 = quantile(delays, 0.5), quantile(delays, 0.99)
            found.append((group, len(delays), p50, p99, max(delays)))
        return found


class Soak:
    """One run."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.random = random.Random(plan.seed)
        self.todo: list[tuple[float, int, Callable[[], None]]] = []
        self.report = Report()
        self.outages: list[tuple[str, float, float]] = []
        world.scheduler.loses = _lost

    def run(self) -> Report:
        began = time.monotonic()
        self._open()
        self._plan_purchases()
        self._plan_outages()
        self.todo.sort(key=lambda item: item[:2])
        self.world.default_faults = self._faults()
        end = START + self.plan.days * DAY
        for tick in range(self.plan.days * DAY // TICK):
            self._tick(START + tick * TICK)
        self.world.default_faults = no_faults
        self.world.down.clear()
        for tick in range(9 * DAY // TICK):
            self._tick(end + tick * TICK)
        self._conclude()
        self.report.seconds = time.monotonic() - began
        return self.report

    # -- what is planned ---------------------------------------------------------------------

    def _open(self) -> None:
        world = self.world
        world.time.now = START - HOUR
        for number in range(PRODUCTS):
            # Neighbours share a chat: somebody who leaves one product may stay for the other.
            chats = [-1001000000000 - number, -1001000000000 - (number + 1) % PRODUCTS]
            for chat in chats:
                if chat not in world.telegram.chats:
                    world.telegram.add_chat(chat)
            product = f"prod_{number}"
            world.truth.products[product] = chats
            texts = [str(chat) for chat in chats]
            world.outside(partial(_add_product, product=product, texts=texts))
        world.deliver_due()

    def _plan_purchases(self) -> None:
        chance = self.random
        latest = self.plan.days * DAY - 2 * DAY
        for number in range(self.plan.purchases):
            at = START + chance.randrange(latest)
            self._later(at, partial(self._buy, number))

    def _plan_outages(self) -> None:
        """One outage after the other, each service in turn, with two hours to recover between."""
        at = START + 2 * DAY
        for seconds in self.plan.outages:
            for service in (STRIPE, TELEGRAM, SCHEDULER):
                self._later(at, partial(self._go_down, service, seconds))
                at += seconds + 2 * HOUR

    def _later(self, at: float, do: Callable[[], None]) -> None:
        self.todo.append((at, len(self.todo), do))

    def _soon(self, at: float, do: Callable[[], None]) -> None:
        """Into the plan of a run that is under way."""
        entry = (at, len(self.todo) + self.report.purchases, do)
        low, high = 0, len(self.todo)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.todo[middle][0] <= at else (low, middle)
        self.todo.insert(low, entry)

    def _faults(self) -> Faults:
        chance, rate = random.Random(self.plan.seed + 1), self.plan.fault_rate / 100
        # A run crosses the database about forty times.
        at_database = rate / 40

        def choose(_number: int, boundary: Boundary) -> Mode | None:
            odds = at_database if boundary.service == DYNAMODB else rate
            return chance.choice(boundary.modes()) if chance.random() < odds else None

        return choose

    # -- what happens ------------------------------------------------------------------------

    def _tick(self, at: int) -> None:
        world = self.world
        world.time.now = max(world.time.now, float(at))
        while self.todo and self.todo[0][0] <= world.time.now:
            self.todo.pop(0)[2]()
        world.outside(lambda s: s.run_due())
        world.deliver_due()
        for event in world.scheduler.fire_due(world.time.now):
            world.run(partial(world.fire, event=event))
        if at % SWEEP_EVERY == 0 and world.is_something_due():
            world.run(world.sweep)

    def _go_down(self, service: str, seconds: int) -> None:
        now = self.world.time.now
        self.world.down[service] = now + seconds
        self.outages.append((service, now, now + seconds))

    def _buy(self, number: int) -> None:
        chance, world = self.random, self.world
        person = chance.randrange(max(self.plan.purchases * 6 // 10, 1))
        account, user = f"cus_{person}", str(10_000_000 + person)
        if ("customer", account) not in world.stripe.objects:
            world.outside(lambda s: s.add_customer(account))
        kind = chance.choices(["subscription", "access_code", "one_off"], weights=[45, 35, 20])[0]
        world.time.sleep(chance.uniform(0, TICK))
        now = int(world.time.now)
        expires_at = now + chance.randint(1, 10) * DAY if kind == "access_code" else None
        product = f"prod_{chance.randrange(PRODUCTS)}"
        name = world.buy(
            kind, str(number), account, product, user, period=WEEK, expires_at=expires_at
        )
        self.report.purchases += 1
        self._plan_end(name, kind)

    def _plan_end(self, name: str, kind: str) -> None:
        chance, world = self.random, self.world
        at = world.time.now + chance.uniform(0.2, 6) * DAY
        draw = chance.random()
        if kind == "subscription" and draw < 0.40:
            self._soon(at, partial(self._cancel, name, "period_end"))
        elif kind == "subscription" and draw < 0.60:
            self._soon(at, partial(self._portal, name, chance.random() < 0.2))
        elif draw < (0.75 if kind == "subscription" else 0.3 if kind == "one_off" else 0.05):
            self._soon(at, partial(self._cancel, name, "immediately"))

    def _cancel(self, name: str, when: When) -> None:
        """The owner cancels; who gets no answer asks again two minutes later."""
        world = self.world
        if not world.is_live(name):
            return
        result = world.run(lambda process: world.cancel(process, name, when))
        code = getattr(result, "code", type(result).__name__)
        if not isinstance(result, BaseException):
            code = "202" if result.outstanding else "200"
        self.report.answers[code] += 1
        if code not in ("200", "202", "purchase_already_ended"):
            self._soon(world.time.now + 2 * MINUTE, partial(self._cancel, name, when))

    def _portal(self, name: str, taken_back: bool) -> None:
        world = self.world
        world.outside(lambda s: s.portal_cancel(name))
        if taken_back:
            at = world.time.now + self.random.uniform(0.01, 1) * DAY
            self._soon(at, lambda: world.outside(lambda s: s.portal_uncancel(name)))

    # -- what came of it ---------------------------------------------------------------------

    def _conclude(self) -> None:
        world, report = self.world, self.report
        report.broken = invariants.check(world)
        report.early = sum("removed from" in text for text in report.broken)
        report.stuck = sum("stuck" in text or "still due" in text for text in report.broken)
        report.removals, report.faults = world.truth.removals, world.faults
        report.crashes, report.boundaries = world.crashes, world.crossed
        for record in invariants.records(world):
            if record.key.kind == "PURCHASE":
                self._measure(record)

    def _measure(self, record: Any) -> None:
        """How late people left whose time had run out."""
        purchase = record.purchase
        end = purchase.own.end
        ended_at = purchase.ended_at if end is None else end.at
        intent = purchase.own.intent
        at_once = intent is not None and intent.mode == "immediately"
        if not purchase.is_over or ended_at is None or at_once:
            return
        if ended_at > START + self.plan.days * DAY:
            return
        for removal in purchase.own.removals.values():
            if removal.state != "revoked" or removal.finished_at is None:
                continue
            in_outage = any(
                begin <= removal.finished_at and ended_at <= end for _, begin, end in self.outages
            )
            schedule = "schedule lost" if _lost(_name_of(record)) else "with its schedule"
            group = f"{schedule}, {'an outage meanwhile' if in_outage else 'no outage'}"
            delay = float(removal.finished_at - ended_at)
            self.report.delays.setdefault(group, []).append(delay)


def _add_product(stripe: Any, *, product: str, texts: list[str]) -> None:
    stripe.add_product(product, texts)


def _lost(name: str) -> bool:
    """Half of the schedules, by a digit of their names."""
    return name[-1] in "01234567"


def _name_of(record: Any) -> str:
    from shared.storage.schedules import name_of  # noqa: PLC0415

    return name_of(record.key)


def run(plan: Plan) -> Report:
    """One run on virtual time."""
    with on_virtual_time() as clock:
        return Soak(plan, World(clock)).run()


def table(report: Report) -> str:
    """The report, as Markdown."""
    lines = [
        f"{report.purchases} purchases, {report.removals} removals, {report.boundaries} calls,"
        f" {report.faults} faults, {report.crashes} crashes; answers to owners:"
        f" {dict(report.answers.most_common())}",
        "",
        f"Early revocations: {report.early}. Stuck after coming to rest: {report.stuck}."
        f" Other broken invariants: {len(report.broken) - report.early - report.stuck}.",
        "",
        "| from the end to the removal | people × chats | p50 s | p99 s | max s |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {group} | {n} | {p50:.0f} | {p99:.0f} | {longest:.0f} |"
        for group, n, p50, p99, longest in report.rows()
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--purchases", type=int, default=Plan.purchases)
    parser.add_argument("--days", type=int, default=Plan.days)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    report = run(Plan(purchases=given.purchases, days=given.days, seed=given.seed))
    print(table(report))
    print(f"\nIt took {report.seconds:.0f} s.")
    if given.into is not None:
        put_into(given.into, "soak", table(report))
    for broken in report.broken[:20]:
        print(broken)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
