"""The SQLite file of the stand-in, and the transactions that write to it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from standins.stripe.ids import make_id
from standins.stripe.shapes import Object

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (space TEXT, kind TEXT, id TEXT, body TEXT,
    PRIMARY KEY (space, kind, id));
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, space TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS deliveries (id INTEGER PRIMARY KEY, event TEXT, endpoint TEXT,
    state TEXT, attempts INTEGER, status INTEGER);
CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS searchable (number INTEGER PRIMARY KEY, space TEXT, kind TEXT, id TEXT,
    at INTEGER, fields TEXT);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, body TEXT);
"""


class Store:
    """What the stand-in keeps, in one SQLite file.

    ``data_dir``: the folder of the file (``None``: memory only). ``seed``: equal seeds give equal
    ids for equal operations. Whoever reads or changes more than one thing holds ``lock``.
    """

    def __init__(self, data_dir: Path | str | None, seed: str) -> None:
        self.lock = threading.RLock()
        self._seed = seed
        self._depth = 0
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._rows: dict[str, list[Sequence[Any]]] = {}
        self._values: dict[str, Any] = {}
        self._afterwards: list[Callable[[], None]] = []
        if data_dir is None:
            where = ":memory:"
        else:
            Path(data_dir).mkdir(parents=True, exist_ok=True)
            where = str(Path(data_dir) / "stripe.sqlite")
        self._db = sqlite3.connect(where, check_same_thread=False, isolation_level=None)
        # What a killed process has written is in the operating system's hands: no fsync needed.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + _SCHEMA)
        self._number = int(self.value("number", 0))

    # --- numbers and ids ------------------------------------------------------------------

    def next_number(self) -> int:
        """A number higher than all before."""
        self._number += 1
        return self._number

    def new_id(self, prefix: str, *, length: int = 24) -> str:
        """An id that nothing has yet."""
        return make_id(prefix, self._seed, self.next_number(), length=length)

    # --- what is written when the transaction ends ----------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is stored together when the outermost transaction ends."""
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._commit()

    def put_object(self, space: str, target: Object) -> None:
        """Store an object as it is when the transaction ends."""
        self._objects[space, target["object"], target["id"]] = target

    def insert(self, statement: str, row: Sequence[Any]) -> None:
        """Run a statement with this row when the transaction ends."""
        self._rows.setdefault(statement, []).append(row)

    def after_commit(self, do: Callable[[], None]) -> None:
        """Call this once the transaction is stored."""
        self._afterwards.append(do)

    def set_value(self, key: str, value: Any) -> None:
        """Store one value by its name."""
        with self.transaction():
            self._values[key] = value

    def value(self, key: str, default: Any = None) -> Any:
        """The value stored by this name."""
        with self.lock:
            if key in self._values:
                return self._values[key]
            row = self._db.execute("SELECT body FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else json.loads(row[0])

    def _commit(self) -> None:
        if not self._objects and not self._rows and not self._values:
            return
        objects, self._objects = self._objects, {}
        rows, self._rows = self._rows, {}
        values, self._values = self._values, {}
        afterwards, self._afterwards = self._afterwards, []
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
            [(*key, json.dumps(body)) for key, body in objects.items()],
        )
        for statement, given in rows.items():
            self._db.executemany(statement, given)
        self._db.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [(key, json.dumps(value)) for key, value in {"number": self._number, **values}.items()],
        )
        self._db.execute("COMMIT")
        for do in afterwards:
            do()

    # --- what is written and read at once -------------------------------------------------

    def execute(self, statement: str, row: Sequence[Any] = ()) -> None:
        """Run a statement now."""
        with self.lock:
            self._db.execute(statement, row)

    def rows(self, query: str) -> list[Any]:
        """The rows a query finds."""
        with self.lock:
            return self._db.execute(query).fetchall()

    def close(self) -> None:
        """Close the file; nothing can be stored any more."""
        with self.lock:
            self._db.close()
