"""How a command ends: its exit code, and one sentence where it could not do its work."""

from __future__ import annotations

import sys
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FOUND = 1
    COULD_NOT_RUN = 2
    STOPPED = 130


MEANINGS = {
    Exit.DONE: "the command did its work",
    Exit.FOUND: "it found something wrong, or the data does not allow the change",
    Exit.COULD_NOT_RUN: "it could not run: arguments, target, credentials, or a service is down",
    Exit.STOPPED: "Ctrl-C stopped it",
}


NOTHING_DONE = "Stopped; nothing was done"


class Failure(Exception):
    """A command could not do its work.

    Attributes:
        sentence: what is wrong and what to do, in one sentence without secrets or personal data.
        code: the exit code.
    """

    def __init__(self, sentence: str, code: Exit = Exit.COULD_NOT_RUN) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


class Refused(Failure):
    """The data does not allow what was asked for."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, Exit.FOUND)


def tell(sentence: str) -> None:
    """Write one sentence to stderr: on one line, with a full stop."""
    print(" ".join(sentence.split()).rstrip(".") + ".", file=sys.stderr, flush=True)
