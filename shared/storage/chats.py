"""Which store a Telegram chat belongs to, and under which id it lives now.

A chat belongs to the store that registered it first. One bot serves all stores: without this, a
store could register another's chat and have its members removed.

An item per chat, ``CHAT#{chat_id}`` / ``OWNER``: ``store``, ``migrated_to`` (a group that became
a supergroup has a new id) and ``title`` (as last seen, for sentences).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.domain.telegram import NOT_NUMERIC, OTHER_STORE, POSITIVE, is_chat_id
from shared.storage.dynamo import ConditionFailed, Item, Table
from shared.tenant import Tenant

_OWNER = "OWNER"
# A group migrates once in its life. Two more hops are allowed before the record counts as broken.
_MAX_HOPS = 3


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as it is known here.

    Attributes:
        store: the id of the store that registered it first.
        migrated_to: the id it has now, where it moved.
        title: as Telegram last told it.
    """

    chat_id: str
    store: str
    migrated_to: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a store's purchases may act on a chat.

    Attributes:
        usable: somebody can be removed from it for this store.
        current_id: the id it has now.
        reason, detail: why not, as a stable code and as a sentence for the owner.
        title, type: as Telegram last told them.
    """

    usable: bool
    current_id: str
    reason: str | None = None
    detail: str | None = None
    title: str | None = None
    type: str | None = None


class Chats:
    """The chats all stores have registered."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def claim(self, tenant: Tenant, chat_id: str) -> bool:
        """Register a chat for a store; repeatable.

        Returns:
            Whether the chat is this store's now. ``False``: another store registered it first,
            or it is no numeric chat id.
        """
        if not is_chat_id(chat_id):
            return False
        try:
            self.table.put(
                {"pk": _pk(chat_id), "sk": _OWNER, "store": tenant.store_id},
                "attribute_not_exists(pk)",
            )
        except ConditionFailed as refused:
            return refused.item is not None and refused.item.get("store") == tenant.store_id
        return True

    def get(self, chat_id: str) -> Chat | None:
        """A chat under exactly this id, moved or not."""
        item = self.table.get(_pk(chat_id), _OWNER)
        return None if item is None else _chat(chat_id, item)

    def resolve(self, tenant: Tenant, chat_id: str) -> str | None:
        """The id a store's chat has now; ``None`` where it belongs to another store.

        A chat nobody has registered becomes this store's.
        """
        for _ in range(_MAX_HOPS):
            chat = self.get(chat_id)
            if chat is None:
                return chat_id if self.claim(tenant, chat_id) else None
            if chat.store != tenant.store_id:
                return None
            if chat.migrated_to is None:
                break
            chat_id = chat.migrated_to
        return chat_id

    def standings(self, tenant: Tenant, chat_ids: Iterable[str]) -> dict[str, Standing]:
        """How each chat stands, by its id as it was given."""
        named = set(chat_ids)
        current = self.current_ids({chat for chat in named if is_chat_id(chat)})
        found = self.table.batch_get((_pk(chat), _OWNER) for chat in sorted(set(current.values())))
        standings = {}
        for chat_id in named:
            if not is_chat_id(chat_id):
                standings[chat_id] = _unusable(chat_id)
                continue
            item = found.get((_pk(current[chat_id]), _OWNER), {})
            ours = item.get("store", tenant.store_id) == tenant.store_id
            standings[chat_id] = Standing(
                usable=ours,
                current_id=current[chat_id],
                reason=None if ours else OTHER_STORE,
                detail=None if ours else f"The chat {chat_id} belongs to another store.",
                title=item.get("title") if ours else None,
                type=item.get("type") if ours else None,
            )
        return standings

    def current_ids(self, chat_ids: Iterable[str]) -> dict[str, str]:
        """The id each chat has now: itself, or where its migrations lead."""
        now = {chat_id: chat_id for chat_id in chat_ids}
        looked_up: dict[str, str] = {}
        for _ in range(_MAX_HOPS):
            unknown = set(now.values()) - looked_up.keys()
            if not unknown:
                break
            found = self.table.batch_get((_pk(chat_id), _OWNER) for chat_id in sorted(unknown))
            for chat_id in unknown:
                item = found.get((_pk(chat_id), _OWNER), {})
                looked_up[chat_id] = item.get("migrated_to", chat_id)
            now = {chat_id: looked_up.get(current, current) for chat_id, current in now.items()}
        return now

    def migrated(self, tenant: Tenant, old_id: str, new_id: str) -> bool:
        """Remember that a chat of this store moved; repeatable.

        Returns:
            Whether the new id is this store's: another may have registered it before.
        """
        # The new id first: an old one that leads to a chat without an owner could be claimed by
        # anybody in between.
        ours = self.claim(tenant, new_id)
        try:
            self.table.update_blind(
                _pk(old_id),
                _OWNER,
                "SET migrated_to = :new",
                "#store = :store",
                names={"#store": "store"},
                new=new_id,
                store=tenant.store_id,
            )
        except ConditionFailed:
            return False
        return ours

    def titled(self, chat_id: str, title: str) -> None:
        """Remember a registered chat's title."""
        try:
            self.table.update_blind(
                _pk(chat_id), _OWNER, "SET title = :title", "attribute_exists(pk)", title=title
            )
        except ConditionFailed:
            return


def _unusable(chat_id: str) -> Standing:
    if chat_id.isdigit():
        detail = f"{chat_id} is a person's id: ids of groups and channels are below zero."
        return Standing(False, chat_id, POSITIVE, detail)
    detail = f"{chat_id} is no numeric id of a chat."
    return Standing(False, chat_id, NOT_NUMERIC, detail)


def _pk(chat_id: str) -> str:
    return f"CHAT#{chat_id}"


def _chat(chat_id: str, item: Item) -> Chat:
    return Chat(chat_id, item["store"], item.get("migrated_to"), item.get("title"))
