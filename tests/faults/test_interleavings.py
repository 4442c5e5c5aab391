"""One operation is stopped at each of its boundaries, others run, and it goes on or dies."""

from __future__ import annotations

import os

import pytest

from tests.faults import interleavings
from tests.faults.crashes import undisturbed
from tests.faults.interleavings import OTHERS
from tests.faults.operations import OPERATIONS, Operation
from tests.faults.replay import VARIABLE, Replay
from tests.telling import Tell

# One of each kind, and all others by `make soak`.
STOPPED = (
    "cancel now, active",
    "cancel now, one_off",
    "cancel at period end, active",
    "webhook, relinked",
    "webhook, bought_once",
    "sweep at the end, portal",
)
LONG = "FAULTS_LONG" in os.environ
TRIPLES = 400 if LONG else 25

chosen = [
    operation
    for operation in OPERATIONS
    if LONG or VARIABLE in os.environ or operation.name in STOPPED
]
every_operation = pytest.mark.parametrize("operation", chosen, ids=[o.name for o in chosen])


@every_operation
def test_whatever_happens_in_between_the_invariants_hold(
    operation: Operation, tell: Tell, replay: Replay
) -> None:
    if replay.run is None:
        covered = interleavings.explore(operation, OTHERS)
    else:
        covered = interleavings.replay(operation, replay.run)
    total = len(undisturbed(operation).boundaries)
    tell(f"{operation.name}: boundaries {total}/{total} × {len(OTHERS)} others: {covered}")
    replay.judge(covered.failures)


@every_operation
def test_whatever_two_things_happen_in_between_the_invariants_hold(
    operation: Operation, tell: Tell, replay: Replay
) -> None:
    if replay.run is None:
        covered = interleavings.triples(operation, sample=TRIPLES)
    else:
        covered = interleavings.replay(operation, replay.run)
    tell(f"{operation.name}, then two others: a sample: {covered}")
    replay.judge(covered.failures, lambda failure: interleavings.shrunk(operation, failure))
