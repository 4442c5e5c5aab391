"""What the template deploys: routes, functions, and exactly the permissions each one needs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from shared.compose import BUDGETS
from tests.template.expanded import (
    CONSOLE,
    ROOT,
    TEMPLATE,
    as_list,
    functions,
    of_type,
    properties,
    resources,
    statements,
)

STRIPE_BUS = ("StripeBus", "StripeEvent")
OF_THE_BUS = "HasStripeEventSource"
READ = ("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query")
WRITE = (
    *READ,
    "dynamodb:ConditionCheckItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
)
RECORDS = '{"Fn::GetAtt": ["RecordsTable", "Arn"]}'
BY_REF = '{"Fn::Sub": "${RecordsTable.Arn}/index/by_ref"}'
DUE = '{"Fn::Sub": "${RecordsTable.Arn}/index/due"}'
ATTENTION = '{"Fn::Sub": "${RecordsTable.Arn}/index/attention"}'
INDEX = '{"Fn::GetAtt": ["CustomerIndexTable", "Arn"]}'
SCHEDULES = json.dumps(
    {
        "Fn::Sub": "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}"
        ":schedule/${ScheduleGroup}/*"
    }
)
SCHEDULE_ROLE = '{"Fn::GetAtt": ["ScheduleRole", "Arn"]}'

Permissions = dict[str, set[str]]


def secret(name: str) -> str:
    return json.dumps({"Fn::GetAtt": [name, "Id"]})


def logs(function: str) -> Permissions:
    group = json.dumps({"Fn::Sub": f"${{{function}LogGroup.Arn}}"})
    return {group: {"logs:CreateLogStream", "logs:PutLogEvents"}}


def reads(*secrets: str) -> Permissions:
    return {secret(name): {"secretsmanager:GetSecretValue"} for name in secrets}


ACTING: Permissions = {
    RECORDS: set(WRITE),
    INDEX: {"dynamodb:DeleteItem", "dynamodb:PutItem"},
    SCHEDULES: {"scheduler:CreateSchedule", "scheduler:UpdateSchedule"},
    SCHEDULE_ROLE: {"iam:PassRole"},
    **reads("StripeApiSecret"),
}

# Only these two remove anybody, and only they take a schedule back. What only stores what it is
# told neither reads Telegram's secret nor deletes a schedule.
REMOVING: Permissions = {
    **reads("TelegramSecret"),
    SCHEDULES: {
        "scheduler:CreateSchedule",
        "scheduler:DeleteSchedule",
        "scheduler:UpdateSchedule",
    },
}

# An answer that is no answer, and a guest that has become a customer.
DELETING: Permissions = {RECORDS: {*WRITE, "dynamodb:DeleteItem"}}

# All that each function may do: resource to actions.
PERMISSIONS: dict[str, Permissions] = {
    "ListCustomers": {
        **logs("ListCustomers"),
        RECORDS: {"dynamodb:GetItem", "dynamodb:Query"},
        BY_REF: {"dynamodb:Query"},
        INDEX: {"dynamodb:Query"},
        **reads("CursorSecret"),
    },
    "GetCustomer": {
        **logs("GetCustomer"),
        RECORDS: set(READ),
        ATTENTION: {"dynamodb:Query"},
        **reads("CursorSecret"),
    },
    "CancelPurchase": {**logs("CancelPurchase"), **ACTING, **REMOVING, **DELETING},
    "StripeWebhook": {
        **logs("StripeWebhook"),
        **ACTING,
        **DELETING,
        BY_REF: {"dynamodb:Query"},
        **reads("StripeWebhookSecret"),
    },
    "StripeBus": {
        **logs("StripeBus"),
        **ACTING,
        **DELETING,
        BY_REF: {"dynamodb:Query"},
        '{"Fn::GetAtt": ["StripeBusQueue", "Arn"]}': {
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        },
    },
    "StoreEvents": {
        **logs("StoreEvents"),
        **ACTING,
        BY_REF: {"dynamodb:Query"},
        '{"Fn::GetAtt": ["StoreEventsFailures", "Arn"]}': {"sqs:SendMessage"},
    },
    "PeriodEndRevoker": {
        **logs("PeriodEndRevoker"),
        **ACTING,
        **REMOVING,
        **DELETING,
        BY_REF: {"dynamodb:Query"},
        DUE: {"dynamodb:Query"},
        ATTENTION: {"dynamodb:Query", "dynamodb:Scan"},
        '{"Fn::GetAtt": ["RevokerFailures", "Arn"]}': {"sqs:SendMessage"},
    },
    "ConsoleLogin": logs("ConsoleLogin"),
}

ROUTES = {
    ("get", "/v1/customers"): ("ListCustomers", True),
    ("get", "/v1/products"): ("ListCustomers", True),
    ("get", "/v1/openapi.json"): ("ListCustomers", False),
    ("get", "/v1/customers/{customer_id}"): ("GetCustomer", True),
    ("get", "/v1/customers/{customer_id}/purchases"): ("GetCustomer", True),
    ("get", "/v1/customers/{customer_id}/transactions"): ("GetCustomer", True),
    ("post", "/v1/customers/{customer_id}/purchases/{purchase_id}/cancel"): (
        "CancelPurchase",
        True,
    ),
    ("post", "/v1/customers/{customer_id}/purchases/{purchase_id}/revocation"): (
        "CancelPurchase",
        True,
    ),
    ("get", "/v1/customers/{customer_id}/purchases/{purchase_id}/cancel_preview"): (
        "GetCustomer",
        True,
    ),
    ("get", "/v1/attention"): ("GetCustomer", True),
    ("get", "/v1/chats"): ("GetCustomer", True),
    ("post", "/v1/attention/retry"): ("CancelPurchase", True),
    ("post", "/v1/webhooks/stripe"): ("StripeWebhook", False),
}

FUNCTIONS = [name.replace("_", "-") for name in BUDGETS]

COMMON = {
    "AWS_CA_BUNDLE",
    "POWERTOOLS_METRICS_NAMESPACE",
    "PYTHONWARNINGS",
    "POWERTOOLS_SERVICE_NAME",
    "DEFAULT_STORE",
    "RECORDS_TABLE",
}
ACTS = {
    "INDEX_TABLE",
    "SCHEDULE_GROUP",
    "SCHEDULE_ROLE_ARN",
    "REVOKER_ARN",
    "STRIPE_API_BASE",
    "STRIPE_API_SECRET_ARN",
    "SETTLE_SECONDS",
    "PRODUCT_SCOPE",
}
REMOVES = {"TELEGRAM_API_BASE", "TELEGRAM_SECRET_ARN"}
SETTINGS = {
    "list-customers": {"STORE_CLAIM", "INDEX_TABLE", "CURSOR_SECRET_ARN"},
    "get-customer": {"STORE_CLAIM", "CURSOR_SECRET_ARN"},
    "cancel-purchase": {"STORE_CLAIM", *ACTS, *REMOVES},
    "stripe-webhook": {"STRIPE_WEBHOOK_SECRET_ARN", *ACTS},
    "stripe-bus": {"STRIPE_EVENT_SOURCE", *ACTS},
    "store-events": ACTS,
    "period-end-revoker": {*ACTS, *REMOVES},
    "console-login": {"STORE_CLAIM"},
}


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    paths = properties("Api")["Body"]["paths"]
    return {
        (method, path): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method != "options"
    }


# -- API -------------------------------------------------------------------------------------------


def test_the_api_has_exactly_the_documented_routes() -> None:
    assert set(operations()) == set(ROUTES)


@pytest.mark.parametrize(("route", "expected"), ROUTES.items(), ids=str)
def test_a_route_leads_to_its_function_and_asks_for_a_token(
    route: tuple[str, str], expected: tuple[str, bool]
) -> None:
    function, needs_token = expected
    operation = operations()[route]
    integration = operation["x-amazon-apigateway-integration"]
    assert f"${{{function}Function.Arn}}" in json.dumps(integration["uri"])
    assert integration["payloadFormatVersion"] == "2.0"
    tokens = [scheme for entry in operation.get("security", []) for scheme in entry]
    assert tokens == (["StoreToken"] if needs_token else ["NONE"])


def test_tokens_are_checked_against_the_issuer_and_audience_of_the_deployment() -> None:
    schemes = properties("Api")["Body"]["components"]["securitySchemes"]
    authorizer = schemes["StoreToken"]["x-amazon-apigateway-authorizer"]
    assert authorizer["type"] == "jwt"
    assert authorizer["identitySource"] == "$request.header.Authorization"
    assert authorizer["jwtConfiguration"] == {
        "issuer": {
            "Fn::If": [
                "HasUserPool",
                {"Fn::GetAtt": ["UserPool", "ProviderURL"]},
                {"Ref": "JwtIssuer"},
            ]
        },
        "audience": [
            {"Fn::If": ["HasUserPool", {"Ref": "UserPoolClient"}, {"Ref": "JwtAudience"}]}
        ],
    }


def test_access_logs_hold_no_path_query_or_address() -> None:
    (stage,) = of_type("AWS::ApiGatewayV2::Stage").values()
    logged = stage["Properties"]["AccessLogSettings"]["Format"]
    assert json.loads(logged)
    for personal in ("path", "query", "sourceIp", "identity", "authorizer.claims", "Header"):
        assert personal not in logged


def test_browsers_may_call_the_api_from_the_console_only() -> None:
    cors = properties("Api")["Body"]["x-amazon-apigateway-cors"]
    assert cors["allowOrigins"] == [CONSOLE]
    assert set(cors["allowHeaders"]) == {"authorization", "content-type", "idempotency-key"}


# -- functions -------------------------------------------------------------------------------------


def test_the_functions_run_on_arm() -> None:
    for function in functions().values():
        assert function["Runtime"] == "python3.13"
        assert function["Architectures"] == ["arm64"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_functions_handler_exists(name: str) -> None:
    module, _, handler = functions()[name]["Handler"].rpartition(".")
    assert module == f"functions.{name.replace('-', '_')}.handler"
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert f"def {handler}(" in source


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_the_settings_it_uses_and_no_others(name: str) -> None:
    variables = functions()[name]["Environment"]["Variables"]
    assert set(variables) == COMMON | SETTINGS[name]
    assert variables["POWERTOOLS_SERVICE_NAME"] == name.replace("-", "_")


def test_the_revokers_spelled_out_arn_is_its_own() -> None:
    arn = functions()["cancel-purchase"]["Environment"]["Variables"]["REVOKER_ARN"]["Fn::Sub"]
    name = properties("PeriodEndRevokerFunction")["FunctionName"]["Fn::Sub"]
    assert arn.endswith(f":function:{name}")


def test_every_function_logs_to_a_group_that_forgets() -> None:
    for function in functions().values():
        group = properties(function["LoggingConfig"]["LogGroup"]["Ref"])
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        assert (
            group["LogGroupName"]["Fn::Sub"] == f"/aws/lambda/{function['FunctionName']['Fn::Sub']}"
        )


# -- permissions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", PERMISSIONS)
def test_a_function_may_do_exactly_what_it_needs(function: str) -> None:
    granted: Permissions = {}
    for statement in statements(f"{function}Role"):
        assert statement["Effect"] == "Allow"
        for resource in as_list(statement["Resource"]):
            granted.setdefault(json.dumps(resource), set()).update(as_list(statement["Action"]))
    assert granted == PERMISSIONS[function]


def test_every_function_has_its_own_role_without_managed_policies() -> None:
    roles = [f["Role"]["Fn::GetAtt"][0] for f in functions().values()]
    assert len(set(roles)) == len(roles)
    for role in of_type("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role["Properties"]


def test_no_policy_speaks_of_everything() -> None:
    for name in of_type("AWS::IAM::Role"):
        for statement in statements(name):
            assert not any("*" in action for action in as_list(statement["Action"]))
            assert "*" not in as_list(statement["Resource"])
            assert "NotAction" not in statement
            assert "NotResource" not in statement


def test_the_schedules_role_may_only_invoke_the_revoker() -> None:
    (statement,) = statements("ScheduleRole")
    assert statement["Action"] == "lambda:InvokeFunction"
    revoker = functions()["cancel-purchase"]["Environment"]["Variables"]["REVOKER_ARN"]
    assert statement["Resource"] == revoker
    (trust,) = properties("ScheduleRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {
        "aws:SourceAccount": {"Ref": "AWS::AccountId"},
        "aws:SourceArn": {"Fn::GetAtt": ["ScheduleGroup", "Arn"]},
    }


def test_the_schedules_role_can_be_passed_to_the_scheduler_only() -> None:
    for function in PERMISSIONS:
        for statement in statements(f"{function}Role"):
            if "iam:PassRole" in as_list(statement["Action"]):
                assert statement["Condition"] == {
                    "StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}
                }


def test_only_the_gateway_the_bus_and_the_login_may_invoke_functions() -> None:
    principals = {
        permission["Properties"]["Principal"]
        for permission in of_type("AWS::Lambda::Permission").values()
    }
    assert principals == {
        "apigateway.amazonaws.com",
        "events.amazonaws.com",
        "cognito-idp.amazonaws.com",
    }
    for permission in of_type("AWS::Lambda::Permission").values():
        assert "SourceArn" in permission["Properties"]


# -- data ------------------------------------------------------------------------------------------


def test_the_records_are_backed_up_and_cannot_be_deleted_by_mistake() -> None:
    table = resources()["RecordsTable"]
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    recovery = table["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True}


def test_the_records_expire_and_have_an_index_of_what_is_due_overdue_and_of_references() -> None:
    table = properties("RecordsTable")
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_ttl", "Enabled": True}
    indexes = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    assert {
        name: [key["AttributeName"] for key in index["KeySchema"]]
        for name, index in indexes.items()
    } == {
        "due": ["due_shard", "due_at"],
        "by_ref": ["ref"],
        "attention": ["attention_pk", "attention_at"],
    }
    assert indexes["due"]["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert indexes["by_ref"]["Projection"] == {
        "ProjectionType": "INCLUDE",
        "NonKeyAttributes": ["subscription"],
    }


def test_tables_and_queues_are_encrypted() -> None:
    for table in of_type("AWS::DynamoDB::Table").values():
        assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}
        assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"
    for queue in of_type("AWS::SQS::Queue").values():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True


def test_no_secret_is_written_in_the_template() -> None:
    values = {
        name: secret["Properties"].get("SecretString")
        for name, secret in of_type("AWS::SecretsManager::Secret").items()
    }
    assert values == {
        "StripeApiSecret": "{}",
        "StripeWebhookSecret": '{"secrets": []}',
        "TelegramSecret": '{"token": ""}',
        "CursorSecret": None,
    }
    assert properties("CursorSecret")["GenerateSecretString"]["GenerateStringKey"] == "key"


# -- what fails is kept ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "queue"),
    [("PeriodEndRevoker", "RevokerFailures"), ("StoreEvents", "StoreEventsFailures")],
)
def test_an_event_that_keeps_failing_goes_to_a_queue(function: str, queue: str) -> None:
    config = properties(f"{function}FunctionEventInvokeConfig")
    assert config["MaximumRetryAttempts"] == 2
    destination = config["DestinationConfig"]["OnFailure"]["Destination"]
    assert destination == {"Fn::GetAtt": [queue, "Arn"]}


def test_events_of_the_store_are_retried_and_kept_when_undeliverable() -> None:
    rule = properties("StoreEventsFunctionStoreEvent")
    assert rule["EventPattern"] == {
        "source": ["grouptizer.store"],
        "detail-type": [
            "AccessCodeRedeemed",
            "TelegramLinked",
            "ProductChanged",
            "CustomerProfileChanged",
        ],
    }
    (target,) = rule["Targets"]
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 185
    assert target["DeadLetterConfig"]["Arn"] == {"Fn::GetAtt": ["StoreEventsUndelivered", "Arn"]}
    (statement,) = properties("StoreEventsUndeliveredPolicy")["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"]


# -- Stripe's events by EventBridge ----------------------------------------------------------------


def test_nothing_of_the_partner_event_source_is_made_where_none_is_named() -> None:
    ours = {name: r for name, r in resources().items() if name.startswith(STRIPE_BUS)}
    assert {r["Type"] for r in ours.values()} >= {
        "AWS::Events::EventBus",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::SQS::Queue",
    }
    assert {r.get("Condition") for r in ours.values()} == {OF_THE_BUS}
    template = yaml_parse(TEMPLATE.read_text())
    assert template["Parameters"]["StripeEventSource"]["Default"] == ""
    assert template["Conditions"][OF_THE_BUS] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "StripeEventSource"}, ""]}]
    }


def test_nothing_that_is_always_made_needs_the_partner_event_source() -> None:
    """CloudFormation refuses a reference to a resource that its condition leaves out."""
    ours = {name for name, r in resources().items() if r.get("Condition") == OF_THE_BUS}
    needing = {
        name
        for name, resource in resources().items()
        if resource.get("Condition") != OF_THE_BUS and ours & set(_named(resource))
    }
    assert needing == set()


def _named(resource: dict[str, Any]) -> list[str]:
    """All names in a resource but for those that are there under the condition only."""
    text = re.sub(rf'\["{OF_THE_BUS}", .*?, "none"\]', "", json.dumps(resource))
    return re.findall(r"\w+", text)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("", True),
        ("aws.partner/stripe.com/ed_61TEN0dErlaWJQzTZ16Qafnx2xSQhCzmf0WoqI1pgQSG", True),
        ("aws.partner/stripe.com/ed_test_61RM8ltWcTW4mbsxf16RJyfa2xSQLHJJh1sxm7H0KVT6", True),
        ("ed_61TEN0dErlaWJQzTZ16Qafnx2xSQhCzmf0WoqI1pgQSG", False),
        ("aws.partner/example.com/ed_1", False),
        ("aws.partner/stripe.com/", False),
    ],
)
def test_only_a_partner_event_source_of_stripes_is_taken(name: str, taken: bool) -> None:
    parameter = yaml_parse(TEMPLATE.read_text())["Parameters"]["StripeEventSource"]
    assert bool(re.fullmatch(parameter["AllowedPattern"], name)) == taken


def test_the_bus_is_the_sources_and_its_rule_fills_the_queue() -> None:
    source = {"Ref": "StripeEventSource"}
    assert properties("StripeEventBus") == {"Name": source, "EventSourceName": source}
    rule = properties("StripeEventRule")
    assert rule["EventBusName"] == {"Ref": "StripeEventBus"}
    assert rule["EventPattern"] == {"source": [source]}
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["StripeBusQueue", "Arn"]}
    assert "InputPath" not in target  # the function looks at the event's source
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 185
    assert target["DeadLetterConfig"]["Arn"] == {"Fn::GetAtt": ["StripeBusDeadLetters", "Arn"]}


@pytest.mark.parametrize("queue", ["StripeBusQueue", "StripeBusDeadLetters"])
def test_only_the_rule_for_stripes_events_fills_its_queues(queue: str) -> None:
    policy = properties(f"{queue}Policy")
    assert policy["Queues"] == [{"Ref": queue}]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    rule = {"Fn::GetAtt": ["StripeEventRule", "Arn"]}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": rule}}


def test_an_event_whose_run_fails_is_tried_for_as_long_as_stripe_would_send_it() -> None:
    (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
    queue = properties("StripeBusQueue")
    assert mapping["Properties"]["EventSourceArn"] == {"Fn::GetAtt": ["StripeBusQueue", "Arn"]}
    assert mapping["Properties"]["BatchSize"] == 1
    redrive = queue["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["StripeBusDeadLetters", "Arn"]}
    # https://docs.stripe.com/webhooks: up to three days.
    assert queue["VisibilityTimeout"] * redrive["maxReceiveCount"] == 3 * 86400
    assert queue["VisibilityTimeout"] < queue["MessageRetentionPeriod"]
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    assert queue["VisibilityTimeout"] >= 6 * functions()["stripe-bus"]["Timeout"]


def test_queues_keep_what_failed_for_two_weeks() -> None:
    for queue in of_type("AWS::SQS::Queue").values():
        assert queue["Properties"]["MessageRetentionPeriod"] == 14 * 86400


def test_the_sweep_runs_in_the_group_at_the_chosen_rate() -> None:
    sweep = properties("SweepSchedule")
    assert sweep["GroupName"] == {"Ref": "ScheduleGroup"}
    assert sweep["Target"]["Input"] == "{}"
    assert sweep["ScheduleExpression"] == {
        "Fn::If": [
            "SweepsEveryMinute",
            "rate(1 minute)",
            {"Fn::Sub": "rate(${SweepMinutes} minutes)"},
        ]
    }
