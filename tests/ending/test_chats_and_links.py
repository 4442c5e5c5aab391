"""Whose chat it is, where it has moved to, and what becomes of a purchase's invite link."""

from __future__ import annotations

from dataclasses import replace

from shared.ending import removal as removals
from tests.ending.removal_world import CHAT, DEMO, OTHER, SECOND, USER, World, linked, refuses
from tests.storage.owners import owner_of

# -- chats --------------------------------------------------------------------------------------


def test_another_stores_chat_is_never_touched(world: World) -> None:
    chat = "-1001000000077"
    world.remover.chats.approve(OTHER, chat)
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
    assert world.remover.chats.standing(DEMO, "-5").current_id == "-1001000000005"
    assert owner_of(world.remover.chats, "-1001000000005") == "demo"

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
    world.remover.chats.approve(OTHER, "-1001000000005")
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
