"""Reads a store's Stripe account and stores the records that its webhooks would have stored.

Every object of every list is told to the function that the webhook tells an event of such an object
to (:data:`shared.stripe_events.events.HANDLERS`); only what is stored comes from a fetch, which
never lowers a version and never overwrites what a newer event said. So it may run beside live
webhooks, twice, or on a store that is filled already.

What gives access is stored before what ends it, for everything the store sells: a removal from a
chat asks which other purchases grant it. Removals and schedules are left to the sweep, which is run
at the end.

After each page of a list it is noted in a file where to go on: stopped in any way and started
again, a run repeats one page at most.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from customers_cli.command import Rate, Run, Store, command, new_app
from customers_cli.display import Display
from customers_cli.exits import Exit, Failure, Refused
from customers_cli.keep import keep
from customers_cli.stripe_http import REQUESTS_PER_SECOND, Pace, PacedClient
from shared.compose import Composition
from shared.domain.errors import TryAgainLater
from shared.integrations.stripe_gateway import (
    Mode,
    Raw,
    StripeMissing,
    StripeRefusal,
)
from shared.stripe_events import events, listed
from shared.stripe_events.context import Services
from shared.stripe_events.event import Event, Unappliable
from shared.tenant import Tenant

app = new_app()

# Objects of one page are stored by several threads: storing is mostly waiting for the database.
WORKERS = 4
ATTEMPTS = 5


# -- what is read, and in which order --------------------------------------------------------------


Handle = Callable[[listed.Listed], None]


@dataclass(frozen=True)
class List:
    """One of Stripe's lists.

    Attributes:
        name: for people, and for noting how far a run got.
        path: below ``/v1/``.
        handle: stores an object of it; leaves out those that no event would have told of.
        filters: parameters of the request.
    """

    name: str
    path: str
    handle: Handle
    filters: tuple[tuple[str, Any], ...] = ()


# fmt: off
LIVE = (
    List("products", "products", listed.on_product),
    List("customers", "customers", listed.on_customer, (("expand[0]", "data.sources"),)),
    # Without a status: all but those that are over.
    List("subscriptions", "subscriptions", events.on_subscription),
    List("checkout sessions", "checkout/sessions", listed.on_session,
         (("expand[0]", "data.payment_intent"),)),
    List("payment intents", "payment_intents", listed.on_payment_intent),
    List("charges", "charges", listed.on_charge, (("expand[0]", "data.payment_intent"),)),
)
ENDED = (
    List("ended subscriptions", "subscriptions", events.on_subscription, (("status", "ended"),)),
    List("access codes that ran out", "checkout/sessions", listed.on_session_of_code_that_ran_out),
)
MONEY = (
    List("refunds", "refunds", events.on_refund),
    List("disputes", "disputes", events.on_dispute),
    List("invoices", "invoices", listed.on_invoice),
    List("invoice payments", "invoice_payments", listed.on_invoice_payment),
    List("credit notes", "credit_notes", events.on_credit_note),
)
# fmt: on


def steps(modes: Iterable[Mode]) -> Iterator[tuple[str, Mode, List]]:
    """Every list of every mode, in order: nothing ends in one mode before all that is live in the
    other is known."""
    for part in (LIVE, ENDED, MONEY):
        for mode in modes:
            for one in part:
                yield f"{'live' if mode.livemode else 'test'}: {one.name}", mode, one


# -- one run ---------------------------------------------------------------------------------------


@dataclass
class Progress:
    """How far a run got.

    Attributes:
        step: the list it is in; ``None`` before the first.
        after: the last object of it that is stored.
        seen: objects stored or looked at, by list.
        left_out: objects that could not be stored, by reason.
        oldest_at: ``created`` of the oldest object yet, to tell how far back a list reaches.
    """

    store: str
    step: str | None = None
    after: str | None = None
    seen: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    started_at: float = field(default_factory=time.time)
    oldest_at: float | None = None
    share: float = 0.0

    @property
    def objects(self) -> int:
        return sum(self.seen.values())


class Backfill:
    """Reads one store's Stripe account.

    Args:
        services: with a gateway that may be asked a lot; its ``wake`` is not used.
        kept: where progress is kept; ``None``: nowhere.
        tell: called with the progress after every page.
        complain: called with an object that can't be stored: list, its id and why.
        stop: called when the run ends early: what its threads wait for must end.
    """

    def __init__(
        self,
        tenant: Tenant,
        services: Services,
        modes: Iterable[Mode],
        *,
        kept: Path | None = None,
        tell: Callable[[Progress], None] = lambda _: None,
        complain: Callable[[str, str, str], None] = lambda *_: None,
        stop: Callable[[], None] = lambda: None,
        workers: int = WORKERS,
    ) -> None:
        self._tenant = tenant
        self._services = replace(services, wake=lambda _: None)
        self._modes = tuple(modes)
        self._kept = kept
        self._tell = tell
        self._complain = complain
        self._stop = stop
        self._stopped = threading.Event()
        self._workers = workers
        self.progress = self._begin()

    def _begin(self) -> Progress:
        if self._kept is not None and self._kept.exists():
            try:
                kept = Progress(**json.loads(self._kept.read_text()))
            except (ValueError, TypeError):
                return Progress(self._tenant.store_id)
            if kept.store == self._tenant.store_id:
                return kept
        return Progress(self._tenant.store_id)

    def run(self) -> Progress:
        """Read everything that isn't read yet.

        Raises:
            StripeUnavailable, botocore's errors: to be started again later.
            StripeRefusal: Stripe doesn't let us read a list.
        """
        progress, todo = self.progress, list(steps(self._modes))
        names = [name for name, _, _ in todo]
        first = names.index(progress.step) if progress.step in names else 0
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                for number, (name, mode, one) in enumerate(todo[first:], first):
                    if name != progress.step:
                        progress.step, progress.after = name, None
                    for page, asked_at in self._pages(mode, one):
                        list(pool.map(lambda raw: self._store(mode, one, raw, asked_at), page))  # noqa: B023
                        progress.seen[one.name] = progress.seen.get(one.name, 0) + len(page)
                        progress.after = page[-1]["id"]
                        progress.share = (number + self._reached(page[-1])) / len(todo)
                        self._note()
            except BaseException:
                # The pool waits for its threads, and a thread may wait for minutes.
                self._stopped.set()
                self._stop()
                raise
        progress.share = 1.0
        self._tell(progress)
        if self._kept is not None:
            self._kept.unlink(missing_ok=True)
        return progress

    def _pages(self, mode: Mode, one: List) -> Iterator[tuple[list[Raw], int]]:
        stripe, filters = self._services.stripe, dict(one.filters)
        while True:
            asked_at = int(self._services.clock())
            after = self.progress.after
            place = {} if after is None else {"starting_after": after}
            try:
                page = stripe.list_page(one.path, mode, **filters, **place)
            except StripeMissing:
                if after is None:
                    raise
                # Where we stopped was deleted meanwhile: the list from its beginning.
                self.progress.after = None
                continue
            if page["data"]:
                yield page["data"], asked_at
            if not page["has_more"] or not page["data"]:
                return

    def _store(self, mode: Mode, one: List, raw: Raw, asked_at: int) -> None:
        event = Event(
            id="",
            type="",
            created_at=asked_at,
            livemode=mode.livemode,
            account=mode.stripe_account,
            object=raw,
            before=None,
            previous={},
        )
        on_its_way = listed.Listed(event, self._tenant, self._services, stage=1, asked_at=asked_at)
        for attempt in range(ATTEMPTS):
            try:
                one.handle(on_its_way)
            except TryAgainLater:
                if attempt == ATTEMPTS - 1:
                    raise
                if self._stopped.wait(2**attempt):
                    raise
            except Unappliable as error:
                return self._leave_out(one, raw, str(error))
            except (StripeRefusal, StripeMissing) as error:
                return self._leave_out(one, raw, f"Stripe refuses: {error.reason}")
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                return self._leave_out(one, raw, f"malformed: {type(error).__name__}")
            else:
                return None
        return None

    def _leave_out(self, one: List, raw: Raw, reason: str) -> None:
        self.progress.left_out[reason] = self.progress.left_out.get(reason, 0) + 1
        self._complain(one.name, str(raw.get("id")), reason)

    def _reached(self, last: Raw) -> float:
        """How much of a list is done: lists begin with the newest object, and the oldest one of
        the account is known after the first list."""
        created, progress = last.get("created"), self.progress
        if not created:
            return 0.0
        known = progress.oldest_at
        progress.oldest_at = created if known is None else min(known, created)
        if known is None or progress.started_at <= known:
            return 0.0
        reached: float = (progress.started_at - created) / (progress.started_at - known)
        return min(1.0, max(0.0, reached))

    def _note(self) -> None:
        self._tell(self.progress)
        if self._kept is None:
            return
        keep(self._kept, self.progress)


# -- the command -----------------------------------------------------------------------------------


class NoAccount(Refused):
    """The store has no Stripe account to read."""


def services_of(parts: Composition, count: Callable[[str], None]) -> Services:
    """What events are applied with; what is due is left to the sweep."""
    return Services(
        records=parts.records,
        customers=parts.customers,
        products=parts.products,
        registry=parts.registry,
        stripe=parts.stripe,
        wake=lambda _: None,
        count=count,
    )


def modes_of(parts: Composition, tenant: Tenant) -> list[Mode]:
    """The connected modes of a store's account.

    Raises:
        NoAccount: the store has none. The platform's own account is the default store's only.
        Failure: the deployment has no key of Stripe's.
    """
    connection = parts.registry.of_store(tenant)
    if connection.account is None and tenant.store_id != parts.settings.default_store:
        raise NoAccount(
            f"The store {tenant.store_id} has no Stripe account: register one with `customers "
            f"store add {tenant.store_id} acct_…`"
        )
    keys = parts.secrets.get(parts.settings.stripe_api_secret_arn)
    modes = [
        Mode(livemode, connection.account)
        for name, livemode in (("live", True), ("test", False))
        if keys.get(name)
    ]
    if not modes:
        raise Failure("No mode of Stripe is connected: `customers doctor` says what to do")
    return modes


@command(app, again="it goes on where it stopped when it is run again")
def backfill(run: Run, store: Store, rate: Rate = REQUESTS_PER_SECOND) -> Exit:
    """Read a store's Stripe account into its records.

    It never overwrites what is newer, so it may run beside live webhooks, and twice. At the end the
    sweep runs. Stopped and run again, it goes on where it stopped.
    """
    tenant = Tenant(store)
    run.target.require(tenant)
    pace, counted = Pace(rate), Counter[str]()
    parts = run.target.composition(stripe_http=lambda: PacedClient(pace))
    modes = modes_of(parts, tenant)
    target = run.begin()
    with Display() as display:
        show = _showing(display)

        def complain(name: str, object_id: str, reason: str) -> None:
            display.note(f"{name} {object_id} is left out: {reason}")

        progress = Backfill(
            tenant,
            services_of(parts, lambda name: counted.update([name])),
            modes,
            kept=target.kept("backfill", tenant),
            tell=show,
            complain=complain,
            stop=pace.end,
        ).run()
    swept = target.sweep()
    for name, number in progress.seen.items():
        print(f"{number:>9,} {name}")
    for reason, number in progress.left_out.items():
        print(f"{number:>9,} left out: {reason}")
    for name, number in counted.items():
        print(f"{number:>9,} {name}")
    print(f"{pace.turns:,} requests to Stripe. The sweep did: {json.dumps(swept)}")
    return Exit.FOUND if progress.left_out else Exit.DONE


def _showing(display: Display) -> Callable[[Progress], None]:
    began = time.monotonic()
    before: int | None = None

    def show(progress: Progress) -> None:
        nonlocal before
        if before is None:
            before = progress.objects
        seconds = max(time.monotonic() - began, 0.001)
        rate = (progress.objects - before) / seconds
        display.show(
            progress.share, str(progress.step), f"{progress.objects:,} objects, {rate:,.0f}/s"
        )

    return show
