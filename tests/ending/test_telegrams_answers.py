"""What comes of a removal that Telegram refuses, does not answer, or puts off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import requests

from shared.domain.errors import TryAgainLater
from shared.domain.purchase import Removal
from shared.ending import removal as removals
from shared.storage import records as records_module
from tests.ending.removal_world import CHAT, SECOND, USER, Call, World, linked, refuses

# -- what Telegram refuses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "bot", [{"status": "member"}, {"can_restrict_members": False}], ids=["member", "no right"]
)
def test_a_bot_without_rights_is_the_owners_affair_until_it_has_them_again(
    world: World, bot: dict[str, Any]
) -> None:
    key = world.ended()
    world.telegram.api.set_bot(int(CHAT), **bot)
    failed = world.remove(key)
    assert failed.state == "failed"
    assert str(failed.detail).startswith("The bot is no longer an administrator of VIP")
    assert world.status() == "member"
    assert world.nothing_is_held()
    world.telegram.api.set_bot(int(CHAT), status="administrator", can_restrict_members=True)
    assert world.remove(key, replace(failed, state="revoking")).state == "revoked"


def test_a_bot_that_was_removed_is_the_owners_affair(world: World) -> None:
    world.telegram.api.set_bot(int(CHAT), status="kicked")
    failed = world.remove(world.ended())
    assert (failed.state, failed.detail) == ("failed", f"The bot was removed from {CHAT}.")


def test_a_title_seen_once_is_remembered(world: World) -> None:
    world.telegram.api.set_bot(int(CHAT), can_restrict_members=False)
    world.remove(world.ended())
    world.telegram.api.set_bot(int(CHAT), status="kicked")
    assert world.remove(world.ended("sub_2")).detail == "The bot was removed from VIP."


@pytest.mark.parametrize(
    "description",
    [
        "400 Bad Request: not enough rights to restrict/unrestrict chat member",
        "400 Bad Request: CHAT_ADMIN_REQUIRED",
        "400 Bad Request: user is an administrator of the chat",
        "400 Bad Request: can't remove chat owner",
        "400 Bad Request: member list is inaccessible",
        "400 Bad Request: not in the chat",
        "400 Bad Request: chat not found",
        "400 Bad Request: CHANNEL_PRIVATE",
        "400 Bad Request: method is available for supergroup and channel chats only",
        "403 Forbidden: bot was kicked from the supergroup chat",
        "403 Forbidden: bot is not a member of the channel chat",
        "403 Forbidden: the group chat was deleted",
        "404 Not Found: method not found",
        "400 Bad Request: invalid user_id specified",
        "400 Bad Request: chat_id is empty",
        "400 Bad Request: can't restrict self",
        "400 Bad Request: PEER_ID_INVALID",
    ],
)
@pytest.mark.parametrize("method", ["getChatMember", "unbanChatMember"])
def test_a_final_refusal_fails_with_a_sentence(world: World, method: str, description: str) -> None:
    code, _, text = description.partition(" ")
    world.telegram.script[method] = [refuses(int(code), text)]
    failed = world.remove(world.ended())
    assert (failed.state, failed.next_attempt_at, failed.attempts) == ("failed", None, 1)
    assert str(failed.detail).endswith((".", text))
    assert world.status() == "member"
    assert "RemovalFailed" in world.counted
    assert world.nothing_is_held()


@pytest.mark.parametrize(
    "description",
    [
        "400 Bad Request: PARTICIPANT_ID_INVALID",
        "400 Bad Request: USER_ID_INVALID",
        "400 Bad Request: USER_NOT_PARTICIPANT",
        "400 Bad Request: member not found",
        "403 Forbidden: user is deactivated",
    ],
)
@pytest.mark.parametrize("method", ["getChatMember", "unbanChatMember"])
class TestAlreadyGone:
    def test_it_is_believed_of_a_chat_the_bot_governs(
        self, world: World, method: str, description: str
    ) -> None:
        code, _, text = description.partition(" ")
        world.telegram.script[method] = [refuses(int(code), text)]
        assert world.remove(world.ended()).state == "revoked"

    @pytest.mark.parametrize("bot", [{"status": "member"}, {"can_restrict_members": False}])
    def test_it_is_not_believed_of_a_chat_the_bot_does_not_govern(
        self, world: World, method: str, description: str, bot: dict[str, Any]
    ) -> None:
        code, _, text = description.partition(" ")
        world.telegram.api.set_bot(int(CHAT), **bot)
        world.telegram.script[method] = [refuses(int(code), text)]
        failed = world.remove(world.ended())
        assert (failed.state, failed.detail) == (
            "failed",
            "The bot is no longer an administrator of VIP.",
        )


def test_an_unknown_refusal_is_tried_again_and_then_told_in_telegrams_words(world: World) -> None:
    key = world.ended()
    world.telegram.script["unbanChatMember"] = [refuses(400, "Bad Request: MOON_IN_CANCER")] * 99
    removal = Removal(CHAT, USER)
    waits = []
    while removal.state == "revoking":
        removal = world.remove(key, removal)
        waits.append(removal.wait)
        world.time.now += removal.wait
    assert waits == [5, 30, 120, 600, 1800, 0]
    assert (removal.state, removal.detail) == (
        "failed",
        "Telegram refused to remove this person from VIP: Bad Request: MOON_IN_CANCER",
    )


# -- Telegram fails, or asks to wait ------------------------------------------------------------


FAULTS = [
    refuses(500, "Internal Server Error"),
    (502, "<html>"),
    requests.exceptions.ReadTimeout(),
    requests.exceptions.ConnectTimeout(),
    requests.exceptions.ConnectionError(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("method", ["getChatMember", "unbanChatMember"])
def test_a_telegram_that_fails_is_asked_again_later_and_later(
    world: World, method: str, fault: Any
) -> None:
    key = world.ended()
    world.telegram.script[method] = [fault] * 8
    removal = Removal(CHAT, USER)
    waits = []
    for attempt in range(1, 9):
        began = int(world.time())
        removal = world.remove(key, removal)
        assert (removal.state, removal.attempts) == ("revoking", attempt)
        assert removal.next_attempt_at == began + removal.wait
        waits.append(removal.wait)
        world.time.now += max(removal.wait, removals.SETTLE_SECONDS + 2)
    assert waits == [5, 30, 120, 600, 1800, 3600, 3600, 3600]
    assert world.remove(key, removal).state == "revoked"
    assert world.nothing_is_held()


def test_a_removal_whose_answer_was_lost_is_found_done(world: World) -> None:
    key = world.ended()
    member = world.telegram.api.chats[int(CHAT)].members[int(USER)]

    def lose(call: Call) -> None:
        if call.method == "unbanChatMember":
            member.status = "left"
            world.telegram.script["unbanChatMember"] = [requests.exceptions.ReadTimeout()]

    world.telegram.before = lose
    removal = world.remove(key)
    assert removal.state == "revoking"
    assert world.remove(key, removal).state == "revoked"
    assert len(world.telegram.asked("unbanChatMember")) == 1


def test_no_purchase_begins_while_an_unheard_removal_may_still_take_effect(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "USER_LOCK_PATIENCE_SECONDS", 0.0)
    key = world.ended()
    world.telegram.script["unbanChatMember"] = [requests.exceptions.ReadTimeout()]
    world.remove(key)
    with pytest.raises(TryAgainLater):
        world.purchase("sub_2")
    world.time.now += removals.SETTLE_SECONDS + 2
    world.purchase("sub_2")


def test_one_bad_chat_does_not_keep_the_same_buyer_in_the_others(world: World) -> None:
    other = "-1001000000002"
    world.product("prod_1", CHAT, other)
    world.telegram.api.add_chat(int(other), members={int(USER): "member"})
    key = world.ended()
    world.telegram.script["unbanChatMember"] = [requests.exceptions.ReadTimeout()]
    assert world.remove(key, interactive=True).state == "revoking"
    assert world.remove(key, chat=other, interactive=True).state == "revoked"


@pytest.mark.parametrize("method", ["getChatMember", "unbanChatMember", "revokeChatInviteLink"])
def test_429_pauses_the_whole_bot_until_telegram_may_be_asked_again(
    world: World, method: str
) -> None:
    key = world.purchase()
    linked(world, key)
    world.end(key)
    other = world.ended("sub_2", user=SECOND)
    world.telegram.api.set_member(int(CHAT), int(SECOND), status="member")
    world.telegram.script[method] = [
        refuses(429, "Too Many Requests: retry after 1000", retry_after=1000)
    ]
    began = int(world.time())
    removal = world.remove(key)
    assert (removal.state, removal.wait, removal.attempts) == ("revoking", 1001, 0)
    assert removal.next_attempt_at == began + 1001
    assert world.remover.bot.state().paused_until == began + 1001
    assert world.counted == ["TelegramTooMany"]
    asked = len(world.telegram.calls)

    world.time.now = began + 400.0
    waiting = world.remove(other, user=SECOND, interactive=True)
    assert (waiting.state, waiting.next_attempt_at) == ("revoking", began + 1001)
    assert waiting.detail == "Telegram asked the bot to wait."
    assert len(world.telegram.calls) == asked

    world.time.now = began + 1001.0
    assert world.remove(key, removal).state == "revoked"
    assert world.remove(other, waiting, user=SECOND).state == "revoked"


def test_nothing_is_asked_between_two_calls_once_another_removal_was_told_to_wait(
    world: World,
) -> None:
    def meanwhile(call: Call) -> None:
        world.remover.bot.pause(int(world.time()) + 60, "Telegram asked the bot to wait.")

    world.telegram.before = meanwhile
    removal = world.remove(world.ended())
    assert (removal.state, removal.wait) == ("revoking", 60)
    assert [call.method for call in world.telegram.calls] == ["getChatMember"]


def test_a_refused_token_pauses_the_bot_and_ends_nothing(world: World) -> None:
    key = world.ended()
    world.telegram.api.settings.revoked = True
    began = int(world.time())
    removal = world.remove(key)
    assert (removal.state, removal.wait, removal.attempts) == ("revoking", 300, 0)
    assert removal.next_attempt_at == began + 300
    assert removal.detail == "Telegram does not accept the bot's token at the moment."
    assert world.counted == ["TelegramUnauthorized"]
    assert world.nothing_is_held()

    asked = len(world.telegram.calls)
    world.remove(key, removal)
    assert len(world.telegram.calls) == asked

    world.telegram.api.settings.revoked = False
    world.time.now += 300
    assert world.remove(key, removal).state == "revoked"


def test_the_kill_switch_stops_every_removal_and_lets_them_go_on_later(world: World) -> None:
    key = world.ended()
    world.remover.bot.switch_removals(enabled=False)
    removal = world.remove(key, interactive=True)
    assert (removal.state, removal.detail) == ("revoking", "Removals are switched off.")
    assert (removal.wait, removal.attempts) == (0, 0)
    assert removal.next_attempt_at == int(world.time()) + removals.SWITCHED_OFF_SECONDS
    assert world.telegram.calls == []
    world.remover.bot.switch_removals(enabled=True)
    assert world.remove(key, removal).state == "revoked"


def test_the_kill_switch_stops_a_removal_that_is_under_way(world: World) -> None:
    world.telegram.before = lambda _: world.remover.bot.switch_removals(enabled=False)
    assert world.remove(world.ended()).state == "revoking"
    assert world.telegram.asked("unbanChatMember") == []
