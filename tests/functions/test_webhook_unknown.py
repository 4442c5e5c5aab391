"""Events of types that nobody asked for."""

from __future__ import annotations

import json
import time

from standins.stripe.deliveries import signature
from tests.functions.http import api_event
from tests.functions.shop import Shop

EVENT = {
    "id": "evt_unknown",
    "object": "event",
    "type": "payout.reconciliation_completed",
    "created": 1_790_000_000,
    "livemode": True,
    "data": {"object": {"id": "po_1", "object": "payout", "description": "x" * 2800}},
}


def test_an_unknown_event_costs_under_a_millisecond_and_touches_no_table(shop: Shop) -> None:
    body = json.dumps(EVENT)
    signed = signature(body.encode(), ("whsec_local",), int(time.time()))
    headers = {"Stripe-Signature": signed}
    event = api_event("POST", "/v1/webhooks/stripe", body=body, headers=headers, store=None)
    assert len(body) > 2900
    assert shop.invoke("stripe_webhook", event)["statusCode"] == 200  # made its parts
    before, seconds = shop.tables.client.calls.total(), []
    for _ in range(100):
        started = time.process_time()
        answer = shop.invoke("stripe_webhook", event)
        seconds.append(time.process_time() - started)
        assert json.loads(answer["body"]) == {"result": "ignored"}
    assert shop.tables.client.calls.total() == before
    assert shop.asked_stripe() == []
    assert min(seconds) < 0.001  # the others were disturbed
