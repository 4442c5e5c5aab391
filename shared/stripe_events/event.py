"""One signed event of Stripe's, as its JSON body tells it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain import stripe_objects as of
from shared.domain.key_parts import is_id
from shared.domain.merge import is_event_time
from shared.domain.stripe_objects import Raw

# What the field ``object`` of a snapshot event says, and that of a thin one.
SNAPSHOT, THIN = "event", "v2.core.event"
OBJECTS = (SNAPSHOT, THIN)

# In place of something that is told as an account and can't be one: no store has registered it.
NO_ACCOUNT = "?"
_ACCOUNT = re.compile(r"acct_[A-Za-z0-9_]{1,250}")


class Unappliable(Exception):
    """An event that will never say where it belongs, however often it is sent.

    Its text is kept with the parked event and logged: no personal data.
    """


@dataclass(frozen=True, slots=True)
class Event:
    """A signed event.

    Attributes:
        account: the connected account it is of, ``None`` for the platform's own;
            :data:`NO_ACCOUNT` where what is told is none.
        created_at: seconds since the epoch; a resolution of one second.
        object: what it is about, as Stripe sent it, but for what
            :func:`shared.domain.stripe_objects.since_2025` translates.
        before: the same before the event; ``None`` where the event doesn't tell.
        previous: the attributes that changed, as Stripe sent them.
    """

    id: str
    type: str
    created_at: int
    livemode: bool
    account: str | None
    object: Raw
    before: Raw | None
    previous: Mapping[str, Any]

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Event:
        """The event of a body.

        Raises:
            ValueError: it is malformed.
        """
        data = body.get("data")
        about = data.get("object") if isinstance(data, dict) else None
        if not is_id(body.get("id")) or not isinstance(body.get("type"), str):
            raise ValueError("an event without id or type")
        if not isinstance(data, dict) or not isinstance(about, dict):
            raise ValueError("an event without its object")
        if not is_event_time(body.get("created")) or type(body.get("livemode")) is not bool:
            raise ValueError("an event without its time or mode")
        previous = data.get("previous_attributes")
        previous = previous if isinstance(previous, dict) else None
        about = of.since_2025(about, body.get("api_version"))
        return cls(
            id=body["id"],
            type=body["type"],
            created_at=body["created"],
            livemode=body["livemode"],
            account=connected_account(body),
            object=about,
            before=of.before(about, previous),
            previous=previous or {},
        )


def connected_account(body: Mapping[str, Any]) -> str | None:
    """The account that an event is of; ``None``: the platform's own, :data:`NO_ACCOUNT`: what is
    told is none.

    Before API version 2017-05-25 an account is told as ``user_id``
    (https://docs.stripe.com/changelog/2017-05-25/events-connect-specify-originating-account).
    """
    told = body.get("account")
    if told is None:
        told = body.get("user_id")
    if told is None:
        return None
    return told if isinstance(told, str) and _ACCOUNT.fullmatch(told) else NO_ACCOUNT
