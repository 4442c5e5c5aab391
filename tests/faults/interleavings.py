"""One operation is stopped before a boundary, others run to their ends, and it goes on or dies."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from shared.storage.keys import purchase_key
from shared.storage.schedules import event_of
from tests.faults import invariants
from tests.faults.boundaries import Process
from tests.faults.crashes import Covered, undisturbed
from tests.faults.operations import BUYER, OTHER, Operation, begin, recover
from tests.faults.replay import Failure
from tests.faults.world import STORE, World

Other = Callable[[World], Any]
"""Something else that happens, from beginning to end."""


def _purchase(world: World) -> str:
    return next(name for name in world.truth.purchases if name.endswith("_x"))


def _subscription(world: World) -> str | None:
    name = _purchase(world)
    return name if name.startswith("sub_") else None


def cancel_now(world: World) -> None:
    world.run(lambda process: world.cancel(process, _purchase(world), "immediately"))


def cancel_at_period_end(world: World) -> None:
    world.run(lambda process: world.cancel(process, _purchase(world), "period_end"))


def _in_stripe(change: Callable[[World, str], None], *, heard: bool = True) -> Other:
    def happen(world: World) -> None:
        name = _subscription(world)
        if name is None:
            return
        change(world, name)
        if heard:
            world.deliver_due()

    return happen


def portal_cancel(world: World, name: str) -> None:
    world.outside(lambda s: s.portal_cancel(name))


def portal_uncancel(world: World, name: str) -> None:
    world.outside(lambda s: s.portal_uncancel(name))


def dashboard_cancel(world: World, name: str) -> None:
    world.outside(lambda s: s.cancel_in_dashboard(name))


def renewal(world: World, name: str) -> None:
    world.outside(lambda s: s.renew_now(name))


def payment_failed(world: World, name: str) -> None:
    world.outside(lambda s: s.fail_payment(name))
    world.time.now += 1
    world.outside(lambda s: s.give_up_collecting(name))


def repurchase(world: World) -> None:
    """The same buyer buys something that opens one of the chats."""
    world.buy("subscription", "again", "cus_1", "prod_b", BUYER)
    world.deliver_due()


def repurchase_once(world: World) -> None:
    world.buy("one_off", "again", "cus_1", "prod_both", BUYER)
    world.deliver_due()


def link_to_other(world: World) -> None:
    name = _purchase(world)
    if world.truth.purchases[name][1] == "access_code" or not world.is_live(name):
        return  # nobody links a purchase that is over
    world.link(_purchase(world), OTHER)
    world.deliver_due()


def link_there_and_back(world: World) -> None:
    link_to_other(world)
    if world.truth.users[_purchase(world)] == OTHER:
        world.link(_purchase(world), BUYER)
        world.deliver_due()


def link_back_and_there_again(world: World) -> None:
    """Whoever had to leave before comes in again, and has to leave a second time."""
    name = _purchase(world)
    if world.truth.users[name] != OTHER or not world.is_live(name):
        return
    for user in (BUYER, OTHER):
        world.link(name, user)
        world.deliver_due()
        world.time.now += 2


def refund(world: World) -> None:
    if _purchase(world) == "pi_x":
        world.outside(lambda s: s.refund("x"))
        world.deliver_due()


def early_schedule(world: World) -> None:
    """A schedule of before fires although nothing is due."""
    key = purchase_key(STORE, "cus_1", _purchase(world))
    world.run(lambda process: world.fire(process, event_of(key)))


def double_schedule(world: World) -> None:
    early_schedule(world)
    early_schedule(world)


def missing_schedule(world: World) -> None:
    world.scheduler.schedules.clear()


def sweep(world: World) -> None:
    world.run(world.sweep)


def half_a_minute(world: World) -> None:
    """Time passes, shorter than a lease, and the sweep comes by."""
    world.time.now += 20
    world.deliver_due()
    sweep(world)


OTHERS: dict[str, Other] = {
    "cancel now": cancel_now,
    "cancel at period end": cancel_at_period_end,
    "portal cancel": _in_stripe(portal_cancel),
    "portal cancel, unheard": _in_stripe(portal_cancel, heard=False),
    "un-cancel": _in_stripe(portal_uncancel),
    "un-cancel, unheard": _in_stripe(portal_uncancel, heard=False),
    "dashboard cancel": _in_stripe(dashboard_cancel),
    "dashboard cancel, unheard": _in_stripe(dashboard_cancel, heard=False),
    "renewal": _in_stripe(renewal),
    "payment failed for good": _in_stripe(payment_failed),
    "repurchase": repurchase,
    "repurchase, one-off": repurchase_once,
    "link to another": link_to_other,
    "link there and back": link_there_and_back,
    "link back and there again": link_back_and_there_again,
    "refund": refund,
    "early schedule": early_schedule,
    "double schedule": double_schedule,
    "missing schedule": missing_schedule,
    "sweep": sweep,
    "half a minute": half_a_minute,
}


def interleave(
    operation: Operation,
    number: int,
    others: list[Other],
    *,
    dies: bool,
    unless_idle: bool = False,
) -> tuple[list[str], bool]:
    """One run: the invariants it breaks, and whether the others had nothing to do.

    Args:
        unless_idle: a run in which they had nothing to do is broken off; it would go on exactly
            as the last one of those did.
    """
    with begin(operation.world) as world:
        process = world.process()
        process.pause_at, process.dies_after_pause = number, dies
        idle = False

        def happen() -> None:
            nonlocal idle
            before = world.moment()
            for other in others:
                other(world)
            idle = world.moment() == before
            process.dies_after_pause = dies or (idle and unless_idle)

        result = _stopped(world, operation, process, happen)
        if idle and unless_idle:
            return [], idle
        recover(world, operation, result, lenient=True)
        return invariants.check(world), idle


def _stopped(
    world: World, operation: Operation, process: Process, happen: Callable[[], None]
) -> Any:
    results: list[Any] = []
    stopped = threading.Event()
    process.paused = stopped

    def run() -> None:
        try:
            results.append(world.outcome(process, lambda p: operation.run(world, p)))
        finally:
            stopped.set()

    thread = threading.Thread(target=run)
    thread.start()
    stopped.wait()
    try:
        happen()
    finally:
        process.go_on.set()
        thread.join()
    return results[0]


@dataclass(frozen=True)
class Stop:
    """One run of an operation that is stopped.

    Attributes:
        number: the boundary before which it is stopped.
        others: what happens meanwhile.
        dies: it dies then, instead of going on.
    """

    number: int
    others: tuple[str, ...]
    dies: bool

    def failure(self, operation: Operation, broken: list[str]) -> Failure:
        boundary = undisturbed(operation).boundaries[self.number]
        where = f"{self.number} ({boundary.service} {boundary.call})"
        how = "dies" if self.dies else "goes on"
        what = f"{operation.name} before {where}, {', '.join(self.others)}, {how}: {broken[:3]}"
        return Failure(what, asdict(self))


def examine(
    operation: Operation, stop: Stop, *, covered: Covered, unless_idle: bool = False
) -> bool:
    """Make one run, and note whether it breaks an invariant.

    Returns:
        Whether the others had nothing to do.
    """
    covered.runs += 1
    covered.crashes += stop.dies
    covered.boundaries[undisturbed(operation).boundaries[stop.number].service] += 1
    others = [OTHERS[name] for name in stop.others]
    broken, idle = interleave(
        operation, stop.number, others, dies=stop.dies, unless_idle=unless_idle
    )
    covered.idle += idle
    if broken:
        covered.failures.append(stop.failure(operation, broken))
    return idle


def explore(operation: Operation, names: Iterable[str], *, enough: int | None = None) -> Covered:
    """Every boundary of an operation × others × going on or dying.

    Some have nothing to do at some boundaries (a purchase that is cancelled is not cancelled in
    the portal). The first of those is run to its end; the same run is not repeated for the next.
    """
    covered = Covered(enough=enough)
    for number in range(len(undisturbed(operation).boundaries)):
        is_known = {False: False, True: False}
        for name in names:
            for dies in (False, True):
                if covered.has_enough:
                    return covered
                stop = Stop(number, (name,), dies)
                is_known[dies] |= examine(
                    operation, stop, covered=covered, unless_idle=is_known[dies]
                )
    return covered


def triples(operation: Operation, *, sample: int) -> Covered:
    """A sample of runs in which two others happen, one after the other."""
    chance = random.Random(operation.name)
    covered = Covered()
    for _ in range(sample):
        number = chance.randrange(len(undisturbed(operation).boundaries))
        names = chance.sample(list(OTHERS), 2)
        examine(operation, Stop(number, tuple(names), chance.random() < 0.5), covered=covered)
    return covered


def replay(operation: Operation, run_of: dict[str, Any]) -> Covered:
    """Repeat one run: a :class:`Stop` as JSON."""
    covered = Covered()
    stop = Stop(**{**run_of, "others": tuple(run_of["others"])})
    examine(operation, stop, covered=covered)
    return covered


def shrunk(operation: Operation, failure: Failure) -> Failure:
    """The same failure with one other operation, if one of the two is enough."""
    names = failure.run["others"]
    for name in names if len(names) > 1 else []:
        if found := replay(operation, {**failure.run, "others": [name]}).failures:
            return found[0]
    return failure
