"""Requests as API Gateway's HTTP API hands them to a function (payload format 2.0)."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import time
from typing import Any
from urllib.parse import urlencode

_numbers = itertools.count(1)


def api_event(
    method: str,
    path: str,
    *,
    query: list[tuple[str, str]] | str = "",
    body: str | bytes | None = None,
    headers: dict[str, str] | None = None,
    store: str | None = "demo",
    claims: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A request; ``store`` is the claim of a token the authorizer has verified.

    Args:
        query: pairs, or the raw query string.
        body: ``bytes`` are sent base64 encoded, as API Gateway does with binary types.
        claims: all claims but ``exp``, instead of just the store.
        store: ``None``: no token at all, as on a route without authorizer.
    """
    raw_query = query if isinstance(query, str) else urlencode(query)
    request_context: dict[str, Any] = {
        "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
        "requestId": f"request-{next(_numbers)}",
        "stage": "$default",
    }
    if claims is None and store is not None:
        claims = {"store_id": store, "sub": "owner"}
    if claims is not None:
        verified = {"exp": str(int(time.time()) + 3600), **claims}
        request_context["authorizer"] = {"jwt": {"claims": verified, "scopes": None}}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": raw_query,
        "headers": {name.lower(): value for name, value in (headers or {}).items()},
        "requestContext": request_context,
        "isBase64Encoded": isinstance(body, bytes),
    }
    if body is not None:
        event["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    return event


def json_of(answer: dict[str, Any]) -> Any:
    """The JSON body of an answer, however it is encoded."""
    body: Any = answer["body"]
    if answer.get("isBase64Encoded"):
        raw = base64.b64decode(body)
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        body = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
    return json.loads(body)
