"""The bot's pause, kill switch, slots and turns."""

from __future__ import annotations

import threading

import pytest
from botocore.exceptions import EndpointConnectionError

from shared.storage.bot import CHAT_GAP_MS, QUEUE_GAP_MS, Bot, BotState
from tests.builders import NOW
from tests.dynamo import Tables


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bot(tables: Tables, clock: Clock) -> Bot:
    return Bot(tables.records, clock)


def test_removals_are_on_and_nothing_is_paused_until_somebody_says_so(bot: Bot) -> None:
    assert bot.state() == BotState(removals_enabled=True, paused_until=0, pause_reason=None)


def test_the_kill_switch_is_switched_off_and_on(bot: Bot) -> None:
    bot.switch_removals(enabled=False)
    assert not bot.state().removals_enabled
    bot.switch_removals(enabled=True)
    assert bot.state().removals_enabled


def test_a_pause_is_never_shortened(bot: Bot) -> None:
    assert bot.pause(NOW + 100, "wait") == NOW + 100
    assert bot.pause(NOW + 50, "another") == NOW + 100
    assert bot.state() == BotState(paused_until=NOW + 100, pause_reason="wait")
    assert bot.pause(NOW + 200, "longer") == NOW + 200
    bot.resume()
    assert bot.state() == BotState()


def test_a_pause_leaves_the_kill_switch_alone(bot: Bot) -> None:
    bot.switch_removals(enabled=False)
    bot.pause(NOW + 100, "wait")
    bot.resume()
    assert not bot.state().removals_enabled


def take(bot: Bot, owner: str, *, interactive: bool = False) -> str | None:
    return bot.take_slot(owner, until=bot.clock() + 60, interactive=interactive)


def test_two_removals_are_under_way_at_once_and_no_third(bot: Bot) -> None:
    assert {take(bot, "a"), take(bot, "b")} == {"SLOT#0", "SLOT#1"}
    assert take(bot, "c") is None
    assert take(bot, "d", interactive=True) is None
    bot.give_slot_back("SLOT#0", "a")
    assert take(bot, "c") == "SLOT#0"


def test_a_person_who_waits_gets_the_shared_slot_before_the_queue(bot: Bot, clock: Clock) -> None:
    take(bot, "a")
    take(bot, "b")
    assert take(bot, "person", interactive=True) is None
    bot.want_shared_slot()
    bot.give_slot_back("SLOT#1", "b")
    assert take(bot, "c") is None
    assert take(bot, "person", interactive=True) == "SLOT#1"
    bot.give_slot_back("SLOT#1", "person")
    clock.now += 12
    assert take(bot, "c") == "SLOT#1"


def test_a_person_takes_any_slot_that_is_free(bot: Bot) -> None:
    assert take(bot, "one", interactive=True) == "SLOT#1"
    assert take(bot, "two", interactive=True) == "SLOT#0"


def test_a_slot_whose_owner_died_is_free_again_by_itself(bot: Bot, clock: Clock) -> None:
    take(bot, "a")
    take(bot, "b")
    clock.now += 63
    assert take(bot, "c") == "SLOT#0"
    bot.give_slot_back("SLOT#0", "a")
    assert take(bot, "d") == "SLOT#1"
    assert take(bot, "e") is None


def test_giving_a_slot_back_never_fails(bot: Bot, tables: Tables) -> None:
    take(bot, "a")

    def down(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="x")

    tables.client.hook = down
    bot.give_slot_back("SLOT#0", "a")


def test_turns_in_a_chat_follow_one_another(bot: Bot, clock: Clock) -> None:
    gap = CHAT_GAP_MS / 1000
    turns = [bot.turn_in_chat("-1", patience=10) for _ in range(3)]
    assert turns == [0.0, gap, 2 * gap]
    assert bot.turn_in_chat("-2", patience=0) == 0.0
    clock.now += 10
    assert bot.turn_in_chat("-1", patience=0) == 0.0


def test_a_turn_that_is_too_far_off_is_not_taken(bot: Bot, clock: Clock) -> None:
    bot.turn_in_chat("-1", patience=0)
    for _ in range(5):
        assert bot.turn_in_chat("-1", patience=0.5) is None
    clock.now += CHAT_GAP_MS / 1000
    assert bot.turn_in_chat("-1", patience=0) == 0.0


def test_no_two_take_the_same_turn_at_the_same_moment(bot: Bot) -> None:
    taken: list[float] = []
    start = threading.Barrier(8)

    def run() -> None:
        start.wait()
        taken.extend(bot.turn_in_queue() for _ in range(5))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [pytest.approx(i * QUEUE_GAP_MS / 1000) for i in range(40)]
