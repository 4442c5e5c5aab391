"""Stripe's events by EventBridge, through the function's handler."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.stripe_bus import handler
from shared.domain.errors import TryAgainLater
from shared.observability import InvocationFailed
from shared.storage.keys import profile_key
from shared.storage.parked import Parked
from shared.storage.records import Records
from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.dynamo import write_all
from tests.functions.shop import CHAT, MESSAGE_ID, USER, Shop, forget_what_was_made, queue_message
from tests.functions.test_webhook import event_of, post, stored

STORE = Tenant("demo")
Take = Callable[[Shop, dict[str, Any]], None]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The metrics that the function counts."""
    names: list[str] = []
    monkeypatch.setattr(handler, "count", names.append)
    return names


def by_webhook(shop: Shop, event: dict[str, Any]) -> None:
    assert post(shop, event)[0] == 200


def by_bus(shop: Shop, event: dict[str, Any]) -> None:
    assert shop.take_from_queue(event) in ("applied", "ignored")


def by_both(shop: Shop, event: dict[str, Any]) -> None:
    by_bus(shop, event)
    by_webhook(shop, event)


def twice(shop: Shop, event: dict[str, Any]) -> None:
    by_bus(shop, event)
    by_bus(shop, event)


def a_life(shop: Shop) -> list[dict[str, Any]]:
    """The events of a customer who bought once, subscribed, renewed and got money back."""
    live = shop.stripe.live
    product = live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    sold = live.subscribe(product=product, telegram_user_id=USER)
    bought = live.buy_one_off(customer=sold["customer"], product=product)
    live.refund(live.charge_of(bought["id"])["id"])
    live.renew(sold["id"])
    live.cancel_subscription(sold["id"])
    return list(shop.stripe.events())


def told(shop: Shop, events: list[dict[str, Any]], take: Take) -> tuple[Any, list[Any]]:
    """What the API tells of the only customer once empty tables got these events, and the keys of
    all items."""
    for table in (shop.tables.records, shop.tables.index):
        keys = [(item["pk"]["S"], item["sk"]["S"]) for item in shop.tables.dump(table)]
        write_all(table, deletes=keys)
    forget_what_was_made()
    for event in events:
        take(shop, event)
    keys = [(item["pk"], item["sk"]) for item in stored(shop)]
    customer = shop.customer()
    return without_times_to_come(customer), keys


def without_times_to_come(value: Any) -> Any:
    """When a removal is tried next depends on when its end was stored."""
    if isinstance(value, dict):
        return {k: without_times_to_come(v) for k, v in value.items() if k != "next_attempt_at"}
    return [without_times_to_come(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("take", [by_bus, by_both, twice])
def test_events_by_the_bus_make_the_same_records_as_by_the_webhook(shop: Shop, take: Take) -> None:
    events = a_life(shop)
    expected = told(shop, events, by_webhook)
    assert len(expected[0]["transactions"]["items"]) >= 3
    assert told(shop, events, take) == expected
    assert not any(pk["S"].startswith("PARKED#") for pk, _ in expected[1])


def test_an_event_that_came_by_the_bus_first_writes_nothing_when_the_webhook_brings_it(
    shop: Shop,
) -> None:
    assert shop.take_from_queue(event_of()) == "applied"
    before = stored(shop)
    assert post(shop, event_of()) == (200, {"result": "applied"})
    assert stored(shop) == before


def test_what_became_of_an_event_is_counted_as_by_the_webhook(
    shop: Shop, counted: list[str]
) -> None:
    assert shop.take_from_queue(event_of()) == "applied"
    assert shop.take_from_queue(event_of("quantum.entangled")) == "ignored"
    assert shop.take_from_queue(event_of(account="acct_unknown")) == "parked"
    assert counted == ["EventApplied", "EventIgnored"]  # what is parked is counted there


def test_an_end_that_the_bus_tells_gets_its_schedule_and_nobody_is_removed_here(
    shop: Shop,
) -> None:
    shop.stripe.live.cancel_subscription(shop.sell())
    for event in shop.stripe.events():
        assert shop.take_from_queue(event) in ("applied", "ignored")
    assert len(shop.scheduler.schedules) == 1
    assert shop.telegram.requests() == []


def test_every_message_of_a_run_is_taken(shop: Shop) -> None:
    other = event_of(about={**event_of()["data"]["object"], "id": "cus_2"}, id="evt_2")
    records = [r for event in (event_of(), other) for r in queue_message(event)["Records"]]
    answer = shop.invoke("stripe_bus", {"Records": records})
    assert answer == {"results": ["applied", "applied"]}
    assert Records(shop.tables.records).get(profile_key(STORE, "cus_2")) is not None


# -- whose it is -----------------------------------------------------------------------------------


def test_an_event_of_a_connected_account_goes_to_its_store_and_no_other(shop: Shop) -> None:
    Registry(shop.tables.records, "demo").register(Tenant("other"), "acct_other")
    assert shop.take_from_queue(event_of(account="acct_other")) == "applied"
    records = Records(shop.tables.records)
    assert records.get(profile_key(Tenant("other"), "cus_1")) is not None
    assert records.get(profile_key(STORE, "cus_1")) is None


@pytest.mark.parametrize(
    "source",
    [
        "aws.partner/stripe.com/ed_2",
        "aws.partner/stripe.com/ed_1 ",
        "grouptizer.store",
        "",
        None,
        1,
    ],
    ids=repr,
)
def test_an_event_of_another_source_is_refused_and_not_stored(
    shop: Shop, counted: list[str], log: io.StringIO, source: Any
) -> None:
    assert shop.take_from_queue(event_of(), source) == "refused"
    assert stored(shop) == []
    assert counted == ["ForeignEvent"]
    (line,) = (json.loads(line) for line in log.getvalue().splitlines() if "refused" in line)
    assert (line["level"], line["message_id"]) == ("WARNING", MESSAGE_ID)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "[" * 100_000,
        json.dumps({"detail": event_of()}),
        json.dumps({"source": "aws.partner/stripe.com/ed_1"}),
        json.dumps(event_of()),
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_message_of_eventbridge_is_refused(
    shop: Shop, counted: list[str], body: str
) -> None:
    message = {"Records": [{"messageId": MESSAGE_ID, "body": body}]}
    assert shop.invoke("stripe_bus", message) == {"results": ["refused"]}
    assert stored(shop) == []
    assert counted == ["ForeignEvent"]


# -- what is not applied ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "detail",
    [None, [], "text", {}, {"object": "v3.event", "id": "evt_1"}, {"object": ["event"]}],
    ids=repr,
)
def test_what_stripes_source_sends_and_is_no_event_is_parked_once(shop: Shop, detail: Any) -> None:
    assert shop.take_from_queue(detail) == "parked"
    assert shop.take_from_queue(detail) == "parked"
    (parked,) = Parked(shop.tables.records).all(None)
    assert json.loads(parked.body) == detail
    assert (parked.origin, parked.created_at) == ("stripe", 0)
    assert parked.reason == "it is no event that this version knows"


@pytest.mark.parametrize(
    ("event", "owner"),
    [
        (event_of(account="acct_unknown"), None),
        (event_of("customer.subscription.updated", {"id": "sub_1"}), STORE),
        ({**event_of(), "created": "now"}, STORE),
    ],
    ids=["account", "object", "time"],
)
def test_an_event_that_can_never_be_applied_is_parked_as_by_the_webhook(
    shop: Shop, event: dict[str, Any], owner: Tenant | None
) -> None:
    assert shop.take_from_queue(event) == "parked"
    assert post(shop, event) == (200, {"result": "parked"})
    (parked,) = Parked(shop.tables.records).all(owner)
    assert json.loads(parked.body) == event


# -- what is tried again ---------------------------------------------------------------------------


def test_while_the_database_throttles_a_run_fails_so_that_the_message_comes_again(
    shop: Shop, counted: list[str]
) -> None:
    def throttled(operation: str, request: dict[str, Any]) -> None:
        error = {"Code": "ProvisionedThroughputExceededException", "Message": "no"}
        raise ClientError({"Error": error}, operation)

    shop.tables.client.hook = throttled
    with pytest.raises(TryAgainLater):
        shop.take_from_queue(event_of())
    shop.tables.client.hook = None
    assert counted == []
    assert shop.take_from_queue(event_of()) == "applied"


def test_while_stripe_is_down_an_event_that_needs_it_comes_again(shop: Shop) -> None:
    shop.stripe.live.subscribe(checkout=False)
    events = [e for e in shop.stripe.events() if e["type"] == "customer.subscription.updated"]
    shop.stripe.outage = True
    with pytest.raises(TryAgainLater):
        shop.take_from_queue(events[0])
    shop.stripe.outage = False
    assert shop.take_from_queue(events[0]) == "applied"
    assert shop.customer()["customer"]["email"] == "jane@example.com"


def test_while_nothing_can_be_parked_a_run_fails(shop: Shop) -> None:
    def gone(operation: str, request: dict[str, Any]) -> None:
        raise ClientError({"Error": {"Code": "InternalServerError", "Message": "no"}}, operation)

    shop.tables.client.hook = gone
    with pytest.raises(InvocationFailed, match=r"^ClientError$"):
        shop.take_from_queue({"object": "v3.event"})
    shop.tables.client.hook = None
    assert stored(shop) == []


def test_a_fault_of_ours_tells_lambda_nothing_of_the_event(shop: Shop) -> None:
    def broken(operation: str, request: dict[str, Any]) -> None:
        raise ZeroDivisionError("secret detail")

    shop.tables.client.hook = broken
    with pytest.raises(InvocationFailed, match=r"^ZeroDivisionError$"):
        shop.take_from_queue(event_of())
    shop.tables.client.hook = None
