"""``POST /v1/customers/{customer_id}/purchases/{purchase_id}/cancel`` and ``.../revocation``."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyValidationError,
)

from functions.cancel_purchase.cancel import Cancelled, Canceller
from functions.cancel_purchase.requests import cancel_request, idempotency_key, no_body
from shared.assembly import driver
from shared.domain.errors import IdempotencyKeyReused, OperationInProgress
from shared.http.app import json_response, make_app, query_params, respond, tenant_of
from shared.observability import logger, metrics
from shared.reader import Reader
from shared.tenant import Tenant, account_of
from shared.wiring import customers, records, records_table, settings

# An answer comes within ten seconds whatever Stripe and Telegram do: this is for them, the rest
# for our own reads and writes.
BUDGET_SECONDS = 8.5
# How long the answer to an Idempotency-Key is kept, as at Stripe.
KEPT_SECONDS = 86_400

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
    request = cancel_request(app.current_event.decoded_body)
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

    said = ["cancel", customer_id, purchase_id, request.model_dump()]
    return _answer(event, tenant, customer_id, said, change)


@app.post("/v1/customers/<customer_id>/purchases/<purchase_id>/revocation")
def revoke_again(customer_id: str, purchase_id: str) -> Response[str]:
    event, tenant = _request()
    no_body(app.current_event.decoded_body)

    def change() -> Cancelled:
        deadline = time.monotonic() + BUDGET_SECONDS
        return canceller().revoke_again(tenant, customer_id, purchase_id, deadline=deadline)

    said = ["revocation", customer_id, purchase_id]
    return _answer(event, tenant, customer_id, said, change)


def _request() -> tuple[dict[str, Any], Tenant]:
    event = app.current_event.raw_event
    query_params(event, frozenset())
    return event, tenant_of(event, settings().store_claim)


def _answer(
    event: dict[str, Any],
    tenant: Tenant,
    customer_id: str,
    said: list[Any],
    change: Callable[[], Cancelled],
) -> Response[str]:
    """Make the change and show the purchase; once per Idempotency-Key, if there is one."""

    def answer() -> dict[str, Any]:
        done = change()
        purchase_id = done.purchase.purchase_id
        account = account_of(done.key.pk)
        shown = reader().purchase(tenant, customer_id, account, purchase_id)
        logger.info(
            said[0],
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
    made = answer() if key is None else _once(tenant, key, said, answer)
    return json_response(made["body"], made["status"])


def _once(
    tenant: Tenant, key: str, said: list[Any], answer: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The first answer to a key; an error is not kept, so that it can be tried again.

    Only the answer is replayed from here. That a cancel happens once is the saga's doing, with
    this record or without it.

    Raises:
        IdempotencyKeyReused: the key came with another request.
        OperationInProgress: the first request with this key is still under way.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()
    store = DynamoDBPersistenceLayer(
        table_name=records_table().name,
        key_attr="pk",
        sort_key_attr="sk",
        static_pk_value=tenant.requests_pk(digest),
        expiry_attr="expires_ttl",
        boto3_client=records_table().client,
    )
    config = IdempotencyConfig(
        event_key_jmespath="key",
        payload_validation_jmespath="said",
        expires_after_seconds=KEPT_SECONDS,
        lambda_context=app.lambda_context,
    )

    @idempotent_function(  # type: ignore[untyped-decorator]
        data_keyword_argument="request", persistence_store=store, config=config, key_prefix="answer"
    )
    def replayable(*, request: dict[str, Any]) -> dict[str, Any]:
        del request
        return answer()

    try:
        made: dict[str, Any] = replayable(request={"key": digest, "said": json.dumps(said)})
    except IdempotencyValidationError:
        raise IdempotencyKeyReused from None
    except IdempotencyAlreadyInProgressError:
        raise OperationInProgress from None
    return made


@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return respond(app, event, context)
