"""Where Stripe sends the events of an account, and what is wrong with it.

Webhook endpoints (``GET /v1/webhook_endpoints``) and the event destinations of API v2
(``GET /v2/core/event_destinations``: webhooks for thin events, Amazon EventBridge) are read
as the same thing. https://docs.stripe.com/event-destinations
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from customers_cli.finding import Finding
from shared.domain.api_versions import NEWEST, OLDEST, has_type, is_supported
from shared.integrations.stripe_gateway import Raw
from shared.stripe_events.events import HANDLERS
from shared.stripe_events.thin import PREFIX, thin_type

EVENTBRIDGE = "amazon_eventbridge"
ALL_EVENTS = "*"


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination.

    Attributes:
        url: of a webhook endpoint.
        source: the event source in AWS, of EventBridge.
        events: the types it is sent, as of snapshot events.
        version: the API version of its events; ``None``: the account's default, or thin events,
            which have none.
    """

    id: str
    is_enabled: bool
    url: str = ""
    source: str | None = None
    is_thin: bool = False
    events: frozenset[str] = frozenset()
    version: str | None = None

    @classmethod
    def of_endpoint(cls, raw: Raw) -> Destination:
        """A webhook endpoint of API v1."""
        return cls(
            id=str(raw.get("id") or "?"),
            is_enabled=raw.get("status") != "disabled",
            url=str(raw.get("url") or ""),
            events=frozenset(raw.get("enabled_events") or ()),
            version=raw.get("api_version"),
        )

    @classmethod
    def of_event_destination(cls, raw: Raw) -> Destination:
        """An event destination of API v2."""
        is_thin = raw.get("event_payload") == "thin"
        events = raw.get("enabled_events") or ()
        return cls(
            id=str(raw.get("id") or "?"),
            is_enabled=raw.get("status") != "disabled",
            url=str(_part(raw, "webhook_endpoint").get("url") or ""),
            source=str(_part(raw, EVENTBRIDGE).get("aws_event_source_arn") or "?")
            if raw.get("type") == EVENTBRIDGE
            else None,
            is_thin=is_thin,
            events=frozenset(
                event.removeprefix(PREFIX)
                for event in events
                if not is_thin or event.startswith(PREFIX) or event == ALL_EVENTS
            ),
            version=None if is_thin else raw.get("snapshot_api_version"),
        )

    def may_send(self, event: str) -> bool:
        """Whether events of this type can be sent there at all."""
        if self.is_thin:
            return thin_type(event) is not None
        return has_type(self.version, event)

    @property
    def where(self) -> str:
        """The address without what may be a secret in it."""
        if self.source is not None:
            return f"EventBridge ({self.source})"
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or '?'}{parts.path}"


def _part(raw: Raw, name: str) -> Mapping[str, Any]:
    part = raw.get(name)
    return part if isinstance(part, Mapping) else {}


def of(endpoints: Iterable[Raw], event_destinations: Iterable[Raw]) -> list[Destination]:
    """All destinations of a mode, each once: API v2 may list webhook endpoints too."""
    found = [Destination.of_endpoint(raw) for raw in endpoints]
    known, urls = {one.id for one in found}, {one.url for one in found}
    for one in map(Destination.of_event_destination, event_destinations):
        is_endpoint = one.source is None and not one.is_thin and one.url in urls
        if one.id not in known and not is_endpoint:
            found.append(one)
    return found


def check(
    mode: str,
    destinations: Iterable[Destination],
    *,
    webhook_url: str,
    event_source: str,
    default_version: str | None,
) -> Iterator[Finding]:
    """What is wrong with the destinations of one mode.

    Args:
        mode: ``live`` or ``test``.
        webhook_url: where events have to go.
        event_source: the partner event source whose events the stack takes; empty: none.
        default_version: the account's API version, where it is known.
    """
    subject = f"webhook endpoint, {mode} mode"
    ours: list[Destination] = []
    others: list[Destination] = []
    for one in destinations:
        takes_source = bool(event_source) and (one.source or "").endswith(event_source)
        (ours if takes_source or one.url == webhook_url else others).append(
            one if one.version or one.is_thin else replace(one, version=default_version)
        )
    by_bus = bool(event_source) and mode == _mode_of_source(event_source)
    yield from _of_others(mode, ours, others, webhook_url, by_bus=by_bus)
    for one in ours:
        if not one.is_enabled:
            yield Finding(
                subject,
                "disabled",
                f"Enable {one.id} at Stripe, or delete it where another replaces it; then run "
                "customers replay STORE --all: Stripe sends nothing of that time again.",
            )
    enabled = [one for one in ours if one.is_enabled]
    if not enabled:
        return
    for one in enabled:
        if one.version is not None and not is_supported(one.version):
            yield Finding(
                subject,
                f"API version {one.version}, which is outside {OLDEST} to {NEWEST}",
                f"Add an endpoint of a version in this range at Stripe, then delete {one.id}.",
            )
    missing = sorted(event for event in HANDLERS if not _is_sent(event, enabled))
    if missing:
        yield Finding(subject, f"lacks {', '.join(missing)}", "Add these events at Stripe.")
    else:
        yield Finding(subject, f"gets all {len(HANDLERS)} kinds of events")


def _mode_of_source(name: str) -> str:
    """The mode of the events of a partner event source, as the id of its destination says."""
    return "test" if name.rpartition("/")[2].startswith("ed_test_") else "live"


def _of_others(
    mode: str,
    ours: list[Destination],
    others: list[Destination],
    webhook_url: str,
    *,
    by_bus: bool,
) -> Iterator[Finding]:
    """What is said of destinations that are not this stack's: a store may have other systems."""
    subject = f"webhook endpoint, {mode} mode"
    if not ours and by_bus:
        yield Finding(subject, "none; the events come by EventBridge")
    elif not ours:
        found = "none leads here"
        if others:
            found += f", but to {', '.join(sorted({one.where for one in others}))}"
        yield Finding(subject, found, f"Add one at Stripe: {webhook_url}")
    for one in others:
        if not one.is_enabled:
            continue
        if one.source is not None:
            yield Finding(
                f"event destination {one.id}, {mode} mode",
                f"sends events to {one.where}, from where this stack takes none",
                "Disable it at Stripe; the events go to the webhook.",
            )
        elif urlsplit(one.url).netloc == urlsplit(webhook_url).netloc:
            yield Finding(
                subject,
                f"{one.id} leads to {one.where}, which is not the webhook",
                f"Change its address at Stripe: {webhook_url}",
            )
        elif ours:
            yield Finding(subject, f"{one.id} leads elsewhere: {one.where}")


def _is_sent(event: str, enabled: Iterable[Destination]) -> bool:
    """Whether an event comes here, or cannot come by any of these destinations."""
    able = [one for one in enabled if one.may_send(event)]
    return not able or any(ALL_EVENTS in one.events or event in one.events for one in able)
