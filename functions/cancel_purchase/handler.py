"""``POST /v1/customers/{customer_id}/purchases/{purchase_id}/cancel`` and ``.../revocation``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.event_handler import Response

from functions.cancel_purchase.cancel import Cancelled, Canceller
from functions.cancel_purchase.replay import Answer, once
from functions.cancel_purchase.requests import cancel_request, idempotency_key, no_body
from shared import compose
from shared.compose import Composition
from shared.domain.errors import InvalidRequest
from shared.http.app import json_response, make_app, query_params, respond, tenant_of
from shared.observability import count, flush_metrics, logger
from shared.tenant import Tenant, account_of

app = make_app()


def parts() -> Composition:
    return compose.function("cancel_purchase")


@app.post("/v1/customers/<customer_id>/purchases/<purchase_id>/cancel")
def cancel(customer_id: str, purchase_id: str) -> Response[str]:
    event, tenant = _request()
    request = cancel_request(_body())
    actor = str(event["requestContext"]["authorizer"]["jwt"]["claims"].get("sub", "owner"))

    def change() -> Cancelled:
        return Canceller(parts().driver).cancel(
            tenant,
            customer_id,
            purchase_id,
            when=request.when,
            actor=actor,
            reason=request.reason,
            deadline=parts().deadline.act_until,
        )

    said = ["cancel", customer_id, purchase_id, request.when, request.reason]
    return _answer(event, tenant, said, change)


@app.post("/v1/customers/<customer_id>/purchases/<purchase_id>/revocation")
def revoke_again(customer_id: str, purchase_id: str) -> Response[str]:
    event, tenant = _request()
    no_body(_body())

    def change() -> Cancelled:
        return Canceller(parts().driver).revoke_again(
            tenant, customer_id, purchase_id, deadline=parts().deadline.act_until
        )

    return _answer(event, tenant, ["revocation", customer_id, purchase_id], change)


def _request() -> tuple[dict[str, Any], Tenant]:
    event = app.current_event.raw_event
    query_params(event, frozenset())
    return event, tenant_of(event, parts().settings.store_claim)


def _body() -> str:
    try:
        return app.current_event.decoded_body or ""
    except ValueError:
        raise InvalidRequest("body must be UTF-8") from None


def _answer(
    event: dict[str, Any], tenant: Tenant, said: list[Any], change: Callable[[], Cancelled]
) -> Response[str]:
    """Make the change and show the purchase; once per Idempotency-Key, if there is one."""
    action, customer_id, purchase_id, *_ = said

    def answer() -> Answer:
        done = change()
        shown = parts().reader.purchase(tenant, customer_id, account_of(done.key.pk), purchase_id)
        logger.info(
            action,
            purchase_id=purchase_id,
            changed=done.changed,
            outstanding=done.outstanding,
            access=done.purchase.access_state,
        )
        if done.changed:
            count("Cancels")
        body = {"changed": done.changed, "purchase": shown}
        return {"status": 202 if done.outstanding else 200, "body": body}

    key = idempotency_key(event.get("headers") or {})
    if key is None:
        made = answer()
    else:
        seconds, table = parts().budget.timeout, parts().records_table
        made = once(table, tenant, key, said=said, answer=answer, seconds=seconds)
    return json_response(made["body"], made["status"])


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    parts().begin()
    try:
        return respond(app, event, context)
    finally:
        flush_metrics()
