"""What happened at Stripe arrives in any order: the same people leave, and the same is told.

Everything happens at Stripe first; then its events arrive one by one in some order, seconds apart,
while the revoker runs. Until it has arrived an event counts as undelivered, so that a look at
Stripe finds it. *Stripe's truth* is what its objects say, whatever has arrived: at every removal
it is asked whether the person may be there.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from shared.domain.history import facts
from standins.telegram.bot_api import LEFT, MEMBER
from tests.faults import invariants
from tests.faults.replay import Failure
from tests.faults.stripe_engine import DAY, LIVE, StripeEngine
from tests.faults.world import START, Delivery, VirtualTime, World, on_virtual_time

A, B, C = -1001000000001, -1001000000002, -1001000000003
ANN, BOB = "700001", "700002"
# Seconds between two events: within the time of settling, and beyond it.
GAPS = (20.0, 200.0)


@dataclass(frozen=True)
class Story:
    """Something that happened at Stripe.

    Attributes:
        steps: each after the other, minutes apart.
        stay: who is in which chats in the end; all of them are in all chats before.
        unheard: of so many first steps no event ever comes, and none counts as undelivered.
        at_once: the events come as things happen, half a minute apart, and in no other order.
        hidden_products: the key may not read products until all has come.
        rights_in: when the bot may remove people from the chats, in seconds after all has come.
    """

    name: str
    steps: tuple[Callable[[StripeEngine], None], ...]
    stay: dict[str, set[int]]
    unheard: int = 0
    at_once: bool = False
    hidden_products: bool = False
    rights_in: int = 0


def _product(name: str, *chats: int) -> Callable[[StripeEngine], None]:
    return lambda s: s.add_product(name, [str(chat) for chat in chats])


def _subscribe(id_: str, product: str, user: str | None = ANN, customer: str = "cus_1") -> Any:
    return lambda s: s.subscribe(id_, customer, product, user)


def _end(id_: str) -> Callable[[StripeEngine], None]:
    return lambda s: s.cancel_in_dashboard(id_)


STORIES = [
    Story(
        "swap",
        (
            _product("p", A),
            _subscribe("sub_1", "p"),
            _subscribe("sub_2", "p"),
            _end("sub_1"),
        ),
        {ANN: {A, B, C}},
    ),
    Story(
        "swap to another customer, and the end of that",
        (
            _product("p", A),
            _subscribe("sub_1", "p"),
            _subscribe("sub_2", "p", customer="cus_2"),
            _end("sub_1"),
            _end("sub_2"),
        ),
        {ANN: {B, C}},
    ),
    Story(
        "downgrade",
        (
            _product("dear", A, B),
            _product("cheap", B),
            _subscribe("sub_1", "dear"),
            lambda s: s.switch("sub_1", "cheap"),
        ),
        {ANN: {B, C}},
    ),
    Story(
        "down, up and down again",
        (
            _product("dear", A, B),
            _product("cheap", B),
            _subscribe("sub_1", "dear"),
            lambda s: s.switch("sub_1", "cheap"),
            lambda s: s.switch("sub_1", "dear"),
            lambda s: s.switch("sub_1", "cheap"),
        ),
        {ANN: {B, C}},
    ),
    Story(
        "an item more, an item less, the end",
        (
            _product("one", A),
            _product("two", B),
            _subscribe("sub_1", "one"),
            lambda s: s.switch("sub_1", "one", "two"),
            lambda s: s.switch("sub_1", "two"),
            _end("sub_1"),
        ),
        {ANN: {C}},
    ),
    Story(
        "another account, and back",
        (
            _product("p", A),
            _subscribe("sub_1", "p"),
            lambda s: s.link("subscription", "sub_1", BOB),
            lambda s: s.link("subscription", "sub_1", ANN),
        ),
        {ANN: {A, B, C}, BOB: {B, C}},
    ),
    Story(
        "taken off, and the end",
        (
            _product("p", A),
            _subscribe("sub_1", "p"),
            lambda s: s.unlink("sub_1"),
            _end("sub_1"),
        ),
        {ANN: {B, C}},
    ),
    Story(
        "a chat moves from one product to another",
        (
            _product("p", A),
            _product("q", B),
            _subscribe("sub_1", "p"),
            _subscribe("sub_2", "q"),
            lambda s: s.set_chats("p", str(C)),
            lambda s: s.set_chats("q", str(A), str(B)),
            _end("sub_1"),
        ),
        {ANN: {A, B}},
    ),
    Story(
        "chats told late",
        (
            _product("p"),
            lambda s: s.set_chats("p", str(A)),
            _subscribe("sub_1", "p"),
            _end("sub_1"),
        ),
        {ANN: {B, C}},
    ),
    Story(
        "a chat named by mistake before",
        (
            _product("p", A, B),
            lambda s: s.set_chats("p", str(B)),
            _subscribe("sub_1", "p"),
            _end("sub_1"),
        ),
        {ANN: {A, C}},
    ),
    Story(
        "a cart keeps what a subscription ends",
        (
            _product("p", A),
            _product("q", B),
            lambda s: s.pay_once("x", "cus_1", "p", ANN, "q"),
            _subscribe("sub_1", "p"),
            _end("sub_1"),
        ),
        {ANN: {A, B, C}},
    ),
    Story(
        "the old one ends before the new one begins",
        (
            _product("p", A),
            _subscribe("sub_1", "p"),
            _end("sub_1"),
            _subscribe("sub_2", "p"),
        ),
        {ANN: {A, B, C}},
        at_once=True,
    ),
    Story(
        "a product nobody told of",
        (
            _product("p", A),
            _subscribe("sub_1", "p"),
            _end("sub_1"),
        ),
        {ANN: {B, C}},
        unheard=1,
        hidden_products=True,
    ),
    Story(
        "one product id in both modes",
        (
            _product("p", A),
            lambda s: s.add_product("p", [str(B)], livemode=False),
            _subscribe("sub_1", "p"),
            lambda s: s.subscribe("sub_2", "cus_2", "p", BOB, livemode=False),
            _end("sub_1"),
            _end("test sub_2"),
        ),
        {ANN: {B, C}, BOB: {A, C}},
    ),
    Story(
        "the bot gets its rights back",
        (
            _product("p", A),
            _subscribe("sub_1", "p"),
            _end("sub_1"),
        ),
        {ANN: {B, C}},
        rights_in=DAY,
    ),
    Story(
        "a refund ends nothing",
        (
            _product("p", A),
            lambda s: s.pay_once("x", "cus_1", "p", ANN),
            lambda s: s.refund("x"),
            _subscribe("sub_1", "p"),
            _end("sub_1"),
        ),
        {ANN: {A, B, C}},
    ),
]


class StripeWorld(World):
    """A world whose removals are checked against Stripe's objects alone."""

    def admits(self, chat_id: int, user: str) -> list[str]:
        """Purchases that are live at Stripe and open a chat for a user."""
        return [
            id_
            for (kind, id_), found in self.stripe.objects.items()
            if kind in ("subscription", "session")
            and found["metadata"].get("telegram_user_id") == user
            and (kind == "session" or found["status"] in LIVE)
            and str(chat_id) in self._chats(kind, found)
        ]

    def _chats(self, kind: str, found: dict[str, Any]) -> set[str]:
        mode = "" if found["livemode"] else "test "
        if kind == "subscription":
            products = [item["price"]["product"] for item in found["items"]["data"]]
        else:
            products = found["cart"] or [found["metadata"]["product_id"]]
        texts = (
            self.stripe.objects["product", mode + product]["metadata"]["telegram_chat_ids"]
            for product in products
        )
        return {chat for text in texts for chat in text.split(",")}

    def telegram_call(self, token: str, method: str, params: dict[str, Any]) -> tuple[int, Any]:
        before = self._status(params)
        answer = self.telegram.call(token, method, params)
        if method == "unbanChatMember" and before == MEMBER and self._status(params) != MEMBER:
            chat_id, user = int(params["chat_id"]), str(params["user_id"])
            self.truth.removals += 1
            if admitting := self.admits(chat_id, user):
                self.truth.violations.append(f"{user} removed from {chat_id}: {admitting} live")
        return answer.status, answer.body

    def _learn(self, event: dict[str, Any]) -> None:
        """Everybody is in from the beginning."""

    def _hear(self, event: dict[str, Any]) -> None:
        """Nothing is believed of what arrives."""


@dataclass
class Ended:
    """What came of a story.

    Attributes:
        members: who is in which chats.
        told: the facts in the history of every purchase.
        violations: removals that Stripe's truth forbids.
    """

    members: dict[str, set[int]]
    told: dict[str, list[tuple[Any, ...]]]
    violations: list[str] = field(default_factory=list)


def happened(story: Story, time: VirtualTime) -> StripeWorld:
    """The world after all of it happened at Stripe, with no event on its way yet."""
    world = StripeWorld(time)
    time.now = START
    for chat_id in (A, B, C):
        members = {int(user): MEMBER for user in story.stay}
        world.telegram.add_chat(chat_id, members=members)
    world.stripe.now = int(time.now)
    for customer in ("cus_1", "cus_2"):
        world.stripe.add_customer(customer)
    events, world.stripe.outbox = world.stripe.outbox, []
    for event in events:
        _arrive(world, event)
    if story.rights_in:
        for chat_id in world.telegram.chats:
            world.telegram.set_bot(chat_id, can_restrict_members=False)
    if story.hidden_products:
        world.stripe.refused.add("product")
    if story.at_once:
        return world
    for number, step in enumerate(story.steps):
        time.now += 120
        world.stripe.now = int(time.now)
        step(world.stripe)
        if number < story.unheard:
            world.stripe.outbox.clear()
            world.stripe.undelivered.clear()
    time.now += 120
    return world


def _arrive(world: StripeWorld, event: dict[str, Any]) -> None:
    """An event comes; one that is refused comes again by itself."""
    delivery = Delivery(event, world.time.now)
    world.deliveries.append(delivery)
    world.deliver(delivery)


@dataclass(frozen=True)
class Arrival:
    """How the events of a story arrive.

    Attributes:
        order: which event comes at which place; ``0`` is the one that Stripe made first. An event
            may come twice.
        gap: seconds between two events.
    """

    order: tuple[int, ...]
    gap: float = GAPS[0]

    def simpler(self) -> Iterator[Arrival]:
        """Arrivals that are one step nearer to Stripe's own order, with every event in it once."""
        for place, event in enumerate(self.order):
            if event in self.order[:place]:
                yield replace(self, order=self.order[:place] + self.order[place + 1 :])
        for place, (one, other) in enumerate(itertools.pairwise(self.order)):
            if one > other:
                swapped = (*self.order[:place], other, one, *self.order[place + 2 :])
                yield replace(self, order=swapped)


def in_order(story: Story) -> Arrival:
    """The arrival of the events in Stripe's own order."""
    with on_virtual_time() as time:
        return Arrival(tuple(range(len(happened(story, time).stripe.outbox))))


def told_in(story: Story, arrival: Arrival) -> Ended:
    """What comes of a story whose events arrive in an order."""
    with on_virtual_time() as time:
        world = happened(story, time)
        if story.at_once:
            for step in story.steps:
                world.outside(step)
                world.settle(time.now + 30)
        events, world.stripe.outbox = world.stripe.outbox, []
        for place in arrival.order:
            _arrive(world, events[place])
            world.settle(time.now + arrival.gap)
        world.settle(time.now + max(story.rights_in, 3600))
        world.stripe.refused.clear()
        for chat_id in world.telegram.chats:
            world.telegram.set_bot(chat_id, can_restrict_members=True)
        world.settle(time.now + 2 * DAY)
        members = {
            user: {
                chat_id
                for chat_id in world.telegram.chats
                if world.telegram.status_of(chat_id, int(user)) not in (None, LEFT)
            }
            for user in story.stay
        }
        told = {
            record.purchase.purchase_id: [
                (entry.at, entry.cause, entry.actor, entry.event, entry.detail)
                for entry in facts(record.purchase)
            ]
            for record in invariants.records(world)
            if record.key.kind == "PURCHASE"
        }
        return Ended(members, told, list(world.truth.violations))


@dataclass(frozen=True)
class Examiner:
    """Compares what comes of a story in one order and another.

    Attributes:
        wanted: what comes of it in Stripe's own order.
    """

    story: Story
    wanted: Ended

    @classmethod
    def of(cls, story: Story) -> Examiner:
        return cls(story, told_in(story, in_order(story)))

    def failure(self, arrival: Arrival) -> Failure | None:
        """What is wrong about an arrival; ``None``: nothing."""
        ended = told_in(self.story, arrival)
        wrong = [*ended.violations]
        if ended.members != self.story.stay:
            wrong.append(f"in the chats are {ended.members}, and should be {self.story.stay}")
        if ended.told != self.wanted.told:
            wrong.append(f"told was {ended.told}, and should be {self.wanted.told}")
        if not wrong:
            return None
        run = {"order": arrival.order, "gap": arrival.gap}
        return Failure(f"{self.story.name}, {run}: {'; '.join(wrong)}", run)

    def failures(self, sample: int | None) -> Iterator[Failure | None]:
        """The failure of every arrival, or of so many of them; Stripe's own order comes first."""
        first = in_order(self.story)
        yield self.failure(first)
        if self.story.at_once:
            return
        for turn, order in enumerate(orders(len(first.order), sample, self.story.name)):
            yield self.failure(Arrival(order, GAPS[turn % len(GAPS)]))

    def replay(self, run: dict[str, Any]) -> Failure | None:
        """Repeat one run: an :class:`Arrival` as JSON."""
        return self.failure(Arrival(tuple(run["order"]), run["gap"]))

    def shrunk(self, failure: Failure) -> Failure:
        """The same story's failure nearest to Stripe's own order that a greedy search finds.

        No event is left out: without one of its events a story ends otherwise, and rightly so.
        """
        arrival = Arrival(**failure.run)
        while True:
            for simpler in arrival.simpler():
                if found := self.failure(simpler):
                    failure, arrival = found, simpler
                    break
            else:
                return failure


def orders(events: int, sample: int | None, seed: str) -> Iterator[tuple[int, ...]]:
    """Every order of so many events, or a sample; some of them with events that come twice."""
    every = list(itertools.permutations(range(events)))
    dice = random.Random(seed)
    chosen = every if sample is None or sample >= len(every) else dice.sample(every, sample)
    for number, order in enumerate(chosen):
        twice = dice.choices(order, k=2) if order and number % 3 == 0 else []
        yield (*order, *twice)
