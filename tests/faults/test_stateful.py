"""Random runs against the reference model; `make soak` does many more of them."""

from __future__ import annotations

import os
import re

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, reproduce_failure, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults import stateful
from tests.faults.replay import Replay
from tests.telling import Tell

EXAMPLES = 20_000 if "FAULTS_LONG" in os.environ else 300
PARTS = 2
# Hypothesis notes with a failure what repeats it.
BLOB = re.compile(r"@reproduce_failure\('[\w.]+', b'([\w+/=]+)'\)")


@pytest.mark.parametrize("part", range(PARTS))
def test_random_runs_agree_with_the_model(part: int, tell: Tell, replay: Replay) -> None:
    stateful.COVERED.clear()
    machine = type(f"Everything{part}", (stateful.Everything,), {})
    if replay.run is not None:
        machine = reproduce_failure(hypothesis.__version__, replay.run.encode())(machine)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES // PARTS,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                # Explaining a failure takes longer than finding it, and names lines of the world.
                phases=[phase for phase in Phase if phase is not Phase.explain],
                print_blob=True,
                report_multiple_bugs=False,
            ),
        )
    except Exception as error:
        if blob := BLOB.search("\n".join(getattr(error, "__notes__", ()))):
            error.add_note(f"This command repeats it:\n{replay.command(blob[1])}")
        raise
    tell(", ".join(f"{n} {what}" for what, n in stateful.COVERED.items()))
