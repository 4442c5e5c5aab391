"""Functions run through their ``lambda_handler`` on real tables."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared import compose
from shared.observability import logger
from tests.dynamo import Tables

SECRET_ARNS: dict[str, dict[str, Any]] = {
    "STRIPE_API_SECRET_ARN": {"live": "sk_live_local", "test": "sk_test_local"},
    "STRIPE_WEBHOOK_SECRET_ARN": {"secrets": ["whsec_local"]},
    "TELEGRAM_SECRET_ARN": {"token": "123:local"},
    "CURSOR_SECRET_ARN": {"key": "a key of the tests"},
}


ENVIRONMENT = {
    "RECORDS_TABLE": "records",
    "INDEX_TABLE": "customer-index",
    "SCHEDULE_GROUP": "customers",
    "SCHEDULE_ROLE_ARN": "arn:aws:iam::000000000000:role/schedule",
    "REVOKER_ARN": "arn:aws:lambda:us-east-1:000000000000:function:period-end-revoker",
    "STRIPE_EVENT_SOURCE": "aws.partner/stripe.com/ed_1",
    "POWERTOOLS_SERVICE_NAME": "tests",
    "POWERTOOLS_METRICS_NAMESPACE": "Customers",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    **{name: name for name in SECRET_ARNS},
}


@dataclass
class FakeSecretsManager:
    """Secrets Manager with state. The ARN of a secret is its variable's name.

    Attributes:
        values: ARN → the secret's object; change it to rotate.
        reads: ARNs in the order they were asked for.
    """

    values: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {arn: dict(value) for arn, value in SECRET_ARNS.items()}
    )
    reads: list[str] = field(default_factory=list)

    def get_secret_value(self, **request: Any) -> dict[str, Any]:
        self.reads.append(request["SecretId"])
        return {"SecretString": json.dumps(self.values[request["SecretId"]])}


@pytest.fixture
def secrets_manager() -> FakeSecretsManager:
    return FakeSecretsManager()


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of every function."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def wired(
    tables: Tables,
    secrets_manager: FakeSecretsManager,
    monkeypatch: pytest.MonkeyPatch,
    environ: None,
) -> Iterator[Tables]:
    """The functions on the test's own tables.

    Calls go through ``tables.client``, which counts them and may be told to fail.
    """
    monkeypatch.setenv("RECORDS_TABLE", tables.records.name)
    monkeypatch.setenv("INDEX_TABLE", tables.index.name)
    clients = {"dynamodb": tables.client, "secretsmanager": secrets_manager}
    with compose.replaced(aws=clients.__getitem__):
        yield tables
    monkeypatch.undo()


class Context:
    """Lambda's context object."""

    function_name = "tests"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:tests"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the functions log, as it would reach CloudWatch."""
    text = io.StringIO()
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    monkeypatch.setattr(handler, "stream", text)
    return text
