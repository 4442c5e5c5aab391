"""A Stripe account with a past, and what its webhooks made of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from customers_cli.backfill import Backfill, Progress
from shared.integrations.stripe_gateway import Mode
from shared.stripe_events.events import HANDLERS
from standins.stripe import StripeStandin
from tests.functions.webhook_world import STORE, World

BOTH = (Mode(True), Mode(False))
DAY = 86_400


def webhooks(standin: StripeStandin, world: World | None = None) -> World:
    """What the webhooks of all that has happened make, in its order."""
    world = world or World(standin)
    for account in list(standin.accounts.values()):
        for event in standin.events(account=account):
            if event["type"] in HANDLERS:
                assert world.receive(event) == "applied", event["type"]
    return world


def backfill(world: World, workers: int = 1, **more: Any) -> Progress:
    """Everything Stripe has, into this world."""
    return Backfill(STORE, world.services, BOTH, workers=workers, **more).run()


def without_the_past(state: Mapping[str, Any]) -> dict[str, Any]:
    """What is known, without what Stripe's lists can't tell: what once was another; who was linked
    to a purchase before, and has to leave for that; what a charge said was given back so far before
    it said more; and payment methods that were taken off, by their owner or with their owner."""
    told = {}
    gone = [
        item["pk"]
        for key, item in state.items()
        if key.endswith(" PROFILE") and json.loads(item.get("s_customer", "{}")).get("deleted")
    ]
    for key, item in state.items():
        if " METHOD#" in key:
            taken_off = json.loads(item["s_method"])["deleted"]
            if taken_off or item["pk"] in gone:
                continue
        told[key] = {
            name: value
            for name, value in item.items()
            if name != "seen" and not name.startswith(("s_total_", "t_", "due_", "attention"))
        }
    return told


def some_days_ago(days: float) -> int:
    return int(time.time() - days * DAY)
