"""Whatever stands in a parameter, a header, the path, the body or the token of a request: the
answer is a documented one and no fault, and the next request and event are answered as ever.

The routes, their parameters and bodies are those of the API's own document. Over HTTP the same is
tried by ``test_openapi.py``, as far as a client's library sends it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import shared.http
from shared.domain.key_parts import is_id
from tests.functions.http import api_event, json_of
from tests.functions.shop import Shop
from tests.strange import Place, any_text, any_value, examples, places, put, tried_in
from tests.template.expanded import functions, properties

DOCUMENT = json.loads((Path(shared.http.__path__[0]) / "openapi.json").read_text())
WEBHOOK = "/v1/webhooks/stripe"
CANCEL = {
    "when": "period_end",
    "confirmation": "CANCEL PURCHASE",
    "reason": "Asked by e-mail",
    "without_stripe": False,
}
BODIES: dict[str, Any] = {"cancel": CANCEL, "revocation": {"leave": False}, "retry": {}}
HEADERS = ("accept", "accept-encoding", "content-type", "origin", "user-agent", "x-strange")
CLAIMS = ("sub", "name", "email")


class Slot(NamedTuple):
    """A place in a request that something strange is put into.

    Attributes:
        where: ``path``, ``raw path``, ``query``, ``query name``, ``raw query``, ``header``,
            ``claim``, ``body``, ``raw body``.
        place: within it.
    """

    method: str
    path: str
    where: str
    place: Place = ()


@cache
def function_of(method: str, path: str) -> str:
    uri = json.dumps(
        properties("Api")["Body"]["paths"][path][method]["x-amazon-apigateway-integration"]["uri"]
    )
    names = (name.replace("-", "_") for name in functions())
    return next(n for n in names if f"{n.title().replace('_', '')}Function" in uri)


def slots() -> Iterator[Slot]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            parameters = [(p["in"], p["name"]) for p in operation.get("parameters", ())]
            for where, name in parameters:
                yield Slot(method, path, where, (name,))
                if where == "path":
                    yield Slot(method, path, "raw path", (name,))
            yield Slot(method, path, "query", ("strange",))
            yield Slot(method, path, "query name")
            yield Slot(method, path, "raw query")
            for name in HEADERS:
                yield Slot(method, path, "header", (name,))
            for name in CLAIMS if path != WEBHOOK else ():
                yield Slot(method, path, "claim", (name,))
            if method == "post":
                yield Slot(method, path, "raw body")
                yield Slot(method, path, "body")
                for place in places(BODIES.get(path.rpartition("/")[2], {})):
                    yield Slot(method, path, "body", place)
                yield Slot(method, path, "body", ("strange",))


SLOTS = list(slots())


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def request(slot: Slot, strange: Any, known: dict[str, str]) -> dict[str, Any]:
    """A request that is as it should be but in one place."""
    method, path, where, place = slot
    text = as_text(strange)
    ids = dict(known)
    query: Any = []
    headers = {"content-type": "application/json"}
    claims: dict[str, Any] | None = None if path == WEBHOOK else {"store_id": "demo", "sub": "o"}
    body: Any = BODIES.get(path.rpartition("/")[2], {}) if method == "post" else None
    match where:
        case "path":
            ids[place[0]] = quote(text, safe="", errors="surrogatepass")
        case "raw path":
            ids[place[0]] = text
        case "query":
            query = urlencode([(place[0], text)], errors="surrogatepass")
        case "query name":
            query = urlencode([(text, "x")], errors="surrogatepass")
        case "raw query":
            query = text
        case "header":
            headers[place[0].lower()] = text
        case "claim" if claims is not None:
            claims[place[0]] = strange
        case "body":
            is_new = place == ("strange",)
            body = {**body, "strange": strange} if is_new else put(body, place, strange)
    sent = None if body is None else json.dumps(body)
    if where == "raw body":
        sent = text
    made = path.format(**ids)
    return api_event(
        method.upper(), made, query=query, body=sent, headers=headers, claims=claims, store=None
    )


def problem_with(shop: Shop, slot: Slot, strange: Any, known: dict[str, str]) -> str | None:
    """What is wrong with the answer to a request."""
    event = request(slot, strange, known)
    calls = sum(shop.tables.client.calls.values())
    try:
        answer = shop.invoke(function_of(slot.method, slot.path), event)
        shown = json_of(answer)
    except Exception as error:  # noqa: BLE001 - every failure is collected
        return f"{type(error).__name__}: {error}"
    status, documented = answer["statusCode"], DOCUMENT["paths"][slot.path][slot.method]
    if status >= 500:
        return f"{status} {shown}"
    if slot.where in ("path", "raw path") and not is_id(as_text(strange)):
        # It may also be no such path.
        calls = sum(shop.tables.client.calls.values()) - calls
        if status != 404 or shown["code"] != "not_found" or calls:
            return f"{status} after {calls} calls: {shown}"
        return None
    if str(status) not in documented["responses"] and status != 404:
        return f"{status} is not documented: {shown}"
    if status >= 400:
        return _wrong("Problem", shown)
    content = documented["responses"][str(status)].get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    return _wrong(schema["$ref"].rpartition("/")[2], shown) if "$ref" in schema else None


@cache
def _validator(schema: str) -> Draft202012Validator:
    reference = f"#/components/schemas/{schema}"
    return Draft202012Validator({"components": DOCUMENT["components"], "$ref": reference})


def _wrong(schema: str, shown: Any) -> str | None:
    error = next(_validator(schema).iter_errors(shown), None)
    return None if error is None else f"no {schema}: {error.message[:200]}"


@pytest.fixture
def known(shop: Shop) -> dict[str, str]:
    """A customer and a purchase that are there."""
    shop.sell()
    customer = shop.customer()
    return {
        "customer_id": customer["customer"]["customer_id"],
        "purchase_id": customer["purchases"][0]["purchase_id"],
    }


def assert_as_ever(shop: Shop, known: dict[str, str]) -> None:
    """A well-formed event is applied, and the customer is listed and shown."""
    bought = shop.stripe.live.get("subscription", known["purchase_id"])
    shop.stripe.live.update_customer(bought["customer"], name="Zoe")
    shop.deliver()
    status, page = shop.get("/v1/customers")
    assert (status, [row["name"] for row in page["items"]]) == (200, ["Zoe"])
    assert shop.get(f"/v1/customers/{known['customer_id']}")[0] == 200


@pytest.mark.parametrize("where", sorted({slot.where for slot in SLOTS}))
def test_a_strange_request_is_answered_as_documented(
    shop: Shop, known: dict[str, str], where: str
) -> None:
    failures = [
        (slot, repr(strange)[:60], problem)
        for number, slot in enumerate(slot for slot in SLOTS if slot.where == where)
        for strange in tried_in(number, few=4)
        if (problem := problem_with(shop, slot, strange, known)) is not None
    ]
    assert not failures, "\n".join(map(str, failures[:12]))
    assert_as_ever(shop, known)


@examples(300, 20_000)
@given(slot=st.sampled_from(SLOTS), strange=st.one_of(any_text, any_value))
def test_whatever_is_asked_is_answered_as_documented(
    shop: Shop, known: dict[str, str], slot: Slot, strange: Any
) -> None:
    assert problem_with(shop, slot, strange, known) is None
