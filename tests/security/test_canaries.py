"""Strings planted where people and secrets are, looked for where they must not be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from functions.store_events import handler as store_events
from shared.observability import InvocationFailed
from tests.functions.http import api_event
from tests.functions.shop import CHAT, USER, Shop, SlowContext, queue_message
from tests.functions.webhook_world import signed
from tests.stacks import leaks_in_logs
from tests.template.expanded import ROOT

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


@pytest.mark.parametrize("function", ["store_events", "stripe_bus", "period_end_revoker"])
def test_what_an_error_says_is_neither_logged_nor_raised(
    shop: Shop, output: Any, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Lambda prints what a function raises."""

    def fail(operation: str, request: dict[str, Any]) -> None:
        raise ValueError(f"{NAME} <{EMAIL}>")

    store_events.store_events.cache_clear()
    detail = {"store_id": "demo", "grouptizer_id": "g1", "name": NAME, "email": EMAIL}
    event = {
        "id": "bus-1",
        "detail-type": "CustomerProfileChanged",
        "time": "2026-11-22T10:00:00Z",
        "detail": detail,
    }
    told = {
        "store_events": event,
        "stripe_bus": queue_message({"object": "v3.event", "name": NAME, "email": EMAIL}),
        "period_end_revoker": {"store": "demo", "account": "cus_1", "purchase_id": "sub_1"},
    }
    shop.tables.client.hook = fail
    with pytest.raises(InvocationFailed, match=r"^ValueError$"):
        shop.invoke(function, told[function], SlowContext())
    shop.tables.client.hook = None
    store_events.store_events.cache_clear()
    assert '"error":"ValueError"' in output()


def test_a_record_that_cannot_be_settled_is_logged_without_what_its_error_says(
    shop: Shop, output: Any
) -> None:
    shop.stripe.live.subscribe(name=NAME, email=EMAIL)
    shop.deliver()
    shop.scheduler.down = True
    shop.cancel("period_end")
    shop.scheduler.down = False
    table = shop.tables.records.name
    (due,) = (
        i
        for i in shop.tables.dump(shop.tables.records)
        if "due_at" in i and i["sk"]["S"].startswith("PURCHASE#")
    )
    broken = {**due, "own": {"S": json.dumps({"intent": {"phase": NAME}})}, "due_at": {"N": "1"}}
    shop.tables.client._client.put_item(TableName=table, Item=broken)
    assert shop.sweep()["failed"] == 1
    assert "a due record could not be settled" in output()


LEAKS = {
    "a name in a log": "logger.info('hello', who='Kanaria Vogel')",
    "an address in a log": "logger.info('hello', who='kanaria@bird.example')",
    "a key that is printed": "print('sk_live_canary')",
    "a token in a library's log": "logging.getLogger('lib').warning('GET /bot123:canary/getMe')",
    "a reason on the error output": "print('weil-kanaria', file=sys.stderr)",
    "an error's text": "raise_in_a_function()",
}
_TEST = """
import logging, sys
import pytest
from shared.observability import logger
from tests import guards

def raise_in_a_function():
    with pytest.raises(ValueError), guards.running("get_customer"):
        raise ValueError("Kanaria Vogel")

def test_it():
    said = {{"name": "Kanaria Vogel", "reason": "weil-kanaria"}}
    guards._plant_personal(said, guards.WRITTEN_BY_OWNERS)
    {leak}
"""


def test_this_suite_fails_where_something_leaks(tmp_path: Path) -> None:
    """The guards themselves, on tests that leak and on one that does not."""
    for number, leak in enumerate(["logger.info('hello')", *LEAKS.values()]):
        (tmp_path / f"test_{number}.py").write_text(_TEST.format(leak=leak))
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "tests.guards",
            "--rootdir",
            str(tmp_path),
            ".",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "POWERTOOLS_SERVICE_NAME": "tests"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    failed = {line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))}
    leaking = {name for name in map(str, range(len(LEAKS) + 1)) if f"test_{name}.py" in str(failed)}
    assert leaking == set(map(str, range(1, len(LEAKS) + 1))), ran.stdout


@pytest.mark.parametrize("line", ["whsec_local", "7|jane@example.com", "name: Kanaria Vogel."])
def test_a_leak_in_a_stacks_log_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "front.log").write_text(f"started\n{line}\n")
    (found,) = leaks_in_logs(tmp_path, [NAME])
    assert found.startswith("front.log:2: ")
    (tmp_path / "logs" / "front.log").write_text("started\n")
    assert list(leaks_in_logs(tmp_path, [NAME])) == []


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
    shop.seconds_passed += 11
    assert shop.receive(body, {"Stripe-Signature": signed(body, "whsec_new")}) == 200
    reads = len(shop.secrets.reads)
    for _ in range(20):
        assert shop.receive(body, {"Stripe-Signature": signed(body, "whsec_bad")}) == 400
    assert len(shop.secrets.reads) == reads
