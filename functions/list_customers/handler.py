"""``GET /v1/customers``, ``GET /v1/products`` and ``GET /v1/openapi.json``."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import Response

from functions.list_customers import list as listing
from shared import compose
from shared.compose import Composition
from shared.http.app import OPENAPI, json_response, make_app, query_params, respond, tenant_of
from shared.observability import logger
from shared.tenant import Tenant

app = make_app()


def parts() -> Composition:
    return compose.function("list_customers")


@cache
def _openapi() -> str:
    return OPENAPI.read_text(encoding="utf-8")


def _request(allowed: frozenset[str]) -> tuple[Tenant, dict[str, list[str]]]:
    event = app.current_event.raw_event
    return tenant_of(event, parts().settings.store_claim), query_params(event, allowed)


@app.get("/v1/customers")
def list_customers() -> Response[str]:
    tenant, params = _request(listing.PARAMETERS)
    text, page = listing.list_customers(
        parts().customer_index, tenant, params, parts().cursor_key()
    )
    logger.info("listed", rows=len(page.rows), evaluated=page.evaluated, calls=page.calls)
    return json_response(text)


@app.get("/v1/products")
def list_products() -> Response[str]:
    tenant, _ = _request(frozenset())
    return json_response(listing.list_products(parts().records, tenant))


@app.get("/v1/openapi.json")
def get_openapi() -> Response[str]:
    return json_response(_openapi())


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    parts().begin()
    return respond(app, event, context)
