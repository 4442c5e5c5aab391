"""Each of the eighteen mistakes is noticed by every suite that is said to notice it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults import crashes, interleavings
from tests.faults.bugs import BUGS, CRASHES, INTERLEAVINGS, ORDERS, Bug
from tests.faults.crashes import Covered
from tests.faults.operations import OPERATIONS, Operation
from tests.faults.orders import STORIES, Examiner
from tests.telling import Tell

CROWD = ("cancel now", "repurchase", "un-cancel", "link to another", "link there and back", "sweep")
SUITES: dict[str, Callable[[Operation], Covered]] = {
    CRASHES: lambda operation: crashes.singles(operation, enough=1),
    INTERLEAVINGS: lambda operation: interleavings.explore(operation, CROWD, enough=1),
}
LONG = "FAULTS_LONG" in os.environ
ORDERS_TRIED = 24


def _examined(bug: Bug, operation: Operation) -> dict[str, Covered]:
    """What the suites find that are said to notice it; by `make soak` what all of them do."""
    crashes.undisturbed(operation)  # by the code without the mistake
    with bug.seeded():
        return {
            suite: examine(operation)
            for suite, examine in SUITES.items()
            if LONG or suite in bug.noticed_by
        }


def _tried(bug: Bug) -> int:
    """How many orders of its story it took to notice a mistake."""
    (story,) = (each for each in STORIES if each.name == bug.shows_in)
    examiner = Examiner.of(story)
    with bug.seeded():
        for number, failure in enumerate(examiner.failures(ORDERS_TRIED), 1):
            if failure is not None:
                return number
    raise AssertionError(f"{bug.name}: nothing noticed it in {ORDERS_TRIED} orders")


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_every_seeded_bug_is_caught(bug: Bug, tell: Tell) -> None:
    number = BUGS.index(bug) + 1
    if bug.noticed_by == (ORDERS,):
        caught_after = _tried(bug)
        tell(f"{number}/{len(BUGS)} {bug.name}: caught by {ORDERS} (after {caught_after} runs)")
        return
    (operation,) = (each for each in OPERATIONS if each.name == bug.shows_in)
    found = _examined(bug, operation)
    caught = {suite: covered for suite, covered in found.items() if covered.failures}
    suites = " and ".join(
        f"{suite} (after {covered.runs} runs)" for suite, covered in caught.items()
    )
    tell(f"{number}/{len(BUGS)} {bug.name}: caught by {suites or 'nothing'}")
    assert caught.keys() >= set(bug.noticed_by)
