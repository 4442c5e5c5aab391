"""The API versions of Stripe whose events are understood. Only this module names the range.

:mod:`shared.domain.stripe_objects` reads the shapes of these versions. An event of another version
is applied as well as it can be; ``customers doctor`` names the endpoint that sends it.
"""

from __future__ import annotations

import re

OLDEST = "2020-08-27"
# What the installed SDK is pinned to: the newest version that the code was tried with.
NEWEST = "2026-10-28.endive"

# Event types that endpoints of an older version cannot listen to.
NEW_TYPES = {"invoice_payment.paid": "2025-03-31"}

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def is_supported(version: str) -> bool:
    """Whether an API version (``2025-03-31.basil``) is in the range; the name does not count."""
    date = _date_of(version)
    return date is not None and OLDEST[:10] <= date <= NEWEST[:10]


def has_type(version: str | None, event_type: str) -> bool:
    """Whether an endpoint of this version (``None``: not known) may listen to an event type."""
    date = None if version is None else _date_of(version)
    return date is None or date >= NEW_TYPES.get(event_type, "")


def _date_of(version: str) -> str | None:
    found = _DATE.match(version)
    return None if found is None else found.group()
