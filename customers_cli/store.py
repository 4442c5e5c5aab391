"""Registers a store for a connected Stripe account."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local.deploy import Aws
from local.running import Running
from local.stack import DEFAULT_STORE
from shared.storage.dynamo import Table
from shared.storage.registry import AccountTaken, Registry
from shared.tenant import Tenant


def main() -> int:
    store, account = [*sys.argv[1:], "", ""][:2]
    if not account.startswith("acct_"):
        print("Name both: make store STORE=other ACCOUNT=acct_...", file=sys.stderr)
        return 2
    try:
        tenant = Tenant(store)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    running = Running(Path(os.environ.get("DATA_DIR") or ".data")).read()
    if running.aws_url is None or running.dynamodb_url is None:
        print("Nothing is running: start it with `make run`.", file=sys.stderr)
        return 1
    aws = Aws(url=running.aws_url, dynamodb_url=running.dynamodb_url)
    records = Table(aws.client("dynamodb"), running.outputs["RecordsTableName"])
    try:
        Registry(records, DEFAULT_STORE).register(tenant, account)
    except AccountTaken:
        print(f"{account} belongs to another store already.", file=sys.stderr)
        return 1
    print(f"{account} belongs to the store {store}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
