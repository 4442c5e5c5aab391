"""The local stack runs the template as AWS would, and nothing that dies takes data with it.

The functions here only tell what they were given: what is tested is the way to them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from local.stack import ROOT, Options, Stack, invoke

FUNCTIONS = (
    "list_customers",
    "get_customer",
    "cancel_purchase",
    "stripe_webhook",
    "stripe_bus",
    "store_events",
    "period_end_revoker",
)

EVENT_SOURCE = "aws.partner/stripe.com/ed_1"

PROBE = """
import base64, hashlib, json, os
import boto3
from botocore.exceptions import ClientError

records = boto3.client("dynamodb")

def attempt(service, operation, request):
    # Policies are enforced by the local AWS itself, so its own tables are asked.
    client = boto3.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    try:
        getattr(client, operation)(**request)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "denied" if code.startswith("AccessDenied") else code
    return "allowed"

def lambda_handler(event, context):
    name = os.environ["POWERTOOLS_SERVICE_NAME"]
    print("called", name)
    if "attempts" in event:
        return [attempt(**one) for one in event["attempts"]]
    if "Records" in event:
        event = [json.loads(message["body"]) for message in event["Records"]]
    if "routeKey" not in event:
        records.put_item(
            TableName=os.environ["RECORDS_TABLE"],
            Item={"pk": {"S": name}, "sk": {"S": json.dumps(event, sort_keys=True)}},
        )
        return {"event": event}
    body = event.get("body") or ""
    raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    return {
        "statusCode": 413 if len(raw) > 1_000_000 else 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({
            "function": name,
            "route": event["routeKey"],
            "query": event["rawQueryString"],
            "parameters": event.get("pathParameters"),
            "claims": event["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims"),
            "length": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "signature": event["headers"].get("stripe-signature"),
            "environment": {k: v for k, v in os.environ.items() if not k.startswith("_")},
        }),
    }
"""


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the project's template and the probe in place of every function."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "template.yaml", root)
    for package in ("shared", "functions", *(f"functions/{name}" for name in FUNCTIONS)):
        (root / package).mkdir()
        (root / package / "__init__.py").touch()
    for name in FUNCTIONS:
        (root / "functions" / name / "handler.py").write_text(PROBE)
    return root


@pytest.fixture(scope="module")
def stack(probes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = Options(
        data_dir=tmp_path_factory.mktemp("stack"),
        port=0,
        root=probes,
        stripe_api_base="http://127.0.0.1:9",
        stripe_secret_key="sk_test_1",
        stripe_event_source=EVENT_SOURCE,
    )
    with Stack(options) as running:
        yield running


def get(stack: Stack, path: str, token: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(stack.url + path, headers=headers, timeout=30)


def post_event(stack: Stack, body: bytes) -> requests.Response:
    headers = {"Stripe-Signature": "t=1,v1=ab", "Content-Type": "application/json; charset=utf-8"}
    return requests.post(stack.webhook_url, data=body, headers=headers, timeout=30)


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return found


def recorded(stack: Stack, name: str) -> list[Any]:
    answer = stack.client("dynamodb").query(
        TableName=stack.outputs["RecordsTableName"],
        KeyConditionExpression="pk = :name",
        ExpressionAttributeValues={":name": {"S": name}},
    )
    return [json.loads(item["sk"]["S"]) for item in answer["Items"]]


def create_schedule(stack: Stack, name: str, purchase: dict[str, str]) -> None:
    at = datetime.now(UTC) + timedelta(seconds=2)
    stack.client("scheduler").create_schedule(
        Name=name,
        GroupName=stack.outputs["ScheduleGroupName"],
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={
            "Arn": stack.outputs["RevokerFunctionArn"],
            "RoleArn": stack.outputs["ScheduleRoleArn"],
            "Input": json.dumps(purchase),
        },
    )


@pytest.mark.parametrize(
    ("method", "path", "function", "route"),
    [
        ("GET", "/v1/customers", "list_customers", "GET /v1/customers"),
        ("GET", "/v1/products", "list_customers", "GET /v1/products"),
        ("GET", "/v1/customers/c1", "get_customer", "GET /v1/customers/{customer_id}"),
        (
            "GET",
            "/v1/customers/c1/transactions",
            "get_customer",
            "GET /v1/customers/{customer_id}/transactions",
        ),
        (
            "POST",
            "/v1/customers/c1/purchases/p1/cancel",
            "cancel_purchase",
            "POST /v1/customers/{customer_id}/purchases/{purchase_id}/cancel",
        ),
        (
            "POST",
            "/v1/customers/c1/purchases/p1/revocation",
            "cancel_purchase",
            "POST /v1/customers/{customer_id}/purchases/{purchase_id}/revocation",
        ),
    ],
)
def test_a_route_needs_a_token_and_reaches_its_function(
    stack: Stack, method: str, path: str, function: str, route: str
) -> None:
    assert requests.request(method, stack.url + path, timeout=30).status_code == 401
    headers = {"Authorization": f"Bearer {stack.token('shop-7')}"}
    answer = requests.request(method, stack.url + path, headers=headers, timeout=30).json()
    assert (answer["function"], answer["route"]) == (function, route)
    assert answer["claims"]["store_id"] == "shop-7"


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"aud": "others"}, {"iss": "http://localhost/elsewhere"}],
    ids=["expired", "audience", "issuer"],
)
def test_a_token_of_another_time_or_place_is_refused(stack: Stack, claims: dict[str, Any]) -> None:
    assert get(stack, "/v1/customers", stack.token(**claims)).status_code == 401


def test_the_webhook_and_the_description_need_no_token(stack: Stack) -> None:
    assert get(stack, "/v1/openapi.json").json()["function"] == "list_customers"
    assert post_event(stack, b"{}").json()["function"] == "stripe_webhook"
    assert get(stack, "/v1/nowhere").status_code == 404


def test_a_query_arrives_as_it_was_sent(stack: Stack) -> None:
    query = "search=a%2Bb%20c&product_id=x&product_id=y"
    assert get(stack, f"/v1/customers?{query}", stack.token()).json()["query"] == query


def test_a_webhooks_bytes_and_signature_arrive_untouched(stack: Stack) -> None:
    body = '{"name": "Zoë ☃", "space":   1}\n'.encode()
    answer = post_event(stack, body).json()
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()
    assert answer["signature"] == "t=1,v1=ab"


def test_two_megabytes_reach_the_function_and_eleven_do_not(stack: Stack) -> None:
    large = post_event(stack, b"x" * 2_000_000)
    assert (large.status_code, large.json()["length"]) == (413, 2_000_000)
    too_large = post_event(stack, b"x" * 11_000_000)
    assert (too_large.status_code, "message" in too_large.json()) == (413, True)


def test_functions_get_their_settings_and_no_secrets(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = post_event(stack, b"{}").json()["environment"]
    assert environment["STRIPE_API_BASE"] == "http://127.0.0.1:9"
    assert environment["RECORDS_TABLE"] == "customers-records"
    assert environment["REVOKER_ARN"] == stack.outputs["RevokerFunctionArn"]
    secrets = stack.client("secretsmanager")
    kept = {
        name: json.loads(secrets.get_secret_value(SecretId=environment[name])["SecretString"])
        for name in ("STRIPE_API_SECRET_ARN", "STRIPE_WEBHOOK_SECRET_ARN")
    }
    assert kept == {
        "STRIPE_API_SECRET_ARN": {"live": "sk_test_1", "test": "sk_test_1"},
        "STRIPE_WEBHOOK_SECRET_ARN": {"secrets": ["whsec_local"]},
    }
    assert not {"TELEGRAM_API_BASE", "TELEGRAM_SECRET_ARN"} & environment.keys()
    values = set(environment.values())
    assert not values & {"sk_test_1", "whsec_local", "123456:LOCAL"}


# What each function may do, by name of the attempt.
READS = {"get record", "query records"}
ACTS = {
    *READS,
    "put record",
    "put index",
    "schedule",
    "secret StripeApiSecretArn",
}
REMOVES = {*ACTS, "delete record", "unschedule", "secret TelegramSecretArn"}
ALLOWED = {
    "list-customers": {*READS, "by_ref", "query index", "secret CursorSecretArn"},
    "get-customer": {*READS, "secret CursorSecretArn"},
    "cancel-purchase": REMOVES,
    "stripe-webhook": {*ACTS, "delete record", "by_ref", "secret StripeWebhookSecretArn"},
    "stripe-bus": {*ACTS, "delete record", "by_ref"},
    "store-events": {*ACTS, "by_ref"},
    "period-end-revoker": {*REMOVES, "by_ref", "due"},
}


def attempts(stack: Stack) -> dict[str, dict[str, Any]]:
    records = {"TableName": stack.outputs["RecordsTableName"]}
    index = {"TableName": stack.outputs["CustomerIndexTableName"]}
    key = {"pk": {"S": "a"}, "sk": {"S": "a"}}
    group = {"GroupName": stack.outputs["ScheduleGroupName"]}

    def query(table: dict[str, str], attribute: str, **more: str) -> dict[str, Any]:
        values = {":value": {"S": "a"}}
        condition = {"KeyConditionExpression": "#key = :value"}
        names = {"ExpressionAttributeNames": {"#key": attribute}}
        return {**table, **condition, **names, "ExpressionAttributeValues": values, **more}

    found = {
        "get record": ("dynamodb", "get_item", {**records, "Key": key}),
        "query records": ("dynamodb", "query", query(records, "pk")),
        "by_ref": ("dynamodb", "query", query(records, "ref", IndexName="by_ref")),
        "due": ("dynamodb", "query", query(records, "due_shard", IndexName="due")),
        "scan records": ("dynamodb", "scan", records),
        "put record": ("dynamodb", "put_item", {**records, "Item": key}),
        "delete record": ("dynamodb", "delete_item", {**records, "Key": key}),
        "delete table": ("dynamodb", "delete_table", index),
        "query index": ("dynamodb", "query", query(index, "pk")),
        "put index": ("dynamodb", "put_item", {**index, "Item": key}),
        "schedule": (
            "scheduler",
            "create_schedule",
            {
                **group,
                "Name": f"probe-{time.monotonic_ns()}",
                "ScheduleExpression": "at(2099-01-01T00:00:00)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {
                    "Arn": stack.outputs["RevokerFunctionArn"],
                    "RoleArn": stack.outputs["ScheduleRoleArn"],
                },
            },
        ),
        "unschedule": ("scheduler", "delete_schedule", {**group, "Name": "nothing"}),
        "invoke": (
            "lambda",
            "invoke",
            {"FunctionName": stack.outputs["RevokerFunctionArn"], "Payload": "{}"},
        ),
        **{
            f"secret {name}": (
                "secretsmanager",
                "get_secret_value",
                {"SecretId": stack.outputs[name]},
            )
            for name in stack.outputs
            if name.endswith("SecretArn")
        },
    }
    return {
        name: {"service": service, "operation": operation, "request": request}
        for name, (service, operation, request) in found.items()
    }


@pytest.mark.parametrize("function", ALLOWED)
def test_a_function_can_do_what_its_policy_allows_and_nothing_else(
    stack: Stack, function: str
) -> None:
    tried = attempts(stack)
    event = {"attempts": list(tried.values())}
    outcomes = dict(zip(tried, invoke(stack.aws, f"customers-{function}", event), strict=True))
    allowed = {name for name, outcome in outcomes.items() if outcome != "denied"}
    assert allowed == ALLOWED[function], outcomes


def test_a_one_time_schedule_invokes_the_revoker_and_is_gone(stack: Stack) -> None:
    purchase = {"store": "demo", "account": "cus_1", "purchase_id": "sub_1"}
    create_schedule(stack, "once", purchase)
    wait_for(lambda: purchase in recorded(stack, "period_end_revoker"))
    group = stack.outputs["ScheduleGroupName"]
    left = stack.client("scheduler").list_schedules(GroupName=group)["Schedules"]
    assert "once" not in {schedule["Name"] for schedule in left}


def test_the_sweep_runs_each_minute_and_when_asked(stack: Stack) -> None:
    group = stack.outputs["ScheduleGroupName"]
    sweep = stack.client("scheduler").get_schedule(Name="sweep", GroupName=group)
    assert sweep["ScheduleExpression"] == "rate(1 minute)"
    assert stack.sweep() == {"event": {}}


def test_only_the_stores_events_of_the_bus_reach_the_function(stack: Stack) -> None:
    entries = [
        {"Source": source, "DetailType": kind, "Detail": json.dumps({"of": source})}
        for source, kind in [
            ("elsewhere", "TelegramLinked"),
            ("grouptizer.store", "Unheard"),
            ("grouptizer.store", "TelegramLinked"),
        ]
    ]
    bus = stack.outputs["StoreEventBusName"]
    stack.client("events").put_events(Entries=[{**e, "EventBusName": bus} for e in entries])
    wait_for(lambda: recorded(stack, "store_events"))
    assert [event["detail"] for event in recorded(stack, "store_events")] == [
        {"of": "grouptizer.store"}
    ]


def test_a_message_in_the_queue_of_stripes_events_reaches_the_function_and_is_gone(
    stack: Stack,
) -> None:
    """Nobody can put events on the bus here, so the queue is filled as its rule would."""
    sqs = stack.client("sqs")
    name = stack.outputs["StripeBusQueueArn"].rpartition(":")[2]
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    told = {"source": EVENT_SOURCE, "detail": {"id": "evt_1"}}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(told))
    wait_for(lambda: [told] in recorded(stack, "stripe_bus"))
    waiting = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")

    def left() -> int:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(waiting))["Attributes"]
        return sum(int(found[name]) for name in waiting)

    wait_for(lambda: left() == 0)


def test_the_bus_of_the_partner_event_source_leads_to_the_queue(stack: Stack) -> None:
    events = stack.client("events")
    assert stack.outputs["StripeEventBusName"] == EVENT_SOURCE
    (rule,) = events.list_rules(EventBusName=EVENT_SOURCE)["Rules"]
    assert json.loads(rule["EventPattern"]) == {"source": [EVENT_SOURCE]}
    targets = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=EVENT_SOURCE)["Targets"]
    assert [target["Arn"] for target in targets] == [stack.outputs["StripeBusQueueArn"]]


def test_what_a_function_logs_can_be_read(stack: Stack) -> None:
    get(stack, "/v1/openapi.json")
    log = stack.data_dir / "logs" / "functions.log"
    wait_for(lambda: log.exists() and "customers-list-customers called" in log.read_text())


@pytest.mark.parametrize("name", ["dynoxide", "ministack", "telegram", "front"])
def test_a_killed_process_comes_back_with_its_data(stack: Stack, name: str) -> None:
    chat, user = -1001, 42
    control = f"{stack.telegram_url}/_control"
    member = {"chat_id": chat, "user_id": user, "status": "restricted"}
    requests.post(f"{control}/members", json=member, timeout=5).raise_for_status()
    stack.client("dynamodb").put_item(
        TableName=stack.outputs["RecordsTableName"],
        Item={"pk": {"S": "kept"}, "sk": {"S": json.dumps(name)}},
    )
    old = stack.children[name].process
    token = stack.token()
    stack.kill(name)
    wait_for(lambda: stack.children[name].process is not old)
    stack.wait_ready()
    assert get(stack, "/v1/customers", token).status_code == 200
    assert name in recorded(stack, "kept")
    params = {"chat_id": chat, "user_id": user}
    url = f"{stack.telegram_url}/bot123456:LOCAL/getChatMember"
    assert requests.get(url, params=params, timeout=5).json()["result"]["status"] == "restricted"


def test_a_second_stack_on_the_same_data_is_refused(stack: Stack) -> None:
    second = Stack(Options(data_dir=stack.data_dir, port=0))
    with pytest.raises(RuntimeError, match="another stack runs on"):
        second.start()


def test_a_port_in_use_is_named_before_anything_starts(stack: Stack, tmp_path: Path) -> None:
    second = Stack(Options(data_dir=tmp_path, port=stack.port))
    with pytest.raises(RuntimeError, match=f"port {stack.port} is in use"):
        second.start()
    assert list(tmp_path.iterdir()) == []


def test_the_commands_print_a_working_token_and_run_the_sweep(stack: Stack) -> None:
    environment = {**os.environ, "DATA_DIR": str(stack.data_dir)}

    def run(*command: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    token = run("customers_cli", "token", "shop-9").strip()
    assert get(stack, "/v1/customers", token).json()["claims"]["store_id"] == "shop-9"
    assert json.loads(run("customers_cli", "sweep")) == {"event": {}}


def test_killing_the_supervisor_ends_all_and_a_new_start_has_the_data(
    probes: Path, tmp_path: Path
) -> None:
    program = (
        "import sys, time; from pathlib import Path; from local.stack import Options, Stack\n"
        "options = Options(data_dir=Path(sys.argv[1]), port=0, root=Path(sys.argv[2]),\n"
        "                  stripe_api_base='http://127.0.0.1:9')\n"
        "stack = Stack(options); stack.start()\n"
        "print(' '.join(str(c.process.pid) for c in stack.children.values()), flush=True)\n"
        "time.sleep(600)\n"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data"), str(probes)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert supervisor.stdout is not None
        children = [int(pid) for pid in supervisor.stdout.readline().split()]
        assert len(children) == 4
    finally:
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
    wait_for(lambda: not any(_runs(pid) for pid in children))
    options = Options(
        data_dir=tmp_path / "data", port=0, root=probes, stripe_api_base="http://127.0.0.1:9"
    )
    with Stack(options) as again:
        assert get(again, "/v1/customers", again.token()).status_code == 200
        assert {} in recorded(again, "period_end_revoker")  # the sweep of the start


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z"
    return False
