"""Faults: what a test lets go wrong with the calls of the API."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypedDict


class FaultFields(TypedDict, total=False):
    """What may be said of a fault beside the calls it matches; see :class:`Fault`."""

    times: int | None
    status: int | None
    body: Any
    headers: dict[str, str]
    after_effect: bool
    drop: bool
    latency: float


@dataclass
class Fault:
    """What goes wrong with calls that match, ``times`` times (``None``: until removed).

    ``path``: a regular expression. ``status``/``body``: the answer instead of the real one.
    ``after_effect``: the call is carried out first, and the answer is lost or replaced. ``drop``:
    close the connection without an answer. ``latency``: seconds to wait before answering.
    """

    method: str = "*"
    path: str = ".*"
    times: int | None = 1
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after_effect: bool = False
    drop: bool = False
    latency: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        """Whether this call is hit."""
        return self.method in ("*", method) and re.fullmatch(self.path, path) is not None
