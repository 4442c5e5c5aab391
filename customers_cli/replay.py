"""Applies again what could not be applied, and what Stripe could not deliver.

Parked events of the store (and of no store, where their account has been registered since) are
taken in the order they were made; those that can now be applied are deleted from the parked ones.
Then Stripe is asked for the events of the last 30 days that reached no endpoint
(``delivery_success=false``, https://docs.stripe.com/api/events/list), the oldest first: a purchase
is stored before the event that ended another one. While an endpoint was deleted or disabled, Stripe
delivered nothing, and calls nothing undelivered: ``--all`` asks for every event instead. Those that
are stored already change nothing. Removals are left to the sweep, which is run at the end.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import typer

from customers_cli.backfill import modes_of, services_of
from customers_cli.command import Rate, Run, Store, command, new_app
from customers_cli.display import Display
from customers_cli.exits import Exit
from customers_cli.stripe_http import REQUESTS_PER_SECOND, Pace, PacedClient
from functions.store_events.apply import StoreEvents
from shared.domain.errors import InvalidEvent
from shared.integrations.stripe_gateway import Mode, Raw, StripeGateway
from shared.storage.parked import Parked, ParkedEvent
from shared.stripe_events.event import connected_account
from shared.stripe_events.receive import Receiver, parse
from shared.tenant import Tenant

app = new_app()

Everything = Annotated[
    bool, typer.Option("--all", help="Every event that Stripe has, delivered or not.")
]

# Stripe keeps events for 30 days. They are listed newest first; a window of six hours is held in
# memory and turned around.
KEPT_SECONDS = 30 * 86_400
WINDOW_SECONDS = 6 * 3600


@dataclass
class Replayed:
    """What a run did.

    Attributes:
        parked: what became of parked events: ``applied``, ``parked`` (still), ``ignored``.
        undelivered: what became of undelivered ones, or of all that Stripe has, likewise.
    """

    parked: Counter[str] = field(default_factory=Counter)
    undelivered: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Replay:
    """Applies events again.

    Attributes:
        receiver: of Stripe's events; :class:`StoreEvents` of the platform's.
        tell: called with the share of the time that was gone through.
        everything: take every event of the time, delivered or not.
    """

    tenant: Tenant
    receiver: Receiver
    store_events: StoreEvents
    parked: Parked
    stripe: StripeGateway
    modes: tuple[Mode, ...]
    tell: Callable[[float], None] = lambda _: None
    everything: bool = False

    def run(self, now: float) -> Replayed:
        done = Replayed()
        for owner in (self.tenant, None):
            for event in self.parked.all(owner):
                if owner is None and not self._is_ours(event):
                    continue
                done.parked[self._again(owner, event)] += 1
        for raw in self._listed(now):
            body = json.dumps(raw).encode()
            done.undelivered[self.receiver.take(body)] += 1
        return done

    def _is_ours(self, event: ParkedEvent) -> bool:
        """Whether an event of no store is this store's by now."""
        if event.origin != "stripe":
            return False
        try:
            account = connected_account(parse(event.body))
        except InvalidEvent:
            return False
        connection = self.receiver.services.registry.of_account(account)
        return connection is not None and connection.tenant == self.tenant

    def _again(self, owner: Tenant | None, event: ParkedEvent) -> str:
        """Apply a parked event; it is forgotten once it was applied, or nobody asks for it."""
        if event.origin == "stripe":
            result = self.receiver.take(event.body)
        else:
            result = self.store_events.handle(json.loads(event.body))
        if result != "parked":
            self.parked.remove(owner, event)
        return result

    def _listed(self, now: float) -> Iterator[Raw]:
        which = {} if self.everything else {"delivery_success": False}
        begin, end = int(now) - KEPT_SECONDS, int(now) + 60
        windows = range(begin, end, WINDOW_SECONDS)
        for number, start in enumerate(windows):
            window = {"created[gte]": start, "created[lt]": min(start + WINDOW_SECONDS, end)}
            found: list[Raw] = []
            for mode in self.modes:
                listed = self.stripe.list_all("events", mode, **which, **window)
                found += (_of(mode, raw) for raw in listed)
            found.reverse()
            yield from sorted(found, key=lambda raw: raw["created"])
            self.tell((number + 1) / len(windows))


def _of(mode: Mode, raw: Raw) -> Raw:
    """An event as its endpoint would have got it: with the account it is of."""
    return raw if mode.stripe_account is None else {**raw, "account": mode.stripe_account}


def _line(name: str, done: Iterable[tuple[str, int]]) -> str:
    return f"{name}: " + (", ".join(f"{number:,} {what}" for what, number in done) or "none")


@command(app, again="run it again, it applies what is left")
def replay(
    run: Run, store: Store, rate: Rate = REQUESTS_PER_SECOND, everything: Everything = False
) -> Exit:
    """Apply a store's parked events again, and those that Stripe could not deliver.

    Stripe knows the events of the last 30 days. Of the time in which an endpoint was deleted or
    disabled it calls nothing undelivered: then use --all. At the end the sweep runs. The exit code
    is 1 where events stay parked; their reasons are printed.
    """
    tenant = Tenant(store)
    run.target.require(tenant)
    pace, counted = Pace(rate), Counter[str]()
    parts = run.target.composition(stripe_http=lambda: PacedClient(pace))
    modes = tuple(modes_of(parts, tenant))
    target = run.begin()

    def count(name: str) -> None:
        counted[name] += 1

    services = services_of(parts, count)
    store_events = StoreEvents(
        records=services.records,
        customers=services.customers,
        products=services.products,
        parked=parts.parked,
        wake=services.wake,
        count=count,
    )
    receiver = Receiver(services, parts.parked)
    with Display() as display:

        def show(share: float) -> None:
            display.show(share, "the last 30 days", f"{pace.turns:,} requests to Stripe")

        done = Replay(
            tenant,
            receiver,
            store_events,
            parts.parked,
            parts.stripe,
            modes,
            tell=show,
            everything=everything,
        ).run(time.time())
    swept = target.sweep()
    print(_line("parked events", done.parked.items()))
    print(_line("all events" if everything else "undelivered events", done.undelivered.items()))
    for name, number in counted.items():
        print(f"{number:>9,} {name}")
    if done.parked["parked"]:
        reasons = Counter(event.reason for event in parts.parked.all(tenant))
        for reason, number in reasons.items():
            print(f"{number:>9,} still parked: {reason}")
    print(f"The sweep did: {json.dumps(swept)}")
    return Exit.FOUND if done.parked["parked"] else Exit.DONE
