"""The stand-in as a whole: accounts, clock, stored state, events, faults, request log."""

from __future__ import annotations

import heapq
import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from standins.stripe.account import StripeAccount
from standins.stripe.clock import DAY, Clock
from standins.stripe.deliveries import Deliveries, Endpoint, Sender
from standins.stripe.ledger import Ledger
from standins.stripe.objects import make_id
from standins.stripe.shapes import NEWEST, Object, clone, render_event

PLATFORM_ACCOUNT = "acct_1StandInPlatform"

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


@dataclass
class Fault:
    """What goes wrong with calls that match, ``times`` times (``None``: until removed).

    ``status``/``body``: the answer instead of the real one. ``after_effect``: the call is carried
    out first, and the answer is lost or replaced. ``drop``: close the connection without an
    answer. ``latency``: seconds to wait before answering.
    """

    method: str = "*"
    path: str = ".*"
    times: int | None = 1
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after_effect: bool = False
    drop: bool = False
    latency: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and re.fullmatch(self.path, path) is not None


@dataclass(frozen=True)
class RequestRecord:
    """One call of the public API, as it came in and was answered."""

    method: str
    path: str
    params: Object
    idempotency_key: str | None
    account: str | None
    stripe_version: str | None
    livemode: bool
    at: float
    status: int
    replayed: bool = False


_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (space TEXT, kind TEXT, id TEXT, body TEXT,
    PRIMARY KEY (space, kind, id));
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, space TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS deliveries (id INTEGER PRIMARY KEY, event TEXT, endpoint TEXT,
    state TEXT, attempts INTEGER, status INTEGER);
CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, body TEXT);
"""

_PRIORITY = {"subscription_schedule": 0}


class StripeStandin:
    """A small Stripe with state.

    ``data_dir``: a folder for its SQLite file (``None``: memory only). Every finished operation
    is on disk before it returns, so killing the process loses nothing. ``api_keys``: where given,
    other keys are answered with 401. ``now``: freeze the clock there (epoch seconds).
    ``seed``: equal seeds give equal ids for equal operations.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        api_keys: Sequence[str] = (),
        api_version: str = NEWEST,
        now: int | None = None,
        seed: str = "stand-in",
    ) -> None:
        self.lock = threading.RLock()
        self.api_keys = tuple(api_keys)
        self.api_version = api_version
        self.seed = seed
        self.settings: Object = {"dunning_end": "cancel"}
        self.accounts: dict[tuple[str | None, bool], StripeAccount] = {}
        self.disconnected: set[str] = set()
        self.faults: list[Fault] = []
        self.outage = False
        self.requests: list[RequestRecord] = []
        self.request_context: Object | None = None
        self.idempotency: dict[str, Object] = {}
        self._events: list[Object] = []
        self._event_by_id: dict[str, Object] = {}
        self._number = 0
        self._depth = 0
        self._dirty_meta: dict[str, Any] = {}
        self._dirty: dict[tuple[str, str, str], Object] = {}
        self._new_events: list[Object] = []
        self._due: list[tuple[int, int, int, str, str, str]] = []
        self._by_space: dict[str, StripeAccount] = {}
        if data_dir is None:
            where = ":memory:"
        else:
            Path(data_dir).mkdir(parents=True, exist_ok=True)
            where = str(Path(data_dir) / "stripe.sqlite")
        self._db = sqlite3.connect(where, check_same_thread=False, isolation_level=None)
        # What a killed process has written is in the operating system's hands: no fsync needed.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + _SCHEMA)
        self.clock = Clock(**self._meta("clock", {}))
        self.deliveries = Deliveries(self)
        self._restore()
        if now is not None:
            self.clock.freeze(now)

    # --- accounts -------------------------------------------------------------------------

    def account(self, account_id: str | None = None, *, livemode: bool = True) -> StripeAccount:
        """The account (``None``: the platform's own) in one mode; made where it is new."""
        with self.lock:
            if account_id == PLATFORM_ACCOUNT:
                account_id = None
            key = (account_id, livemode)
            if key not in self.accounts:
                account = StripeAccount(self, account_id, livemode)
                self.accounts[key] = account
                self._by_space[account.space] = account
                self._save_meta("accounts", [list(k) for k in self.accounts])
            return self.accounts[key]

    @property
    def live(self) -> StripeAccount:
        return self.account()

    @property
    def test(self) -> StripeAccount:
        return self.account(livemode=False)

    def knows_account(self, account_id: str) -> bool:
        return account_id == PLATFORM_ACCOUNT or any(id_ == account_id for id_, _ in self.accounts)

    def disconnect(self, account_id: str | None = None) -> None:
        """Refuse every call for a connected account (403), or for the platform (401)."""
        with self.transaction():
            self.disconnected.add(account_id or "")
            self._dirty_meta["disconnected"] = sorted(self.disconnected)

    def reconnect(self, account_id: str | None = None) -> None:
        with self.transaction():
            self.disconnected.discard(account_id or "")
            self._dirty_meta["disconnected"] = sorted(self.disconnected)

    # --- webhook endpoints and events -----------------------------------------------------

    def add_endpoint(
        self,
        url: str = "",
        secret: str | Sequence[str] = "whsec_local",
        *,
        send: Sender | None = None,
        api_version: str | None = None,
        enabled_events: Sequence[str] = HANDLED_EVENTS,
        livemode: bool | None = None,
        accounts: str = "all",
        id: str = "we_1StandInEndpoint",  # noqa: A002
    ) -> Endpoint:
        """Deliver events to a URL, or to ``send(body, headers) -> status`` in this process.

        ``livemode``: only that mode's events. ``accounts``: "own", "connected" or "all".
        ``api_version``: the shape it is pinned to (``None``: the account's default).
        Several secrets sign with each of them, as Stripe does while a secret is rolled.
        """
        secrets = (secret,) if isinstance(secret, str) else tuple(secret)
        endpoint = Endpoint(
            id=id,
            url=url,
            secrets=secrets,
            send=send,
            api_version=api_version,
            enabled_events=tuple(enabled_events),
            livemode=livemode,
            accounts=accounts,
        )
        self.deliveries.add_endpoint(endpoint)
        return endpoint

    def events(
        self,
        *,
        types: Iterable[str] | None = None,
        api_version: str | None = None,
        account: StripeAccount | None = None,
    ) -> list[Object]:
        """All events in the order they happened, as they are delivered."""
        wanted = None if types is None else set(types)
        with self.lock:
            found = [
                event
                for event in self._events
                if (wanted is None or event["type"] in wanted)
                and (account is None or event["space"] == account.space)
            ]
        return [self.render(event, api_version) for event in found]

    def event(self, id_: str) -> Object | None:
        """The event as it is stored (render it with :meth:`render`)."""
        return self._event_by_id.get(id_)

    def stored_events(self, account: StripeAccount) -> list[Object]:
        """An account's events that the API still keeps (30 days)."""
        oldest = self.clock.now() - EVENT_RETENTION
        return [e for e in self._events if e["space"] == account.space and e["created"] >= oldest]

    def render(self, event: Mapping[str, Any], api_version: str | None = None) -> Object:
        pending = {"pending_webhooks": self.deliveries.pending_for(event["id"])}
        return render_event({**event, **pending}, api_version or self.api_version)

    def record_event(
        self,
        account: Ledger,
        type_: str,
        about: Object,
        previous: Mapping[str, Any] | None,
    ) -> Object:
        context = self.request_context or {"id": None, "idempotency_key": None}
        event: Object = {
            "id": make_id("evt", self.seed, self.next_number()),
            "type": type_,
            "created": self.clock.now(),
            "livemode": account.livemode,
            "account": account.account_id,
            "object": about,
            "previous": None if previous is None else clone(previous),
            "request": dict(context),
            "space": account.space,
            "seq": self.next_number(),
        }
        self._events.append(event)
        self._event_by_id[event["id"]] = event
        self._new_events.append(event)
        return event

    # --- time -----------------------------------------------------------------------------

    def advance(self, seconds: int) -> None:
        """Move the clock forward; everything that falls due on the way happens in its order."""
        with self.lock:
            until = self.clock.base() + seconds
            self.run_due(until=until)
            self.clock.move_to(until)
            self.keep_clock()

    def advance_to(self, at: int) -> None:
        self.advance(at - self.clock.base())

    def freeze(self, at: int | None = None) -> None:
        with self.lock:
            self.clock.freeze(at)
            self.keep_clock()

    def resume(self) -> None:
        with self.lock:
            self.clock.resume()
            self.keep_clock()

    @contextmanager
    def at(self, at: int | None) -> Iterator[None]:
        """Let what is done inside happen at another time (epoch seconds), usually a past one."""
        with self.lock, self.clock.at(at):
            yield

    def run_due(self, *, until: int | None = None, customers: set[str] | None = None) -> int:
        """Do what time brings (renewals, ends, retries) up to ``until``, in order of time.

        Events are stamped with the moment they were due. ``customers`` limits it to objects of
        these customers. Returns how many things happened.
        """
        done = 0
        with self.lock:
            until = self.clock.now() if until is None else until
            while (item := self._next_due(until, customers)) is not None:
                account, target, at = item
                with self.clock.at(at), self.transaction():
                    account.happen(target, at)
                done += 1
        return done

    def _next_due(
        self, until: int, customers: set[str] | None
    ) -> tuple[StripeAccount, Object, int] | None:
        if customers is not None:
            return self._next_due_of(until, customers)
        while self._due and self._due[0][0] <= until:
            at, _, _, space, kind, id_ = heapq.heappop(self._due)
            account = self._by_space[space]
            target = account.objects.get(kind, {}).get(id_)
            # Entries of the past are not removed when an object changes: check them here.
            if target is not None and account.due_at(target) == at:
                return account, target, at
        return None

    def _next_due_of(
        self, until: int, customers: set[str]
    ) -> tuple[StripeAccount, Object, int] | None:
        found: list[tuple[int, int, int, StripeAccount, Object]] = []
        for account in self.accounts.values():
            for customer in customers:
                for target in account.timed.get(customer, ()):
                    at = account.due_at(target)
                    if at is not None and at <= until:
                        rank = _PRIORITY.get(target["object"], 1)
                        found.append((at, rank, target["_seq"], account, target))
        if not found:
            return None
        at, _, _, account, target = min(found, key=lambda item: item[:3])
        return account, target, at

    # --- faults ---------------------------------------------------------------------------

    def fail(
        self,
        method: str = "*",
        path: str = ".*",
        *,
        times: int | None = 1,
        status: int | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        after_effect: bool = False,
        drop: bool = False,
        latency: float = 0.0,
    ) -> Fault:
        """Make the next matching calls of the API fail; see :class:`Fault`."""
        fault = Fault(
            method, path, times, status, body, dict(headers or {}), after_effect, drop, latency
        )
        with self.lock:
            self.faults.append(fault)
        return fault

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.matches(method, path):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self.faults.remove(fault)
                    return fault
        return None

    # --- marks (of whoever drives the stand-in, such as the seeder) -----------------------

    def mark(self, name: str) -> Any:
        return self._meta(f"mark/{name}", None)

    def set_mark(self, name: str, value: Any) -> None:
        self._save_meta(f"mark/{name}", value)

    # --- stored state ---------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is stored together when the outermost transaction ends."""
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._flush()

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def saved(self, account: Ledger, target: Object) -> None:
        """Note that an object has changed: store it, and look when it is due next."""
        self._dirty[(account.space, target["object"], target["id"])] = target
        if isinstance(account, StripeAccount) and (at := account.due_at(target)) is not None:
            self._push_due(account.space, target, at)

    def _push_due(self, space: str, target: Object, at: int) -> None:
        rank = _PRIORITY.get(target["object"], 1)
        heapq.heappush(self._due, (at, rank, target["_seq"], space, target["object"], target["id"]))

    def _flush(self) -> None:
        if not self._dirty and not self._new_events and not self._dirty_meta:
            return
        events, self._new_events = self._new_events, []
        dirty, self._dirty = self._dirty, {}
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
            [(*key, json.dumps(body)) for key, body in dirty.items()],
        )
        self._db.executemany(
            "INSERT INTO events VALUES (?, ?, ?)",
            [(event["seq"], event["space"], json.dumps(event)) for event in events],
        )
        new = self.deliveries.plan(events)
        self._db.executemany(
            "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?)",
            [(d.id, d.event_id, d.endpoint_id, d.state, d.attempts, d.status) for d in new],
        )
        self._write_meta("number", self._number)
        meta, self._dirty_meta = self._dirty_meta, {}
        for key, value in meta.items():
            self._write_meta(key, value)
        self._db.execute("COMMIT")
        self.deliveries.enqueue(new)

    def save_delivery(self, id_: int, state: str, attempts: int, status: int | None) -> None:
        with self.lock:
            self._db.execute(
                "UPDATE deliveries SET state = ?, attempts = ?, status = ? WHERE id = ?",
                (state, attempts, status, id_),
            )

    def save_idempotency(self, key: str, record: Object) -> None:
        with self.lock:
            self.idempotency[key] = record
            self._db.execute(
                "INSERT OR REPLACE INTO idempotency VALUES (?, ?)", (key, json.dumps(record))
            )

    def log_request(self, record: RequestRecord) -> None:
        with self.lock:
            self.requests.append(record)
            self._db.execute(
                "INSERT INTO requests (body) VALUES (?)", (json.dumps(asdict(record)),)
            )

    def clear_requests(self) -> None:
        with self.lock:
            self.requests.clear()
            self._db.execute("DELETE FROM requests")

    def keep_clock(self) -> None:
        self._save_meta("clock", {"offset": self.clock.offset, "frozen_at": self.clock.frozen_at})

    def _write_meta(self, key: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def _save_meta(self, key: str, value: Any) -> None:
        with self.transaction():
            self._dirty_meta[key] = value

    def _meta(self, key: str, default: Any) -> Any:
        with self.lock:
            if key in self._dirty_meta:
                return self._dirty_meta[key]
            row = self._db.execute("SELECT body FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row[0])

    def _restore(self) -> None:
        self._number = self._meta("number", 0)
        self.disconnected = set(self._meta("disconnected", []))
        for account_id, livemode in self._meta("accounts", []):
            self.account(account_id, livemode=livemode)
        for space, body in self._db.execute("SELECT space, body FROM objects"):
            self._by_space[space].load(json.loads(body))
        for account in self.accounts.values():
            for targets in account.timed.values():
                for target in targets:
                    if (at := account.due_at(target)) is not None:
                        self._push_due(account.space, target, at)
        for (body,) in self._db.execute("SELECT body FROM events ORDER BY seq"):
            event = json.loads(body)
            self._events.append(event)
            self._event_by_id[event["id"]] = event
        for key, body in self._db.execute("SELECT key, body FROM idempotency"):
            self.idempotency[key] = json.loads(body)
        for (body,) in self._db.execute("SELECT body FROM requests ORDER BY id"):
            self.requests.append(RequestRecord(**json.loads(body)))
        self.deliveries.restore(
            self._db.execute("SELECT id, event, endpoint, state, attempts, status FROM deliveries")
        )

    def dump(self) -> Object:
        """Everything that is stored, for a look from outside."""
        with self.lock:
            return {
                "now": self.clock.now(),
                "accounts": {
                    account.space: {
                        kind: [clone(item) for item in found.values()]
                        for kind, found in account.objects.items()
                    }
                    for account in self.accounts.values()
                },
                "events": len(self._events),
                "deliveries": self.deliveries.counts(),
                "disconnected": sorted(self.disconnected),
            }

    def close(self) -> None:
        self.deliveries.stop()
        with self.lock:
            self._db.close()
