"""The events of all accounts: written by the ledgers, listed by the API, sent to destinations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from standins.stripe import thin
from standins.stripe.clock import DAY, Clock
from standins.stripe.shapes import Object, clone, render_event
from standins.stripe.store import Store

HANDLED_EVENTS = (
    "account.application.authorized",
    "account.application.deauthorized",
    "charge.captured",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.expired",
    "charge.failed",
    "charge.pending",
    "charge.refund.updated",
    "charge.refunded",
    "charge.succeeded",
    "charge.updated",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "credit_note.created",
    "credit_note.updated",
    "credit_note.voided",
    "customer.created",
    "customer.deleted",
    "customer.source.created",
    "customer.source.deleted",
    "customer.source.expiring",
    "customer.source.updated",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "customer.updated",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.voided",
    "invoice_payment.paid",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.succeeded",
    "payment_method.attached",
    "payment_method.automatically_updated",
    "payment_method.detached",
    "payment_method.updated",
    "product.created",
    "product.deleted",
    "product.updated",
    "refund.created",
    "refund.failed",
    "refund.updated",
)
"""What a store's endpoint subscribes to. Use ``("*",)`` for every type."""

EVENT_RETENTION = 30 * DAY


class Destination(Protocol):
    """Where events are sent. Webhook deliveries are one; another way of sending is another one."""

    def plan(self, event: Mapping[str, Any]) -> None:
        """Take note of a new event; send it once the transaction is stored."""

    def pending_for(self, event_id: str) -> int:
        """To how many receivers this event has not been delivered (``pending_webhooks``)."""


class EventLog:
    """Every event that ever happened, oldest first. An event is stored before it is rendered."""

    def __init__(self, store: Store, clock: Clock, api_version: str) -> None:
        self.api_version = api_version
        self.destinations: list[Destination] = []
        self._store = store
        self._clock = clock
        self._events: list[Object] = []
        self._by_id: dict[str, Object] = {}
        self._request: Object = {"id": None, "idempotency_key": None}
        for (body,) in store.rows("SELECT body FROM events ORDER BY seq"):
            self._keep(json.loads(body))

    def __len__(self) -> int:
        return len(self._events)

    def record(
        self, origin: Mapping[str, Any], type_: str, about: Object, previous: Any = None
    ) -> Object:
        """Write an event. ``origin``: ``account``, ``livemode`` and ``space`` of its ledger."""
        event: Object = {
            "id": self._store.new_id("evt"),
            "type": type_,
            "created": self._clock.now(),
            "livemode": origin["livemode"],
            "account": origin["account"],
            "object": about,
            "previous": None if previous is None else clone(previous),
            "request": dict(self._request),
            "space": origin["space"],
            "seq": self._store.next_number(),
        }
        self._keep(event)
        self._store.insert(
            "INSERT INTO events VALUES (?, ?, ?)",
            (event["seq"], event["space"], json.dumps(event)),
        )
        for destination in self.destinations:
            destination.plan(event)
        return event

    def _keep(self, event: Object) -> None:
        self._events.append(event)
        self._by_id[event["id"]] = event

    @contextmanager
    def caused_by(self, request_id: str, idempotency_key: str | None) -> Iterator[None]:
        """Let the events written inside tell the request they come from."""
        before = self._request
        self._request = {"id": request_id, "idempotency_key": idempotency_key}
        try:
            yield
        finally:
            self._request = before

    def find(self, id_: str) -> Object | None:
        """The event as it is stored; ``None`` where there is no such event."""
        return self._by_id.get(id_)

    def kept(self, space: str) -> list[Object]:
        """An account's stored events that the API still keeps (30 days), oldest first."""
        oldest = self._clock.now() - EVENT_RETENTION
        return [e for e in self._events if e["space"] == space and e["created"] >= oldest]

    def rendered(
        self,
        *,
        types: Iterable[str] | None = None,
        api_version: str | None = None,
        space: str | None = None,
    ) -> list[Object]:
        """All events in the order they happened, or one account's, as they are delivered."""
        wanted = None if types is None else set(types)
        with self._store.lock:
            found = [
                event
                for event in self._events
                if (wanted is None or event["type"] in wanted) and space in (None, event["space"])
            ]
        return [self.render(event, api_version) for event in found]

    def render(self, event: Mapping[str, Any], api_version: str | None = None) -> Object:
        """An event as it is delivered or listed now."""
        pending = self._pending(event["id"])
        return render_event({**event, "pending_webhooks": pending}, api_version or self.api_version)

    def render_thin(self, event: Mapping[str, Any]) -> Object:
        """The thin event of the same change, as it is delivered."""
        return thin.notification(event)

    def find_thin(self, id_: str, space: str) -> Object | None:
        """A thin event as a whole; ``None`` where there is no such event."""
        event = self._by_id.get(thin.snapshot_id(id_))
        if event is None or event["space"] != space:
            return None
        return thin.whole(event, self.render(event)["data"]["object"])

    def delivered(self, event_id: str) -> bool:
        """Whether an event has arrived everywhere (``delivery_success``)."""
        return self._pending(event_id) == 0

    def _pending(self, event_id: str) -> int:
        return sum(to.pending_for(event_id) for to in self.destinations)
