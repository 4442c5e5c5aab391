"""A server that accepts every connection and never answers."""

from __future__ import annotations

import socket
from types import TracebackType


class SilentServer:
    """A context manager; ``url`` is its address, on loopback."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._listening.setblocking(False)
        self._accepted: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> SilentServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for opened in (*self._accepted, self._listening):
            opened.close()

    def connections(self) -> int:
        """How many connections were opened so far. The system accepts them by itself: a client
        notices no difference."""
        while True:
            try:
                self._accepted.append(self._listening.accept()[0])
            except BlockingIOError:
                return len(self._accepted)
