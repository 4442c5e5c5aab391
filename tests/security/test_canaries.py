"""Strings planted where people and secrets are, looked for where they must not be."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from tests.functions.http import api_event
from tests.functions.shop import CHAT, USER, Shop
from tests.functions.webhook_world import signed

NAME, EMAIL, REASON, SEARCH = "Kanaria Vogel", "kanaria@bird.example", "weil-kanaria", "kanaria vog"
KEY, TOKEN, SECRET, CURSOR = "sk_live_canary", "123:canary", "whsec_canary", "cursor-canary"
PLANTED = (NAME, EMAIL, REASON, SEARCH, KEY, TOKEN, SECRET, CURSOR, "Vogel", "bird.example")


@pytest.fixture
def output(log: io.StringIO, capfd: pytest.CaptureFixture[str]) -> Any:
    def read() -> str:
        captured = capfd.readouterr()
        return log.getvalue() + captured.out + captured.err

    return read


def test_nothing_planted_is_logged_or_told(shop: Shop, output: Any) -> None:
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    shop.stripe.live.subscribe(product=product, name=NAME, email=EMAIL, telegram_user_id=USER)
    shop.deliver()
    purchase = shop.purchase()
    path = shop.path_of(purchase, "cancel")
    shop.get("/v1/customers", [("search", SEARCH)])
    shop.get("/v1/customers", [("search", SEARCH), ("cursor", EMAIL)])
    shop.get("/v1/customers", [("nonsense", EMAIL)])
    event = api_event("POST", path, body=json.dumps({"when": EMAIL, "reason": REASON, "x": NAME}))
    shop.invoke("cancel_purchase", event)
    broken = shop.stripe.events(types=["customer.created"])[0]
    broken["data"]["object"]["created"] = NAME
    broken["id"] = "evt_broken"
    body = json.dumps(broken).encode()
    shop.receive(body, {"Stripe-Signature": signed(body)})
    shop.secrets.values["STRIPE_API_SECRET_ARN"] = {"live": KEY}
    shop.secrets.values["TELEGRAM_SECRET_ARN"] = {"token": TOKEN}
    shop.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": [SECRET]}
    shop.secrets.values["CURSOR_SECRET_ARN"] = {"key": CURSOR}
    from tests.functions.shop import forget_what_was_made  # noqa: PLC0415

    forget_what_was_made()
    _, refused = shop.cancel(reason=REASON)
    shop.receive(body, {"Stripe-Signature": signed(body, SECRET)})
    shop.receive(body, {"Stripe-Signature": "t=1,v1=" + SECRET})
    shop.sweep()
    told = json.dumps(refused)
    assert not [part for part in PLANTED if part in told]
    logged = output()
    assert "parked" in logged
    assert not [part for part in PLANTED if part in logged]


def test_two_webhook_secrets_are_taken_while_one_replaces_the_other(shop: Shop) -> None:
    shop.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": ["whsec_new", "whsec_old"]}
    event = {"object": "event", "id": "e", "type": "ping", "created": 1, "data": {"object": {}}}
    body = json.dumps(event).encode()
    for secret, status in (("whsec_new", 200), ("whsec_old", 200), ("whsec_older", 400)):
        assert shop.receive(body, {"Stripe-Signature": signed(body, secret)}) == status


def test_a_new_webhook_secret_is_taken_before_the_cached_one_has_aged(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"object": "event", "id": "e", "type": "ping", "created": 1, "data": {"object": {}}}
    body = json.dumps(event).encode()
    assert shop.receive(body, {"Stripe-Signature": signed(body)}) == 200
    shop.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": ["whsec_new"]}
    from shared import wiring  # noqa: PLC0415

    real = time.monotonic
    monkeypatch.setattr(wiring.secrets(), "_monotonic", lambda: real() + 11)
    assert shop.receive(body, {"Stripe-Signature": signed(body, "whsec_new")}) == 200
    reads = len(shop.secrets.reads)
    for _ in range(20):
        assert shop.receive(body, {"Stripe-Signature": signed(body, "whsec_bad")}) == 400
    assert len(shop.secrets.reads) == reads
