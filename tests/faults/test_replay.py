"""The command that a failing fault suite prints repeats the failure, shrunk."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import test_crashes, test_interleavings, test_orders, test_stateful
from tests.faults.replay import VARIABLE

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """A mistake, and a test that notices it.

    Attributes:
        shrunk: what the replayed run must be like, as a pattern of its JSON.
    """

    bug: str
    test: str
    shrunk: str


def _named(test: object, argument: object) -> str:
    name = test.__name__  # type: ignore[attr-defined]
    return f"tests/faults/{test.__module__.rsplit('.', 1)[1]}.py::{name}[{argument}]"


CASES = {
    "random runs": Case(
        "no sweep",
        _named(test_stateful.test_random_runs_agree_with_the_model, 0),
        r'"[\w+/=]{1,60}"',
    ),
    "two faults, of which one is enough": Case(
        "an event is marked before its write",
        _named(test_crashes.test_whatever_goes_wrong_twice_the_end_is_the_same, "webhook, ended"),
        r'\[\[\d+, "[^"]+"\]\]',
    ),
    "two others, of whom one is enough": Case(
        "a removal ignores other purchases",
        _named(
            test_interleavings.test_whatever_two_things_happen_in_between_the_invariants_hold,
            "cancel now, one_off",
        ),
        r'\{"number": \d+, "others": \["[^"]+"\], "dies": (true|false)\}',
    ),
    "an order in which one pair is swapped": Case(
        "no catching up",
        _named(
            test_orders.test_in_any_order_the_same_people_leave_and_the_same_is_told,
            "swap",
        ),
        r'\{"order": \[0, 1, 3, 2\], "gap": [\d.]+\}',
    ),
}


def _run(command: str, bug: str) -> str:
    """The output of a command that must fail, while a mistake is planted."""
    env = {name: value for name, value in os.environ.items() if name != "FAULTS_LONG"}
    env |= {"PYTEST_ADDOPTS": "-p tests.faults.planting -p no:cacheprovider", "PLANTED_BUG": bug}
    done = subprocess.run(
        command,
        shell=True,
        check=False,
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def _failure(output: str) -> str:
    """What the run broke."""
    found = re.search(r"^E +(?:AssertionError: |Failed: .*One of them: )(.+)$", output, re.M)
    assert found is not None, output
    return found[1]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_printed_command_repeats_the_failure_shrunk(case: Case) -> None:
    output = _run(f".venv/bin/python -m pytest {shlex.quote(case.test)}", case.bug)
    (command,) = re.findall(rf"^E +({VARIABLE}=.+)$", output, re.M)

    (variable, *_) = shlex.split(command)
    run = variable.removeprefix(f"{VARIABLE}=")
    assert re.fullmatch(case.shrunk, run), run
    assert json.loads(run)

    assert _failure(_run(command, case.bug)) == _failure(output)
