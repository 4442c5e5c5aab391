"""Fixtures of the fault suites."""

from __future__ import annotations

import json
import os

import pytest

from tests.faults.replay import VARIABLE, Replay


@pytest.fixture
def replay(request: pytest.FixtureRequest) -> Replay:
    return Replay(request.node.nodeid, json.loads(os.environ.get(VARIABLE, "null")))
