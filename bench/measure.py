"""Counting what a process does: instructions, CPU time, and what it left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CALL = ROOT / "bench" / "call.py"
BUILD = ROOT / "build" / "bench"
VALGRIND = shutil.which("valgrind")
# How many times longer a process takes under it, at least, on a machine with other work.
VALGRIND_SLOWNESS = 100

# The unit B of a cold start: a process from its start to a ready client of the whole boto3.
UNIT_B = "import boto3; boto3.client('dynamodb')"


@dataclass(frozen=True)
class Ran:
    """A finished process.

    Attributes:
        cpu_seconds: user and system time of the whole process.
        instructions: likewise; ``None`` where they were not counted.
        report: what ``call.py`` found.
        log: its standard output.
        warned: its standard error, apart from valgrind's.
    """

    cpu_seconds: float
    instructions: int | None
    report: dict[str, Any]
    log: str
    warned: str


@dataclass(frozen=True)
class Runner:
    """Runs things in processes of their own.

    Attributes:
        python: the interpreter the packages were built for.
        environ: the environment of a function.
        stock: packages as they are installed, with fresh bytecode.
        packages, code: the layer and a function's artefact.
    """

    python: str
    environ: dict[str, str]
    stock: Path
    packages: Path
    code: Path

    def unit_b(self, *, count: bool) -> Ran:
        return self._run(["-c", UNIT_B], [self.stock], count)

    def invoke(
        self,
        handler: str,
        events: list[dict[str, Any]],
        *,
        timed: int,
        count: bool,
        milliseconds: int = 300_000,
    ) -> Ran:
        """A function invoked with events, the last ``timed`` of which are timed."""
        plan = {
            "handler": f"functions.{handler}.handler",
            "events": events,
            "count": timed,
            "milliseconds": milliseconds,
        }
        return self._planned(plan, [self.code, self.packages], count)

    def bare(self, calls: list[dict[str, Any]], *, timed: int, count: bool) -> Ran:
        """Calls of boto3's client and nothing else."""
        return self._planned({"calls": calls, "count": timed}, [self.stock], count)

    def _planned(self, plan: dict[str, Any], path: list[Path], count: bool) -> Ran:
        with tempfile.TemporaryDirectory() as folder:
            file, report = Path(folder, "plan.json"), Path(folder, "report.json")
            slowness = VALGRIND_SLOWNESS if count else 1
            file.write_text(json.dumps({**plan, "report": str(report), "slowness": slowness}))
            ran = self._run([str(CALL), str(file)], path, count)
            found = json.loads(report.read_text())
        return replace(ran, report=found)

    def _run(self, arguments: list[str], path: list[Path], count: bool) -> Ran:
        environ = {
            **self.environ,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(map(str, path)),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Without the machine's own site-packages, whose start-up hooks are no part of it.
        command = [self.python, "-S", "-P", *arguments]
        if count:
            command = [
                "valgrind",
                "--tool=cachegrind",
                "--cache-sim=no",
                "--cachegrind-out-file=/dev/null",
                *command,
            ]
        before = os.times()
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        after = os.times()
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
        seconds = sum(after[2:4]) - sum(before[2:4])
        counted = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
        instructions = int(counted[1].replace(",", "")) if counted else None
        warned = "".join(line for line in done.stderr.splitlines() if not line.startswith("=="))
        return Ran(seconds, instructions, {}, done.stdout, warned)


def per_call(short: Ran, long: Ran, more: int) -> float:
    """Instructions of one of the calls that the longer run made more."""
    if short.instructions is None or long.instructions is None:
        raise ValueError("instructions were not counted")
    return (long.instructions - short.instructions) / more


def paired(one: list[float], other: list[float]) -> float:
    """The middle of the ratios of measurements taken in turn."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


# -- the package ---------------------------------------------------------------------------------


def build(python: str) -> tuple[Path, Path]:
    """Build the layer and a function's artefact for this machine."""
    layer, code = BUILD / "layer", BUILD / "function"
    for target, folder in (("PackagesLayer", layer), ("ListCustomersFunction", code)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subprocess.run(
            [
                *("make", "-s", "-C", str(ROOT / "packaging"), f"build-{target}"),
                *(f"ARTIFACTS_DIR={folder}", "PLATFORM=", f"PYTHON={python}"),
            ],
            check=True,
        )
    return layer / "python", code


def size_of(folder: Path) -> int:
    """Bytes of all files: what Lambda counts against its limit."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fresh_bytecode(folder: Path) -> tuple[int, int]:
    """How many modules have bytecode that is used without a look at the source, of how many."""
    sources = [path for path in folder.rglob("*.py") if path.is_file()]
    fresh = 0
    for source in sources:
        compiled = Path(importlib.util.cache_from_source(str(source)))
        if compiled.is_file():
            head = compiled.read_bytes()[:8]
            fresh += head == importlib.util.MAGIC_NUMBER + b"\x01\x00\x00\x00"
    return fresh, len(sources)
