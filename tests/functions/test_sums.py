"""What is shown of everybody adds up to what was moved, whatever was moved and however it is told.

A history that doesn't is shrunk to the few movements that matter, and printed as a plan.
"""

from __future__ import annotations

import logging
import os
import pprint
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from standins.stripe import StripeStandin
from tests.functions.answers import answers
from tests.functions.movements import (
    Adjustment,
    By,
    CashRefund,
    Change,
    Credit,
    Dispute,
    Movement,
    Outcome,
    Payer,
    Payment,
    Plan,
    Refund,
    Sums,
    Told,
    Way,
    told,
)
from tests.functions.recorded import serving
from tests.functions.webhook_world import World

PARTS = 10
LONG = "FAULTS_LONG" in os.environ
HISTORIES = (50_000 if LONG else 1_000) // PARTS
# The same histories in every run, so that none fails by chance; the long run draws others.
FIRST = random.SystemRandom().randrange(10**9) if LONG else 0

VERSIONS = [
    "2020-08-27",
    "2022-11-15",
    "2024-12-18.acacia",
    "2025-03-31.basil",
    "2026-10-28.endive",
]
WAYS: list[Way] = ["intent", "session", "charge", "old charge", "invoice"]
BYS: list[By] = ["card", "hand", "bank"]
OUTCOMES: list[Outcome] = ["succeeded", "succeeded", "failed", "canceled", "pending"]
CHANGES: list[Change] = ["adjustment", "applied_to_invoice", "initial"]
CURRENCIES = ["eur", "usd", "jpy"]
PATHS = [
    ("warning_needs_response",),
    ("warning_needs_response", "warning_under_review"),
    ("warning_needs_response", "warning_closed"),
    ("warning_needs_response", "needs_response", "lost"),
    ("needs_response",),
    ("needs_response", "under_review"),
    ("needs_response", "under_review", "won"),
    ("needs_response", "won"),
    ("needs_response", "lost"),
    ("lost",),
    ("prevented",),
]


# -- what is moved ---------------------------------------------------------------------------------


def drawn(dice: random.Random) -> Plan:
    """A few payments, what became of each, and what else was moved."""
    movements: list[Movement] = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        payment = _payment(dice, len(movements))
        movements.append(payment)
        left = payment.collected or 0
        for _ in range(dice.choice([0, 1, 1, 2, 3])):
            if left:
                amount = dice.choice([left, dice.randint(1, left)])
                movements.append(_what_became(dice, len(movements), payment, amount))
                left -= amount
    for _ in range(dice.choice([0, 0, 1, 2])):
        movements.append(_beside(dice, len(movements)))
    versions = sorted(dice.choices(VERSIONS, k=2))
    return Plan(
        tuple(movements),
        (versions[0], versions[1]),
        upgraded_after=dice.randint(0, len(movements)),
        seconds=dice.choice([0, 1, 1, 40]),
        order=dice.randrange(1000),
    )


def _payment(dice: random.Random, number: int) -> Payment:
    """The first is the customer's and collected: else there might be no customer at all."""
    is_first = number == 0
    way = dice.choice(WAYS)
    payers: list[Payer] = ["customer"]
    if way != "invoice":
        payers.append("second account")
    if way != "invoice" and not is_first:
        payers.append("guest")
    if way == "session":
        payers += ["named late"]
    by: By = "card" if way == "invoice" else dice.choice(BYS)
    asked = dice.randint(2, 2000)
    part = dice.choice([asked, dice.randint(1, asked)])
    collected: list[int | None] = [part if by == "hand" else asked]
    if by != "card" and not is_first:
        collected += [0, None]
    currency, declined = dice.choice(CURRENCIES), dice.choice([0, 0, 1])
    payer = dice.choice(payers)
    return Payment(number, way, payer, currency, asked, dice.choice(collected), by, declined)


def _what_became(dice: random.Random, number: int, payment: Payment, amount: int) -> Movement:
    kinds = ["refund", "refund", "dispute", *(["credit"] * 3 if payment.way == "invoice" else [])]
    kind = dice.choice(kinds)
    if kind == "refund":
        outcome = dice.choice(OUTCOMES)
        return Refund(number, payment.number, amount, outcome, waits=dice.random() < 0.3)
    if kind == "dispute":
        fee = dice.choice([0, 1500])
        balance = dice.choice([payment.currency, "usd"])
        returned = dice.random() < 0.5
        path = dice.choice(PATHS)
        return Dispute(number, payment.number, amount, path, fee, balance, fee_returned=returned)
    parts = {"refunded": 0, "to_balance": 0, "outside": 0, "before": 0}
    if dice.random() < 0.3:
        cuts = sorted([dice.randint(0, amount), dice.randint(0, amount)])
        parts |= {
            "refunded": cuts[0],
            "to_balance": cuts[1] - cuts[0],
            "outside": amount - cuts[1],
        }
    else:
        parts[dice.choice(list(parts))] = amount
    return Credit(number, payment.number, **parts)


def _beside(dice: random.Random, number: int) -> Movement:
    currency, amount = dice.choice(CURRENCIES), dice.randint(1, 900)
    if dice.random() < 0.3:
        return CashRefund(number, currency, amount)
    kind = dice.choice(CHANGES)
    return Adjustment(number, currency, amount * dice.choice([1, -1]), kind)


# -- what is shown ---------------------------------------------------------------------------------

# The statuses of rows whose money has moved; a dispute's, once it is lost.
MOVED = {"charge": {"succeeded"}, "refund": {"succeeded"}, "dispute": {"lost", "fee"}}


Telling = Callable[[Told, StripeStandin], World]


def in_order(stripe: Told, standin: StripeStandin) -> World:
    return World(standin).receive_all(stripe.events)


def shuffled(stripe: Told, standin: StripeStandin) -> World:
    """In any order, and some twice."""
    dice = random.Random(stripe.plan.order)
    events = [*stripe.events, *dice.sample(stripe.events, 2)]
    dice.shuffle(events)
    return World(standin).receive_all(events)


def faults(plan: Plan, ways: Sequence[Telling]) -> list[str]:
    """Where what is shown is not what was moved."""
    stripe = told(plan)
    standin = serving((None, raw) for raw in stripe.objects.values())
    return [
        f"{way.__name__}: {fault}"
        for way in ways
        for fault in _faults(plan, answers(way(stripe, standin)))
    ]


def _faults(plan: Plan, shown: list[dict[str, Any]]) -> Iterator[str]:
    rows = [row for answer in shown for row in answer["transactions"]]
    ids = Counter(row["provider_id"] for row in rows)
    if twice := [id_ for id_, number in ids.items() if number > 1]:
        yield f"shown twice: {twice}"
    wanted = {who: money for who, money in plan.sums().items() if money}
    if (sums := _sums(shown)) != wanted:
        yield f"the rows add up to {sums}, not {wanted}"
    adjustments = [(r["currency"], r["amount"]) for r in rows if r["type"] == "adjustment"]
    adjustments = sorted(each for each in adjustments if each[1])
    if adjustments != plan.adjustments():
        yield f"the adjustments are {adjustments}, not {plan.adjustments()}"
    disputes = {int(r["provider_id"][3:]): r["amount"] for r in rows if _is_dispute(r)}
    if disputes != plan.disputed():
        yield f"the disputes are {disputes}, not {plan.disputed()}"
    charges = {int(r["provider_id"][3:]): r["refunded"] for r in rows if _is_payment(r)}
    if charges != plan.refunded():
        yield f"refunded are {charges}, not {plan.refunded()}"


def _sums(shown: list[dict[str, Any]]) -> dict[str, Sums]:
    sums = {}
    for answer in shown:
        money = Counter[str]()
        for row in answer["transactions"]:
            if row["status"] in MOVED.get(row["type"], ()):
                money[row["currency"]] += row["amount"]
        sums[answer["customer"]["email"]] = {c: amount for c, amount in money.items() if amount}
    return {who: money for who, money in sums.items() if money}


def _is_payment(row: dict[str, Any]) -> bool:
    return bool(row["type"] == "charge" and row["status"] == "succeeded")


def _is_dispute(row: dict[str, Any]) -> bool:
    return bool(row["type"] == "dispute" and row["status"] != "fee")


def shrunk(plan: Plan, ways: Sequence[Telling]) -> Plan:
    """The smallest plan that a plan with a fault leads to, a step at a time."""
    while True:
        smaller = [plan.without(movement) for movement in plan.movements]
        if plan.versions[0] != plan.versions[1]:
            smaller += [replace(plan, versions=(version,) * 2) for version in plan.versions]
        if plan.seconds != 1:
            smaller.append(replace(plan, seconds=1))
        # With fewer events the same dice give another order: some more are tried.
        orders = [plan.order, *range(30)]
        for less in (replace(each, order=order) for each in smaller for order in orders):
            if faults(less, ways):
                plan = less
                break
        else:
            return plan


def check(numbers: range, ways: Sequence[Telling]) -> None:
    for number in numbers:
        plan = drawn(random.Random(FIRST + number))
        if faults(plan, ways):
            least = shrunk(plan, ways)
            pytest.fail("\n".join([pprint.pformat(least), *faults(least, ways)]), pytrace=False)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A line per event would be most of the time."""
    caplog.set_level(logging.WARNING, logger="tests")


@pytest.mark.parametrize("part", range(PARTS))
def test_rows_add_up_to_what_was_moved(part: int) -> None:
    check(range(part * HISTORIES, (part + 1) * HISTORIES), [in_order, shuffled])


def test_the_histories_hold_everything_there_is() -> None:
    """Each kind of movement, and each way it may go, is drawn many times."""
    drawn_ = [drawn(random.Random(number)) for number in range(1_000)]
    seen = Counter[Any]()
    for movement in (movement for plan in drawn_ for movement in plan.movements):
        seen[type(movement)] += 1
        if isinstance(movement, Payment):
            part: Any = movement.collected if not movement.collected else "all"
            if movement.collected and movement.collected < movement.asked:
                part = "part"
            seen.update([movement.way, movement.payer, movement.currency, (movement.by, part)])
        elif isinstance(movement, Refund):
            seen[movement.outcome] += 1
        elif isinstance(movement, Dispute):
            seen[movement.path] += 1
        elif isinstance(movement, Credit):
            parts = {"refunded", "to_balance", "outside", "before"}
            seen.update([part for part in parts if getattr(movement, part)])
        elif isinstance(movement, Adjustment):
            seen[movement.kind] += 1
    assert len(seen) == 48
    assert min(seen.values()) >= 15, seen
