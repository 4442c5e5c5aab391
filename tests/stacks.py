"""A running local stack for the tests that go through its front, with real HTTP and real processes.

Starting one takes seconds, so there is one for the whole session; tests keep apart by their own
customers and chats. Whoever kills processes starts a stack of its own with ``start_stack``.

Roles are enforced for the tables too: they are the local AWS's own here, where ``make run`` keeps
them in dynoxide. When the stack ends, no log of any of its processes may hold a secret or what
anybody at Stripe is called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.deploy import Aws
from local.processes import Child
from local.stack import AWS, Options, Stack
from tests.guards import EMAIL, SECRETS, SHORTEST

StartStack = Callable[..., Stack]

_GROUP = "stack"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "turn(number): when it runs, after all of lower numbers; tests without have 0"
    )


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them run in one worker: each worker would start a stack for itself."""
    for item in items:
        if {"stack", "start_stack"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(_GROUP))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    mark = item.get_closest_marker("turn")
    return 0 if mark is None else int(mark.args[0])


class EnforcingStack(Stack):
    """The stack, with the tables where the roles' policies hold for them."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.aws = Aws(url=self.aws.url, dynamodb_url=self.aws.url)

    def _define(self) -> list[Child]:
        children = super()._define()
        for child in children:
            if child.name == AWS:
                child.environment = {
                    name: value
                    for name, value in child.environment.items()
                    if name != "AWS_ENDPOINT_URL_DYNAMODB"
                }
        return children


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of this session, empty at first (no demo data)."""
    options = Options(data_dir=tmp_path_factory.mktemp("stack"), port=0)
    with EnforcingStack(options) as running:
        yield running
        people = list(_people(running))
        running.stop()  # what is still to be written is written
        found = list(leaks_in_logs(running.data_dir, people))
    assert not found, "\n".join(found[:20])


def _people(stack: Stack) -> Iterator[str]:
    """What the customers at Stripe's stand-in are called."""
    key = stack.options.stripe_secret_key.split(",")[0]
    after: dict[str, Any] = {}
    while True:
        listed = requests.get(
            f"{stack.stripe_url}/v1/customers",
            params={"limit": 100, **after},
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        ).json()
        for customer in listed["data"]:
            yield from (str(customer[name]) for name in ("name", "email") if customer[name])
        if not listed["has_more"]:
            return
        after = {"starting_after": listed["data"][-1]["id"]}


def leaks_in_logs(data_dir: Path, people: list[str]) -> Iterator[str]:
    """Lines of a stack's logs with a secret, an address or one of these names."""
    names = sorted({re.escape(name) for name in people if len(name) >= SHORTEST})
    patterns = [SECRETS, EMAIL, *([re.compile(rf"\b({'|'.join(names)})\b")] if names else [])]
    for log in sorted((data_dir / "logs").glob("*.log")):
        for number, line in enumerate(log.read_text(errors="replace").splitlines(), 1):
            for pattern in patterns:
                if (found := pattern.search(line)) is not None:
                    yield f"{log.name}:{number}: {found.group()!r}: {line[:300]}"


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """Starts stacks that end with the test; fields of :class:`Options` as keywords."""
    started: list[Stack] = []

    def start(**options: object) -> Stack:
        chosen = {"data_dir": tmp_path / "data", "port": 0, **options}
        running = Stack(Options(**chosen))  # type: ignore[arg-type]
        running.start()
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()
