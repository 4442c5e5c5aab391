"""Events of the store's own platform, from the EventBridge bus of the template.

EventBridge and Lambda both deliver at least once and try again after an exception; what can never
be applied is parked instead of raised.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from functions.store_events.apply import HANDLERS, StoreEvents
from shared import compose
from shared.compose import Composition
from shared.domain.key_parts import is_id
from shared.observability import count, invocation, logger


@lru_cache(maxsize=1)
def store_events(parts: Composition) -> StoreEvents:
    """What applies the events in this process."""
    return StoreEvents(
        records=parts.records,
        customers=parts.customers,
        products=parts.products,
        parked=parts.parked,
        wake=parts.waking.wake,
        count=parts.leaves.count,
        clock=parts.leaves.clock,
    )


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    event_id, kind = event.get("id"), event.get("detail-type")
    logger.append_keys(
        request_id=context.aws_request_id,
        event_id=event_id if is_id(event_id) else "malformed",
        type=kind if isinstance(kind, str) and kind in HANDLERS else "malformed",
    )
    parts = compose.function("store_events")
    parts.begin()
    with invocation():
        result = store_events(parts).handle(event)
        logger.info(result)
        if result == "applied":
            count("EventApplied")
        return {"result": result}
