"""A Stripe customer without a name is shown by what the buyer wrote at the checkout."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from standins.stripe import StripeStandin
from tests.functions.stories import AT, Story
from tests.functions.webhook_world import STORE, World

PAID = {"payment_status": "paid"}


def who(name: str | None = None, email: str | None = None) -> dict[str, Any]:
    return {"name": name, "email": email}


def customer(story: Story, type_: str = "created", **more: Any) -> Story:
    about = {"id": "cus_1", "object": "customer", **who(), **more}
    return story.tell(f"customer.{type_}", **about)


STORIES = {
    "no name at Stripe": (
        customer(Story()).session(**PAID, customer_details=who("Ann Lee", "ann@shop.example")),
        ("Ann Lee", "ann@shop.example"),
    ),
    "a name at Stripe counts": (
        customer(Story(), name="A. Lee").session(
            **PAID, customer_details=who("Ann Lee", "ann@shop.example")
        ),
        ("A. Lee", "ann@shop.example"),
    ),
    "an empty name at Stripe is none": (
        customer(Story(), name="", email="").session(
            **PAID, customer_details=who("Ann Lee", "ann@shop.example")
        ),
        ("Ann Lee", "ann@shop.example"),
    ),
    "the newest checkout counts": (
        customer(Story())
        .session(**PAID, customer_details=who("Ann Lee"))
        .session(
            **PAID,
            id="cs_2",
            payment_intent="pi_2",
            customer_details=who("Ann Lea"),
            created=AT + 60,
        ),
        ("Ann Lea", None),
    ),
    "the name that Stripe's customer gets later counts": (
        customer(Story())
        .session(**PAID, customer_details=who("Ann Lee"))
        .tell("customer.updated", id="cus_1", object="customer", **who("Anna Lee")),
        ("Anna Lee", None),
    ),
    "a checkout that was told no name": (
        customer(Story()).session(**PAID, customer_details=None),
        (None, None),
    ),
}


@pytest.mark.parametrize(("story", "expected"), STORIES.values(), ids=STORIES)
def test_the_name_of_the_checkout_is_shown_where_stripe_has_none_in_any_order(
    story: Story, expected: tuple[str | None, str | None]
) -> None:
    for events in itertools.permutations(story.events):
        world = World(StripeStandin()).receive_all(events)
        entry = world.customers.of_account(STORE, "cus_1")
        assert entry is not None
        assert (entry.row["name"], entry.row["email"]) == expected


def test_the_name_of_a_subscriptions_checkout_is_shown() -> None:
    standin = StripeStandin()
    buyer = standin.live.create_customer(name=None, email=None)["id"]
    sold = standin.live.subscribe(customer=buyer)
    events = standin.events()
    session = next(
        event["data"]["object"] for event in events if event["type"] == "checkout.session.completed"
    )
    assert session["subscription"] == sold["id"]
    session["customer_details"] = who("Ann Lee")
    world = World(standin)
    for event in events:
        world.receive(event)
    entry = world.customers.of_account(STORE, buyer)
    assert entry is not None
    assert entry.row["name"] == "Ann Lee"
