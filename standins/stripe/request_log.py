"""The calls of the public API, as they came in, and the answers saved for idempotency keys."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from standins.stripe.shapes import Object
from standins.stripe.store import Store


@dataclass(frozen=True)
class RequestRecord:
    """One call of the public API, as it came in and was answered."""

    method: str
    path: str
    params: Object
    idempotency_key: str | None
    account: str | None
    stripe_version: str | None
    livemode: bool
    at: float
    status: int
    replayed: bool = False


class RequestLog:
    """The calls since the log was cleared, oldest first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.records = [
            RequestRecord(**json.loads(body))
            for (body,) in store.rows("SELECT body FROM requests ORDER BY id")
        ]

    def add(self, record: RequestRecord) -> None:
        """Write down a call."""
        with self._store.lock:
            self.records.append(record)
            self._store.execute(
                "INSERT INTO requests (body) VALUES (?)", (json.dumps(asdict(record)),)
            )

    def clear(self) -> None:
        """Forget all calls."""
        with self._store.lock:
            self.records.clear()
            self._store.execute("DELETE FROM requests")


class SavedAnswers:
    """What calls with an idempotency key were answered, by account and key."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._saved: dict[str, Object] = {
            key: json.loads(body) for key, body in store.rows("SELECT key, body FROM idempotency")
        }

    def get(self, scope: str) -> Object | None:
        """The saved answer, if there is one."""
        return self._saved.get(scope)

    def save(self, scope: str, answer: Object) -> None:
        """Save an answer, in place of an older one."""
        with self._store.lock:
            self._saved[scope] = answer
            self._store.execute(
                "INSERT OR REPLACE INTO idempotency VALUES (?, ?)", (scope, json.dumps(answer))
            )
