"""What may become part of a key of the database. Pure.

Every key is built from texts that were checked here: :class:`shared.tenant.Tenant` builds the
partition keys of a store, :mod:`shared.storage.keys` the sort keys of its records. A key within
DynamoDB's limits follows from parts within these.

DynamoDB refuses a partition key of more than 2,048 bytes, a sort key of more than 1,024 bytes, and
an empty one, in a write and in the condition of a query alike:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

import re
from typing import Any

MOST_PARTITION_KEY_BYTES = 2048
MOST_SORT_KEY_BYTES = 1024

# Stripe's ids, the longest ids there are here: https://docs.stripe.com/upgrades
LONGEST_ID = 255
# Two sort keys with an id fit into the limit together, as the bounds of a query's condition; and a
# product's id fits into a partition key of the customer index, where it stands percent-encoded,
# three times as long.
MOST_ID_BYTES = 480
# An id behind a prefix of our own: ``guest:``, ``code_``, ``PURCHASE#``.
MOST_PART_BYTES = 500

# Times in sort keys have eleven digits: until the year 5138.
LAST_SECOND = 99_999_999_999

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class NotAKey(ValueError):
    """A text that can't be part of a key. Its message does not repeat the text."""


def is_text(value: Any) -> bool:
    """Whether a value is a text that can be stored: JSON may hold half of a surrogate pair, which
    UTF-8 can't."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_id(value: Any) -> bool:
    """Whether a value may be the id of anything: 1 to 255 characters, at most 480 bytes of UTF-8,
    no control characters."""
    return _fits(value, MOST_ID_BYTES) and len(value) <= LONGEST_ID


def part(value: Any) -> str:
    """An id, also one behind a prefix of our own, to be put into a key.

    Raises:
        NotAKey: it can't be part of a key.
    """
    if not _fits(value, MOST_PART_BYTES):
        raise NotAKey("not an id")
    text: str = value
    return text


def moment(value: Any) -> str:
    """Seconds since the epoch as they stand in a sort key: the texts sort as the times do.

    Raises:
        NotAKey: not a whole number, below 0 or of more than eleven digits.
    """
    if type(value) is not int or not 0 <= value <= LAST_SECOND:
        raise NotAKey("not a time")
    return f"{value:011d}"


def partition_key(text: str) -> str:
    """A whole partition key, where its parts don't bound it.

    Raises:
        NotAKey: DynamoDB would refuse it.
    """
    return _whole(text, MOST_PARTITION_KEY_BYTES)


def sort_key(text: str) -> str:
    """A whole sort key, likewise."""
    return _whole(text, MOST_SORT_KEY_BYTES)


def _fits(value: Any, most_bytes: int) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= most_bytes:
        return False
    if value.isascii():
        return value.isprintable()
    return is_text(value) and not _CONTROL.search(value) and len(value.encode()) <= most_bytes


def _whole(text: Any, most_bytes: int) -> str:
    if not is_text(text) or not text or len(text.encode()) > most_bytes:
        raise NotAKey("the database would refuse this key")
    whole: str = text
    return whole
