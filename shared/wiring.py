"""What the functions are made of, each part made when it is first asked for and then shared.

Only what reading needs is imported here: a function that never calls Stripe doesn't load it.
"""

from __future__ import annotations

from functools import cache

from shared.settings import Settings
from shared.storage import aws
from shared.storage.customers import Customers
from shared.storage.dynamo import Table
from shared.storage.records import Records
from shared.storage.secrets import Secrets


@cache
def settings() -> Settings:
    return Settings()


@cache
def secrets() -> Secrets:
    return Secrets(aws.client("secretsmanager"))


@cache
def records_table() -> Table:
    return Table(aws.client("dynamodb"), settings().records_table)


@cache
def index_table() -> Table:
    return Table(aws.client("dynamodb"), settings().index_table)


@cache
def records() -> Records:
    return Records(records_table())


@cache
def customers() -> Customers:
    """Reads for every function; ``reindex`` only where the function has the index table."""
    return Customers(records_table(), index_table() if settings().has_index else None)


def cursor_key() -> bytes:
    """The key page cursors are signed with.

    Raises:
        RuntimeError: the secret holds none.
    """
    key = secrets().get(settings().cursor_secret_arn).get("key")
    if not isinstance(key, str) or not key:
        raise RuntimeError("the cursor secret holds no key")
    return key.encode()


def reset() -> None:
    """Forget everything made so far (tests, and a process that changes its settings)."""
    for made in (
        settings,
        secrets,
        records_table,
        index_table,
        records,
        customers,
    ):
        made.cache_clear()
