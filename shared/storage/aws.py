"""Clients of AWS services: one session, one client per service, made when first used."""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session
from botocore.config import Config

from shared.settings import Settings


def _config() -> Config:
    return Config(
        # Shorter than any function's timeout, so that a hanging call ends as an error we can tell.
        connect_timeout=2,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 3},
        tcp_keepalive=True,
        # A fifth of a call's CPU: botocore checks every value against its model, which DynamoDB
        # does too, and builds its User-Agent anew for each request.
        parameter_validation=Settings().validates_requests,
        user_agent="customers",
    )


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def client(service: str) -> Any:
    """The process's client of a service (``dynamodb``, ``secretsmanager``, ``scheduler``).

    botocore's own client: boto3 around it adds a tenth to a cold start and nothing we use.
    """
    return _session().create_client(service, config=_config())
