"""Makes a store's customer list anew from its records, and tells where the two differed.

It first goes through the store's accounts, compares what the list should hold of each with what it
holds, and writes it; then through the list, for rows that belong to nobody. How far it got is kept
in a file, so that it may be stopped and started again. The list stays in use meanwhile.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from customers_cli.command import Run, Store, command, new_app
from customers_cli.display import Display
from customers_cli.exits import Exit
from customers_cli.keep import keep
from shared.compose import Composition
from shared.storage.products import all_products, product_of
from shared.tenant import Tenant, account_of

app = new_app()

PAGE = 500
# The profile or a purchase of an account: what the list is made of.
_OF_ACCOUNTS = "begins_with(pk, :account) AND sk BETWEEN :profile AND :purchase"


@dataclass
class Progress:
    """How far a run got, and what it found.

    Attributes:
        scanned: items of both tables looked at, of about ``items``.
        accounts: accounts gone through.
        rows: rows of the list gone through.
        wrong: customers whose rows were missing or said something else.
        orphans: rows that belonged to nobody.
        at: DynamoDB's key to go on from, of the table that ``phase`` goes through.
    """

    store: str
    phase: str = "accounts"
    at: dict[str, Any] | None = None
    scanned: int = 0
    items: int = 0
    accounts: int = 0
    rows: int = 0
    wrong: int = 0
    orphans: int = 0

    @property
    def diverged(self) -> int:
        return self.wrong + self.orphans

    @property
    def share(self) -> float:
        return min(self.scanned / self.items, 1.0) if self.items else 0.0


class Reindexing:
    """One run over a store.

    Args:
        parts: records and customers.
        client: of DynamoDB. It scans, which no request of the API ever may.
        kept: where progress is kept; ``None``: nowhere.
        tell: called with the progress after every page.
    """

    def __init__(
        self,
        tenant: Tenant,
        parts: Composition,
        client: Any,
        *,
        kept: Path | None = None,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._tenant = tenant
        self._records = parts.settings.records_table
        self._index = parts.settings.index_table
        self._client = client
        self._customers = parts.customers
        self._chats = parts.chats
        self._table = parts.records_table
        self._kept = kept
        self._tell = tell
        self.progress = self._begin()

    def _begin(self) -> Progress:
        if self._kept is not None:
            with contextlib.suppress(OSError, ValueError, TypeError):
                kept = Progress(**json.loads(self._kept.read_text()))
                if kept.store == self._tenant.store_id:
                    return kept
        return Progress(self._tenant.store_id)

    def run(self) -> Progress:
        progress, tenant, customers = self.progress, self._tenant, self._customers
        progress.items = sum(map(self._size, (self._records, self._index)))
        if progress.phase == "accounts":
            self._name_chats()
            for page in self._pages(self._records, _OF_ACCOUNTS):
                for account in sorted({account_of(pk) for pk, _ in page}):
                    progress.accounts += 1
                    progress.wrong += not customers.is_shown(tenant, account)
                    customers.reindex(tenant, account, rewrite=True)
            progress.phase = "rows"
        for page in self._pages(self._index, None):
            progress.rows += len(page)
            rows = [(pk.removeprefix(f"{tenant.store_id}#"), sk) for pk, sk in page]
            for row in customers.strays(tenant, rows):
                progress.orphans += customers.drop_stray(tenant, row)
        if self._kept is not None:
            self._kept.unlink(missing_ok=True)
        return progress

    def _name_chats(self) -> None:
        """Have the sweep look at chats that were named before it looked at any."""
        for product in all_products(self._table, self._tenant):
            self._chats.name(self._tenant, product_of(product).chats)

    def _size(self, table: str) -> int:
        """About how many items a table holds (DynamoDB counts every six hours)."""
        return int(self._client.describe_table(TableName=table)["Table"].get("ItemCount", 0))

    def _pages(self, table: str, condition: str | None) -> Iterator[list[tuple[str, str]]]:
        """The keys of the store's items, page by page; where each page ends is kept."""
        values = {":store": f"{self._tenant.store_id}#"}
        conditions = ["begins_with(pk, :store)"]
        if condition is not None:
            conditions.append(condition)
            values |= {":account": f"{self._tenant.store_id}#ACCOUNT#", ":profile": "PROFILE"}
            values[":purchase"] = "PURCHASE~"
        request: dict[str, Any] = {
            "TableName": table,
            "ConsistentRead": True,
            "ProjectionExpression": "pk, sk",
            "FilterExpression": " AND ".join(conditions),
            "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items()},
            "Limit": PAGE,
        }
        while True:
            if self.progress.at is not None:
                request["ExclusiveStartKey"] = self.progress.at
            answer = self._client.scan(**request)
            yield [(item["pk"]["S"], item["sk"]["S"]) for item in answer["Items"]]
            self.progress.scanned += answer["ScannedCount"]
            self.progress.at = answer.get("LastEvaluatedKey")
            self._tell(self.progress)
            if self.progress.at is None:
                request.pop("ExclusiveStartKey", None)
                return
            if self._kept is not None:
                keep(self._kept, self.progress)


@command(app, again="it goes on where it stopped when it is run again")
def reindex(run: Run, store: Store) -> Exit:
    """Make a store's customer list anew from its records, and tell where the two differed.

    The list stays in use meanwhile. Stopped and run again, it goes on where it stopped. The exit
    code is 1 where the list and the records differed; it is repaired then.
    """
    tenant = Tenant(store)
    run.target.require(tenant)
    target = run.begin()
    with Display() as display:

        def show(progress: Progress) -> None:
            so_far = (
                f"{progress.accounts:,} accounts, {progress.rows:,} rows, "
                f"{progress.wrong:,} customers wrong, {progress.orphans:,} rows without a customer"
            )
            display.show(progress.share, progress.phase, so_far)

        client = target.aws("dynamodb")
        kept = target.kept("reindex", tenant)
        progress = Reindexing(tenant, target.parts, client, kept=kept, tell=show).run()
    print(f"{progress.diverged} differences between the list and the records, now repaired.")
    return Exit.FOUND if progress.diverged else Exit.DONE
