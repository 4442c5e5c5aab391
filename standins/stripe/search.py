"""Search: routes that find objects by a query, as they were a while ago."""

from __future__ import annotations

import base64
import binascii

from standins.stripe.calls import Call, Route
from standins.stripe.connected_accounts import key_of
from standins.stripe.errors import StripeError, invalid, unrecognized
from standins.stripe.expansion import newest_first, shown
from standins.stripe.listing import limit_of
from standins.stripe.params import only
from standins.stripe.search_queries import parsed
from standins.stripe.shapes import Object


def searching(kind: str) -> Route:
    """A route that searches for objects of a kind.

    They are found by what Search knows of them, and shown as they are now.
    """

    def run(call: Call) -> Object:
        _refuse(call)
        only(call.params, ("query", "limit", "page"))
        if "query" not in call.params:
            raise invalid("Missing required param: query.", code="parameter_missing", param="query")
        limit, ledger = limit_of(call.params), call.account.ledger
        query = parsed(str(call.params["query"]), kind)
        ids = call.standin.search_index.found(ledger.space, kind, query)
        found = newest_first(ledger.get(kind, id_) for id_ in ids)
        if "page" in call.params:
            after = _position(call.params["page"])
            found = [item for item in found if (item["created"], item["_seq"]) < after]
        has_more = len(found) > limit
        found = found[:limit]
        return {
            "object": "search_result",
            "data": [shown(item, call.version) for item in found],
            "has_more": has_more,
            "next_page": _page_after(found[-1]) if has_more else None,
            "url": call.url,
        }

    return run


def _refuse(call: Call) -> None:
    """Refuse accounts that have no Search, as those in India."""
    status = call.standin.search_index.refused.get(key_of(call.account.account_id))
    if status == 404:
        raise unrecognized("GET", call.url)
    if status is not None:
        raise StripeError(status, "The search feature is temporarily unavailable in your region.")


def _page_after(last: Object) -> str:
    return base64.urlsafe_b64encode(f"{last['created']}:{last['_seq']}".encode()).decode()


def _position(page: object) -> tuple[int, int]:
    try:
        created, seq = base64.urlsafe_b64decode(str(page)).decode().split(":")
        return int(created), int(seq)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise invalid(f"Invalid page: {page}", param="page") from None
