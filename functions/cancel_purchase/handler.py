"""``POST /v1/customers/{customer_id}/purchases/{purchase_id}/cancel`` and ``.../revocation``,
``POST /v1/attention/retry``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.event_handler import Response

from functions.cancel_purchase.cancel import Cancelled, Canceller
from functions.cancel_purchase.replay import Answer, once
from functions.cancel_purchase.requests import (
    cancel_request,
    idempotency_key,
    no_body,
    revocation_request,
)
from shared import compose
from shared.compose import Composition
from shared.domain.errors import InvalidRequest
from shared.domain.steps import Who
from shared.http.app import json_response, make_app, query_params, respond, tenant_of
from shared.observability import count, flush_metrics, logger
from shared.tenant import Tenant, account_of

# Who asked is kept with what they asked for. An issuer's subjects have at most 255 characters:
# https://openid.net/specs/openid-connect-core-1_0.html#IDToken
MAX_SUBJECT = 255
MAX_NAME = 100

app = make_app()


def parts() -> Composition:
    return compose.function("cancel_purchase")


@app.post("/v1/customers/<customer_id>/purchases/<purchase_id>/cancel")
def cancel(customer_id: str, purchase_id: str) -> Response[str]:
    event, tenant = _request()
    request = cancel_request(_body())
    who = _who(event)

    def change() -> Cancelled:
        return Canceller(parts().driver).cancel(
            tenant,
            customer_id,
            purchase_id,
            when=request.when,
            who=who,
            reason=request.reason,
            without_stripe=request.without_stripe,
            deadline=parts().deadline.act_until,
        )

    said = ["cancel", purchase_id, request.when, request.reason]
    if request.without_stripe:
        said.append("without_stripe")
    return _answer(event, tenant, customer_id, said, change)


@app.post("/v1/customers/<customer_id>/purchases/<purchase_id>/revocation")
def revoke_again(customer_id: str, purchase_id: str) -> Response[str]:
    event, tenant = _request()
    leave = revocation_request(_body()).leave
    who = _who(event)

    def change() -> Cancelled:
        return Canceller(parts().driver).revoke_again(
            tenant,
            customer_id,
            purchase_id,
            who=who,
            leave=leave,
            deadline=parts().deadline.act_until,
        )

    said = ["revocation", purchase_id, *(["leave"] if leave else [])]
    return _answer(event, tenant, customer_id, said, change)


@app.post("/v1/attention/retry")
def retry_all() -> Response[str]:
    event, tenant = _request()
    no_body(_body())
    Canceller(parts().driver).retry_all(tenant, who=_who(event))
    return json_response({"accepted": True}, 202)


def _request() -> tuple[dict[str, Any], Tenant]:
    event = app.current_event.raw_event
    query_params(event, frozenset())
    return event, tenant_of(event, parts().settings.store_claim)


def _who(event: dict[str, Any]) -> Who:
    """Who of the staff asks, by the token."""
    claims = event["requestContext"]["authorizer"]["jwt"]["claims"]
    name = claims.get("name") or claims.get("email")
    return Who(
        _kept(claims.get("sub", "owner"), MAX_SUBJECT),
        None if name is None else _kept(name, MAX_NAME),
    )


def _kept(claim: Any, most: int) -> str:
    """A claim as a text that can be stored, whatever the issuer put into it."""
    return str(claim)[:most].encode(errors="replace").decode()


def _body() -> str:
    try:
        return app.current_event.decoded_body or ""
    except ValueError:
        raise InvalidRequest("body must be UTF-8") from None


def _answer(
    event: dict[str, Any],
    tenant: Tenant,
    customer_id: str,
    said: list[Any],
    change: Callable[[], Cancelled],
) -> Response[str]:
    """Make the change and show the purchase; once per Idempotency-Key, if there is one."""
    action, purchase_id, *_ = said

    def answer() -> Answer:
        done = change()
        shown = parts().reader.purchase(tenant, account_of(done.key.pk), purchase_id)
        logger.info(
            action,
            purchase_id=purchase_id,
            changed=done.changed,
            outstanding=done.outstanding,
            access=shown["access"]["state"],
        )
        if done.changed:
            count("Cancels")
        body = {"changed": done.changed, "purchase": shown}
        return {"status": 202 if done.outstanding else 200, "body": body}

    key = idempotency_key(event.get("headers") or {})
    if key is None:
        made = answer()
    else:
        # The key belongs to the purchase, whichever id of the customer leads to it; but one has to.
        parts().customers.purchase(tenant, customer_id, purchase_id)
        seconds, table = parts().budget.timeout, parts().records_table
        made = once(table, tenant, key, said=said, answer=answer, seconds=seconds)
    return json_response(made["body"], made["status"])


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    parts().begin()
    try:
        return respond(app, event, context)
    finally:
        flush_metrics()
