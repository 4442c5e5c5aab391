"""What holds for every test of the suite, watched while it runs.

**Tenants.** Every DynamoDB request that is made through :class:`shared.storage.dynamo.Table` names
partitions that a :class:`~shared.tenant.Tenant` built, or one of the few global ones. While one
store's work is under way (a request of the API, an event being applied, a purchase being driven),
it names that store's partitions only. No request scans, and only the sweep reads the ``due`` index.

**Logs.** No line of ours holds a key, a secret, a token or an e-mail address.

A breach fails the test it happened in. Functions in processes of their own (the end-to-end tests)
are out of sight here.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import pytest

import shared.http.app as http_app
from functions.stripe_webhook import events
from shared.drive import Driver
from shared.observability import logger
from shared.storage.dynamo import Table
from shared.storage.records import DUE_INDEX, REF_INDEX
from shared.tenant import Tenant, store_of

# Partitions that are no store's.
GLOBAL = re.compile(r"REGISTRY|BOT|CHAT#-\d+|PARKED#([A-Za-z0-9._:@-]+)")
# What may be asked while one store's work is under way: its own connection and parked events, its
# chats' owners, and the bot's pace.
BUILDERS = (
    "account_pk",
    "customer_pk",
    "products_pk",
    "telegram_user_pk",
    "requests_pk",
    "index_pk",
)
MAY_READ_DUE = re.compile(r"/(functions/period_end_revoker/revoke|local/\w+|tests/.*)\.py$")

SECRETS = re.compile(
    r"whsec_|[sr]k_(live|test)_|/bot\d+:|\b\d{3,}:[A-Za-z]\w+|eyJ[\w-]{10,}\.|a key of the tests"
)
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w+")


class Breach(AssertionError):
    """A rule of this module was broken."""


built: set[str] = set()
"""Every partition key a Tenant built in this process."""

refs: set[str] = set()
breaches: list[str] = []
seen: list[Callable[[str, str, dict[str, Any]], None]] = []
"""Called with (operation, table, request) for every request; see :func:`recording`."""

_store: ContextVar[str | None] = ContextVar("store", default=None)


@contextlib.contextmanager
def working_for(store_id: str | None) -> Iterator[None]:
    """One store's work: until it ends, no other store's partitions may be asked for."""
    token = _store.set(store_id)
    try:
        yield
    finally:
        _store.reset(token)


@contextlib.contextmanager
def recording() -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    """The requests made meanwhile: (operation, table, request)."""
    made: list[tuple[str, str, dict[str, Any]]] = []

    def note(operation: str, table: str, request: dict[str, Any]) -> None:
        made.append((operation, table, request))

    seen.append(note)
    try:
        yield made
    finally:
        seen.remove(note)


# -- requests --------------------------------------------------------------------------------------


class _Guarded:
    """A DynamoDB client; see the module's text."""

    def __init__(self, client: Any, table: Table) -> None:
        self._guarded = client
        self._table = table

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._guarded, name)
        if not callable(operation) or name not in _PARTITIONS:
            if name in ("scan", "execute_statement", "batch_execute_statement", "get_paginator"):
                _breach(f"{name} reads across stores")
            return operation

        def call(**request: Any) -> Any:
            _check(name, request)
            for note in list(seen):
                note(name, self._table.name, request)
            return operation(**request)

        return call


def _check(operation: str, request: dict[str, Any]) -> None:
    if operation == "query" and "IndexName" in request:
        _check_index(request)
        return
    for pk in _PARTITIONS[operation](request):
        problem = _problem_of(pk)
        if problem is not None:
            _breach(f"{operation} of {pk!r}: {problem}")


def _problem_of(pk: str) -> str | None:
    store = _store.get()
    world = GLOBAL.fullmatch(pk)
    if world is not None:
        parked_for = world.group(1)
        if parked_for is not None and store is not None and parked_for != store:
            return f"parked events of another store than {store!r}"
        return None
    if pk not in built:
        return "no Tenant built this key"
    if store is not None and not Tenant(store).owns(pk):
        return f"the work under way is that of {store!r}"
    return None


def _check_index(request: Mapping[str, Any]) -> None:
    index = request["IndexName"]
    if index == REF_INDEX:
        ref = request["ExpressionAttributeValues"][":ref"]["S"]
        if ref not in refs:
            _breach(f"by_ref asked for {ref!r}, which no Tenant built")
        store = _store.get()
        if store is not None and not Tenant(store).owns(ref):
            _breach(f"by_ref asked for {ref!r} in the work of {store!r}")
    elif index == DUE_INDEX:
        if _store.get() is not None or not any(map(MAY_READ_DUE.search, _callers())):
            _breach("the due index of all stores was read by somebody else than the sweep")
    else:
        _breach(f"no such index: {index}")


def _callers() -> Iterator[str]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back  # type: ignore[assignment]


def _of_query(request: Mapping[str, Any]) -> list[str]:
    condition = request["KeyConditionExpression"]
    if not re.match(r"pk = :pk\b", condition):
        _breach(f"a query that names no partition: {condition}")
        return []
    return [request["ExpressionAttributeValues"][":pk"]["S"]]


def _of_batch_write(request: Mapping[str, Any]) -> Iterator[str]:
    for writes in request["RequestItems"].values():
        for write in writes:
            ((_, body),) = write.items()
            yield (body.get("Item") or body["Key"])["pk"]["S"]


def _of_transaction(request: Mapping[str, Any]) -> Iterator[str]:
    for action in request["TransactItems"]:
        ((_, body),) = action.items()
        yield (body.get("Item") or body["Key"])["pk"]["S"]


def _of_key(request: Mapping[str, Any]) -> list[str]:
    return [(request.get("Item") or request["Key"])["pk"]["S"]]


_PARTITIONS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "get_item": _of_key,
    "put_item": _of_key,
    "update_item": _of_key,
    "delete_item": _of_key,
    "query": _of_query,
    "batch_get_item": lambda request: [
        key["pk"]["S"] for part in request["RequestItems"].values() for key in part["Keys"]
    ],
    "batch_write_item": _of_batch_write,
    "transact_write_items": _of_transaction,
}


def _breach(what: str) -> None:
    breaches.append(what)
    raise Breach(what)


# -- whose work is under way -----------------------------------------------------------------------


def _building(method: Callable[..., str], kept: set[str]) -> Callable[..., str]:
    @functools.wraps(method)
    def build(self: Tenant, *args: str) -> str:
        key = method(self, *args)
        kept.add(key)
        return key

    return build


def _resolving(resolve: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(resolve)
    def run(self: Any, event: dict[str, Any], context: Any) -> Any:
        authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
        store = ((authorizer.get("jwt") or {}).get("claims") or {}).get("store_id")
        with working_for(store if isinstance(store, str) else None):
            return resolve(self, event, context)

    return run


def _applying(apply: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(apply)
    def run(event: Any, tenant: Tenant, services: Any) -> Any:
        with working_for(tenant.store_id):
            return apply(event, tenant, services)

    return run


def _driving(drive: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(drive)
    def run(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        pk = key.key.pk if hasattr(key, "key") else key.pk
        with working_for(store_of(pk).store_id):
            return drive(self, key, *args, **kwargs)

    return run


# -- logs ------------------------------------------------------------------------------------------


def _writing(emit: Callable[[logging.LogRecord], None], handler: logging.Handler) -> Any:
    def run(record: logging.LogRecord) -> None:
        line = handler.format(record)
        for pattern in (SECRETS, EMAIL):
            found = pattern.search(line)
            if found is not None:
                breaches.append(f"{found.group()!r} was logged: {line}")
        emit(record)

    return run


# -- the plugin ------------------------------------------------------------------------------------


def _client(self: Table) -> Any:
    return self.__dict__["guarded_client"]


def _set_client(self: Table, client: Any) -> None:
    inner = client._guarded if isinstance(client, _Guarded) else client
    self.__dict__["guarded_client"] = _Guarded(inner, self)


def pytest_configure(config: pytest.Config) -> None:
    del config
    for name in BUILDERS:
        setattr(Tenant, name, _building(getattr(Tenant, name), built))
    Tenant.ref = _building(Tenant.ref, refs)  # type: ignore[method-assign]
    Table.client = property(_client, _set_client)  # type: ignore[assignment]
    resolver = type(http_app.make_app())
    resolver.resolve = _resolving(resolver.resolve)  # type: ignore[method-assign]
    events.apply = _applying(events.apply)
    Driver.drive = _driving(Driver.drive)  # type: ignore[method-assign]
    Driver.drive_leased = _driving(Driver.drive_leased)  # type: ignore[method-assign]
    handler = logger.registered_handler
    handler.emit = _writing(handler.emit, handler)  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _no_breach() -> Iterator[None]:
    """A breach fails its test, also where the code caught it."""
    breaches.clear()
    yield
    found = list(breaches)
    breaches.clear()
    assert not found, "\n".join(found)
