"""A store's chats: what opens them, and what the bot may do there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.domain.clock import iso
from shared.domain.telegram import NOT_NUMERIC, POSITIVE
from shared.storage.chats import Chats
from shared.storage.dynamo import Table
from shared.storage.products import all_products, id_of, product_of
from shared.tenant import Tenant


@dataclass(frozen=True)
class ChatList:
    """Reads the list."""

    table: Table
    chats: Chats

    def of(self, tenant: Tenant) -> dict[str, Any]:
        """Every chat that a product of the store opens, by id.

        ``bot`` is ``None`` until the bot first looked at the chat.
        """
        products: dict[str, set[str]] = {}
        for record in all_products(self.table, tenant):
            for chat_id in product_of(record).chats:
                products.setdefault(chat_id, set()).add(id_of(record))
        standings, looks = self.chats.standings(tenant, products), self.chats.looks(tenant)
        items = []
        for chat_id in sorted(products):
            standing, look = standings[chat_id], looks.get(chat_id)
            bot = None if look is None else look.bot
            detail = None if look is None else look.detail
            if not standing.usable:
                never = standing.reason in (NOT_NUMERIC, POSITIVE)
                bot, detail = "unreachable" if never else "unverified", standing.detail
            items.append(
                {
                    "chat_id": chat_id,
                    "title": standing.title or None,
                    "type": standing.type or None,
                    "product_ids": sorted(products[chat_id]),
                    "bot": bot,
                    "checked_at": None if look is None else iso(look.checked_at),
                    "detail": detail,
                }
            )
        return {"items": items}
