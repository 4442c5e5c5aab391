"""The routes of the public API."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

from standins.stripe import connected_accounts
from standins.stripe.account import StripeAccount
from standins.stripe.calls import ApiRequest, Call, Route
from standins.stripe.connected_accounts import PLATFORM_ACCOUNT
from standins.stripe.errors import StripeError, invalid, missing, unrecognized
from standins.stripe.expansion import expanded, shown
from standins.stripe.invoices import subscription_of
from standins.stripe.listing import PAGING, listing, page
from standins.stripe.params import flag, hash_of, in_range, integer, nested, only
from standins.stripe.search import searching
from standins.stripe.shapes import Object, shape
from standins.stripe.standin import StripeStandin

MOST_TYPES = 20
"""How many types of events a list may be narrowed to."""


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
            return expanded(account.ledger, run(call), expand, version)
    raise unrecognized(request.method, request.path)


def _retrieve(kind: str) -> Route:
    """The route that answers one object of a kind."""

    def run(call: Call) -> Object:
        only(call.params, ())
        return shown(call.account.get(kind, call.arguments[0]), call.version)

    return run


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
    wanted, status = call.params.get("subscription"), call.params.get("status")
    return wanted in (None, subscription_of(item)) and status in (None, item["status"])


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
    only(call.params, PAGING)
    session = call.account.get("checkout.session", call.arguments[0])
    return page(call, list(session["_lines"]), lambda line: shape(line, call.version))


def _invoice_lines(call: Call) -> Object:
    only(call.params, PAGING)
    invoice = call.account.get("invoice", call.arguments[0])
    return page(call, list(invoice["lines"]["data"]), lambda line: shape(line, call.version))


def _subscription_items(call: Call) -> Object:
    only(call.params, (*PAGING, "subscription"))
    if "subscription" not in call.params:
        raise invalid("Missing required param: subscription.", param="subscription")
    subscription = call.account.get("subscription", call.params["subscription"])
    items = list(subscription["items"]["data"])
    return page(call, items, lambda item: shape(item, call.version))


def _cancel_subscription(call: Call) -> Object:
    only(call.params, ("invoice_now", "prorate", "cancellation_details"))
    for name in ("invoice_now", "prorate"):
        if name in call.params:
            flag(call.params[name], name)
    cancelled = call.account.cancel_subscription(
        call.arguments[0], cancellation_details=hash_of(call.params, "cancellation_details")
    )
    return shown(cancelled, call.version)


def _update_subscription(call: Call) -> Object:
    params = call.params
    only(
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
        changes["cancel_at_period_end"] = flag(
            params["cancel_at_period_end"], "cancel_at_period_end"
        )
    if "cancel_at" in params:
        given = params["cancel_at"]
        changes["cancel_at"] = integer(given, "cancel_at") if given else None
    for name in ("metadata", "cancellation_details"):
        if name in params:
            changes[name] = hash_of(params, name)
    for name in ("default_payment_method", "description"):
        if name in params:
            changes[name] = params[name] or None
    if "pause_collection" in params:
        pause = hash_of(params, "pause_collection")
        changes["pause_collection"] = (
            {
                "behavior": pause.get("behavior"),
                "resumes_at": integer(pause["resumes_at"], "pause_collection[resumes_at]")
                if pause.get("resumes_at")
                else None,
            }
            if pause
            else None
        )
    return shown(call.account.update_subscription(call.arguments[0], changes), call.version)


def _release_schedule(call: Call) -> Object:
    only(call.params, ("preserve_cancel_date",))
    preserve = flag(call.params.get("preserve_cancel_date", "false"), "preserve_cancel_date")
    released = call.account.release_schedule(call.arguments[0], preserve_cancel_date=preserve)
    return shown(released, call.version)


def _cancel_intent(call: Call) -> Object:
    only(call.params, ("cancellation_reason",))
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
    only(call.params, (*PAGING, "type", "types", "created", "delivery_success"))
    params, event_log = call.params, call.standin.event_log
    _check_types(params)
    found = event_log.kept(call.account.ledger.space)
    if "type" in params:
        pattern = re.compile(re.escape(params["type"]).replace(r"\*", ".*"))
        found = [event for event in found if pattern.fullmatch(event["type"])]
    if "types" in params:
        found = [event for event in found if event["type"] in params["types"]]
    if "created" in params:
        found = [e for e in found if in_range(e["created"], params["created"], "created")]
    if "delivery_success" in params:
        wanted = flag(params["delivery_success"], "delivery_success")
        found = [event for event in found if event_log.delivered(event["id"]) == wanted]
    found.sort(key=lambda event: (event["created"], event["seq"]), reverse=True)
    return page(call, found, event_log.render)


def _check_types(params: Object) -> None:
    """Refuse what Stripe refuses of the types that events are listed by."""
    types = params.get("types", [])
    if not isinstance(types, list):
        raise invalid("Invalid array", param="types")
    if len(types) > MOST_TYPES:
        raise invalid(f"You may pass up to {MOST_TYPES} event types.", param="types")
    if types and "type" in params:
        raise invalid("You may pass either `type` or `types`, but not both.", param="type")


def _event(call: Call) -> Object:
    event_log = call.standin.event_log
    for event in event_log.kept(call.account.ledger.space):
        if event["id"] == call.arguments[0]:
            return event_log.render(event)
    raise missing("event", call.arguments[0])


def _thin_event(call: Call) -> Object:
    only(call.params, ())
    event = call.standin.event_log.find_thin(call.arguments[0], call.account.ledger.space)
    if event is None:
        raise missing("v2.core.event", call.arguments[0])
    return event


def _webhook_endpoints(call: Call) -> Object:
    only(call.params, PAGING)
    livemode = call.account.livemode
    found = [
        endpoint.shown(livemode=livemode)
        for endpoint in call.standin.deliveries.endpoints.values()
        if endpoint.livemode in (None, livemode) and endpoint.payload == "snapshot"
    ]
    return page(call, found, dict)


def _event_destinations(call: Call) -> Object:
    """API v2 has pages of its own kind; here everything is on the first one."""
    only(call.params, ("include", "limit"))
    include = call.params.get("include", [])
    with_url = "webhook_endpoint.url" in (include if isinstance(include, list) else [include])
    livemode = call.account.livemode
    # What is sent thin events is known to API v2 only.
    thin = [
        endpoint.as_destination()
        for endpoint in call.standin.deliveries.endpoints.values()
        if endpoint.payload == "thin"
    ]
    found = [
        destination.shown(livemode=livemode, with_url=with_url)
        for destination in [*call.standin.event_destinations.values(), *thin]
        if destination.livemode in (None, livemode)
    ]
    return {"data": found, "next_page_url": None, "previous_page_url": None}


def _account(call: Call) -> Object:
    id_ = call.arguments[0] if call.arguments else call.account.account_id or PLATFORM_ACCOUNT
    if not call.standin.has_access(id_):
        raise StripeError(
            403,
            f"The provided key does not have access to account '{id_}' (or that account does not "
            "exist). Application access may have been revoked.",
            code="account_invalid",
        )
    return connected_accounts.shown(id_)


_WHEN = "created"

_ROUTES: list[tuple[str, re.Pattern[str], Route]] = [
    (method, re.compile(path.replace("{id}", "([^/]+)")), run)
    for method, path, run in [
        ("GET", "/v1/account", _account),
        ("GET", "/v1/accounts/{id}", _account),
        (
            "GET",
            "/v1/balance_transactions",
            listing("balance_transaction", "source", "type", "currency", _WHEN),
        ),
        ("GET", "/v1/balance_transactions/{id}", _retrieve("balance_transaction")),
        ("GET", "/v1/charges", listing("charge", "customer", "payment_intent", _WHEN)),
        ("GET", "/v1/charges/{id}", _retrieve("charge")),
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
        ("GET", "/v1/checkout/sessions/{id}", _retrieve("checkout.session")),
        ("GET", "/v1/checkout/sessions/{id}/line_items", _session_lines),
        ("POST", "/v1/checkout/sessions/{id}/expire", _expire_session),
        ("GET", "/v1/credit_notes", listing("credit_note", "customer", "invoice", _WHEN)),
        ("GET", "/v1/credit_notes/{id}", _retrieve("credit_note")),
        ("GET", "/v1/customers", listing("customer", "email", _WHEN)),
        ("GET", "/v1/customers/{id}", _retrieve("customer")),
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
        ("GET", "/v1/disputes/{id}", _retrieve("dispute")),
        ("GET", "/v1/events", _events),
        ("GET", "/v1/events/{id}", _event),
        ("GET", "/v2/core/events/{id}", _thin_event),
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
        ("GET", "/v1/invoice_payments/{id}", _retrieve("invoice_payment")),
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
        ("GET", "/v1/invoices/{id}", _retrieve("invoice")),
        ("GET", "/v1/invoices/{id}/lines", _invoice_lines),
        ("GET", "/v1/payment_intents", listing("payment_intent", "customer", _WHEN)),
        ("GET", "/v1/payment_intents/search", searching("payment_intent")),
        ("GET", "/v1/payment_intents/{id}", _retrieve("payment_intent")),
        ("POST", "/v1/payment_intents/{id}/cancel", _cancel_intent),
        ("GET", "/v1/payment_methods", listing("payment_method", "customer", "type")),
        ("GET", "/v1/payment_methods/{id}", _retrieve("payment_method")),
        (
            "GET",
            "/v1/prices",
            listing("price", "active", "currency", "product", "type", _WHEN, choose=_choose_price),
        ),
        ("GET", "/v1/prices/{id}", _retrieve("price")),
        (
            "GET",
            "/v1/products",
            listing("product", "active", "ids", _WHEN, choose=_choose_product),
        ),
        ("GET", "/v1/products/{id}", _retrieve("product")),
        ("GET", "/v1/refunds", listing("refund", "charge", "payment_intent", _WHEN)),
        ("GET", "/v1/refunds/{id}", _retrieve("refund")),
        ("POST", "/v1/refunds", _refuse_refund),
        ("POST", "/v1/charges/{id}/refund", _refuse_refund),
        ("POST", "/v1/charges/{id}/refunds", _refuse_refund),
        (
            "GET",
            "/v1/subscription_schedules",
            listing("subscription_schedule", "customer", _WHEN),
        ),
        ("GET", "/v1/subscription_schedules/{id}", _retrieve("subscription_schedule")),
        ("POST", "/v1/subscription_schedules/{id}/release", _release_schedule),
        ("GET", "/v1/subscription_items", _subscription_items),
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
        ("GET", "/v1/subscriptions/search", searching("subscription")),
        ("GET", "/v1/subscriptions/{id}", _retrieve("subscription")),
        ("POST", "/v1/subscriptions/{id}", _update_subscription),
        ("DELETE", "/v1/subscriptions/{id}", _cancel_subscription),
        ("GET", "/v1/webhook_endpoints", _webhook_endpoints),
        ("GET", "/v2/core/event_destinations", _event_destinations),
    ]
]
