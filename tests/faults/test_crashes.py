"""Crashes, lost answers and errors at every boundary of every operation, single and in pairs."""

from __future__ import annotations

import os

import pytest

from tests.faults import crashes
from tests.faults.operations import OPERATIONS, Operation
from tests.faults.replay import Replay
from tests.telling import Tell

PAIRS_PER_OPERATION = 2000 if "FAULTS_LONG" in os.environ else 40

every_operation = pytest.mark.parametrize(
    "operation", OPERATIONS, ids=[operation.name for operation in OPERATIONS]
)


@every_operation
def test_whatever_goes_wrong_once_the_end_is_the_same(
    operation: Operation, tell: Tell, replay: Replay
) -> None:
    wanted = crashes.undisturbed(operation)
    assert wanted.broken == ()
    if replay.run is None:
        covered = crashes.singles(operation)
    else:
        covered = crashes.replay(operation, replay.run)
    total = len(wanted.boundaries)
    tell(f"{operation.name}: boundaries {total}/{total}, {covered}")
    replay.judge(covered.failures)


@every_operation
def test_whatever_goes_wrong_twice_the_end_is_the_same(
    operation: Operation, tell: Tell, replay: Replay
) -> None:
    if replay.run is None:
        covered = crashes.pairs(operation, sample=PAIRS_PER_OPERATION)
    else:
        covered = crashes.replay(operation, replay.run)
    tell(f"{operation.name}: a sample of pairs: {covered}")
    replay.judge(covered.failures, lambda failure: crashes.shrunk(operation, failure))
