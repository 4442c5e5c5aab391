"""What ``stripe trigger`` makes, and ``stripe listen`` forwards: objects without our metadata.

Its fixtures (pkg/fixtures/triggers of https://github.com/stripe/stripe-cli) create customers with a
description only, products without chats, and payments without a customer; ``stripe listen``
forwards every type of event there is.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.stripe_events.events import HANDLERS
from standins.stripe import StripeStandin
from tests.functions.answers import answers
from tests.functions.webhook_world import World

Event = dict[str, Any]
START = 1_790_000_000
# Sent along with the others, and of no use here.
BESIDE = ("payment_intent.created", "invoice.created", "plan.created", "price.created")


def without_metadata(events: list[Event]) -> list[Event]:
    def cleared(value: dict[str, Any]) -> dict[str, Any]:
        return {name: {} if name == "metadata" else held for name, held in value.items()}

    told: list[Event] = json.loads(json.dumps(events), object_hook=cleared)
    return told


def forwarded(standin: StripeStandin) -> list[Event]:
    """All events, and those beside them that nobody asks for."""
    events = without_metadata(standin.events())
    others = [{**events[0], "id": f"evt_{kind}", "type": kind} for kind in BESIDE]
    return [*events, *others]


def told(events: list[Event]) -> World:
    """A world that was told them; each is applied, or of no use."""
    world = World(StripeStandin(now=START))
    for event in events:
        result = world.receive(event)
        assert result == ("applied" if event["type"] in HANDLERS else "ignored"), event["type"]
    return world


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_triggered_subscription_is_a_customer_who_opens_no_chat(cancelled: bool) -> None:
    standin = StripeStandin(now=START)
    test = standin.test
    customer = test.create_customer(name=None, email=None)["id"]
    product = test.create_product(name="myproduct")["id"]
    sold = test.subscribe(customer=customer, product=product, checkout=False)["id"]
    if cancelled:
        test.cancel_subscription(sold)
    (answer,) = answers(told(forwarded(standin)))
    assert answer["customer"]["name"] is None
    assert answer["customer"]["payment_providers"] == ["stripe_test"]
    (purchase,) = answer["purchases"]
    assert purchase["status"] == ("cancelled" if cancelled else "active")
    assert purchase["access"]["state"] == "not_linked"


def test_a_triggered_checkout_is_a_guests_purchase() -> None:
    standin = StripeStandin(now=START)
    product = standin.test.create_product(name="t-shirt")["id"]
    standin.test.guest_checkout(
        product=product, name="Jenny Rosen", email="stripe@example.com", product_in_metadata=False
    )
    world = World(standin)
    for event in without_metadata(standin.events(types=list(HANDLERS))):
        assert world.receive(event) == "applied", event["type"]
    (answer,) = answers(world)
    assert answer["customer"]["email"] == "stripe@example.com"
    (purchase,) = answer["purchases"]
    assert (purchase["status"], purchase["product"]["name"]) == ("active", "t-shirt")


@pytest.mark.parametrize("then", ["refund", "dispute"])
def test_a_triggered_payment_without_a_customer_is_nobodys_purchase(then: str) -> None:
    standin = StripeStandin(now=START)
    session = standin.test.guest_checkout(name=None, email=None)
    getattr(standin.test, then)(session["id"])
    events = [e for e in forwarded(standin) if not e["type"].startswith("checkout.session")]
    assert {"charge.succeeded", "payment_intent.succeeded"} <= {event["type"] for event in events}
    assert answers(told(events)) == []
