"""Clients of AWS services: one session, one client per service, made when first used."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.request import getproxies

import botocore.session
from botocore.config import Config
from botocore.httpsession import get_cert_path

from shared.settings import Settings
from shared.storage.wire import Wire

# Shorter than any function's timeout, so that a hanging call ends as an error we can tell.
_CONNECT_SECONDS = 2
_READ_SECONDS = 5


def _config() -> Config:
    return Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
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
    made = _session().create_client(service, config=_config())
    if service == "dynamodb":
        _shorten(made)
    return made


def _shorten(client: Any) -> None:
    """Have DynamoDB's requests sent by :mod:`shared.storage.wire`, where nothing is in between."""
    credentials = _session().get_credentials()
    if credentials is None or getproxies():  # the way through one is botocore's
        return
    wire = Wire(
        credentials.get_frozen_credentials,
        client.meta.region_name,
        _session().get_config_variable("ca_bundle") or get_cert_path(True),
        _CONNECT_SECONDS,
        _READ_SECONDS,
    )
    # Without its rules botocore takes the one endpoint of client and region, as it is: the rules,
    # a tenth of a call's CPU, would find nothing else for each request anew.
    client._ruleset_resolver = None
    # The last one that is asked, so that whoever looks at requests before it sees them.
    client.meta.events.register_last("before-call.dynamodb", wire.send)
