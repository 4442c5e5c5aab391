"""Makes a store's customer list anew from its records, and tells where the two differed.

It first goes through the store's accounts, compares what the list should hold of each with what it
holds, and writes it; then through the list, for rows that belong to nobody. How far it got is kept
in a file, so that it may be stopped and started again. The list stays in use meanwhile.

Without a running stack it works on the tables that ``RECORDS_TABLE`` and ``INDEX_TABLE`` name, with
the AWS credentials of the environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local.deploy import Aws
from local.running import Running
from shared.settings import Settings
from shared.storage import aws
from shared.storage.customers import Customers
from shared.storage.dynamo import Table
from shared.tenant import Tenant, account_of

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


class Reindexing:
    """One run over a store.

    Args:
        client: of DynamoDB. It scans, which no request of the API ever may.
        records, index: names of the tables.
        kept: where progress is kept; ``None``: nowhere.
        tell: called with the progress after every page.
    """

    def __init__(
        self,
        tenant: Tenant,
        client: Any,
        *,
        records: str,
        index: str,
        kept: Path | None = None,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._tenant = tenant
        self._records = records
        self._index = index
        self._client = client
        self._customers = Customers(Table(client, records), Table(client, index))
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
                self._kept.write_text(json.dumps(asdict(self.progress)))


def _show(progress: Progress) -> None:
    done = min(progress.scanned / progress.items, 1.0) if progress.items else 0.0
    bar = "#" * int(30 * done)
    text = (
        f"\r[{bar:30}] {progress.accounts} accounts, {progress.rows} rows:"
        f" {progress.wrong} customers wrong, {progress.orphans} rows without a customer"
    )
    print(text, end="", file=sys.stderr, flush=True)


def _tables(data_dir: Path) -> tuple[Any, str, str]:
    """A client, and the names of the running stack's tables, else of those in the environment.

    Raises:
        RuntimeError: neither is there.
    """
    running = Running(data_dir).read()
    if running.aws_url is not None and running.dynamodb_url is not None:
        client = Aws(url=running.aws_url, dynamodb_url=running.dynamodb_url).client("dynamodb")
        outputs = running.outputs
        return client, outputs["RecordsTableName"], outputs["CustomerIndexTableName"]
    given = Settings()
    return aws.client("dynamodb"), given.records_table, given.index_table


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a store's customer list anew")
    parser.add_argument("store")
    options = parser.parse_args()
    data_dir = Path(os.environ.get("DATA_DIR") or ".data")
    try:
        tenant = Tenant(options.store)
        client, records, index = _tables(data_dir)
    except (ValueError, RuntimeError) as error:
        print(f"{error}\nStart the stack with `make run`, or name the tables.", file=sys.stderr)
        return 2
    data_dir.mkdir(parents=True, exist_ok=True)
    kept = data_dir / f"reindex-{options.store}.json"
    progress = Reindexing(tenant, client, records=records, index=index, kept=kept, tell=_show).run()
    print(file=sys.stderr)
    print(f"{progress.diverged} differences between the list and the records, now repaired.")
    return 1 if progress.diverged else 0


if __name__ == "__main__":
    sys.exit(main())
