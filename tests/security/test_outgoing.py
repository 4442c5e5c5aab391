"""What is sent to AWS, Stripe and Telegram is what they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import botocore.session
import pytest
import stripe
from botocore.validate import ParamValidator

from shared.integrations.stripe_gateway import Mode, StripeGateway, SubscriptionRef
from tests.functions.shop import CHAT, USER, Shop

REF = SubscriptionRef("sub_1", livemode=True)


class Recorded(StripeGateway):
    """The gateway, with its requests kept instead of sent."""

    def __init__(self) -> None:
        super().__init__(lambda: {"live": "sk_live_x"}, "http://nowhere")
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def _send(
        self,
        key: str,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        options: Mapping[str, str],
    ) -> dict[str, Any]:
        self.sent.append((method, path, dict(params or {})))
        return {"data": [], "has_more": False, "status": "active"}


def test_the_database_of_every_test_gets_requests_that_botocore_has_checked(shop: Shop) -> None:
    """Deployed, that check is left out: it found nothing that these tests let through."""
    assert shop.tables.client._client.meta.config.parameter_validation is True


def test_schedules_are_as_eventbridge_scheduler_takes_them(shop: Shop) -> None:
    shop.stripe.live.subscribe()
    shop.deliver()
    shop.cancel("period_end")
    model = botocore.session.get_session().get_service_model("scheduler")
    (schedule,) = shop.scheduler.schedules.values()
    for operation in ("CreateSchedule", "UpdateSchedule"):
        shape = model.operation_model(operation).input_shape
        problems = ParamValidator().validate(schedule, shape)
        assert not problems.has_errors(), problems.generate_report()


CALLS: list[tuple[str, Any, Any]] = [
    (
        "cancel_subscription",
        lambda g: g.cancel_subscription(REF, idempotency_key="k"),
        stripe.params.SubscriptionCancelParams,
    ),
    (
        "cancel_at_period_end",
        lambda g: g.cancel_at_period_end(REF, idempotency_key="k"),
        stripe.params.SubscriptionUpdateParams,
    ),
    (
        "list_line_items",
        lambda g: list(g.list_line_items("cs_1", Mode(livemode=True))),
        stripe.params.checkout.SessionListLineItemsParams,
    ),
    (
        "list_balance_transactions",
        lambda g: list(g.list_balance_transactions("cus_1", Mode(livemode=True))),
        stripe.params.CustomerListBalanceTransactionsParams,
    ),
    (
        "webhook_endpoints",
        lambda g: list(g.list_all("webhook_endpoints", Mode(livemode=True))),
        stripe.params.WebhookEndpointListParams,
    ),
]


@pytest.mark.parametrize(("name", "call", "params"), CALLS, ids=[c[0] for c in CALLS])
def test_stripe_is_sent_parameters_of_its_sdk(name: str, call: Any, params: Any) -> None:
    gateway = Recorded()
    call(gateway)
    known = params.__annotations__
    ((_, _, sent),) = gateway.sent
    assert sent
    for parameter, value in sent.items():
        assert parameter in known, parameter
        assert type(value).__name__ in str(known[parameter]), parameter


def test_telegram_is_sent_parameters_of_its_bot_api(shop: Shop) -> None:
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    shop.stripe.live.subscribe(product=product, telegram_user_id=USER)
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    shop.cancel()
    assert shop.telegram.requests()
    assert shop.telegram.violations() == []


def test_a_key_that_was_refused_is_read_once_more(shop: Shop) -> None:
    shop.stripe.live.subscribe()
    shop.deliver()
    shop.secrets.values["STRIPE_API_SECRET_ARN"] = {"live": "sk_live_old"}
    shop.secrets.reads.clear()
    status, answer = shop.cancel()
    assert (status, answer["code"]) == (502, "stripe_refused")
    assert shop.secrets.reads.count("STRIPE_API_SECRET_ARN") == 1
