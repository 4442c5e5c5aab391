"""Stripe's events by EventBridge: a partner event source, its bus, a rule, a queue, this function.

Nothing is signed on this way. Only Stripe can put events on the bus of its partner event source,
and the queue takes messages from the rule of that bus alone. So what names another source was put
there by somebody else, and is refused.

The queue gives a message again until a run of it succeeds, so a fault that may pass is raised. What
can never be applied is parked.
"""

from __future__ import annotations

import json
from typing import Any

from shared import compose
from shared.compose import Composition
from shared.domain.errors import InvalidEvent
from shared.observability import count, invocation, logger


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    logger.append_keys(request_id=context.aws_request_id)
    parts = compose.function("stripe_bus")
    parts.begin()
    with invocation():
        return {"results": [_take(parts, message) for message in event["Records"]]}


def _take(parts: Composition, message: dict[str, Any]) -> str:
    """Take a message of the queue: ``applied``, ``ignored``, ``parked`` or ``refused``.

    Raises:
        TryAgainLater, botocore's errors: it may be taken later.
    """
    source, detail = _read(message["body"])
    if source != parts.settings.stripe_event_source:
        count("ForeignEvent")
        logger.warning("refused", message_id=message["messageId"])
        return "refused"
    try:
        result = parts.receiver.take(detail)
    except InvalidEvent:
        result = parts.receiver.park_unknown(detail)
    if result != "parked":  # counted where it is parked
        count(f"Event{result.capitalize()}")
    return result


def _read(text: str) -> tuple[object, bytes]:
    """The source of a message of EventBridge's, and its detail: Stripe's event, as the webhook gets
    it."""
    try:
        told = json.loads(text)
        return told["source"], json.dumps(told["detail"]).encode()
    except (KeyError, TypeError, ValueError, RecursionError):
        return None, b""
