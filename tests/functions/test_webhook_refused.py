"""What the webhook refuses is counted, and a refused signature is noted for the doctor."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from functions.stripe_webhook.refusals import GAP_SECONDS
from shared.storage.stripe_notes import StripeNotes
from standins.stripe.deliveries import signature
from tests.functions.http import api_event
from tests.functions.shop import Shop

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.created",
    "created": 1_790_000_000,
    "livemode": True,
    "data": {"object": {"id": "cus_1", "object": "customer", "name": "Renée"}},
}


def post(shop: Shop, body: Any, secret: str = "whsec_other", header: str | None = None) -> int:
    text = body if isinstance(body, str) else json.dumps(body)
    signed = signature(text.encode(), [secret], int(time.time()))
    headers = {"Stripe-Signature": signed if header is None else header}
    return shop.receive(text.encode(), headers)


def notes(shop: Shop) -> list[dict[str, Any]]:
    """The notes of refused signatures, without their times."""
    return [
        {name: next(iter(value.values())) for name, value in item.items() if name != "refused_at"}
        for item in shop.tables.dump(shop.tables.records)
        if item["pk"]["S"] == "STRIPE"
    ]


def refused(capsys: pytest.CaptureFixture[str]) -> float:
    """How often the metric was counted since the last look."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted: float = sum(line["EventRefused"][0] for line in lines if "EventRefused" in line)
    return counted


@pytest.mark.parametrize(
    ("body", "secret", "header"),
    [
        (EVENT, "whsec_other", None),
        (EVENT, "whsec_local", ""),
        (EVENT, "whsec_local", "t=1,v1=00"),
        ("no event", "whsec_local", None),
        ("x" * (1024 * 1024 + 1), "whsec_local", None),
    ],
    ids=["secret", "no signature", "old", "no event", "large"],
)
def test_every_refused_request_is_counted(
    shop: Shop, capsys: pytest.CaptureFixture[str], body: Any, secret: str, header: str | None
) -> None:
    assert post(shop, body, secret, header) in (400, 413)
    assert refused(capsys) == 1


def test_an_event_that_is_taken_or_put_off_is_not_counted_as_refused(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert post(shop, EVENT, "whsec_local") == 200

    def down(*_: Any) -> None:
        raise ConnectTimeoutError(endpoint_url="dynamodb")

    shop.tables.client.hook = down
    assert post(shop, {**EVENT, "id": "evt_2"}, "whsec_local") == 503
    assert refused(capsys) == 0


def test_a_refused_signature_is_noted_by_mode(shop: Shop) -> None:
    assert post(shop, EVENT) == 400
    shop.seconds_passed += GAP_SECONDS
    assert post(shop, {**EVENT, "id": "evt_test", "livemode": False}) == 400
    assert notes(shop) == [
        {"pk": "STRIPE", "sk": "REFUSED#live", "event_id": "evt_1"},
        {"pk": "STRIPE", "sk": "REFUSED#test", "event_id": "evt_test"},
    ]
    refusal = StripeNotes(shop.tables.records).last_refusal(livemode=True)
    assert refusal is not None
    assert abs(refusal.at - time.time()) < 60


def test_a_stream_of_refused_deliveries_is_noted_once_a_minute(shop: Shop) -> None:
    calls = shop.tables.client.calls
    for number in range(50):
        post(shop, {**EVENT, "id": f"evt_{number}"})
    assert calls.total() == 1
    shop.seconds_passed += GAP_SECONDS
    post(shop, {**EVENT, "id": "evt_later"})
    assert calls.total() == 2
    assert [note["event_id"] for note in notes(shop)] == ["evt_later"]


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (EVENT, "nonsense"),
        (EVENT, ""),
        ("{", None),
        ("[]", None),
        ({**EVENT, "object": "customer"}, None),
        ({**EVENT, "id": "jane@example.com"}, None),
        ({**EVENT, "id": f"evt_{'1' * 1000}"}, None),
        ({**EVENT, "id": ["evt_1"]}, None),
        ({**EVENT, "livemode": "true"}, None),
    ],
    ids=str,
)
def test_nothing_of_a_refused_delivery_is_noted_but_an_id_of_stripes_form(
    shop: Shop, body: Any, header: str | None
) -> None:
    assert post(shop, body, header=header) == 400
    assert notes(shop) == []


def test_a_note_that_cannot_be_stored_changes_no_answer(shop: Shop) -> None:
    def down(*_: Any) -> None:
        raise ConnectTimeoutError(endpoint_url="dynamodb")

    shop.tables.client.hook = down
    assert post(shop, EVENT) == 400
    shop.tables.client.hook = None
    assert notes(shop) == []
    assert post(shop, EVENT, "whsec_local") == 200


def test_a_good_event_costs_no_call_more(shop: Shop) -> None:
    shop.stripe.live.subscribe()
    shop.deliver()
    (renewed,) = (
        event for event in shop.stripe.events(types=["customer.subscription.updated"])[-1:]
    )
    later = {**renewed, "id": "evt_later", "created": renewed["created"] + 60}
    later["data"] = {"object": renewed["data"]["object"]}
    before = shop.tables.client.calls.total()
    assert shop.post_signed(later)[0] == 200
    assert shop.tables.client.calls.total() == before + 1
    assert notes(shop) == []


def test_the_body_of_a_refused_event_is_not_logged(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    event = api_event("POST", "/v1/webhooks/stripe", body=json.dumps(EVENT), store=None)
    assert shop.invoke("stripe_webhook", event)["statusCode"] == 400
    assert "Renée" not in capsys.readouterr().out
