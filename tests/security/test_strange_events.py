"""Whatever stands in any field of an event, of Stripe's or of the store's: it is applied or parked
whole, every request to the database is one that DynamoDB takes, and the next event is applied.

The recorded events of tests/fixtures are changed place by place. By default each place that a
handler may read gets one value; with ``FAULTS_LONG`` every place of every event gets all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from functions.store_events.apply import HANDLERS as STORE_HANDLERS
from functions.store_events.apply import StoreEvents
from shared.domain.errors import CustomersError
from shared.domain.search import make_query
from shared.showing.reader import Reader
from shared.storage.customer_index import CustomerIndex
from shared.storage.dynamo import Table
from shared.stripe_events.events import HANDLERS
from standins.stripe import StripeStandin
from tests.functions.test_webhook_events import NEW, OLD, FixtureStripe
from tests.functions.webhook_world import STORE, World
from tests.storage.owners import store_chats
from tests.strange import LONG, Place, any_value, examples, places, put, tried_in

# Nobody asks it for anything: the fixtures answer.
STANDIN = StripeStandin()
# Whose connection the recorded events tell of.
ACCOUNT = json.loads((NEW / "account.application.authorized.json").read_text())["account"]
Event = dict[str, Any]


@dataclass
class Watching:
    """A client of DynamoDB that notes what was written, and what DynamoDB does not take.

    Attributes:
        written: partition keys, but those of parked events.
        impossible: requests that are refused however often they are made.
    """

    client: Any
    written: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.client, name)

        def call(**request: Any) -> Any:
            try:
                answer = operation(**request)
            except ClientError as error:
                codes = {error.response["Error"]["Code"]}
                codes |= {r["Code"] for r in error.response.get("CancellationReasons", ())}
                if codes & {"ValidationException", "ValidationError"}:
                    self.impossible.append(f"{name}: {error}")
                raise
            self.written += [pk for pk in _written(name, request) if not pk.startswith("PARKED#")]
            return answer

        return call


def _written(name: str, request: dict[str, Any]) -> list[str]:
    if name == "transact_write_items":
        bodies = [body for action in request["TransactItems"] for body in action.values()]
    else:
        bodies = [request] if name in ("put_item", "update_item", "delete_item") else []
    return [(body.get("Item") or body["Key"])["pk"]["S"] for body in bodies]


class Watched(World):
    """A world whose requests to the database are watched, and that takes the store's events too."""

    def __init__(self) -> None:
        super().__init__(STANDIN, wrap=Watching, stripe=FixtureStripe(STANDIN))
        self.store_events = StoreEvents(
            records=self.records,
            customers=self.customers,
            products=self.products,
            parked=self.parked,
            wake=lambda record: self.driven.append(record.key),
            count=self.counted.append,
        )
        self.reader = Reader(self.records, self.customers, store_chats(self.table), self.registry)
        self.registry.register(STORE, ACCOUNT)
        self.client.written.clear()
        self.index = CustomerIndex(Table(self.client, "index"), self.records)

    def take(self, event: Any) -> str:
        """One of Stripe's events, known to be signed."""
        return self.receiver.take(json.dumps(event).encode())

    def take_of_store(self, event: Event) -> str:
        return self.store_events.handle(event)

    def assert_readable(self) -> None:
        """What was stored can be listed and shown."""
        for row in self.index.page(STORE, make_query(), 100).rows:
            customer_id = json.loads(row)["customer_id"]
            detail, *_ = self.reader.detail(STORE, customer_id, limit=25)
            json.dumps(detail, ensure_ascii=False).encode()


Take = Callable[[Watched, Any], str]


@dataclass(frozen=True)
class Way:
    """How events come in.

    Attributes:
        take: applies or parks one.
        refusals: what else may become of what is no event.
    """

    take: Take
    refusals: tuple[str, ...] = ()

    def problem_with(self, event: Any, recorded: Event, following: Event) -> str | None:
        """What goes wrong when an event comes, and a well-formed one after it.

        Args:
            recorded: the event without anything strange.
        """
        world = Watched()
        client: Watching = world.client
        try:
            result = self.take(world, event)
        except CustomersError as error:
            result = error.code
        except Exception as error:  # noqa: BLE001 - every failure is collected
            return f"{type(error).__name__}: {error}"
        if client.impossible:
            return f"DynamoDB does not take it: {client.impossible}"
        if result not in ("applied", "parked", "ignored", *self.refusals):
            return f"it was {result}"
        if result != "applied" and client.written and not shown_in_part(world):
            return f"{result} after a write: {client.written}"
        if result == "applied" and world.state() == self.usual(recorded):
            return None  # nobody looked at what is strange
        try:
            world.assert_readable()
            next_one = self.take(world, following)
        except Exception as error:  # noqa: BLE001
            return f"afterwards {type(error).__name__}: {error}"
        return None if next_one == "applied" else f"the next event was {next_one}"

    def usual(self, recorded: Event) -> dict[str, Any]:
        """What a recorded event leaves."""
        name = json.dumps(recorded)
        if name not in _usual:
            world = Watched()
            self.take(world, recorded)
            _usual[name] = world.state()
        return _usual[name]


_usual: dict[str, dict[str, Any]] = {}


def shown_in_part(world: World) -> bool:
    """Whether an event was parked for a date alone: the purchase came about all the same."""
    reasons = {parked.reason for owner in (STORE, None) for parked in world.parked.all(owner)}
    return reasons == {"its date of expiry is not understood"}


# -- Stripe's events -------------------------------------------------------------------------------


@cache
def recorded() -> dict[str, Event]:
    """Recorded events by name, and a session that redeemed an access code."""
    found = {
        f"{folder.name}/{path.stem}": json.loads(path.read_text())
        for folder in (NEW, OLD)
        for path in sorted(folder.glob("*.json"))
    }
    session = found[f"{NEW.name}/checkout.session.completed"]
    code = {"access_code": "ABCDEF123456", "access_expires_at": "2027-03-28", "product_id": "p"}
    about = session["data"]["object"] | {"payment_status": "no_payment_required", "metadata": code}
    found["access code"] = put(session, ("data", "object"), about)
    return found


@cache
def tried() -> dict[str, list[tuple[str, Place]]]:
    """The places that are tried, by the handler that is given them."""
    found: dict[str, list[tuple[str, Place]]] = {}
    known: set[tuple[str, Place]] = set()
    for name, event in recorded().items():
        for place in places(event):
            handler = HANDLERS[event["type"]].handle.__name__
            # All that become of a session are read in the same way.
            handler = "on_session" if handler.startswith("on_session") else handler
            group = handler if place[0] == "data" else "any"
            if LONG or (group, place) not in known:
                known.add((group, place))
                found.setdefault(group, []).append((name, place))
    return found


def later(event: Event) -> Event:
    return {**event, "id": "evt_later", "created": event["created"] + 1}


# What is no event at all is refused.
SIGNED = Way(Watched.take, ("invalid_event",))


def stripe_problem(name: str, place: Place, strange: Any) -> str | None:
    event = recorded()[name]
    return SIGNED.problem_with(put(event, place, strange), event, later(event))


def numbered(group: str) -> Iterator[tuple[str, Place, Any]]:
    for number, (name, place) in enumerate(tried()[group]):
        for strange in tried_in(number):
            yield name, place, strange


@pytest.mark.parametrize("group", sorted(tried()))
def test_a_strange_value_in_a_field_of_stripes_is_applied_or_parked_whole(group: str) -> None:
    failures = [
        (name, place, repr(strange)[:60], problem)
        for name, place, strange in numbered(group)
        if (problem := stripe_problem(name, place, strange)) is not None
    ]
    assert not failures, "\n".join(map(str, failures[:12]))


@examples(100, 20_000)
@given(data=st.data())
def test_whatever_stands_in_a_field_of_stripes_is_applied_or_parked_whole(data: Any) -> None:
    name, place = data.draw(st.sampled_from([one for group in tried().values() for one in group]))
    assert stripe_problem(name, place, data.draw(any_value)) is None


# -- the store's events ----------------------------------------------------------------------------


def of_store(kind: str, **detail: Any) -> Event:
    return {
        "version": "0",
        "id": "6f1c9f9a-0000-0000-0000-000000000001",
        "detail-type": kind,
        "source": "grouptizer.store",
        "account": "123456789012",
        "time": "2026-11-01T10:00:00Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": {"store_id": "demo", **detail},
    }


STORE_EVENTS = {
    "AccessCodeRedeemed": of_store(
        "AccessCodeRedeemed",
        grouptizer_id="gz-1",
        access_code="ABCDEF123456",
        product_id="prod_1",
        redeemed_at="2026-11-01T10:00:00Z",
        expires_at="2027-03-28",
        telegram_user_id="700001",
        livemode=True,
    ),
    "TelegramLinked": of_store(
        "TelegramLinked",
        purchase_id="code_ABCDEF123456",
        telegram_user_id="700002",
        invite_links={"-1001000000001": "https://t.me/+abc"},
    ),
    "ProductChanged": of_store(
        "ProductChanged",
        product_id="prod_1",
        name="Signals",
        telegram_chat_ids=["-1001000000001"],
        deleted=False,
        livemode=True,
    ),
    "CustomerProfileChanged": of_store(
        "CustomerProfileChanged",
        grouptizer_id="gz-1",
        name="Jane",
        email="jane@example.com",
        avatar_url="https://example.com/jane.png",
        created_at="2026-11-01T10:00:00Z",
    ),
}


OF_THE_BUS = Way(Watched.take_of_store)


def store_problem(kind: str, place: Place, strange: Any) -> str | None:
    event = STORE_EVENTS[kind]
    following = {**STORE_EVENTS["AccessCodeRedeemed"], "id": "later"}
    return OF_THE_BUS.problem_with(put(event, place, strange), event, following)


def test_there_is_an_event_of_every_type_of_the_stores() -> None:
    assert set(STORE_EVENTS) == set(STORE_HANDLERS)


@pytest.mark.parametrize("kind", sorted(STORE_EVENTS))
def test_a_strange_value_in_a_field_of_the_stores_is_applied_or_parked_whole(kind: str) -> None:
    failures = [
        (place, repr(strange)[:60], problem)
        for number, place in enumerate(places(STORE_EVENTS[kind]))
        for strange in tried_in(number, few=8)
        if (problem := store_problem(kind, place, strange)) is not None
    ]
    assert not failures, "\n".join(map(str, failures[:12]))


@examples(100, 20_000)
@given(data=st.data())
def test_whatever_stands_in_a_field_of_the_stores_is_applied_or_parked_whole(data: Any) -> None:
    kind = data.draw(st.sampled_from(sorted(STORE_EVENTS)))
    place = data.draw(st.sampled_from(list(places(STORE_EVENTS[kind]))))
    assert store_problem(kind, place, data.draw(any_value)) is None
