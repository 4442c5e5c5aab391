"""The sweep looks at chats after it did what is due, and for no longer than it may."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from functions.period_end_revoker import revoke
from functions.period_end_revoker.revoke import LOOKS_SECONDS, MOST_SILENT, Revoker
from shared.domain.telegram import UNAUTHORIZED_PAUSE_SECONDS
from shared.ending.rights import NO_ANSWER_SECONDS, BotRests, NoAnswer, Rights
from shared.storage.bot import Bot
from shared.storage.chats import Look
from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.functions.shop import CHAT, USER, Shop
from tests.functions.test_attention import cancel, sell
from tests.functions.test_chats import CREATOR, DEMO, OTHER, chats, open_chat
from tests.storage.owners import store_chats

HERE = -1_009_000_000_000


def name_chats(shop: Shop, count: int) -> list[int]:
    """New chats that a product opens, at which nobody has looked yet."""
    ids = [HERE - number for number in range(count)]
    for chat_id in ids:
        open_chat(shop, chat_id)
    listed = ",".join(map(str, ids))
    shop.stripe.live.create_product(name="All", telegram_chat_ids=listed)
    shop.deliver()
    return ids


def fail_for_lost_rights(shop: Shop) -> None:
    """The only purchase's buyer can't be removed from its chat."""
    shop.sell()
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=False)
    assert shop.cancel()[0] == 202


def sell_and_cancel(shop: Shop, product: str, user: int) -> None:
    sold = sell(shop, product, user)
    cancel(shop, sold, user)


def pause(shop: Shop) -> int:
    """Until when the bot rests."""
    return Bot(shop.tables.records).state().paused_until


Find = Callable[[str], Look]


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> Callable[[Find], list[str]]:
    """``see(find)``: have looks find what ``find(chat_id)`` says; the chats looked at, as they
    are."""

    def replace(find: Find) -> list[str]:
        looks: list[str] = []

        def look(rights: Rights, tenant: Tenant, chat_id: str) -> Look:
            looks.append(chat_id)
            found = find(chat_id)
            rights.chats.looked_at(tenant, chat_id, found, again_at=int(time.time()) + 86_400)
            return found

        monkeypatch.setattr(Rights, "look", look)
        return looks

    return replace


See = Callable[[Find], list[str]]


def test_what_is_due_is_done_before_any_chat_is_looked_at(shop: Shop, clock: Any) -> None:
    shop.telegram.fail("server_error")
    shop.sell()
    assert shop.cancel()[0] == 202
    name_chats(shop, 5)
    clock.later(3600)
    shop.telegram.heal()
    shop.telegram.forget_requests()
    shop.sweep()
    methods = [request["method"] for request in shop.telegram.requests()]
    assert shop.kicks() == [(CHAT, USER)]
    assert methods.index("unbanChatMember") < methods.index("getChat")


def test_looks_end_after_a_minute_and_the_next_sweep_goes_on(shop: Shop, see: See) -> None:
    ids = name_chats(shop, 10)

    def slowly(_: str) -> Look:
        shop.seconds_passed += LOOKS_SECONDS / 4
        return Look("can_remove", None, 0)

    looks = see(slowly)
    assert shop.sweep()["chats"] == 4
    assert shop.sweep()["finished"]
    shop.sweep()
    assert sorted(looks) == sorted(map(str, ids))


def test_restarts_are_done_although_looks_took_all_their_time(shop: Shop, see: See) -> None:
    fail_for_lost_rights(shop)
    name_chats(shop, 10)
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=True)

    def slowly(_: str) -> Look:
        shop.seconds_passed += LOOKS_SECONDS
        return Look("can_remove", None, 0)

    looks = see(slowly)
    shop.sweep()
    assert looks == [str(CHAT)]
    assert shop.kicks() == [(CHAT, USER)]


def test_a_restarted_removal_is_done_though_the_index_does_not_show_it_yet(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_for_lost_rights(shop)
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=True)
    monkeypatch.setattr(Revoker, "_due", lambda _: iter(()))
    shop.sweep()
    assert shop.kicks() == [(CHAT, USER)]


def test_one_chat_that_never_answers_does_not_hide_the_others(
    shop: Shop, see: See, clock: Any
) -> None:
    ids = [str(chat_id) for chat_id in name_chats(shop, 6)]

    def one_is_silent(chat_id: str) -> Look:
        if chat_id == ids[0]:
            raise NoAnswer
        return Look("can_remove", None, 0)

    looks = see(one_is_silent)
    shop.sweep()
    assert sorted(looks) == sorted(ids)
    looks.clear()
    clock.later(NO_ANSWER_SECONDS)
    shop.sweep()
    assert looks == [ids[0]]


def test_looks_end_where_telegram_answers_nobody(shop: Shop, see: See) -> None:
    name_chats(shop, 10)

    def nobody(_: str) -> Look:
        raise NoAnswer

    looks = see(nobody)
    shop.sweep()
    assert len(looks) == MOST_SILENT


def test_a_resting_bot_looks_at_nothing(shop: Shop, see: See) -> None:
    name_chats(shop, 10)

    def rests(_: str) -> Look:
        raise BotRests

    looks = see(rests)
    shop.sweep()
    assert len(looks) == 1


def test_telegrams_wish_to_wait_is_kept_when_it_answers_a_look(shop: Shop, clock: Any) -> None:
    name_chats(shop, 3)
    shop.telegram.fail("too_many_requests", retry_after=40, times=1)
    before = time.time()
    shop.sweep()
    assert 40 <= pause(shop) - before <= 45
    assert len(shop.telegram.requests()) == 1
    shop.sweep()
    assert len(shop.telegram.requests()) == 1


def test_a_token_that_is_refused_in_a_look_pauses_the_bot(shop: Shop, clock: Any) -> None:
    name_chats(shop, 3)
    shop.telegram.fail("unauthorized")
    before = time.time()
    shop.sweep()
    assert 0 <= pause(shop) - before - UNAUTHORIZED_PAUSE_SECONDS <= 5
    asked = len(shop.telegram.requests())
    shop.sweep()
    assert len(shop.telegram.requests()) == asked


def test_one_sweep_restarts_so_many_removals_and_no_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=False)
    for user in range(USER, USER + 5):
        sell_and_cancel(shop, made["id"], user)
    monkeypatch.setattr(revoke, "MOST_RETRIED", 2)
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=True)
    for removed in (2, 4, 5):
        shop.sweep()
        assert len(shop.kicks()) == removed


# -- whose chat it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("moves", [1, 2])
def test_a_group_that_moved_before_it_was_proven_whose_it_is_can_be_proven(
    shop: Shop, moves: int
) -> None:
    registry = Registry(shop.tables.records, "demo")
    registry.register(OTHER, "acct_other")
    old = -5001
    open_chat(shop, old, type="group")
    shop.telegram.bot_api.set_member(old, CREATOR, status="creator")
    shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(old))
    shop.deliver()
    shop.sweep()
    assert chats(shop)[str(old)]["bot"] == "unverified"
    at = old
    for number in range(moves):
        at = shop.telegram.bot_api.migrate(at, to=-1_001_005_000 - number).chat_id
    registry.add_telegram_owner(DEMO, str(CREATOR))
    store_chats(shop.tables.records).look_soon(DEMO)
    shop.sweep()
    assert chats(shop)[str(old)]["bot"] == "can_remove"
