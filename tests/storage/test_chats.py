"""Chats belong to one store, and may move."""

from __future__ import annotations

import pytest

from shared.storage.chats import Chats
from shared.tenant import Tenant
from tests.dynamo import Tables
from tests.storage.owners import owner_of

DEMO = Tenant("demo")
OTHER = Tenant("other")


@pytest.fixture
def chats(tables: Tables) -> Chats:
    return Chats(tables.records)


def test_a_chat_belongs_to_the_store_that_registers_it_first(chats: Chats) -> None:
    assert chats.claim(DEMO, "-1001")
    assert chats.claim(DEMO, "-1001")
    assert not chats.claim(OTHER, "-1001")
    assert owner_of(chats, "-1001") == "demo"
    assert owner_of(chats, "-1002") is None


@pytest.mark.parametrize("chat_id", ["@vip", "-01001", "1001", "", "-1001#x"])
def test_what_is_no_chats_id_belongs_to_nobody(chats: Chats, chat_id: str) -> None:
    assert not chats.claim(DEMO, chat_id)


def test_a_chat_is_found_under_the_id_it_has_now(chats: Chats) -> None:
    chats.claim(DEMO, "-5")
    chats.claim(DEMO, "-6")
    assert chats.migrated(DEMO, "-5", "-1005")
    assert chats.migrated(DEMO, "-5", "-1005")
    assert chats.resolve(DEMO, "-5") == "-1005"
    assert owner_of(chats, "-1005") == "demo"
    assert chats.current_ids(["-5", "-6", "-7", "-1005"]) == {
        "-5": "-1005",
        "-6": "-6",
        "-7": "-7",
        "-1005": "-1005",
    }


def test_a_chat_nobody_registered_becomes_the_stores(chats: Chats) -> None:
    assert chats.resolve(DEMO, "-1001") == "-1001"
    assert chats.resolve(OTHER, "-1001") is None


def test_a_chat_that_moves_to_another_stores_id_is_that_stores(chats: Chats) -> None:
    chats.claim(DEMO, "-5")
    chats.claim(OTHER, "-1005")
    assert not chats.migrated(DEMO, "-5", "-1005")
    assert chats.resolve(DEMO, "-5") is None
    assert owner_of(chats, "-1005") == "other"


def test_a_store_cannot_move_anothers_chat(chats: Chats) -> None:
    chats.claim(DEMO, "-5")
    assert not chats.migrated(OTHER, "-5", "-1005")
    assert chats.resolve(DEMO, "-5") == "-5"


def test_chats_that_lead_to_each_other_end_somewhere(chats: Chats) -> None:
    chats.claim(DEMO, "-5")
    chats.migrated(DEMO, "-5", "-6")
    chats.migrated(DEMO, "-6", "-5")
    assert chats.resolve(DEMO, "-5") in ("-5", "-6")
    assert chats.current_ids(["-5"])["-5"] in ("-5", "-6")


def test_a_title_is_remembered_of_registered_chats_only(chats: Chats) -> None:
    chats.claim(DEMO, "-1001")
    chats.titled("-1001", "VIP")
    chats.titled("-1002", "Nobody's")
    chat = chats.get("-1001")
    assert chat is not None
    assert (chat.title, chat.store) == ("VIP", "demo")
    assert chats.get("-1002") is None
