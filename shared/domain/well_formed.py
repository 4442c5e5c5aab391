"""What may be stored of an object: each field of the type that everything else takes it for.

Events are signed, but their shape changes with Stripe's API versions, and metadata is written by
whoever runs the store. A field of another type would be stored happily and then break every page
that shows it; so it is refused at the door, and the event parked. The same goes for an id that
can't be part of a key (:mod:`shared.domain.key_parts`), and for a text that no record has room for.
"""

from __future__ import annotations

from typing import Any

from shared.domain.key_parts import is_id, is_text
from shared.domain.merge import Data, Observation

# The last second that datetime can show.
LAST_SECOND = 253_402_300_799
# Stripe's largest amount has twelve digits (https://docs.stripe.com/api/charges/object).
LARGEST = 10**15

# Of Stripe's texts nearly all have this limit (https://docs.stripe.com/api, "maxLength").
LONGEST_TEXT = 5000

_IDS = frozenset(
    {
        "id",
        "product_id",
        "access_code",
        "payment_method",
        "default_payment_method",
        "default_source",
        "schedule",
        "latest_invoice",
        "invoice",
        "subscription",
        "payment_intent",
        "charge",
        "dispute",
        "told_by",
    }
)
_TIMES = frozenset(
    {
        "created_at",
        "current_period_end",
        "trial_end",
        "cancel_at",
        "canceled_at",
        "ended_at",
        "access_expires_at",
        "redeemed_at",
        "expires_at",
    }
)
_NUMBERS = frozenset({"amount", "remaining", "outside", "exp_month", "exp_year"})
_FLAGS = frozenset(
    {
        "livemode",
        "deleted",
        "captured",
        "counted",
        "withdrawn",
        "failed",
        "cancel_at_period_end",
        "collection_paused",
        "sold_once",
        "has_paid",
    }
)
_LISTS_OF_TEXTS = frozenset({"chats"})
_LISTS_OF_IDS = frozenset({"products"})
_PARTS = frozenset({"method", "invite_links"})
_NEVER_EMPTY = frozenset({"id", "status", "currency", "amount", "type", "livemode"})


def check(data: Data) -> None:
    """Refuse an object that is not as it should be.

    Raises:
        ValueError: naming the field, not its value.
    """
    for name, value in data.items():
        if value is None:
            # What was bought and what was paid has a date; who somebody is may have none.
            dated = "status" in data or "payment_status" in data
            if name in _NEVER_EMPTY or (name == "created_at" and dated):
                raise ValueError(f"{name} is missing")
        elif not _fits(name, value):
            raise ValueError(f"{name} is not what it should be")


def check_observation(seen: Observation) -> None:
    """Refuse what an event says of an object where that, or what it says was before, is not as it
    should be.

    Raises:
        ValueError: as above.
    """
    check(seen.data)
    if seen.previous is not None:
        check(seen.previous)


def _fits(name: str, value: Any) -> bool:
    if name in _IDS:
        return is_id(value)
    if name in _TIMES:
        return type(value) is int and 0 <= value <= LAST_SECOND
    if name in _NUMBERS:
        return type(value) is int and -LARGEST <= value <= LARGEST
    if name in _FLAGS:
        return type(value) is bool
    if name in _LISTS_OF_IDS:
        return isinstance(value, list) and all(map(is_id, value))
    if name in _LISTS_OF_TEXTS:
        return isinstance(value, list) and all(part and _is_stored(part) for part in value)
    if name in _PARTS:
        return isinstance(value, dict) and all(
            part is None or _is_stored(part) for part in value.values()
        )
    return _is_stored(value) and (bool(value) or name not in _NEVER_EMPTY)


def _is_stored(value: Any) -> bool:
    return is_text(value) and len(value) <= LONGEST_TEXT
