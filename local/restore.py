"""Makes the one-time schedules again from the records. Runs in the revoker's environment.

The local Scheduler forgets them when it is stopped, which the real one never does. The sweep
would find everything all the same, but up to a minute late.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec


def main() -> None:
    if find_spec("shared.drive") is None:
        return
    restore = getattr(import_module("shared.drive"), "restore_schedules", None)
    if restore is not None:
        print(f"schedules made again: {restore()}")


if __name__ == "__main__":
    main()
