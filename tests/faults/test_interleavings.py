"""One operation is stopped at each of its boundaries, others run, and it goes on or dies."""

from __future__ import annotations

import os
import random

import pytest

from tests.faults import interleavings
from tests.faults.crashes import Covered, undisturbed
from tests.faults.interleavings import OTHERS, interleave
from tests.faults.operations import OPERATIONS, Operation
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

chosen = [operation for operation in OPERATIONS if LONG or operation.name in STOPPED]
every_operation = pytest.mark.parametrize("operation", chosen, ids=[o.name for o in chosen])


@every_operation
def test_whatever_happens_in_between_the_invariants_hold(operation: Operation, tell: Tell) -> None:
    covered = interleavings.explore(operation, {name: [do] for name, do in OTHERS.items()})
    total = len(undisturbed(operation).boundaries)
    tell(f"{operation.name}: boundaries {total}/{total} × {len(OTHERS)} others: {covered}")
    assert covered.failures == []


@every_operation
def test_whatever_two_things_happen_in_between_the_invariants_hold(
    operation: Operation, tell: Tell
) -> None:
    chance = random.Random(operation.name)
    covered = Covered()
    boundaries = undisturbed(operation).boundaries
    for _ in range(TRIPLES):
        number = chance.randrange(len(boundaries))
        names = chance.sample(list(OTHERS), 2)
        dies = chance.random() < 0.5
        covered.runs += 1
        covered.crashes += dies
        covered.boundaries[boundaries[number].service] += 1
        broken, _ = interleave(operation, number, [OTHERS[name] for name in names], dies=dies)
        if broken:
            covered.failures.append(f"{operation.name} before {number}, {names}, {dies}: {broken}")
    tell(f"{operation.name}, then two others: a sample: {covered}")
    assert covered.failures == []
