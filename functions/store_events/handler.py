"""Events of the store's own platform, from the EventBridge bus of the template.

EventBridge and Lambda both deliver at least once and try again after an exception; what can never
be applied is parked instead of raised.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from functions.store_events.apply import StoreEvents
from shared.assembly import driver, products
from shared.domain.errors import CustomersError
from shared.observability import invocation, log_failure, logger, metrics
from shared.storage.dynamo import AWS_ERRORS
from shared.storage.keys import Key
from shared.storage.parked import Parked
from shared.wiring import customers, records, records_table

# Of the function's sixty: Stripe alone may take twenty-three, and is not asked with less left.
DRIVE_SECONDS = 40.0


@cache
def store_events() -> StoreEvents:
    return StoreEvents(
        records=records(),
        customers=customers(),
        products=products(interactive=False),
        parked=Parked(records_table()),
        drive=_drive,
        count=lambda name: metrics.add_metric(name=name, unit=MetricUnit.Count, value=1),
    )


def _drive(key: Key) -> None:
    try:
        driver(interactive=False).drive(key, deadline=time.monotonic() + DRIVE_SECONDS)
    except (CustomersError, *AWS_ERRORS) as error:
        log_failure("left to the sweep", error)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    logger.append_keys(
        request_id=context.aws_request_id, event_id=event.get("id"), type=event.get("detail-type")
    )
    with invocation():
        result = store_events().handle(event)
        logger.info(result)
        if result == "applied":
            metrics.add_metric(name="EventApplied", unit=MetricUnit.Count, value=1)
        return {"result": result}
