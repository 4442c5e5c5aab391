"""Any order, any duplication of the same events, any crash: the same records in the end."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.errors import TryAgainLater
from shared.stripe_events.events import HANDLERS
from standins.stripe import StripeAccount, StripeStandin
from standins.stripe.history import history
from tests.functions.webhook_world import Crash, CrashingClient, World, shapes_mixed

START = 1_790_000_000
Event = dict[str, Any]
CHATS = [-1001111111111]


def handled(at: StripeStandin | StripeAccount, *types: str) -> list[Event]:
    """The events that are handled, or those of these types, as they happened."""
    return [e for e in at.events() if e["type"] in (types or HANDLERS)]


def subscription_in_one_second(shop: StripeAccount) -> list[Event]:
    product = shop.create_product(name="Signals", telegram_chat_ids=CHATS)
    customer = shop.create_customer(name="Renée", email="renee@example.com")
    bought = shop.subscribe(
        customer=customer["id"], product=product["id"], telegram_user_id=700001, checkout=False
    )
    shop.portal_cancel(bought["id"])
    shop.portal_uncancel(bought["id"])
    return handled(
        shop,
        "customer.created",
        "product.created",
        "customer.subscription.created",
        "customer.subscription.updated",
    )


def one_off_refunded_in_part(shop: StripeAccount) -> list[Event]:
    customer = shop.create_customer(name="Renée", email="renee@example.com")
    session = shop.buy_one_off(customer=customer["id"], telegram_user_id=700001)
    shop.refund(session["id"], amount=500)
    return handled(
        shop,
        "customer.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
        "refund.created",
        "charge.refunded",
    )


def guest_whose_refund_failed(shop: StripeAccount) -> list[Event]:
    session = shop.guest_checkout(name="Guest", email="guest@example.com", telegram_user_id=700001)
    refund = shop.refund(session["id"], status="pending")
    shop.finish_refund(refund["id"], status="failed")
    return handled(
        shop,
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
        "refund.created",
        "charge.refunded",
        "refund.failed",
    )


def guest_who_became_a_customer(shop: StripeAccount) -> list[Event]:
    """The charge and its refund know of no customer, the session does."""
    customer = shop.create_customer(name="Renée", email="renee@example.com")
    session = shop.buy_one_off(customer=customer["id"], telegram_user_id=700001)
    shop.link_telegram(session["payment_intent"], 700002)
    shop.refund(session["id"], amount=500)
    events = handled(
        shop,
        "customer.created",
        "charge.succeeded",
        "charge.updated",
        "payment_intent.succeeded",
        "checkout.session.completed",
        "refund.created",
    )
    for event in events:
        if event["data"]["object"]["object"] in ("charge", "payment_intent"):
            event["data"]["object"]["customer"] = None
    return events


def dispute_won(shop: StripeAccount) -> list[Event]:
    customer = shop.create_customer(name="Renée", email="renee@example.com")
    session = shop.buy_one_off(customer=customer["id"])
    dispute = shop.dispute(session["id"])
    shop.close_dispute(dispute["id"], won=True)
    return handled(
        shop,
        "customer.created",
        "charge.succeeded",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
    )


def renewal_in_both_shapes(shop: StripeAccount) -> list[Event]:
    customer = shop.create_customer(name="Renée", email="renee@example.com")
    shop.subscribe(customer=customer["id"], telegram_user_id=700001, checkout=False)
    found = handled(
        shop,
        "customer.subscription.created",
        "customer.subscription.updated",
        "charge.succeeded",
        "invoice.finalized",
        "invoice.paid",
        "invoice_payment.paid",
    )
    return shapes_mixed(shop, [event["id"] for event in found])


def subscription_deleted_in_its_second(shop: StripeAccount) -> list[Event]:
    customer = shop.create_customer(name="Renée", email="renee@example.com")
    bought = shop.subscribe(customer=customer["id"], telegram_user_id=700001, checkout=True)
    shop.link_telegram(bought["id"], 700002)
    shop.cancel_subscription(bought["id"])
    return handled(
        shop,
        "customer.created",
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
    )


def one_time_items_beside_a_subscription_that_ends(shop: StripeAccount) -> list[Event]:
    customer = shop.create_customer(name="Renée", email="renee@example.com")
    extra = shop.create_product(name="Archive", telegram_chat_ids=CHATS)["id"]
    bought = shop.subscribe(
        customer=customer["id"], one_time_products=[extra], telegram_user_id=700001
    )
    shop.link_telegram(bought["id"], 700002)
    shop.cancel_subscription(bought["id"])
    return handled(
        shop,
        "customer.created",
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
    )


HISTORIES: list[Callable[[StripeAccount], list[Event]]] = [
    subscription_in_one_second,
    one_off_refunded_in_part,
    guest_whose_refund_failed,
    guest_who_became_a_customer,
    dispute_won,
    renewal_in_both_shapes,
    subscription_deleted_in_its_second,
    one_time_items_beside_a_subscription_that_ends,
]


@dataclass
class Ending:
    """What orders of events have led to.

    Attributes:
        order: the first of them.
        orders: how many there are.
    """

    world: World
    order: tuple[int, ...] = ()
    orders: int = 1


def endings(world: World, told: Sequence[Sequence[Event]]) -> list[Ending]:
    """What every order leads to.

    Args:
        told: of each event, how it is told: by itself, or by several that come one after another.

    Beginnings that consist of the same events and led to the same tables, down to the last
    attribute, go on alike: only one of them is gone on with, and counted for all.
    """
    reached = [Ending(world)]
    for _ in told:
        following: dict[Any, Ending] = {}
        for each in reached:
            for number in sorted({*range(len(told))} - {*each.order}):
                after = each.world.copy().receive_all(told[number])
                order = (*each.order, number)
                known = following.setdefault(
                    (frozenset(order), after.everything()), Ending(after, order, 0)
                )
                known.orders += each.orders
        reached = list(following.values())
    return reached


@pytest.mark.parametrize("scenario", HISTORIES, ids=lambda scenario: scenario.__name__)
def test_every_order_of_six_events_ends_in_the_same_records(
    scenario: Callable[[StripeAccount], list[Event]],
) -> None:
    standin = StripeStandin(now=START)
    events = scenario(standin.live)
    assert len(events) == 6
    expected = World(standin).receive_all(events).state()
    found = endings(World(standin), [[event] for event in events])
    for each in found:
        assert each.world.state() == expected, [events[number]["type"] for number in each.order]
        assert each.world.unlinked() == []
        assert each.world.marked() == []
    assert sum(each.orders for each in found) == 720


@pytest.fixture(scope="module", params=[0, 600], ids=["in one second", "over hours"])
def forty(request: pytest.FixtureRequest) -> tuple[StripeStandin, list[Event], World]:
    standin = StripeStandin(now=START)
    events = history(standin.live, events=52, seconds_between=request.param)
    events = [event for event in events if event["type"] in HANDLERS]
    assert len(events) >= 40
    return standin, events, World(standin).receive_all(events)


def test_an_ordered_history_never_asks_stripe() -> None:
    standin = StripeStandin(now=START)
    events = [e for e in history(standin.live, events=52) if e["type"] in HANDLERS]
    assert World(standin).receive_all(events).stripe.asked == []


def test_only_what_came_back_within_a_second_makes_an_ordered_history_ask() -> None:
    """Cancelled and un-cancelled at once: each of the two events may be the later one."""
    standin = StripeStandin(now=START)
    events = history(standin.live, events=52, seconds_between=0)
    world = World(standin).receive_all([e for e in events if e["type"] in HANDLERS])
    assert [path.split("/")[2] for _, path in world.stripe.asked] == ["subscriptions"]


def test_a_history_delivered_twice_changes_nothing(
    forty: tuple[StripeStandin, list[Event], World],
) -> None:
    _, events, expected = forty
    again = expected.copy().receive_all(events)
    assert again.state() == expected.state()
    assert again.stripe.asked == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_shuffle_of_forty_events_with_duplicates_ends_in_the_same_records(
    forty: tuple[StripeStandin, list[Event], World], data: st.DataObject
) -> None:
    standin, events, expected = forty
    duplicates = data.draw(st.lists(st.sampled_from(events), max_size=10))
    order = data.draw(st.permutations([*events, *duplicates]))
    world = World(standin).receive_all(order)
    assert world.state() == expected.state()
    assert world.unlinked() == []
    assert world.marked() == []


@pytest.mark.parametrize("seed", range(8))
def test_events_delivered_in_parallel_end_in_the_same_records(
    forty: tuple[StripeStandin, list[Event], World], seed: int
) -> None:
    standin, events, expected = forty
    todo = [*events, *random.Random(seed).sample(events, 10)]
    random.Random(seed).shuffle(todo)
    world, failures = World(standin), []

    def deliver() -> None:
        while True:
            try:
                event = todo.pop()
            except IndexError:
                return
            for _ in range(20):
                try:
                    world.receive(event)
                    break
                except TryAgainLater:
                    continue  # Stripe sends it again
            else:
                failures.append(event["type"])

    threads = [threading.Thread(target=deliver) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert world.state() == expected.state()
    assert world.unlinked() == []


@pytest.mark.parametrize("scenario", HISTORIES, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_crash_after_any_write_loses_nothing(
    scenario: Callable[[StripeAccount], list[Event]], seed: int | None
) -> None:
    standin = StripeStandin(now=START)
    events = scenario(standin.live)
    expected = World(standin).receive_all(events)
    if seed is not None:
        random.Random(seed).shuffle(events)
    at = 0
    while True:
        at += 1
        world = World(standin, wrap=CrashingClient)
        world.client.at = at
        for event in events:
            try:
                world.receive(event)
            except Crash:
                assert world.receive(event) == "applied"
        if world.client.writes < at:
            break
        assert world.state() == expected.state(), f"after write {at}"
        assert world.unlinked() == []
        assert world.marked() == []
    assert at > len(events)


@pytest.mark.parametrize("seed", range(24))
def test_events_that_come_late_while_life_goes_on_end_in_the_same_records(seed: int) -> None:
    """Stripe is asked in the middle of it all, and answers what was true at that moment."""
    rng = random.Random(seed)
    standin = StripeStandin(now=START)
    shop = standin.live
    product = shop.create_product(name="Signals", telegram_chat_ids=CHATS)["id"]
    customer = shop.create_customer(name="Renée", email="renee@example.com")["id"]
    bought = shop.subscribe(customer=customer, product=product, checkout=False)["id"]
    session = shop.buy_one_off(customer=customer, product=product, telegram_user_id=700001)
    steps: list[Callable[[], object]] = [
        lambda: shop.link_telegram(bought, 700001),
        lambda: shop.portal_cancel(bought),
        lambda: shop.portal_uncancel(bought),
        lambda: shop.update_customer(customer, name="R. Müller"),
        lambda: shop.refund(session["id"], amount=100),
        lambda: shop.link_telegram(bought, 700002),
        lambda: shop.link_telegram(bought, 700001),
        lambda: shop.update_product(product, name="Signals Pro"),
        lambda: shop.link_telegram(session["payment_intent"], 700003),
        lambda: shop.refund(session["id"], amount=200),
        lambda: shop.update_customer(customer, name="Renée"),
        lambda: shop.cancel_subscription(bought),
    ]
    world = World(standin, clock=standin.clock.now)
    delivered: set[str] = set()

    def deliver_some(share: float) -> None:
        waiting = [e for e in handled(standin) if e["id"] not in delivered]
        rng.shuffle(waiting)
        for event in waiting[: round(len(waiting) * share)]:
            delivered.add(event["id"])
            assert world.receive(event) == "applied"

    for step in steps:
        deliver_some(rng.random())
        standin.advance(rng.choice([0, 0, 1, 1, 30, 300]))
        step()
    deliver_some(1.0)
    expected = World(standin, clock=standin.clock.now).receive_all(handled(standin))
    assert world.state() == expected.state()
    assert world.unlinked() == []
    assert world.marked() == []
