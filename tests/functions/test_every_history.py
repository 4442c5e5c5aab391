"""Every history there is, in every order: the same rows of money, and the same facts of purchases.

All orders of up to five events, and 25 of more, each with some of the events twice.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest

from shared.stripe_events.events import HANDLERS
from tests.functions.answers import answers, differences
from tests.functions.recorded import Raw, histories
from tests.functions.webhook_world import World

HISTORIES = histories()
ALL_ORDERS_UP_TO, SHUFFLES = 5, 25


def orders(events: list[Raw], name: str) -> Iterator[list[Raw]]:
    if len(events) <= ALL_ORDERS_UP_TO:
        yield from map(list, itertools.permutations(events))
    dice = random.Random(name)
    for _ in range(1 if len(events) <= ALL_ORDERS_UP_TO else SHUFFLES):
        order = [*events, *dice.sample(events, min(len(events), 2 + len(events) // 10))]
        dice.shuffle(order)
        yield order


def money(shown: list[dict[str, Any]]) -> dict[str, Any]:
    """Every customer's rows."""
    return {answer["customer"]["customer_id"]: answer["transactions"] for answer in shown}


def facts(shown: list[dict[str, Any]]) -> dict[str, Any]:
    """What is told to have happened to each purchase."""
    return {p["purchase_id"]: p["history"] for answer in shown for p in answer["purchases"]}


@pytest.mark.parametrize("name", HISTORIES)
def test_any_order_tells_the_same_money_and_facts(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="tests")
    history = HISTORIES[name]()
    events = [event for event in history.events if event["type"] in HANDLERS]
    told = World(history.standin)
    outcomes = [told.receive(event) for event in events]
    in_order = answers(told)
    assert differences(in_order, history.expect) == []
    for order in orders(events, name):
        world = World(history.standin)
        for event in order:
            assert world.receive(event) in outcomes, event["type"]
        shown = answers(world)
        ids = [event["id"] for event in order]
        assert differences(shown, history.expect) == [], ids
        assert money(shown) == money(in_order), ids
        if not history.has_gaps:
            assert facts(shown) == facts(in_order), ids
