"""The local login gives a signed token to whoever proves to have asked for it, once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from aiohttp import ClientSession, web

from local.front import application
from local.issuer import AUDIENCE, Issuer
from local.processes import free_port
from local.running import Running, State

VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
REDIRECT = "http://localhost:5173/callback"
ASKED = {
    "response_type": "code",
    "client_id": "console",
    "redirect_uri": REDIRECT,
    "state": "s1",
    "nonce": "n1",
    "code_challenge": CHALLENGE.decode(),
    "code_challenge_method": "S256",
}
REDEEMED = {
    "grant_type": "authorization_code",
    "client_id": "console",
    "redirect_uri": REDIRECT,
    "code_verifier": VERIFIER,
}

Steps = Callable[[ClientSession, str], Awaitable[None]]


@asynccontextmanager
async def front(data_dir: Path, console: Path) -> AsyncIterator[tuple[ClientSession, str]]:
    for attempt in range(20):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        issuer = Issuer(f"{url}/oidc", data_dir / "issuer.pem")
        runner = web.AppRunner(application(data_dir, issuer, console))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError:  # another process of the machine took the port in between
            await runner.cleanup()
            if attempt == 19:
                raise
        else:
            break
    async with ClientSession() as session:
        yield session, url
    await runner.cleanup()


def against_front(tmp_path: Path, steps: Steps) -> None:
    async def run() -> None:
        async with front(tmp_path, tmp_path / "console") as (session, url):
            await steps(session, url)

    asyncio.run(run())


async def code_for(session: ClientSession, url: str, store: str) -> str:
    form = {**ASKED, "store": store}
    async with session.post(f"{url}/oidc/authorize", data=form, allow_redirects=False) as answer:
        assert answer.status == 302
        target = urlsplit(answer.headers["Location"])
    query = parse_qs(target.query)
    assert target.geturl().startswith(f"{REDIRECT}?")
    assert query["state"] == ["s1"]
    return query["code"][0]


async def redeem(session: ClientSession, url: str, **fields: str) -> tuple[int, Any]:
    async with session.post(f"{url}/oidc/token", data={**REDEEMED, **fields}) as answer:
        return answer.status, await answer.json()


def test_the_login_leads_to_a_token_of_the_named_store(tmp_path: Path) -> None:
    async def steps(session: ClientSession, url: str) -> None:
        async with session.get(f"{url}/oidc/.well-known/openid-configuration") as answer:
            configuration = await answer.json()
        async with session.get(configuration["authorization_endpoint"], params=ASKED) as answer:
            assert 'name="store"' in await answer.text()
        code = await code_for(session, url, "shop-7")
        status, tokens = await redeem(session, url, code=code)
        assert status == 200
        async with session.get(configuration["jwks_uri"]) as answer:
            key = jwt.PyJWK((await answer.json())["keys"][0])

        def claims(token: str, audience: str) -> Any:
            return jwt.decode(
                tokens[token],
                key,
                algorithms=["RS256"],
                audience=audience,
                issuer=configuration["issuer"],
                options={"require": ["exp", "iat", "sub"]},
            )

        assert claims("access_token", AUDIENCE)["store_id"] == "shop-7"
        assert claims("id_token", "console")["nonce"] == "n1"

    against_front(tmp_path, steps)


def test_a_code_works_once_and_only_with_its_verifier(tmp_path: Path) -> None:
    async def steps(session: ClientSession, url: str) -> None:
        stolen = await code_for(session, url, "demo")
        refused = (400, {"error": "invalid_grant"})
        assert await redeem(session, url, code=stolen, code_verifier="guess") == refused
        assert await redeem(session, url, code=stolen) == refused
        code = await code_for(session, url, "demo")
        assert (await redeem(session, url, code=code))[0] == 200
        assert await redeem(session, url, code=code) == refused

    against_front(tmp_path, steps)


@pytest.mark.parametrize(
    "wrong",
    [
        {"redirect_uri": "https://elsewhere.example/callback"},
        {"code_challenge_method": "plain"},
        {"response_type": "token"},
        {"code_challenge": ""},
    ],
    ids=["foreign redirect", "plain challenge", "implicit flow", "no challenge"],
)
def test_a_login_that_could_leak_a_token_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    async def steps(session: ClientSession, url: str) -> None:
        asked = {**ASKED, **wrong}
        async with session.get(f"{url}/oidc/authorize", params=asked) as answer:
            assert answer.status == 400
        async with session.post(
            f"{url}/oidc/authorize", data=asked, allow_redirects=False
        ) as answer:
            assert answer.status == 400

    against_front(tmp_path, steps)


def test_what_is_asked_is_not_put_into_the_login_page_as_markup(tmp_path: Path) -> None:
    async def steps(session: ClientSession, url: str) -> None:
        asked = {**ASKED, "state": '"><script>alert(1)</script>'}
        async with session.get(f"{url}/oidc/authorize", params=asked) as answer:
            assert "<script>" not in await answer.text()

    against_front(tmp_path, steps)


def test_the_signing_key_outlives_the_process_and_is_the_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "issuer.pem"
    first = Issuer("http://localhost/oidc", file)
    second = Issuer("http://localhost/oidc", file)
    assert first.keys() == second.keys()
    assert file.stat().st_mode & 0o077 == 0


def test_the_api_is_not_there_until_it_is_ready(tmp_path: Path) -> None:
    async def steps(session: ClientSession, url: str) -> None:
        async def status(path: str) -> int:
            async with session.get(url + path) as answer:
                return answer.status

        assert await status("/v1/customers") == 503
        Running(tmp_path).write(
            State(port=1, ready=False, api_url="http://127.0.0.1:9", api_host="api.localhost")
        )
        assert await status("/v1/openapi.json") == 503
        assert await status("/") == 200

    against_front(tmp_path, steps)


def test_the_console_is_served_with_its_own_addresses_and_nothing_beside_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "index.html").write_text("the console")
    (tmp_path / "console" / "app.js").write_text("code")
    (tmp_path / "secret.txt").write_text("secret")

    async def steps(session: ClientSession, url: str) -> None:
        async def text(path: str) -> str:
            async with session.get(url + path) as answer:
                return await answer.text()

        assert await text("/app.js") == "code"
        assert await text("/") == "the console"
        assert await text("/customers/c1") == "the console"
        assert await text("/%2e%2e/secret.txt") == "the console"
        assert "secret" not in await text("/..%2fsecret.txt")

    against_front(tmp_path, steps)
