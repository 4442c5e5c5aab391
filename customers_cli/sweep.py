"""Runs the sweep once, now."""

from __future__ import annotations

import json

from customers_cli.command import Run, command, new_app
from customers_cli.exits import Exit

app = new_app()


@command(app, again="the sweep that was begun goes on by itself")
def sweep(run: Run) -> Exit:
    """Run the sweep once, now, and print what it did as JSON.

    The sweep does everything that is due: it ends purchases, removes people from chats, and sets
    schedules that are missing.
    """
    swept = run.begin().sweep()
    print(json.dumps(swept, indent=2))
    left = swept.get("failed", 0) or not swept.get("finished", True)
    return Exit.FOUND if left else Exit.DONE
