"""The HTTP face: the public API, the control API, and the clock's ticking, in one process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType

from aiohttp import web

from standins.stripe.api import handle
from standins.stripe.calls import ApiRequest
from standins.stripe.control import ROUTES
from standins.stripe.errors import StripeError
from standins.stripe.standin import StripeStandin

TICK_SECONDS = 0.5


def application(standin: StripeStandin) -> web.Application:
    """The stand-in as an aiohttp application; its clock ticks while the application runs."""
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_route("*", "/_control/{name}", _control_of(standin))
    app.router.add_route("*", "/{path:.*}", _public_of(standin))
    app.cleanup_ctx.append(_ticking(standin))
    return app


def _public_of(
    standin: StripeStandin,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def public(request: web.Request) -> web.StreamResponse:
        pairs = [(key, str(value)) for key, value in request.query.items()]
        if request.can_read_body:
            form = await request.post()
            pairs += [(key, str(value)) for key, value in form.items()]
        answer = handle(
            standin, ApiRequest(request.method, request.path, pairs, dict(request.headers))
        )
        if answer.latency:
            await asyncio.sleep(answer.latency)
        if answer.drop and request.transport is not None:
            request.transport.abort()
        return web.Response(
            status=answer.status,
            text=answer.body,
            headers=answer.headers,
            content_type="application/json",
        )

    return public


def _control_of(
    standin: StripeStandin,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def control(request: web.Request) -> web.StreamResponse:
        run = ROUTES.get((request.method, request.match_info["name"]))
        if run is None:
            return web.json_response({"error": "no such control"}, status=404)
        body = dict(request.query)
        if request.can_read_body:
            body |= json.loads(await request.read())
        try:
            # In a thread: some of these wait, or work for seconds.
            return web.json_response(await asyncio.to_thread(run, standin, body))
        except StripeError as error:
            return web.json_response(error.body(), status=error.status)
        except (KeyError, TypeError, ValueError) as error:
            text = f"{type(error).__name__}: {error}"
            return web.json_response({"error": {"message": text}}, status=400)

    return control


def _ticking(
    standin: StripeStandin,
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def run(_app: web.Application) -> AsyncIterator[None]:
        async def tick() -> None:
            while True:
                await asyncio.to_thread(standin.run_due)
                await asyncio.sleep(TICK_SECONDS)

        task = asyncio.create_task(tick())
        yield
        task.cancel()

    return run


class StandinServer:
    """The stand-in behind a free port, in a thread of its own; a context manager for tests.

    ``deliver``: also send webhooks in the background, ``workers`` at a time.
    """

    def __init__(
        self,
        standin: StripeStandin,
        *,
        port: int = 0,
        deliver: bool = True,
        workers: int = 4,
    ) -> None:
        self.standin = standin
        self.port = port
        self._deliver = deliver
        self._workers = workers
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="stripe-standin", daemon=True)

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> StandinServer:
        """Serve in a thread; returns once requests are answered."""
        self._thread.start()
        self._ready.wait(10)
        if self._failure is not None:
            raise self._failure
        if self._deliver:
            self.standin.deliveries.start(workers=self._workers)
        return self

    def stop(self) -> None:
        """Stop serving and sending. The stand-in itself stays usable; close it yourself."""
        self.standin.deliveries.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def __enter__(self) -> StandinServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(application(self.standin), access_log=None, shutdown_timeout=0.5)
        try:
            self._loop.run_until_complete(runner.setup())
            site = web.TCPSite(runner, "127.0.0.1", self.port)
            self._loop.run_until_complete(site.start())
            self.port = runner.addresses[0][1]
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._failure = error
            return
        finally:
            self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()
