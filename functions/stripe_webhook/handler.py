"""``POST /v1/webhooks/stripe``.

Only what every event needs is imported with the function. Stripe's SDK comes with the first
question to Stripe, the driver and Telegram with the first purchase that has something to do.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from functools import cache
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from functions.stripe_webhook.context import Services
from functions.stripe_webhook.receive import Receiver, without_failing
from shared import wiring
from shared.domain.errors import CustomersError, InvalidEvent
from shared.integrations.stripe_gateway import StripeGateway
from shared.observability import flush_metrics, log_failure, logger, metrics
from shared.storage.chats import Chats
from shared.storage.keys import Key
from shared.storage.parked import Parked
from shared.storage.products import Products
from shared.storage.registry import Registry

# Stripe waits for the answer: what isn't begun after this long is left to the sweep.
DRIVE_SECONDS = 8.0


@cache
def receiver() -> Receiver:
    settings, secrets, records = wiring.settings(), wiring.secrets(), wiring.records()
    api_keys, webhook = settings.stripe_api_secret_arn, settings.stripe_webhook_secret_arn
    stripe = StripeGateway(
        lambda: secrets.get(api_keys),
        settings.stripe_api_base,
        refresh_keys=lambda: secrets.refresh(api_keys),
    )
    registry = Registry(records.table, settings.default_store)
    services = Services(
        records=records,
        customers=wiring.customers(),
        products=Products(records, Chats(records.table), registry, stripe),
        registry=registry,
        stripe=stripe,
        drive=without_failing(_drive),
        count=_count,
    )

    def secrets_of_webhook(again: bool) -> list[str]:
        read = secrets.refresh if again else secrets.get
        return list(read(webhook)["secrets"])

    return Receiver(secrets_of_webhook, services, Parked(records.table))


def _drive(key: Key) -> None:
    from shared.assembly import driver  # noqa: PLC0415 - see the module's text

    driver(interactive=False).drive(key, deadline=time.monotonic() + DRIVE_SECONDS)


def _count(name: str) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)


def lambda_handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    logger.append_keys(request_id=_request_id(event))
    try:
        result = receiver().receive(_body_of(event), _header(event, "stripe-signature"))
        if result != "parked":  # counted where it is parked
            _count(f"Event{result.capitalize()}")
    except CustomersError as error:
        return _problem(error, event)
    except Exception as error:  # noqa: BLE001 - no traceback to the caller; Stripe sends it again
        log_failure("failed", error)
        return _problem(CustomersError(), event)
    finally:
        flush_metrics()
    return _answer(200, "application/json", {"result": result})


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


def _request_id(event: dict[str, Any]) -> str:
    return str((event.get("requestContext") or {}).get("requestId") or "")


def _problem(error: CustomersError, event: dict[str, Any]) -> dict[str, Any]:
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": _request_id(event),
    }
    return _answer(error.status, "application/problem+json", body)


def _answer(status: int, content_type: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}
