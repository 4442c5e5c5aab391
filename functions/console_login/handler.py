"""A login at the user pool: the owner's store goes into the access token.

Cognito's trigger before a token is made, version 2, the first that may change access tokens:
https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-lambda-pre-token-generation.html
"""

from __future__ import annotations

from typing import Any

from shared.settings import Settings

_ATTRIBUTE = "custom:store_id"


def lambda_handler(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """A user without a store gets a token without one, which the API answers with 403."""
    store = event["request"]["userAttributes"].get(_ATTRIBUTE)
    if store:
        event["response"]["claimsAndScopeOverrideDetails"] = {
            "accessTokenGeneration": {"claimsToAddOrOverride": {Settings().store_claim: store}}
        }
    return event
