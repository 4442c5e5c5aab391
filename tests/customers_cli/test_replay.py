"""What could not be applied or delivered is applied after all."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from customers_cli.replay import Replay, Replayed
from functions.store_events.apply import StoreEvents
from shared.integrations.stripe_gateway import Mode
from standins.stripe import StripeAccount, StripeStandin
from tests.customers_cli.stripe_past import BOTH, webhooks
from tests.functions.webhook_world import STORE, World

CHATS = [-1001111111111]


def replay(world: World, modes: tuple[Mode, ...] = BOTH) -> Replayed:
    store_events = StoreEvents(
        records=world.records,
        customers=world.customers,
        products=world.products,
        parked=world.parked,
        wake=lambda _: None,
        count=lambda _: None,
    )
    run = Replay(STORE, world.receiver, store_events, world.parked, world.services.stripe, modes)
    return run.run(time.time())


def parked(world: World) -> list[str]:
    return [e.event_id for owner in (STORE, None) for e in world.parked.all(owner)]


def bought(shop: StripeAccount) -> str:
    product = shop.create_product(name="Signals", telegram_chat_ids=CHATS)["id"]
    buyer = shop.create_customer(name="Renée", email="renee@example.com")["id"]
    made = shop.subscribe(customer=buyer, product=product, telegram_user_id=700001, checkout=False)
    return str(made["id"])


def test_events_of_an_account_registered_since_are_applied() -> None:
    standin = StripeStandin()
    shop, world = standin.account("acct_1"), World(standin)
    shop.create_customer(name="Renée")
    (event,) = standin.events(account=shop)
    assert world.receive(event) == "parked"
    assert replay(world).parked == {}  # of nobody still
    assert parked(world) == [event["id"]]
    world.registry.register(STORE, "acct_1")
    assert replay(world, (Mode(True, "acct_1"),)).parked == {"applied": 1}
    assert parked(world) == []
    (profile,) = world.sources("PROFILE").values()
    assert profile["customer"]["name"] == "Renée"


@pytest.mark.parametrize("name", ["account", "user_id"])
@pytest.mark.parametrize(
    "told", [["acct_1"], True, {"id": "acct_1"}, "acct_" + "1" * 3000, "acct_\ud800"], ids=repr
)
def test_an_event_of_what_is_no_account_stays_parked(name: str, told: Any) -> None:
    standin = StripeStandin()
    world = World(standin)
    standin.live.create_customer(name="Renée")
    (event,) = standin.events(account=standin.live)
    assert world.receive({**event, name: told}) == "parked"
    world.registry.register(STORE, "acct_1")
    assert replay(world).parked == {}
    assert parked(world) == [event["id"]]


def test_what_is_no_event_stays_parked() -> None:
    world = World(StripeStandin())
    assert world.receiver.park_unknown(b'{"object": "v3.event"}') == "parked"
    assert replay(world).parked == {}
    assert len(parked(world)) == 1


def test_what_still_cannot_be_applied_stays_parked() -> None:
    standin = StripeStandin()
    world = World(standin)
    standin.live.create_customer(name="Renée")
    (event,) = standin.events(account=standin.live)
    broken = {**event, "data": {"object": {**event["data"]["object"], "id": 7}}}
    del broken["data"]["object"]["id"]
    assert world.receive(broken) == "parked"
    assert replay(world).parked == {"parked": 1}
    assert parked(world) == [event["id"]]


def test_a_link_that_came_before_its_purchase_is_applied_after_it() -> None:
    standin = StripeStandin()
    world = World(standin)
    subscription = bought(standin.live)
    body: dict[str, Any] = {
        "id": "6f1c9f9a-0000-0000-0000-000000000001",
        "detail-type": "TelegramLinked",
        "source": "grouptizer.store",
        "time": "2026-01-01T00:00:00Z",
        "detail": {
            "store_id": "demo",
            "purchase_id": subscription,
            "telegram_user_id": "700002",
        },
    }
    assert _store_events(world).handle(body) == "parked"
    webhooks(standin, world)
    assert replay(world).parked == {"applied": 1}
    (purchase,) = world.sources("PURCHASE").values()
    assert purchase["link"]["telegram_user_id"] == "700002"
    assert parked(world) == []


def _store_events(world: World) -> StoreEvents:
    return StoreEvents(
        records=world.records,
        customers=world.customers,
        products=world.products,
        parked=world.parked,
        wake=lambda _: None,
        count=lambda _: None,
    )


def test_undelivered_events_are_applied_the_oldest_first_and_delivered_ones_not_again() -> None:
    standin = StripeStandin()
    world = World(standin)
    standin.add_endpoint(send=lambda *_: 200)
    with standin.at(int(time.time()) - 20 * 86_400):
        standin.live.create_customer(name="Delivered")
    standin.deliveries.flush()
    standin.deliveries.drop = frozenset({"*"})
    with standin.at(int(time.time()) - 10 * 86_400):
        subscription = bought(standin.live)
    standin.test.create_customer(name="Of test mode")
    standin.live.cancel_subscription(subscription)
    applied: list[str] = []
    take = world.receiver.take

    class Noting:
        services = world.services

        def take(self, body: bytes) -> str:
            applied.append(json.loads(body)["type"])
            return take(body)

    done = Replay(
        STORE,
        Noting(),  # type: ignore[arg-type]
        _store_events(world),
        world.parked,
        world.services.stripe,
        BOTH,
    ).run(time.time())
    assert done.undelivered["applied"] == len(applied)
    assert applied[0] == "product.created"
    assert applied[-1] == "customer.subscription.deleted"
    names = [p["customer"]["name"] for p in _profiles(world)]
    assert sorted(names) == ["Of test mode", "Renée"]
    assert world.unlinked() == []
    before = world.state()
    replay(world)
    assert world.state() == before


def _profiles(world: World) -> list[dict[str, Any]]:
    return [
        {"customer": json.loads(item["s_customer"])}
        for key, item in world.state().items()
        if key.endswith(" PROFILE")
    ]


def test_undelivered_events_of_a_connected_account_reach_its_store() -> None:
    standin = StripeStandin()
    world, shop = World(standin), standin.account("acct_1")
    world.registry.register(STORE, "acct_1")
    standin.add_endpoint(send=lambda *_: 500)
    standin.deliveries.drop = frozenset({"*"})
    shop.create_customer(name="Renée")
    assert replay(world, (Mode(True, "acct_1"),)).undelivered == {"applied": 1}
    assert [p["customer"]["name"] for p in _profiles(world)] == ["Renée"]
