"""What tests tell at the end of the run, also those that pass: how much was covered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    return lambda what: record_property("told", what)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = [str(what) for each in reports for name, what in each.user_properties if name == "told"]
    if told:
        terminalreporter.section("covered")
        for what in sorted(told):
            terminalreporter.write_line(what)
