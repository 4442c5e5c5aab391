"""How a call of DynamoDB goes over the wire: the usual one without most of botocore's work.

botocore spends most of a call's CPU between the serialized request and the parsed answer: on
hooks, on its layers of requests, on signing whatever may be signed. A call of DynamoDB is always
the same there: one POST, five headers, JSON. :meth:`Wire.send` is registered for ``before-call``,
where botocore asks whether somebody else has the answer. It makes one attempt over a connection
that is kept, and whatever isn't an answer (no connection, a timeout, throttling, a fault at their
end, a wrong checksum) it leaves to botocore, which begins the call anew with its own connection
and its retries. So nothing here retries, waits, or tells errors apart, and everything works, only
dearer, without it.

The signature is Signature Version 4
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from botocore.parsers import create_parser
from urllib3.util.wait import wait_for_read

# Refusals that botocore would not try again either: they are the answer.
_FINAL = frozenset(
    {
        "ConditionalCheckFailedException",
        "TransactionCanceledException",
        "TransactionConflictException",
        "ValidationException",
        "ResourceNotFoundException",
    }
)
_SCOPE = "aws4_request"
_LONGEST_LINE = 65_536  # http.client's


class Credentials(Protocol):
    """botocore's frozen credentials."""

    access_key: str
    secret_key: str
    token: str | None


class Answered:
    """What botocore looks at of a response it didn't make."""

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def _answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by their lower-case names, and body of the response to a request.

    http.client has an e-mail's parser read the headers, which takes an eighth of a call's CPU.

    Raises:
        HTTPException: it isn't of the only kind that DynamoDB sends: HTTP/1.1, with its length.
    """
    with connection.makefile("rb") as stream:
        version, _, rest = _line(stream).partition(" ")
        status = rest[:3]
        headers: dict[str, str] = {}
        while line := _line(stream):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length", "")
        if version != "HTTP/1.1" or not status.isdigit() or not length.isdigit():
            raise http.client.HTTPException("not an answer of DynamoDB")
        body = stream.read(int(length))
        if len(body) < int(length):
            raise http.client.IncompleteRead(body)
        return int(status), headers, body


def _line(stream: BinaryIO) -> str:
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\r\n"):
        raise http.client.HTTPException("a line without its end")
    return line[:-2].decode("latin-1")


@lru_cache(maxsize=2)
def _signing_key(secret_key: str, scope: tuple[str, ...]) -> bytes:
    """It changes with the day and with the credentials."""
    key = b"AWS4" + secret_key.encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class Wire:
    """Sends DynamoDB's requests; a connection per thread.

    Args:
        credentials: the valid ones, asked for before each call: they are renewed meanwhile.
        authorities: the file of those whose certificates are trusted.
        connect_timeout, read_timeout: seconds.
    """

    def __init__(
        self,
        credentials: Callable[[], Credentials],
        region: str,
        authorities: str,
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        self._credentials = credentials
        self._region = region
        self._authorities = authorities
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._parser = create_parser("json")
        self._kept = threading.local()

    def send(
        self, model: Any, params: Mapping[str, Any], **_: Any
    ) -> tuple[Answered, dict[str, Any]] | None:
        """The answer to a serialized request; ``None``: botocore should ask by itself."""
        try:
            status, headers, body = self._exchange(params)
        except (OSError, http.client.HTTPException):
            self._drop()
            return None
        checksum = headers.get("x-amz-crc32")
        if checksum is not None and checksum != str(zlib.crc32(body)):
            return None
        if status not in (200, 400):
            return None
        answer = {"status_code": status, "headers": headers, "body": body}
        parsed: dict[str, Any] = self._parser.parse(answer, model.output_shape)
        if status == 400:
            code = parsed["Error"]["Code"]
            if code not in _FINAL:
                return None
            shape = model.service_model.shape_for_error_code(code)
            if shape is not None:  # a refusal may show what is stored
                parsed |= self._parser.parse(answer, shape)
        return Answered(status), parsed

    def _exchange(self, params: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        body = bytes(params["body"])
        headers = {
            "Content-Type": params["headers"]["Content-Type"],
            "Host": urlsplit(params["url"]).netloc,
            "X-Amz-Target": params["headers"]["X-Amz-Target"],
        }
        headers["Authorization"] = self._signature(headers, body)
        headers["User-Agent"] = params["headers"]["User-Agent"]
        headers["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection = self._connection(params["url"])
        connection.sendall(f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body)
        status, received, content = _answer(connection)
        if received.get("connection", "").lower() == "close":
            self._drop()
        return status, received, content

    def _signature(self, headers: dict[str, str], body: bytes) -> str:
        """The ``Authorization`` of these headers, to which the time and a session's token are
        added."""
        credentials = self._credentials()
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers["X-Amz-Date"] = now
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        signed = sorted((name.lower(), value) for name, value in headers.items())
        names = ";".join(name for name, _ in signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed)
        request = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = (now[:8], self._region, "dynamodb", _SCOPE)
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = _signing_key(credentials.secret_key, scope)
        text = "\n".join(("AWS4-HMAC-SHA256", now, "/".join(scope), digest))
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = "/".join((credentials.access_key, *scope))
        return (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names},"
            f" Signature={signature}"
        )

    # -- the connection ---------------------------------------------------------------------------

    def _connection(self, url: str) -> socket.socket:
        kept: tuple[str, socket.socket] | None = getattr(self._kept, "connection", None)
        if kept is not None:
            # Something to read before anything was asked: the other side has closed it.
            if kept[0] == url and not wait_for_read(kept[1], timeout=0.0):
                return kept[1]
            self._drop()
        made = self._connect(url)
        self._kept.connection = (url, made)
        return made

    def _connect(self, url: str) -> socket.socket:
        parts = urlsplit(url)
        secure, host = parts.scheme == "https", parts.hostname or ""
        port = parts.port or (443 if secure else 80)
        made = socket.create_connection((host, port), self._connect_timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if secure:
            context = ssl.create_default_context(cafile=self._authorities)
            made = context.wrap_socket(made, server_hostname=host)
        made.settimeout(self._read_timeout)
        return made

    def _drop(self) -> None:
        kept = getattr(self._kept, "connection", None)
        self._kept.connection = None
        if kept is not None:
            kept[1].close()
