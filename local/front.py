"""The one address of the local run: the console at ``/``, the API under ``/v1``, the login under
``/oidc``.

The API's requests go on to the local API Gateway byte for byte: a webhook's signature covers the
bytes that were sent. ``python -m local.front --data-dir D --port P``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from local.issuer import STORE_CLAIM, Issuer, Login, issuer_url
from local.running import Running

_CONSOLE = Path(__file__).parent.parent / "console" / "dist"
CLIENT = "console"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# API Gateway's own limit for HTTP APIs.
_LARGEST_BODY = 10 * 1024 * 1024

# RFC 9110 7.6.1: meant for the next hop only. Host is the API's own on the other side.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# As the deployment's CloudFront sends them. Avatars come from wherever a storefront keeps them.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
        "img-src 'self' https:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_SESSION = web.AppKey("session", aiohttp.ClientSession)
_RUNNING = web.AppKey("running", Running)


def application(data_dir: Path, issuer: Issuer, console: Path = _CONSOLE) -> web.Application:
    """The front as an aiohttp application.

    Args:
        data_dir: where the supervisor says what is running.
        issuer: signs the login's tokens.
        console: folder of the built console; without one a page says how to use the API.
    """
    app = web.Application(client_max_size=_LARGEST_BODY)
    app[_RUNNING] = Running(data_dir)
    app.cleanup_ctx.append(_open_session)
    app.router.add_routes(Login(issuer).routes())
    app.router.add_route("*", r"/v1/{rest:[\s\S]*}", _to_api)

    async def configuration(_: web.Request) -> web.Response:
        """What the console has to know; in a deployment a file beside it."""
        facts = {"issuer": issuer.url, "client_id": CLIENT, "store_claim": STORE_CLAIM}
        return web.json_response(facts, headers={"Cache-Control": "no-cache"})

    async def page(request: web.Request) -> web.StreamResponse:
        answer = await found(request)
        if (console / "index.html").is_file():
            answer.headers.update(PAGE_HEADERS)
        return answer

    async def found(request: web.Request) -> web.StreamResponse:
        home = URL(issuer.url).origin()
        if request.host != home.authority and request.url.host in _LOOPBACK:
            # One origin for console, API and login, whatever name of this machine was typed.
            raise web.HTTPFound(home.join(request.rel_url))
        root = console.resolve()
        asked = (root / request.path.lstrip("/")).resolve()
        if asked.is_relative_to(root) and asked.is_file():
            # The build puts a digest of the content into these names.
            lasting = asked.is_relative_to(root / "assets")
            cache = "public, max-age=31536000, immutable" if lasting else "no-cache"
            return web.FileResponse(asked, headers={"Cache-Control": cache})
        if (root / "index.html").is_file():  # the console's own addresses
            return web.FileResponse(root / "index.html", headers={"Cache-Control": "no-cache"})
        if request.path != "/":
            raise web.HTTPNotFound
        return web.Response(text=_PAGE, content_type="text/html")

    app.router.add_get("/config.json", configuration)
    app.router.add_get("/{path:.*}", page)
    return app


async def _open_session(app: web.Application) -> AsyncIterator[None]:
    app[_SESSION] = aiohttp.ClientSession(
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=60),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )
    yield
    await app[_SESSION].close()


async def _to_api(request: web.Request) -> web.StreamResponse:
    running = request.app[_RUNNING].read()
    starting = running.api_url is None or (not running.ready and request.path == "/v1/openapi.json")
    if running.api_url is None or running.api_host is None or starting:
        return web.json_response(
            {"message": "Service Unavailable"}, status=503, headers={"Retry-After": "1"}
        )
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return web.json_response({"message": "Request Entity Too Large"}, status=413)
    headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP]
    headers.append(("Host", running.api_host))
    try:
        async with request.app[_SESSION].request(
            request.method,
            URL(running.api_url + request.raw_path, encoded=True),
            headers=headers,
            data=body or None,
            allow_redirects=False,
        ) as answer:
            response = web.Response(status=answer.status, body=await answer.read())
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            return response
    except (aiohttp.ClientError, TimeoutError):
        return web.json_response(
            {"message": "Service Unavailable"}, status=503, headers={"Retry-After": "1"}
        )


async def serve(data_dir: Path, port: int) -> None:
    """Serve on loopback until cancelled."""
    issuer = Issuer(issuer_url(port), data_dir / "issuer.pem")
    runner = web.AppRunner(application(data_dir, issuer), access_log=None)
    await runner.setup()
    for host in ("127.0.0.1", "::1"):
        # "localhost" may mean either, and a machine need not have IPv6.
        with contextlib.suppress(OSError) if host == "::1" else contextlib.nullcontext():
            await web.TCPSite(runner, host, port).start()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="local.front", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.data_dir, options.port))


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Customers</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 10vh auto }</style>
<h1>Customers</h1>
<p>The API answers under <code>/v1</code>: <a href="/v1/openapi.json">its description</a>.</p>
<pre>curl -H "Authorization: Bearer $(make token STORE=demo)" \\
  http://localhost:8080/v1/customers</pre>
<p>The console has not been built.</p>
</html>
"""

if __name__ == "__main__":
    main()
