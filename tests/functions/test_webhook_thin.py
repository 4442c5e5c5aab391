"""Thin events: the same records as by snapshots, in any mixture of both and in any order."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.list_customers.list import list_products
from local import seed
from shared.domain.errors import InvalidEvent, TryAgainLater
from shared.stripe_events.events import HANDLERS
from shared.stripe_events.thin import SEMANTIC
from standins.stripe import StandinServer, StripeStandin
from standins.stripe import thin as told_thin
from standins.stripe.history import history
from tests.functions.answers import answers, listed
from tests.functions.test_every_history import facts
from tests.functions.test_webhook_convergence import (
    HISTORIES,
    START,
    Event,
    endings,
    guest_who_became_a_customer,
    handled,
)
from tests.functions.webhook_world import STORE, InProcessStripe, World
from tests.strange import LONG

WAYS = ("snapshot", "thin", "both")


def thin(standin: StripeStandin, event: Event, **changes: Any) -> Event:
    """The thin event of the same change."""
    stored = standin.event_log.find(event["id"])
    assert stored is not None
    return {**standin.event_log.render_thin(stored), **changes}


def told(standin: StripeStandin, event: Event, dice: random.Random) -> list[Event]:
    """An event as a snapshot, thin, or in both ways."""
    way = dice.choice(WAYS) if told_thin.exists(event["type"]) else "snapshot"
    both = [event, thin(standin, event)]
    dice.shuffle(both)
    return {"snapshot": [event], "thin": [thin(standin, event)], "both": both}[way]


SCENARIOS = [build for build in HISTORIES if build is not guest_who_became_a_customer]


@pytest.mark.parametrize("seed", range(3 if LONG else 1))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda build: build.__name__)
def test_six_events_told_in_any_way_and_order_end_in_the_same_records(
    scenario: Callable[..., list[Event]], seed: int
) -> None:
    standin = StripeStandin(now=START)
    events = scenario(standin.live)
    expected = World(standin).receive_all(events)
    dice = random.Random(f"{scenario.__name__} {seed}")
    found = endings(World(standin), [told(standin, event, dice) for event in events])
    for each in found:
        types = [events[number]["type"] for number in each.order]
        assert each.world.state() == expected.state(), types
        assert facts(answers(each.world)) == facts(answers(expected)), types
        assert each.world.marked() == []
    assert sum(each.orders for each in found) == 720


Forty = tuple[StripeStandin, list[Event], World]


def test_a_store_told_by_thin_events_alone_has_the_same_records(forty: Forty) -> None:
    standin, events, expected = forty
    world = World(standin)
    for event in events:
        assert world.receive(thin(standin, event)) == "applied", event["type"]
    assert world.state() == expected.state()
    assert facts(answers(world)) == facts(answers(expected))


@pytest.fixture(scope="module")
def forty() -> Forty:
    standin = StripeStandin(now=START)
    history(standin.live, events=52)
    events = handled(standin)
    return standin, events, World(standin).receive_all(events)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_shuffle_of_forty_events_in_any_mixture_ends_in_the_same_records(
    forty: Forty, data: st.DataObject
) -> None:
    standin, events, expected = forty
    duplicates = data.draw(st.lists(st.sampled_from(events), max_size=10))
    order = data.draw(st.permutations([*events, *duplicates]))
    dice = random.Random(data.draw(st.integers(0, 1000)))
    world = World(standin)
    for event in order:
        world.receive_all(told(standin, event, dice))
    assert world.state() == expected.state()
    assert facts(answers(world)) == facts(answers(expected))
    assert world.marked() == []


# -- what is asked for -----------------------------------------------------------------------------


class DatedStripe(InProcessStripe):
    """Tells the time in its answers, as Stripe does."""

    def request(self, *args: Any, **more: Any) -> Any:
        body, status, headers = super().request(*args, **more)
        return body, status, {**headers, "Date": formatdate(self.standin.clock.now(), usegmt=True)}


def renamed(standin: StripeStandin, times: int) -> list[Event]:
    """A customer whose name changes, each change in a second of its own; thin."""
    customer = standin.live.create_customer(name="Renée")["id"]
    for number in range(times):
        standin.advance(1)
        standin.live.update_customer(customer, name=f"Renée {number}")
    return [thin(standin, event) for event in handled(standin, "customer.updated")]


def test_a_burst_of_events_of_one_object_needs_one_fetch() -> None:
    standin = StripeStandin(now=START)
    events = renamed(standin, 10)
    standin.advance(2)
    world = World(standin, stripe=DatedStripe(standin), clock=standin.clock.now)
    for event in events:
        assert world.receive(event) == "applied"
    fetched = [path for _, path in world.stripe.asked if path.startswith("/v1/customers/cus_")]
    assert [path for path in fetched if not path.endswith("/balance_transactions")] == fetched[:1]
    (profile,) = world.sources("PROFILE").values()
    assert profile["customer"]["name"] == "Renée 9"


def test_an_event_that_was_made_after_the_fetch_is_fetched_again() -> None:
    standin = StripeStandin(now=START)
    world = World(standin, stripe=DatedStripe(standin), clock=standin.clock.now)
    customer = standin.live.create_customer(name="Renée")["id"]
    for name in ("A", "B", "C"):
        # In the same second: only Stripe's clock could tell what came first, and doesn't.
        standin.live.update_customer(customer, name=name)
        event = handled(standin, "customer.updated")[-1]
        assert world.receive(thin(standin, event)) == "applied"
        (profile,) = world.sources("PROFILE").values()
        assert profile["customer"]["name"] == name


def linked_three_times(standin: StripeStandin) -> list[Event]:
    """A subscription whose buyer is 51, then 52, then 53."""
    product = standin.live.create_product(name="Signals", telegram_chat_ids=[-1001])["id"]
    bought = standin.live.subscribe(product=product, telegram_user_id=51, checkout=False)["id"]
    for user in (52, 53):
        standin.advance(60)
        standin.live.link_telegram(bought, user)
    return handled(standin)


class Forgetful(InProcessStripe):
    """Has no snapshot of any event, or no event at all."""

    forgotten: tuple[str, ...] = ("/v1/events/",)

    def answer(self, method: str, path: str, *args: Any) -> tuple[int, str]:
        if path.startswith(self.forgotten):
            return 404, json.dumps({"error": {"code": "resource_missing", "message": "No such"}})
        return super().answer(method, path, *args)


class MoreForgetful(Forgetful):
    forgotten = ("/v1/events/", "/v2/core/events/")


@pytest.mark.parametrize("kind", [InProcessStripe, Forgetful])
def test_nobody_who_was_linked_in_between_is_lost(kind: type[InProcessStripe]) -> None:
    standin = StripeStandin(now=START)
    events = linked_three_times(standin)
    for order in (events, events[::-1]):
        world = World(standin, stripe=kind(standin))
        for event in order:
            assert world.receive(thin(standin, event)) == "applied"
        (purchase,) = (p for answer in answers(world) for p in answer["purchases"])
        details = [e["detail"] for e in purchase["history"] if e["event"] == "relinked"]
        assert [
            f"Telegram account {user} was replaced" in detail
            for user, detail in zip((52, 51), details, strict=True)
        ] == [True, True]


def test_what_stripe_has_no_event_of_any_more_is_stored_as_it_is_now() -> None:
    standin = StripeStandin(now=START)
    events = linked_three_times(standin)
    world = World(standin, stripe=MoreForgetful(standin))
    for event in events:
        assert world.receive(thin(standin, event)) == "applied"
    (purchase,) = (p for answer in answers(world) for p in answer["purchases"])
    assert purchase["access"]["telegram_user_id"] == "53"


@pytest.mark.parametrize("kind", [InProcessStripe, MoreForgetful])
def test_what_is_deleted_is_stored_as_deleted(kind: type[InProcessStripe]) -> None:
    standin = StripeStandin(now=START)
    live = standin.live
    product = live.create_product(name="Signals", telegram_chat_ids=[-1001])["id"]
    customer = live.create_customer(name="Renée", email="renee@example.com")["id"]
    live.subscribe(product=product, customer=customer, telegram_user_id=51, checkout=False)
    before = handled(standin)
    live.delete_customer(customer)
    live.delete_product(product)
    world = World(standin, stripe=kind(standin)).receive_all(before)
    for event in handled(standin)[len(before) :]:
        assert world.receive(thin(standin, event)) == "applied", event["type"]
    (profile,) = (one["customer"] for one in world.sources("PROFILE").values())
    assert (profile["deleted"], profile["name"]) == (True, "Renée")
    (stored,) = (one["product"] for one in world.sources("PRODUCT#").values())
    assert (stored["deleted"], stored["name"], stored["chats"]) == (True, "Signals", ["-1001"])


def test_the_types_that_only_thin_events_have_are_handled_as_what_they_are_of() -> None:
    assert set(SEMANTIC.values()) <= set(HANDLERS)
    assert set(SEMANTIC).isdisjoint(HANDLERS)
    standin = StripeStandin(now=START)
    linked_three_times(standin)
    event = thin(standin, handled(standin, "customer.subscription.updated")[-1])
    for name in (name for name in SEMANTIC if name.startswith("customer.subscription.")):
        world = World(standin, stripe=MoreForgetful(standin))
        assert world.receive({**event, "type": f"v1.{name}"}) == "applied"
        (purchase,) = world.sources("PURCHASE#").values()
        assert purchase["subscription"]["telegram_user_id"] == "53"


# -- what can't be applied -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "type_",
    [
        "v1.billing.meter.no_meter_found",
        "v1.customer.subscription.of_a_kind_that_stripe_adds_later",
        "v2.core.event_destination.ping",
        "customer.updated",
        "",
    ],
)
def test_a_type_that_nobody_asked_for_is_ignored(type_: str) -> None:
    standin = StripeStandin(now=START)
    (event,) = renamed(standin, 1)
    world = World(standin)
    assert world.receive({**event, "type": type_}) == "ignored"
    assert (world.state(), world.stripe.asked) == ({}, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"type": 5},
        {"created": START},
        {"created": "yesterday"},
        {"created": "9" * 50},
        {"livemode": "true"},
        {"related_object": None},
        {"related_object": {"id": 5, "type": "customer"}},
        {"related_object": {"id": "cus_1", "type": None}},
        {"related_object": {"id": "../../v1/charges", "type": "customer"}},
        {"related_object": {"id": "..", "type": "customer"}},
        {"related_object": {"id": "mtr_1", "type": "billing.meter"}},
    ],
    ids=repr,
)
def test_a_malformed_thin_event_is_parked_whole(changes: Event) -> None:
    standin = StripeStandin(now=START)
    (event,) = renamed(standin, 1)
    world = World(standin)
    assert world.receive({**event, **changes}) == "parked"
    assert [p for p in world.state() if "PARKED" not in p] == []
    assert not [path for _, path in world.stripe.asked if path.startswith("/v1/charges")]


@pytest.mark.parametrize(
    ("context", "result"),
    [
        (None, "applied"),
        ("acct_1", "applied"),
        ("org_1/acct_1", "applied"),
        ("acct_2", "parked"),
        ("nobody", "parked"),
        (5, "parked"),
        (["acct_1"], "parked"),
        ("acct_" + "1" * 3000, "parked"),
    ],
    ids=repr,
)
def test_the_context_of_a_thin_event_says_whose_it_is(context: Any, result: str) -> None:
    standin = StripeStandin(now=START)
    account = standin.account(
        "acct_1" if "acct_1" in str(context) and result == "applied" else None
    )
    account.create_customer(name="Renée")
    (event,) = standin.events(types=["customer.created"])
    world = World(standin)
    world.registry.register(STORE, "acct_1")
    assert world.receive(thin(standin, event, context=context)) == result


def test_stripe_that_does_not_answer_is_told_to_send_it_again() -> None:
    standin = StripeStandin(now=START)
    events = linked_three_times(standin)
    standin.outage = True
    world = World(standin)
    for event in events:
        with pytest.raises(TryAgainLater):
            world.receive(thin(standin, event))
    assert world.state() == {}
    standin.outage = False
    for event in events:
        assert world.receive(thin(standin, event)) == "applied"


def test_another_object_is_no_event() -> None:
    with pytest.raises(InvalidEvent):
        World(StripeStandin(now=START)).receive({"object": "v2.core.account", "id": "acct_1"})


# -- the demo store --------------------------------------------------------------------------------


def test_the_demo_store_is_the_same_by_thin_events_alone() -> None:
    """Both are told of everything while it happens; every route that reads answers the same."""
    standin = StripeStandin()
    worlds = {"snapshot": World(standin), "thin": World(standin)}

    def sender(world: World) -> Callable[[bytes, dict[str, str]], int]:
        def send(body: bytes, headers: dict[str, str]) -> int:
            try:
                world.deliveries.receive(body, headers["Stripe-Signature"])
            except TryAgainLater:
                return 503
            return 200

        return send

    for payload, world in worlds.items():
        standin.add_endpoint(send=sender(world), payload=payload, id=payload)
    with StandinServer(standin, deliver=False) as server:
        assert seed.seed(server.url, 40, workers=1)["delivered"]
    by_snapshot, by_thin = worlds["snapshot"], worlds["thin"]
    assert len(listed(by_snapshot)) > 30
    assert listed(by_thin) == listed(by_snapshot)
    # Most of these events are older than the 30 days for which Stripe keeps a snapshot, so this is
    # what `changes` tell, too.
    assert shown(by_thin) == shown(by_snapshot)


def shown(world: World) -> Any:
    """What the routes that read answer, but for when something that waits is looked at next."""
    reader, parts = world.parts.reader, world.parts
    text = json.dumps(
        {
            "customers": answers(world, limit=100),
            "products": list_products(world.records, STORE),
            "chats": parts.chat_list.of(STORE),
            "attention": parts.attention_list.page(STORE, limit=100, position=None),
            "previews": [
                parts.previews.of(STORE, row["customer_id"], purchase["purchase_id"])
                for row in listed(world)
                for purchase in reader.detail(STORE, row["customer_id"], limit=1)[0]["purchases"]
            ],
        }
    )
    return json.loads(text, object_hook=_without_next_attempt)


def _without_next_attempt(value: dict[str, Any]) -> dict[str, Any]:
    return {name: held for name, held in value.items() if name != "next_attempt_at"}
