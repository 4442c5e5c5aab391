"""What is sent to AWS, Stripe and Telegram is what they take: in every test (tests/guards.py), and
here that the guard would notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ParamValidationError

from shared.compose import BUDGETS, Composition
from shared.integrations.stripe_gateway import Mode, StripeGateway
from shared.integrations.telegram_gateway import TelegramGateway, new_session
from shared.settings import Settings
from shared.storage.dynamo import Table
from shared.storage.schedules import Schedules
from shared.storage.secrets import Secrets
from tests import outgoing
from tests.dynamo import Tables
from tests.functions.conftest import FakeSecretsManager
from tests.functions.shop import CHAT, USER, FakeScheduler, Shop
from tests.guards import Breach, breaches
from tests.memory_dynamo.database import MemoryDynamo

LIVE = Mode(livemode=True)


@pytest.mark.parametrize("kind", ["memory_tables", "dynoxide_tables"])
def test_the_database_of_every_test_refuses_what_botocore_does_not_take(
    request: pytest.FixtureRequest, kind: str
) -> None:
    tables: Tables = request.getfixturevalue(kind)
    name = tables.records.name
    for wrong in (
        {"TableName": name, "Key": {"pk": {"S": 1}, "sk": {"S": "x"}}},
        {"TableName": name, "Key": {"pk": "x", "sk": {"S": "x"}}},
        {"TableName": name, "Keys": {}},
        {"TableName": name},
    ):
        with pytest.raises(ParamValidationError):
            tables.client.get_item(**wrong)


@pytest.mark.parametrize(("variable", "checked"), [("", False), ("true", True)])
def test_functions_check_their_requests_where_they_are_tried(
    monkeypatch: pytest.MonkeyPatch, variable: str, checked: bool
) -> None:
    """local/deploy.py sets the variable; a deployment does without."""
    monkeypatch.setenv("VALIDATE_REQUESTS", variable)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("RECORDS_TABLE", "records")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")  # nobody listens there
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    assert Settings().validates_requests is checked
    client = Composition(BUDGETS["list_customers"]).aws("dynamodb")
    with pytest.raises(ParamValidationError if checked else EndpointConnectionError):
        client.get_item(TableName="records", Key={"pk": {"S": 5}})


def stripe() -> StripeGateway:
    return StripeGateway(
        lambda: {"live": "rk_live_x"}, "http://127.0.0.1:9", connect_timeout=1.0, read_timeout=1.0
    )


def telegram() -> TelegramGateway:
    return TelegramGateway(new_session(), "http://127.0.0.1:9", lambda **_: "1:x")


def table() -> Any:
    return Table(MemoryDynamo(), "records").client


def schedules() -> Any:
    return Schedules(FakeScheduler(), group="g", revoker_arn="a", role_arn="r")._client


def secrets() -> Any:
    return Secrets(FakeSecretsManager())._client


NOT_TAKEN: dict[str, Callable[[], Any]] = {
    "a refund": lambda: stripe()._ask("post", "/v1/refunds", LIVE, {"charge": "ch_1"}),
    "a schedule's cancel": lambda: stripe()._ask(
        "post", "/v1/subscription_schedules/sub_sched_1/cancel", LIVE
    ),
    "an unknown path": lambda: stripe().list_page("customer", LIVE),
    "an unknown parameter": lambda: stripe().list_page("events", LIVE, sorted="yes"),
    "a parameter of another type": lambda: stripe().list_page(
        "events", LIVE, delivery_success="false"
    ),
    "an unknown parameter within": lambda: stripe().list_page(
        "events", LIVE, **{"created[after]": 1}
    ),
    "a ban": lambda: telegram()._call("banChatMember", {"chat_id": CHAT, "user_id": USER}, 1),
    "a parameter Telegram doesn't know": lambda: telegram()._call(
        "unbanChatMember", {"chat_id": CHAT, "user_id": USER, "only_if_baned": True}, 1
    ),
    "a user by name": lambda: telegram()._call(
        "getChatMember", {"chat_id": CHAT, "user_id": "@name"}, 1
    ),
    "a user nobody named": lambda: telegram()._call("getChatMember", {"chat_id": CHAT}, 1),
    "a key that is no string": lambda: table().get_item(
        TableName="records", Key={"pk": {"S": "BOT"}, "sk": {"S": 5}}
    ),
    "an option that DynamoDB doesn't know": lambda: table().get_item(
        TableName="records", Key={"pk": {"S": "BOT"}, "sk": {"S": "STATE"}}, Consistent=True
    ),
    "a schedule without a time": lambda: schedules().create_schedule(Name="x", GroupName="g"),
    "a secret by another name": lambda: secrets().get_secret_value(SecretArn="a"),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_others_do_not_take_fails_its_test(name: str) -> None:
    with pytest.raises(Breach):
        NOT_TAKEN[name]()
    assert breaches
    breaches.clear()


def test_what_is_checked_once_is_checked_by_its_shape() -> None:
    request = {"TableName": "records", "Key": {"pk": {"S": "a"}, "sk": {"S": "b"}}}
    for _ in range(2):
        assert outgoing.aws_problem("dynamodb", "get_item", request) is None
    for wrong in ({"S": 1}, {"N": 1}, "a", {}):
        changed = {**request, "Key": {"pk": {"S": "a"}, "sk": wrong}}
        problem = outgoing.aws_problem("dynamodb", "get_item", changed)
        assert (problem is None) == (wrong == {})  # botocore takes an empty union


def test_the_stand_in_has_nothing_to_object_to(shop: Shop) -> None:
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    shop.stripe.live.subscribe(product=product, telegram_user_id=USER)
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    shop.cancel()
    assert shop.telegram.requests()
    assert shop.telegram.violations() == []
