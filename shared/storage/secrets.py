"""Secrets Manager: JSON secrets, kept in memory for a few minutes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from shared.domain.deadline import Deadline

# A rotated secret is in use everywhere after this long.
MAX_AGE_SECONDS = 300.0
# However many bad signatures come in, a secret is read again at most this often.
MIN_REFRESH_SECONDS = 10.0


class SecretsClient(Protocol):
    """The call of botocore's Secrets Manager client that is used here."""

    def get_secret_value(self, **kwargs: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Kept:
    value: dict[str, Any]
    read_at: float


class Secrets:
    """Secrets by ARN, each a JSON object."""

    def __init__(self, client: SecretsClient, deadline: Deadline | None = None) -> None:
        self._client = client
        self._deadline = deadline or Deadline()
        self._kept: dict[str, _Kept] = {}

    def get(self, arn: str) -> dict[str, Any]:
        """The secret, at most five minutes old.

        While Secrets Manager can't be reached, an older copy serves.
        """
        return self._read(arn, MAX_AGE_SECONDS)

    def refresh(self, arn: str) -> dict[str, Any]:
        """The secret as it is now: for a second look after it was refused. Read at most every
        ten seconds, so that a stream of bad requests costs nothing."""
        return self._read(arn, MIN_REFRESH_SECONDS)

    def _read(self, arn: str, max_age: float) -> dict[str, Any]:
        kept = self._kept.get(arn)
        now = self._deadline.monotonic()
        if kept is not None and now - kept.read_at < max_age:
            return kept.value
        if kept is not None and self._deadline.left() <= 0:
            return kept.value
        self._deadline.check()
        try:
            answer = self._client.get_secret_value(SecretId=arn)
        except (BotoCoreError, ClientError):
            if kept is None:
                raise
            self._kept[arn] = _Kept(kept.value, now)
            return kept.value
        value = _parse(answer["SecretString"])
        self._kept[arn] = _Kept(value, now)
        return value


def _parse(text: str) -> dict[str, Any]:
    """A secret's JSON object; an error never shows the text."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RuntimeError("a secret is not a JSON object")
    return value
