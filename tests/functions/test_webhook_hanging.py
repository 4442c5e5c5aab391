"""The webhook's answers while Stripe's API and Telegram accept connections and never answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from standins.stripe import StripeAccount
from tests.functions.shop import CHAT, USER, Shop, forget_what_was_made
from tests.functions.test_webhook import post
from tests.silence import SilentServer

ANSWER_SECONDS = 10


@dataclass
class Hanging:
    """A store while Stripe and Telegram hang; Stripe still sends events."""

    shop: Shop
    stripe: SilentServer
    telegram: SilentServer


@pytest.fixture
def hanging(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    with SilentServer() as stripe, SilentServer() as telegram:
        monkeypatch.setenv("STRIPE_API_BASE", stripe.url)
        monkeypatch.setenv("TELEGRAM_API_BASE", telegram.url)
        forget_what_was_made()
        yield Hanging(shop, stripe, telegram)


def test_a_life_that_comes_in_order_asks_neither_stripe_nor_telegram(hanging: Hanging) -> None:
    """Each of these events would be refused, or late, if it waited for one of them."""
    live, later = hanging.shop.stripe.live, hanging.shop.stripe.advance
    signals = live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    other = live.create_product(name="Other", telegram_chat_ids="")["id"]
    bought = live.subscribe(product=signals, telegram_user_id=USER, checkout=False)
    subscription, customer = bought["id"], bought["customer"]
    happenings: list[Callable[[], Any]] = [
        lambda: live.renew(subscription),
        lambda: live.fail_renewal(subscription, keep_failing=False),
        lambda: live.pay_open_invoice(subscription),
        lambda: live.update_customer(customer, name="Alexandra"),
        lambda: live.buy_one_off(customer=customer, product=signals, telegram_user_id=USER),
        lambda: live.redeem_access_code(access_code="ABCDEF123456", product=signals),
        lambda: live.update_product(other, metadata={"telegram_chat_ids": str(CHAT)}),
        lambda: live.change_plan(subscription, product=other),
        lambda: live.link_telegram(subscription, USER + 1),
        lambda: live.portal_cancel(subscription),
        lambda: live.portal_uncancel(subscription),
        lambda: live.cancel_subscription(subscription),
    ]
    for happen in happenings:
        later(60)
        happen()
    events = hanging.shop.stripe.events()
    late = [event["type"] for event in events if post(hanging.shop, event)[0] != 200]
    assert late == []
    assert (hanging.stripe.connections(), hanging.telegram.connections()) == (0, 0)


def unknown_customer(live: StripeAccount) -> str:
    live.subscribe(checkout=False)
    return "customer.subscription.updated"


def refund_before_its_charge(live: StripeAccount) -> str:
    live.refund(live.buy_one_off(amount=1500)["id"], amount=500)
    return "refund.created"


def changed_balance(live: StripeAccount) -> str:
    live.adjust_balance(live.create_customer()["id"], amount=-500)
    return "customer.updated"


def cart_without_metadata(live: StripeAccount) -> str:
    product = live.create_product(name="Signals")["id"]
    live.buy_one_off_async(product=product, product_in_metadata=False, settle=True)
    return "checkout.session.completed"


def many_items(live: StripeAccount) -> str:
    products = [live.create_product(name=f"Product {number}")["id"] for number in range(12)]
    live.subscribe(product=products[0], more_products=products[1:], checkout=False)
    return "customer.subscription.created"


@pytest.mark.parametrize(
    "happen",
    [
        unknown_customer,
        refund_before_its_charge,
        changed_balance,
        cart_without_metadata,
        many_items,
    ],
)
def test_an_event_that_needs_stripe_is_answered_503_within_ten_seconds(
    hanging: Hanging, happen: Callable[[StripeAccount], str]
) -> None:
    kind = happen(hanging.shop.stripe.live)
    event = next(event for event in hanging.shop.stripe.events() if event["type"] == kind)
    began = time.monotonic()
    status, problem = post(hanging.shop, event)
    seconds = time.monotonic() - began
    assert (status, problem["code"]) == (503, "try_again_later")
    assert seconds < ANSWER_SECONDS
    assert hanging.stripe.connections() > 0
    assert hanging.telegram.connections() == 0
