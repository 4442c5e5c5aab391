"""``POST /v1/webhooks/stripe``.

Only what every event needs is imported with the function. Stripe's SDK comes with the first
question to Stripe. Nothing here removes anybody, or changes anything at Stripe.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Any

from functions.stripe_webhook.delivery import Deliveries
from functions.stripe_webhook.refusals import Refusals
from shared import compose
from shared.compose import Composition
from shared.domain.errors import InvalidEvent, InvalidSignature
from shared.http.problem import (
    HEADERS,
    PROBLEM_JSON,
    dumps,
    problem_text,
    refusal_of,
    request_id_of,
)
from shared.observability import count, flush_metrics, logger


@lru_cache(maxsize=1)
def deliveries(parts: Composition) -> Deliveries:
    """What takes the deliveries of this process."""
    return Deliveries(parts.webhook_secrets, parts.receiver, parts.leaves.clock)


@lru_cache(maxsize=1)
def refusals(parts: Composition) -> Refusals:
    """What notes the refused signatures of this process."""
    return Refusals(lambda: parts.stripe_notes, parts.leaves.monotonic)


def lambda_handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    logger.append_keys(request_id=request_id_of(event))
    parts = compose.function("stripe_webhook")
    parts.begin()
    try:
        result = deliveries(parts).receive(_body_of(event), _header(event, "stripe-signature"))
        if result != "parked":  # counted where it is parked
            count(f"Event{result.capitalize()}")
    except Exception as error:  # noqa: BLE001 - no traceback to the caller; Stripe sends it again
        refusal = refusal_of(error)
        if refusal.status < 500:
            count("EventRefused")
        if isinstance(error, InvalidSignature):
            refusals(parts).add(_body_of(event), _header(event, "stripe-signature"))
        return _answer(refusal.status, PROBLEM_JSON, problem_text(refusal, event))
    finally:
        flush_metrics()
    return _answer(200, "application/json", dumps({"result": result}))


def _body_of(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidEvent from None


def _header(event: dict[str, Any], name: str) -> str | None:
    headers = event.get("headers") or {}
    return next((value for key, value in headers.items() if key.lower() == name), None)


def _answer(status: int, content_type: str, body: str) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {**HEADERS, "Content-Type": content_type},
        "body": body,
    }
