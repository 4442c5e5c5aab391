"""Invoked by one-time schedules for one purchase, and by the rate schedule to sweep."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from functions.period_end_revoker.revoke import Revoker, Swept
from functions.period_end_revoker.silence import Silence
from shared import compose
from shared.compose import Composition
from shared.domain.deadline import OutOfTime
from shared.observability import invocation, logger, metrics
from shared.storage.dynamo import AWS_ERRORS
from shared.storage.keys import purchase_key
from shared.tenant import Tenant


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Drive one purchase (``{"store", "account", "purchase_id"}``) or all that is due (``{}``)."""
    logger.append_keys(request_id=context.aws_request_id)
    parts = compose.function("period_end_revoker")
    parts.begin()
    with invocation(purchase_id=event.get("purchase_id")):
        return _handle(event, parts)


def _handle(event: dict[str, Any], parts: Composition) -> dict[str, Any]:
    revoker = Revoker(parts.driver, parts.attention, parts.rights)
    deadline = parts.deadline.act_until
    if "purchase_id" not in event:
        swept = revoker.sweep(deadline=deadline)
        _report(swept, parts)
        return asdict(swept)
    tenant = Tenant(event["store"])
    key = purchase_key(tenant, event["account"], event["purchase_id"])
    looked_at = revoker.revoke(key, deadline=deadline)
    logger.info("schedule fired", purchase_id=event["purchase_id"], looked_at=looked_at)
    return {"looked_at": looked_at}


def _report(swept: Swept, parts: Composition) -> None:
    logger.info("swept", **asdict(swept))
    metrics.add_metric(name="SweptPurchases", unit=MetricUnit.Count, value=swept.purchases)
    metrics.add_metric(name="SweepFailures", unit=MetricUnit.Count, value=swept.failed)
    metrics.add_metric(name="OldestDueSeconds", unit=MetricUnit.Seconds, value=swept.oldest_seconds)
    silent = Silence(parts).count() if swept.finished else None
    if silent is not None:
        metrics.add_metric(name="StripeSilent", unit=MetricUnit.Count, value=silent)
    if swept.failing is not None and swept.late is not None:
        metrics.add_metric(name="RemovalsFailing", unit=MetricUnit.Count, value=swept.failing)
        metrics.add_metric(name="RemovalsLate", unit=MetricUnit.Count, value=swept.late)
    try:
        bot = parts.bot.state()
    except (OutOfTime, *AWS_ERRORS):  # the numbers above are told all the same
        return
    paused = not bot.removals_enabled or bot.paused_until > parts.leaves.clock()
    metrics.add_metric(name="BotPaused", unit=MetricUnit.Count, value=int(paused))
