"""Event destinations, API v2's list of where an account's events are sent.

https://docs.stripe.com/api/v2/core/event_destinations. They are listed only: what sends events is
the webhook endpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from standins.stripe.shapes import Object


class DestinationFields(TypedDict, total=False):
    """What :class:`EventDestination` may be given."""

    id: str
    type: str
    event_payload: str
    status: str
    enabled_events: tuple[str, ...]
    snapshot_api_version: str | None
    url: str
    aws_event_source_arn: str
    livemode: bool | None


@dataclass(frozen=True)
class EventDestination:
    """A destination.

    ``type``: "webhook_endpoint" (with ``url``) or "amazon_eventbridge" (with
    ``aws_event_source_arn``). ``event_payload``: "snapshot", or "thin" with ``enabled_events`` that
    have the prefix ``v1.``. ``status``: "enabled" or "disabled". ``livemode``: listed in that mode
    only.
    """

    id: str = "ed_1StandInDestination"
    type: str = "webhook_endpoint"
    event_payload: str = "snapshot"
    status: str = "enabled"
    enabled_events: tuple[str, ...] = ("*",)
    snapshot_api_version: str | None = None
    url: str = ""
    aws_event_source_arn: str = ""
    livemode: bool | None = None

    def shown(self, *, livemode: bool, with_url: bool) -> Object:
        """The destination as the API answers it. A URL is shown only where it is asked for."""
        endpoint, bridge = None, None
        if self.type == "amazon_eventbridge":
            bridge = {"aws_event_source_arn": self.aws_event_source_arn}
        else:
            endpoint = {"url": self.url if with_url else None}
        return {
            "id": self.id,
            "object": "v2.core.event_destination",
            "amazon_eventbridge": bridge,
            "description": "",
            "enabled_events": list(self.enabled_events),
            "event_payload": self.event_payload,
            "livemode": livemode,
            "metadata": {},
            "snapshot_api_version": self.snapshot_api_version,
            "status": self.status,
            "type": self.type,
            "webhook_endpoint": endpoint,
        }
