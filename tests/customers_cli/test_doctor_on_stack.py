"""``customers doctor`` against a running stack: sound, and broken in each way it knows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import requests

from customers_cli.doctor import of
from customers_cli.target import Given, choose, connect
from local.stack import ROOT, Stack
from shared.storage.bot import Bot
from shared.storage.dynamo import Table
from shared.storage.parked import Parked, ParkedEvent
from shared.stripe_events.events import HANDLERS
from shared.tenant import Tenant

# The stack is broken here: after the tests that wait for something to happen on it.
pytestmark = pytest.mark.turn(2)

CHAT = -1001900000077
# What other tests on this stack may have left behind.
OTHERS = re.compile(r"parked events of|chat |events of (?!demo,)")


@pytest.fixture(scope="module", autouse=True)
def chat(stack: Stack) -> None:
    """A product with a chat of this module's own."""
    steps = [{"do": "create_product", "args": {"name": "Own", "telegram_chat_ids": str(CHAT)}}]
    control = f"{stack.stripe_url}/_control"
    requests.post(f"{control}/scenarios", json={"steps": steps}, timeout=60).raise_for_status()
    requests.post(f"{control}/drain", json={"timeout": 60}, timeout=90).raise_for_status()
    telegram(stack, "chats", chat_id=CHAT)
    # Other tests register stores: then naming a chat proves nothing.
    approved = connect(choose(Given(data_dir=stack.data_dir), environ={})).parts.chats
    assert approved.approve(Tenant("demo"), str(CHAT))


def telegram(stack: Stack, what: str, **body: Any) -> None:
    url = f"{stack.telegram_url}/_control/{what}"
    requests.post(url, json=body, timeout=20).raise_for_status()


def to_mend(stack: Stack) -> set[str]:
    choice = choose(Given(data_dir=stack.data_dir), environ={})
    found = of(connect(choice)).findings()
    return {
        finding.subject
        for finding in found
        if finding.mend is not None
        and (str(CHAT) in finding.subject or not OTHERS.match(finding.subject))
    }


def run(stack: Stack) -> tuple[int, str]:
    """``customers doctor``: its exit code and what it prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "customers_cli", "doctor"],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(stack.data_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.stderr == f"local run in {stack.data_dir}\n"
    return ran.returncode, ran.stdout


@contextlib.contextmanager
def secret(stack: Stack, output: str, value: Any) -> Iterator[None]:
    client = stack.client("secretsmanager")
    arn = stack.outputs[output]
    before = client.get_secret_value(SecretId=arn)["SecretString"]
    text = value if isinstance(value, str) else json.dumps(value)
    client.put_secret_value(SecretId=arn, SecretString=text)
    try:
        yield
    finally:
        client.put_secret_value(SecretId=arn, SecretString=before)


@contextlib.contextmanager
def rights(stack: Stack, **fields: Any) -> Iterator[None]:
    telegram(stack, "bot", chat_id=CHAT, **fields)
    try:
        yield
    finally:
        telegram(stack, "bot", chat_id=CHAT, status="administrator", can_restrict_members=True)


@contextlib.contextmanager
def endpoint(stack: Stack, **fields: Any) -> Iterator[None]:
    url = f"{stack.stripe_url}/_control/endpoints"
    sound = {"url": stack.webhook_url, "secret": "whsec_local"}
    requests.post(url, json={**sound, **fields}, timeout=20).raise_for_status()
    try:
        yield
    finally:
        requests.post(url, json=sound, timeout=20).raise_for_status()


@contextlib.contextmanager
def destination(stack: Stack, **fields: Any) -> Iterator[None]:
    url = f"{stack.stripe_url}/_control/event_destinations"
    requests.post(url, json=fields, timeout=20).raise_for_status()
    try:
        yield
    finally:
        requests.delete(url, timeout=20).raise_for_status()


@contextlib.contextmanager
def bot(stack: Stack, change: Callable[[Bot], Any]) -> Iterator[None]:
    made = Bot(records(stack))
    change(made)
    try:
        yield
    finally:
        made.switch_removals(enabled=True)
        made.resume()


@contextlib.contextmanager
def without_index(stack: Stack, name: str) -> Iterator[None]:
    table, client = stack.outputs["RecordsTableName"], stack.client("dynamodb")
    described = client.describe_table(TableName=table)["Table"]
    (index,) = (i for i in described["GlobalSecondaryIndexes"] if i["IndexName"] == name)
    gone = [{"Delete": {"IndexName": name}}]
    client.update_table(TableName=table, GlobalSecondaryIndexUpdates=gone)
    back = {part: index[part] for part in ("IndexName", "KeySchema", "Projection")}
    try:
        yield
    finally:
        client.update_table(
            TableName=table,
            AttributeDefinitions=described["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": back}],
        )


def records(stack: Stack) -> Table:
    return Table(stack.client("dynamodb"), stack.outputs["RecordsTableName"])


Broken = Callable[[Stack], AbstractContextManager[None]]
BOT_OF = f"chat {CHAT} of demo"
BROKEN: dict[str, tuple[Broken, set[str]]] = {
    "no Stripe key": (lambda s: secret(s, "StripeApiSecretArn", {}), {"Stripe keys"}),
    "a key that Stripe refuses": (
        lambda s: secret(s, "StripeApiSecretArn", {"live": "sk_live_wrong"}),
        {"Stripe, live mode"},
    ),
    "no webhook secret": (
        lambda s: secret(s, "StripeWebhookSecretArn", {"secrets": [""]}),
        {"webhook secrets"},
    ),
    "too many webhook secrets": (
        lambda s: secret(s, "StripeWebhookSecretArn", {"secrets": ["whsec_1", "b", "c"]}),
        {"webhook secrets"},
    ),
    "no cursor key": (lambda s: secret(s, "CursorSecretArn", "{}"), {"cursor secret"}),
    "a secret that is no JSON": (lambda s: secret(s, "CursorSecretArn", "key"), {"cursor secret"}),
    "no token": (lambda s: secret(s, "TelegramSecretArn", {"token": ""}), {"bot"}),
    "a token that Telegram refuses": (
        lambda s: secret(s, "TelegramSecretArn", {"token": "1:wrong"}),
        {"bot"},
    ),
    "no endpoint": (
        lambda s: endpoint(s, url="https://elsewhere.example/hook"),
        {"webhook endpoint, live mode", "webhook endpoint, test mode"},
    ),
    "an endpoint without some events": (
        lambda s: endpoint(s, enabled_events=sorted(HANDLERS)[1:]),
        {"webhook endpoint, live mode", "webhook endpoint, test mode"},
    ),
    "an endpoint of an API version that is not supported": (
        lambda s: endpoint(s, api_version="2019-12-03"),
        {"webhook endpoint, live mode", "webhook endpoint, test mode"},
    ),
    "a disabled endpoint": (
        lambda s: endpoint(s, status="disabled"),
        {"webhook endpoint, live mode", "webhook endpoint, test mode"},
    ),
    "a destination that is no webhook": (
        lambda s: destination(s, id="ed_1", type="amazon_eventbridge", livemode=True),
        {"event destination ed_1, live mode"},
    ),
    "an endpoint of one mode only": (
        lambda s: endpoint(s, livemode=True),
        {"webhook endpoint, test mode"},
    ),
    "a bot that may not remove": (lambda s: rights(s, can_restrict_members=False), {BOT_OF}),
    "a bot that is no administrator": (lambda s: rights(s, status="member"), {BOT_OF}),
    "a bot that has left": (lambda s: rights(s, status="left"), {BOT_OF}),
    "removals switched off": (
        lambda s: bot(s, lambda b: b.switch_removals(enabled=False)),
        {"removals"},
    ),
    "a paused bot": (lambda s: bot(s, lambda b: b.pause(4_000_000_000, "Wait.")), {"bot"}),
    "no index of what is due": (
        lambda s: without_index(s, "due"),
        {"customers-records/due", "work"},
    ),
    "no index of references": (
        lambda s: without_index(s, "by_ref"),
        {"customers-records/by_ref"},
    ),
}


def test_a_sound_stack_is_well(stack: Stack) -> None:
    assert to_mend(stack) == set()


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_with_what_to_do(stack: Stack, name: str) -> None:
    broken, subjects = BROKEN[name]
    with broken(stack):
        assert to_mend(stack) == subjects


def test_a_webhook_secret_that_is_not_stripes_is_named(stack: Stack) -> None:
    control = f"{stack.stripe_url}/_control"
    steps = [{"do": "create_customer", "args": {"name": "Zoë"}}]
    said = ""
    with endpoint(stack, secret="whsec_of_another_endpoint"):
        requests.post(f"{control}/scenarios", json={"steps": steps}, timeout=60).raise_for_status()
        for _ in range(60):
            code, said = run(stack)
            if "MEND webhook secret, live mode: wrong: Stripe's event evt_" in said:
                break
            time.sleep(1)
        else:
            raise AssertionError(said)
    assert code == 1
    requests.post(f"{control}/drain", json={"timeout": 60}, timeout=90).raise_for_status()
    assert to_mend(stack) == set()


def test_the_command_says_what_to_do_and_fails(stack: Stack) -> None:
    with secret(stack, "StripeApiSecretArn", {"live": "sk_live_wrong"}):
        code, said = run(stack)
    assert code == 1
    assert "MEND Stripe, live mode: Stripe does not accept the API key\n     Put a key" in said
    assert "sk_live_wrong" not in said
    assert "1 to mend" in said or "to mend." in said


def test_events_that_were_parked_wait_for_somebody(stack: Stack) -> None:
    parked, event = Parked(records(stack)), ParkedEvent("evt_parked", 1, "stripe", "odd", b"{}")
    parked.park(Tenant("demo"), event)
    try:
        _, said = run(stack)
    finally:
        parked.remove(Tenant("demo"), event)
    assert "MEND parked events of demo: " in said
