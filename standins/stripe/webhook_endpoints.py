"""Webhook endpoints: where events are delivered, and which of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from standins.stripe import thin
from standins.stripe.event_destinations import EventDestination
from standins.stripe.shapes import Object

Sender = Callable[[bytes, dict[str, str]], int]
"""Takes a signed body and its headers, returns the HTTP status of the answer."""

# Types of objects that older API versions know nothing of.
_NEW_TYPES = {"invoice_payment.paid": "2025-03-31"}


class EndpointFields(TypedDict, total=False):
    """What ``StripeStandin.add_endpoint`` takes beside its own parameters."""

    payload: str
    status: str


@dataclass(frozen=True)
class Endpoint:
    """A webhook endpoint; see ``StripeStandin.add_endpoint``."""

    id: str
    url: str
    secrets: tuple[str, ...]
    send: Sender | None
    api_version: str | None
    enabled_events: tuple[str, ...]
    livemode: bool | None
    accounts: str
    payload: str = "snapshot"
    status: str = "enabled"

    def wants(self, event: Mapping[str, Any], version: str) -> bool:
        """Whether this event, in this API version, is sent here."""
        if self.status != "enabled":
            return False
        if self.livemode is not None and event["livemode"] != self.livemode:
            return False
        if self.accounts != "all" and (event["account"] is None) != (self.accounts == "own"):
            return False
        if self.payload == "thin" and not thin.exists(event["type"]):
            return False
        if version[:10] < _NEW_TYPES.get(event["type"], ""):
            return False
        return "*" in self.enabled_events or event["type"] in self.enabled_events

    def as_destination(self) -> EventDestination:
        """An endpoint of thin events, as API v2 lists it."""
        types = tuple(kind if kind == "*" else f"v1.{kind}" for kind in self.enabled_events)
        return EventDestination(
            id=self.id,
            event_payload=self.payload,
            status=self.status,
            enabled_events=types,
            url=self.url,
            livemode=self.livemode,
        )

    def shown(self, *, livemode: bool) -> Object:
        """The endpoint as the API answers it in this mode."""
        return {
            "id": self.id,
            "object": "webhook_endpoint",
            "api_version": self.api_version,
            "application": None,
            "created": 1_700_000_000,
            "description": None,
            "enabled_events": list(self.enabled_events),
            "livemode": livemode,
            "metadata": {},
            "status": self.status,
            "url": self.url,
        }
