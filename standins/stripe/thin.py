"""Thin events: the same changes, told by a reference to their object.

https://docs.stripe.com/events/how-events-work.md, https://docs.stripe.com/api/v2/core/events/object
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

# Where the API has what has a path of its own.
_PATHS = {
    "charge": "charges",
    "checkout.session": "checkout/sessions",
    "credit_note": "credit_notes",
    "customer": "customers",
    "dispute": "disputes",
    "invoice": "invoices",
    "invoice_payment": "invoice_payments",
    "payment_intent": "payment_intents",
    "payment_method": "payment_methods",
    "price": "prices",
    "product": "products",
    "refund": "refunds",
    "subscription": "subscriptions",
    "subscription_schedule": "subscription_schedules",
}
# There are no thin events of legacy cards and bank accounts.
_WITHOUT = "customer.source."


def exists(type_: str) -> bool:
    """Whether an event of this type has a thin one."""
    return not type_.startswith(_WITHOUT)


def thin_id(event_id: str) -> str:
    """The id of the thin event of a snapshot event."""
    return f"evt_thin_{event_id.removeprefix('evt_')}"


def snapshot_id(thin_event_id: str) -> str:
    """The id of the snapshot event of a thin event."""
    return f"evt_{thin_event_id.removeprefix('evt_thin_')}"


def notification(event: Mapping[str, Any]) -> Object:
    """What is delivered of a stored event."""
    about = event["object"]
    kind = about.get("object", "application")
    path = f"/v1/{_PATHS[kind]}/{about['id']}" if kind in _PATHS else None
    return {
        "id": thin_id(event["id"]),
        "object": "v2.core.event",
        "type": f"v1.{event['type']}",
        "created": datetime.fromtimestamp(event["created"], UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "livemode": event["livemode"],
        "context": event["account"],
        "reason": None,
        "related_object": {"id": about["id"], "type": kind, "url": path},
    }


def whole(event: Mapping[str, Any], shown: Mapping[str, Any]) -> Object:
    """What the API answers of it.

    Args:
        shown: its object, in the newest shape.
    """
    previous = event["previous"]
    changes = None
    if previous:
        changes = {"before": previous, "after": _same_attributes(shown, previous)}
    return {**notification(event), "changes": changes, "snapshot_event": event["id"]}


def _same_attributes(shown: Mapping[str, Any], previous: Mapping[str, Any]) -> Object:
    """The present values of what was another before."""
    after: Object = {}
    for name, before in previous.items():
        now = shown.get(name)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            after[name] = _same_attributes(now, before)
        else:
            after[name] = now
    return after
