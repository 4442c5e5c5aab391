"""Where the suites begin, and what they do there: worlds, operations, and events from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from shared.domain.errors import PeriodEndNotAvailable, PurchaseAlreadyEnded
from shared.domain.purchase import When
from shared.tenant import Tenant
from standins.telegram.bot_api import ADMINISTRATOR, CREATOR, KICKED, MEMBER
from tests.faults import invariants
from tests.faults.boundaries import Process
from tests.faults.stripe_engine import DAY, PERIOD
from tests.faults.world import START, STORE, VirtualTime, World, on_virtual_time

CHAT_A, CHAT_B, CHAT_C = -1001000000001, -1001000000002, -1001000000003
BUYER, OTHER, STRANGER = "700001", "700002", "700009"
"""The buyer things happen to; another account of hers; somebody else who must not be touched."""
SETUP_SECONDS = 3600
CODE_ENDS = START + 20 * DAY
PERIOD_ENDS = START - SETUP_SECONDS + PERIOD + 2
NEVER = START + 4000 * DAY
REST = START + 70 * DAY
"""When everything has come to rest: two months are over."""


@dataclass(frozen=True)
class Operation:
    """One run of a function.

    Attributes:
        world: name of the world it begins in.
        run: what the process does.
        again: a caller who got no answer asks again; webhooks, schedules and the sweep come
            again by themselves.
    """

    name: str
    world: str
    run: Callable[[World, Process], Any]
    again: bool = False


# -- worlds ----------------------------------------------------------------------------------------


def _empty(time: VirtualTime) -> World:
    world = World(time)
    time.now = START - SETUP_SECONDS
    for chat_id in (CHAT_A, CHAT_B):
        members = {1: CREATOR, 2: ADMINISTRATOR, 3: MEMBER, 4: KICKED}
        world.telegram.add_chat(chat_id, members=members)
        for user, status in members.items():
            world.truth.guests_of_chats[chat_id, user] = status
    products = {"prod_both": [CHAT_A, CHAT_B], "prod_a": [CHAT_A], "prod_b": [CHAT_B]}
    for product, chats in products.items():
        world.truth.products[product] = chats
        texts = [str(chat) for chat in chats]
        world.outside(lambda s, product=product, texts=texts: s.add_product(product, texts))  # type: ignore[misc]
    for account in ("cus_1", "cus_2"):
        world.outside(lambda s, account=account: s.add_customer(account))  # type: ignore[misc]
    world.buy("subscription", "stranger", "cus_2", "prod_both", STRANGER)
    return world


def _subscription(status: str) -> Callable[[World], None]:
    return lambda world: _bought(world, "subscription", status=status)


def _bought(world: World, kind: str, **more: Any) -> None:
    world.buy(kind, "x", "cus_1", "prod_both", BUYER, **more)


def _past_due(world: World) -> None:
    _bought(world, "subscription")
    world.outside(lambda s: s.fail_payment("sub_x"))


def _scheduled_by(who: str) -> Callable[[World], None]:
    def build(world: World) -> None:
        _bought(world, "subscription")
        arrive(world)
        if who == "portal":
            world.outside(lambda s: s.portal_cancel("sub_x"))
        else:
            world.run(lambda p: world.cancel(p, "sub_x", "period_end"))

    return build


def _two(world: World) -> None:
    _bought(world, "subscription")
    world.buy("one_off", "y", "cus_1", "prod_b", BUYER)


def _failed(world: World) -> None:
    """The bot had no rights when the buyer had to leave; it has them again."""
    _bought(world, "one_off")
    arrive(world)
    for chat_id in (CHAT_A, CHAT_B):
        world.telegram.set_bot(chat_id, can_restrict_members=False)
    world.run(lambda p: world.cancel(p, "pi_x", "immediately"))
    world.settle(world.time.now + 60)
    for chat_id in (CHAT_A, CHAT_B):
        world.telegram.set_bot(chat_id, can_restrict_members=True)


def _refused(world: World) -> None:
    """The buyer was an administrator when she had to leave; she is a member again."""
    _bought(world, "one_off")
    arrive(world)
    for chat_id in (CHAT_A, CHAT_B):
        world.telegram.set_member(chat_id, int(BUYER), status=ADMINISTRATOR)
    world.run(lambda p: world.cancel(p, "pi_x", "immediately"))
    world.settle(world.time.now + 60)
    for chat_id in (CHAT_A, CHAT_B):
        world.telegram.set_member(chat_id, int(BUYER), status=MEMBER)


def _taken_back_unheard(world: World) -> None:
    """The buyer has taken the cancel back; the event comes only after the end."""
    _scheduled_by("portal")(world)
    arrive(world)
    world.time.now = START + DAY
    world.outside(lambda s: s.portal_uncancel("sub_x"))
    for delivery in world.deliveries:
        delivery.next_at = PERIOD_ENDS + 2 * 3600


def _unseen(world: World) -> None:
    """The bot is to look at the chats; in one of them it has no rights."""
    _bought(world, "subscription")
    arrive(world)
    world.time.now = START
    look_at_chats(world, START)
    world.telegram.set_bot(CHAT_B, can_restrict_members=False)


def _unproven(world: World) -> None:
    """There is a second store, and a chat that nobody has. The bot has found that it is not proven
    whose it is; by now its creator is registered as an owner of the store that names it."""
    world.telegram.add_chat(CHAT_C, members={1: CREATOR})
    world.run(lambda p: world.registry(p).register(Tenant("other"), "acct_other"))
    world.truth.products["prod_c"] = [CHAT_C]
    world.outside(lambda s: s.add_product("prod_c", [str(CHAT_C)]))
    arrive(world)

    def is_registered(process: Process) -> None:
        world.registry(process).add_telegram_owner(STORE, "1")
        world.chats(process).look_again(STORE, str(CHAT_C), int(world.time.now))

    world.run(is_registered)


def _settling(world: World) -> None:
    """Linked to another account, and told of it: the former one leaves once that has settled."""
    _bought(world, "subscription")
    arrive(world)
    world.time.now = START
    world.link("sub_x", OTHER)
    arrive(world)


def _reordered(seconds: int) -> Callable[[World], None]:
    """Cancelled in the portal, taken back, and linked to another account: the last comes first."""

    def build(world: World) -> None:
        _bought(world, "subscription")
        arrive(world)
        world.time.now = START
        world.outside(lambda s: s.portal_cancel("sub_x"))
        world.time.now += seconds
        world.outside(lambda s: s.portal_uncancel("sub_x"))
        world.time.now += seconds
        world.link("sub_x", OTHER)
        world.deliveries.reverse()

    return build


def _on_its_way(change: Callable[[World], None], kind: str = "subscription") -> Any:
    """Something happened at Stripe, and its first event has not arrived yet."""

    def build(world: World) -> None:
        if kind:
            _bought(world, kind)
            arrive(world)
        world.time.now = START
        change(world)

    return build


WORLDS: dict[str, Callable[[World], None]] = {
    "empty": lambda world: None,
    "active": _subscription("active"),
    "trialing": _subscription("trialing"),
    "past_due": _past_due,
    "scheduled": _scheduled_by("owner"),
    "portal": _scheduled_by("portal"),
    "one_off": lambda world: _bought(world, "one_off"),
    "code": lambda world: _bought(world, "access_code", expires_at=CODE_ENDS),
    "code_for_life": lambda world: _bought(world, "access_code"),
    "two": _two,
    "failed": _failed,
    "refused": _refused,
    "ended": _on_its_way(lambda w: w.outside(lambda s: s.cancel_in_dashboard("sub_x"))),
    "portal_cancelled": _on_its_way(lambda w: w.outside(lambda s: s.portal_cancel("sub_x"))),
    "relinked": _on_its_way(lambda w: w.link("sub_x", OTHER)),
    "relinked_one_off": _on_its_way(lambda w: w.link("pi_x", OTHER), "one_off"),
    "refunded": _on_its_way(lambda w: w.outside(lambda s: s.refund("x")), "one_off"),
    "bought": _on_its_way(lambda w: _bought(w, "subscription"), ""),
    "bought_once": _on_its_way(lambda w: _bought(w, "one_off"), ""),
    "redeemed": _on_its_way(lambda w: _bought(w, "access_code", expires_at=CODE_ENDS), ""),
    "reordered": _reordered(90),
    "reordered_at_once": _reordered(0),
    "taken_back": _taken_back_unheard,
    "settling": _settling,
    "unseen": _unseen,
    "unproven": _unproven,
}
_ON_THEIR_WAY = (
    "ended",
    "portal_cancelled",
    "relinked",
    "relinked_one_off",
    "refunded",
    "bought",
    "bought_once",
    "redeemed",
    "reordered",
    "reordered_at_once",
)
# Where nothing is to happen before the operation begins.
_UNHEARD = ("taken_back", "unseen", "unproven", "failed", "refused")


def look_at_chats(world: World, at: float) -> None:
    """Have the bot look at the chats at ``at``. It looks daily, which is tried where it is what
    happens, and left out elsewhere."""
    for chat_id in (CHAT_A, CHAT_B):
        world.run(lambda p, chat=str(chat_id): world.chats(p).look_again(STORE, chat, int(at)))  # type: ignore[misc]


def arrive(world: World) -> None:
    """Everything on its way arrives."""
    world.settle(world.time.now + 1)
    assert not world.deliveries, "the setup failed"


@cache
def _built(name: str) -> tuple[World, float]:
    with on_virtual_time() as time:
        world = _empty(time)
        arrive(world)
        look_at_chats(world, NEVER)
        WORLDS[name](world)
        if name not in (*_ON_THEIR_WAY, *_UNHEARD):
            arrive(world)
        time.now = max(time.now, START)
        assert world.truth.violations == []
        return world, time.now


@contextmanager
def begin(name: str) -> Iterator[World]:
    """A fresh copy of a world, on virtual time."""
    built, now = _built(name)
    with on_virtual_time() as time:
        time.now = now
        world = built.fork()
        world.time = time
        world.faults = world.crashes = world.crossed = 0
        yield world


# -- operations -----------------------------------------------------------------------------------


def _cancel(purchase_id: str, when: When) -> Callable[[World, Process], Any]:
    return lambda world, process: world.cancel(process, purchase_id, when)


def _at_the_end(run: Callable[[World, Process], Any], at: int) -> Callable[[World, Process], Any]:
    def later(world: World, process: Process) -> Any:
        world.time.now = max(world.time.now, float(at))
        return run(world, process)

    return later


def _first_event(world: World, process: Process) -> Any:
    delivery = world.deliveries[0]
    result = world.receive(process, delivery.event)
    world.deliveries.remove(delivery)
    world._learn(delivery.event)
    return result


def _fire(world: World, process: Process) -> Any:
    (event,) = world.scheduler.fire_due(world.time.now)
    return world.fire(process, event)


def _again(world: World, process: Process) -> Any:
    return world.revoke_again(process, "pi_x")


OPERATIONS = [
    *(
        Operation(f"cancel now, {world}", world, _cancel(purchase_id, "immediately"), again=True)
        for world, purchase_id in {
            "active": "sub_x",
            "trialing": "sub_x",
            "past_due": "sub_x",
            "scheduled": "sub_x",
            "portal": "sub_x",
            "one_off": "pi_x",
            "code": "cs_x",
            "code_for_life": "cs_x",
            "two": "sub_x",
        }.items()
    ),
    *(
        Operation(f"cancel at period end, {world}", world, _cancel("sub_x", "period_end"), True)
        for world in ("active", "trialing", "past_due", "portal")
    ),
    Operation("revocation, refused", "refused", _again, again=True),
    Operation("sweep, the rights are back", "failed", lambda w, p: w.sweep(p)),
    Operation("retry of all, refused", "refused", lambda w, p: w.retry_all(p), again=True),
    Operation("sweep, the chats are looked at", "unseen", lambda w, p: w.sweep(p)),
    Operation("sweep, a chat is proven", "unproven", lambda w, p: w.sweep(p)),
    *(Operation(f"webhook, {world}", world, _first_event) for world in _ON_THEIR_WAY),
    *(
        Operation(
            f"sweep at the end, {world}",
            world,
            _at_the_end(lambda w, p: w.sweep(p), CODE_ENDS if world == "code" else PERIOD_ENDS),
        )
        for world in ("scheduled", "portal", "code", "taken_back")
    ),
    Operation(
        "sweep once settled, relinked",
        "settling",
        _at_the_end(lambda w, p: w.sweep(p), START + 100),
    ),
    *(
        Operation(
            f"schedule at the end, {world}",
            world,
            _at_the_end(_fire, CODE_ENDS if world == "code" else PERIOD_ENDS),
        )
        for world in ("scheduled", "portal", "code")
    ),
]


def recover(world: World, operation: Operation, result: Any, *, lenient: bool = False) -> None:
    """Let time pass without faults; who got no answer asks again.

    Args:
        lenient: something else may have ended the purchase meanwhile.
    """
    world.default_faults = lambda _number, _boundary: None
    if operation.again and isinstance(result, BaseException):
        for _ in range(20):
            world.settle(world.time.now + 61)
            result = world.run(lambda process: operation.run(world, process))
            if not isinstance(result, BaseException):
                break
            if lenient and isinstance(result, (PurchaseAlreadyEnded, PeriodEndNotAvailable)):
                break
        else:
            world.truth.violations.append(f"asked again in vain: {result!r}")
    # Later looks at Stripe may mend what was wrong until then.
    world.settle(world.time.now + 3600)
    world.truth.violations += invariants.unlike_stripe(world)
    world.settle(REST)
