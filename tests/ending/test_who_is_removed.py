"""Who is removed from a chat, and who is kept there."""

from __future__ import annotations

import pytest

from shared.domain.errors import TryAgainLater
from shared.domain.purchase import Removal
from shared.ending import removal as removals
from shared.storage import records as records_module
from tests.ending.removal_world import BOT, CHAT, SECOND, TOKEN, USER, Call, World

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


def test_a_chat_that_a_product_opened_once_keeps_nobody(world: World) -> None:
    world.product("prod_2", CHAT)
    world.product("prod_2", "-1001000000009")
    key = world.ended()
    world.purchase("sub_2", products=["prod_2"])
    assert world.remove(key).state == "revoked"


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
