"""The fixture ``world``: see :mod:`tests.ending.removal_world`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from shared.ending.removal import AccessRemover
from shared.integrations.telegram_gateway import TelegramGateway
from shared.storage.records import Records
from tests.dynamo import Tables
from tests.ending.removal_world import CHAT, USER, Telegram, Time, Tokens, World
from tests.storage.owners import store_chats


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
            store_chats(tables.records),
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
