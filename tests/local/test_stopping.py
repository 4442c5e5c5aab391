"""However ``make run`` is ended, nothing of it goes on running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.processes import free_port
from local.stack import ROOT


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A shell with a stack of its own in the background, which has just begun to start."""
    environment = {
        **os.environ,
        "PORT": str(free_port()),
        "DATA_DIR": str(tmp_path),
        "SEED": "0",
        "STRIPE_API_BASE": "http://127.0.0.1:9",
        "TELEGRAM_API_BASE": "http://127.0.0.1:9",
    }
    shell = subprocess.Popen(
        ["/bin/sh", "-c", '"$0" -m local.stack & echo $! && wait $!', sys.executable],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield shell
    shell.kill()
    shell.wait()


def begun(supervisor: subprocess.Popen[str]) -> int:
    """The stack's process id, once it says that it starts."""
    assert supervisor.stdout is not None
    pid = int(supervisor.stdout.readline())
    assert "Starting" in supervisor.stdout.readline()
    return pid


def last_words(supervisor: subprocess.Popen[str]) -> str:
    """All it said until every process that could say something had ended."""
    assert supervisor.stdout is not None
    return supervisor.stdout.read()


def test_an_interrupt_stops_it_in_the_background_too(supervisor: subprocess.Popen[str]) -> None:
    os.kill(begun(supervisor), signal.SIGINT)
    assert "Stopping" in last_words(supervisor)
    assert supervisor.wait() == 0


def test_it_ends_when_whoever_started_it_was_killed(supervisor: subprocess.Popen[str]) -> None:
    begun(supervisor)
    supervisor.send_signal(signal.SIGKILL)
    assert "Stopping" in last_words(supervisor)
