"""Whose chat it is."""

from __future__ import annotations

from shared.storage.chats import Chats


def owner_of(chats: Chats, chat_id: str) -> str | None:
    """The id of the store a chat belongs to."""
    chat = chats.get(chat_id)
    return None if chat is None else chat.store
