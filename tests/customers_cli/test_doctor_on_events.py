"""What the doctor finds where Stripe's events go astray."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import Any

import pytest

from customers_cli.destinations import Destination, of
from customers_cli.doctor import Doctor
from customers_cli.finding import Finding
from shared.compose import COMMAND, Composition, Leaves
from shared.domain.api_versions import NEWEST, OLDEST
from shared.settings import Settings
from shared.storage.registry import Registry
from shared.stripe_events.events import HANDLERS
from shared.tenant import Tenant
from standins.stripe.deliveries import signature
from tests.dynamo import Tables
from tests.functions.conftest import SECRET_ARNS
from tests.functions.shop import MovableClock, Shop

URL = "https://api.example/v1/webhooks/stripe"
ALL = tuple(HANDLERS)


@pytest.fixture
def tables(dynoxide_tables: Tables) -> Tables:
    """A database that describes its tables, which the doctor asks it to."""
    return dynoxide_tables


@pytest.fixture
def doctor(shop: Shop, clock: MovableClock) -> Doctor:
    clients = {"dynamodb": shop.tables.client, "secretsmanager": shop.secrets}
    parts = Composition(COMMAND, Settings(dict(os.environ)), Leaves(aws=clients.__getitem__))
    variables = {name: name for name in SECRET_ARNS}
    shop.stripe.add_endpoint(URL, send=shop.receive, enabled_events=ALL)
    del clock
    return Doctor(parts, shop.tables.client, URL, variables, is_local=True, clock=time.time)


def findings(doctor: Doctor) -> dict[str, Finding]:
    """What is to mend, by subject."""
    found = [one for one in doctor.findings() if one.mend is not None and one.subject != "clock"]
    assert len({one.subject for one in found}) == len(found), found
    return {one.subject: one for one in found}


def said(doctor: Doctor) -> str:
    """All that is said of Stripe."""
    return "\n".join(f"{one.subject}: {one.found}" for one in doctor.findings())


def test_with_one_endpoint_of_all_events_there_is_nothing_to_mend(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    shop.stripe.live.subscribe()
    shop.deliver()
    clock.later(1000)
    assert findings(doctor) == {}
    assert "events of demo, live mode: all have arrived" in said(doctor)
    assert "events of demo, test mode: none" in said(doctor)


# -- versions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2019-12-03", "2027-01-01.zinnia"])
def test_an_endpoint_of_a_version_outside_the_range_is_named(
    shop: Shop, doctor: Doctor, version: str
) -> None:
    shop.stripe.add_endpoint(URL, enabled_events=ALL, api_version=version, livemode=True)
    shop.stripe.add_endpoint(URL, enabled_events=ALL, livemode=False, id="we_test")
    assert findings(doctor) == {
        "webhook endpoint, live mode": Finding(
            "webhook endpoint, live mode",
            f"API version {version}, which is outside {OLDEST} to {NEWEST}",
            "Add an endpoint of a version in this range at Stripe, "
            "then delete we_1StandInEndpoint.",
        )
    }


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_an_endpoint_of_either_end_of_the_range_is_well(
    shop: Shop, doctor: Doctor, version: str
) -> None:
    known = [name for name in ALL if version == NEWEST or name != "invoice_payment.paid"]
    shop.stripe.add_endpoint(URL, enabled_events=known, api_version=version)
    assert findings(doctor) == {}


def test_an_endpoint_without_a_version_has_that_of_its_account(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    shop.stripe.event_log.api_version = "2019-12-03"
    shop.stripe.live.create_customer(name="Zoë")
    shop.deliver()
    (finding,) = findings(doctor).values()
    assert finding.found.startswith("API version 2019-12-03, which is outside")


# -- endpoints -------------------------------------------------------------------------------------


def test_a_disabled_endpoint_is_named_also_beside_an_enabled_one(
    shop: Shop, doctor: Doctor
) -> None:
    shop.stripe.add_endpoint(URL, enabled_events=ALL, status="disabled", id="we_connect")
    found = findings(doctor)
    assert {one.found for one in found.values()} == {"disabled"}
    assert "Enable we_connect at Stripe" in str(found["webhook endpoint, live mode"].mend)


def test_where_no_endpoint_leads_here_those_that_lead_elsewhere_are_named(
    shop: Shop, doctor: Doctor
) -> None:
    shop.stripe.add_endpoint("https://old.example/v1/webhooks/stripe?key=hush")
    found = findings(doctor)["webhook endpoint, live mode"]
    assert found.found == "none leads here, but to https://old.example/v1/webhooks/stripe"
    assert found.mend == f"Add one at Stripe: {URL}"


def test_another_systems_endpoint_is_said_and_nothing_to_mend(shop: Shop, doctor: Doctor) -> None:
    shop.stripe.add_endpoint("https://books.example/stripe?key=hush", id="we_books")
    assert findings(doctor) == {}
    assert "we_books leads elsewhere: https://books.example/stripe\n" in said(doctor)
    assert "hush" not in said(doctor)


def test_an_endpoint_at_another_path_of_this_api_is_named(shop: Shop, doctor: Doctor) -> None:
    shop.stripe.add_endpoint(f"{URL}/", enabled_events=ALL, id="we_slash", livemode=True)
    assert findings(doctor) == {
        "webhook endpoint, live mode": Finding(
            "webhook endpoint, live mode",
            f"we_slash leads to {URL}/, which is not the webhook",
            f"Change its address at Stripe: {URL}",
        )
    }


class ActiveSource:
    """EventBridge with one partner event source."""

    def describe_event_source(self, **request: Any) -> dict[str, Any]:
        return {"Name": request["Name"], "State": "ACTIVE"}


def test_an_event_destination_to_eventbridge_is_named(shop: Shop, doctor: Doctor) -> None:
    arn = "arn:aws:events:us-east-1::event-source/aws.partner/stripe.com/ed_1"
    shop.stripe.add_event_destination(
        id="ed_1", type="amazon_eventbridge", aws_event_source_arn=arn, livemode=True
    )
    assert findings(doctor) == {
        "event destination ed_1, live mode": Finding(
            "event destination ed_1, live mode",
            f"sends events to EventBridge ({arn}), from where this stack takes none",
            "Disable it at Stripe; the events go to the webhook.",
        )
    }
    source = "aws.partner/stripe.com/ed_1"
    assert findings(replace(doctor, event_source=source, events=ActiveSource())) == {}
    shop.stripe.add_event_destination(
        id="ed_1", type="amazon_eventbridge", aws_event_source_arn=arn, status="disabled"
    )
    assert findings(doctor) == {}


def thin(*types: str) -> tuple[str, ...]:
    return tuple(f"v1.{name}" for name in types if not name.startswith("customer.source."))


def test_a_thin_destination_listens_by_types_with_a_prefix(shop: Shop, doctor: Doctor) -> None:
    shop.stripe.remove_endpoint()
    shop.stripe.add_event_destination(event_payload="thin", url=URL, enabled_events=thin(*ALL))
    assert findings(doctor) == {}
    some = thin(*(name for name in ALL if name != "charge.dispute.closed"))
    # Without the prefix it is another event.
    some = (*some, "charge.dispute.closed")
    shop.stripe.add_event_destination(event_payload="thin", url=URL, enabled_events=some)
    assert {one.found for one in findings(doctor).values()} == {"lacks charge.dispute.closed"}


def test_an_event_destination_that_is_disabled_is_named(shop: Shop, doctor: Doctor) -> None:
    shop.stripe.add_event_destination(event_payload="thin", url=URL, status="disabled")
    assert {one.found for one in findings(doctor).values()} == {"disabled"}


def test_a_webhook_endpoint_that_api_v2_lists_too_counts_once() -> None:
    endpoint = {"id": "we_1", "url": URL, "enabled_events": ["*"]}
    listed = {
        "id": "we_1",
        "type": "webhook_endpoint",
        "event_payload": "snapshot",
        "webhook_endpoint": {"url": URL},
    }
    once = [Destination.of_endpoint(endpoint)]
    assert of([endpoint], [listed]) == of([endpoint], [{**listed, "id": "ed_1"}]) == once
    assert len(of([endpoint], [{**listed, "id": "ed_1", "event_payload": "thin"}])) == 2


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_account_without_event_destinations_is_well(
    shop: Shop, doctor: Doctor, status: int
) -> None:
    body = {"error": {"type": "invalid_request_error", "message": "Unrecognized request URL"}}
    shop.stripe.fail(path="/v2/.*", status=status, body=body, times=None)
    assert findings(doctor) == {}


@pytest.mark.parametrize("answer", [{"data": None}, {"data": ["ed_1"]}, {}], ids=str)
def test_an_answer_that_is_no_list_of_destinations_is_named(
    shop: Shop, doctor: Doctor, answer: dict[str, Any]
) -> None:
    shop.stripe.fail(path="/v2/.*", status=200, body=answer, times=None)
    assert set(findings(doctor)) == {"Stripe, live mode", "Stripe, test mode"}


# -- events ----------------------------------------------------------------------------------------


def test_events_that_stripe_could_not_deliver_are_named(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    shop.stripe.add_endpoint(URL, send=lambda *_: 503, enabled_events=ALL)
    shop.stripe.live.create_customer(name="Zoë")
    shop.stripe.deliveries.flush()
    assert findings(doctor) == {}  # it may be on its way
    clock.later(60)
    (finding,) = findings(doctor).values()
    assert finding.subject == "events of demo, live mode"
    assert finding.found.startswith("1 undelivered, the oldest of 20")
    assert "customers replay demo" in str(finding.mend)
    shop.stripe.add_endpoint(URL, send=shop.receive, enabled_events=ALL)
    shop.deliver()
    assert findings(doctor) == {}


def test_what_another_systems_endpoint_did_not_take_is_not_missing_here(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    shop.stripe.add_endpoint("https://books.example", send=lambda *_: 500, id="we_books")
    shop.stripe.live.subscribe()
    assert shop.stripe.deliveries.flush() > 0
    clock.later(60)
    assert findings(doctor) == {}


def test_undelivered_events_of_a_connected_account_are_named_with_its_store(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    Registry(shop.tables.records, "demo").register(Tenant("other"), "acct_1")
    shop.stripe.account("acct_1", livemode=False)
    shop.stripe.add_endpoint(URL, send=lambda *_: 503, enabled_events=ALL)
    shop.stripe.account("acct_1").create_customer(name="Zoë")
    clock.later(60)
    assert set(findings(doctor)) == {"events of other, live mode"}


def test_a_store_of_which_nothing_arrives_is_named_though_nothing_is_undelivered(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    shop.stripe.add_endpoint(URL, send=lambda *_: 200, enabled_events=ALL)
    shop.stripe.live.create_customer(name="Zoë")
    shop.deliver()
    clock.later(1000)
    (finding,) = findings(doctor).values()
    assert finding.found.startswith("none has arrived since 20")
    assert "customers replay demo --all" in str(finding.mend)


# -- the secret ------------------------------------------------------------------------------------


def refuse(shop: Shop, event_id: str = "evt_strange") -> None:
    """A stranger's delivery."""
    body = json.dumps({"id": event_id, "object": "event", "livemode": True}).encode()
    header = signature(body, ["whsec_guessed"], int(time.time()))
    assert shop.receive(body, {"Stripe-Signature": header}) == 400


def test_a_webhook_secret_that_is_not_stripes_is_named(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    shop.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": ["whsec_of_something_else"]}
    shop.seconds_passed += 600
    made = shop.stripe.live.create_customer(name="Zoë")
    assert shop.stripe.deliveries.flush() == 1
    assert set(findings(doctor)) == {"webhook secret, live mode"}  # at once
    clock.later(60)
    found = findings(doctor)
    assert set(found) == {"events of demo, live mode", "webhook secret, live mode"}
    (event,) = shop.stripe.events()
    secret = found["webhook secret, live mode"]
    assert secret.found.startswith(f"wrong: Stripe's event {event['id']} was refused at 20")
    assert "Put the signing secret that Stripe shows" in str(secret.mend)
    assert "whsec_of_something_else" not in str(found)
    assert made["name"] not in str(found)
    # Corrected, and sent again.
    shop.secrets.values["STRIPE_WEBHOOK_SECRET_ARN"] = {"secrets": ["whsec_local"]}
    shop.seconds_passed += 600
    shop.deliver()
    assert findings(doctor) == {}
    assert "a signature was refused at" in said(doctor)


def test_a_secret_may_be_wrong_where_the_refused_event_is_not_among_the_undelivered(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    shop.stripe.add_endpoint(URL, send=lambda *_: 503, enabled_events=ALL)
    shop.stripe.live.create_customer(name="Zoë")
    clock.later(60)
    refuse(shop)
    assert findings(doctor)["webhook secret, live mode"].found.startswith("perhaps wrong: ")


def test_a_strangers_delivery_says_nothing_of_the_secret(
    shop: Shop, doctor: Doctor, clock: MovableClock
) -> None:
    shop.stripe.live.create_customer(name="Zoë")
    shop.deliver()
    refuse(shop)
    assert findings(doctor) == {}
    assert "webhook secret, live mode: a signature was refused at 20" in said(doctor)
    clock.later(2 * 86_400)
    assert "a signature was refused" not in said(doctor)
    shop.stripe.live.create_customer(name="Renée")
    shop.stripe.add_endpoint(URL, send=lambda *_: 503, enabled_events=ALL)
    clock.later(60)
    # What came to be undelivered after it has another cause.
    assert set(findings(doctor)) == {"events of demo, live mode"}


def test_findings_hold_nothing_personal(shop: Shop, doctor: Doctor, clock: MovableClock) -> None:
    shop.stripe.add_endpoint(URL, send=lambda *_: 503, enabled_events=ALL)
    shop.stripe.live.create_customer(name="Zoë", email="zoe@example.com")
    clock.later(60)
    told: list[Any] = [*doctor.findings()]
    assert "zoe" not in str(told).lower()
