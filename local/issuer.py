"""A token issuer for the local run: OpenID discovery, keys, and a login that asks for nothing
but the store.

In a deployment this is whatever the platform's accounts use (Cognito, Auth0, ...). Everything is
served by the front under ``/oidc``, so the issuer's address only depends on ``PORT`` and tokens
outlive a restart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "customers"
STORE_CLAIM = "store_id"
PATH = "/oidc"
TOKEN_SECONDS = 12 * 3600
_CODE_SECONDS = 60


def issuer_url(port: int) -> str:
    """The issuer's address for a front on this port."""
    return f"http://localhost:{port}{PATH}"


class Issuer:
    """Signs tokens with a key that is kept.

    Args:
        url: the issuer, as in the tokens' ``iss``.
        key_file: PEM of the RSA key, made when it is not there.
    """

    def __init__(self, url: str, key_file: Path) -> None:
        self.url = url
        self._key = _load_or_make(key_file)
        numbers = self._key.public_key().public_numbers()
        parameters = {"e": _base64_of(numbers.e), "kty": "RSA", "n": _base64_of(numbers.n)}
        # RFC 7638: the thumbprint of the key is its id.
        canonical = json.dumps(parameters, separators=(",", ":"), sort_keys=True).encode()
        self._key_id = _base64(hashlib.sha256(canonical).digest())
        self._jwk = {**parameters, "kid": self._key_id, "use": "sig", "alg": "RS256"}

    def token(
        self, store: str, *, seconds: int = TOKEN_SECONDS, claims: dict[str, Any] | None = None
    ) -> str:
        """A JWT for a store.

        Args:
            store: value of the store's claim.
            seconds: until it expires.
            claims: further claims, or others in place of the usual ones; ``None`` leaves one out.
        """
        now = int(time.time())
        payload: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": f"owner@{store}",
            "iat": now,
            "exp": now + seconds,
            "token_use": "access",
            STORE_CLAIM: store,
            **(claims or {}),
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        return jwt.encode(payload, self._key, algorithm="RS256", headers={"kid": self._key_id})

    def configuration(self) -> dict[str, Any]:
        """The OpenID provider's metadata."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks.json",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        }

    def keys(self) -> dict[str, Any]:
        """The key set that signatures are checked with."""
        return {"keys": [self._jwk]}


@dataclass(frozen=True)
class _Grant:
    store: str
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    expires_at: float


class Login:
    """The authorization code flow with PKCE (RFC 6749, RFC 7636) over an :class:`Issuer`."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._grants: dict[str, _Grant] = {}
        # Cookies know no ports, and several stacks may run side by side.
        self._cookie = f"store_{urlsplit(issuer.url).port or 0}"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{PATH}/.well-known/openid-configuration", self._configuration),
            web.get(f"{PATH}/jwks.json", self._keys),
            web.get(f"{PATH}/authorize", self._ask),
            web.post(f"{PATH}/authorize", self._grant),
            web.post(f"{PATH}/token", self._token),
        ]

    async def _configuration(self, _: web.Request) -> web.Response:
        return web.json_response(self._issuer.configuration())

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response(self._issuer.keys())

    async def _ask(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        if (problem := _problem(asked)) is not None:
            return web.json_response(problem, status=400)
        known = request.cookies.get(self._cookie)
        if known and asked.get("prompt") != "login":
            raise self._answered(asked, known)
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in asked.items()
        )
        return web.Response(text=_LOGIN_PAGE.replace("{hidden}", hidden), content_type="text/html")

    async def _grant(self, request: web.Request) -> web.Response:
        asked = {name: str(value) for name, value in (await request.post()).items()}
        if (problem := _problem(asked)) is not None:
            return web.json_response(problem, status=400)
        store = asked.get("store", "").strip() or "demo"
        answer = self._answered(asked, store)
        # The issuer remembers its user for as long as the browser is open, as others do.
        answer.set_cookie(self._cookie, store, path=PATH, httponly=True, samesite="Lax")
        raise answer

    def _answered(self, asked: dict[str, str], store: str) -> web.HTTPFound:
        """The way back to the console, with a code for the store."""
        code = secrets.token_urlsafe(32)
        self._grants[code] = _Grant(
            store=store,
            client_id=asked["client_id"],
            redirect_uri=asked["redirect_uri"],
            challenge=asked["code_challenge"],
            nonce=asked.get("nonce"),
            expires_at=time.monotonic() + _CODE_SECONDS,
        )
        query = {"code": code, "iss": self._issuer.url}
        if "state" in asked:
            query["state"] = asked["state"]
        separator = "&" if urlsplit(asked["redirect_uri"]).query else "?"
        return web.HTTPFound(f"{asked['redirect_uri']}{separator}{urlencode(query)}")

    async def _token(self, request: web.Request) -> web.Response:
        asked = {name: str(value) for name, value in (await request.post()).items()}
        if asked.get("grant_type") != "authorization_code":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        grant = self._grants.pop(asked.get("code", ""), None)  # a code works once
        challenge = _base64(hashlib.sha256(asked.get("code_verifier", "").encode()).digest())
        if (
            grant is None
            or grant.expires_at < time.monotonic()
            or grant.client_id != asked.get("client_id")
            or grant.redirect_uri != asked.get("redirect_uri")
            or not hmac.compare_digest(grant.challenge, challenge)
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        seconds = 3600
        token = self._issuer.token(grant.store, seconds=seconds)
        identity = self._issuer.token(
            grant.store,
            seconds=seconds,
            claims={"aud": grant.client_id, "nonce": grant.nonce, "token_use": "id"},
        )
        return web.json_response(
            {
                "access_token": token,
                "id_token": identity,
                "token_type": "Bearer",
                "expires_in": seconds,
            },
            headers={"Cache-Control": "no-store"},
        )


def _problem(asked: dict[str, str]) -> dict[str, str] | None:
    """Why an authorization request can't be answered; ``None`` where it can."""
    for name in ("client_id", "redirect_uri", "code_challenge"):
        if not asked.get(name):
            return {"error": "invalid_request", "error_description": f"{name} is missing"}
    if asked.get("response_type") != "code":
        return {"error": "unsupported_response_type"}
    if asked.get("code_challenge_method") != "S256":
        return {"error": "invalid_request", "error_description": "PKCE with S256 is required"}
    # Whoever asks gets a token for any store here, so it never leaves this machine.
    if urlsplit(asked["redirect_uri"]).hostname not in {"localhost", "127.0.0.1", "::1"}:
        return {"error": "invalid_request", "error_description": "redirect_uri is not local"}
    return None


def _load_or_make(key_file: Path) -> rsa.RSAPrivateKey:
    if not key_file.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        key_file.parent.mkdir(parents=True, exist_ok=True)
        # Written aside first: two processes may come here at once, and one key has to win whole.
        aside = key_file.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
        try:
            os.link(aside, key_file)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{key_file} does not hold an RSA key")
    return key


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _base64_of(number: int) -> str:
    return _base64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


_LOGIN_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 15vh auto; padding: 0 1rem }
label { display: block; margin-bottom: .25rem }
input, button { font: inherit; padding: .5rem .75rem; width: 100%; box-sizing: border-box }
button { margin-top: 1rem; cursor: pointer }
</style>
<h1>Log in</h1>
<p>This is the login of the local run: name a store, and you are its owner.</p>
<form method="post">
{hidden}
<label for="store">Store</label>
<input id="store" name="store" value="demo" autofocus required>
<button>Log in</button>
</form>
</html>
"""
