"""What a running stack tells the other processes of its data folder: addresses and readiness.

The operators' command reaches the local run by this file and by the constants below, and by nothing
else of this package but its issuer of tokens.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

# The local AWS takes the access key for the account's number, and any secret key.
REGION = "us-east-1"
ACCOUNT = "000000000000"
SECRET_KEY = "local"


@dataclass(frozen=True)
class State:
    """Addresses of a running stack; ``None`` for what does not answer (yet, or just now).

    Attributes:
        port: of the front.
        ready: everything has been started and filled.
        api_url: of the local API Gateway.
        api_host: the ``Host`` header that names the API there.
        aws_url: of the local Lambda, Scheduler, EventBridge, Secrets Manager and SQS.
        dynamodb_url: of the local DynamoDB.
        outputs: of the deployed stack.
    """

    port: int | None = None
    ready: bool = False
    api_url: str | None = None
    api_host: str | None = None
    aws_url: str | None = None
    dynamodb_url: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)


class Running:
    """The file that holds it."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "running.json"
        self._seen: tuple[int, int] | None = None
        self._state = State()

    def read(self) -> State:
        """The state now; read from the file again only when that has changed."""
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            return State()
        seen = (stat.st_mtime_ns, stat.st_ino)
        if seen != self._seen:
            self._state = State(**json.loads(self._file.read_text()))
            self._seen = seen
        return self._state

    def write(self, state: State) -> None:
        """Replace the state, in one step for whoever reads."""
        aside = self._file.with_suffix(".new")
        aside.write_text(json.dumps(asdict(state), indent=2))
        os.replace(aside, self._file)

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)
