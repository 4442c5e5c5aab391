"""Every error that is answered over HTTP, rendered in one place (RFC 9457).

Powertools' resolver is not imported here: the webhook does without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.domain.errors import CustomersError, TryAgainLater
from shared.observability import log_failure, logger
from shared.storage.dynamo import may_pass

Event = Mapping[str, Any]

PROBLEM_JSON = "application/problem+json"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer, errors or not."""


def refusal_of(error: Exception) -> CustomersError:
    """The error that the caller is told, and a line in the log for one that is our fault.

    A temporary failure of AWS is answered 503 ``try_again_later``. Any unexpected error is 500
    ``internal_error``; its text is never shown.
    """
    if isinstance(error, CustomersError):
        if error.status >= 500:
            logger.warning("refused", code=error.code)
        return error
    log_failure("failed", error)
    return TryAgainLater() if may_pass(error) else CustomersError()


def problem_text(error: CustomersError, event: Event) -> str:
    """The body of an error's answer."""
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id_of(event),
        **error.more,
    }
    return dumps(body)


def request_id_of(event: Event) -> str:
    """API Gateway's id of the request."""
    return str((event.get("requestContext") or {}).get("requestId") or "")


def dumps(value: Any) -> str:
    """Compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
