"""The sweep notices that no event arrives though Stripe has some."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from functions.period_end_revoker.silence import GAP_SECONDS, MOST_UNANSWERED, SILENT_SECONDS
from shared.integrations.stripe_gateway import Mode
from shared.storage.parked import Parked, ParkedEvent
from shared.storage.registry import Registry
from shared.storage.stripe_notes import StripeNotes
from shared.stripe_events.arrivals import MOST_READ, Arrivals
from shared.stripe_events.events import HANDLERS
from shared.tenant import Tenant
from standins.stripe import StripeStandin
from standins.stripe.history import history
from tests.functions.shop import CHAT, USER, MovableClock, Shop
from tests.functions.webhook_world import STORE, World

LATER = SILENT_SECONDS + GAP_SECONDS
OTHER = Tenant("other")

Sweep = Callable[[], float]


@pytest.fixture
def sweep(shop: Shop, capsys: pytest.CaptureFixture[str]) -> Sweep:
    """Sweeps; how many stores and modes it says are silent. The first sweep was before."""

    def run() -> float:
        capsys.readouterr()
        shop.sweep()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (told,) = (line for line in lines if "StripeSilent" in line)
        count: float = told["StripeSilent"][0]
        return count

    assert run() == 0
    return run


def delete_the_endpoint(shop: Shop) -> None:
    shop.stripe.remove_endpoint()


def test_a_store_whose_events_arrive_is_not_silent_however_long_it_sells_nothing(
    shop: Shop, sweep: Sweep, clock: MovableClock
) -> None:
    shop.sell()
    for _ in range(5):
        clock.later(LATER)
        assert sweep() == 0


def test_a_store_without_events_is_not_silent(sweep: Sweep, clock: MovableClock) -> None:
    clock.later(LATER)
    assert sweep() == 0


def test_an_event_is_given_time_to_arrive(shop: Shop, sweep: Sweep, clock: MovableClock) -> None:
    shop.sell()
    delete_the_endpoint(shop)
    clock.later(60)
    shop.stripe.live.create_customer(name="Zoë")
    clock.later(SILENT_SECONDS - 600)
    assert sweep() == 0
    clock.later(GAP_SECONDS)
    assert sweep() == 1


def test_a_store_is_silent_as_long_as_nothing_arrives_though_newer_events_come(
    shop: Shop, sweep: Sweep, clock: MovableClock
) -> None:
    delete_the_endpoint(shop)
    shop.stripe.live.create_customer(name="Zoë")
    for _ in range(4):
        clock.later(GAP_SECONDS)
        for number in range(MOST_READ):  # the first is not among the newest any more
            shop.stripe.live.create_customer(name=f"Zoë {number}")
        clock.later(1000)
        told = sweep()
    assert told == 1


def test_an_event_that_arrived_ends_the_silence(
    shop: Shop, sweep: Sweep, clock: MovableClock
) -> None:
    delete_the_endpoint(shop)
    shop.stripe.live.create_customer(name="Zoë")
    clock.later(LATER)
    assert sweep() == 1
    shop.stripe.add_endpoint(send=shop.receive)
    shop.stripe.live.create_customer(name="Renée")
    shop.deliver()
    clock.later(GAP_SECONDS)
    assert sweep() == 0


def test_each_mode_and_each_connected_store_is_compared_by_one_request_an_hour(
    shop: Shop, sweep: Sweep, clock: MovableClock
) -> None:
    Registry(shop.tables.records, "demo").register(OTHER, "acct_1")
    shop.stripe.account("acct_1", livemode=False)
    shop.stripe.account("acct_1").create_customer(name="Zoë")
    shop.stripe.test.create_customer(name="Zoë")
    clock.later(LATER)
    shop.stripe.clear_requests()
    assert sweep() == 2
    asked = [(r.account, r.livemode, r.path) for r in shop.stripe.requests]
    assert sorted(asked, key=str) == sorted(
        [(account, live, "/v1/events") for account in (None, "acct_1") for live in (True, False)],
        key=str,
    )
    for _ in range(3):
        clock.later(GAP_SECONDS // 4)
        assert sweep() == 2
    assert len(shop.stripe.requests) == 4


def test_the_first_sweep_asks_nothing_and_two_at_once_ask_once(
    shop: Shop, sweep: Sweep, clock: MovableClock
) -> None:
    assert shop.asked_stripe() == []
    clock.later(GAP_SECONDS)
    notes = StripeNotes(shop.tables.records)
    turns = []

    def meanwhile(name: str, _: Any) -> None:
        if name == "update_item":
            shop.tables.client.hook = None
            turns.append(notes.begin_comparison(GAP_SECONDS))

    shop.tables.client.hook = meanwhile
    turns.append(notes.begin_comparison(GAP_SECONDS))
    assert turns == [True, False]


def test_a_store_that_disconnected_and_a_mode_without_a_key_are_left_out(
    shop: Shop, sweep: Sweep, clock: MovableClock
) -> None:
    registry = Registry(shop.tables.records, "demo")
    registry.register(OTHER, "acct_1")
    shop.stripe.account("acct_1").create_customer(name="Zoë")
    shop.stripe.test.create_customer(name="Zoë")
    registry.disconnected("acct_1", int(time.time()))
    shop.secrets.values["STRIPE_API_SECRET_ARN"] = {"live": "sk_live_local"}
    shop.seconds_passed += 600
    clock.later(LATER)
    assert sweep() == 0
    assert [(r.account, r.livemode) for r in shop.stripe.requests] == [(None, True)]


def test_while_stripe_does_not_answer_what_was_found_stays(
    shop: Shop, sweep: Sweep, clock: MovableClock
) -> None:
    delete_the_endpoint(shop)
    shop.stripe.live.create_customer(name="Zoë")
    clock.later(LATER)
    assert sweep() == 1
    shop.stripe.outage = True
    clock.later(GAP_SECONDS)
    assert sweep() == 1


def test_a_stripe_that_is_away_is_not_asked_for_every_store(
    shop: Shop, sweep: Sweep, clock: MovableClock
) -> None:
    registry = Registry(shop.tables.records, "demo")
    for number in range(5):
        registry.register(Tenant(f"store{number}"), f"acct_{number}")
    shop.stripe.outage = True
    clock.later(GAP_SECONDS)
    sweep()
    assert len(shop.stripe.requests) == MOST_UNANSWERED


def test_a_database_that_fails_in_the_comparison_does_not_fail_the_sweep(
    shop: Shop, sweep: Sweep, clock: MovableClock, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.functions.shop import _error  # noqa: PLC0415

    def down(name: str, request: dict[str, Any]) -> None:
        if request.get("Key", {}).get("pk") == {"S": "STRIPE"}:
            raise _error("InternalServerError", name)

    shop.tables.client.hook = down
    shop.sweep()
    told = capsys.readouterr().out
    assert "OldestDueSeconds" in told
    assert "BotPaused" in told
    assert "StripeSilent" not in told


# -- what the records tell -------------------------------------------------------------------------


def arrivals(world: World) -> Arrivals:
    return Arrivals(world.records, world.parked, world.services.stripe)


def told_of(world: World, standin: StripeStandin) -> dict[str, bool | None]:
    """Of each handled event of the platform's live mode, whether it has arrived; by its id."""
    here = arrivals(world)
    return {
        event["id"]: here.has_arrived(STORE, event)
        for event in standin.events(account=standin.live)
        if event["type"] in HANDLERS
    }


def live_through_everything(standin: StripeStandin) -> None:
    live = standin.live
    with standin.at(int(time.time()) - 86_400):
        history(live, events=60)
        product = live.create_product(name="Once", telegram_chat_ids=str(CHAT))["id"]
        live.guest_checkout(product=product)
        live.guest_checkout(product=product, outcome="failed")
        bought = live.buy_one_off(product=product, telegram_user_id=USER)
        live.refund(bought["payment_intent"])
        live.redeem_access_code(product=product)
        customer = live.create_customer(name="Zoë")["id"]
        method = live.attach_payment_method(customer)["id"]
        live.detach_payment_method(method)
        card = live.add_source(customer)["id"]
        live.remove_source(card)
        live.delete_customer(customer)


@pytest.mark.parametrize("backwards", [False, True])
def test_of_events_that_arrived_none_is_missing_in_whatever_order_they_came(
    backwards: bool,
) -> None:
    standin = StripeStandin()
    world = World(standin)
    live_through_everything(standin)
    events = [e for e in standin.events(account=standin.live) if e["type"] in HANDLERS]
    before = told_of(world, standin)
    assert True not in before.values()
    told = {e["type"] for e in events if before[e["id"]] is False}
    assert {"charge.succeeded", "customer.created", "product.created", "invoice.paid"} <= told
    assert {"customer.subscription.updated", "refund.created", "payment_method.detached"} <= told
    for event in reversed(events) if backwards else events:
        world.receive(event)
    missing = [e["type"] for e in events if told_of(world, standin)[e["id"]] is False]
    assert missing == []
    now = int(time.time())
    assert arrivals(world).compare(STORE, Mode(True), before=now).missing is None
    assert arrivals(world).compare(STORE, Mode(True), before=now).arrived is not None


def test_an_event_that_is_parked_has_arrived() -> None:
    standin = StripeStandin()
    world = World(standin)
    standin.live.create_customer(name="Zoë")
    (event,) = standin.events()
    assert arrivals(world).has_arrived(STORE, event) is False
    Parked(world.table).park(
        STORE, ParkedEvent(event["id"], event["created"], "stripe", "odd", b"{}")
    )
    assert arrivals(world).has_arrived(STORE, event) is True


def test_a_guests_charge_that_moved_to_its_customer_has_arrived() -> None:
    standin = StripeStandin()
    world = World(standin)
    product = standin.live.create_product(name="Once", telegram_chat_ids=str(CHAT))["id"]
    standin.live.buy_one_off(product=product)
    events = standin.events()
    for event in events:
        about = event["data"]["object"]
        if about["object"] == "charge":
            about["customer"] = None
        if event["type"] in HANDLERS:
            world.receive(event)
    (charged,) = (e for e in events if e["type"] == "charge.succeeded")
    assert arrivals(world).has_arrived(STORE, charged) is True


def test_of_an_object_that_was_fetched_the_records_tell_nothing() -> None:
    standin = StripeStandin()
    world = World(standin)
    sold = standin.live.subscribe()
    by_type = {event["type"]: event for event in standin.events()}
    world.receive(by_type["customer.subscription.created"])  # it fetches the customer
    assert arrivals(world).has_arrived(STORE, by_type["customer.created"]) is None
    assert by_type["customer.created"]["data"]["object"]["id"] == sold["customer"]


def test_of_an_object_that_is_over_the_records_tell_nothing_later() -> None:
    standin = StripeStandin()
    world = World(standin)
    sold = standin.live.subscribe()
    standin.live.cancel_subscription(sold["id"])
    (ended,) = standin.events(types=["customer.subscription.deleted"])
    later = {
        **ended,
        "id": "evt_later",
        "type": "customer.subscription.updated",
        "created": ended["created"] + 3600,
        "data": {"object": {**ended["data"]["object"], "status": "active", "ended_at": None}},
    }
    for event in (ended, later):
        world.receive(event)
    assert arrivals(world).has_arrived(STORE, ended) is True
    assert arrivals(world).has_arrived(STORE, later) is None


@pytest.mark.parametrize(
    "change",
    [{"data": None}, {"created": "now"}, {"data": {"object": {"object": "charge"}}}, {"id": 7}],
    ids=str,
)
def test_of_a_malformed_event_the_records_tell_nothing(change: dict[str, Any]) -> None:
    standin = StripeStandin()
    world = World(standin)
    standin.live.create_customer(name="Zoë")
    (event,) = standin.events()
    assert arrivals(world).has_arrived(STORE, {**event, **change}) is None
