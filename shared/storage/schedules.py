"""One-time EventBridge schedules that wake the revoker for one purchase.

They make ends punctual; the ``due`` index and the sweep make them certain. A purchase has at most
two, for its set end and for a change that settles, under names computed from its key, so making
one twice is harmless.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from shared.domain.deadline import Deadline, OutOfTime
from shared.storage.keys import Key
from shared.tenant import account_of, store_of


class SchedulerClient(Protocol):
    """The calls of botocore's EventBridge Scheduler client that are used here."""

    def create_schedule(self, **kwargs: Any) -> dict[str, Any]: ...
    def update_schedule(self, **kwargs: Any) -> dict[str, Any]: ...
    def delete_schedule(self, **kwargs: Any) -> dict[str, Any]: ...


class SchedulerUnavailable(Exception):
    """The schedule could not be set now; the sweep acts without it."""


class Schedules:
    """The schedules of one group.

    Args:
        revoker_arn: the function they invoke.
        role_arn: the role EventBridge Scheduler takes on to invoke it.
    """

    def __init__(
        self,
        client: SchedulerClient,
        *,
        group: str,
        revoker_arn: str,
        role_arn: str,
        deadline: Deadline | None = None,
    ) -> None:
        self._client = client
        self._deadline = deadline or Deadline()
        self._group = group
        self._revoker_arn = revoker_arn
        self._role_arn = role_arn

    def put(self, key: Key, at: int, *, settling: bool = False) -> None:
        """Fire at ``at`` (seconds since the epoch), and at no other time.

        Args:
            settling: the one for a change that settles, instead of the one for the set end.

        UpdateSchedule resets every field that is left out, so create and update send the same
        (https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html).

        Raises:
            SchedulerUnavailable: AWS could not be asked, or refused.
        """
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        schedule: dict[str, Any] = {
            "Name": name_of(key, settling=settling),
            "GroupName": self._group,
            "ScheduleExpression": f"at({when})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": self._revoker_arn,
                "RoleArn": self._role_arn,
                "Input": json.dumps(event_of(key)),
                "RetryPolicy": {"MaximumRetryAttempts": 20, "MaximumEventAgeInSeconds": 86400},
            },
        }
        try:
            self._deadline.check()
            try:
                self._client.create_schedule(**schedule)
            except ClientError as error:
                if _code(error) != "ConflictException":
                    raise
                self._deadline.check()
                self._client.update_schedule(**schedule)
        except (ClientError, BotoCoreError, OutOfTime) as error:
            raise SchedulerUnavailable(_code(error)) from error

    def delete(self, key: Key) -> None:
        """There is no schedule afterwards.

        Raises:
            SchedulerUnavailable: AWS could not be asked, or refused.
        """
        try:
            self._deadline.check()
            self._client.delete_schedule(Name=name_of(key), GroupName=self._group)
        except (ClientError, BotoCoreError, OutOfTime) as error:
            if _code(error) != "ResourceNotFoundException":
                raise SchedulerUnavailable(_code(error)) from error


def name_of(key: Key, *, settling: bool = False) -> str:
    """A purchase's schedule name: 1-64 characters of ``[0-9a-zA-Z-_.]``."""
    digest = hashlib.sha256(f"{key.pk}\0{key.sk}".encode()).hexdigest()
    return f"{'settling' if settling else 'purchase'}-{digest[:40]}"


def event_of(key: Key) -> dict[str, str]:
    """What the revoker is invoked with; nothing for a task of the sweep."""
    if key.kind != "PURCHASE":
        return {}
    return {
        "store": store_of(key.pk).store_id,
        "account": account_of(key.pk),
        "purchase_id": key.sk.removeprefix("PURCHASE#"),
    }


def _code(error: BaseException) -> str:
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    return type(error).__name__
