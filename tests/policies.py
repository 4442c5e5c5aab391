"""What each function's role in the template allows, in the words of the calls it makes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from tests.template.expanded import as_list, statements

ROLES = {
    "list_customers": "ListCustomersRole",
    "get_customer": "GetCustomerRole",
    "cancel_purchase": "CancelPurchaseRole",
    "stripe_webhook": "StripeWebhookRole",
    "stripe_bus": "StripeBusRole",
    "store_events": "StoreEventsRole",
    "period_end_revoker": "PeriodEndRevokerRole",
}
# What a role must allow that is not asked for through our own clients, and why.
BESIDES = {
    "logs:CreateLogStream": "Lambda itself writes the log",
    "logs:PutLogEvents": "Lambda itself writes the log",
    "iam:PassRole": "asked for by CreateSchedule and UpdateSchedule, which name the role",
    "sqs:SendMessage": "Lambda itself sends what failed to its destination",
    "sqs:ReceiveMessage": "Lambda itself takes messages from a function's queue",
    "sqs:DeleteMessage": "Lambda itself deletes those whose run succeeded",
    "sqs:GetQueueAttributes": "Lambda itself looks how long the queue is",
}
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_RESOURCES = (
    ("index/by_ref", "records/index/by_ref"),
    ("index/due", "records/index/due"),
    ("index/attention", "records/index/attention"),
    ("RecordsTable", "records"),
    ("CustomerIndexTable", "index"),
    (":schedule/", "schedules"),
    ("StripeApiSecret", "STRIPE_API_SECRET_ARN"),
    ("StripeWebhookSecret", "STRIPE_WEBHOOK_SECRET_ARN"),
    ("TelegramSecret", "TELEGRAM_SECRET_ARN"),
    ("CursorSecret", "CURSOR_SECRET_ARN"),
)

Call = tuple[str, str]
"""(action, resource): a table, an index, a secret's variable or ``schedules``."""


@cache
def granted(function: str) -> frozenset[Call]:
    """All that a function's role allows, but for :data:`BESIDES`."""
    return frozenset(
        (action, _resource(resource))
        for statement in statements(ROLES[function])
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if action not in BESIDES
    )


def _resource(resource: Any) -> str:
    text = json.dumps(resource)
    for mark, name in _RESOURCES:
        if mark in text:
            return name
    raise AssertionError(f"unknown resource: {text}")


def calls(service: str, method: str, request: Mapping[str, Any]) -> Iterator[Call]:
    """What a request needs to be allowed."""
    operation = "".join(word.capitalize() for word in method.split("_"))
    if service == "secretsmanager":
        yield f"secretsmanager:{operation}", request["SecretId"]
    elif service == "scheduler":
        yield f"scheduler:{operation}", "schedules"
    elif method == "transact_write_items":
        for action in request["TransactItems"]:
            ((kind, body),) = action.items()
            yield f"dynamodb:{_TRANSACTION[kind]}", _table(body["TableName"])
    elif "RequestItems" in request:
        for name in request["RequestItems"]:
            yield f"dynamodb:{operation}", _table(name)
    elif "IndexName" in request:
        yield (
            f"dynamodb:{operation}",
            f"{_table(request['TableName'])}/index/{request['IndexName']}",
        )
    else:
        yield f"dynamodb:{operation}", _table(request["TableName"])


def _table(name: str) -> str:
    return "records" if name.startswith("records") else "index"
