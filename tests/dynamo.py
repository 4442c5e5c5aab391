"""DynamoDB for the tests, with the template's tables.

The fixture ``tables`` gives fresh, empty tables of the in-memory DynamoDB
(:mod:`tests.memory_dynamo`), which takes microseconds where a server takes milliseconds. The
fixture ``dynoxide_tables`` gives the same on dynoxide, one per test process: for tests of
connections, of threads, of sizes, and of operators' commands that scan.

``tables.records`` and ``tables.index`` are :class:`shared.storage.dynamo.Table`;
``tables.client`` counts its calls.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from samtranslator.yaml_helper import yaml_parse

from shared.storage.dynamo import Item, Table, marshal
from tests.memory_dynamo.client import MemoryClient
from tests.memory_dynamo.database import MemoryDynamo

ROOT = Path(__file__).resolve().parent.parent
DYNOXIDE = ROOT / ".tools" / "dynoxide"
START_SECONDS = 10
ATTEMPTS = 5
# An address of loopback at which nothing listens.
NOBODY = "http://127.0.0.1:9"


@cache
def _resources() -> dict[str, Any]:
    resources: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    return resources


@cache
def table_definition(resource: str) -> dict[str, Any]:
    """A table of the template as ``create_table`` takes it, without its name."""
    properties = _resources()[resource]["Properties"]
    wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    return {name: properties[name] for name in wanted if name in properties}


class CountingClient:
    """A client of DynamoDB that counts its calls by operation.

    Attributes:
        calls: operation → number of calls.
        hook: called with (operation, request) before each call; it may raise.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()
        self.hook: Callable[[str, dict[str, Any]], None] | None = None

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)

        def call(**request: Any) -> Any:
            self.calls[name] += 1
            if self.hook is not None:
                self.hook(name, request)
            return operation(**request)

        return call


@dataclass(frozen=True)
class Tables:
    """The two tables of a test.

    Attributes:
        endpoint: where dynoxide answers; nobody does where the tables are in memory.
        dump_of: every item of a table, by the table's name.
    """

    endpoint: str
    client: Any
    records: Table
    index: Table
    dump_of: Callable[[str], list[dict[str, Any]]]

    def dump(self, table: Table) -> list[dict[str, Any]]:
        """Every item as DynamoDB's own values, by key (a test's right, never the code's)."""
        return self.dump_of(table.name)


def make_client(endpoint: str) -> Any:
    """A botocore client of a local endpoint, safe to share between threads."""
    return boto3.session.Session().client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=50),
    )


def create_tables(client: Any, suffix: str = "") -> tuple[str, str]:
    """Create both tables; their names."""
    names = (f"records{suffix}", f"customer-index{suffix}")
    for name, resource in zip(names, ("RecordsTable", "CustomerIndexTable"), strict=True):
        client.create_table(TableName=name, **table_definition(resource))
    return names


def write_all(
    table: Table, puts: Sequence[Item] = (), deletes: Sequence[tuple[str, str]] = ()
) -> None:
    """Put items and delete keys without conditions, 25 a call."""
    client: Any = table.client  # of the calls that only tests make, its type knows nothing
    requests: list[dict[str, Any]] = [{"PutRequest": {"Item": marshal(item)}} for item in puts] + [
        {"DeleteRequest": {"Key": marshal({"pk": pk, "sk": sk})}} for pk, sk in deletes
    ]
    for first in range(0, len(requests), 25):
        answer = client.batch_write_item(RequestItems={table.name: requests[first : first + 25]})
        assert not answer.get("UnprocessedItems")


@contextlib.contextmanager
def running_dynoxide(db_path: Path | None = None) -> Iterator[str]:
    """A dynoxide on a free port of loopback; its address. In memory without ``db_path``."""
    for _ in range(ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(DYNOXIDE), "serve", "--port", str(port)]
        if db_path is not None:
            command += ["--db-path", str(db_path)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - it takes no lock
        )
        try:
            if _answers(process, port):
                yield f"http://127.0.0.1:{port}"
                return
        finally:
            process.kill()
            process.wait()
    raise RuntimeError(f"dynoxide did not start; is {DYNOXIDE} there? `make install` brings it")


def _die_with_parent() -> None:
    """A killed test run leaves no database behind (Linux: PR_SET_PDEATHSIG)."""
    if os.uname().sysname == "Linux":
        import ctypes  # noqa: PLC0415 - in the child only

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether this process, and not another that took the port, answers in time."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            time.sleep(0.02)  # one that lost the port to another ends at once
            return process.poll() is None
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    return False


@pytest.fixture(scope="session")
def dynamo_endpoint() -> Iterator[str]:
    with running_dynoxide() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def _dynamo_client(dynamo_endpoint: str) -> Any:
    return make_client(dynamo_endpoint)


def _scan(client: Any, name: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
    items = [item for page in pages for item in page["Items"]]
    return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


_numbers = itertools.count(1)


@pytest.fixture
def dynoxide_tables(dynamo_endpoint: str, _dynamo_client: Any) -> Iterator[Tables]:
    """Fresh, empty tables of a database in a process of its own."""
    names = create_tables(_dynamo_client, f"-{next(_numbers)}")
    client = CountingClient(_dynamo_client)
    records, index = (Table(client, name) for name in names)
    yield Tables(dynamo_endpoint, client, records, index, partial(_scan, _dynamo_client))
    for name in names:
        _dynamo_client.delete_table(TableName=name)


@pytest.fixture
def memory_tables() -> Tables:
    """Fresh, empty tables in memory."""
    return memory_database()


def memory_database() -> Tables:
    """The same without a fixture, for a test that needs many."""
    database = MemoryDynamo()
    names = create_tables(database)
    client = CountingClient(MemoryClient(database))
    records, index = (Table(client, name) for name in names)
    return Tables(NOBODY, client, records, index, database.dump)


@pytest.fixture
def tables(memory_tables: Tables) -> Tables:
    """Fresh, empty tables; a module that needs others has a fixture of this name."""
    return memory_tables
