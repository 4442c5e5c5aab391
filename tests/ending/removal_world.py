"""A store, its buyers and a Telegram, for tests of one removal: from the question whether the user
may be there to what the owner is told.

Telegram is the stand-in's own state machine, called in this process through an adapter of
``requests``. Time is the test's.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter

from shared.domain.merge import Observation
from shared.domain.purchase import Purchase, Removal
from shared.ending.removal import AccessRemover
from shared.integrations.telegram_gateway import TelegramGateway
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
        response.raw = io.BytesIO(json.dumps(body).encode())
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

    def product(self, product_id: str, *chats: str, livemode: bool = True) -> None:
        self.remover.chats.name(DEMO, chats)
        data = {"name": product_id, "chats": list(chats), "deleted": False}
        self._observe(product_key(DEMO, product_id, livemode), "product", data, frozenset())

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


def linked(world: World, key: Key) -> str:
    """Give the purchase an invite link of its own, by which its buyer came in."""
    answer = world.telegram.api.call(TOKEN, "createChatInviteLink", {"chat_id": CHAT})
    link: str = answer.body["result"]["invite_link"]
    world.link(key, USER, **{CHAT.replace("-", "_"): link})
    return link
