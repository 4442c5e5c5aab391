"""Which tokens are taken: by the gateway, and by the functions after it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from local.stack import Stack
from shared.domain.errors import InvalidToken
from shared.http.app import tenant_of
from shared.tenant import Tenant
from tests.functions.http import api_event
from tests.functions.shop import Shop

NOW = 1_800_000_000.0


def tenant_at(now: float, **claims: Any) -> Tenant:
    event = api_event("GET", "/v1/customers", claims={"store_id": "demo", **claims})
    return tenant_of(event, "store_id", lambda: now)


@pytest.mark.parametrize("exp", [NOW + 1, str(int(NOW) + 1), "1.800000001E9"])
def test_a_token_is_taken_until_it_expires(exp: Any) -> None:
    assert tenant_at(NOW, exp=exp) == Tenant("demo")
    with pytest.raises(InvalidToken):
        tenant_at(NOW + 1, exp=exp)


@pytest.mark.parametrize("exp", [None, "", "never", "inf", "nan", [], {}, "0", "-1"])
def test_a_token_that_never_expires_is_refused(exp: Any) -> None:
    with pytest.raises(InvalidToken):
        tenant_at(NOW, exp=exp)


@pytest.mark.parametrize(
    "mark", [{"token_use": "id"}, {"nonce": "n1"}, {"at_hash": "x"}, {"c_hash": "x"}]
)
def test_an_id_token_is_refused(mark: dict[str, str]) -> None:
    with pytest.raises(InvalidToken):
        tenant_at(NOW, exp=NOW + 60, **mark)
    assert tenant_at(NOW, exp=NOW + 60, token_use="access") == Tenant("demo")


ROUTES = [
    ("list_customers", "GET", "/v1/customers"),
    ("list_customers", "GET", "/v1/products"),
    ("get_customer", "GET", "/v1/customers/cust_x"),
    ("get_customer", "GET", "/v1/customers/cust_x/transactions"),
    ("cancel_purchase", "POST", "/v1/customers/cust_x/purchases/sub_x/cancel"),
    ("cancel_purchase", "POST", "/v1/customers/cust_x/purchases/sub_x/revocation"),
]


@pytest.mark.parametrize(("function", "method", "path"), ROUTES)
def test_every_route_refuses_a_token_that_has_expired_before_it_asks_the_database(
    shop: Shop, function: str, method: str, path: str
) -> None:
    expired = {"store_id": "demo", "exp": str(int(time.time()) - 1)}
    for claims, status in ((expired, 401), ({"sub": "owner"}, 403)):
        answer = shop.invoke(function, api_event(method, path, claims=claims))
        assert answer["statusCode"] == status
    assert not shop.tables.client.calls


# -- through the gateway ---------------------------------------------------------------------------


def signed_by(stack: Stack, key: Any, algorithm: str, **claims: Any) -> str:
    """A token as the issuer makes them, signed by somebody else or in another way."""
    usual = jwt.decode(stack.token(), options={"verify_signature": False})
    header = {"kid": jwt.get_unverified_header(stack.token())["kid"]}
    made: str = jwt.encode({**usual, **claims}, key, algorithm=algorithm, headers=header)
    return made


def public_key(stack: Stack) -> bytes:
    """What the issuer publishes, as a forger would use it for a secret."""
    (published,) = stack.issuer.keys()["keys"]
    key = jwt.PyJWK(published).key
    encoded: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def forged_with_the_public_key(stack: Stack) -> str:
    """HS256 with the public key as its secret, by hand: PyJWT refuses to make such a one."""
    head, body, _ = signed_by(stack, "x" * 32, "HS256").split(".")
    digest = hmac.new(public_key(stack), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def changed(stack: Stack) -> str:
    """Another store's name under the signature of the first one."""
    head, _, signature = stack.token("demo").split(".")
    return f"{head}.{stack.token('other').split('.')[1]}.{signature}"


REFUSED: dict[str, Callable[[Stack], str]] = {
    "no token": lambda stack: "",
    "no exp": lambda stack: stack.token(exp=None),
    "expired": lambda stack: stack.token(exp=int(time.time()) - 1),
    "audience": lambda stack: stack.token(aud="others"),
    "no audience": lambda stack: stack.token(aud=None),
    "issuer": lambda stack: stack.token(iss="https://elsewhere.example"),
    "no issuer": lambda stack: stack.token(iss=None),
    "no algorithm": lambda stack: signed_by(stack, None, "none"),
    "public key": forged_with_the_public_key,
    "another key": lambda stack: signed_by(
        stack, rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256"
    ),
    "another algorithm": lambda stack: signed_by(
        stack, ec.generate_private_key(ec.SECP256R1()), "ES256"
    ),
    "changed": changed,
    "ID token": lambda stack: stack.token(token_use="id"),
    "ID token with a nonce": lambda stack: stack.token(token_use=None, nonce="n1"),
    "not yet": lambda stack: stack.token(nbf=int(time.time()) + 600),
    "nonsense": lambda stack: "x.y.z",
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_running_api_refuses_a_token_that_is_not_good(stack: Stack, name: str) -> None:
    answer = requests.get(
        f"{stack.url}/v1/customers",
        headers={"Authorization": f"Bearer {REFUSED[name](stack)}"},
        timeout=20,
    )
    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("store", [None, "", ["demo", "other"], "a#b", 5, "x" * 65])
def test_a_token_without_one_store_is_not_let_in(stack: Stack, store: Any) -> None:
    headers = {"Authorization": f"Bearer {stack.token(store_id=store)}"}
    answer = requests.get(f"{stack.url}/v1/customers", headers=headers, timeout=20)
    # A number reaches the function as text, as API Gateway sends it: a store that nobody has.
    if store == 5:
        assert answer.json()["items"] == []
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
