"""The public API under ``/v1``: one pure function from a request to an answer."""

from __future__ import annotations

import hashlib
import json
import re
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from standins.stripe.account import StripeAccount
from standins.stripe.errors import StripeError, invalid, missing
from standins.stripe.ledger import kind_of
from standins.stripe.shapes import Object, list_object, shape
from standins.stripe.standin import PLATFORM_ACCOUNT, Fault, RequestRecord, StripeStandin

IDEMPOTENCY_LIFETIME = 24 * 3600
MAX_EXPAND_DEPTH = 4


@dataclass(frozen=True)
class ApiRequest:
    """``params``: query and form fields together, as they came (``a[b]`` names, text values)."""

    method: str
    path: str
    params: list[tuple[str, str]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        lowered = name.lower()
        return next((v for k, v in self.headers.items() if k.lower() == lowered), None)


@dataclass(frozen=True)
class ApiAnswer:
    """``drop``: close the connection instead of answering. ``latency``: wait first (seconds)."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    latency: float = 0.0


@dataclass(frozen=True)
class Call:
    """One call on its way to a route."""

    standin: StripeStandin
    account: StripeAccount
    params: Object
    version: str
    arguments: tuple[str, ...]
    url: str


def nested(pairs: Iterable[tuple[str, str]]) -> Object:
    """Form fields as a tree: ``a[b]=1&c[0]=x&c[]=y`` gives ``{"a": {"b": "1"}, "c": [..]}``."""
    tree: Object = {}
    for name, value in pairs:
        keys = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        node: Any = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise invalid(f"Invalid parameter {name}.", param=name)
        last = keys[-1] if keys else name
        node[last or str(len(node))] = value
    result = _lists(tree)
    assert isinstance(result, dict)
    return result


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}


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
        attempt = _Attempt(account, request, request_id, key, fault)
        answer, replayed = _answer(attempt)
    except StripeError as error:
        answer = _json(error.status, error.body())
    if fault is not None:
        drop = fault.drop
        answer = ApiAnswer(answer.status, answer.body, answer.headers, drop, fault.latency)
    standin.log_request(
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
    if "" in standin.disconnected:
        raise StripeError(401, f"Expired API Key provided: {_masked(key)}", code="api_key_expired")
    livemode = key[3:7] == "live"
    account_id = request.header("Stripe-Account")
    if account_id is None:
        return standin.account(livemode=livemode)
    if not standin.knows_account(account_id) or account_id in standin.disconnected:
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

    account: StripeAccount
    request: ApiRequest
    request_id: str
    key: str | None
    fault: Fault | None

    @property
    def never_arrives(self) -> bool:
        return self.fault is not None and self.fault.drop and not self.fault.after_effect


def _answer(attempt: _Attempt) -> tuple[ApiAnswer, bool]:
    """The answer, and whether it was a saved one. Errors after the start are saved as well."""
    account, request, key = attempt.account, attempt.request, attempt.key
    standin = account.host
    if key is None or attempt.never_arrives:
        return _carried_out(attempt), False
    scope = f"{account.space}/{key}"
    print_ = hashlib.sha256(
        json.dumps([request.method, request.path, sorted(request.params)]).encode()
    ).hexdigest()
    with standin.lock:
        saved = standin.idempotency.get(scope)
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
        with standin.transaction():
            answer = _carried_out(attempt)
            # What is refused before it is begun is not kept: it may be sent again.
            if answer.status not in (401, 403, 429):
                record = {
                    "print": print_,
                    "status": answer.status,
                    "body": answer.body,
                    "at": time.time(),
                }
                standin.save_idempotency(scope, record)
    return answer, False


def _carried_out(attempt: _Attempt) -> ApiAnswer:
    fault, standin = attempt.fault, attempt.account.host
    if fault is not None and not fault.after_effect and (fault.status is not None or fault.drop):
        return _faulty(fault)
    with standin.lock:
        standin.request_context = {
            "id": attempt.request_id,
            "idempotency_key": attempt.key,
        }
        try:
            answer = _json(200, route(standin, attempt.account, attempt.request))
        except StripeError as error:
            answer = _json(error.status, error.body())
        finally:
            standin.request_context = None
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


# --- routes -------------------------------------------------------------------------------


def route(standin: StripeStandin, account: StripeAccount, request: ApiRequest) -> Any:
    """Find the route of a call and carry it out; what it returns is the body."""
    params = nested(request.params)
    expand = params.pop("expand", [])
    if not isinstance(expand, list):
        raise invalid("Invalid array", param="expand")
    version = request.header("Stripe-Version") or standin.api_version
    for method, pattern, run in _ROUTES:
        if method == request.method and (match := pattern.fullmatch(request.path)):
            arguments = tuple(urllib.parse.unquote(part) for part in match.groups())
            call = Call(standin, account, params, version, arguments, request.path)
            return expanded(account, run(call), expand, version)
    raise StripeError(
        404,
        f"Unrecognized request URL ({request.method}: {request.path}). If you are trying to list "
        "objects, remove the trailing slash. If you are trying to retrieve an object, make sure "
        "you passed a valid (non-empty) identifier in your code.",
    )


def expanded(account: StripeAccount, body: Any, expand: Iterable[str], version: str) -> Any:
    """Put objects in the place of their ids (``expand[]``), at most four levels deep."""
    for path in expand:
        parts = path.split(".")
        if len(parts) > MAX_EXPAND_DEPTH + (1 if parts[0] == "data" else 0):
            raise invalid(
                f"You cannot expand more than {MAX_EXPAND_DEPTH} levels of a property.",
                param="expand",
            )
        _expand(account, body, parts, version, path)
    return body


def _expand(account: StripeAccount, node: Any, parts: list[str], version: str, path: str) -> None:
    if isinstance(node, list):
        for item in node:
            _expand(account, item, parts, version, path)
        return
    if not isinstance(node, dict) or not parts:
        return
    name, rest = parts[0], parts[1:]
    if name not in node and (found := included(account, node, name, version)) is not None:
        node[name] = found
    if name not in node:
        raise invalid(f"This property cannot be expanded ({path}).", param="expand")
    value = node[name]
    if isinstance(value, str):
        target = account.find(value)
        if target is None:
            raise invalid(f"This property cannot be expanded ({path}).", param="expand")
        node[name] = shown(target, version)
    elif isinstance(value, list):
        node[name] = [
            shown(found, version)
            if isinstance(item, str) and (found := account.find(item)) is not None
            else item
            for item in value
        ]
    _expand(account, node[name], rest, version, path)


def included(account: StripeAccount, node: Object, name: str, version: str) -> Object | None:
    """Lists that an object holds only when they are asked for."""
    kind, id_ = node.get("object"), node.get("id")
    if kind == "checkout.session" and name == "line_items":
        lines = account.get("checkout.session", str(id_))["_lines"]
        return list_object(shape(lines, version), f"/v1/checkout/sessions/{id_}/line_items")
    field_of = {
        ("charge", "refunds"): ("refund", "charge", f"/v1/charges/{id_}/refunds"),
        ("invoice", "payments"): ("invoice_payment", "invoice", "/v1/invoice_payments"),
        ("customer", "subscriptions"): (
            "subscription",
            "customer",
            f"/v1/customers/{id_}/subscriptions",
        ),
        ("customer", "sources"): ("card", "customer", f"/v1/customers/{id_}/sources"),
    }.get((str(kind), name))
    if field_of is None:
        return None
    wanted, key, url = field_of
    found = [o for o in _newest_first(account.all(wanted)) if o[key] == id_ and _exists(o)]
    if wanted == "subscription":
        found = [o for o in found if o["status"] != "canceled"]
    return list_object([shown(item, version) for item in found[:10]], url, has_more=len(found) > 10)


def shown(target: Object, version: str) -> Object:
    """An object as the API answers it; a deleted one as its stub."""
    if target.get("_deleted"):
        return {"id": target["id"], "object": target["object"], "deleted": True}
    rendered: Object = shape(target, version)
    return rendered


def _exists(target: Mapping[str, Any]) -> bool:
    return not target.get("_deleted")


def _newest_first(found: Iterable[Object]) -> list[Object]:
    return sorted(found, key=lambda o: (o.get("created", 0), o["_seq"]), reverse=True)


def retrieve(kind: str) -> Callable[[Call], Object]:
    def run(call: Call) -> Object:
        _only(call.params, ())
        return shown(call.account.get(kind, call.arguments[0]), call.version)

    return run


_PAGING = ("limit", "starting_after", "ending_before")


def _only(params: Mapping[str, Any], allowed: Iterable[str]) -> None:
    for name in params:
        if name not in allowed:
            raise invalid(
                f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )


def page(call: Call, found: list[Object], render: Callable[[Object], Object]) -> Object:
    """One page of a list whose newest object comes first."""
    limit = _integer(call.params.get("limit", "10"), "limit")
    if not 1 <= limit <= 100:
        raise invalid(
            "This value must be greater than or equal to 1."
            if limit < 1
            else "This value must be less than or equal to 100.",
            code="parameter_invalid_integer",
            param="limit",
        )
    ids = [item["id"] for item in found]
    after, upto = call.params.get("starting_after"), call.params.get("ending_before")
    if after is not None:
        found = found[_position(ids, after, "starting_after") + 1 :]
        has_more = len(found) > limit
        found = found[:limit]
    elif upto is not None:
        found = found[: _position(ids, upto, "ending_before")]
        has_more = len(found) > limit
        found = found[-limit:]
    else:
        has_more = len(found) > limit
        found = found[:limit]
    return list_object([render(item) for item in found], call.url, has_more=has_more)


def _position(ids: list[str], id_: str, param: str) -> int:
    if id_ not in ids:
        raise missing(kind_of(id_) or "object", id_, param=param, status=400)
    return ids.index(id_)


def _integer(value: Any, param: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise invalid(
            f"Invalid integer: {value}", code="parameter_invalid_integer", param=param
        ) from None


def _flag(value: Any, param: str) -> bool:
    if value in ("true", "1"):
        return True
    if value in ("false", "0"):
        return False
    raise invalid(f"Invalid boolean: {value}", param=param)


_RANGES: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}


def _in_range(value: int | None, wanted: Any, param: str) -> bool:
    if value is None:
        return False
    if not isinstance(wanted, dict):
        return value == _integer(wanted, param)
    _only(wanted, _RANGES)
    return all(_RANGES[k](value, _integer(v, f"{param}[{k}]")) for k, v in wanted.items())


def _matches(item: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        if name in ("created", "current_period_end", "current_period_start"):
            if not _in_range(item.get(name), value, name):
                return False
        elif isinstance(value, dict):
            if not _matches(item.get(name) or {}, value):
                return False
        elif isinstance(value, list):
            if item.get(name) not in value:
                return False
        else:
            own = item.get(name)
            own = str(own).lower() if isinstance(own, bool) else own
            if own != value:
                return False
    return True


def listing(
    kind: str,
    *filters: str,
    parent: tuple[str, str] | None = None,
    choose: Callable[[Call, Object], bool] | None = None,
) -> Callable[[Call], Object]:
    """A list route. ``parent``: kind and field of the object whose list it is (in the path).

    ``choose``: takes filters that are not plain comparisons out of the parameters.
    """

    def run(call: Call) -> Object:
        _only(call.params, (*_PAGING, *filters))
        found = [item for item in call.account.all(kind) if _exists(item)]
        if parent is not None:
            owner = call.account.get(parent[0], call.arguments[0])
            found = [item for item in found if item[parent[1]] == owner["id"]]
        wanted = {k: v for k, v in call.params.items() if k not in _PAGING}
        if choose is not None:
            found = [item for item in found if choose(call, item)]
            wanted = {k: v for k, v in wanted.items() if k not in _CHOSEN}
        found = _newest_first(item for item in found if _matches(item, wanted))
        return page(call, found, lambda item: shown(item, call.version))

    return run


_CHOSEN = ("status", "price", "subscription", "ids", "product", "customer_details")


def _choose_subscription(call: Call, item: Object) -> bool:
    """Without a status, cancelled subscriptions are left out (Stripe's own default)."""
    status = call.params.get("status")
    if status is None and item["status"] == "canceled":
        return False
    if status == "ended" and item["status"] not in ("canceled", "incomplete_expired"):
        return False
    if status not in (None, "all", "ended") and item["status"] != status:
        return False
    price = call.params.get("price")
    return price is None or any(i["price"]["id"] == price for i in item["items"]["data"])


def _choose_invoice(call: Call, item: Object) -> bool:
    details = (item["parent"] or {}).get("subscription_details") or {}
    wanted = call.params.get("subscription")
    status = call.params.get("status")
    return wanted in (None, details.get("subscription")) and status in (None, item["status"])


def _choose_session(call: Call, item: Object) -> bool:
    email = (call.params.get("customer_details") or {}).get("email")
    wanted, status = call.params.get("subscription"), call.params.get("status")
    return (
        email in (None, item["customer_details"]["email"])
        and wanted in (None, item["subscription"])
        and status in (None, item["status"])
    )


def _choose_product(call: Call, item: Object) -> bool:
    ids = call.params.get("ids")
    return ids is None or item["id"] in ids


def _choose_price(call: Call, item: Object) -> bool:
    return call.params.get("product") in (None, item["product"])


def _choose_invoice_payment(call: Call, item: Object) -> bool:
    return call.params.get("status") in (None, item["status"])


def _session_lines(call: Call) -> Object:
    _only(call.params, _PAGING)
    session = call.account.get("checkout.session", call.arguments[0])
    return page(call, list(session["_lines"]), lambda line: shape(line, call.version))


def _invoice_lines(call: Call) -> Object:
    _only(call.params, _PAGING)
    invoice = call.account.get("invoice", call.arguments[0])
    return page(call, list(invoice["lines"]["data"]), lambda line: shape(line, call.version))


def _cancel_subscription(call: Call) -> Object:
    _only(call.params, ("invoice_now", "prorate", "cancellation_details"))
    for name in ("invoice_now", "prorate"):
        if name in call.params:
            _flag(call.params[name], name)
    cancelled = call.account.cancel_subscription(
        call.arguments[0], cancellation_details=_hash(call.params, "cancellation_details")
    )
    return shown(cancelled, call.version)


def _hash(params: Mapping[str, Any], name: str) -> Object:
    value = params.get(name) or {}
    if not isinstance(value, dict):
        raise invalid("Invalid hash", param=name)
    return value


def _update_subscription(call: Call) -> Object:
    params = call.params
    _only(
        params,
        (
            "cancel_at",
            "cancel_at_period_end",
            "cancellation_details",
            "default_payment_method",
            "description",
            "metadata",
            "pause_collection",
            "proration_behavior",
        ),
    )
    changes: Object = {}
    if "cancel_at_period_end" in params:
        changes["cancel_at_period_end"] = _flag(
            params["cancel_at_period_end"], "cancel_at_period_end"
        )
    if "cancel_at" in params:
        given = params["cancel_at"]
        changes["cancel_at"] = _integer(given, "cancel_at") if given else None
    for name in ("metadata", "cancellation_details"):
        if name in params:
            changes[name] = _hash(params, name)
    for name in ("default_payment_method", "description"):
        if name in params:
            changes[name] = params[name] or None
    if "pause_collection" in params:
        pause = _hash(params, "pause_collection")
        changes["pause_collection"] = (
            {
                "behavior": pause.get("behavior"),
                "resumes_at": _integer(pause["resumes_at"], "pause_collection[resumes_at]")
                if pause.get("resumes_at")
                else None,
            }
            if pause
            else None
        )
    return shown(call.account.update_subscription(call.arguments[0], changes), call.version)


def _release_schedule(call: Call) -> Object:
    _only(call.params, ("preserve_cancel_date",))
    preserve = _flag(call.params.get("preserve_cancel_date", "false"), "preserve_cancel_date")
    released = call.account.release_schedule(call.arguments[0], preserve_cancel_date=preserve)
    return shown(released, call.version)


def _cancel_intent(call: Call) -> Object:
    _only(call.params, ("cancellation_reason",))
    cancelled = call.account.cancel_intent(
        call.arguments[0], reason=call.params.get("cancellation_reason")
    )
    return shown(cancelled, call.version)


def _expire_session(call: Call) -> Object:
    return shown(call.account.expire_session(call.arguments[0]), call.version)


def _refuse_refund(_call: Call) -> Object:
    """This product never refunds: the attempt is in the request log, and nothing happens."""
    raise StripeError(
        403,
        "The provided key does not have the required permissions for this endpoint. Having the "
        "'rak_charge_write' permission would allow this request to continue.",
        code="permission_denied",
    )


def _events(call: Call) -> Object:
    _only(call.params, (*_PAGING, "type", "types", "created", "delivery_success"))
    params, deliveries = call.params, call.standin.deliveries
    found = call.standin.stored_events(call.account)
    if "type" in params:
        pattern = re.compile(re.escape(params["type"]).replace(r"\*", ".*"))
        found = [event for event in found if pattern.fullmatch(event["type"])]
    if "types" in params:
        found = [event for event in found if event["type"] in params["types"]]
    if "created" in params:
        found = [e for e in found if _in_range(e["created"], params["created"], "created")]
    if "delivery_success" in params:
        wanted = _flag(params["delivery_success"], "delivery_success")
        found = [event for event in found if deliveries.delivered(event["id"]) == wanted]
    found.sort(key=lambda event: (event["created"], event["seq"]), reverse=True)
    return page(call, found, call.standin.render)


def _event(call: Call) -> Object:
    for event in call.standin.stored_events(call.account):
        if event["id"] == call.arguments[0]:
            return call.standin.render(event)
    raise missing("event", call.arguments[0])


def _webhook_endpoints(call: Call) -> Object:
    _only(call.params, _PAGING)
    found: list[Object] = [
        {
            "id": endpoint.id,
            "object": "webhook_endpoint",
            "api_version": endpoint.api_version,
            "application": None,
            "created": 1_700_000_000,
            "description": None,
            "enabled_events": list(endpoint.enabled_events),
            "livemode": call.account.livemode,
            "metadata": {},
            "status": "enabled",
            "url": endpoint.url,
        }
        for endpoint in call.standin.deliveries.endpoints.values()
        if endpoint.livemode in (None, call.account.livemode)
    ]
    return page(call, found, dict)


def _account(call: Call) -> Object:
    id_ = call.arguments[0] if call.arguments else call.account.account_id or PLATFORM_ACCOUNT
    if not call.standin.knows_account(id_) or id_ in call.standin.disconnected:
        raise StripeError(
            403,
            f"The provided key does not have access to account '{id_}' (or that account does not "
            "exist). Application access may have been revoked.",
            code="account_invalid",
        )
    return {
        "id": id_,
        "object": "account",
        "business_profile": {"name": "Store", "url": "https://example.com"},
        "business_type": "individual",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "created": 1_700_000_000,
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": True,
        "settings": {"dashboard": {"display_name": "Store", "timezone": "Etc/UTC"}},
        "type": "standard",
    }


_WHEN = "created"

_ROUTES: list[tuple[str, re.Pattern[str], Callable[[Call], Object]]] = [
    (method, re.compile(path.replace("{id}", "([^/]+)")), run)
    for method, path, run in [
        ("GET", "/v1/account", _account),
        ("GET", "/v1/accounts/{id}", _account),
        (
            "GET",
            "/v1/balance_transactions",
            listing("balance_transaction", "source", "type", "currency", _WHEN),
        ),
        ("GET", "/v1/balance_transactions/{id}", retrieve("balance_transaction")),
        ("GET", "/v1/charges", listing("charge", "customer", "payment_intent", _WHEN)),
        ("GET", "/v1/charges/{id}", retrieve("charge")),
        (
            "GET",
            "/v1/checkout/sessions",
            listing(
                "checkout.session",
                "customer",
                "customer_details",
                "payment_intent",
                "status",
                "subscription",
                _WHEN,
                choose=_choose_session,
            ),
        ),
        ("GET", "/v1/checkout/sessions/{id}", retrieve("checkout.session")),
        ("GET", "/v1/checkout/sessions/{id}/line_items", _session_lines),
        ("POST", "/v1/checkout/sessions/{id}/expire", _expire_session),
        ("GET", "/v1/credit_notes", listing("credit_note", "customer", "invoice", _WHEN)),
        ("GET", "/v1/credit_notes/{id}", retrieve("credit_note")),
        ("GET", "/v1/customers", listing("customer", "email", _WHEN)),
        ("GET", "/v1/customers/{id}", retrieve("customer")),
        (
            "GET",
            "/v1/customers/{id}/balance_transactions",
            listing(
                "customer_balance_transaction",
                "invoice",
                _WHEN,
                parent=("customer", "customer"),
            ),
        ),
        (
            "GET",
            "/v1/customers/{id}/payment_methods",
            listing("payment_method", "type", parent=("customer", "customer")),
        ),
        (
            "GET",
            "/v1/customers/{id}/sources",
            listing("card", "object", parent=("customer", "customer")),
        ),
        ("GET", "/v1/disputes", listing("dispute", "charge", "payment_intent", _WHEN)),
        ("GET", "/v1/disputes/{id}", retrieve("dispute")),
        ("GET", "/v1/events", _events),
        ("GET", "/v1/events/{id}", _event),
        (
            "GET",
            "/v1/invoice_payments",
            listing(
                "invoice_payment",
                "invoice",
                "payment",
                "status",
                _WHEN,
                choose=_choose_invoice_payment,
            ),
        ),
        ("GET", "/v1/invoice_payments/{id}", retrieve("invoice_payment")),
        (
            "GET",
            "/v1/invoices",
            listing(
                "invoice",
                "collection_method",
                "customer",
                "status",
                "subscription",
                _WHEN,
                choose=_choose_invoice,
            ),
        ),
        ("GET", "/v1/invoices/{id}", retrieve("invoice")),
        ("GET", "/v1/invoices/{id}/lines", _invoice_lines),
        ("GET", "/v1/payment_intents", listing("payment_intent", "customer", _WHEN)),
        ("GET", "/v1/payment_intents/{id}", retrieve("payment_intent")),
        ("POST", "/v1/payment_intents/{id}/cancel", _cancel_intent),
        ("GET", "/v1/payment_methods", listing("payment_method", "customer", "type")),
        ("GET", "/v1/payment_methods/{id}", retrieve("payment_method")),
        (
            "GET",
            "/v1/prices",
            listing("price", "active", "currency", "product", "type", _WHEN, choose=_choose_price),
        ),
        ("GET", "/v1/prices/{id}", retrieve("price")),
        (
            "GET",
            "/v1/products",
            listing("product", "active", "ids", _WHEN, choose=_choose_product),
        ),
        ("GET", "/v1/products/{id}", retrieve("product")),
        ("GET", "/v1/refunds", listing("refund", "charge", "payment_intent", _WHEN)),
        ("GET", "/v1/refunds/{id}", retrieve("refund")),
        ("POST", "/v1/refunds", _refuse_refund),
        ("POST", "/v1/charges/{id}/refund", _refuse_refund),
        ("POST", "/v1/charges/{id}/refunds", _refuse_refund),
        (
            "GET",
            "/v1/subscription_schedules",
            listing("subscription_schedule", "customer", _WHEN),
        ),
        ("GET", "/v1/subscription_schedules/{id}", retrieve("subscription_schedule")),
        ("POST", "/v1/subscription_schedules/{id}/release", _release_schedule),
        (
            "GET",
            "/v1/subscriptions",
            listing(
                "subscription",
                "collection_method",
                "customer",
                "price",
                "status",
                _WHEN,
                choose=_choose_subscription,
            ),
        ),
        ("GET", "/v1/subscriptions/{id}", retrieve("subscription")),
        ("POST", "/v1/subscriptions/{id}", _update_subscription),
        ("DELETE", "/v1/subscriptions/{id}", _cancel_subscription),
        ("GET", "/v1/webhook_endpoints", _webhook_endpoints),
    ]
]
