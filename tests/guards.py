"""What holds for every test of the suite, watched while it runs.

**Tenants.** Every DynamoDB request that is made through :class:`shared.storage.dynamo.Table` names
partitions that a :class:`~shared.tenant.Tenant` built, or one of the few global ones. While one
store's work is under way (a request of the API, an event being applied, a purchase being driven),
it names that store's partitions only. No request scans, and only the sweep reads the ``due`` index.

**Permissions.** While a function runs (:meth:`tests.functions.shop.Shop.invoke`), it asks AWS for
nothing that its role in the template does not allow.

**Outgoing requests.** AWS, Stripe and Telegram are asked nothing that they do not take
(:mod:`tests.outgoing`), whatever stands in for them.

**Output.** No line of a log and nothing that is printed holds a key, a secret, a token, an e-mail
address, or the name, reason or search of anybody the test has stored or asked for.

A breach fails the test it happened in. Functions in processes of their own (the end-to-end tests)
are out of sight here; tests/stacks.py reads their logs.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import re
import traceback
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs

import pytest

import shared.http.app as http_app
from functions.store_events.apply import StoreEvents
from shared.ending.drive import Driver
from shared.integrations.stripe_gateway import StripeGateway
from shared.integrations.telegram_gateway import TelegramGateway
from shared.observability import logger
from shared.storage.customers import Customers
from shared.storage.dynamo import Table
from shared.storage.keys import ATTENTION_INDEX, DUE_INDEX, REF_INDEX
from shared.storage.schedules import Schedules
from shared.storage.secrets import Secrets
from shared.stripe_events import events
from shared.tenant import Tenant, store_of
from tests import outgoing, policies

# Partitions that are no store's.
GLOBAL = re.compile(r"REGISTRY|BOT|STRIPE|CHAT#-\d+|PARKED#([A-Za-z0-9._:@-]+)")
# What may be asked while one store's work is under way: its own connection and parked events, its
# chats' owners, and the bot's pace.
BUILDERS = (
    "account_pk",
    "customer_pk",
    "products_pk",
    "sold_pk",
    "chats_pk",
    "telegram_user_pk",
    "requests_pk",
    "index_pk",
    "attention_pk",
)
MAY_READ_DUE = re.compile(
    r"/(functions/period_end_revoker/revoke|(local|customers_cli)/\w+|tests/.*)\.py$"
)

# Twelve zeros are the account of the local run, in its ARNs.
SECRETS = re.compile(
    r"whsec_\w|[sr]k_(live|test)_\w|/bot\d+:|\b(?!0{12}:)\d{3,}:[A-Za-z]\w+|eyJ[\w-]{10,}\."
    r"|a key of the tests"
)
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w+")
# Fields of what comes in that say who somebody is, or that somebody wrote (Stripe's own reasons
# are words of its API; the owner's is free text).
PERSONAL = frozenset(
    {"name", "email", "phone", "line1", "receipt_email", "customer_email", "avatar_url", "comment"}
)
WRITTEN_BY_OWNERS = PERSONAL | {"reason"}
# Shorter texts are also parts of words.
SHORTEST = 5


class Breach(AssertionError):
    """A rule of this module was broken."""


built: set[str] = set()
"""Every partition key a Tenant built in this process."""

refs: set[str] = set()
breaches: list[str] = []
made: dict[str, set[policies.Call]] = defaultdict(set)
"""What each function has asked AWS for in this test."""

planted: set[str] = set()
"""What this test has said of people: none of it may be read in any output."""

_store: ContextVar[str | None] = ContextVar("store", default=None)
_function: ContextVar[str | None] = ContextVar("function", default=None)


@contextlib.contextmanager
def working_for(store_id: str | None) -> Iterator[None]:
    """One store's work: until it ends, no other store's partitions may be asked for."""
    token = _store.set(store_id)
    try:
        yield
    finally:
        _store.reset(token)


@contextlib.contextmanager
def running(function: str) -> Iterator[None]:
    """An invocation of a function, which has its role's permissions and no others. What it raises
    is printed by Lambda."""
    token = _function.set(function)
    try:
        yield
    except Exception as error:
        _read("".join(traceback.format_exception(error)), "was raised")
        raise
    finally:
        _function.reset(token)


# -- requests --------------------------------------------------------------------------------------


class _Guarded:
    """A DynamoDB client; see the module's text."""

    def __init__(self, client: Any, table: Table) -> None:
        self._guarded = client
        self._table = table

    def __getattr__(self, name: str) -> Any:
        if name in ("execute_statement", "batch_execute_statement", "get_paginator"):
            _breach(f"{name} reads across stores")
        operation = getattr(self._guarded, name)
        if not callable(operation) or name not in _PARTITIONS:
            return operation

        def call(**request: Any) -> Any:
            _check(name, request)
            _ask_aws("dynamodb", name, request)
            return operation(**request)

        return call


class _Asked:
    """A client of another service; see the module's text."""

    def __init__(self, client: Any, service: str) -> None:
        self._guarded = client
        self._service = service

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._guarded, name)

        def call(**request: Any) -> Any:
            _ask_aws(self._service, name, request)
            return operation(**request)

        return call


def _ask_aws(service: str, method: str, request: dict[str, Any]) -> None:
    problem = outgoing.aws_problem(service, method, request)
    if problem is not None:
        _breach(problem)
    function = _function.get()
    if function is None:
        return
    for call in policies.calls(service, method, request):
        made[function].add(call)
        if call not in policies.granted(function):
            _breach(f"the role of {function} does not allow {call[0]} on {call[1]}")


def _asking_stripe(ask: Callable[..., Any]) -> Callable[..., Any]:
    # Once, and not within the first invocation that asks: reading the routes takes a second.
    outgoing.stripe_problem("get", "/v1/products/prod_1", {})

    @functools.wraps(ask)
    def run(
        self: Any, method: str, path: str, mode: Any, params: Any = None, *args: Any, **more: Any
    ) -> Any:
        problem = outgoing.stripe_problem(method, path, params or {})
        if problem is not None:
            _breach(problem)
        return ask(self, method, path, mode, params, *args, **more)

    return run


def _asking_telegram(ask: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(ask)
    def run(self: Any, method: str, params: dict[str, Any], *args: Any, **more: Any) -> Any:
        problem = outgoing.telegram_problem(method, params)
        if problem is not None:
            _breach(problem)
        return ask(self, method, params, *args, **more)

    return run


def _check(operation: str, request: dict[str, Any]) -> None:
    if operation == "query" and "IndexName" in request:
        _check_index(request)
        return
    if operation == "scan":
        if any("customers_cli/export.py" in caller for caller in _callers()):
            return  # an operator looks for what no item lists
        if request.get("IndexName") != ATTENTION_INDEX or not any(
            map(MAY_READ_DUE.search, _callers())
        ):
            _breach("somebody else than the sweep scanned, or something else than overdue removals")
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
    elif index == ATTENTION_INDEX:
        asked_for = request["ExpressionAttributeValues"][":pk"]["S"]
        problem = _problem_of(asked_for)
        if problem is not None:
            _breach(f"the attention index asked for {asked_for!r}: {problem}")
    else:
        _breach(f"no such index: {index}")


def _callers() -> Iterator[str]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


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
    "scan": lambda request: [],
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
        for texts in parse_qs(event.get("rawQueryString") or "", errors="replace").items():
            if texts[0] == "search":
                _plant(texts[1])
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            _plant_personal(json.loads(event.get("body") or "null"), WRITTEN_BY_OWNERS)
        with working_for(store if isinstance(store, str) else None):
            return resolve(self, event, context)

    return run


def _applying(apply: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(apply)
    def run(event: Any, tenant: Tenant, services: Any) -> Any:
        if event.object.get("object") != "product":
            _plant_personal(event.object)
        with working_for(tenant.store_id):
            return apply(event, tenant, services)

    return run


def _handling(handle: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handle)
    def run(self: Any, raw: Mapping[str, Any]) -> Any:
        detail = raw.get("detail")
        store = None
        if isinstance(detail, Mapping):
            if raw.get("detail-type") == "CustomerProfileChanged":
                _plant_personal(detail)
            with contextlib.suppress(KeyError, TypeError, ValueError):
                store = Tenant(detail["store_id"]).store_id
        with working_for(store):
            return handle(self, raw)

    return run


def _reindexing(reindex: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(reindex)
    def run(self: Any, tenant: Tenant, *args: Any, **more: Any) -> Any:
        with working_for(tenant.store_id):
            return reindex(self, tenant, *args, **more)

    return run


def _driving(drive: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(drive)
    def run(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        pk = key.key.pk if hasattr(key, "key") else key.pk
        with working_for(store_of(pk).store_id):
            return drive(self, key, *args, **kwargs)

    return run


# -- output ----------------------------------------------------------------------------------------


def _plant_personal(value: Any, fields: frozenset[str] = PERSONAL) -> None:
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name in fields and isinstance(part, str):
                _plant([part])
            else:
                _plant_personal(part, fields)
    elif isinstance(value, list):
        for part in value:
            _plant_personal(part, fields)


def _plant(texts: list[str]) -> None:
    planted.update(text for text in texts if len(text) >= SHORTEST and not text.isspace())


def leaks(text: str) -> Iterator[str]:
    """What of people and secrets can be read in a text."""
    for pattern in (SECRETS, EMAIL):
        for found in pattern.finditer(text):
            yield found.group()
    for part in tuple(planted):  # another thread may be adding to it
        # As it is, and as JSON has it.
        if part in text or json.dumps(part)[1:-1] in text:
            yield part


def _read(text: str, how: str) -> None:
    for leak in leaks(text):
        breaches.append(f"{leak!r} {how}: {text}")


def _writing(emit: Callable[[logging.LogRecord], None], handler: logging.Handler) -> Any:
    def run(record: logging.LogRecord) -> None:
        _read(handler.format(record), "was logged")
        emit(record)

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was printed or logged by anybody, libraries among them."""
    report = yield
    if report.passed and call.when == "call" and item.get_closest_marker("prints_people") is None:
        for name, text in report.sections:
            for leak in leaks(text):
                report.outcome = "failed"
                report.longrepr = f"{leak!r} is in the {name.lower()}:\n{text}"
    return report


# -- the plugin ------------------------------------------------------------------------------------


def _client(self: Table) -> Any:
    return self.__dict__["guarded_client"]


def _set_client(self: Table, client: Any) -> None:
    inner = client._guarded if isinstance(client, _Guarded) else client
    self.__dict__["guarded_client"] = _Guarded(inner, self)


def _service_client(service: str) -> Any:
    name = f"guarded_{service}_client"

    def keep(self: Any, client: Any) -> None:
        self.__dict__[name] = _Asked(client, service)

    return property(lambda self: self.__dict__[name], keep)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "prints_people: what it prints is meant for the operator who asked for it"
    )
    for name in BUILDERS:
        setattr(Tenant, name, _building(getattr(Tenant, name), built))
    Tenant.ref = _building(Tenant.ref, refs)  # type: ignore[method-assign]
    Table.client = property(_client, _set_client)  # type: ignore[assignment]
    Schedules._client = _service_client("scheduler")
    Secrets._client = _service_client("secretsmanager")
    StripeGateway._ask = _asking_stripe(StripeGateway._ask)  # type: ignore[method-assign]
    TelegramGateway._call = _asking_telegram(TelegramGateway._call)  # type: ignore[method-assign]
    resolver = type(http_app.make_app())
    resolver.resolve = _resolving(resolver.resolve)  # type: ignore[method-assign]
    events.apply = _applying(events.apply)
    StoreEvents.handle = _handling(StoreEvents.handle)  # type: ignore[method-assign]
    Customers.reindex = _reindexing(Customers.reindex)  # type: ignore[method-assign]
    Driver.drive = _driving(Driver.drive)  # type: ignore[method-assign]
    Driver.drive_leased = _driving(Driver.drive_leased)  # type: ignore[method-assign]
    handler = logger.registered_handler
    handler.emit = _writing(handler.emit, handler)  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _no_breach() -> Iterator[None]:
    """A breach fails its test, also where the code caught it."""
    breaches.clear()
    planted.clear()
    made.clear()
    yield
    found = list(breaches)
    breaches.clear()
    assert not found, "\n".join(found)
