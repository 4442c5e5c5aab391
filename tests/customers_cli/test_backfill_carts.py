"""Purchases of several products come out of Stripe's lists as they come out of its events."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from standins.stripe import StripeAccount, StripeStandin
from tests.customers_cli.stripe_past import backfill, webhooks, without_the_past
from tests.functions.carts import CARTS, Sold, one_time_items_beside_a_subscription
from tests.functions.test_webhook_scenarios import purchase
from tests.functions.webhook_world import CrashingClient, World


@pytest.mark.parametrize("sell", CARTS, ids=lambda sell: sell.__name__)
def test_what_was_bought_comes_out_the_same(sell: Callable[[StripeAccount], Sold]) -> None:
    standin = StripeStandin(now=1_790_000_000)
    sold = sell(standin.live)
    filled = World(standin)
    assert backfill(filled).left_out == {}
    found = {id_: purchase(filled, id_) for id_ in sold.products}
    assert {id_: list(p.product_ids) for id_, p in found.items()} == sold.products
    assert {id_: p.status for id_, p in found.items()} == sold.status
    assert without_the_past(filled.state()) == without_the_past(webhooks(standin).state())
    assert filled.marked() == []
    assert filled.unlinked() == []


@pytest.mark.parametrize("sell", CARTS, ids=lambda sell: sell.__name__)
def test_a_second_run_writes_nothing(sell: Callable[[StripeAccount], Sold]) -> None:
    standin = StripeStandin(now=1_790_000_000)
    sell(standin.live)
    filled = World(standin, wrap=CrashingClient)
    backfill(filled)
    before, written = filled.state(), filled.client.writes
    backfill(filled)
    assert filled.client.writes == written
    assert filled.state() == before


@pytest.mark.parametrize("sell", CARTS, ids=lambda sell: sell.__name__)
def test_filling_what_webhooks_have_filled_changes_nothing(
    sell: Callable[[StripeAccount], Sold],
) -> None:
    standin = StripeStandin(now=1_790_000_000)
    sell(standin.live)
    hooked = webhooks(standin)
    before = hooked.state()
    backfill(hooked)
    assert hooked.state() == before


def test_who_is_linked_later_is_found_with_what_was_sold_once() -> None:
    standin = StripeStandin(now=1_790_000_000)
    sold = one_time_items_beside_a_subscription(standin.live)
    subscription, session = sold.products
    filled = World(standin)
    backfill(filled)
    standin.advance(3600)
    standin.live.link_telegram(subscription, 700002)
    backfill(filled)
    assert purchase(filled, session).telegram_user_id == "700002"
    assert filled.unlinked() == []
