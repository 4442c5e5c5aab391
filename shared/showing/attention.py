"""Everybody of a store who should be out of a chat and is not, the oldest first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.clock import Clock, iso, system_clock
from shared.showing.presentation import Context, overdue_json, products_json
from shared.showing.reader import Reader
from shared.storage.attention import Attention, Place, is_late
from shared.storage.items import Record, from_item
from shared.storage.keys import Key
from shared.tenant import Tenant, account_of

# Queries that one page may take: where thousands have only just begun to wait, it may be short.
MOST_QUERIES = 5

RowId = list[Any]
"""A row within its purchase: since when, chat and Telegram user."""

Shown = tuple[Record, int, dict[str, Any]]
"""A purchase, since when somebody should be out, and the chat with its user."""


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page goes on.

    Attributes:
        after: the last purchase that was shown to its end.
        row: the last row that was shown of the purchase behind it.
    """

    after: Place | None = None
    row: RowId | None = None

    @classmethod
    def of(cls, text: str | None) -> _Position:
        if text is None:
            return cls()
        after, row = json.loads(text)
        return cls(Place.of(after), row)

    def __str__(self) -> str:
        after = None if self.after is None else self.after.to_json()
        return json.dumps([after, self.row], separators=(",", ":"))


@dataclass(frozen=True)
class AttentionList:
    """Reads the list."""

    reader: Reader
    attention: Attention
    clock: Clock = system_clock

    def page(
        self, tenant: Tenant, *, limit: int, position: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of the list, and the position of the next."""
        now, at = int(self.clock()), _Position.of(position)
        found, more = self._found(tenant, limit, now, at.after)
        records = self._records(found)
        contexts = self.reader.context(tenant, [record.purchase for record in records.values()])
        shown: list[Shown] = []
        for place in found:
            record = records.get(place.key)
            if record is not None:
                context = contexts[record.purchase.purchase_id]
                for since, row in overdue_json(record.purchase, context):
                    row_id = [since, row["chat_id"], row["telegram_user_id"]]
                    if at.row is not None and row_id <= at.row:
                        continue
                    if not is_late(since, row["state"] == "failed", now):
                        continue
                    if len(shown) == limit:
                        return self._items(tenant, shown, contexts), str(at)
                    shown.append((record, since, row))
                    at = _Position(at.after, row_id)
            at = _Position(place)
        following = None if more is None else str(_Position(more))
        return self._items(tenant, shown, contexts), following

    def _found(
        self, tenant: Tenant, limit: int, now: int, after: Place | None
    ) -> tuple[list[Place], Place | None]:
        """As many purchases as a page may need, and where to go on behind them."""
        found: list[Place] = []
        for _ in range(MOST_QUERIES):
            more, after = self.attention.places(tenant, now=now, after=after, most=4 * limit)
            found += more
            if len(found) > limit:
                return found[:limit], found[limit - 1]
            if after is None:
                break
        return found, after

    def _records(self, places: list[Place]) -> dict[Key, Record]:
        keys = [place.key for place in places]
        items = self.reader.records.table.batch_get((key.pk, key.sk) for key in keys)
        return {key: from_item(items[key.pk, key.sk]) for key in keys if (key.pk, key.sk) in items}

    def _items(
        self, tenant: Tenant, shown: list[Shown], contexts: Mapping[str, Context]
    ) -> list[dict[str, Any]]:
        accounts = [account_of(record.key.pk) for record, _, _ in shown]
        customers = self.reader.customers.of_accounts(tenant, accounts)
        items = []
        for (record, since, row), account in zip(shown, accounts, strict=True):
            customer, purchase = customers.get(account), record.purchase
            products = products_json(purchase, contexts[purchase.purchase_id].products)
            items.append(
                {
                    "customer": None if customer is None else customer.row,
                    "purchase_id": purchase.purchase_id,
                    "product": products[0] if products else None,
                    "chat": row,
                    "telegram_user_id": row["telegram_user_id"],
                    "state": row["state"],
                    "reason": row["reason"],
                    "detail": row["detail"],
                    "since": iso(since),
                    "next_attempt_at": row["next_attempt_at"],
                }
            )
        return items
