"""Random runs against the reference model; `make soak` does many more of them."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults import stateful
from tests.telling import Tell

EXAMPLES = 20_000 if "FAULTS_LONG" in os.environ else 300
PARTS = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_random_runs_agree_with_the_model(part: int, tell: Tell) -> None:
    stateful.COVERED.clear()
    machine = type(f"Everything{part}", (stateful.Everything,), {})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES // PARTS,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
    tell(", ".join(f"{n} {what}" for what, n in stateful.COVERED.items()))
