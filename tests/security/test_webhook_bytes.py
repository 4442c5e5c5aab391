"""The webhook at its door, through the function: signatures, encodings and sizes of bodies that
were made on purpose."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functions.http import api_event
from tests.functions.shop import Shop
from tests.functions.webhook_world import SECRET

EVENT = {
    "object": "event",
    "id": "evt_1",
    "type": "customer.created",
    "created": 1_780_000_000,
    "livemode": True,
    "data": {"object": {"id": "cus_1", "object": "customer", "created": 1_780_000_000}},
}
BODY = json.dumps(EVENT).encode()
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
MANY = settings(max_examples=150, deadline=None, suppress_health_check=SLOW)


def signed(body: bytes, secret: str = SECRET) -> str:
    """Stripe's header over any bytes."""
    now = int(time.time())
    digest = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={digest}"


def answer(
    shop: Shop, body: bytes, header: str | None, changes: Mapping[str, Any] | None = None
) -> int:
    headers = {} if header is None else {"Stripe-Signature": header}
    event = api_event("POST", "/v1/webhooks/stripe", body=body, headers=headers, store=None)
    return int(shop.invoke("stripe_webhook", {**event, **(changes or {})})["statusCode"])


def written(shop: Shop) -> list[dict[str, Any]]:
    """What is stored, but for the note that a signature was refused."""
    return [item for item in shop.tables.dump(shop.tables.records) if item["pk"] != {"S": "STRIPE"}]


@MANY
@given(data=st.data())
def test_a_header_with_anything_changed_is_refused(shop: Shop, data: st.DataObject) -> None:
    header = signed(BODY)
    at = data.draw(st.integers(0, len(header) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != header[at]))
    how = data.draw(st.sampled_from(("replace", "drop", "insert", "cut")))
    changed = {
        "replace": header[:at] + other + header[at + 1 :],
        "drop": header[:at] + header[at + 1 :],
        "insert": header[:at] + other + header[at:],
        "cut": header[:at],
    }[how]
    before = written(shop)
    status = answer(shop, BODY, changed)
    if same_claim(changed) == same_claim(header):
        assert status == 200  # spaces, and fields that Stripe may add
    else:
        assert status == 400
        assert written(shop) == before


def same_claim(header: str) -> tuple[Any, ...]:
    """What a header says: its first time, and its signatures."""
    fields = [part.strip().partition("=") for part in header.split(",")]
    times = [v for n, _, v in fields if n == "t" and v.isascii() and v.isdecimal()]
    return (times[:1], any(n == "v1" and v == header_digest(times, BODY) for n, _, v in fields))


def header_digest(times: list[str], body: bytes) -> str | None:
    if not times:
        return None
    signed_bytes = times[0].encode() + b"." + body
    return hmac.new(SECRET.encode(), signed_bytes, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500"])
def test_another_encoding_is_refused_however_well_it_is_signed(shop: Shop, encoding: str) -> None:
    body = json.dumps({**EVENT, "note": "é"}, ensure_ascii=False).encode(encoding)
    assert answer(shop, body, signed(body)) == 400
    assert written(shop) == []


@MANY
@given(body=st.binary(max_size=300))
def test_any_bytes_that_are_signed_are_no_fault_and_store_nothing(shop: Shop, body: bytes) -> None:
    before = written(shop)
    assert answer(shop, body, signed(body)) == 400
    assert written(shop) == before


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


@MANY
@given(event=Json, fields=st.sets(st.sampled_from(sorted(EVENT))), about=Json)
def test_any_json_that_is_signed_is_no_fault(
    shop: Shop, event: Any, fields: set[str], about: Any
) -> None:
    made: Any = event
    if isinstance(event, dict):
        made = {**event, **{name: EVENT[name] for name in fields}}
        if "data" in fields:
            made["data"] = {"object": about}
    body = json.dumps(made).encode()
    assert answer(shop, body, signed(body)) in (200, 400)


@pytest.mark.parametrize("size", [1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 5_000_000])
def test_a_body_over_a_megabyte_is_refused_by_its_size(shop: Shop, size: int) -> None:
    padded = {**EVENT, "padding": ""}
    padding = "x" * (size - len(json.dumps(padded)))
    body = json.dumps({**padded, "padding": padding}).encode()
    assert len(body) == size
    assert answer(shop, body, signed(body)) == (413 if size > 1024 * 1024 else 200)


@pytest.mark.parametrize(
    "inner",
    [
        b"[" * 50_000 + b"]" * 50_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"1" * 4301,
        b"-" + b"9" * 4000,
        b"1e400",
        b"-1e400",
        b"1E+99999",
        b"NaN",
        b"Infinity",
        b"0." + b"0" * 5000 + b"1",
    ],
    ids=[
        "lists",
        "objects",
        "digits",
        "negative",
        "huge",
        "minus-huge",
        "exponent",
        "nan",
        "inf",
        "small",
    ],
)
@pytest.mark.parametrize("place", ["created", "balance", "metadata", "id", "name"])
def test_depths_and_numbers_beyond_reason_are_no_fault(
    shop: Shop, inner: bytes, place: str
) -> None:
    about = {**EVENT["data"]["object"], place: "HERE"}  # type: ignore[index]
    body = json.dumps({**EVENT, "data": {"object": about}}).encode().replace(b'"HERE"', inner)
    assert answer(shop, body, signed(body)) in (200, 400)
    for row in shop.get("/v1/customers")[1]["items"]:
        assert shop.get(f"/v1/customers/{row['customer_id']}")[0] == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"body": "not base64!", "isBase64Encoded": True}, 400),
        ({"body": None, "isBase64Encoded": False}, 400),
        ({"body": base64.b64encode(BODY).decode(), "isBase64Encoded": False}, 400),
        ({"headers": None}, 400),
        ({"body": BODY.decode(), "isBase64Encoded": False}, 200),
    ],
)
def test_whatever_the_gateway_makes_of_a_body(
    shop: Shop, changes: dict[str, Any], status: int
) -> None:
    assert answer(shop, BODY, signed(BODY), changes) == status
