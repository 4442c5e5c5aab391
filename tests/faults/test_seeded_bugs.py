"""Each of the eleven mistakes is noticed, and without it the same suite notices nothing."""

from __future__ import annotations

import pytest

from tests.faults import crashes, interleavings
from tests.faults.bugs import BUGS, Bug
from tests.faults.crashes import Covered
from tests.faults.interleavings import OTHERS
from tests.faults.operations import OPERATIONS, Operation
from tests.telling import Tell

CROWD = ("cancel now", "repurchase", "un-cancel", "link to another", "sweep")


def _caught_by(bug: Bug, operation: Operation) -> dict[str, Covered]:
    others = {name: [OTHERS[name]] for name in CROWD}
    crashes.undisturbed(operation)  # by the code without the mistake
    with bug.seeded():
        found = {"crashes": crashes.singles(operation, enough=1)}
        found["interleavings"] = interleavings.explore(operation, others, enough=1)
    return {suite: covered for suite, covered in found.items() if covered.failures}


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_every_seeded_bug_is_caught(bug: Bug, tell: Tell) -> None:
    number = [each.name for each in BUGS].index(bug.name) + 1
    caught: dict[str, Covered] = {}
    for operation in OPERATIONS:
        if operation.name in bug.shows_in and not caught:
            caught = _caught_by(bug, operation)
    suites = " and ".join(
        f"{suite} (after {covered.runs} runs)" for suite, covered in caught.items()
    )
    tell(f"{number}/{len(BUGS)} {bug.name}: caught by {suites or 'nothing'}")
    assert caught
