"""``make docs``: writes docs/cli.md, the help of every command of ``customers``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typer.core import TyperGroup
from typer.testing import CliRunner

from customers_cli.app import COMMANDS, app, command
from customers_cli.exits import MEANINGS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

_INTRODUCTION = """\
# The operators' command

Written by `make docs` from `customers --help`. `make install` puts the command into `.venv/bin`;
`python -m customers_cli` does the same, and so do the targets of `make help` that are named like
a command.

**What a command works on.** `--stack NAME`, or `STACK` in the environment, names a deployed
CloudFormation stack; it is reached with the AWS credentials and the region of the environment.
Without it a command works on the local run (`make run`), in `--data-dir` or `DATA_DIR`. The
options may stand before or after the command; an option counts more than the environment.
`--data-dir` is refused while only the environment names a stack: the local run may be meant. A
command says on stderr what it works on, before it changes anything, and never falls back to
something else.

**What is printed.** Results go to stdout. The target, progress and errors go to stderr: a bar in
a terminal, plain lines elsewhere. An error is one sentence without secrets and without personal
data.

**Ctrl-C** stops a command at any point. `backfill` and `reindex` keep how far they got in the
data folder, each target in a file of its own, and go on there when they are run again. `replay`,
`forget` and `store remove` keep what they have done; run them again to do the rest.
"""


def paths() -> Iterator[list[str]]:
    """The words of every command and group, in the order of the help."""
    yield []
    for name in COMMANDS:
        yield [name]
        found = command(name)
        if isinstance(found, TyperGroup):
            yield from ([name, below] for below in found.commands)


def page() -> str:
    """The text of docs/cli.md."""
    parts = [_INTRODUCTION, "| exit code | |\n|---|---|"]
    parts[-1] += "".join(f"\n| {code.value} | {meaning} |" for code, meaning in MEANINGS.items())
    for words in paths():
        told = CliRunner().invoke(app, [*words, "--help"])
        title = " ".join(["customers", *words])
        parts.append(f"\n## {title}\n\n```text\n{told.stdout.strip()}\n```")
    return "\n".join(parts) + "\n"


def main() -> None:
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
