"""What a login at the user pool puts into the access token."""

from __future__ import annotations

from typing import Any

import pytest

from functions.console_login.handler import lambda_handler
from shared.http.app import tenant_of


def trigger(**attributes: str) -> dict[str, Any]:
    """Cognito's event, as it is before the trigger has answered."""
    return {
        "version": "2",
        "triggerSource": "TokenGeneration_HostedAuth",
        "userPoolId": "eu-central-1_abc",
        "request": {"userAttributes": {"sub": "u-1", **attributes}, "scopes": ["openid"]},
        "response": {"claimsAndScopeOverrideDetails": None},
    }


def added(answer: dict[str, Any]) -> dict[str, str]:
    changes = answer["response"]["claimsAndScopeOverrideDetails"] or {}
    claims: dict[str, str] = changes.get("accessTokenGeneration", {}).get(
        "claimsToAddOrOverride", {}
    )
    return claims


def test_the_store_goes_into_the_access_token_and_the_api_reads_it_there() -> None:
    claims = added(lambda_handler(trigger(**{"custom:store_id": "north"}), None))
    assert claims == {"store_id": "north"}
    verified = {**claims, "token_use": "access", "exp": "99999999999"}
    event = {"requestContext": {"authorizer": {"jwt": {"claims": verified}}}}
    assert tenant_of(event, "store_id").store_id == "north"


def test_it_goes_by_the_name_of_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_CLAIM", "shop")
    claims = added(lambda_handler(trigger(**{"custom:store_id": "north"}), None))
    assert claims == {"shop": "north"}


@pytest.mark.parametrize("attributes", [{}, {"custom:store_id": ""}])
def test_a_user_without_a_store_gets_a_token_without_one(attributes: dict[str, str]) -> None:
    assert added(lambda_handler(trigger(**attributes), None)) == {}
