"""Copies what the functions log from the local CloudWatch Logs to a file one can follow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

_PREFIX = "/aws/lambda/"
_PLATFORM_LINES = ("START RequestId", "END RequestId", "REPORT RequestId")

# An invocation's lines appear together when it ends, stamped with that moment; how far to look
# back for one that was still being stored.
_OVERLAP_MS = 5000


class FunctionLogs:
    """Adds new lines to a file at every :meth:`collect`.

    Args:
        client: boto3 client of the local CloudWatch Logs.
        file: lines are ``time function message``.
    """

    def __init__(self, client: Any, file: Path) -> None:
        self._client = client
        self._file = file
        self._newest: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def collect(self) -> None:
        """Copy what is new. While the local AWS is away there is nothing."""
        try:
            groups = self._client.describe_log_groups(logGroupNamePrefix=_PREFIX)["logGroups"]
            lines = [line for group in groups for line in self._new(group["logGroupName"])]
        except (BotoCoreError, ClientError):
            return
        if lines:
            with self._file.open("a") as file:
                file.writelines(lines)

    def _new(self, group: str) -> list[str]:
        since = max(0, self._newest.get(group, 0) - _OVERLAP_MS)
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=since
        )
        events = [event for page in pages for event in page["events"]]
        # A stream is one invocation here, so a stream that was seen is done.
        fresh = [event for event in events if event["logStreamName"] not in self._seen]
        for event in fresh:
            self._newest[group] = max(event["timestamp"], self._newest.get(group, 0))
            self._seen[event["logStreamName"]] = event["timestamp"]
        horizon = min(self._newest.values(), default=0) - 2 * _OVERLAP_MS
        self._seen = {stream: at for stream, at in self._seen.items() if at >= horizon}
        name = group.removeprefix(_PREFIX)
        return [
            f"{_time(event['timestamp'])} {name} {event['message'].rstrip()}\n"
            for event in fresh
            if not event["message"].startswith(_PLATFORM_LINES)
        ]


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
