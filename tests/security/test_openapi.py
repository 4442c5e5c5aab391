"""The API against its own OpenAPI document: no server error, no answer that isn't documented."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import shared.http
from tests.functions.http import api_event
from tests.functions.shop import CHAT, Shop

DOCUMENT = json.loads((Path(shared.http.__path__[0]) / "openapi.json").read_text())
FUNCTION_OF = {
    "/v1/customers": "list_customers",
    "/v1/products": "list_customers",
    "/v1/openapi.json": "list_customers",
    "/v1/webhooks/stripe": "stripe_webhook",
}
OPERATIONS = [
    (path, method)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if method in ("get", "post")
]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def gateway(shop: Shop) -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """API Gateway before the functions, as WSGI."""

    def app(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name != "HTTP_ACCEPT_ENCODING"
        }
        function = FUNCTION_OF.get(path)
        if function is None:
            function = "cancel_purchase" if method == "POST" else "get_customer"
        public = path in ("/v1/openapi.json", "/v1/webhooks/stripe")
        if not public and "authorization" not in headers:
            start("401 Unauthorized", [("Content-Type", "application/json")])
            return [b'{"message":"Unauthorized"}']
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else None
        event = api_event(
            method,
            path.encode("latin-1", "replace").decode("utf-8", "replace"),
            query=environ.get("QUERY_STRING", ""),
            body=body,
            headers=headers,
            store=None if public else "demo",
        )
        answer = shop.invoke(function, event)
        sent = answer.get("body") or ""
        start(f"{answer['statusCode']} x", list(answer["headers"].items()))
        return [sent.encode()]

    return app


@pytest.fixture
def filled(shop: Shop) -> Shop:
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    for number in range(2):
        shop.stripe.live.subscribe(
            product=product, name=f"Jane {number}", email=f"jane{number}@example.com"
        )
    shop.deliver()
    return shop


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_documented_and_none_is_a_fault(
    filled: Shop, path: str, method: str
) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.app = gateway(filled)
    operation = schema[path][method.upper()]
    checks: tuple[Any, ...] = (
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.CHECKS.get_one("status_code_conformance"),
        schemathesis.checks.CHECKS.get_one("content_type_conformance"),
        schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
    )

    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        case.headers["Authorization"] = "Bearer verified"
        case.call_and_validate(checks=list(checks))

    run()
