"""Every history there is, told by its events and read from Stripe's lists: the same answers."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.customers_cli.stripe_past import backfill
from tests.functions.answers import answers, differences
from tests.functions.recorded import histories
from tests.functions.webhook_world import World

HISTORIES = histories()

Raw = dict[str, Any]

# -- what objects don't tell -----------------------------------------------------------------------
# An object says how it is now. So these are left out of the comparison, and nothing else:

# What changed in between: an object doesn't say who was linked, which plan it was, or whether an
# end was set and taken back.
ONLY_EVENTS_TELL = frozenset(
    {
        "linked",
        "relinked",
        "unlinked",
        "switched",
        "cancel_requested",
        "cancel_rescheduled",
        "cancel_withdrawn",
    }
)
# Why somebody leaves a chat after such a change, and when that is looked at: counted from when we
# heard of it.
WHEN_WE_HEARD = frozenset({"next_attempt_at"})
# Of a deleted customer and a deleted product Stripe has nothing but the id.
DELETED = frozenset({"customer.deleted", "product.deleted"})


def comparable(shown: list[Raw], told: list[Raw], events: list[Raw]) -> list[Raw]:
    """Answers without what only events tell.

    Args:
        told: the answers from the events, which say what each purchase was before.
    """
    gone = {event["data"]["object"]["id"] for event in events if event["type"] in DELETED}
    objects = [event["data"]["object"] for event in events]
    of_gone = {raw["id"] for raw in objects if raw.get("customer") in gone}
    changed = {
        purchase["purchase_id"]
        for answer in told
        for purchase in answer["purchases"]
        if any(entry["event"] in ("relinked", "switched") for entry in purchase["history"])
    }
    answers_now = [
        {**answer, "purchases": [_now(p, changed) for p in answer["purchases"]]} for answer in shown
    ]
    return [_without_names(answer, gone, of_gone) for answer in answers_now]


def _without_names(answer: Raw, gone: set[str], of_gone: set[str]) -> Raw:
    """An answer without the names of a deleted customer, and of deleted products.

    Args:
        gone: the ids of both.
        of_gone: the objects of deleted customers, by which their answers are known.
    """
    if any(row["provider_id"] in of_gone for row in answer["transactions"]):
        dated = {name: answer["customer"][name] for name in ("payment_providers", "customer_since")}
        answer = {**answer, "customer": dated}
    purchases, nameless = [], set()
    for purchase in answer["purchases"]:
        if purchase["product"] is not None and purchase["product"]["product_id"] in gone:
            nameless.add(purchase["purchase_id"])
            sold = [{**product, "name": None} for product in purchase["products"]]
            purchase = {**purchase, "product": sold[0], "products": sold}  # noqa: PLW2901
        purchases.append(purchase)
    rows = [
        {**row, "product": None} if row["purchase_id"] in nameless else row
        for row in answer["transactions"]
    ]
    return {**answer, "purchases": purchases, "transactions": rows}


def _now(purchase: Raw, changed: set[str]) -> Raw:
    """A purchase as it is now: of one that was another before, without who leaves for that."""
    history = [entry for entry in purchase["history"] if entry["event"] not in ONLY_EVENTS_TELL]
    access = dict(purchase["access"])
    if purchase["purchase_id"] in changed:
        del access["state"], access["chats"]
    else:
        access["chats"] = [
            {name: value for name, value in chat.items() if name not in WHEN_WE_HEARD}
            for chat in access["chats"]
        ]
    return {**purchase, "history": history, "access": access}


@pytest.mark.parametrize("name", HISTORIES)
def test_lists_are_told_as_events_are(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="tests")
    history = HISTORIES[name]()
    hooked, filled = World(history.standin), World(history.standin)
    for event in history.events:
        hooked.receive(event)
    progress = backfill(filled)
    assert progress.left_out == {}
    told, read = answers(hooked), answers(filled)
    assert differences(read, history.expect) == []
    now, then = (comparable(shown, told, history.events) for shown in (read, told))
    assert now == then
