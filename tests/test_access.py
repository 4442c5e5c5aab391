"""One removal, from the question whether the user may be there to what the owner is told.

Telegram is the stand-in's own state machine, called in this process through an adapter of
``requests``; the database is real. Time is the test's.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import BaseAdapter

from shared.domain.errors import TryAgainLater
from shared.domain.merge import Observation
from shared.domain.purchase import Purchase, Removal
from shared.ending import removal as removals
from shared.ending.removal import AccessRemover
from shared.integrations.telegram_gateway import TelegramGateway
from shared.storage import records as records_module
from shared.storage.keys import Key, product_key, purchase_key
from shared.storage.records import Records
from shared.tenant import Tenant
from standins.telegram.bot_api import BotApi, Settings
from tests.builders import NOW, subscription_data
from tests.dynamo import Tables

DEMO = Tenant("demo")
OTHER = Tenant("other")
TOKEN = "123456:LOCAL"
BOT = 123456
CHAT = "-1001000000001"
USER = "700001"
SECOND = "700002"


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Call:
    at: float
    method: str
    params: dict[str, Any]


class Telegram(BaseAdapter):
    """The stand-in's Bot API as a transport of ``requests``.

    Attributes:
        calls: what was asked, in order.
        script: answers for the next calls of a method, instead of the stand-in's.
        before: called with every call before it is answered.
        seconds: how long each method takes.
    """

    def __init__(self, time: Callable[[], float], sleep: Callable[[float], None]) -> None:
        super().__init__()
        self.time = time
        self.sleep = sleep
        self.api = BotApi(Settings(token=TOKEN), lambda: datetime.fromtimestamp(time(), UTC))
        self.calls: list[Call] = []
        self.script: dict[str, list[Any]] = {}
        self.before: Callable[[Call], None] = lambda _: None
        self.seconds: dict[str, float] = {}

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        bot, method = urlsplit(str(request.url)).path.split("/")[1:]
        call = Call(self.time(), method, json.loads(request.body or b"{}"))
        self.calls.append(call)
        self.before(call)
        self.sleep(self.seconds.get(method, 0.0))
        scripted = self.script.get(method)
        answer = scripted.pop(0) if scripted else None
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            given = self.api.call(bot.removeprefix("bot"), method, call.params)
            answer = (given.status, given.body)
        code, body = answer
        response = requests.Response()
        response.status_code = code
        response._content = json.dumps(body).encode()
        response._content_consumed = True  # type: ignore[attr-defined]
        return response

    def close(self) -> None: ...

    def asked(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]


def refuses(code: int, description: str, **parameters: int) -> tuple[int, dict[str, Any]]:
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        body["parameters"] = parameters
    return code, body


@dataclass
class World:
    """A store, its buyers and a Telegram."""

    tables: Tables
    time: Time
    telegram: Telegram
    records: Records
    remover: AccessRemover
    gateway: TelegramGateway
    counted: list[str] = field(default_factory=list)
    events: int = 0

    def product(self, product_id: str, *chats: str) -> None:
        for chat_id in chats:
            self.remover.chats.claim(DEMO, chat_id)
        data = {"name": product_id, "chats": list(chats), "deleted": False}
        self._observe(product_key(DEMO, product_id), "product", data, frozenset(chats))

    def purchase(
        self,
        purchase_id: str = "sub_1",
        *,
        user: str | None = USER,
        tenant: Tenant = DEMO,
        **data: Any,
    ) -> Key:
        key = purchase_key(tenant, f"cus_{purchase_id}", purchase_id)
        body = subscription_data(id=purchase_id, telegram_user_id=user, **data)
        self._observe(key, "subscription", body, frozenset({user} - {None}))  # type: ignore[arg-type]
        return key

    def link(self, key: Key, user: str, **invite_links: str) -> None:
        data = {
            "telegram_user_id": user,
            "invite_links": {chat.replace("_", "-"): link for chat, link in invite_links.items()},
        }
        self._observe(key, "link", data, frozenset({user}))

    def end(self, key: Key) -> None:
        record = self.records.get(key)
        assert record is not None
        data = {**record.purchase.data("subscription"), "status": "canceled", "ended_at": NOW}
        self._observe(key, "subscription", data, frozenset(), terminal=True)

    def note(self, key: Key, removal: Removal) -> None:
        """Keep what came of a removal, as the driver does."""
        record = self.records.lease(key, "test")
        assert record is not None
        self.records.save_own(
            record, "test", lambda p: replace(p.own, removals={removal.key: removal})
        )
        self.records.release(key, "test")

    def _observe(
        self, key: Key, source: str, data: dict[str, Any], ids: frozenset[str], **more: Any
    ) -> None:
        self.events += 1
        seen = Observation(source, data, NOW + self.events, f"evt_{self.events}", **more)
        self.records.observe(key, seen, fetch=lambda: None, ids=ids)

    def get(self, key: Key) -> Purchase:
        record = self.records.get(key)
        assert record is not None
        return record.purchase

    def remove(
        self,
        key: Key,
        removal: Removal | None = None,
        *,
        chat: str = CHAT,
        user: str = USER,
        seconds: float = 8.0,
        interactive: bool = False,
    ) -> Removal:
        return self.remover.remove(
            self.get(key),
            key,
            removal or Removal(chat, user),
            deadline=self.time() + seconds,
            interactive=interactive,
        )

    def ended(self, purchase_id: str = "sub_1", **more: Any) -> Key:
        """A purchase of the product ``prod_1`` that was live and is over."""
        key = self.purchase(purchase_id, **more)
        self.end(key)
        return key

    def status(self, user: str = USER, chat: str = CHAT) -> str | None:
        return self.telegram.api.status_of(int(chat), int(user))

    def nothing_is_held(self) -> bool:
        """Whether the user's lock and both slots are free for the next."""
        locked = self.remover.users.lock(
            DEMO, USER, "probe", now=self.time(), until=self.time() + 1
        )
        self.remover.users.unlock(DEMO, USER, "probe", now=self.time())
        slots = [
            self.remover.bot.take_slot(f"probe{i}", until=self.time() + 1, interactive=True)
            for i in range(2)
        ]
        for i, slot in enumerate(slots):
            if slot is not None:
                self.remover.bot.give_slot_back(slot, f"probe{i}")
        return locked is not None and None not in slots


class Tokens:
    def __init__(self) -> None:
        self.token = TOKEN
        self.stored = TOKEN

    def __call__(self, *, fresh: bool = False) -> str:
        if fresh:
            self.token = self.stored
        return self.token


@pytest.fixture
def world(tables: Tables) -> Iterator[World]:
    time = Time()
    telegram = Telegram(time, time.sleep)
    counted: list[str] = []
    with requests.Session() as session:
        session.mount("https://", telegram)
        gateway = TelegramGateway(session, "https://telegram.invalid", Tokens())
        remover = AccessRemover(
            tables.records,
            gateway,
            clock=time,
            monotonic=time,
            sleep=time.sleep,
            count=counted.append,
        )
        records = Records(tables.records, time)
        made = World(tables, time, telegram, records, remover, gateway, counted)
        made.product("prod_1", CHAT)
        telegram.api.add_chat(int(CHAT), title="VIP", members={int(USER): "member"})
        yield made


# -- the plain case -----------------------------------------------------------------------------


def test_a_buyer_whose_purchase_is_over_is_removed_without_a_ban(world: World) -> None:
    done = world.remove(world.ended())
    assert done == Removal(
        CHAT, USER, "revoked", attempts=1, next_attempt_at=None, finished_at=int(world.time())
    )
    assert world.status() == "left"
    assert [call.method for call in world.telegram.calls] == ["getChatMember", "unbanChatMember"]
    assert world.telegram.api.join(int(CHAT), int(USER))
    assert world.nothing_is_held()


def test_a_removal_that_is_done_is_not_done_again(world: World) -> None:
    key = world.ended()
    done = world.remove(key)
    world.telegram.calls.clear()
    assert world.remove(key, done) is done
    assert world.telegram.calls == []


@pytest.mark.parametrize("status", ["left", "kicked"])
def test_a_buyer_who_is_out_already_is_left_alone(world: World, status: str) -> None:
    world.telegram.api.set_member(int(CHAT), int(USER), status=status)
    assert world.remove(world.ended()).state == "revoked"
    assert world.status() == status
    assert world.telegram.asked("unbanChatMember") == []


def test_an_owners_own_ban_stays(world: World) -> None:
    world.telegram.api.call(TOKEN, "banChatMember", {"chat_id": CHAT, "user_id": USER})
    world.remove(world.ended())
    assert world.status() == "kicked"
    assert not world.telegram.api.join(int(CHAT), int(USER))


def test_a_restricted_buyer_is_removed_if_in_the_chat(world: World) -> None:
    world.telegram.api.set_member(int(CHAT), int(USER), status="restricted", is_member=False)
    assert world.remove(world.ended()).state == "revoked"
    assert world.telegram.asked("unbanChatMember") == []
    world.telegram.api.set_member(int(CHAT), int(USER), status="restricted", is_member=True)
    assert world.remove(world.ended("sub_2")).state == "revoked"
    assert world.status() == "left"


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        ("creator", "This person owns VIP and can't be removed from it."),
        ("administrator", "This person is an administrator of VIP; a bot can't remove "
         "administrators."),
    ],
)  # fmt: skip
def test_owners_and_administrators_are_the_owners_affair(
    world: World, status: str, detail: str
) -> None:
    world.telegram.api.set_member(int(CHAT), int(USER), status=status)
    failed = world.remove(world.ended())
    assert (failed.state, failed.detail) == ("failed", detail)
    assert world.telegram.asked("unbanChatMember") == []
    assert world.counted == ["RemovalFailed"]


def test_the_bot_never_removes_itself(world: World) -> None:
    failed = world.remove(world.ended(user=str(BOT)), user=str(BOT))
    assert (failed.state, failed.detail) == ("failed", "This person is the bot itself.")
    assert world.telegram.calls == []


@pytest.mark.parametrize(("chat", "user"), [("@vip", USER), ("700001", USER), (CHAT, "@me")])
def test_names_are_never_sent_to_telegram(world: World, chat: str, user: str) -> None:
    assert world.remove(world.ended(), chat=chat, user=user).state == "failed"
    assert world.telegram.calls == []


# -- may this user be in this chat? -------------------------------------------------------------


def test_another_live_purchase_of_the_chat_keeps_its_buyer_there(world: World) -> None:
    world.product("prod_2", "-1001000000009", CHAT)
    key = world.ended()
    world.purchase("sub_2", products=["prod_2"])
    kept = world.remove(key)
    assert (kept.state, kept.detail) == ("kept", "Kept: purchase sub_2 still opens this chat.")
    assert kept.finished_at == int(world.time())
    assert world.telegram.calls == []


def test_a_live_purchase_of_another_chat_keeps_nobody(world: World) -> None:
    world.product("prod_2", "-1001000000009")
    key = world.ended()
    world.purchase("sub_2", products=["prod_2"])
    assert world.remove(key).state == "revoked"


def test_a_live_purchase_of_another_user_keeps_nobody(world: World) -> None:
    key = world.ended()
    world.purchase("sub_2", user=SECOND)
    assert world.remove(key).state == "revoked"


def test_a_purchase_that_was_given_to_another_user_keeps_the_new_one_only(world: World) -> None:
    key = world.purchase()
    world.purchase(user=SECOND)
    assert world.remove(key, user=USER).state == "revoked"
    assert world.remove(key, user=SECOND).state == "kept"


def test_a_removal_that_was_overtaken_by_events_keeps_the_buyer(world: World) -> None:
    assert world.remove(world.purchase()).state == "kept"


def test_a_chat_the_product_opened_once_still_counts(world: World) -> None:
    world.product("prod_2", CHAT)
    world.product("prod_2", "-1001000000009")
    key = world.ended()
    world.purchase("sub_2", products=["prod_2"])
    assert world.remove(key).state == "kept"


def test_a_purchase_made_while_telegram_was_looked_at_keeps_the_buyer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The product gets the chat, so no new purchase and no lock is in the way."""
    world.product("prod_2", "-1001000000009")
    key = world.ended()
    world.purchase("sub_2", products=["prod_2"])

    def meanwhile(call: Call) -> None:
        if call.method == "getChatMember":
            world.product("prod_2", CHAT)

    world.telegram.before = meanwhile
    assert world.remove(key).state == "kept"
    assert world.status() == "member"


def test_no_purchase_begins_to_admit_the_buyer_while_the_removal_is_under_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "USER_LOCK_PATIENCE_SECONDS", 0.0)
    key = world.ended()
    refused = []

    def meanwhile(call: Call) -> None:
        if call.method == "unbanChatMember":
            with pytest.raises(TryAgainLater):
                world.purchase("sub_2")
            refused.append(call)

    world.telegram.before = meanwhile
    assert world.remove(key).state == "revoked"
    assert len(refused) == 1
    world.purchase("sub_2")


def test_two_removals_of_one_user_don_t_meet(world: World) -> None:
    first, second = world.ended("sub_1"), world.ended("sub_2")
    others: list[Removal] = []

    def meanwhile(call: Call) -> None:
        if call.method == "unbanChatMember" and not others:
            others.append(world.remove(second))

    world.telegram.before = meanwhile
    assert world.remove(first).state == "revoked"
    (busy,) = others
    assert (busy.state, busy.wait, busy.attempts) == ("revoking", removals.BUSY_SECONDS, 0)
    assert world.remove(second, busy).state == "revoked"
    assert len(world.telegram.asked("unbanChatMember")) == 1


def test_an_unknown_product_of_a_live_purchase_is_waited_for_but_not_for_ever(
    world: World,
) -> None:
    key = world.ended()
    world.purchase("sub_2", products=["prod_unknown"])
    removal = world.remove(key)
    assert (removal.state, removal.attempts) == ("revoking", 1)
    assert world.telegram.calls == []
    for _ in range(10):
        removal = world.remove(key, removal)
    assert removal.state == "revoked"


# -- chats --------------------------------------------------------------------------------------


def test_another_stores_chat_is_never_touched(world: World) -> None:
    chat = "-1001000000077"
    world.remover.chats.claim(OTHER, chat)
    failed = world.remove(world.ended(), chat=chat)
    assert (failed.state, failed.detail) == (
        "failed",
        f"The chat {chat} belongs to another store.",
    )
    assert world.telegram.calls == []


def test_a_group_that_became_a_supergroup_is_followed_and_remembered(world: World) -> None:
    world.product("prod_1", "-5")
    world.telegram.api.add_chat(-5, members={int(USER): "member"})
    world.telegram.api.migrate(-5, to=-1001000000005)
    key = world.ended()
    done = world.remove(key, chat="-5")
    assert (done.state, done.chat_id) == ("revoked", "-5")
    assert world.status(chat="-1001000000005") == "left"
    assert world.remover.chats.resolve(DEMO, "-5") == "-1001000000005"
    assert world.remover.chats.owner_of("-1001000000005") == "demo"

    world.telegram.calls.clear()
    world.remove(world.ended("sub_2"), chat="-5")
    assert {call.params["chat_id"] for call in world.telegram.calls} == {-1001000000005}


def test_a_purchase_of_the_supergroup_keeps_whoever_came_through_the_group(world: World) -> None:
    world.product("prod_1", "-5")
    world.product("prod_2", "-1001000000005")
    world.telegram.api.add_chat(-5, members={int(USER): "member"})
    world.telegram.api.migrate(-5, to=-1001000000005)
    key = world.ended()
    world.purchase("sub_2", products=["prod_2"])
    assert world.remove(key, chat="-5").state == "kept"
    assert world.telegram.asked("unbanChatMember") == []


def test_a_purchase_of_the_group_keeps_whoever_came_through_the_supergroup(world: World) -> None:
    world.product("prod_1", "-1001000000005")
    world.product("prod_2", "-5")
    world.remover.chats.migrated(DEMO, "-5", "-1001000000005")
    key = world.ended()
    world.purchase("sub_2", products=["prod_2"])
    assert world.remove(key, chat="-1001000000005").state == "kept"
    assert world.telegram.calls == []


def test_a_chat_that_moved_to_another_stores_is_never_touched(world: World) -> None:
    world.product("prod_1", "-5")
    world.remover.chats.claim(OTHER, "-1001000000005")
    world.telegram.api.add_chat(-5, members={int(USER): "member"})
    world.telegram.api.migrate(-5, to=-1001000000005)
    assert world.remove(world.ended(), chat="-5").state == "failed"
    assert world.status(chat="-1001000000005") == "member"


def test_chats_that_move_in_circles_are_tried_again_later(world: World) -> None:
    moved = refuses(400, "Bad Request: group chat was upgraded to a supergroup chat",
                    migrate_to_chat_id=-1001000000005)  # fmt: skip
    world.telegram.script["getChatMember"] = [moved] * 10
    removal = world.remove(world.ended())
    assert (removal.state, removal.attempts) == ("revoking", 1)
    assert len(world.telegram.calls) == removals.MAX_MIGRATIONS
    assert world.nothing_is_held()


# -- invite links -------------------------------------------------------------------------------


def linked(world: World, key: Key) -> str:
    """Give the purchase an invite link of its own, by which its buyer came in."""
    answer = world.telegram.api.call(TOKEN, "createChatInviteLink", {"chat_id": CHAT})
    link: str = answer.body["result"]["invite_link"]
    world.link(key, USER, **{CHAT.replace("-", "_"): link})
    return link


def test_the_purchases_invite_link_is_revoked_before_its_buyer_is_removed(world: World) -> None:
    key = world.purchase()
    link = linked(world, key)
    world.end(key)
    done = world.remove(key)
    assert (done.state, done.link_revoked) == ("revoked", True)
    assert [call.method for call in world.telegram.calls] == [
        "revokeChatInviteLink",
        "getChatMember",
        "unbanChatMember",
    ]
    assert not world.telegram.api.join(int(CHAT), int(USER), link)


def test_the_link_of_a_purchase_whose_buyer_was_kept_is_revoked_with_the_last_one(
    world: World,
) -> None:
    first = world.purchase("sub_1")
    link = linked(world, first)
    second = world.purchase("sub_2")
    world.end(first)
    world.note(first, world.remove(first))
    assert world.telegram.calls == []
    world.end(second)
    done = world.remove(second)
    assert (done.state, done.link_revoked) == ("revoked", True)
    assert not world.telegram.api.join(int(CHAT), int(USER), link)


def test_a_link_that_is_gone_counts_as_revoked(world: World) -> None:
    key = world.purchase()
    world.link(key, USER, **{CHAT.replace("-", "_"): "https://t.me/+gone"})
    world.end(key)
    done = world.remove(key)
    assert (done.state, done.link_revoked) == ("revoked", True)


def test_a_link_is_revoked_once(world: World) -> None:
    key = world.purchase()
    linked(world, key)
    world.end(key)
    world.telegram.script["getChatMember"] = [refuses(502, "Bad Gateway")]
    removal = world.remove(key)
    assert (removal.state, removal.link_revoked) == ("revoking", True)
    assert world.remove(key, removal).state == "revoked"
    assert len(world.telegram.asked("revokeChatInviteLink")) == 1


def test_a_purchase_that_lives_on_with_another_user_keeps_its_link(world: World) -> None:
    key = world.purchase()
    world.link(key, USER)
    link = linked(world, key)
    world.link(key, SECOND, **{CHAT.replace("-", "_"): link})
    assert world.remove(key, user=USER).state == "revoked"
    assert world.telegram.asked("revokeChatInviteLink") == []


def test_a_link_the_bot_may_not_revoke_does_not_keep_its_buyer_in(world: World) -> None:
    key = world.purchase()
    linked(world, key)
    world.end(key)
    world.telegram.api.set_bot(int(CHAT), can_invite_users=False)
    failed = world.remove(key)
    assert world.status() == "left"
    assert (failed.state, failed.link_revoked) == ("failed", False)
    assert failed.detail == (
        "The person is out, but the invite link still works. "
        "The bot may not manage the invite links of VIP."
    )
    world.telegram.api.set_bot(int(CHAT), can_invite_users=True)
    assert world.remove(key, replace(failed, state="revoking")).state == "revoked"


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


# -- Telegram fails, or asks to wait -------------------------------------------------------------


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
            product_key(DEMO, f"prod_{i}"),
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
        return AccessRemover(tables.records, gateway, clock=time, monotonic=time, sleep=time.sleep)

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
