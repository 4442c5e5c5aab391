"""One customer (``GET /v1/customers/{customer_id}``, ``.../purchases``, ``.../transactions``,
``.../purchases/{purchase_id}/cancel_preview``), ``GET /v1/attention`` and ``GET /v1/chats``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.event_handler import Response

from shared import compose
from shared.compose import Composition
from shared.domain.errors import InvalidCursor
from shared.http import cursor
from shared.http.app import (
    json_response,
    limit_of,
    make_app,
    query_params,
    respond,
    single,
    tenant_of,
)
from shared.tenant import Tenant

PAGE = 25

app = make_app()


def parts() -> Composition:
    return compose.function("get_customer")


def _request() -> tuple[dict[str, Any], Tenant]:
    event = app.current_event.raw_event
    return event, tenant_of(event, parts().settings.store_claim)


# A page: its length and where it begins, to the rows and where the next one begins.
Page = Callable[[int, str | None], tuple[list[dict[str, Any]], str | None]]


def _cursor(binding: str, position: str | None) -> str | None:
    return None if position is None else cursor.encode(parts().cursor_key(), binding, position)


def _page_of(event: dict[str, Any], binding: str, page: Page) -> Response[str]:
    """A page as the request's ``limit`` and ``cursor`` ask for it."""
    params = query_params(event, frozenset({"cursor", "limit"}))
    limit, given = limit_of(params), single(params, "cursor")
    position = None if given is None else cursor.decode(parts().cursor_key(), binding, given)
    items, following = page(limit, position)
    return json_response({"items": items, "next_cursor": _cursor(binding, following)})


def _of_customer(customer_id: str, position: str | None) -> str | None:
    """A position in a list of one customer's, to be given out."""
    return None if position is None else f"{customer_id} {position}"


def _position(tenant: Tenant, customer_id: str, given: str | None) -> str | None:
    """A position that was given out for the same customer, be it under another id of theirs.

    Raises:
        InvalidCursor: it is of another customer's list.
    """
    if given is None:
        return None
    told, position = given.split(" ", 1)
    if told != customer_id:
        customers = [parts().customers.resolve(tenant, id_) for id_ in (told, customer_id)]
        if len({None if one is None else one.customer_id for one in customers}) > 1:
            raise InvalidCursor
    return position


@app.get("/v1/customers/<customer_id>")
def get_customer(customer_id: str) -> Response[str]:
    event, tenant = _request()
    query_params(event, frozenset())
    detail, purchases, rows = parts().reader.detail(tenant, customer_id, limit=PAGE)
    detail["purchases_next_cursor"] = _cursor(
        cursor.binding(tenant, "purchases"), _of_customer(customer_id, purchases)
    )
    detail["transactions"]["next_cursor"] = _cursor(
        cursor.binding(tenant, "transactions"), _of_customer(customer_id, rows)
    )
    return json_response(detail)


@app.get("/v1/customers/<customer_id>/purchases")
def list_purchases(customer_id: str) -> Response[str]:
    return _list_of(customer_id, "purchases", parts().reader.purchases)


@app.get("/v1/customers/<customer_id>/transactions")
def list_transactions(customer_id: str) -> Response[str]:
    return _list_of(customer_id, "transactions", parts().reader.transactions)


def _list_of(customer_id: str, name: str, read: Callable[..., Any]) -> Response[str]:
    event, tenant = _request()

    def page(limit: int, given: str | None) -> tuple[list[dict[str, Any]], str | None]:
        position = _position(tenant, customer_id, given)
        items, following = read(tenant, customer_id, limit=limit, position=position)
        return items, _of_customer(customer_id, following)

    return _page_of(event, cursor.binding(tenant, name), page)


@app.get("/v1/customers/<customer_id>/purchases/<purchase_id>/cancel_preview")
def preview_cancel(customer_id: str, purchase_id: str) -> Response[str]:
    event, tenant = _request()
    query_params(event, frozenset())
    return json_response(parts().previews.of(tenant, customer_id, purchase_id))


@app.get("/v1/attention")
def list_attention() -> Response[str]:
    event, tenant = _request()

    def page(limit: int, position: str | None) -> tuple[list[dict[str, Any]], str | None]:
        return parts().attention_list.page(tenant, limit=limit, position=position)

    return _page_of(event, cursor.binding(tenant, "attention"), page)


@app.get("/v1/chats")
def list_chats() -> Response[str]:
    event, tenant = _request()
    query_params(event, frozenset())
    return json_response(parts().chat_list.of(tenant))


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    parts().begin()
    return respond(app, event, context)
