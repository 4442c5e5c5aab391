"""A secret that was changed while functions run, through the functions themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from shared import compose
from shared.domain.deadline import Deadline
from shared.storage.bot import Bot
from shared.storage.secrets import MAX_AGE_SECONDS, MIN_REFRESH_SECONDS, Secrets
from tests.functions.conftest import FakeSecretsManager
from tests.functions.shop import CHAT, USER, Shop, forget_what_was_made
from tests.functions.webhook_world import signed

PING = json.dumps(
    {"object": "event", "id": "e", "type": "ping", "created": 1, "data": {"object": {}}}
).encode()


@pytest.fixture
def bought(shop: Shop) -> Shop:
    """A shop with a buyer, whose functions have read every secret."""
    shop.sell()
    for arn in ("STRIPE_API_SECRET_ARN", "TELEGRAM_SECRET_ARN"):
        compose.function("cancel_purchase").secrets.get(arn)
    shop.secrets.reads.clear()
    return shop


@pytest.fixture
def some_seconds_later(bought: Shop) -> None:
    bought.seconds_passed += MIN_REFRESH_SECONDS + 1


@pytest.mark.usefixtures("some_seconds_later")
def test_a_stripe_key_that_was_rolled_is_read_once_more_and_the_cancel_succeeds(
    bought: Shop,
) -> None:
    bought.stripe.api_keys = ("sk_live_new",)
    bought.secrets.values["STRIPE_API_SECRET_ARN"] = {"live": "sk_live_new"}
    status, answer = bought.cancel()
    assert (status, answer["purchase"]["status"]) == (200, "cancelled")
    assert bought.secrets.reads == ["STRIPE_API_SECRET_ARN"]
    refused = [r for r in bought.stripe.requests if r.status == 401]
    assert len(refused) == 1


@pytest.mark.usefixtures("some_seconds_later")
def test_a_bot_token_that_was_revoked_is_read_once_more_and_the_buyer_leaves(bought: Shop) -> None:
    api = bought.telegram.bot_api
    before = api.settings
    api.settings = replace(before, token="123:changed")
    bought.secrets.values["TELEGRAM_SECRET_ARN"] = {"token": "123:changed"}
    try:
        status, answer = bought.cancel()
    finally:
        api.settings = before
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    assert bought.secrets.reads == ["TELEGRAM_SECRET_ARN"]
    assert api.status_of(CHAT, USER) == "left"
    assert Bot(bought.tables.records).state().paused_until == 0


@pytest.mark.usefixtures("some_seconds_later")
def test_a_bad_signature_has_the_secret_read_once_more_and_no_stream_of_them_oftener(
    bought: Shop,
) -> None:
    bought.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": ["whsec_new"]}
    for _ in range(50):
        assert bought.receive(PING, {"Stripe-Signature": signed(PING, "whsec_bad")}) == 400
    assert bought.secrets.reads == ["STRIPE_WEBHOOK_SECRET_ARN"]
    assert bought.receive(PING, {"Stripe-Signature": signed(PING, "whsec_new")}) == 200
    assert bought.secrets.reads == ["STRIPE_WEBHOOK_SECRET_ARN"]


@pytest.mark.usefixtures("some_seconds_later")
def test_a_key_that_stays_refused_is_told_and_nothing_reported_as_done(bought: Shop) -> None:
    bought.stripe.api_keys = ("sk_live_new",)
    status, answer = bought.cancel()
    assert (status, answer["code"]) == (502, "stripe_refused")
    assert bought.secrets.reads == ["STRIPE_API_SECRET_ARN"]
    assert bought.purchase()["status"] == "active"


def test_without_secrets_manager_the_last_copy_serves_and_none_is_a_fault_that_may_pass(
    bought: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(**_: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="secretsmanager")

    monkeypatch.setattr(FakeSecretsManager, "get_secret_value", lambda self, **_: down())
    bought.seconds_passed += MAX_AGE_SECONDS + 1
    assert bought.receive(PING, {"Stripe-Signature": signed(PING)}) == 200
    forget_what_was_made()
    assert bought.receive(PING, {"Stripe-Signature": signed(PING)}) >= 500


def test_a_secret_is_read_again_after_five_minutes_and_not_before() -> None:
    now = [0.0]
    manager = FakeSecretsManager()
    secrets = Secrets(manager, Deadline(lambda: now[0]))
    for now[0], reads in ((0.0, 1), (299.0, 1), (300.0, 2), (301.0, 2)):
        secrets.get("CURSOR_SECRET_ARN")
        assert len(manager.reads) == reads


@pytest.mark.parametrize("value", [[], "x", 5, None])
def test_an_error_never_shows_a_secret_that_is_no_object(value: Any) -> None:
    manager = FakeSecretsManager()
    manager.values["CURSOR_SECRET_ARN"] = value
    with pytest.raises(RuntimeError, match=r"^a secret is not a JSON object$"):
        Secrets(manager).get("CURSOR_SECRET_ARN")
