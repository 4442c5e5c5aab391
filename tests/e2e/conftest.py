"""A running local stack for the end-to-end tests.

Starting one takes seconds, so there is one for the whole session; tests keep apart by their own
customers and chats. Whoever kills processes starts a stack of its own with ``start_stack``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.stack import Options, Stack

StartStack = Callable[..., Stack]

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them run in one worker: each worker would start a stack for itself."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of this session, empty at first (no demo data)."""
    with Stack(Options(data_dir=tmp_path_factory.mktemp("stack"), port=0)) as running:
        yield running


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
