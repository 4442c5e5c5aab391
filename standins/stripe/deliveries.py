"""Signed webhook deliveries: at least once, with retries, in whatever order a test asks for."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import logging
import random
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from standins.stripe.events import EventLog
from standins.stripe.store import Store
from standins.stripe.webhook_endpoints import Endpoint

_log = logging.getLogger(__name__)


def signature(body: bytes, secrets: Sequence[str], at: int) -> str:
    """The ``Stripe-Signature`` header: HMAC-SHA256 of ``"{t}.{body}"`` by each secret."""
    signed = f"{at}.".encode() + body
    marks = [hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in secrets]
    return ",".join([f"t={at}", *(f"v1={mark}" for mark in marks)])


@dataclass
class Delivery:
    """One event on its way to one endpoint. ``state``: pending, delivered, failed, dropped."""

    id: int
    event_id: str
    endpoint_id: str
    state: str = "pending"
    attempts: int = 0
    status: int | None = None
    ready_at: float = 0.0  # of time.monotonic()


class Deliveries:
    """The queue of deliveries and the threads that work it off: a destination of events.

    Without :meth:`start` nothing is sent but by :meth:`flush`, in the caller's thread.
    Switches, all changeable while it runs: ``held`` (send nothing), ``shuffled`` (any order),
    ``duplicates`` (extra times each event is sent), ``drop`` (types that are never sent, "*" for
    all), ``drop_next`` (that many coming events are never sent), ``api_version`` (shape of all
    endpoints that aren't pinned), ``max_attempts``.
    """

    def __init__(self, store: Store, event_log: EventLog) -> None:
        self._store = store
        self._event_log = event_log
        self._condition = threading.Condition()
        self._all: dict[int, Delivery] = {}
        self._by_event: dict[str, list[Delivery]] = {}
        self._waiting: list[Delivery] = []
        self._in_flight = 0
        self._next_id = 1
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._random = random.Random(1)
        self.endpoints: dict[str, Endpoint] = {}
        self._removed: set[str] = set()
        self.held = False
        self.shuffled = False
        self.duplicates = 0
        self.drop: frozenset[str] = frozenset()
        self.drop_next = 0
        self.api_version: str | None = None
        self.max_attempts = 17_280  # three days, as Stripe's, in steps of at most 15 s
        for row in store.rows(
            "SELECT id, event, endpoint, state, attempts, status FROM deliveries ORDER BY id"
        ):
            self._keep(Delivery(*row))
            self._next_id = max(self._next_id, row[0] + 1)
        event_log.destinations.append(self)

    # --- endpoints and planning -----------------------------------------------------------

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Deliver the coming events here as well, in place of an endpoint with the same id."""
        with self._condition:
            self.endpoints[endpoint.id] = endpoint
            self._removed.discard(endpoint.id)
            self._condition.notify_all()

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Delete an endpoint: nothing is sent there any more, or counts as missing there."""
        with self._condition:
            self.endpoints.pop(endpoint_id, None)
            self._removed.add(endpoint_id)
            self._waiting = [one for one in self._waiting if one.endpoint_id != endpoint_id]
            self._condition.notify_all()

    def version_for(self, endpoint: Endpoint) -> str:
        """The API version an endpoint's events are shaped for."""
        return endpoint.api_version or self.api_version or self._event_log.api_version

    def plan(self, event: Mapping[str, Any]) -> None:
        """Write down the deliveries a new event needs; they begin once that is stored."""
        planned: list[Delivery] = []
        with self._condition:
            dropped = event["type"] in self.drop or "*" in self.drop
            if not dropped and self.drop_next > 0:
                self.drop_next -= 1
                dropped = True
            state, times = ("dropped", 1) if dropped else ("pending", 1 + self.duplicates)
            for endpoint in self.endpoints.values():
                if not endpoint.wants(event, self.version_for(endpoint)):
                    continue
                for _ in range(times):
                    planned.append(Delivery(self._next_id, event["id"], endpoint.id, state))
                    self._next_id += 1
        for new in planned:
            self._store.insert(
                "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?)",
                (new.id, new.event_id, new.endpoint_id, new.state, new.attempts, new.status),
            )
        if planned:
            self._store.after_commit(lambda: self._enqueue(planned))

    def _enqueue(self, planned: Sequence[Delivery]) -> None:
        with self._condition:
            for delivery in planned:
                self._keep(delivery)
            self._condition.notify_all()

    def _keep(self, delivery: Delivery) -> None:
        self._all[delivery.id] = delivery
        self._by_event.setdefault(delivery.event_id, []).append(delivery)
        if delivery.state == "pending":
            self._waiting.append(delivery)

    def redeliver(self, event_id: str) -> None:
        """Send an event again (the dashboard's "Resend"), delivered before or not."""
        with self._condition:
            for delivery in self._by_event.get(event_id, []):
                if delivery.state != "pending":
                    delivery.state, delivery.attempts, delivery.ready_at = "pending", 0, 0.0
                    self._waiting.append(delivery)
            self._condition.notify_all()

    # --- what became of them --------------------------------------------------------------

    def pending_for(self, event_id: str) -> int:
        """How many endpoints that should have this event don't have it, tried or not."""
        with self._condition:
            deliveries = self._by_event.get(event_id, [])
            missing = {d.endpoint_id for d in deliveries if d.state != "delivered"}
            return len(missing - self._removed)

    def delivered(self, event_id: str) -> bool:
        """Whether every endpoint that should have it has it (``delivery_success``)."""
        return self.pending_for(event_id) == 0

    def counts(self) -> dict[str, int]:
        """How many deliveries there are in each state."""
        with self._condition:
            counted = {"pending": 0, "delivered": 0, "failed": 0, "dropped": 0}
            for delivery in self._all.values():
                counted[delivery.state] += 1
            return counted

    def of(self, event_id: str) -> list[Delivery]:
        """The deliveries of an event."""
        with self._condition:
            return list(self._by_event.get(event_id, []))

    # --- control --------------------------------------------------------------------------

    def hold(self) -> None:
        """Send nothing until :meth:`release`."""
        self.held = True

    def release(self) -> None:
        """Send what is pending again."""
        with self._condition:
            self.held = False
            self._condition.notify_all()

    def start(self, *, workers: int = 4) -> None:
        """Begin sending in the background, so many at the same time."""
        self._stopping = False
        for number in range(len(self._threads), workers):
            thread = threading.Thread(
                target=self._work, name=f"stripe-delivery-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Send nothing more in the background; what is pending stays so."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(timeout=35)
        self._threads.clear()

    def drain(self, timeout: float = 30.0) -> bool:
        """Wait until nothing is pending, retries included; false when time ran out first."""
        with self._condition:
            return self._condition.wait_for(
                lambda: not self._waiting and self._in_flight == 0, timeout
            )

    def flush(self) -> int:
        """Send everything that is pending once, now and in this thread; how many were refused.

        Refused ones stay pending. Needs no :meth:`start`.
        """
        refused = 0
        connections: dict[str, http.client.HTTPConnection] = {}
        with self._condition:
            batch, self._waiting = self._waiting, []
            if self.shuffled:
                self._random.shuffle(batch)
        for delivery in batch:
            with self._condition:
                self._in_flight += 1
            if not self._send(delivery, connections):
                refused += 1
        return refused

    # --- sending --------------------------------------------------------------------------

    def _work(self) -> None:
        connections: dict[str, http.client.HTTPConnection] = {}
        while (delivery := self._take()) is not None:
            self._send(delivery, connections)

    def _take(self) -> Delivery | None:
        with self._condition:
            while not self._stopping:
                now = time.monotonic()
                ready = [] if self.held else [d for d in self._waiting[:500] if d.ready_at <= now]
                if ready:
                    delivery = self._random.choice(ready) if self.shuffled else ready[0]
                    self._waiting.remove(delivery)
                    self._in_flight += 1
                    return delivery
                soonest = min((d.ready_at for d in self._waiting), default=now + 60)
                self._condition.wait(60 if self.held else max(soonest - now, 0.01))
            return None

    def _send(self, delivery: Delivery, connections: dict[str, http.client.HTTPConnection]) -> bool:
        """Send once and note what came of it. The caller has counted it as in flight."""
        endpoint = self.endpoints.get(delivery.endpoint_id)
        event = self._event_log.find(delivery.event_id)
        status = 0
        if endpoint is not None and event is not None:
            body, headers = self.signed(event, endpoint)
            try:
                if endpoint.send is not None:
                    status = endpoint.send(body, headers)
                else:
                    status = _post(endpoint.url, body, headers, connections)
            except (OSError, http.client.HTTPException):
                status = 0
            except Exception:  # noqa: BLE001 - a receiver here that crashes is a 500 to Stripe
                _log.exception("the receiver of a webhook raised")
                status = 500
        ok = 200 <= status < 300
        with self._condition:
            delivery.attempts += 1
            delivery.status = status or None
            if ok:
                delivery.state = "delivered"
            elif delivery.attempts >= self.max_attempts:
                delivery.state = "failed"
            else:
                # Stripe waits longer and longer over three days; here the steps are short.
                wait = min(0.2 * 2 ** min(delivery.attempts, 8), 15.0)
                delivery.ready_at = time.monotonic() + wait
                self._waiting.append(delivery)
        self._store.execute(
            "UPDATE deliveries SET state = ?, attempts = ?, status = ? WHERE id = ?",
            (delivery.state, delivery.attempts, delivery.status, delivery.id),
        )
        with self._condition:
            self._in_flight -= 1
            self._condition.notify_all()
        return ok

    def signed(
        self, event: Mapping[str, Any], endpoint: Endpoint, *, at: int | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """The exact bytes and headers a delivery consists of.

        The signature carries the real time, not the stand-in's: receivers check it.
        """
        if endpoint.payload == "thin":
            rendered = self._event_log.render_thin(event)
        else:
            rendered = self._event_log.render(event, self.version_for(endpoint))
        body = json.dumps(rendered, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(
                body, endpoint.secrets, int(time.time()) if at is None else at
            ),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        return body, headers


def _post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    connections: dict[str, http.client.HTTPConnection],
) -> int:
    """POST over a kept connection; one fresh attempt where the kept one has gone stale."""
    parts = urllib.parse.urlsplit(url)
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    for kept in (True, False):
        connection = connections.get(parts.netloc) if kept else None
        if connection is None:
            if kept:
                continue
            secure = parts.scheme == "https"
            make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = connections[parts.netloc] = make(parts.netloc, timeout=30)
        try:
            connection.request("POST", target, body, dict(headers))
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            with contextlib.suppress(OSError):
                connection.close()
            connections.pop(parts.netloc, None)
            if not kept:
                raise
        else:
            return answer.status
    raise ConnectionError("no connection")  # not reached: the second round returns or raises
