"""``POST /v1/customers/{customer_id}/purchases/{purchase_id}/cancel`` and ``.../revocation``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.metrics import MetricUnit

from functions.cancel_purchase.cancel import Cancelled, Canceller
from functions.cancel_purchase.replay import Answer, once
from functions.cancel_purchase.requests import cancel_request, idempotency_key, no_body
from shared.assembly import driver
from shared.domain.errors import InvalidRequest
from shared.http.app import json_response, make_app, query_params, respond, tenant_of
from shared.observability import flush_metrics, logger, metrics
from shared.showing.reader import Reader
from shared.tenant import Tenant, account_of
from shared.wiring import customers, records, records_table, settings

# An answer comes within ten seconds whatever Stripe and Telegram do: this is for them, the rest
# for our own reads and writes.
BUDGET_SECONDS = 8.5

app = make_app()


@cache
def canceller() -> Canceller:
    return Canceller(driver(interactive=True))


@cache
def reader() -> Reader:
    return Reader(records(), customers())


@app.post("/v1/customers/<customer_id>/purchases/<purchase_id>/cancel")
def cancel(customer_id: str, purchase_id: str) -> Response[str]:
    event, tenant = _request()
    request = cancel_request(_body())
    actor = str(event["requestContext"]["authorizer"]["jwt"]["claims"].get("sub", "owner"))

    def change() -> Cancelled:
        return canceller().cancel(
            tenant,
            customer_id,
            purchase_id,
            when=request.when,
            actor=actor,
            reason=request.reason,
            deadline=time.monotonic() + BUDGET_SECONDS,
        )

    said = ["cancel", customer_id, purchase_id, request.when, request.reason]
    return _answer(event, tenant, said, change)


@app.post("/v1/customers/<customer_id>/purchases/<purchase_id>/revocation")
def revoke_again(customer_id: str, purchase_id: str) -> Response[str]:
    event, tenant = _request()
    no_body(_body())

    def change() -> Cancelled:
        deadline = time.monotonic() + BUDGET_SECONDS
        return canceller().revoke_again(tenant, customer_id, purchase_id, deadline=deadline)

    return _answer(event, tenant, ["revocation", customer_id, purchase_id], change)


def _request() -> tuple[dict[str, Any], Tenant]:
    event = app.current_event.raw_event
    query_params(event, frozenset())
    return event, tenant_of(event, settings().store_claim)


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
        shown = reader().purchase(tenant, customer_id, account_of(done.key.pk), purchase_id)
        logger.info(
            action,
            purchase_id=purchase_id,
            changed=done.changed,
            outstanding=done.outstanding,
            access=done.purchase.access_state,
        )
        if done.changed:
            metrics.add_metric(name="Cancels", unit=MetricUnit.Count, value=1)
        body = {"changed": done.changed, "purchase": shown}
        return {"status": 202 if done.outstanding else 200, "body": body}

    key = idempotency_key(event.get("headers") or {})
    if key is None:
        made = answer()
    else:
        seconds = app.lambda_context.get_remaining_time_in_millis() / 1000
        made = once(records_table(), tenant, key, said=said, answer=answer, seconds=seconds)
    return json_response(made["body"], made["status"])


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    try:
        return respond(app, event, context)
    finally:
        flush_metrics()
