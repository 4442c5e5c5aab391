"""The API's document says something of everything it names. That answers are as it says is held
by tests/security/test_openapi.py and by whoever asks for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from shared.http.app import OPENAPI

DOCUMENT = json.loads(OPENAPI.read_text())
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
ROUTES = {
    ("get", "/v1/customers"),
    ("get", "/v1/customers/{customer_id}"),
    ("get", "/v1/customers/{customer_id}/purchases"),
    ("get", "/v1/customers/{customer_id}/transactions"),
    ("post", "/v1/customers/{customer_id}/purchases/{purchase_id}/cancel"),
    ("post", "/v1/customers/{customer_id}/purchases/{purchase_id}/revocation"),
    ("get", "/v1/customers/{customer_id}/purchases/{purchase_id}/cancel_preview"),
    ("get", "/v1/attention"),
    ("get", "/v1/chats"),
    ("post", "/v1/attention/retry"),
    ("post", "/v1/webhooks/stripe"),
    ("get", "/v1/products"),
    ("get", "/v1/openapi.json"),
}


def test_every_route_is_in_the_document() -> None:
    assert {(method, path) for path, method, _ in OPERATIONS} == ROUTES
    assert all(operation.get("summary") for _, _, operation in OPERATIONS)


def test_every_field_and_parameter_is_described() -> None:
    fields = [
        f"{name}.{field}"
        for name, schema in SCHEMAS.items()
        for field, described in schema.get("properties", {}).items()
        if not described.get("description")
        and not (set(described) == {"$ref"} and described["$ref"].rpartition("/")[2] in SCHEMAS)
        and "oneOf" not in described
    ]
    parameters = [
        f"{path} {parameter['name']}"
        for path, _, operation in OPERATIONS
        for parameter in operation.get("parameters", ())
        if not parameter.get("description") and "$ref" not in parameter
    ]
    assert (fields, parameters) == ([], [])


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if "examples" in schema])
def test_an_example_is_what_the_document_says(name: str) -> None:
    reference = {"components": DOCUMENT["components"], "$ref": f"#/components/schemas/{name}"}
    for example in SCHEMAS[name]["examples"]:
        Draft202012Validator(reference, format_checker=FormatChecker()).validate(example)
