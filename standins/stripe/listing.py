"""Lists: which objects, in which order, and the pages they are answered in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from standins.stripe.calls import Call, Route
from standins.stripe.errors import invalid, missing
from standins.stripe.expansion import exists, newest_first, shown
from standins.stripe.ids import kind_of
from standins.stripe.params import in_range, integer, only
from standins.stripe.shapes import Object, list_object

PAGING = ("limit", "starting_after", "ending_before")

# Filters that a ``choose`` of a list takes, not the comparison of fields.
_CHOSEN = ("status", "price", "subscription", "ids", "product", "customer_details")


def limit_of(params: Mapping[str, Any]) -> int:
    """How many objects a page may hold: 1 to 100, 10 where nothing is said."""
    limit = integer(params.get("limit", "10"), "limit")
    if not 1 <= limit <= 100:
        raise invalid(
            "This value must be greater than or equal to 1."
            if limit < 1
            else "This value must be less than or equal to 100.",
            code="parameter_invalid_integer",
            param="limit",
        )
    return limit


def page(call: Call, found: list[Object], render: Callable[[Object], Object]) -> Object:
    """One page of a list whose newest object comes first."""
    limit = limit_of(call.params)
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


def _matches(item: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        if name in ("created", "current_period_end", "current_period_start"):
            if not in_range(item.get(name), value, name):
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
) -> Route:
    """A list route. ``parent``: kind and field of the object whose list it is (in the path).

    ``choose``: takes filters that are not plain comparisons out of the parameters.
    """

    def run(call: Call) -> Object:
        only(call.params, (*PAGING, *filters))
        found = [item for item in call.account.ledger.all(kind) if exists(item)]
        if parent is not None:
            owner = call.account.ledger.get(parent[0], call.arguments[0])
            found = [item for item in found if item[parent[1]] == owner["id"]]
        wanted = {k: v for k, v in call.params.items() if k not in PAGING}
        if choose is not None:
            found = [item for item in found if choose(call, item)]
            wanted = {k: v for k, v in wanted.items() if k not in _CHOSEN}
        found = newest_first(item for item in found if _matches(item, wanted))
        return page(call, found, lambda item: shown(item, call.version))

    return run
