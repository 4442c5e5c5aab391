"""Answers of Stripe that nobody documented: handled, not trusted.

Telegram's are tried in tests/integrations/test_telegram_gateway.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.functions.shop import CHAT, USER, MovableClock, Shop

STRANGE: dict[str, Any] = {
    "nothing": "",
    "a page": "<html>502</html>",
    "null": "null",
    "a list": "[]",
    "a text": '"ok"',
    "a number": "1e400",
    "an empty object": "{}",
    "another object": {"id": "sub_other", "object": "subscription", "status": "canceled"},
    "cut off": '{"id": "sub_',
    "too deep": "[" * 100_000,
}
# Of the right id, and wrong inside.
CHANGES: dict[str, dict[str, Any]] = {
    "no status": {"status": None},
    "a number for a status": {"status": 5},
    "an unknown status": {"status": "hibernating"},
    "no items": {"items": None},
    "items that are none": {"items": {"data": [None]}},
    "metadata that is none": {"metadata": "x"},
    "an end that is a text": {"cancel_at": "soon"},
    "an end that is no time": {"cancel_at": 10**30},
}


@pytest.fixture
def bought(shop: Shop) -> Shop:
    shop.sell()
    return shop


def answers(shop: Shop, body: Any, method: str = "*") -> None:
    """All that Stripe answers from now on; what was asked is not done."""
    shop.stripe.fail(method, "/v1/subscriptions/.*", times=None, status=200, body=body)


def assert_done_once_stripe_is_itself_again(shop: Shop, clock: MovableClock) -> None:
    shop.stripe.faults.clear()
    clock.later(3600)
    assert shop.sweep()["failed"] == 0
    purchase = shop.purchase()
    assert (purchase["status"], purchase["access"]["state"]) == ("cancelled", "revoked")


@pytest.mark.parametrize("name", STRANGE)
def test_an_answer_that_is_none_is_not_taken_for_a_cancel(
    bought: Shop, clock: MovableClock, name: str
) -> None:
    answers(bought, STRANGE[name])
    status, answer = bought.cancel()
    assert status == 202, answer
    assert answer["purchase"]["status"] == "active"
    assert bought.kicks() == []
    assert_done_once_stripe_is_itself_again(bought, clock)


@pytest.mark.parametrize("name", CHANGES)
def test_a_subscription_that_is_wrong_inside_is_not_taken_for_a_cancel(
    bought: Shop, clock: MovableClock, name: str
) -> None:
    purchase = bought.purchase()["purchase_id"]
    real = bought.stripe.live.get("subscription", purchase)
    answers(bought, json.dumps({**_public(real), **CHANGES[name]}))
    status, answer = bought.cancel()
    assert status in (200, 202), answer
    shown = bought.purchase()
    # A status that is new to us is shown as it is; it is not an end.
    assert shown["status"] in ("active", "unknown")
    assert bought.kicks() == []
    assert bought.sweep()["failed"] == 0
    assert_done_once_stripe_is_itself_again(bought, clock)


def _public(raw: Any) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if not name.startswith("_")}


@pytest.mark.parametrize("name", [*STRANGE])
def test_a_product_that_cannot_be_read_waits_and_nobody_is_forgotten(
    shop: Shop, clock: MovableClock, name: str
) -> None:
    """An end, and Stripe does not say which chats its product opens."""
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    sold = shop.stripe.live.subscribe(product=product, telegram_user_id=USER)
    for event in shop.stripe.events():
        if not event["type"].startswith("product"):
            shop.stripe.deliveries.redeliver(event["id"])
    shop.stripe.fail("GET", "/v1/products/.*", times=None, status=200, body=STRANGE[name])
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    shop.stripe.live.portal_cancel(sold["id"], immediately=True)
    shop.deliver()
    shop.stripe.faults.clear()
    clock.later(3600)
    assert shop.sweep()["failed"] == 0
    assert shop.telegram.bot_api.status_of(CHAT, USER) == "left"
