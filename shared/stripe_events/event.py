"""One signed event of Stripe's, as its JSON body tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain import stripe_objects as of
from shared.domain.stripe_objects import Raw


class Unappliable(Exception):
    """An event that will never say where it belongs, however often it is sent.

    Its text is kept with the parked event and logged: no personal data.
    """


@dataclass(frozen=True, slots=True)
class Event:
    """A signed event.

    Attributes:
        account: the connected account it is of, ``None`` for the platform's own.
        created_at: seconds since the epoch; a resolution of one second.
        object: what it is about, as Stripe sent it.
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
    def parse(cls, body: Any) -> Event:
        """The event of a body.

        Raises:
            ValueError: this is no event with its object in it.
        """
        if not isinstance(body, dict) or body.get("object") != "event":
            raise ValueError("not an event")
        data = body.get("data")
        data = data if isinstance(data, dict) else {}
        about = data.get("object")
        typed = isinstance(body.get("id"), str) and isinstance(body.get("type"), str)
        if not typed or not isinstance(body.get("created"), int) or not isinstance(about, dict):
            raise ValueError("not an event with an object")
        previous = data.get("previous_attributes")
        previous = previous if isinstance(previous, dict) else None
        account = body.get("account")
        return cls(
            id=body["id"],
            type=body["type"],
            created_at=body["created"],
            livemode=bool(body.get("livemode")),
            account=account if isinstance(account, str) and account else None,
            object=about,
            before=of.before(about, previous),
            previous=previous or {},
        )
