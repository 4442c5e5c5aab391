"""The Telegram stand-in answers as the Bot API does, keeps its state, and fails when told to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from standins.telegram import BotApi, Settings, TelegramStandin

TOKEN = "4242:secret"
BOT = 4242
CHAT = -1001234567890
USER = 777


@pytest.fixture
def telegram() -> Iterator[TelegramStandin]:
    with TelegramStandin(token=TOKEN) as standin:
        yield standin


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(clock: Clock) -> BotApi:
    return BotApi(Settings(token=TOKEN), clock)


def call(api: BotApi, method: str, **params: Any) -> Any:
    answer = api.call(TOKEN, method, params)
    return answer.body["result"] if answer.ok else answer.body["description"]


def kick(api: BotApi, **params: Any) -> Any:
    return call(api, "unbanChatMember", **{"chat_id": CHAT, "user_id": USER, **params})


def test_unban_removes_a_member_who_may_then_come_back(api: BotApi) -> None:
    assert call(api, "getChatMember", chat_id=CHAT, user_id=USER)["status"] == "member"
    assert kick(api) is True
    assert call(api, "getChatMember", chat_id=CHAT, user_id=USER)["status"] == "left"
    assert api.join(CHAT, USER)
    assert api.status_of(CHAT, USER) == "member"


def test_unban_only_if_banned_never_removes(api: BotApi) -> None:
    api.set_member(CHAT, USER)
    assert kick(api, only_if_banned="true") is True
    assert api.status_of(CHAT, USER) == "member"


def test_unban_lifts_an_owners_own_ban(api: BotApi) -> None:
    api.set_member(CHAT, USER, status="kicked")
    assert not api.join(CHAT, USER)
    assert kick(api) is True
    assert api.join(CHAT, USER)


def test_unban_of_someone_who_left_looks_at_no_rights(api: BotApi) -> None:
    api.add_chat(CHAT, bot={"status": "member"}, members={USER: "left"})
    assert kick(api) is True


def test_unban_of_the_bot_makes_it_leave(api: BotApi) -> None:
    api.add_chat(CHAT, type="channel")
    assert kick(api, user_id=BOT) is True
    assert kick(api) == "Forbidden: bot is not a member of the channel chat"


@pytest.mark.parametrize(
    ("chat", "expected"),
    [
        (
            {"bot": {"can_restrict_members": False}},
            "Bad Request: not enough rights to restrict/unrestrict chat member",
        ),
        ({"bot": {"status": "member"}}, "Bad Request: CHAT_ADMIN_REQUIRED"),
        ({"bot": {"status": "kicked"}}, "Forbidden: bot was kicked from the supergroup chat"),
        (
            {"bot": {"status": "kicked"}, "type": "channel"},
            "Forbidden: bot was kicked from the channel chat",
        ),
        ({"bot": {"status": "left"}}, "Forbidden: bot is not a member of the supergroup chat"),
        (
            {"members": {USER: "administrator"}},
            "Bad Request: user is an administrator of the chat",
        ),
        ({"members": {USER: "creator"}}, "Bad Request: can't remove chat owner"),
        (
            {"type": "group"},
            "Bad Request: method is available for supergroup and channel chats only",
        ),
    ],
)
def test_a_removal_that_is_not_allowed_says_why(
    api: BotApi, chat: dict[str, Any], expected: str
) -> None:
    api.add_chat(CHAT, **{"members": {USER: "member"}, **chat})
    assert kick(api) == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"user_id": USER}, "Bad Request: chat_id is empty"),
        ({"chat_id": "@shop", "user_id": USER}, "Bad Request: chat not found"),
        ({"chat_id": CHAT}, "Bad Request: invalid user_id specified"),
        ({"chat_id": CHAT, "user_id": "x"}, "Bad Request: invalid user_id specified"),
    ],
)
def test_bad_parameters_are_refused(api: BotApi, params: dict[str, Any], expected: str) -> None:
    assert call(api, "getChatMember", **params) == expected


def test_a_channel_shows_its_members_to_administrators_only(api: BotApi) -> None:
    api.add_chat(CHAT, type="channel", bot={"status": "member"})
    shown = call(api, "getChatMember", chat_id=CHAT, user_id=USER)
    assert shown == "Bad Request: member list is inaccessible"
    assert call(api, "getChatMember", chat_id=CHAT, user_id=BOT)["status"] == "member"


def test_an_upgraded_group_names_its_new_id(api: BotApi) -> None:
    api.add_chat(-55, members={USER: "member"})
    new = api.migrate(-55)
    answer = api.call(TOKEN, "getChatMember", {"chat_id": -55, "user_id": USER})
    assert answer.status == 400
    assert answer.body["description"] == (
        "Bad Request: group chat was upgraded to a supergroup chat"
    )
    assert answer.body["parameters"] == {"migrate_to_chat_id": new.chat_id}
    assert kick(api, chat_id=new.chat_id) is True


def test_a_deleted_group_and_a_deleted_account_are_told_apart(api: BotApi) -> None:
    api.set_user(USER, error="403 Forbidden: user is deactivated")
    assert kick(api) == "Forbidden: user is deactivated"
    api.delete_chat(CHAT)
    assert kick(api) == "Forbidden: the group chat was deleted"


def test_strict_settings_know_only_what_was_set_up(api: BotApi) -> None:
    api.settings.create_chats = False
    api.settings.unknown_members = None
    assert kick(api) == "Bad Request: chat not found"
    api.add_chat(CHAT)
    assert kick(api) == "Bad Request: PARTICIPANT_ID_INVALID"


@pytest.mark.parametrize(("seconds", "lasts"), [(10, True), (60, False), (367 * 86400, True)])
def test_a_ban_too_short_or_too_long_lasts_for_ever(
    api: BotApi, clock: Clock, seconds: int, lasts: bool
) -> None:
    until = int(clock.now.timestamp()) + seconds
    assert call(api, "banChatMember", chat_id=CHAT, user_id=USER, until_date=until) is True
    clock.now += timedelta(seconds=seconds + 1)
    assert api.join(CHAT, USER) is not lasts


def test_a_revoked_invite_link_lets_nobody_in(api: BotApi) -> None:
    link = call(api, "createChatInviteLink", chat_id=CHAT, member_limit=1)["invite_link"]
    assert api.join(CHAT, USER, link)
    assert not api.join(CHAT, USER + 1, link)  # the limit counts who is in the chat
    kick(api)
    assert api.join(CHAT, USER + 1, link)
    revoked = call(api, "revokeChatInviteLink", chat_id=CHAT, invite_link=link)
    assert revoked["is_revoked"] is True
    kick(api, user_id=USER + 1)
    assert not api.join(CHAT, USER + 1, link)
    gone = call(api, "revokeChatInviteLink", chat_id=CHAT, invite_link="https://t.me/+none")
    assert gone == "Bad Request: INVITE_HASH_EXPIRED"


@pytest.mark.parametrize(
    ("token", "method", "status", "description"),
    [
        ("4242:wrong", "getMe", 401, "Unauthorized"),
        ("nonsense", "getMe", 404, "Not Found"),
        (TOKEN, "kickHard", 404, "Not Found: method not found"),
    ],
)
def test_a_wrong_token_or_method_is_refused(
    api: BotApi, token: str, method: str, status: int, description: str
) -> None:
    answer = api.call(token, method, {})
    assert (answer.status, answer.body["description"]) == (status, description)


def test_parameters_come_as_query_form_or_json_alike(telegram: TelegramStandin) -> None:
    url = f"{telegram.url}/bot{TOKEN}/getChatMember"
    params = {"chat_id": CHAT, "user_id": USER}
    answers = [
        requests.get(url, params=params, timeout=5),
        requests.post(url, data=params, timeout=5),
        requests.post(url, json=params, timeout=5),
        requests.post(url, files={name: (None, str(v)) for name, v in params.items()}, timeout=5),
    ]
    assert [answer.json()["result"]["status"] for answer in answers] == ["member"] * 4
    assert len(telegram.requests("getChatMember", chat_id=CHAT, user_id=USER)) == 4


def test_a_parameter_the_bot_api_does_not_know_is_recorded(telegram: TelegramStandin) -> None:
    url = f"{telegram.url}/bot{TOKEN}/unbanChatMember"
    body = {"chat_id": CHAT, "user_id": USER, "only_if_baned": True}
    assert requests.post(url, json=body, timeout=5).json()["ok"] is True
    assert [v["unknown_parameters"] for v in telegram.violations()] == [["only_if_baned"]]


def test_a_flood_wait_says_how_long_and_ends(telegram: TelegramStandin) -> None:
    telegram.fail("too_many_requests", times=1, chat_id=CHAT, retry_after=7)
    url = f"{telegram.url}/bot{TOKEN}/getChat"
    other = requests.get(url, params={"chat_id": CHAT - 1}, timeout=5)
    limited = requests.get(url, params={"chat_id": CHAT}, timeout=5)
    after = requests.get(url, params={"chat_id": CHAT}, timeout=5)
    assert (other.status_code, limited.status_code, after.status_code) == (200, 429, 200)
    assert limited.headers["Retry-After"] == "7"
    assert limited.json() == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 7",
        "parameters": {"retry_after": 7},
    }


def test_a_server_error_is_a_page_of_html(telegram: TelegramStandin) -> None:
    telegram.fail("server_error", times=1)
    answer = requests.get(f"{telegram.url}/bot{TOKEN}/getMe", timeout=5)
    assert answer.status_code == 502
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("kind", "status_after"), [("dropped_answer", "left"), ("disconnect", "member")]
)
def test_a_lost_answer_leaves_the_caller_in_doubt(
    telegram: TelegramStandin, kind: str, status_after: str
) -> None:
    telegram.bot_api.set_member(CHAT, USER)
    telegram.fail(kind, times=1)
    with pytest.raises(requests.ConnectionError):
        requests.post(
            f"{telegram.url}/bot{TOKEN}/unbanChatMember",
            json={"chat_id": CHAT, "user_id": USER},
            timeout=5,
        )
    assert telegram.bot_api.status_of(CHAT, USER) == status_after
    assert telegram.requests()[-1]["fault"] == kind


def test_a_timeout_gives_no_answer_and_has_no_effect(telegram: TelegramStandin) -> None:
    telegram.bot_api.set_member(CHAT, USER)
    telegram.fail("timeout", times=1, seconds=5)
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            f"{telegram.url}/bot{TOKEN}/unbanChatMember",
            json={"chat_id": CHAT, "user_id": USER},
            timeout=0.2,
        )
    assert telegram.bot_api.status_of(CHAT, USER) == "member"


def test_the_control_api_sets_up_what_a_test_needs(telegram: TelegramStandin) -> None:
    def control(action: str, **body: Any) -> Any:
        answer = requests.post(f"{telegram.url}/_control/{action}", json=body, timeout=5)
        assert answer.status_code == 200, answer.text
        return answer.json()

    control("chats", chat_id=CHAT, type="channel", members={str(USER): "member"})
    control("bot", chat_id=CHAT, can_restrict_members=False)
    control("users", user_id=USER, first_name="Ada")
    control("faults", kind="latency", times=1, seconds=0.01)
    answer = requests.get(
        f"{telegram.url}/bot{TOKEN}/unbanChatMember",
        params={"chat_id": CHAT, "user_id": USER},
        timeout=5,
    )
    assert answer.json()["description"].endswith(
        "not enough rights to restrict/unrestrict chat member"
    )
    control("settings", revoked=True)
    assert requests.get(f"{telegram.url}/bot{TOKEN}/getMe", timeout=5).status_code == 401
    control("reset")
    state = requests.get(f"{telegram.url}/_control/state", timeout=5).json()
    assert (state["chats"], state["settings"]["revoked"]) == ([], False)
    refused = requests.post(
        f"{telegram.url}/_control/members",
        json={"chat_id": CHAT, "user_id": USER, "status": "owner"},
        timeout=5,
    )
    assert (refused.status_code, refused.json()) == (400, {"error": "unknown status: owner"})


def test_state_and_log_outlive_the_process_without_the_token(tmp_path: Path) -> None:
    with TelegramStandin(token=TOKEN, data_dir=tmp_path) as first:
        first.bot_api.add_chat(CHAT, title="Ringe", members={USER: "member"})
        requests.post(
            f"{first.url}/bot{TOKEN}/unbanChatMember",
            json={"chat_id": CHAT, "user_id": USER},
            timeout=5,
        )
    with TelegramStandin(token=TOKEN, data_dir=tmp_path) as second:
        assert second.bot_api.status_of(CHAT, USER) == "left"
        assert [r["method"] for r in second.requests()] == ["unbanChatMember"]
    for kept in tmp_path.iterdir():
        assert TOKEN.encode() not in kept.read_bytes()
