"""Progress in a terminal, and without one."""

from __future__ import annotations

import contextlib
import io

import pytest

from customers_cli import display
from customers_cli.display import Display


class Stderr(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_without_a_terminal_a_line_is_written_per_part_and_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("customers_cli.display.time.monotonic", lambda: now)
    stderr = Stderr(terminal=False)
    monkeypatch.setattr("sys.stderr", stderr)
    with Display() as shown:
        shown.show(0.1, "customers", "1 object")
        shown.show(0.2, "customers", "2 objects")
        now += display.LINE_SECONDS
        shown.show(0.3, "customers", "3 objects")
        shown.note("refunds re_1 is left out: [odd]")
        shown.show(1.0, "refunds", "4 objects")
    assert stderr.getvalue().splitlines() == [
        " 10% customers: 1 object",
        " 30% customers: 3 objects",
        "refunds re_1 is left out: [odd]",
        "100% refunds: 4 objects",
    ]


def test_in_a_terminal_there_is_a_bar_which_leaves_the_cursor_when_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stderr = Stderr(terminal=True)
    monkeypatch.setattr("sys.stderr", stderr)
    with contextlib.suppress(KeyboardInterrupt), Display() as shown:
        shown.show(0.5, "customers", "[1] object")
        shown.note("refunds re_1 is left out: [odd]")
        raise KeyboardInterrupt
    written = stderr.getvalue()
    assert "━" in written
    assert "50%" in written
    assert "customers: [1] object" in written
    assert "refunds re_1 is left out: [odd]" in written
    assert written.rstrip().endswith("\x1b[?25h")  # the cursor is shown again
