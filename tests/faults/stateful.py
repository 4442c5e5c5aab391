"""Everything at random: purchases, cancels, webhooks in any order, time, faults, outages."""

from __future__ import annotations

import functools
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from shared.domain.errors import CustomersError
from shared.storage.keys import purchase_key
from shared.storage.schedules import event_of
from tests.faults import invariants
from tests.faults.boundaries import (
    DYNAMODB,
    SCHEDULER,
    STRIPE,
    TELEGRAM,
    Boundary,
    Crash,
    Faults,
    Mode,
    Process,
    no_faults,
)
from tests.faults.model import Model
from tests.faults.operations import BUYER, CHAT_A, CHAT_B, OTHER, begin
from tests.faults.stripe_engine import DAY, PERIOD
from tests.faults.world import STORE, Delivery

COVERED: Counter[str] = Counter()
"""What all examples of this process have been through."""

ACCOUNT = "cus_1"
# A function is stopped by its timeout long before its leases and locks end: no pause is longer.
PAUSE_SECONDS = 15
# Mostly none, else that many of a hundred boundaries, by that seed.
faults = st.one_of(st.just((0, 0)), st.tuples(st.sampled_from([3, 10, 30]), st.integers(0, 10_000)))
users = st.sampled_from([BUYER, OTHER])
products = st.sampled_from(["prod_both", "prod_b"])
# A plan, another, and one of two items.
plans = st.sampled_from([("prod_both",), ("prod_b",), ("prod_a",), ("prod_a", "prod_b")])


def _plan(planned: tuple[int, int]) -> Faults:
    percent, seed = planned
    chance = random.Random(seed)

    def choose(_number: int, boundary: Boundary) -> Mode | None:
        return chance.choice(boundary.modes()) if chance.random() * 100 < percent else None

    return choose


@dataclass
class Paused:
    """A process that was stopped before a boundary, while others go on."""

    process: Process
    thread: threading.Thread
    since: float
    result: list[Any]
    finished: Callable[[Any], None]


class Everything(RuleBasedStateMachine):
    """One store for about two months."""

    purchases: Bundle[str] = Bundle("purchases")
    subscriptions: Bundle[str] = Bundle("subscriptions")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = self.stack.enter_context(begin("empty"))
        self.model = Model(self.world.truth.products, PERIOD)
        self.delivered: list[dict[str, Any]] = []
        self.number = 0
        self.paused: Paused | None = None

    def teardown(self) -> None:
        try:
            self.go_on(dies=False)
            self.come_to_rest()
        finally:
            COVERED["examples"] += 1
            COVERED["faults"] += self.world.faults
            COVERED["crashes"] += self.world.crashes
            COVERED["boundaries crossed"] += self.world.crossed
            self.stack.close()

    @property
    def now(self) -> int:
        return int(self.world.time.now)

    # -- buyers --------------------------------------------------------------------------------

    @initialize(target=subscriptions, product=products, user=users)
    def first(self, product: str, user: str) -> Any:
        return self._buy("subscription", user, product)

    @rule(
        target=subscriptions,
        product=products,
        user=users,
        trial=st.booleans(),
        heard=st.booleans(),
    )
    def subscribe(self, product: str, user: str, trial: bool, heard: bool) -> Any:
        if self.number >= 4:
            return multiple()
        name = self._buy("subscription", user, product, trial=trial)
        if heard:
            self.world.deliver_due()
        return name

    @rule(
        target=purchases,
        cart=plans,
        user=users,
        days=st.sampled_from([None, 1, 20]),
        heard=st.booleans(),
    )
    def pay_or_redeem(self, cart: tuple[str, ...], user: str, days: int | None, heard: bool) -> Any:
        if self.number >= 4:
            return multiple()
        if days is None:
            name = self._buy("one_off", user, *cart)
        else:
            name = self._buy("access_code", user, cart[0], days=days)
        if heard:
            self.world.deliver_due()
        return name

    def _buy(
        self, kind: str, user: str, *cart: str, trial: bool = False, days: int | None = None
    ) -> str:
        self.number += 1
        ends_at = self.now + PERIOD if kind == "subscription" else None
        if days is not None:
            ends_at = self.now + days * DAY
        status = "trialing" if trial else "active"
        name = self.world.buy(
            kind,
            f"p{self.number}",
            ACCOUNT,
            cart[0],
            user,
            *cart[1:],
            status=status,
            expires_at=ends_at,
        )
        short = "code" if kind == "access_code" else kind
        self.model.bought(name, short, cart, user, ends_at)
        return name

    @rule(name=subscriptions)
    def portal_cancel(self, name: str) -> None:
        self._time_is()
        self.world.outside(lambda s: s.portal_cancel(name))
        self.model.cancelled_in_portal(name)

    @rule(name=subscriptions)
    def portal_uncancel(self, name: str) -> None:
        self._time_is()
        self.world.outside(lambda s: s.portal_uncancel(name))
        self.model.taken_back(name, self.now)

    @rule(name=subscriptions)
    def dashboard_cancel(self, name: str) -> None:
        self._time_is()
        self.world.outside(lambda s: s.cancel_in_dashboard(name))
        self.model.cancelled_in_dashboard(name)

    @rule(name=subscriptions)
    def renew(self, name: str) -> None:
        self._time_is()
        self.world.outside(lambda s: s.renew_now(name))
        self.model.renewed(name, self.now)

    @rule(name=subscriptions, give_up=st.booleans())
    def payment_fails(self, name: str, give_up: bool) -> None:
        self._time_is()
        active = self.world.stripe.objects["subscription", name]["status"] == "active"
        self.world.outside(lambda s: s.fail_payment(name))
        if active:
            self.model.payment_failed(name)
        if give_up:
            self.world.outside(lambda s: s.give_up_collecting(name))
            self.model.given_up(name)

    @rule(name=st.one_of(purchases, subscriptions), user=users)
    def link(self, name: str, user: str) -> None:
        if name.startswith("cs_") or not self.world.is_live(name):
            return  # nobody links a purchase that is over
        self.world.link(name, user)
        self.model.linked(name, user)

    @rule(name=subscriptions)
    def unlink(self, name: str) -> None:
        if self.world.is_live(name):
            self.world.unlink(name)
            self.model.linked(name, None)

    @rule(name=subscriptions, plan=plans)
    def switch(self, name: str, plan: tuple[str, ...]) -> None:
        self._time_is()
        if self.world.is_live(name):
            self.world.switch(name, *plan)
            self.model.switched(name, plan)

    @rule(name=purchases)
    def refund(self, name: str) -> None:
        if name.startswith("pi_"):
            self.world.outside(lambda s: s.refund(name.removeprefix("pi_")))

    # -- the owner -----------------------------------------------------------------------------

    @rule(
        name=st.one_of(purchases, subscriptions),
        when=st.sampled_from(["immediately", "period_end"]),
        planned=faults,
    )
    def cancel(self, name: str, when: Any, planned: tuple[int, int]) -> None:
        self._time_is()
        result = self.world.run(lambda p: self.world.cancel(p, name, when), _plan(planned))
        self._answered(name, when, result)

    def _answered(self, name: str, when: Any, result: Any) -> None:
        if isinstance(result, CustomersError) and result.status < 500:
            answer = "refused"
        elif isinstance(result, (BaseException, Crash)):
            answer = "none"
        elif not result.changed:
            answer = "refused"
        else:
            answer = "accepted" if result.outstanding else "done"
        self.model.asked(name, when, answer)

    @rule(name=st.one_of(purchases, subscriptions), planned=faults)
    def revoke_again(self, name: str, planned: tuple[int, int]) -> None:
        self.world.run(lambda p: self.world.revoke_again(p, name), _plan(planned))

    @rule(planned=faults)
    def retry_all(self, planned: tuple[int, int]) -> None:
        self.world.run(self.world.retry_all, _plan(planned))

    # -- webhooks, schedules, sweeps -----------------------------------------------------------

    @rule(which=st.integers(0, 5), planned=faults)
    def deliver(self, which: int, planned: tuple[int, int]) -> None:
        """Any of those on their way, not the first one first."""
        if self.world.deliveries:
            delivery = self.world.deliveries[which % len(self.world.deliveries)]
            if self.world.deliver(delivery, _plan(planned)):
                self.delivered.append(delivery.event)

    @rule()
    def deliver_all(self) -> None:
        self.world.deliver_due()

    @precondition(lambda self: self.delivered)
    @rule(which=st.integers(0, 20))
    def deliver_twice(self, which: int) -> None:
        event = self.delivered[which % len(self.delivered)]
        self.world.deliveries.append(Delivery(event, self.world.time.now))

    @rule(name=st.one_of(purchases, subscriptions), planned=faults)
    def fire(self, name: str, planned: tuple[int, int]) -> None:
        """A schedule fires: too early, or again."""
        event = event_of(purchase_key(STORE, ACCOUNT, name))
        self.world.run(lambda p: self.world.fire(p, event), _plan(planned))

    @rule(doubled=st.booleans(), lost=st.booleans(), late=st.sampled_from([0, 600, DAY]))
    def scheduler_misbehaves(self, doubled: bool, lost: bool, late: int) -> None:
        scheduler = self.world.scheduler
        scheduler.doubled, scheduler.lost, scheduler.late_seconds = doubled, lost, late

    @rule(planned=faults)
    def sweep(self, planned: tuple[int, int]) -> None:
        self.world.run(self.world.sweep, _plan(planned))

    # -- processes that are stopped for a while ----------------------------------------------

    @rule(
        name=st.one_of(purchases, subscriptions),
        when=st.sampled_from(["immediately", "period_end"]),
        number=st.integers(0, 50),
    )
    def cancel_and_stop(self, name: str, when: Any, number: int) -> None:
        self._time_is()

        def finished(result: Any) -> None:
            # What happened meanwhile may have come before it or after.
            if not (isinstance(result, CustomersError) and result.status < 500):
                self._answered(name, when, Crash())

        self._stop(lambda p: self.world.cancel(p, name, when), number, finished)

    @rule(number=st.integers(0, 50))
    def sweep_and_stop(self, number: int) -> None:
        self._stop(self.world.sweep, number, lambda _: None)

    @rule(which=st.integers(0, 5), number=st.integers(0, 50))
    def deliver_and_stop(self, which: int, number: int) -> None:
        if not self.world.deliveries:
            return
        event = self.world.deliveries[which % len(self.world.deliveries)].event
        self._stop(lambda p: self.world.receive(p, event), number, lambda _: None)

    def _stop(
        self, run: Callable[[Process], Any], number: int, finished: Callable[[Any], None]
    ) -> None:
        self.go_on(dies=False)
        process = self.world.process()
        process.pause_at = number
        result: list[Any] = []

        def work() -> None:
            try:
                result.append(self.world.outcome(process, run))
            finally:
                process.paused.set()

        thread = threading.Thread(target=work)
        self.paused = Paused(process, thread, self.world.time.now, result, finished)
        thread.start()
        process.paused.wait()
        if result:
            self.go_on(dies=False)

    @rule(dies=st.booleans())
    def go_on(self, dies: bool) -> None:
        paused, self.paused = self.paused, None
        if paused is None:
            return
        paused.process.dies_after_pause = dies
        paused.process.go_on.set()
        paused.thread.join()
        COVERED["pauses"] += 1
        paused.finished(paused.result[0])

    # -- time, and what fails for a while ------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 10, 60, 3600]))
    def wait(self, seconds: int) -> None:
        if seconds > PAUSE_SECONDS:
            self.go_on(dies=False)
        self.world.time.now += seconds
        self._time_is()

    @rule(days=st.sampled_from([1, 10, 29, 31]))
    def days_pass(self, days: int) -> None:
        self.go_on(dies=False)
        self.world.settle(self.world.time.now + days * DAY)
        self._time_is()

    @rule(
        service=st.sampled_from([STRIPE, TELEGRAM, SCHEDULER, DYNAMODB]),
        seconds=st.sampled_from([30, 3600, 4 * DAY]),
    )
    def outage(self, service: str, seconds: int) -> None:
        if service == DYNAMODB:
            seconds = min(seconds, 30)
        self.world.down[service] = self.world.time.now + seconds

    @rule(chat=st.sampled_from([CHAT_A, CHAT_B]), may=st.booleans())
    def rights(self, chat: int, may: bool) -> None:
        self.world.telegram.set_bot(chat, can_restrict_members=may)

    def _time_is(self) -> None:
        """Stripe's clock and the model's are brought up to now."""
        self.world.outside(lambda s: s.run_due())
        self.model.time_is(self.now)

    # -- what must hold ------------------------------------------------------------------------

    @invariant()
    def nothing_forbidden_happened(self) -> None:
        assert self.world.truth.violations == []
        if self.paused is not None and self.world.time.now > self.paused.since + PAUSE_SECONDS:
            self.go_on(dies=False)

    def come_to_rest(self) -> None:
        world = self.world
        world.default_faults = no_faults
        world.down.clear()
        for chat in (CHAT_A, CHAT_B):
            world.telegram.set_bot(chat, can_restrict_members=True)
        world.settle(world.time.now + 2 * PERIOD + DAY)
        for record in invariants.records(world):
            if record.key.kind != "PURCHASE":
                continue
            removals = record.purchase.own.removals.values()
            if any(removal.state == "failed" for removal in removals):
                name = record.purchase.purchase_id
                world.run(functools.partial(world.revoke_again, purchase_id=name))
        world.settle(world.time.now + DAY)
        self._time_is()
        world.settle(world.time.now + DAY)
        wrong = invariants.check(world)
        live = set()
        for record in invariants.records(world):
            purchase = record.purchase if record.key.kind == "PURCHASE" else None
            if purchase is None or purchase.purchase_id not in self.model.purchases:
                continue
            name = purchase.purchase_id
            said = self.model.may_be(name, over=purchase.is_over, reason=purchase.end_reason)
            wrong += [] if said is None else [said]
            live |= set() if purchase.is_over else {name}
        admitted = self.model.admitted(live)
        for chat in (CHAT_A, CHAT_B):
            for user in (BUYER, OTHER):
                is_in = world.telegram.status_of(chat, int(user)) == "member"
                if is_in and (chat, user) not in admitted:
                    wrong.append(f"{user} is in {chat}")
        assert wrong == [], wrong
