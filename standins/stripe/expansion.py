"""Objects as the API answers them, with other objects in the place of their ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from standins.stripe.errors import invalid
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import HELD, Object, list_object, shape

MAX_EXPAND_DEPTH = 4


def shown(target: Object, version: str) -> Object:
    """An object as the API answers it; a deleted one as its stub."""
    if target.get("_deleted"):
        return {"id": target["id"], "object": target["object"], "deleted": True}
    rendered: Object = shape(target, version)
    return rendered


def exists(target: Mapping[str, Any]) -> bool:
    """Whether an object has not been deleted."""
    return not target.get("_deleted")


def newest_first(found: Iterable[Object]) -> list[Object]:
    """Objects in the order of Stripe's lists."""
    return sorted(found, key=lambda o: (o.get("created", 0), o["_seq"]), reverse=True)


def expanded(ledger: Ledger, body: Any, expand: Iterable[str], version: str) -> Any:
    """Put objects in the place of their ids (``expand[]``), at most four levels deep."""
    for path in expand:
        parts = path.split(".")
        if len(parts) > MAX_EXPAND_DEPTH + (1 if parts[0] == "data" else 0):
            raise invalid(
                f"You cannot expand more than {MAX_EXPAND_DEPTH} levels of a property.",
                param="expand",
            )
        _expand(ledger, body, parts, version, path)
    return body


def _expand(ledger: Ledger, node: Any, parts: list[str], version: str, path: str) -> None:
    if isinstance(node, list):
        for item in node:
            _expand(ledger, item, parts, version, path)
        return
    if not isinstance(node, dict) or not parts:
        return
    name, rest = parts[0], parts[1:]
    if name not in node and (found := _included(ledger, node, name, version)) is not None:
        node[name] = found
    if name not in node:
        raise invalid(f"This property cannot be expanded ({path}).", param="expand")
    value = node[name]
    if isinstance(value, str):
        target = ledger.find(value)
        if target is None:
            raise invalid(f"This property cannot be expanded ({path}).", param="expand")
        node[name] = shown(target, version)
    elif isinstance(value, list):
        node[name] = [
            shown(found, version)
            if isinstance(item, str) and (found := ledger.find(item)) is not None
            else item
            for item in value
        ]
    _expand(ledger, node[name], rest, version, path)


def _included(ledger: Ledger, node: Object, name: str, version: str) -> Object | None:
    """Lists that an object holds only when they are asked for."""
    kind, id_ = node.get("object"), node.get("id")
    if kind == "checkout.session" and name == "line_items":
        lines = ledger.get("checkout.session", str(id_))["_lines"]
        url = f"/v1/checkout/sessions/{id_}/line_items"
        return list_object(shape(lines[:HELD], version), url, has_more=len(lines) > HELD)
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
    found = [o for o in newest_first(ledger.all(wanted)) if o[key] == id_ and exists(o)]
    if wanted == "subscription":
        found = [o for o in found if o["status"] != "canceled"]
    first = [shown(item, version) for item in found[:HELD]]
    return list_object(first, url, has_more=len(found) > HELD)
