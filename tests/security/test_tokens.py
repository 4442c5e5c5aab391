"""Which tokens the functions take, after the gateway has verified them."""

from __future__ import annotations

import time
from typing import Any

import pytest

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
