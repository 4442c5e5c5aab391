"""What the doctor finds, and what it advises."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import pytest

from customers_cli.doctor import CLOCK_SECONDS, Doctor
from customers_cli.finding import Finding
from shared.compose import COMMAND, Composition, Leaves
from shared.integrations.stripe_gateway import StripeGateway
from shared.settings import Settings
from shared.storage.bot import Bot
from shared.storage.parked import Parked, ParkedEvent
from shared.stripe_events.events import HANDLERS
from shared.tenant import Tenant
from tests.dynamo import Tables
from tests.functions.conftest import SECRET_ARNS
from tests.functions.shop import CHAT, MovableClock, Shop

URL = "https://api.example/v1/webhooks/stripe"


@pytest.fixture
def tables(dynoxide_tables: Tables) -> Tables:
    """A database that describes its tables, which the doctor asks it to."""
    return dynoxide_tables


@pytest.fixture
def doctor(shop: Shop) -> Doctor:
    clients = {"dynamodb": shop.tables.client, "secretsmanager": shop.secrets}
    parts = Composition(COMMAND, Settings(dict(os.environ)), Leaves(aws=clients.__getitem__))
    variables = {name: name for name in SECRET_ARNS}
    return Doctor(parts, shop.tables.client, URL, variables, is_local=True)


@pytest.fixture
def endpoint(shop: Shop) -> Any:
    return shop.stripe.add_endpoint(URL, send=shop.receive, enabled_events=list(HANDLERS))


def to_mend(doctor: Doctor) -> list[Finding]:
    return [finding for finding in doctor.findings() if finding.mend is not None]


def test_a_sound_deployment_needs_nothing(shop: Shop, doctor: Doctor, endpoint: Any) -> None:
    shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
    shop.deliver()
    shop.telegram.bot_api.add_chat(CHAT)
    assert to_mend(doctor) == []


def test_secrets_that_are_missing_are_named(shop: Shop, doctor: Doctor) -> None:
    shop.secrets.values.update(
        {name: {} for name in ("STRIPE_API_SECRET_ARN", "TELEGRAM_SECRET_ARN")},
        STRIPE_WEBHOOK_SECRET_ARN={"secrets": [""]},
        CURSOR_SECRET_ARN={},
    )
    subjects = {finding.subject for finding in to_mend(doctor)}
    assert subjects == {"Stripe keys", "webhook secrets", "cursor secret", "bot"}


def test_an_endpoint_that_lacks_events_is_named_with_them(shop: Shop, doctor: Doctor) -> None:
    some = [name for name in HANDLERS if name != "charge.dispute.closed"]
    shop.stripe.add_endpoint(URL, send=shop.receive, enabled_events=some)
    found = {f.found for f in to_mend(doctor) if f.subject.startswith("webhook endpoint")}
    assert found == {"lacks charge.dispute.closed"}


class Events:
    """EventBridge with one partner event source."""

    def __init__(self, state: str) -> None:
        self.state = state

    def describe_event_source(self, **request: Any) -> dict[str, Any]:
        return {"Name": request["Name"], "State": self.state}


@pytest.mark.parametrize(
    ("source", "state", "wrong"),
    [
        ("aws.partner/stripe.com/ed_1", "ACTIVE", ["webhook endpoint, test mode"]),
        ("aws.partner/stripe.com/ed_test_1", "ACTIVE", ["webhook endpoint, live mode"]),
        (
            "aws.partner/stripe.com/ed_1",
            "DELETED",
            ["webhook endpoint, test mode", "aws.partner/stripe.com/ed_1"],
        ),
    ],
)
def test_a_partner_event_source_stands_in_for_the_endpoint_of_its_mode(
    shop: Shop, doctor: Doctor, source: str, state: str, wrong: list[str]
) -> None:
    shop.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": []}
    by_bus = replace(doctor, event_source=source, events=Events(state))
    assert [finding.subject for finding in to_mend(by_bus)] == wrong


def test_keys_and_tokens_that_are_not_accepted_are_named(
    shop: Shop, doctor: Doctor, endpoint: Any
) -> None:
    shop.secrets.values["STRIPE_API_SECRET_ARN"] = {"live": "sk_live_wrong"}
    shop.secrets.values["TELEGRAM_SECRET_ARN"] = {"token": "123:wrong"}
    wrong = to_mend(doctor)
    assert {finding.subject for finding in wrong} == {"Stripe, live mode", "bot"}
    assert not any("wrong" in finding.found + str(finding.mend) for finding in wrong)


def test_a_chat_in_which_the_bot_lacks_rights_is_named(
    shop: Shop, doctor: Doctor, endpoint: Any
) -> None:
    shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
    shop.deliver()
    shop.telegram.bot_api.add_chat(CHAT)
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=False)
    (finding,) = to_mend(doctor)
    assert finding.subject == f"chat {CHAT} of demo"


def test_what_waits_for_somebody_is_named(shop: Shop, doctor: Doctor, endpoint: Any) -> None:
    event = ParkedEvent("evt_1", 1, "stripe", "odd", b"{}")
    Parked(shop.tables.records).park(Tenant("demo"), event)
    Parked(shop.tables.records).park(None, event)
    bot = Bot(shop.tables.records)
    bot.switch_removals(enabled=False)
    bot.pause(4_000_000_000, "Telegram asked the bot to wait.")
    assert [finding.subject for finding in to_mend(doctor)] == [
        "removals",
        "bot",
        "parked events of demo",
        "parked events of no store",
    ]


def test_a_clock_that_is_off_is_named(doctor: Doctor, endpoint: Any) -> None:
    late = replace(doctor, clock=lambda: time.time() + CLOCK_SECONDS + 5)
    assert [finding.subject for finding in to_mend(late)] == ["clock"]


def test_an_endpoint_that_stripe_has_disabled_is_named(
    doctor: Doctor, endpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [{"url": URL, "status": "disabled", "enabled_events": ["*"]}]
    monkeypatch.setattr(StripeGateway, "list_all", lambda *_, **__: iter(listed))
    found = {f.subject: f.found for f in to_mend(doctor)}
    assert found == {f"webhook endpoint, {mode} mode": "disabled" for mode in ("live", "test")}


def test_what_has_been_due_for_too_long_is_named(
    shop: Shop, doctor: Doctor, endpoint: Any, clock: MovableClock
) -> None:
    shop.scheduler.down = True
    subscription = shop.stripe.live.subscribe()
    shop.stripe.live.portal_cancel(subscription["id"])
    shop.deliver()
    shop.scheduler.down = False
    clock.later(40 * 86400)
    later = replace(doctor, clock=time.time)
    assert "oldest due item" in {finding.subject for finding in to_mend(later)}


def test_services_that_do_not_answer_are_named(shop: Shop, doctor: Doctor) -> None:
    dead = "http://127.0.0.1:9"
    environ = {**os.environ, "STRIPE_API_BASE": dead, "TELEGRAM_API_BASE": dead}
    parts = replace(doctor.parts, settings=Settings(environ))
    found = {one.subject: one.found for one in to_mend(replace(doctor, parts=parts))}
    unreachable = "Stripe could not be reached, or its answer not be read"
    assert found == {
        "Stripe, live mode": unreachable,
        "Stripe, test mode": unreachable,
        "bot": "Telegram does not answer",
    }
