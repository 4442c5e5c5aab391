"""Databases that do not answer, as real sockets on loopback for the real clients of boto3."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.silence import SilentServer


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Accepts connections and never answers; its address."""
    with SilentServer() as server:
        yield server.url


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """Drops every packet that would open a connection: its queue of connections is full."""
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(10):
            filling = opened.enter_context(socket.socket())
            filling.settimeout(0.2)
            try:
                filling.connect(address)
            except TimeoutError:
                break
        else:
            raise RuntimeError("this kernel does not drop connections of a full queue")
        yield f"http://127.0.0.1:{address[1]}"


class _Throttling(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = "com.amazonaws.dynamodb.v20120810#ThrottlingException"
        body = json.dumps({"__type": kind, "message": "Throughput exceeds the limit"}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def throttling() -> Iterator[str]:
    """Answers every request with a throttle."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Throttling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


DATABASES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "silent": silent,
    "unreachable": unreachable,
    "throttling": throttling,
}
