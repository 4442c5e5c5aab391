"""The stack's own tests start one too, so they run in the worker of the end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import pytest

_STACK_TESTS = Path(__file__).with_name("test_stack.py")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path == _STACK_TESTS:
            item.add_marker(pytest.mark.xdist_group("stack"))
