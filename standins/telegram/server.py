"""The stand-in's HTTP face: the Bot API, faults, a log of requests and a control API."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from standins.telegram.bot_api import (
    PARAMETERS,
    Answer,
    BotApi,
    Chat,
    Settings,
    User,
    refusal,
    unknown_parameters,
)
from standins.telegram.state_file import StateFile

TOO_MANY_REQUESTS = "too_many_requests"
SERVER_ERROR = "server_error"
UNAUTHORIZED = "unauthorized"
TIMEOUT = "timeout"
DROPPED_ANSWER = "dropped_answer"
DISCONNECT = "disconnect"
LATENCY = "latency"
KINDS = frozenset(
    {
        TOO_MANY_REQUESTS,
        SERVER_ERROR,
        UNAUTHORIZED,
        TIMEOUT,
        DROPPED_ANSWER,
        DISCONNECT,
        LATENCY,
    }
)

_HTML_502 = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)


@dataclass
class Fault:
    """Something that goes wrong for the calls it matches, until it is used up.

    Attributes:
        kind: ``too_many_requests`` (429, ``retry_after``), ``server_error`` (``status``, an HTML
            page), ``unauthorized`` (401), ``timeout`` (no effect, no answer for ``seconds``),
            ``dropped_answer`` (the effect happens, the connection closes), ``disconnect`` (no
            effect, the connection closes), ``latency`` (everything as usual, ``seconds`` later).
        times: calls it hits, ``None``: all until it is removed.
        methods: names of Bot API methods, ``None``: all.
        chat_id: only calls about this chat.
        user_id: only calls about this user.
        for_seconds: it ends this long after it was set; a 429's ``retry_after`` is what is left.
    """

    kind: str
    times: int | None = None
    methods: list[str] | None = None
    chat_id: int | None = None
    user_id: int | None = None
    retry_after: int = 5
    status: int = 502
    seconds: float = 60.0
    for_seconds: float | None = None
    set_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault: {self.kind}")

    def hits(self, method: str, params: Mapping[str, Any]) -> bool:
        if self.times == 0 or (self.for_seconds is not None and self.left <= 0):
            return False
        if self.methods is not None and method.lower() not in {m.lower() for m in self.methods}:
            return False
        return all(
            wanted is None or str(params.get(name)) == str(wanted)
            for name, wanted in (("chat_id", self.chat_id), ("user_id", self.user_id))
        )

    @property
    def left(self) -> float:
        return self.set_at + (self.for_seconds or 0) - time.monotonic()


class TelegramStandin:
    """A Bot API server, in a thread of its own.

    Used as ``with TelegramStandin() as telegram:``; ``telegram.url`` is what to set as
    ``TELEGRAM_API_BASE``. Everything of ``telegram.bot_api`` may be called from tests directly.

    Args:
        token: the bot's token.
        data_dir: folder of the state that lasts, ``None`` for memory only.
        port: 0 for a free one.
        host: loopback.
    """

    def __init__(
        self,
        *,
        token: str = "123456:LOCAL",
        data_dir: Path | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.token = token
        self.host = host
        self.port = port
        if data_dir is not None:
            data_dir.mkdir(parents=True, exist_ok=True)
        self._file = StateFile(data_dir / "telegram.sqlite" if data_dir else None)
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        settings: dict[str, Any] = next(self._file.all("settings"), {})
        self.bot_api = BotApi(
            Settings(**{**settings, "token": token}), lambda: datetime.now(UTC), self._keep
        )
        for chat in map(Chat.from_dict, self._file.all("chat")):
            self.bot_api.chats[chat.chat_id] = chat
        for user in self._file.all("user"):
            self.bot_api.users[int(user["user_id"])] = User(**user)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    # -- running -------------------------------------------------------------------------------

    def __enter__(self) -> TelegramStandin:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve in a thread; returns once requests are answered."""
        self._thread = threading.Thread(target=self._run, name="telegram-standin", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop the thread; the state is kept."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        self._file.close()

    def _run(self) -> None:
        try:
            asyncio.run(self.serve())
        except BaseException as error:  # noqa: BLE001 - told to start(), which raises it
            self._failure = error
        finally:
            self._started.set()

    async def serve(self) -> None:
        """Serve until :meth:`stop` or cancellation."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        self._started.set()
        try:
            await self._stopping.wait()
        finally:
            await runner.cleanup()

    # -- what tests ask and set ----------------------------------------------------------------

    def requests(
        self,
        method: str | None = None,
        *,
        chat_id: int | None = None,
        user_id: int | None = None,
        after: int = 0,
    ) -> list[dict[str, Any]]:
        """What was asked, oldest first: ``seq``, ``at``, ``method``, ``params``, ``status``,
        ``answer`` (``None`` where none was given) and ``fault``."""
        wanted = {"chat_id": chat_id, "user_id": user_id}
        with self._lock:
            return [
                request
                for request in self._file.logged(after)
                if (method is None or request["method"].lower() == method.lower())
                and all(
                    value is None or str(request["params"].get(name)) == str(value)
                    for name, value in wanted.items()
                )
            ]

    def violations(self) -> list[dict[str, Any]]:
        """Requests with parameters that the Bot API does not know."""
        return [request for request in self.requests() if request["unknown_parameters"]]

    def fail(self, kind: str, **fields: Any) -> Fault:
        """Set a :class:`Fault`; the last one set is looked at first."""
        fault = Fault(kind, **fields)
        with self._lock:
            self._faults.insert(0, fault)
        return fault

    def heal(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def forget_requests(self) -> None:
        """Empty the log."""
        with self._lock:
            self._file.forget(objects=False)

    # -- the Bot API ---------------------------------------------------------------------------

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=50 * 1024 * 1024)
        app.router.add_route("*", "/bot{token}/{method}", self._bot)
        app.router.add_get("/_control/ready", self._ready)
        app.router.add_get("/_control/state", self._state)
        app.router.add_get("/_control/requests", self._requests)
        app.router.add_delete("/_control/requests", self._delete_requests)
        app.router.add_get("/_control/violations", self._violations)
        app.router.add_post("/_control/faults", self._add_fault)
        app.router.add_delete("/_control/faults", self._delete_faults)
        app.router.add_post("/_control/{action}", self._control)
        return app

    async def _bot(self, request: web.Request) -> web.StreamResponse:
        token, method = request.match_info["token"], request.match_info["method"]
        try:
            params = await _parameters(request)
        except ValueError:
            return _respond(refusal(400, "Bad Request: object expected as JSON body"))
        with self._lock:
            fault = next((f for f in self._faults if f.hits(method, params)), None)
            if fault is not None and fault.times is not None:
                fault.times -= 1
        if fault is not None and fault.kind == LATENCY:
            await asyncio.sleep(fault.seconds)
        answer = self._answer(token, method, params, fault)
        if fault is not None:
            if fault.kind == SERVER_ERROR:
                return web.Response(status=fault.status, text=_HTML_502, content_type="text/html")
            if fault.kind == TIMEOUT:
                await asyncio.sleep(fault.seconds)
            if answer is None or fault.kind == DROPPED_ANSWER:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=499)
        assert answer is not None
        return _respond(answer)

    def _answer(
        self, token: str, method: str, params: dict[str, Any], fault: Fault | None
    ) -> Answer | None:
        """The answer with its effect and its line in the log; ``None`` where none is given."""
        kind = fault.kind if fault is not None else None
        answer: Answer | None
        with self._lock:
            if fault is not None and kind == TOO_MANY_REQUESTS:
                wait = fault.retry_after
                if fault.for_seconds is not None:
                    wait = max(1, round(fault.left + 0.5))
                answer = refusal(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
            elif kind == UNAUTHORIZED:
                answer = refusal(401, "Unauthorized")
            elif kind in {SERVER_ERROR, TIMEOUT, DISCONNECT}:
                answer = None
            else:
                answer = self.bot_api.call(token, method, params)
            given = answer if kind != DROPPED_ANSWER else None
            status = fault.status if fault is not None and kind == SERVER_ERROR else None
            self._file.log(
                {
                    "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "method": method,
                    "params": params,
                    "status": given.status if given is not None else status,
                    "answer": given.body if given is not None else None,
                    "fault": kind,
                    "unknown_parameters": unknown_parameters(method, params),
                }
            )
        return answer

    def _keep(self, changed: Chat | User) -> None:
        if isinstance(changed, Chat):
            self._file.put("chat", changed.chat_id, changed.to_dict())
        else:
            self._file.put("user", changed.user_id, asdict(changed))

    # -- the control API -----------------------------------------------------------------------

    async def _ready(self, _: web.Request) -> web.Response:
        return web.json_response({"ready": True, "methods": sorted(PARAMETERS)})

    async def _state(self, _: web.Request) -> web.Response:
        with self._lock:
            api = self.bot_api
            settings = {k: v for k, v in asdict(api.settings).items() if k != "token"}
            return web.json_response(
                {
                    "settings": {**settings, "bot_id": api.settings.bot_id},
                    "chats": [chat.to_dict() for chat in api.chats.values()],
                    "users": [asdict(user) for user in api.users.values()],
                    "faults": [asdict(fault) for fault in self._faults],
                }
            )

    async def _requests(self, request: web.Request) -> web.Response:
        query = request.query
        return web.json_response(
            self.requests(
                query.get("method"),
                chat_id=int(query["chat_id"]) if "chat_id" in query else None,
                user_id=int(query["user_id"]) if "user_id" in query else None,
                after=int(query.get("after", "0")),
            )
        )

    async def _delete_requests(self, _: web.Request) -> web.Response:
        self.forget_requests()
        return web.json_response({})

    async def _violations(self, _: web.Request) -> web.Response:
        return web.json_response(self.violations())

    async def _add_fault(self, request: web.Request) -> web.Response:
        return await self._tried(request, lambda body: asdict(self.fail(**body)))

    async def _delete_faults(self, _: web.Request) -> web.Response:
        self.heal()
        return web.json_response({})

    async def _control(self, request: web.Request) -> web.Response:
        api = self.bot_api
        actions: dict[str, Any] = {
            "chats": lambda body: api.add_chat(**body).to_dict(),
            "members": lambda body: asdict(api.set_member(**body)),
            "bot": lambda body: asdict(api.set_bot(**body)),
            "users": lambda body: asdict(api.set_user(**body)),
            "join": lambda body: {"joined": api.join(**body)},
            "migrate": lambda body: api.migrate(**body).to_dict(),
            "delete_chat": lambda body: api.delete_chat(**body).to_dict(),
            "settings": self._set,
            "reset": self._reset,
        }
        action = actions.get(request.match_info["action"])
        if action is None:
            raise web.HTTPNotFound(text=f"one of {', '.join(actions)}\n")
        return await self._tried(request, action)

    async def _tried(self, request: web.Request, action: Any) -> web.Response:
        try:
            with self._lock:
                body = action(json.loads(await request.read() or b"{}"))
        except (TypeError, ValueError, KeyError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(body)

    def _set(self, body: dict[str, Any]) -> dict[str, Any]:
        """Change :class:`Settings`; a new ``token`` lasts until the next start."""
        api = self.bot_api
        api.settings = Settings(**{**asdict(api.settings), **body})
        self.token = api.settings.token
        kept = {k: v for k, v in asdict(api.settings).items() if k != "token"}
        self._file.put("settings", "settings", kept)
        return kept

    def _reset(self, _: dict[str, Any]) -> dict[str, Any]:
        self._file.forget(objects=True)
        self.bot_api.chats.clear()
        self.bot_api.users.clear()
        self.bot_api.settings = Settings(token=self.token)
        self._faults.clear()
        return {}


async def _parameters(request: web.Request) -> dict[str, Any]:
    """Parameters of the query and of the body, which may be JSON, a form or multipart.

    Raises:
        ValueError: a JSON body that is no object.
    """
    params: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        body = json.loads(await request.read() or b"{}")
        if not isinstance(body, dict):
            raise ValueError("not an object")
        params |= body
    elif re.match(r"multipart/form-data|application/x-www-form-urlencoded", request.content_type):
        params |= {name: str(value) for name, value in (await request.post()).items()}
    return params


def _respond(answer: Answer) -> web.Response:
    headers = {}
    retry_after = answer.body.get("parameters", {}).get("retry_after")
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return web.json_response(answer.body, status=answer.status, headers=headers)
