"""A short soak; `make soak` runs the long one."""

from __future__ import annotations

from tests.faults import soak
from tests.faults.soak import Plan
from tests.faults.stripe_engine import DAY
from tests.telling import Tell


def test_nobody_leaves_early_and_nothing_is_stuck(tell: Tell) -> None:
    report = soak.run(Plan(purchases=250, days=10, fault_rate=20.0, outages=(3600, DAY)))
    tell(soak.table(report))
    assert report.broken == []
    assert report.removals > 100
    assert report.faults > 150
