"""``customers``, as a test runs it: in this process, or in one of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from customers_cli.app import COMMANDS, app
from local.stack import ROOT
from tests.guards import leaks

# Nothing of this machine's own: no stack, no credentials, no region.
NOWHERE: dict[str, str] = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "COLUMNS": "100",
}
_DROPPED = re.compile(r"AWS_|STACK$|DATA_DIR$|PORT$|MAKE|MFLAGS$")
_TARGET_LINE = re.compile(r"(stack \S+ in [\w-]+|local run in \S+)")


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        err: lines of stderr.
    """

    code: int
    out: str
    err: list[str]

    @property
    def target(self) -> str | None:
        """What the command said it works on."""
        return next((line for line in self.err if _TARGET_LINE.fullmatch(line)), None)

    @property
    def sentence(self) -> str:
        """The one sentence on stderr, beside the target and lines of progress."""
        said = [
            line
            for line in self.err
            if not _TARGET_LINE.fullmatch(line) and not re.match(r" *\d+% ", line)
        ]
        assert len(said) == 1, self.err
        (sentence,) = said
        assert sentence.endswith("."), sentence
        assert not re.search(r"[.!?] [A-Z]", sentence), sentence
        assert not list(leaks(sentence)), sentence
        return sentence


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what names a target, and with this instead."""
    kept = {name: value for name, value in os.environ.items() if not _DROPPED.match(name)}
    return {**kept, **NOWHERE, **environment}


def customers(*arguments: str, **environment: str) -> Ended:
    """Run the command in this process."""
    wanted: dict[str, str | None] = dict.fromkeys(
        (name for name in os.environ if _DROPPED.match(name)), None
    )
    ran = CliRunner().invoke(app, arguments, env={**wanted, **NOWHERE, **environment})
    assert "Traceback" not in ran.output
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return Ended(ran.exit_code, ran.stdout, ran.stderr.splitlines())


def process(*arguments: str, **environment: str) -> Ended:
    """Run the command in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "customers_cli", *arguments],
        cwd=ROOT,
        env=clean(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in ran.stderr
    return Ended(ran.returncode, ran.stdout, ran.stderr.splitlines())


def files_in(folder: Path) -> dict[str, bytes]:
    """What a folder holds."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


# Every command, with arguments that are in order.
CALLS: dict[str, tuple[str, ...]] = {
    "token": ("demo",),
    "store add": ("nobody", "acct_nobody"),
    "store list": (),
    "store remove": ("nobody",),
    "chat list": ("nobody",),
    "chat approve": ("nobody", "-1001"),
    "sweep": (),
    "reindex": ("nobody",),
    "backfill": ("nobody",),
    "replay": ("nobody",),
    "send-event": (str(ROOT / "events" / "store" / "ProductChanged.json"),),
    "doctor": (),
    "bot show": (),
    "bot resume": (),
    "bot off": (),
    "bot on": (),
    "export": ("demo", "cust_nobody"),
    "forget": ("demo", "cust_nobody"),
    "console deploy": (),
}


def call(name: str) -> tuple[str, ...]:
    """The arguments of a call of :data:`CALLS`."""
    return (*name.split(), *CALLS[name])


assert {name.split()[0] for name in CALLS} == set(COMMANDS)
