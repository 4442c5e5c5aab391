"""The public API under ``/v1``: one pure function from a request to an answer."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

from standins.stripe.account import StripeAccount
from standins.stripe.calls import ApiAnswer, ApiRequest
from standins.stripe.connected_accounts import PLATFORM_ACCOUNT
from standins.stripe.errors import StripeError
from standins.stripe.faults import Fault
from standins.stripe.params import nested
from standins.stripe.request_log import RequestRecord
from standins.stripe.routes import route
from standins.stripe.shapes import Object
from standins.stripe.standin import StripeStandin

__all__ = ["ApiAnswer", "ApiRequest", "handle"]

IDEMPOTENCY_LIFETIME = 24 * 3600


def handle(standin: StripeStandin, request: ApiRequest) -> ApiAnswer:
    """Answer a call, log it, keep it for its idempotency key, and let faults happen."""
    at = time.time()
    request_id = f"req_{uuid.uuid4().hex[:14]}"
    key = request.header("Idempotency-Key") if request.method == "POST" else None
    livemode, replayed = True, False
    fault = standin.take_fault(request.method, request.path)
    try:
        account = authenticate(standin, request)
        livemode = account.livemode
        attempt = _Attempt(standin, account, request, request_id, key, fault)
        answer, replayed = _answer(attempt)
    except StripeError as error:
        answer = _json(error.status, error.body())
    if fault is not None:
        drop = fault.drop
        answer = ApiAnswer(answer.status, answer.body, answer.headers, drop, fault.latency)
    standin.request_log.add(
        RequestRecord(
            method=request.method,
            path=request.path,
            params=_parsed_or_raw(request),
            idempotency_key=request.header("Idempotency-Key"),
            account=request.header("Stripe-Account"),
            stripe_version=request.header("Stripe-Version"),
            livemode=livemode,
            at=at,
            status=0 if answer.drop else answer.status,
            replayed=replayed,
        )
    )
    headers = {
        "Request-Id": request_id,
        "Stripe-Version": request.header("Stripe-Version") or standin.api_version,
        **answer.headers,
    }
    if key:
        headers["Idempotency-Key"] = key
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return ApiAnswer(answer.status, answer.body, headers, answer.drop, answer.latency)


def _parsed_or_raw(request: ApiRequest) -> Object:
    try:
        return nested(request.params)
    except StripeError:
        return dict(request.params)


def authenticate(standin: StripeStandin, request: ApiRequest) -> StripeAccount:
    """The account and mode a call is for, by its key and its ``Stripe-Account`` header."""
    if standin.outage:
        raise StripeError(503, "Stripe is temporarily unavailable.", type="api_error")
    given = request.header("Authorization") or ""
    key = given.removeprefix("Bearer ")
    if not given.startswith("Bearer ") or not key:
        raise StripeError(
            401,
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth.",
        )
    strange = standin.api_keys and key not in standin.api_keys
    if strange or not re.match(r"[sr]k_(live|test)_", key):
        raise StripeError(401, f"Invalid API Key provided: {_masked(key)}")
    if "" in standin.access.withdrawn:
        raise StripeError(401, f"Expired API Key provided: {_masked(key)}", code="api_key_expired")
    livemode = key[3:7] == "live"
    # API v2 names the account in another header: https://docs.stripe.com/context
    header = "Stripe-Context" if request.path.startswith("/v2/") else "Stripe-Account"
    account_id = request.header(header) or PLATFORM_ACCOUNT
    if not standin.has_access(account_id):
        raise StripeError(
            403,
            f"The provided key '{_masked(key)}' does not have access to account '{account_id}' (or "
            "that account does not exist). Application access may have been revoked.",
            code="account_invalid",
        )
    return standin.account(account_id, livemode=livemode)


def _masked(key: str) -> str:
    return f"{key[:8]}{'*' * 12}{key[-4:]}" if len(key) > 12 else "****"


@dataclass(frozen=True)
class _Attempt:
    """An authenticated call, its idempotency key, and what is to go wrong with it."""

    standin: StripeStandin
    account: StripeAccount
    request: ApiRequest
    request_id: str
    key: str | None
    fault: Fault | None

    @property
    def never_arrives(self) -> bool:
        """Whether the connection closes before the call is carried out."""
        return self.fault is not None and self.fault.drop and not self.fault.after_effect


def _answer(attempt: _Attempt) -> tuple[ApiAnswer, bool]:
    """The answer, and whether it was a saved one. Errors after the start are saved as well."""
    standin, request, key = attempt.standin, attempt.request, attempt.key
    if key is None or attempt.never_arrives:
        return _carried_out(attempt), False
    scope = f"{attempt.account.ledger.space}/{key}"
    print_ = hashlib.sha256(
        json.dumps([request.method, request.path, sorted(request.params)]).encode()
    ).hexdigest()
    with standin.lock:
        saved = standin.saved_answers.get(scope)
        if saved is not None and saved["at"] + IDEMPOTENCY_LIFETIME < time.time():
            saved = None
        if saved is not None:
            if saved["print"] != print_:
                raise StripeError(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters they "
                    f"were first used with. Try using a key other than '{key}' if you meant to "
                    "execute a different request.",
                    type="idempotency_error",
                )
            return ApiAnswer(saved["status"], saved["body"]), True
        with standin.store.transaction():
            answer = _carried_out(attempt)
            # What is refused before it is begun is not kept: it may be sent again.
            if answer.status not in (401, 403, 429):
                record = {
                    "print": print_,
                    "status": answer.status,
                    "body": answer.body,
                    "at": time.time(),
                }
                standin.saved_answers.save(scope, record)
    return answer, False


def _carried_out(attempt: _Attempt) -> ApiAnswer:
    fault, standin = attempt.fault, attempt.standin
    if fault is not None and not fault.after_effect and (fault.status is not None or fault.drop):
        return _faulty(fault)
    with standin.lock, standin.event_log.caused_by(attempt.request_id, attempt.key):
        try:
            answer = _json(200, route(standin, attempt.account, attempt.request))
        except StripeError as error:
            answer = _json(error.status, error.body())
    if fault is not None and fault.status is not None:
        return _faulty(fault)
    return answer


_FAULT_BODIES: dict[int, Object] = {
    401: {"type": "invalid_request_error", "message": "Invalid API Key provided: sk_****"},
    409: {
        "type": "invalid_request_error",
        "code": "lock_timeout",
        "message": "This object cannot be accessed right now because another API request or "
        "Stripe process is currently accessing it.",
    },
    429: {
        "type": "invalid_request_error",
        "code": "rate_limit",
        "message": "Request rate limit exceeded.",
    },
}


def _faulty(fault: Fault) -> ApiAnswer:
    status = fault.status or 500
    body = fault.body
    if body is None:
        error = _FAULT_BODIES.get(
            status, {"type": "api_error", "message": "Something went wrong on Stripe's end."}
        )
        body = {"error": error}
    text = body if isinstance(body, str) else json.dumps(body)
    return ApiAnswer(status, text, {k: str(v) for k, v in fault.headers.items()})


def _json(status: int, body: Any) -> ApiAnswer:
    return ApiAnswer(status, json.dumps(body, ensure_ascii=False))
