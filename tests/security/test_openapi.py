"""The running stack against the OpenAPI document it serves: over HTTP, no server error and no
answer that isn't documented, whatever is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

import shared.http
from local.stack import Stack

DOCUMENT = json.loads((Path(shared.http.__path__[0]) / "openapi.json").read_text())
OPERATIONS = [
    (path, method)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if method in ("get", "post")
]
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# Of each operation and each kind of data. The same ones on every machine: a limit of time would let
# a slow one pass over what a fast one tries.
EXAMPLES = 25
STORE = "described"
# The server of the local gateway refuses a longer request line in its own words (400), as API
# Gateway does one of 10,240 bytes with its headers: no function is asked, and none answers.
LONGEST_URL = 8_000


@pytest.fixture(scope="module")
def described(stack: Stack) -> Any:
    """The document as the stack serves it."""
    return schemathesis.openapi.from_url(f"{stack.url}/v1/openapi.json", timeout=20)


@pytest.fixture(scope="module")
def session(stack: Stack) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.headers["Authorization"] = f"Bearer {stack.token()}"
        yield made


@pytest.fixture(scope="module")
def known(stack: Stack, session: requests.Session) -> list[dict[str, str]]:
    """Customers and purchases that are there."""
    steps = [
        {
            "do": "subscribe",
            "args": {"name": f"Jane {number}", "email": f"jane{number}@example.com"},
        }
        for number in range(3)
    ]
    control = f"{stack.stripe_url}/_control"
    requests.post(f"{control}/scenarios", json={"steps": steps}, timeout=60).raise_for_status()
    requests.post(f"{control}/drain", json={"timeout": 60}, timeout=90).raise_for_status()
    url = f"{stack.url}/v1/customers"
    found = []
    for row in session.get(url, timeout=20).json()["items"]:
        detail = session.get(f"{url}/{row['customer_id']}", timeout=20).json()
        found += [
            {"customer_id": row["customer_id"], "purchase_id": purchase["purchase_id"]}
            for purchase in detail["purchases"]
        ]
    assert found
    return found


def test_the_stack_serves_the_document_of_the_code(described: Any) -> None:
    assert described.raw_schema == DOCUMENT


def _url_of(case: Any, stack: Stack) -> str:
    """The address of a case as it goes over the wire."""
    sent = requests.Request(**case.as_transport_kwargs(base_url=stack.url)).prepare()
    return str(sent.url)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_documented_and_none_is_a_fault(
    stack: Stack,
    session: requests.Session,
    described: Any,
    known: list[dict[str, str]],
    path: str,
    method: str,
    mode: GenerationMode,
) -> None:
    operation = described[path][method.upper()]
    if mode is GenerationMode.NEGATIVE and path == "/v1/openapi.json":
        pytest.skip("there is nothing to get wrong")
    cases: Any = operation.as_strategy(generation_mode=mode)
    places = [name for name in ("customer_id", "purchase_id") if f"{{{name}}}" in path]
    asked = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        nonlocal asked
        case = data.draw(cases)
        a_known_one = data.draw(st.booleans())
        if places and a_known_one:
            there = data.draw(st.sampled_from(known))
            case.path_parameters = {name: there[name] for name in places}
        if len(_url_of(case, stack)) > LONGEST_URL:
            return
        case.call_and_validate(base_url=stack.url, session=session, checks=CHECKS, timeout=20)
        asked += 1

    run()
    assert asked


@pytest.mark.parametrize(
    "path", ["/v1/customers", "/v1/customers/x", "/v1/products", "/v1/nowhere"]
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "TRACE", "POST"])
def test_what_is_not_documented_is_not_there(
    stack: Stack, session: requests.Session, path: str, method: str
) -> None:
    answer = session.request(method, stack.url + path, timeout=20)
    assert answer.status_code in (404, 405), answer.text
