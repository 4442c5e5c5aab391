"""The stand-in as a whole: its accounts, its time, and what a test arranges around them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

from standins.stripe import timers
from standins.stripe.account import StripeAccount
from standins.stripe.clock import Clock
from standins.stripe.connected_accounts import PLATFORM_ACCOUNT, Access
from standins.stripe.deliveries import Deliveries
from standins.stripe.event_destinations import DestinationFields, EventDestination
from standins.stripe.events import HANDLED_EVENTS, EventLog
from standins.stripe.faults import Fault, FaultFields
from standins.stripe.ledger import Ledger
from standins.stripe.request_log import RequestLog, RequestRecord, SavedAnswers
from standins.stripe.search_index import SearchIndex
from standins.stripe.shapes import NEWEST, Object, clone
from standins.stripe.store import Store
from standins.stripe.webhook_endpoints import Endpoint, EndpointFields, Sender


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
        self.api_keys = tuple(api_keys)
        self.api_version = api_version
        self.settings: Object = {"dunning_end": "cancel"}
        self.faults: list[Fault] = []
        self.outage = False
        self.store = Store(data_dir, seed)
        self.lock = self.store.lock
        self.clock = Clock(**self.store.value("clock", {}))
        self.event_log = EventLog(self.store, self.clock, api_version)
        self.deliveries = Deliveries(self.store, self.event_log)
        self.event_destinations: dict[str, EventDestination] = {}
        self.access = Access(self.store)
        self.search_index = SearchIndex(self.store, self.clock)
        self.request_log = RequestLog(self.store)
        self.saved_answers = SavedAnswers(self.store)
        self.accounts: dict[tuple[str | None, bool], StripeAccount] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._timers = timers.Timers(self._ledgers)
        for account_id, livemode in self.store.value("accounts", []):
            self.account(account_id, livemode=livemode)
        for space, body in self.store.rows("SELECT space, body FROM objects"):
            stored = json.loads(body)
            self._ledgers[space].load(stored)
            self.search_index.adopt(space, stored)
        if now is not None:
            self.clock.freeze(now)

    def close(self) -> None:
        """Stop sending and close the file."""
        self.deliveries.stop()
        self.store.close()

    # --- accounts -------------------------------------------------------------------------

    def account(self, account_id: str | None = None, *, livemode: bool = True) -> StripeAccount:
        """The account (``None``: the platform's own) in one mode; made where it is new."""
        with self.lock:
            if account_id == PLATFORM_ACCOUNT:
                account_id = None
            key = (account_id, livemode)
            if key not in self.accounts:
                ledger = Ledger(
                    account_id,
                    livemode=livemode,
                    store=self.store,
                    clock=self.clock,
                    event_log=self.event_log,
                    search_index=self.search_index,
                    settings=self.settings,
                )
                self._ledgers[ledger.space] = ledger
                self.accounts[key] = StripeAccount(ledger, self.access)
                self.store.set_value("accounts", [list(k) for k in self.accounts])
            return self.accounts[key]

    @property
    def live(self) -> StripeAccount:
        """The platform's own account in live mode."""
        return self.account()

    @property
    def test(self) -> StripeAccount:
        """The platform's own account in test mode."""
        return self.account(livemode=False)

    def has_access(self, account_id: str) -> bool:
        """Whether there is such an account, and the platform's keys work for it."""
        known = account_id == PLATFORM_ACCOUNT or any(id_ == account_id for id_, _ in self.accounts)
        return known and self.access.is_open(account_id)

    def disconnect(self, account_id: str | None = None) -> None:
        """Refuse every call for a connected account (403), or for the platform (401)."""
        self.access.disconnect(account_id)

    def reconnect(self, account_id: str | None = None) -> None:
        """Answer the calls for an account again."""
        self.access.reconnect(account_id)

    def close_account(self, account_id: str | None = None) -> None:
        """An account is closed (``None``: the platform's own): its calls are refused (403)."""
        self.access.close(account_id)

    def reopen_account(self, account_id: str | None = None) -> None:
        """An account is there again after all."""
        self.access.reopen(account_id)

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
        id: str = "we_1StandInEndpoint",  # noqa: A002 - Stripe's own field name
        **more: Unpack[EndpointFields],
    ) -> Endpoint:
        """Deliver events to a URL, or to ``send(body, headers) -> status`` in this process.

        ``livemode``: only that mode's events. ``accounts``: "own", "connected" or "all".
        ``payload``: "snapshot" or "thin".
        ``status``: "enabled", or "disabled": then nothing is sent there.
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
            **more,
        )
        self.deliveries.add_endpoint(endpoint)
        return endpoint

    def remove_endpoint(self, endpoint_id: str = "we_1StandInEndpoint") -> None:
        """Delete a webhook endpoint."""
        self.deliveries.remove_endpoint(endpoint_id)

    def add_event_destination(self, **fields: Unpack[DestinationFields]) -> EventDestination:
        """List an event destination of API v2, in place of one with the same id; see
        :class:`EventDestination`. Nothing is sent there."""
        destination = EventDestination(**fields)
        self.event_destinations[destination.id] = destination
        return destination

    def events(
        self,
        *,
        types: Iterable[str] | None = None,
        api_version: str | None = None,
        account: StripeAccount | None = None,
    ) -> list[Object]:
        """All events in the order they happened, as they are delivered."""
        space = None if account is None else account.ledger.space
        return self.event_log.rendered(types=types, api_version=api_version, space=space)

    def event(self, id_: str) -> Object | None:
        """The event as it is stored (render it with :meth:`render`)."""
        return self.event_log.find(id_)

    def render(self, event: Mapping[str, Any], api_version: str | None = None) -> Object:
        """An event as it is delivered or listed now."""
        return self.event_log.render(event, api_version)

    # --- time -----------------------------------------------------------------------------

    def advance(self, seconds: int) -> None:
        """Move the clock forward; everything that falls due on the way happens in its order."""
        with self.lock:
            until = self.clock.base() + seconds
            self.run_due(until=until)
            self.clock.move_to(until)
            self._keep_clock()

    def advance_to(self, at: int) -> None:
        """Move the clock forward to this time."""
        self.advance(at - self.clock.base())

    def freeze(self, at: int | None = None) -> None:
        """Stop the clock, at this time or now."""
        with self.lock:
            self.clock.freeze(at)
            self._keep_clock()

    def resume(self) -> None:
        """Let time run on from where the frozen clock stands."""
        with self.lock:
            self.clock.resume()
            self._keep_clock()

    def _keep_clock(self) -> None:
        kept = {"offset": self.clock.offset, "frozen_at": self.clock.frozen_at}
        self.store.set_value("clock", kept)

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
            while (due := self._next_due(until, customers)) is not None:
                ledger, target, at = due
                with self.clock.at(at), self.store.transaction():
                    timers.happen(ledger, target, at)
                done += 1
        return done

    def _next_due(self, until: int, customers: set[str] | None) -> timers.Due | None:
        if customers is None:
            return self._timers.next(until)
        return self._timers.next_of(until, customers)

    # --- faults and the log of requests ---------------------------------------------------

    def fail(self, method: str = "*", path: str = ".*", **fields: Unpack[FaultFields]) -> Fault:
        """Make the next matching calls of the API fail; see :class:`Fault`."""
        fault = Fault(method, path, **fields)
        fault.headers = dict(fault.headers)
        with self.lock:
            self.faults.append(fault)
        return fault

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The fault that hits this call; it is used up by one."""
        with self.lock:
            for fault in self.faults:
                if fault.matches(method, path):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self.faults.remove(fault)
                    return fault
        return None

    @property
    def requests(self) -> list[RequestRecord]:
        """The calls of the public API, oldest first."""
        return self.request_log.records

    def clear_requests(self) -> None:
        """Forget the calls of the public API."""
        self.request_log.clear()

    # --- stored state ---------------------------------------------------------------------

    def mark(self, name: str) -> Any:
        """What whoever drives the stand-in (such as the seeder) has noted under a name."""
        return self.store.value(f"mark/{name}")

    def set_mark(self, name: str, value: Any) -> None:
        """Note something under a name."""
        self.store.set_value(f"mark/{name}", value)

    def dump(self) -> Object:
        """Everything that is stored, for a look from outside."""
        with self.lock:
            return {
                "now": self.clock.now(),
                "accounts": {
                    space: {
                        kind: [clone(item) for item in found.values()]
                        for kind, found in ledger.objects.items()
                    }
                    for space, ledger in self._ledgers.items()
                },
                "events": len(self.event_log),
                "deliveries": self.deliveries.counts(),
                "disconnected": sorted(self.access.withdrawn),
                "closed": sorted(self.access.closed),
                "search": {
                    "lag": self.search_index.lag,
                    "refused": dict(self.search_index.refused),
                },
            }
