"""Something goes wrong at boundaries of one operation; the end is as if it had not."""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.faults import invariants
from tests.faults.boundaries import Boundary, Faults, Mode, at
from tests.faults.operations import Operation, begin, recover
from tests.faults.replay import Failure

# Tried at every third boundary; at every one by `make soak`.
RARER_MODES = (Mode.CONFLICT, Mode.SHORT_PAGE, Mode.PARTLY_STALE)
LONG = "FAULTS_LONG" in os.environ
PAIR_MODES = (Mode.CRASH_BEFORE, Mode.LOST, Mode.ERROR)


@dataclass
class Covered:
    """What a suite has been through.

    Attributes:
        boundaries: service → boundaries something went wrong at.
        idle: runs of which one of their kind was enough, as nothing happened in them.
        enough: how many failures are looked for; ``None``: all.
    """

    runs: int = 0
    crashes: int = 0
    faults: int = 0
    idle: int = 0
    boundaries: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    enough: int | None = None

    @property
    def has_enough(self) -> bool:
        """Whether as many failures were found as were looked for."""
        return self.enough is not None and len(self.failures) >= self.enough

    def __str__(self) -> str:
        services = ", ".join(f"{n} of {service}" for service, n in sorted(self.boundaries.items()))
        idle = f" ({self.idle} idle)" if self.idle else ""
        return f"{self.runs} runs{idle}, {self.faults} faults, {self.crashes} crashes ({services})"


@dataclass(frozen=True)
class Run:
    """One run of an operation and its recovery."""

    boundaries: tuple[Boundary, ...]
    state: dict[str, Any]
    broken: tuple[str, ...]
    faults: int
    crashes: int


def run(operation: Operation, faults: Faults) -> Run:
    """One run, with the faults in it and none after."""
    with begin(operation.world) as world:
        process = world.process(faults)
        result = world.outcome(process, lambda process: operation.run(world, process))
        recover(world, operation, result)
        return Run(
            tuple(process.crossed),
            invariants.final_state(world),
            tuple(invariants.check(world)),
            world.faults,
            world.crashes,
        )


@cache
def undisturbed(operation: Operation) -> Run:
    """The same without any fault."""
    return run(operation, at())


def examine(operation: Operation, *planned: tuple[int, Mode], covered: Covered) -> Run:
    """Compare a run with faults with the one without."""
    wanted = undisturbed(operation)
    got = run(operation, at(*planned))
    covered.runs += 1
    covered.crashes += got.crashes
    covered.faults += got.faults
    broken = [*got.broken, *invariants.differences(got.state, wanted.state)]
    if broken:
        run_of = [[number, mode.value] for number, mode in planned]
        covered.failures.append(Failure(f"{operation.name}, {run_of}: {broken[:3]}", run_of))
    return got


def singles(operation: Operation, *, enough: int | None = None) -> Covered:
    """Everything that can go wrong at every boundary; until ``enough`` failures were found."""
    covered = Covered(enough=enough)
    boundaries = undisturbed(operation).boundaries
    for number, boundary in enumerate(boundaries):
        covered.boundaries[boundary.service] += 1
        for mode in boundary.modes():
            if mode in RARER_MODES and number % 3 and not LONG:
                continue
            if covered.has_enough:
                return covered
            examine(operation, (number, mode), covered=covered)
    return covered


def pairs(operation: Operation, *, sample: int | None) -> Covered:
    """Two things go wrong in one run: all pairs, or a sample of them."""
    covered = Covered()
    boundaries = undisturbed(operation).boundaries
    # What the code does after the first fault is longer than without it.
    numbers = range(len(boundaries) + 12)
    every: Iterator[tuple[tuple[int, Mode], tuple[int, Mode]]] = (
        ((one, mode), (other, another))
        for one, other in itertools.combinations(numbers, 2)
        for mode in (Mode.LOST, Mode.ERROR)
        for another in PAIR_MODES
    )
    chosen = list(every)
    if sample is not None and sample < len(chosen):
        chosen = random.Random(operation.name).sample(chosen, sample)
    for one, other in chosen:
        got = examine(operation, one, other, covered=covered)
        for number in (one[0], other[0]):
            if number < len(got.boundaries):
                covered.boundaries[got.boundaries[number].service] += 1
    return covered


def replay(operation: Operation, run_of: list[tuple[int, str]]) -> Covered:
    """Repeat one run: ``[[boundary, mode], …]``."""
    covered = Covered()
    examine(operation, *((number, Mode(mode)) for number, mode in run_of), covered=covered)
    return covered


def shrunk(operation: Operation, failure: Failure) -> Failure:
    """The same failure with one fault, if one of the two is enough."""
    for one in failure.run if len(failure.run) > 1 else []:
        if found := replay(operation, [one]).failures:
            return found[0]
    return failure
