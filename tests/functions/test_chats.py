"""The store's chats, whose they are, and what the bot may do there: told by the API, looked at by
the sweep."""

from __future__ import annotations

from typing import Any

import pytest

from shared.ending.rights import DAILY_SECONDS, NO_ANSWER_SECONDS, UNVERIFIED_SECONDS
from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.functions.shop import CHAT, OTHER_CHAT, USER, Shop
from tests.functions.test_get_customer import check

CREATOR = 424242
DEMO, OTHER = Tenant("demo"), Tenant("other")


def chats(shop: Shop, store: str = "demo") -> dict[str, dict[str, Any]]:
    status, found = shop.get("/v1/chats", store=store)
    assert status == 200, found
    check("ChatList", found)
    return {chat["chat_id"]: chat for chat in found["items"]}


@pytest.fixture
def registry(shop: Shop) -> Registry:
    return Registry(shop.tables.records, "demo")


@pytest.fixture
def product(shop: Shop) -> str:
    made = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
    shop.deliver()
    return str(made["id"])


def open_chat(shop: Shop, chat_id: int = CHAT, **fields: Any) -> None:
    shop.telegram.bot_api.add_chat(chat_id, title="VIP", **fields)


def sell_in(shop: Shop, store: str, account: str, chat_id: int) -> tuple[str, str]:
    """A store of a connected account sells a product of a chat; customer and purchase."""
    connected = shop.stripe.account(account)
    made = connected.create_product(name="Hijack", telegram_chat_ids=str(chat_id))
    sold = connected.subscribe(product=made["id"], telegram_user_id=USER)
    shop.deliver()
    _, page = shop.get("/v1/customers", store=store)
    return page["items"][0]["customer_id"], str(sold["id"])


# -- what the API tells ----------------------------------------------------------------------------


def test_a_chat_has_its_products_and_what_the_bot_found(shop: Shop, product: str) -> None:
    open_chat(shop, type="channel")
    assert chats(shop)[str(CHAT)] == {
        "chat_id": str(CHAT),
        "title": None,
        "type": None,
        "product_ids": [product],
        "bot": None,
        "checked_at": None,
        "detail": None,
    }
    assert shop.sweep()["chats"] == 1
    chat = chats(shop)[str(CHAT)]
    assert (chat["title"], chat["type"]) == ("VIP", "channel")
    assert (chat["bot"], chat["detail"]) == ("can_remove", None)
    assert chat["checked_at"] is not None


@pytest.mark.parametrize(
    ("changes", "bot"),
    [
        ({"can_restrict_members": False}, "lost_rights"),
        ({"status": "member"}, "lost_rights"),
        ({"status": "left"}, "not_member"),
        ({"status": "kicked"}, "not_member"),
    ],
)
def test_what_keeps_the_bot_from_removing_people_is_told(
    shop: Shop, product: str, changes: dict[str, Any], bot: str
) -> None:
    open_chat(shop)
    shop.telegram.bot_api.set_bot(CHAT, **changes)
    shop.sweep()
    chat = chats(shop)[str(CHAT)]
    assert chat["bot"] == bot
    assert chat["detail"]


def test_a_chat_that_telegram_does_not_find_is_unreachable(shop: Shop, product: str) -> None:
    open_chat(shop)
    shop.telegram.bot_api.delete_chat(CHAT)
    shop.sweep()
    assert chats(shop)[str(CHAT)]["bot"] in ("unreachable", "not_member")


def test_an_id_that_is_no_chats_is_listed_as_it_was_given(shop: Shop) -> None:
    shop.stripe.live.create_product(name="Odd", telegram_chat_ids="@vip")
    shop.deliver()
    chat = chats(shop)["@vip"]
    assert (chat["bot"], chat["checked_at"]) == ("unreachable", None)
    assert "@vip" in chat["detail"]


def test_a_chat_is_looked_at_once_a_day(shop: Shop, product: str, clock: Any) -> None:
    open_chat(shop)
    assert shop.sweep()["chats"] == 1
    assert shop.sweep()["chats"] == 0
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=False)
    clock.later(DAILY_SECONDS)
    assert shop.sweep()["chats"] == 1
    assert chats(shop)[str(CHAT)]["bot"] == "lost_rights"


def test_without_an_answer_nothing_is_said_and_the_sweep_looks_again_in_five_minutes(
    shop: Shop, product: str, clock: Any
) -> None:
    open_chat(shop)
    shop.telegram.fail("server_error")
    shop.sweep()
    assert chats(shop)[str(CHAT)]["bot"] is None
    shop.telegram.heal()
    clock.later(NO_ANSWER_SECONDS)
    shop.sweep()
    assert chats(shop)[str(CHAT)]["bot"] == "can_remove"


# -- rights that come back -------------------------------------------------------------------------


def test_a_removal_that_failed_for_lost_rights_is_done_by_the_sweep_after_they_return(
    shop: Shop, product: str
) -> None:
    shop.sell(product)
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=False)
    assert shop.cancel()[0] == 202
    shop.sweep()
    assert shop.purchase()["access"]["state"] == "failed"
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=True)
    shop.sweep()
    purchase = shop.purchase()
    assert purchase["access"]["state"] == "revoked"
    assert shop.kicks() == [(CHAT, USER)]
    events = [(entry["actor"], entry["event"]) for entry in purchase["history"]]
    assert ("system", "removal_restarted") in events
    assert ("system", "access_failed") in events


@pytest.mark.parametrize("left", [{"status": "left"}, {"status": "kicked"}])
def test_a_bot_that_comes_back_into_the_chat_goes_on(
    shop: Shop, product: str, left: dict[str, Any]
) -> None:
    shop.sell(product)
    shop.telegram.bot_api.set_bot(CHAT, **left)
    assert shop.cancel()[0] == 202
    shop.telegram.bot_api.set_bot(CHAT, status="administrator", can_restrict_members=True)
    shop.sweep()
    assert shop.kicks() == [(CHAT, USER)]


def test_a_removal_that_failed_for_another_reason_waits_for_the_owner(
    shop: Shop, product: str
) -> None:
    shop.sell(product)
    shop.telegram.bot_api.set_member(CHAT, USER, status="administrator")
    assert shop.cancel()[0] == 202
    shop.telegram.bot_api.set_member(CHAT, USER, status="member")
    shop.sweep()
    assert shop.kicks() == []
    assert shop.purchase()["access"]["state"] == "failed"


def test_somebody_the_owner_left_in_is_not_removed_when_the_rights_return(
    shop: Shop, product: str
) -> None:
    shop.sell(product)
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=False)
    shop.cancel()
    shop.post(shop.path_of(shop.purchase(), "revocation"), {"leave": True})
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=True)
    shop.sweep()
    assert shop.kicks() == []


# -- whose chat it is ------------------------------------------------------------------------------


def test_a_store_that_names_anothers_chat_gets_nothing_and_both_see_why(
    shop: Shop, product: str, registry: Registry
) -> None:
    open_chat(shop)
    registry.register(OTHER, "acct_other")
    shop.telegram.bot_api.join(CHAT, USER)
    customer_id, purchase_id = sell_in(shop, "other", "acct_other", CHAT)
    shop.sweep()
    mine, theirs = chats(shop)[str(CHAT)], chats(shop, "other")[str(CHAT)]
    assert (mine["bot"], mine["title"]) == ("can_remove", "VIP")
    assert (theirs["bot"], theirs["title"], theirs["type"]) == ("unverified", None, None)
    assert "another store" in theirs["detail"]
    status, answer = shop.post(
        f"/v1/customers/{customer_id}/purchases/{purchase_id}/cancel",
        {"when": "immediately", "confirmation": "CANCEL PURCHASE"},
        store="other",
    )
    (row,) = answer["purchase"]["access"]["chats"]
    assert (status, row["state"], row["reason"]) == (202, "failed", "other_store")
    assert shop.kicks() == []


def test_a_chat_named_in_advance_goes_to_the_store_of_its_creator(
    shop: Shop, registry: Registry
) -> None:
    registry.register(OTHER, "acct_other")
    sell_in(shop, "other", "acct_other", CHAT)
    open_chat(shop)
    shop.telegram.bot_api.set_member(CHAT, CREATOR, status="creator")
    shop.sweep()
    assert chats(shop, "other")[str(CHAT)]["bot"] == "unverified"
    registry.add_telegram_owner(DEMO, str(CREATOR))
    shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
    shop.deliver()
    shop.sweep()
    assert chats(shop)[str(CHAT)]["bot"] == "can_remove"
    theirs = chats(shop, "other")[str(CHAT)]
    assert (theirs["bot"], "another store" in theirs["detail"]) == ("unverified", True)


def test_an_unverified_chat_is_shown_as_such_while_the_purchase_is_live(
    shop: Shop, registry: Registry
) -> None:
    registry.register(OTHER, "acct_other")
    open_chat(shop)
    customer_id, _ = sell_in(shop, "other", "acct_other", CHAT)
    _, detail = shop.get(f"/v1/customers/{customer_id}", store="other")
    access = detail["purchases"][0]["access"]
    (row,) = access["chats"]
    assert access["state"] == "no_chats"
    assert (row["state"], row["reason"]) == ("failed", "unverified")
    assert row["detail"]


def test_nobody_is_removed_from_an_unverified_chat_until_it_is_the_stores(
    shop: Shop, registry: Registry, clock: Any
) -> None:
    registry.register(OTHER, "acct_other")
    open_chat(shop)
    shop.telegram.bot_api.set_member(CHAT, CREATOR, status="creator")
    customer_id, purchase_id = sell_in(shop, "other", "acct_other", CHAT)
    shop.telegram.bot_api.join(CHAT, USER)
    path = f"/v1/customers/{customer_id}/purchases/{purchase_id}/cancel"
    body = {"when": "immediately", "confirmation": "CANCEL PURCHASE"}
    assert shop.post(path, body, store="other")[0] == 202
    shop.sweep()
    assert shop.kicks() == []
    registry.add_telegram_owner(OTHER, str(CREATOR))
    shop.sweep()
    assert shop.kicks() == [(CHAT, USER)]


def test_the_creator_of_a_chat_is_asked_again_within_the_hour(
    shop: Shop, registry: Registry, clock: Any
) -> None:
    registry.register(OTHER, "acct_other")
    registry.add_telegram_owner(OTHER, str(CREATOR))
    sell_in(shop, "other", "acct_other", OTHER_CHAT)
    shop.sweep()
    assert chats(shop, "other")[str(OTHER_CHAT)]["bot"] == "unverified"
    open_chat(shop, OTHER_CHAT)
    shop.telegram.bot_api.set_member(OTHER_CHAT, CREATOR, status="creator")
    clock.later(UNVERIFIED_SECONDS)
    shop.sweep()
    assert chats(shop, "other")[str(OTHER_CHAT)]["bot"] == "can_remove"


def test_chats_of_another_store_are_not_listed(
    shop: Shop, product: str, registry: Registry
) -> None:
    registry.register(OTHER, "acct_other")
    assert chats(shop, "other") == {}
