"""Shows the progress of long work: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

# Between two lines of the same part of the work, where there is no terminal.
LINE_SECONDS = 10.0


class Display:
    """``with Display() as display:`` shows progress on stderr while the block runs."""

    def __init__(self) -> None:
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._part: str | None = None
        self._next_at = 0.0

    def __enter__(self) -> Display:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - for a terminal only
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

            self._bar = Progress(
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                # Our own output goes to stdout as it is, also while a bar is shown.
                redirect_stdout=False,
            )
            self._task = self._bar.add_task("", total=1.0)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, share: float, part: str, so_far: str) -> None:
        """Show how much is done (0 to 1), in which part of the work, and what came of it so far."""
        text = f"{part}: {so_far}"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=share, description=text)
            return
        now = time.monotonic()
        if part != self._part or now >= self._next_at:
            self._part, self._next_at = part, now + LINE_SECONDS
            print(f"{share:4.0%} {text}", file=sys.stderr, flush=True)

    def note(self, line: str) -> None:
        """Show a line that stays."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)
