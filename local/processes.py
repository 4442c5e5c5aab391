"""Child processes of the local run: free ports, logs, and an end with their parent."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = "127.0.0.1"

_DIE_WITH_PARENT = str(Path(__file__).with_name("die_with_parent.py"))


class NotReady(Exception):
    """A child ended, or did not answer in time."""


def free_port() -> int:
    """A port nobody listens on, below those that the kernel lends to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port


def is_free(port: int) -> bool:
    """Whether nobody listens on a port."""
    return not listens(port)()


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead to a cloud account, a proxy or secrets."""
    dropped = ("AWS_", "STRIPE_", "TELEGRAM_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }


def answers(url: str, status: int = 200) -> Callable[[], bool]:
    """Whether a GET is answered with a status, as a check for :meth:`Child.wait_ready`."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return bool(response.status == status)
        except urllib.error.HTTPError as error:
            return error.code == status
        except OSError:
            return False

    return check


def listens(port: int) -> Callable[[], bool]:
    """Whether a port takes connections, as a check for :meth:`Child.wait_ready`."""

    def check() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((LOOPBACK, port)) == 0

    return check


@dataclass
class Child:
    """One process of the local run.

    Attributes:
        name: as in the log's file name.
        command: program and arguments.
        environment: of the process, all of it.
        ready: whether it does its work.
        log: file that its output is added to.
        directory: working directory.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    log: Path
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it; it ends with this process (Linux: with this thread) at the latest."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-IS", _DIE_WITH_PARENT, str(os.getpid()), *self.command],
                env=dict(self.environment),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the supervisor alone, which stops all
            )

    def wait_ready(self, seconds: float = 30) -> None:
        """Wait until it is ready.

        Raises:
            NotReady: it ended, or the time is up.
        """
        deadline = time.monotonic() + seconds
        while self.alive:
            # Asked again after its answer: it may have been another process of that address.
            if self.ready() and self.alive:
                return
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} was not ready within {seconds:g} s: see {self.log}")
            time.sleep(0.05)
        raise NotReady(f"{self.name} ended before it was ready: see {self.log}")

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        if self.alive and self.process is not None:
            self.process.terminate()

    def wait_ended(self, seconds: float = 3) -> None:
        """Wait for its end, and force it when the time is up."""
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
