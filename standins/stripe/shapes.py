"""How objects and events look in an API version. Pure functions on plain dictionaries.

Objects are kept in the newest shape with ids instead of nested objects. Keys that start with an
underscore are the stand-in's own notes and never leave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

NEWEST = "2026-10-28.endive"
OLDEST = "2020-08-27"

_BASIL = "2025-03-31"  # period moved to the items, charge and invoice were untied
_LATEST_CHARGE = "2022-11-15"  # lists of charges and refunds left their parents

HELD = 10
"""How many entries of a list an object holds itself."""

_LISTS = {"subscription": "items", "invoice": "lines"}
"""The list that an object of a kind holds the first entries of."""


def clone(value: Any) -> Any:
    """A deep copy of JSON data (much quicker than ``copy.deepcopy``)."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def list_object(data: list[Any], url: str, *, has_more: bool = False) -> Object:
    """One page of a list, as Stripe answers it."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def shape(value: Any, version: str = NEWEST) -> Any:
    """A copy of an object (or of anything holding objects) as this API version shows it."""
    if isinstance(value, list):
        return [shape(item, version) for item in value]
    if not isinstance(value, dict):
        return value
    shown = {key: shape(item, version) for key, item in value.items() if not key.startswith("_")}
    if held := _LISTS.get(str(value.get("object"))):
        _cut(shown.get(held))
    if version[:10] < _BASIL and (age := _OLD_SHAPES.get(str(value.get("object")))):
        age(shown, value, version)
    return shown


def _cut(held: Any) -> None:
    """An object holds the first entries of a list only; all of them have a route of their own."""
    if held and len(held["data"]) > HELD:
        held |= {"data": held["data"][:HELD], "has_more": True}


def _old_subscription(shown: Object, value: Mapping[str, Any], _version: str) -> None:
    items = value["items"]["data"]
    shown["current_period_start"] = max(item["current_period_start"] for item in items)
    shown["current_period_end"] = min(item["current_period_end"] for item in items)
    for key in ("billing_mode", "discounts"):
        shown.pop(key, None)
    shown["discount"] = None
    single = items[0] if len(items) == 1 else None
    shown["plan"] = plan_of(single["price"]) if single else None
    shown["quantity"] = single["quantity"] if single else None


def _old_subscription_item(shown: Object, value: Mapping[str, Any], _version: str) -> None:
    shown.pop("current_period_start")
    shown.pop("current_period_end")
    shown["plan"] = plan_of(value["price"])


def _old_charge(shown: Object, value: Mapping[str, Any], version: str) -> None:
    shown["invoice"] = value.get("_invoice")
    if value.get("_released"):
        shown |= {"refunded": True, "amount_refunded": value["amount"]}
    if version[:10] < _LATEST_CHARGE:
        url = f"/v1/charges/{value['id']}/refunds"
        shown["refunds"] = list_object(shape(value.get("_refunds", []), version), url)
        shown["refunds"]["total_count"] = len(shown["refunds"]["data"])


def _old_payment_intent(shown: Object, value: Mapping[str, Any], version: str) -> None:
    shown.pop("payment_details", None)
    shown["invoice"] = value.get("_invoice")
    if shown["cancellation_reason"] == "expired":
        shown["cancellation_reason"] = "automatic"
    if version[:10] < _LATEST_CHARGE:
        shown.pop("latest_charge", None)
        charges = shape(value.get("_charges", []), version)
        shown["charges"] = list_object(charges, f"/v1/charges?payment_intent={value['id']}")


def _old_invoice(shown: Object, value: Mapping[str, Any], _version: str) -> None:
    details = (value.get("parent") or {}).get("subscription_details") or {}
    shown.pop("parent", None)
    shown.pop("payments", None)
    shown["subscription"] = details.get("subscription")
    shown["subscription_details"] = {"metadata": details.get("metadata")}
    shown["charge"] = value.get("_charge")
    shown["payment_intent"] = value.get("_payment_intent")
    shown["paid"] = value["status"] == "paid"


def _old_line_item(shown: Object, value: Mapping[str, Any], _version: str) -> None:
    parent = shown.pop("parent", None) or {}
    shown.pop("pricing", None)
    details = parent.get("subscription_item_details") or {}
    shown["type"] = "subscription" if details else "invoiceitem"
    shown["subscription"] = details.get("subscription")
    shown["subscription_item"] = details.get("subscription_item")
    shown["price"] = shape(value.get("_price"))
    shown["plan"] = plan_of(value["_price"]) if value.get("_price") else None


def _old_credit_note(shown: Object, _value: Mapping[str, Any], _version: str) -> None:
    refunds = shown.pop("refunds", [])
    shown["refund"] = refunds[0]["refund"] if refunds else None
    shown.pop("post_payment_amount", None)
    shown.pop("pre_payment_amount", None)


_OLD_SHAPES = {
    "subscription": _old_subscription,
    "subscription_item": _old_subscription_item,
    "charge": _old_charge,
    "payment_intent": _old_payment_intent,
    "invoice": _old_invoice,
    "line_item": _old_line_item,
    "credit_note": _old_credit_note,
}


def plan_of(price: Mapping[str, Any]) -> Object:
    """The legacy plan that mirrors a recurring price under the same id."""
    recurring = price.get("recurring") or {}
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring.get("interval"),
        "interval_count": recurring.get("interval_count"),
        "livemode": price["livemode"],
        "metadata": {},
        "nickname": None,
        "product": price["product"],
        "usage_type": "licensed",
    }


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """``previous_attributes``: what ``old`` held wherever it differs from ``new``.

    Hashes are compared key by key, lists are given whole, a key that is new was ``null`` before.
    """
    changed: Object = {}
    for key in {**new, **old}:
        if key.startswith("_"):
            continue
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            changed[key] = difference(before, after)
        else:
            changed[key] = clone(before)
    return changed


def before(new: Mapping[str, Any], previous: Mapping[str, Any]) -> Object:
    """The object as it was: the inverse of :func:`difference`."""
    old = dict(clone(new))
    for key, value in previous.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            old[key] = before(old[key], value)
        else:
            old[key] = clone(value)
    return old


def render_event(event: Mapping[str, Any], version: str) -> Object:
    """An event as it is delivered or listed in this API version."""
    data: Object = {"object": shape(event["object"], version)}
    previous = event.get("previous")
    if previous is not None:
        kind = event["object"].get("object")
        if kind == "subscription" or (version[:10] < _BASIL and kind in _OLD_SHAPES):
            old = shape(before(event["object"], previous), version)
            data["previous_attributes"] = difference(old, data["object"])
        else:
            data["previous_attributes"] = shape(previous, version)
    rendered: Object = {
        "id": event["id"],
        "object": "event",
        "api_version": version,
        "created": event["created"],
        "data": data,
        "livemode": event["livemode"],
        "pending_webhooks": event.get("pending_webhooks", 0),
        "request": event["request"],
        "type": event["type"],
    }
    if event.get("account"):
        rendered["account"] = event["account"]
    return rendered
