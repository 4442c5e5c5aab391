"""Boundaries: every call that leaves the code, found by wrapping its clients.

A :class:`Process` is one run of a function: it makes calls until it returns, or until it dies. Each
call of the DynamoDB client, the Scheduler client, Stripe's HTTP client and Telegram's session goes
through :meth:`Process.cross`, which numbers it, lets something go wrong there (:class:`Mode`), and
can stop the process just before it (:attr:`Process.pause_at`).
"""

from __future__ import annotations

import contextlib
import enum
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import requests
import stripe
from botocore.exceptions import ClientError, ReadTimeoutError

if TYPE_CHECKING:
    from tests.faults.world import World

T = TypeVar("T")

DYNAMODB, SCHEDULER, STRIPE, TELEGRAM = "dynamodb", "scheduler", "stripe", "telegram"
# How long a call takes, and how long one takes whose answer is lost (clocks are virtual).
CALL_SECONDS = 0.007
LOST_SECONDS = 2.0


class Mode(enum.Enum):
    """What goes wrong at a boundary."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after the effect"
    LOST = "effect, answer lost"
    ERROR = "error, no effect"
    THROTTLED = "throttled"
    """429 of Stripe and Telegram: other than an error, a saved answer never comes of it."""
    RETRIED = "effect, retried by the SDK"
    """botocore repeats a call whose answer it did not hear: the repeat meets its own effect."""
    STALE = "index not yet written"
    """A secondary index answers as if nothing had been written lately."""
    PARTLY_STALE = "index written in part"
    """A secondary index shows every second row only."""
    SHORT_PAGE = "short page"
    """A page of a query ends early, as DynamoDB's pages end at 1 MB."""
    CONFLICT = "transaction in the way"
    """DynamoDB refuses a write because a transaction is under way on the item."""


class Crash(BaseException):
    """The process is gone. Not an ``Exception``: nothing may catch it and go on."""


@dataclass(frozen=True)
class Boundary:
    """One call that left the code."""

    service: str
    call: str

    def modes(self) -> tuple[Mode, ...]:
        """Everything that can go wrong here."""
        found = [Mode.CRASH_BEFORE, Mode.CRASH_AFTER, Mode.LOST, Mode.ERROR]
        if self.service in (STRIPE, TELEGRAM):
            found.append(Mode.THROTTLED)
        elif self.service == DYNAMODB and self.call.split()[0] in _WRITES:
            found += [Mode.RETRIED, Mode.CONFLICT]
        elif self.call in ("query index", "scan index"):
            found += [Mode.STALE, Mode.PARTLY_STALE]
        elif self.call == "query":
            found.append(Mode.SHORT_PAGE)
        return tuple(found)


_WRITES = ("put_item", "update_item", "delete_item", "transact_write_items", "batch_write_item")

Faults = Callable[[int, Boundary], Mode | None]


def no_faults(_number: int, _boundary: Boundary) -> Mode | None:
    return None


def at(*planned: tuple[int, Mode]) -> Faults:
    """Faults at the boundaries of these numbers."""
    plan = dict(planned)
    return lambda number, _: plan.get(number)


@dataclass
class Process:
    """One run of a function.

    Attributes:
        crossed: the boundaries so far.
        pause_at: the number of the boundary before which it stops and lets others run.
    """

    world: World
    faults: Faults = no_faults
    crossed: list[Boundary] = field(default_factory=list)
    dead: bool = False
    pause_at: int | None = None
    dies_after_pause: bool = False
    paused: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def cross(
        self,
        boundary: Boundary,
        effect: Callable[[], T],
        *,
        error: Callable[[], T],
        lost: Callable[[], T],
        throttled: Callable[[], T] | None = None,
        others: Mapping[Mode, Callable[[], T]] | None = None,
    ) -> T:
        """Make a call, or what becomes of it.

        Args:
            error, lost, throttled: give or raise what the caller sees then.
            others: the same for the modes that only some boundaries have.
        """
        if self.dead:
            raise Crash
        number = len(self.crossed)
        self.crossed.append(boundary)
        if number == self.pause_at:
            self.paused.set()
            self.go_on.wait()
            if self.dies_after_pause:
                self._die()
        time = self.world.time
        time.sleep(CALL_SECONDS)
        mode = self.faults(number, boundary)
        if mode is not None:
            self.world.faults += 1
        if mode is Mode.CRASH_BEFORE:
            self._die()
        if mode is Mode.ERROR or self.world.is_down(boundary.service):
            return error()
        if mode is Mode.THROTTLED:
            return (throttled or error)()
        if mode is not None and mode in (others or {}):
            return (others or {})[mode]()
        if mode is Mode.CRASH_AFTER:
            try:
                effect()
            finally:
                self._die()
        if mode is Mode.LOST:
            with contextlib.suppress(ClientError):
                effect()
            time.sleep(LOST_SECONDS)
            return lost()
        if mode is Mode.RETRIED and boundary.call != "transact_write_items":
            # (A repeated transaction carries the same token and succeeds once.)
            with contextlib.suppress(ClientError):
                effect()
        return effect()

    def _die(self) -> None:
        self.dead = True
        raise Crash


class WrappedDynamo:
    """The memory database behind boundaries."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        process = self._process
        operation = getattr(process.world.dynamo, name)

        def call(**request: Any) -> dict[str, Any]:
            boundary = Boundary(DYNAMODB, f"{name} index" if "IndexName" in request else name)
            return process.cross(
                boundary,
                lambda: operation(**request),
                error=lambda: _raise(_aws_error("ProvisionedThroughputExceededException", name)),
                lost=lambda: _raise(_timeout()),
                others={
                    Mode.STALE: lambda: {"Items": [], "Count": 0, "ScannedCount": 0},
                    Mode.PARTLY_STALE: lambda: _in_part(operation(**request)),
                    Mode.SHORT_PAGE: lambda: operation(**{**request, "Limit": 1}),
                    Mode.CONFLICT: lambda: _raise(_conflict(name)),
                },
            )

        return call


def _in_part(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of an index in which every second row is not yet written."""
    shown = answer["Items"][::2]
    return {**answer, "Items": shown, "Count": len(shown)}


def _conflict(name: str) -> ClientError:
    if name != "transact_write_items":
        return _aws_error("TransactionConflictException", name)
    error = _aws_error("TransactionCanceledException", name)
    error.response["CancellationReasons"] = [{"Code": "TransactionConflict"}]
    return error


class WrappedScheduler:
    """The Scheduler client behind boundaries."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        process = self._process
        operation = getattr(process.world.scheduler, name)

        def call(**request: Any) -> dict[str, Any]:
            return process.cross(
                Boundary(SCHEDULER, name),
                lambda: operation(**request),
                error=lambda: _raise(_aws_error("ThrottlingException", name)),
                lost=lambda: _raise(_timeout()),
            )

        return call


class StripeHttp(stripe.HTTPClient):
    """Stripe's SDK on the engine: a boundary is one HTTP request."""

    name = "memory"

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        **_: Any,
    ) -> tuple[str, int, Mapping[str, str]]:
        engine = self._process.world.stripe
        given = headers or {}

        def ask() -> tuple[int, dict[str, Any]]:
            engine.now = int(self._process.world.time.now)
            return engine.request(method, url, given, post_data)

        status, body = self._process.cross(
            Boundary(STRIPE, method),
            ask,
            error=lambda: engine.fail(method, url, given, post_data),
            lost=lambda: _raise(_connection_error()),
            throttled=lambda: (429, {"error": {"message": "slow down", "code": "rate_limit"}}),
        )
        return json.dumps(body), status, {}

    def close(self) -> None:
        return None


class TelegramSession(requests.Session):
    """Telegram's session on the Bot API engine: a boundary is one HTTP request."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    def post(self, url: Any, data: Any = None, json: Any = None, **_: Any) -> requests.Response:
        token, method = str(url).rsplit("/bot", 1)[1].split("/", 1)
        world = self._process.world
        answer: requests.Response = self._process.cross(
            Boundary(TELEGRAM, method),
            lambda: _response(*world.telegram_call(unquote(token), method, json or {})),
            error=lambda: _response(502, "<html>Bad Gateway</html>"),
            lost=lambda: _raise(requests.ReadTimeout()),
            throttled=lambda: _response(429, _TOO_MANY),
        )
        return answer


_TOO_MANY = {
    "ok": False,
    "error_code": 429,
    "description": "Too Many Requests: retry after 7",
    "parameters": {"retry_after": 7},
}


class _Response(requests.Response):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__()
        self.status_code = status
        text = body if isinstance(body, str) else json.dumps(body)
        self._text = text.encode()

    def iter_content(self, *_: Any, **__: Any) -> Any:
        yield self._text

    def close(self) -> None:
        return None


def _response(status: int, body: Any) -> requests.Response:
    return _Response(status, body)


def _raise(error: BaseException) -> Any:
    raise error


def _aws_error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "try again"}}, operation)


def _connection_error() -> Exception:
    error: Exception = stripe.APIConnectionError("read timed out")  # type: ignore[no-untyped-call]
    return error


def _timeout() -> ReadTimeoutError:
    return ReadTimeoutError(endpoint_url="memory")
