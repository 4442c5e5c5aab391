"""One command that repeats one failing run.

A fault suite that fails ends with the command, for example::

    FAULTS_REPLAY='[[17, "error, no effect"]]' .venv/bin/python -m pytest 'tests/faults/test_cra…'

The variable holds the shrunk run as JSON; each suite says what it writes there. With the variable
set, the named test makes that run and no other.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

VARIABLE = "FAULTS_REPLAY"


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        what: the run and what it broke, as text.
        run: the run, as JSON values.
    """

    what: str
    run: Any


@dataclass(frozen=True)
class Replay:
    """The replay of a test.

    Attributes:
        test: the test's node id.
        run: the run that it must repeat; ``None``: it makes all of its runs.
    """

    test: str
    run: Any = None

    def command(self, run: Any) -> str:
        """The shell command, from the checkout, that repeats a run."""
        text = shlex.quote(json.dumps(run))
        return f"{VARIABLE}={text} .venv/bin/python -m pytest {shlex.quote(self.test)}"

    def judge(
        self, failures: Sequence[Failure], shrink: Callable[[Failure], Failure] | None = None
    ) -> None:
        """Fail the test if a run failed, with the first of them and its command."""
        if failures:
            first = shrink(failures[0]) if shrink else failures[0]
            text = f"{len(failures)} runs failed. One of them: {first.what}"
            pytest.fail(f"{text}\nThis command repeats it:\n{self.command(first.run)}")
