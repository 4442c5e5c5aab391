"""Keeps the stand-in's state in one SQLite file, so that ``kill -9`` loses nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS objects (kind TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS requests (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT);
"""


class StateFile:
    """Objects by kind and id, and the log of requests.

    Args:
        path: the file, ``None`` for memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._database = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False
        )
        self._database.executescript(_TABLES)

    def put(self, kind: str, key: int | str, body: dict[str, Any]) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", (kind, str(key), json.dumps(body))
        )

    def all(self, kind: str) -> Iterator[dict[str, Any]]:
        rows = self._database.execute("SELECT body FROM objects WHERE kind = ?", (kind,))
        return (json.loads(body) for (body,) in rows.fetchall())

    def log(self, body: dict[str, Any]) -> int:
        """Append a request; its place in the log is returned."""
        cursor = self._database.execute(
            "INSERT INTO requests (body) VALUES (?)", (json.dumps(body),)
        )
        return int(cursor.lastrowid or 0)

    def logged(self, after: int = 0) -> list[dict[str, Any]]:
        rows = self._database.execute(
            "SELECT seq, body FROM requests WHERE seq > ? ORDER BY seq", (after,)
        )
        return [{"seq": seq, **json.loads(body)} for seq, body in rows.fetchall()]

    def forget(self, *, objects: bool) -> None:
        """Drop the log, and with ``objects`` everything."""
        self._database.execute("DELETE FROM requests")
        if objects:
            self._database.execute("DELETE FROM objects")

    def close(self) -> None:
        self._database.close()
