"""Logs and metrics. No name, e-mail address, token, search text or free text of anybody's.

``logger`` writes JSON lines, ``metrics`` writes CloudWatch's embedded metric format to the log.
docs/operations.md lists the metrics; template.yaml has an alarm for each that needs somebody.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from shared.domain.errors import CustomersError

logger = Logger(log_uncaught_exceptions=False)
# One dimension for all functions (the namespace names the deployment), so that one alarm a metric
# is enough; which function it was, its log tells.
metrics = Metrics(service="customers")


def count(name: str) -> None:
    """Add one to a metric."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)


def flush_metrics() -> None:
    """Write the metrics of an invocation, where there are any."""
    if metrics.metric_set:
        metrics.flush_metrics()


class InvocationFailed(Exception):
    """What Lambda is told of a failure, instead of an error whose text may quote data."""


def log_failure(message: str, error: BaseException, **fields: Any) -> None:
    """An unexpected error: its type and where it happened, without its text.

    An error's text may quote what it failed on (a key, a value, a URL with a token in it).
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-8:]]
    logger.error(message, error=type(error).__name__, where=where, stacklevel=3, **fields)


@contextmanager
def invocation(**fields: Any) -> Iterator[None]:
    """Around what an asynchronously invoked function does; at its end the metrics are written.

    Raises:
        InvocationFailed: instead of any error that is not in our own words: Lambda prints the text
            of what it is told. The log has its type and place, and ``fields``.
    """
    try:
        yield
    except CustomersError:
        raise
    except Exception as error:  # noqa: BLE001
        log_failure("failed", error, **fields)
        raise InvocationFailed(type(error).__name__) from None
    finally:
        flush_metrics()
