"""Events that do not arrive: the sweep notices, and ``customers replay`` catches up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from customers_cli.backfill import services_of
from customers_cli.replay import Replay
from functions.period_end_revoker.silence import GAP_SECONDS, SILENT_SECONDS
from functions.store_events.apply import StoreEvents
from shared.compose import COMMAND, Composition, Leaves
from shared.integrations.stripe_gateway import Mode
from shared.settings import Settings
from shared.stripe_events.receive import Receiver
from shared.tenant import Tenant
from tests.functions.shop import USER, MovableClock, Shop
from tests.functions.test_silence import sweep

__all__ = ["sweep"]  # a fixture


def replay(shop: Shop, *, everything: bool) -> int:
    """``customers replay demo``; how many events it applied."""
    clients = {"dynamodb": shop.tables.client, "secretsmanager": shop.secrets}
    parts = Composition(COMMAND, Settings(dict(os.environ)), Leaves(aws=clients.__getitem__))
    services = services_of(parts, lambda _: None)
    store_events = StoreEvents(
        records=services.records,
        customers=services.customers,
        products=services.products,
        parked=parts.parked,
        wake=lambda _: None,
        count=lambda _: None,
    )
    done = Replay(
        Tenant("demo"),
        Receiver(services, parts.parked),
        store_events,
        parts.parked,
        parts.stripe,
        (Mode(True), Mode(False)),
        everything=everything,
    ).run(time.time())
    return done.undelivered["applied"]


def delete_the_endpoint(shop: Shop) -> None:
    shop.stripe.remove_endpoint()


def disable_the_endpoint(shop: Shop) -> None:
    shop.stripe.add_endpoint(send=shop.receive, status="disabled")


def send_elsewhere(shop: Shop) -> None:
    shop.stripe.add_endpoint(send=lambda *_: 200)


def sign_with_another_secret(shop: Shop) -> None:
    shop.stripe.add_endpoint(send=shop.receive, secret="whsec_other")


def send_only_what_nobody_asked_for(shop: Shop) -> None:
    shop.stripe.add_endpoint(send=shop.receive, enabled_events=["payout.paid"])


SILENT = [
    delete_the_endpoint,
    disable_the_endpoint,
    send_elsewhere,
    sign_with_another_secret,
    send_only_what_nobody_asked_for,
]


@pytest.mark.parametrize("plant", SILENT, ids=lambda plant: plant.__name__)
def test_events_that_do_not_arrive_are_noticed_and_replay_catches_up(
    shop: Shop, sweep: Callable[[], float], clock: MovableClock, plant: Callable[[Shop], None]
) -> None:
    shop.sell()
    plant(shop)
    clock.later(60)
    shop.stripe.live.subscribe(name="Zoë", telegram_user_id=USER + 1)
    shop.stripe.deliveries.flush()
    clock.later(SILENT_SECONDS + GAP_SECONDS)
    assert sweep() == 1
    clock.later(300)
    assert sweep() == 1  # every sweep tells it, not only the one that compares
    # Of what was never sent, and of what arrived elsewhere, Stripe calls nothing undelivered.
    undelivered = plant is sign_with_another_secret
    assert (replay(shop, everything=False) > 0) == undelivered
    if not undelivered:
        assert replay(shop, everything=True) > 0
    clock.later(GAP_SECONDS)
    assert sweep() == 0
    _, page = shop.get("/v1/customers", "search=zoe")
    assert [item["name"] for item in page["items"]] == ["Zoë"]
