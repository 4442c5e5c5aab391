"""Whose chat it is."""

from __future__ import annotations

from shared.storage.chats import Chats
from shared.storage.dynamo import Table
from shared.storage.registry import Registry


def store_chats(table: Table) -> Chats:
    """The chats, with ``demo`` as the default store."""
    return Chats(table, Registry(table, "demo"))


def owner_of(chats: Chats, chat_id: str) -> str | None:
    """The id of the store a chat belongs to."""
    item = chats.table.get(f"CHAT#{chat_id}", "OWNER")
    return None if item is None else str(item["store"])
