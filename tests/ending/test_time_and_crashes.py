"""A removal takes no longer than there is time, survives crashes, and keeps to Telegram's pace."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from shared.domain.merge import Observation
from shared.domain.purchase import Removal
from shared.ending import removal as removals
from shared.ending.removal import AccessRemover
from shared.integrations.telegram_gateway import TelegramGateway
from shared.storage.keys import Key, product_key, purchase_key
from shared.storage.records import Records
from tests.builders import NOW, subscription_data
from tests.dynamo import Tables
from tests.ending.removal_world import CHAT, DEMO, SECOND, USER, Telegram, Tokens, World, linked
from tests.storage.owners import store_chats

# -- time ---------------------------------------------------------------------------------------


def test_a_person_is_not_kept_waiting_beyond_the_deadline(world: World) -> None:
    key = world.ended()
    for seconds in (0.0, 0.3, 1.0, 2.0, 4.0):
        world.telegram.seconds = {"getChatMember": 0.2, "unbanChatMember": 1.2}
        began = world.time()
        removal = world.remove(key, seconds=seconds, interactive=True)
        assert world.time() - began <= seconds
        assert (removal.next_attempt_at or world.time() + 1) > world.time()
    assert removal.state == "revoked"


def test_a_person_does_not_wait_for_slots_that_stay_taken(world: World) -> None:
    for owner in ("a", "b"):
        world.remover.bot.take_slot(owner, until=world.time() + 60, interactive=False)
    began = world.time()
    removal = world.remove(world.ended(), interactive=True)
    assert world.time() - began < removals.INTERACTIVE_PATIENCE_SECONDS + 0.5
    assert (removal.state, removal.wait, removal.attempts) == ("revoking", 5, 0)


def test_a_slot_that_becomes_free_goes_to_the_person_and_not_to_the_queue(world: World) -> None:
    bot = world.remover.bot
    for owner in ("a", "b"):
        bot.take_slot(owner, until=world.time() + 60, interactive=False)
    queue: list[str | None] = []

    def sleep(seconds: float) -> None:
        world.time.sleep(seconds)
        bot.give_slot_back("SLOT#1", "b")
        queue.append(bot.take_slot("c", until=world.time() + 60, interactive=False))

    world.remover.sleep = sleep
    assert world.remove(world.ended(), interactive=True).state == "revoked"
    assert queue == [None]


def test_those_in_the_queue_that_find_no_slot_are_spread_over_time(world: World) -> None:
    for owner in ("a", "b"):
        world.remover.bot.take_slot(owner, until=world.time() + 600, interactive=False)
    world.product("prod_1", *(f"-100100000010{i}" for i in range(9)))
    key = world.ended()
    removals = [world.remove(key, chat=f"-100100000010{i}") for i in range(9)]
    nexts = [removal.next_attempt_at or 0 for removal in removals]
    assert nexts == sorted(nexts)
    assert {removal.state for removal in removals} == {"revoking"}


def test_a_call_that_hangs_leaves_the_others_their_time(world: World) -> None:
    seen: list[float] = []
    send = world.telegram.send

    def spy(request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        seen.append(more["timeout"].total)
        return send(request, *args, **more)

    world.telegram.send = spy  # type: ignore[method-assign]
    world.remove(world.ended(), seconds=9, interactive=True)
    assert max(seen) == removals.INTERACTIVE_CALL_SECONDS
    seen.clear()
    world.remove(world.ended("sub_2"), user=SECOND, seconds=60)
    assert min(seen) >= 29
    seen.clear()
    world.remove(world.ended("sub_3"), user=SECOND, seconds=8)
    assert max(seen) <= 8 + removals.OVERTIME_SECONDS


# -- crashes ------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone."""


class Boundaries:
    """Counts every call to the database and to Telegram, and dies before or after the nth."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.count = 0
        self.dies_at: int | None = None
        self.dead = False
        world.tables.client.hook = lambda *_: self.cross()
        world.telegram.before = lambda _: self.cross()

    def cross(self) -> None:
        if self.dead:
            raise Crash
        self.count += 1
        if self.count == self.dies_at:
            self.dead = True
            raise Crash

    def run(self, dies_at: int | None, step: Callable[[], Removal]) -> Removal | None:
        self.count, self.dies_at, self.dead = 0, dies_at, False
        try:
            return step()
        except Crash:
            return None
        finally:
            self.dead, self.dies_at = False, None


def test_a_crash_at_any_point_ends_in_the_same_state(world: World) -> None:
    """A crash before call n is one after call n-1 whose effect nobody recorded."""
    boundaries = Boundaries(world)

    def set_up(n: int) -> Key:
        world.telegram.api.add_chat(int(CHAT), title="VIP", members={int(USER): "member"})
        key = world.purchase(f"sub_{n}")
        linked(world, key)
        world.end(key)
        world.time.now += 120
        return key

    def remove(key: Key) -> Callable[[], Removal]:
        return lambda: world.remove(key)

    boundaries.run(None, remove(set_up(0)))
    total = boundaries.count
    assert total > 15
    for n in range(1, total + 1):
        key = set_up(n)
        assert boundaries.run(n, remove(key)) is None
        world.time.now += removals.LOCK_SECONDS + 2
        done = boundaries.run(None, remove(key))
        assert done is not None, n
        assert (done.state, done.link_revoked) == ("revoked", True), n
        assert world.status() == "left"
        assert world.nothing_is_held()


def test_a_buyer_who_came_back_after_a_crash_at_any_point_stays(world: World) -> None:
    boundaries = Boundaries(world)
    key = world.ended()
    boundaries.run(None, lambda: world.remove(key))
    for n in range(1, boundaries.count + 1):
        world.telegram.api.set_member(int(CHAT), int(USER), status="member")
        assert boundaries.run(n, lambda: world.remove(key)) is None
        world.time.now += removals.LOCK_SECONDS + 2
        again = world.purchase(f"again_{n}")
        world.telegram.api.join(int(CHAT), int(USER))
        assert world.remove(key).state == "kept", n
        assert world.status() == "member"
        world.end(again)


# -- one midnight -------------------------------------------------------------------------------


class VirtualTime:
    """One clock for many threads, which moves when all of them sleep; one runs at a time."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self._turn = threading.Condition()
        self._wakings: list[tuple[float, int]] = []
        self._tickets = itertools.count()
        self._running: int | None = None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._turn:
            ticket = next(self._tickets)
            heapq.heappush(self._wakings, (self.now + seconds, ticket))
            self._next()
            self._turn.wait_for(lambda: self._running == ticket)

    def run(self, *jobs: Callable[[], None]) -> None:
        """Run the jobs in threads until all are done."""
        failures: list[BaseException] = []

        def body(job: Callable[[], None], ticket: int) -> None:
            with self._turn:
                self._turn.wait_for(lambda: self._running == ticket)
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)
            with self._turn:
                self._next()

        threads = []
        for job in jobs:
            ticket = next(self._tickets)
            heapq.heappush(self._wakings, (self.now, ticket))
            threads.append(threading.Thread(target=body, args=(job, ticket), daemon=True))
            threads[-1].start()
        with self._turn:
            self._next()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _next(self) -> None:
        self._running = None
        if self._wakings:
            at, self._running = heapq.heappop(self._wakings)
            self.now = max(self.now, at)
        self._turn.notify_all()


@dataclass
class Midnight:
    """What came of many purchases that ended at the same moment."""

    finished: list[Removal] = field(default_factory=list)
    seconds: float = 0.0
    most_at_once: int = 0
    person_waited: list[float] = field(default_factory=list)


def midnight(
    tables: Tables, *, removals: int, chats: int, workers: int, people: int
) -> tuple[Midnight, Telegram]:
    """Let so many workers remove everybody, while people cancel by hand in between."""
    time = VirtualTime()
    seen = Midnight()
    under_way: set[int] = set()

    def sleep(seconds: float) -> None:
        under_way.add(threading.get_ident())
        seen.most_at_once = max(seen.most_at_once, len(under_way))
        time.sleep(seconds)
        under_way.discard(threading.get_ident())

    telegram = Telegram(time, sleep)
    telegram.seconds = {"getChatMember": 0.1, "unbanChatMember": 1.2}
    records = Records(tables.records, time)
    chat_ids = [f"-100100000{i:04d}" for i in range(chats)]
    for i, chat_id in enumerate(chat_ids):
        data = {"name": "x", "chats": [chat_id], "deleted": False}
        records.observe(
            product_key(DEMO, f"prod_{i}", True),
            Observation("product", data, NOW, f"evt_{i}"),
            fetch=lambda: None,
            ids=frozenset({chat_id}),
        )
        telegram.api.add_chat(int(chat_id))
    ended = []
    for i in range(removals + people):
        user, chat_id = str(800_000 + i), chat_ids[i % chats]
        key = purchase_key(DEMO, f"cus_{i}", f"sub_{i}")
        data = subscription_data(id=f"sub_{i}", telegram_user_id=user, status="canceled")
        records.observe(
            key,
            Observation("subscription", data, NOW, f"evt_{i}", terminal=True),
            fetch=lambda: None,
            ids=frozenset({user}),
        )
        telegram.api.set_member(int(chat_id), int(user), status="member")
        ended.append((key, Removal(chat_id, user)))
    queue = [(0, i, *job) for i, job in enumerate(ended[:removals])]
    heapq.heapify(queue)

    def remover() -> AccessRemover:
        session = requests.Session()
        session.mount("https://", telegram)
        gateway = TelegramGateway(session, "https://telegram.invalid", Tokens())
        return AccessRemover(
            tables.records,
            gateway,
            store_chats(tables.records),
            clock=time,
            monotonic=time,
            sleep=time.sleep,
        )

    def step(made: AccessRemover, key: Key, removal: Removal, *, interactive: bool) -> Removal:
        record = records.get(key)
        assert record is not None
        deadline = time() + (8 if interactive else 240)
        return made.remove(
            record.purchase, key, removal, deadline=deadline, interactive=interactive
        )

    def worker() -> None:
        made = remover()
        while queue:
            due, i, key, removal = heapq.heappop(queue)
            if due > time():
                heapq.heappush(queue, (due, i, key, removal))
                time.sleep(1)
                continue
            removal = step(made, key, removal, interactive=False)
            if removal.state == "revoking":
                heapq.heappush(queue, (removal.next_attempt_at or 0, i, key, removal))
            else:
                seen.finished.append(removal)

    def person() -> None:
        made = remover()
        for key, removal in ended[removals:]:
            time.sleep(7)
            began = time()
            seen.finished.append(step(made, key, removal, interactive=True))
            seen.person_waited.append(time() - began)

    time.run(*[worker] * workers, person)
    seen.seconds = time() - NOW
    return seen, telegram


@pytest.mark.parametrize(("chats", "workers"), [(1, 3), (6, 5)])
def test_all_who_are_due_at_one_midnight_leave_at_telegrams_pace(
    tables: Tables, chats: int, workers: int
) -> None:
    """``MIDNIGHT=1000`` runs it with a thousand."""
    size = int(os.environ.get("MIDNIGHT", "40"))
    people = 5
    seen, telegram = midnight(tables, removals=size, chats=chats, workers=workers, people=people)
    unbans = telegram.asked("unbanChatMember")
    gaps: list[float] = []
    for chat_id in {call.params["chat_id"] for call in unbans}:
        times = [call.at for call in unbans if call.params["chat_id"] == chat_id]
        gaps += [later - earlier for earlier, later in itertools.pairwise(times)]
    print(
        f"\n{size} removals from {chats} chats, {workers} workers: {seen.seconds / 60:.1f} min, "
        f"{len(unbans)} calls to remove, at most {seen.most_at_once} at once, "
        f"at least {min(gaps):.2f} s apart in a chat; "
        f"a person waited {max(seen.person_waited):.1f} s at most"
    )
    assert [removal.state for removal in seen.finished] == ["revoked"] * (size + people)
    assert len({call.params["user_id"] for call in unbans}) == len(unbans) == size + people
    assert len(telegram.asked("getChatMember")) == len(unbans)
    assert seen.most_at_once <= 2
    assert min(gaps) >= 1.0
    assert max(seen.person_waited) < 6
