"""Whatever reaches the webhook: an answer that is right, and never half of a write."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from functions.stripe_webhook.signature import is_signed
from shared.domain.errors import CustomersError
from shared.showing.reader import Reader
from shared.stripe_events.events import HANDLERS
from standins.stripe import StripeStandin
from tests.functions.test_webhook_events import NEW, FixtureStripe, fixture
from tests.functions.webhook_world import SECRET, STORE, World, signed
from tests.storage.owners import store_chats

REFUSED = (400, 413)
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
FEW = settings(max_examples=60, deadline=None, suppress_health_check=SLOW)

WRONG: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    10**40,
    1.5,
    1e308,
    "",
    "x",
    "\ud800",
    "é" * 700,
    [],
    [None],
    ["x"],
    {},
    {"id": 5},
    {"data": None},
]


def events_by_type() -> dict[str, dict[str, Any]]:
    """One event of every type in the webhook's table: as Stripe's stand-in makes them for a busy
    store, which leads to other records of it, and the rest as the fixtures have them."""
    standin = StripeStandin(api_keys=("sk_live_local", "sk_test_local"))
    live = standin.live
    product = live.create_product(name="Signals", telegram_chat_ids="-1001000000001")["id"]
    live.update_product(product, name="Signals 2")
    one = live.subscribe(product=product, telegram_user_id=700001)
    live.renew(one["id"])
    live.link_telegram(one["id"], 700002)
    live.update_customer(one["customer"], name="Other")
    live.adjust_balance(one["customer"], amount=-500)
    method = live.attach_payment_method(one["customer"])["id"]
    live.update_payment_method(method)
    live.detach_payment_method(method)
    source = live.add_source(one["customer"])["id"]
    live.update_source(source)
    live.remove_source(source)
    bought = live.buy_one_off(product=product, telegram_user_id=700003)
    charge = live.charge_of(bought["id"])["id"]
    live.refund(charge, amount=100)
    live.dispute(live.charge_of(live.guest_checkout(product=product)["id"])["id"])
    live.redeem_access_code(product=product)
    live.portal_cancel(one["id"], immediately=True)
    live.delete_product(product)
    live.delete_customer(one["customer"])
    found = {kind: fixture(NEW, kind) for kind in HANDLERS}
    for event in reversed(standin.events()):
        if event["type"] in HANDLERS:
            found[event["type"]] = event
    standin.close()
    return found


EVENTS = events_by_type()
# Nobody asks it for anything: the fixtures answer.
STANDIN = StripeStandin()


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place within an object, three levels deep."""
    if len(before) > 3:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in items:
        yield (*before, name)
        if isinstance(part, (dict, list)):
            yield from paths(part, (*before, name))


def put(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """The object with another value in one place; all other parts are shared with it."""
    if not path:
        return wrong
    changed = copy.copy(value)
    changed[path[0]] = put(value[path[0]], path[1:], wrong)
    return changed


def world() -> World:
    """Nothing stored yet, at a Stripe that knows what the fixtures are about."""
    return World(STANDIN, stripe=FixtureStripe(STANDIN))


def status_of(made: World, body: bytes, signature: str | None = None) -> tuple[int, str]:
    try:
        result = made.deliveries.receive(body, signature or signed_bytes(body))
    except CustomersError as error:
        return error.status, error.code
    return 200, result


def signed_bytes(body: bytes) -> str:
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    now = int(time.time())
    made = hmac.new(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={made}"


def stored(made: World) -> dict[str, Any]:
    """All but parked events."""
    return {
        f"{name} {pk} {sk}": item
        for name, table in made.memory._tables.items()
        for pk, partition in table.items.items()
        for sk, item in partition.items()
        if not pk.startswith("PARKED#")
    }


def assert_readable(made: World) -> None:
    """What was stored can be shown, listed and driven: nothing wrong got past the door."""
    customers = made.customers
    reader = Reader(made.records, customers, store_chats(made.table), made.registry)
    for key in stored(made):
        table, pk, sk = key.split(" ", 2)
        if table == "records" and sk == "CUSTOMER":
            customer_id = pk.rpartition("#")[2]
            if customers.get(STORE, customer_id) is not None:
                detail, *_ = reader.detail(STORE, customer_id, limit=25)
                json.dumps(detail).encode()


def test_there_is_an_event_of_every_type() -> None:
    assert set(EVENTS) == set(HANDLERS)


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_a_wrong_type_in_any_field_is_applied_whole_or_parked(kind: str) -> None:
    event = EVENTS[kind]
    body_of = event["data"]["object"]
    made = world()
    failures: list[Any] = []
    for number, path in enumerate(paths(body_of)):
        # Every place, the values in turn: all pairs would take minutes.
        for wrong in (WRONG[number % len(WRONG)], WRONG[(number * 7 + 3) % len(WRONG)]):
            if isinstance(wrong, str) and "\ud800" in wrong:
                continue  # JSON may hold it, UTF-8 can't; see the test of raw bytes
            changed = {
                **event,
                "id": f"evt_{number}",
                "data": {**event["data"], "object": put(body_of, path, wrong)},
            }
            made = world()
            before = stored(made)
            status, result = status_of(made, json.dumps(changed).encode())
            if status >= 500:
                failures.append((path, wrong, result))
                continue
            if result == "parked" and not partial(before, stored(made)):
                continue
            if result == "parked":
                failures.append((path, wrong, "parked after a write", sorted(stored(made))))
                continue
            try:
                assert_readable(made)
            except Exception as error:  # noqa: BLE001 - every failure is collected
                failures.append((path, wrong, f"unreadable: {type(error).__name__}: {error}"))
    assert not failures, "\n".join(map(str, failures[:12]))


def partial(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return dict(before) != dict(after)


@FEW
@given(
    change=st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"\xff\xfe", b"\x00", b"{", b"[]", b"null", b'"x"', b"1e999", b"NaN"]),
    ),
    at=st.integers(0, 4000),
    kind=st.sampled_from(sorted(EVENTS)),
)
def test_bytes_that_are_no_event_store_nothing(change: bytes, at: int, kind: str) -> None:
    body = json.dumps(EVENTS[kind]).encode()
    at %= len(body)
    made = world()
    status, result = status_of(made, body[:at] + change + body[at + len(change) :])
    assert status < 500
    if status != 200:
        assert stored(made) == {}
    else:
        assert result in ("applied", "parked", "ignored")


NESTED = b"[" * 100_000
BIG = b'{"object":"event","id":"evt_1","type":"customer.created","created":1,"x":"'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff", 400),
        (NESTED, 400),
        (b'{"a":' * 100_000, 400),
        (b"1" * 5000, 400),
        (
            b'{"object":"event","id":"e","type":"customer.created","created":' + b"9" * 5000 + b"}",
            400,
        ),
        (json.dumps({"object": "v2.core.account", "id": "e", "type": "t"}).encode(), 400),
        (BIG + b"x" * (1024 * 1024 - len(BIG) + 1), 413),
    ],
    ids=[
        "empty",
        "utf8",
        "deep-list",
        "deep-object",
        "number",
        "huge-number",
        "other-object",
        "large",
    ],
)
def test_what_is_no_event_is_refused(body: bytes, status: int) -> None:
    made = world()
    assert status_of(made, body)[0] == status
    assert stored(made) == {}


@pytest.mark.parametrize(
    "field", ["id", "type", "created", "livemode", "account", "data", "object", "api_version"]
)
def test_a_wrong_type_in_the_event_itself_is_never_a_fault(field: str) -> None:
    event = EVENTS["customer.subscription.created"]
    for wrong in WRONG:
        if isinstance(wrong, str) and "\ud800" in wrong:
            continue
        made = world()
        status, result = status_of(made, json.dumps({**event, field: wrong}).encode())
        assert status < 500, (field, wrong, result)
        if status != 200:
            assert stored(made) == {}


@FEW
@given(header=st.text(max_size=200))
@example("t=1,v1=")
@example("t=9999999999999999999,v1=00")
@example("t=١,v1=00")
@example("v1=é,t=1")
@example("t=1,t=2,v1=a,v1=b," * 50)
def test_no_made_up_signature_is_taken(header: str) -> None:
    assert not is_signed(b"{}", header, [SECRET, ""], 1_800_000_000)


@FEW
@given(at=st.integers(0, 200), flip=st.integers(1, 255))
def test_one_byte_more_or_less_breaks_the_signature(at: int, flip: int) -> None:
    body = json.dumps(EVENTS["customer.created"]).encode()
    header = signed(body)
    changed = bytearray(body)
    changed[at % len(body)] ^= flip
    now = time.time()
    assert is_signed(body, header, [SECRET], now)
    assert not is_signed(bytes(changed), header, [SECRET], now)
    assert not is_signed(body, header, ["whsec_other", ""], now)
    assert not is_signed(body, header, [SECRET], now + 301)
    assert not is_signed(body, header, [SECRET], now - 302)
    assert is_signed(body, header, ["whsec_new", SECRET], now)
