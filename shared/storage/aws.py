"""The AWS clients: boto3's, from one session. The only importer of ``boto3``."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


def client(
    service: str, *, connect: float, read: float, attempts: int, validate: bool = False
) -> Any:
    """A new client of a service (``dynamodb``, ``secretsmanager``, ``scheduler``).

    Args:
        connect, read: seconds that one attempt may take to connect and to wait for an answer.
        attempts: how often botocore tries a call in all.
        validate: whether botocore checks every request against the service's model first.
            DynamoDB does the same, and the check is a fifth of a call's CPU.
    """
    return _session().client(
        service,
        config=Config(
            connect_timeout=connect,
            read_timeout=read,
            retries={"mode": "standard", "total_max_attempts": attempts},
            tcp_keepalive=True,
            parameter_validation=validate,
            user_agent="customers",  # botocore's own is built anew for every request
        ),
    )
