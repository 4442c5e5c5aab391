"""What Telegram's answers mean, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.clock import backoff_seconds
from shared.domain.telegram import (
    GET_MEMBER,
    REVOKE_LINK,
    UNBAN,
    Answer,
    Class,
    classify,
    display_name,
    explain,
    is_chat_id,
    is_user_id,
)


def error(code: int, description: str = "", **more: Any) -> Answer:
    return Answer(False, error_code=code, description=description, **more)


GONE = [
    error(400, "Bad Request: PARTICIPANT_ID_INVALID"),
    error(400, "Bad Request: USER_ID_INVALID"),
    error(400, "Bad Request: USER_NOT_PARTICIPANT"),
    error(400, "Bad Request: member not found"),
    error(400, "Bad Request: user not found"),
    error(403, "Forbidden: user is deactivated"),
]
LINK_GONE = [
    error(400, "Bad Request: INVITE_HASH_EXPIRED"),
    error(400, "Bad Request: HIDE_REQUESTER_MISSING"),
]
OWNER = {
    "400 Bad Request: not enough rights to restrict/unrestrict chat member": (
        "The bot is no longer an administrator of VIP, or may not ban users there."
    ),
    "400 Bad Request: CHAT_ADMIN_REQUIRED": "The bot is no longer an administrator of VIP.",
    "400 Bad Request: user is an administrator of the chat": (
        "This person is an administrator of VIP; a bot can't remove administrators."
    ),
    "400 Bad Request: can't remove chat owner": (
        "This person owns VIP and can't be removed from it."
    ),
    "400 Bad Request: member list is inaccessible": "The bot is no longer an administrator of VIP.",
    "400 Bad Request: not in the chat": "The bot is no longer in VIP.",
    "400 Bad Request: chat not found": "Telegram does not find VIP, or the bot was never in it.",
    "400 Bad Request: CHANNEL_PRIVATE": "The bot no longer has access to VIP.",
    "400 Bad Request: not enough rights to manage chat invite link": (
        "The bot may not manage the invite links of VIP."
    ),
    "400 Bad Request: method is available for supergroup and channel chats only": (
        "VIP is a basic group, from which a bot can't remove people without banning them: "
        "turn it into a supergroup."
    ),
    "403 Forbidden: bot was kicked from the group chat": "The bot was removed from VIP.",
    "403 Forbidden: bot was kicked from the supergroup chat": "The bot was removed from VIP.",
    "403 Forbidden: bot was kicked from the channel chat": "The bot was removed from VIP.",
    "403 Forbidden: bot is not a member of the supergroup chat": "The bot is no longer in VIP.",
    "403 Forbidden: bot is not a member of the channel chat": "The bot is no longer in VIP.",
    "403 Forbidden: the group chat was deleted": "VIP was deleted.",
}
BOT = [
    error(401, "Unauthorized"),
    error(404, "Not Found"),
    error(400, "Logged out"),
    error(400, "Bad Request: Logged out"),
]
BUG = [
    error(404, "Not Found: method not found"),
    error(400, "Bad Request: invalid user_id specified"),
    error(400, "Bad Request: chat_id is empty"),
    error(400, "Bad Request: can't restrict self"),
    error(400, "Bad Request: PEER_ID_INVALID"),
]
RETRY = [
    error(500, "Internal Server Error"),
    error(502, "Bad Gateway"),
    error(599, ""),
    Answer(False, fault="HTTP 502"),
    Answer(False, fault="ReadTimeout"),
    Answer(False, fault="ConnectionError"),
]


def refusal(text: str) -> Answer:
    code, _, description = text.partition(" ")
    return error(int(code), description)


def shouted(answer: Answer) -> Answer:
    return error(answer.error_code, answer.description.upper())


@pytest.mark.parametrize("method", [GET_MEMBER, UNBAN])
@pytest.mark.parametrize("answer", GONE, ids=lambda a: a.description)
def test_a_user_who_is_not_there_is_already_gone(method: str, answer: Answer) -> None:
    assert classify(method, answer) is Class.ALREADY_GONE
    assert classify(method, shouted(answer)) is Class.ALREADY_GONE


@pytest.mark.parametrize("answer", GONE, ids=lambda a: a.description)
def test_a_user_who_is_gone_says_nothing_of_an_invite_link(answer: Answer) -> None:
    assert classify(REVOKE_LINK, answer) is Class.UNKNOWN


@pytest.mark.parametrize("answer", LINK_GONE, ids=lambda a: a.description)
def test_a_link_that_is_gone_is_a_revoked_link(answer: Answer) -> None:
    assert classify(REVOKE_LINK, answer) is Class.LINK_GONE
    assert classify(UNBAN, answer) is Class.UNKNOWN


@pytest.mark.parametrize(("text", "sentence"), OWNER.items(), ids=list(OWNER))
def test_what_only_the_owner_can_change_is_told_in_a_sentence(text: str, sentence: str) -> None:
    answer = refusal(text)
    for method in (GET_MEMBER, UNBAN, REVOKE_LINK):
        assert classify(method, answer) is Class.OWNER_MUST_ACT
        assert classify(method, shouted(answer)) is Class.OWNER_MUST_ACT
        assert explain(method, answer, "VIP")[1] == sentence


def test_a_group_that_became_a_supergroup_has_migrated() -> None:
    answer = error(
        400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1001
    )
    assert classify(UNBAN, answer) is Class.MIGRATED


@pytest.mark.parametrize("answer", BOT, ids=lambda a: a.description)
def test_a_refused_token_says_nothing_of_the_user(answer: Answer) -> None:
    assert classify(UNBAN, answer) is Class.BOT_REFUSED


@pytest.mark.parametrize("answer", BUG, ids=lambda a: a.description)
def test_a_request_that_makes_no_sense_is_our_bug(answer: Answer) -> None:
    assert classify(UNBAN, answer) is Class.OUR_BUG
    assert classify(UNBAN, shouted(answer)) is Class.OUR_BUG


@pytest.mark.parametrize("answer", RETRY, ids=str)
def test_no_answer_and_every_server_error_is_tried_again(answer: Answer) -> None:
    assert classify(UNBAN, answer) is Class.RETRY


def test_429_asks_to_wait() -> None:
    answer = error(429, "Too Many Requests: retry after 7", retry_after=7)
    assert classify(UNBAN, answer) is Class.TOO_MANY
    assert classify(UNBAN, error(429, "")) is Class.TOO_MANY


@pytest.mark.parametrize("code", [400, 403, 409, 418])
def test_a_refusal_that_is_in_no_table_is_unknown(code: int) -> None:
    answer = error(code, "Bad Request: " + "x" * 500)
    assert classify(UNBAN, answer) is Class.UNKNOWN
    _, sentence = explain(UNBAN, answer, "VIP")
    assert sentence.startswith("Telegram refused to remove this person from VIP: Bad Request: xxx")
    assert len(sentence) < 260


def test_a_success_is_a_success() -> None:
    assert classify(UNBAN, Answer(True, result=True)) is Class.OK


def test_a_refused_link_is_not_told_as_a_refused_removal() -> None:
    _, sentence = explain(REVOKE_LINK, error(400, "Bad Request: odd"), "VIP")
    assert sentence == "Telegram refused to revoke the invite link of VIP: Bad Request: odd"


def test_retries_come_later_each_time_up_to_an_hour_and_never_end() -> None:
    waits = [backoff_seconds(attempts) for attempts in (1, 2, 3, 4, 5, 6, 7, 1000)]
    assert waits == [5, 30, 120, 600, 1800, 3600, 3600, 3600]


@pytest.mark.parametrize("text", ["-1001234567890", "-4", "-1" + "0" * 18])
def test_a_chat_is_named_by_its_numeric_id(text: str) -> None:
    assert is_chat_id(text)


@pytest.mark.parametrize(
    "text", ["@vip", "100", "-0100", "-", "", "-100\n", " -100", "-1e3", "-١٠", "-1" + "0" * 19]
)
def test_anything_else_names_no_chat(text: str) -> None:
    assert not is_chat_id(text)


@pytest.mark.parametrize(
    ("text", "valid"), [("700001", True), ("0", False), ("-5", False), ("@me", False), ("٣", False)]
)
def test_a_person_is_named_by_a_positive_number(text: str, valid: bool) -> None:
    assert is_user_id(text) is valid


def test_a_chat_is_called_by_its_title_in_one_line_of_bounded_length() -> None:
    assert display_name("-100", "VIP\nRoom\t 1") == "VIP Room 1"
    assert display_name("-100", None) == "-100"
    assert display_name("-100", " \u202e ") == "-100"
    assert len(display_name("-100", "x" * 500)) == 64


def test_a_title_with_braces_is_only_a_title() -> None:
    assert explain(UNBAN, refusal("400 CHAT_ADMIN_REQUIRED"), "{chat.x}")[1] == (
        "The bot is no longer an administrator of {chat.x}."
    )
