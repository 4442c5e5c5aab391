"""What the API's functions have in common: the store of a request, its parameters, its answer.

Every function makes its own resolver with :func:`make_app` and answers with :func:`respond`. It is
Powertools' on purpose, see docs/decisions/0009-libraries-on-the-cold-path.md.
"""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response

from shared.domain.clock import Clock, system_clock
from shared.domain.errors import (
    InvalidRequest,
    InvalidToken,
    NotFound,
    StoreClaimMissing,
)
from shared.domain.key_parts import is_id, is_text
from shared.http.problem import (
    HEADERS,
    PROBLEM_JSON,
    Event,
    dumps,
    problem_text,
    refusal_of,
    request_id_of,
)
from shared.observability import logger
from shared.tenant import Tenant

OPENAPI = Path(__file__).with_name("openapi.json")
"""The API's description, as it is served; bodies are checked against its schemas."""

JSON = "application/json"
# Below this, gzip's own time and header outweigh what it saves on the wire.
GZIP_FROM_BYTES = 1400
MAX_QUERY_BYTES = 8192

# Claims that only ID tokens have: https://openid.net/specs/openid-connect-core-1_0.html#IDToken
# and #HybridIDToken.
_ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")


def make_app() -> APIGatewayHttpResolver:
    """A resolver that answers every error as ``application/problem+json``."""
    app = APIGatewayHttpResolver(enable_validation=False)

    def refuse(error: Exception) -> Response[str]:
        return _problem(error, app.current_event.raw_event)

    def known(app: APIGatewayHttpResolver, next_middleware: Any) -> Any:
        if _names_what_cannot_be(app.current_event.raw_event):
            raise NotFound
        return next_middleware(app)

    app.use(middlewares=[known])
    app.exception_handler(Exception)(refuse)
    app.not_found(lambda _: refuse(NotFound()))
    return app


def respond(app: APIGatewayHttpResolver, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer a request: routed, with the security headers, gzipped where that pays."""
    logger.append_keys(request_id=request_id_of(event))
    answer = app.resolve(event, context)
    headers = answer.setdefault("headers", {})
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    body = answer.get("body")
    if isinstance(body, str) and not answer.get("isBase64Encoded"):
        headers["Vary"] = "Accept-Encoding"
        raw = body.encode()
        if len(raw) >= GZIP_FROM_BYTES and _accepts_gzip(event):
            answer["body"] = base64.b64encode(gzip.compress(raw, 5, mtime=0)).decode()
            answer["isBase64Encoded"] = True
            headers["Content-Encoding"] = "gzip"
    return answer


def _names_what_cannot_be(event: Event) -> bool:
    """Whether a part of the path is no id of anything: such an id is unknown, and can't be part of
    a key of the database either. Both hold for a part as it is given, and as it is meant."""
    return not all(map(_may_be_asked_for, (event.get("rawPath") or "").split("/")))


def _may_be_asked_for(part: str) -> bool:
    try:
        meant = unquote_to_bytes(part).decode()
    except UnicodeError:
        return False
    return part == "" or (is_id(part) and is_id(meant))


def json_response(body: Any, status: int = 200) -> Response[str]:
    """A JSON answer; a ``str`` is taken for JSON text already."""
    text = body if isinstance(body, str) else dumps(body)
    return Response(status_code=status, content_type=JSON, body=text)


def _problem(error: Exception, event: Event) -> Response[str]:
    refusal = refusal_of(error)
    return Response(refusal.status, PROBLEM_JSON, problem_text(refusal, event))


def tenant_of(event: Event, claim: str, clock: Clock = system_clock) -> Tenant:
    """The store a request is for: the claim of its verified token, and nothing else.

    The authorizer has checked signature, issuer and audience, and ``exp`` where there is one: a
    token without it would be valid for ever. It takes ID tokens too, for it can't tell them from
    access tokens.

    Raises:
        StoreClaimMissing: the claim is missing, empty, no store's id or has several values.
        InvalidToken: the token never expires or has expired, or is an ID token.
    """
    context = event.get("requestContext") or {}
    claims = ((context.get("authorizer") or {}).get("jwt") or {}).get("claims") or {}
    value = claims.get(claim)
    # API Gateway writes a list claim as "[a b]": brackets and spaces are in no store's id.
    if not isinstance(value, str):
        raise StoreClaimMissing
    try:
        tenant = Tenant(value)
    except ValueError:
        raise StoreClaimMissing from None
    if not _expires_after(claims.get("exp"), clock()):
        raise InvalidToken("The token has expired, or never does")
    if not _is_access_token(claims):
        raise InvalidToken("The token is an ID token; the API takes access tokens")
    return tenant


def _expires_after(exp: Any, now: float) -> bool:
    """Whether the claim is a time to come. API Gateway writes numbers as text."""
    try:
        at = float(exp)
    except (TypeError, ValueError):
        return False
    return math.isfinite(at) and at > now


def _is_access_token(claims: Mapping[str, Any]) -> bool:
    """Amazon Cognito names the kind; other issuers' ID tokens give themselves away."""
    return claims.get("token_use", "access") == "access" and not any(
        name in claims for name in _ID_TOKEN_CLAIMS
    )


def query_params(event: Event, allowed: frozenset[str]) -> dict[str, list[str]]:
    """The query's parameters, each with all its values in order.

    Payload format 2.0 joins repeated parameters with commas, so a comma within a value can't be
    told from two values there: the raw query string is read instead.

    Raises:
        InvalidRequest: a parameter that isn't allowed, or text that isn't UTF-8.
    """
    raw = event.get("rawQueryString") or ""
    if len(raw) > MAX_QUERY_BYTES:
        raise InvalidRequest("The query is too long")
    if not is_text(raw):
        raise InvalidRequest("The query is not valid UTF-8")
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidRequest("The query is not valid UTF-8") from None
    params: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in allowed:
            raise InvalidRequest(f"{_shown(name)}: no such parameter")
        params.setdefault(name, []).append(value)
    return params


def single(params: Mapping[str, list[str]], name: str) -> str | None:
    """A parameter that may be given once.

    Raises:
        InvalidRequest: it was given several times.
    """
    values = params.get(name)
    if not values:
        return None
    if len(values) > 1:
        raise InvalidRequest(f"{name}: given more than once")
    return values[0]


def limit_of(params: Mapping[str, list[str]], default: int = 25, most: int = 100) -> int:
    """The page size asked for.

    Raises:
        InvalidRequest: not a whole number from 1 to ``most``.
    """
    text = single(params, "limit")
    if text is None:
        return default
    # isdecimal() alone would take digits of other scripts; int() would take "+5", " 5" and "1_0".
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= most):
        raise InvalidRequest(f"limit: must be a whole number from 1 to {most}")
    return int(text)


def _shown(name: str) -> str:
    """A parameter's name, short and printable, for an error."""
    return "".join(c if c.isprintable() else "?" for c in name[:60])


def _accepts_gzip(event: Event) -> bool:
    headers = event.get("headers") or {}
    accepted = next((v for k, v in headers.items() if k.lower() == "accept-encoding"), "")
    codings = (coding.replace(" ", "").partition(";") for coding in accepted.lower().split(","))
    return any(name == "gzip" and weight not in ("q=0", "q=0.0") for name, _, weight in codings)
