"""A pytest plugin that plants a mistake of :mod:`tests.faults.bugs` while each test runs.

``PLANTED_BUG='no sweep' python -m pytest -p tests.faults.planting …``: ``test_replay.py`` sees a
suite fail so, in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    from tests.faults.bugs import BUGS  # noqa: PLC0415 - tests/conftest.py sets the environment first

    (bug,) = (each for each in BUGS if each.name == os.environ["PLANTED_BUG"])
    with bug.seeded():
        yield
