"""One call of the public API: what comes in, what goes to a route, and what is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from standins.stripe.account import StripeAccount
from standins.stripe.shapes import Object
from standins.stripe.standin import StripeStandin


@dataclass(frozen=True)
class ApiRequest:
    """``params``: query and form fields together, as they came (``a[b]`` names, text values)."""

    method: str
    path: str
    params: list[tuple[str, str]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """A header by its name, in whatever case; ``None`` where it is not given."""
        lowered = name.lower()
        return next((v for k, v in self.headers.items() if k.lower() == lowered), None)


@dataclass(frozen=True)
class ApiAnswer:
    """``drop``: close the connection instead of answering. ``latency``: wait first (seconds)."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    latency: float = 0.0


@dataclass(frozen=True)
class Call:
    """One call on its way to a route."""

    standin: StripeStandin
    account: StripeAccount
    params: Object
    version: str
    arguments: tuple[str, ...]
    url: str


Route = Callable[[Call], Object]
"""Carries out a call; what it returns is the body of the answer."""
