"""The end-to-end tests share the stack of tests/stacks.py, and one worker with all who do."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.stack import Stack
from tests.e2e.store import CHAT, Store

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest.fixture(scope="session")
def store(stack: Stack) -> Store:
    return Store(stack)


@pytest.fixture(scope="session")
def product(store: Store) -> str:
    store.approve(CHAT)
    args = {"name": "Signals", "telegram_chat_ids": str(CHAT)}
    return str(store.scenario({"do": "create_product", "args": args})[0]["id"])
