"""``python -m customers_cli`` does what ``customers`` does."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    try:
        from customers_cli.app import run  # noqa: PLC0415 - Ctrl-C counts from here on

        code = run()
    except KeyboardInterrupt:
        print("Stopped; nothing was done.", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
