"""Requests of DynamoDB by the short way: the same answers as botocore gives, or botocore's own."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EndpointConnectionError, SSLError
from botocore.httpsession import get_cert_path

from shared.storage import aws
from shared.storage.wire import Answered, Wire
from tests.dynamo import Tables

ITEM = {"pk": {"S": "demo#ACCOUNT#cus_1"}, "sk": {"S": "b"}, "n": {"N": "1"}, "é": {"S": "ü\n"}}
KEY = {name: ITEM[name] for name in ("pk", "sk")}


def client_of(
    url: str,
    *,
    short: bool,
    token: str | None = None,
    attempts: int = 2,
    authorities: str = "",
    botocores: bool | str = True,
) -> Any:
    session = botocore.session.get_session()
    made = session.create_client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        aws_session_token=token,
        verify=botocores,
        config=Config(read_timeout=1, retries={"mode": "standard", "total_max_attempts": attempts}),
    )
    if short:
        credentials = Credentials("local", "local", token)
        wire = Wire(credentials.get_frozen_credentials, "us-east-1", authorities, 1, 1)
        made.meta.events.register_last("before-call.dynamodb", wire.send)
    return made


def said(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """An answer or a refusal, without what differs from request to request."""
    try:
        answer = call()
    except ClientError as error:
        answer = {**error.response, "class": type(error).__name__}
    metadata = answer.pop("ResponseMetadata")
    assert metadata["HTTPStatusCode"] in (200, 400)
    return answer


def test_every_answer_and_refusal_is_as_botocore_gives_it(dynoxide_tables: Tables) -> None:
    name = dynoxide_tables.records.name
    new = "attribute_not_exists(pk)"
    shown = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_item", {"TableName": name, "Key": KEY}),
        ("put_item", {"TableName": name, "Item": ITEM}),
        ("put_item", {"TableName": name, "Item": ITEM, "ConditionExpression": new, **shown}),
        ("get_item", {"TableName": name, "Key": KEY, "ConsistentRead": True}),
        (
            "query",
            {
                "TableName": name,
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": ITEM["pk"]},
            },
        ),
        ("batch_get_item", {"RequestItems": {name: {"Keys": [KEY]}}}),
        (
            "transact_write_items",
            {
                "TransactItems": [
                    {"Put": {"TableName": name, "Item": ITEM, "ConditionExpression": new, **shown}}
                ]
            },
        ),
        ("put_item", {"TableName": name, "Item": {"pk": ITEM["pk"]}}),
        ("get_item", {"TableName": "nowhere", "Key": KEY}),
    ]
    short = client_of(dynoxide_tables.endpoint, short=True)
    whole = client_of(dynoxide_tables.endpoint, short=False)
    for operation, request in calls:
        one = said(lambda o=operation, r=request: getattr(short, o)(**r))  # type: ignore[misc]
        other = said(lambda o=operation, r=request: getattr(whole, o)(**r))  # type: ignore[misc]
        assert one == other, operation


# -- a database that misbehaves --------------------------------------------------------------------


RAW = {
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "cut short": b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
    "cut in a header": b"HTTP/1.1 200 OK\r\nContent-Len",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "of unknown length": b"HTTP/1.0 200 OK\r\n\r\n{}",
}


@dataclass
class Server:
    """Answers with what is planned, and then well.

    Attributes:
        requests: of each request its connection, headers and body.
    """

    url: str = ""
    plan: list[str] = field(default_factory=list)
    requests: list[tuple[Any, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as told:
        yield told


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.requests.append((self.client_address, dict(self.headers.items()), body))
            what = told.plan.pop(0) if told.plan else ""
            if what == "hangs up":
                self.close_connection = True
                return
            if what in RAW:
                self.wfile.write(RAW[what])
                self.close_connection = True
                return
            answer, status = b"{}", 200
            if what.isdecimal():
                status = int(what)
            elif what not in ("", "closes"):
                status = 200 if what == "garbled" else 400
                answer = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{what}"}).encode()
            checksum = zlib.crc32(answer) + (what == "garbled")
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("x-amz-crc32", str(checksum))
            if what == "closes":
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    scheme = "http" if certificate is None else "https"
    told.url = f"{scheme}://localhost:{listening.server_port}"
    try:
        yield told
    finally:
        listening.shutdown()
        listening.server_close()


def signature_of(
    server: Server, headers: dict[str, str], body: bytes, secret: str, token: str | None = None
) -> str:
    """As botocore makes it for a request that was sent."""
    signed = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    sent = {name: value for name, value in headers.items() if name.lower() in signed}
    request = AWSRequest("POST", server.url, sent, body)
    request.context["timestamp"] = headers["X-Amz-Date"]
    auth = SigV4Auth(Credentials("local", secret, token), "dynamodb", "us-east-1")
    canonical = auth.string_to_sign(request, auth.canonical_request(request))
    return f"Signature={auth.signature(canonical, request)}"


def test_new_credentials_sign_from_the_next_request_on(server: Server) -> None:
    held = Credentials("local", "local")
    made = client_of(server.url, short=False)
    wire = Wire(held.get_frozen_credentials, "us-east-1", "", 1, 1)
    made.meta.events.register_last("before-call.dynamodb", wire.send)
    made.get_item(TableName="t", Key=KEY)
    held.secret_key = "renewed"
    made.get_item(TableName="t", Key=KEY)
    for (_, headers, body), secret in zip(server.requests, ("local", "renewed"), strict=True):
        assert headers["Authorization"].endswith(signature_of(server, headers, body, secret))


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1"])
def test_the_endpoint_without_its_rules_is_the_one_that_they_give(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    asked: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> tuple[Answered, dict[str, Any]]:
        asked.append(params["url"])
        return Answered(200), {}

    session = botocore.session.get_session()
    session.set_credentials("local", "local")
    monkeypatch.setattr(aws, "_session", lambda: session)
    made = session.create_client("dynamodb", region_name=region)
    made.meta.events.register_first("before-call.dynamodb", note)
    made.get_item(TableName="t", Key=KEY)
    aws._shorten(made)
    assert made._ruleset_resolver is None
    made.get_item(TableName="t", Key=KEY)
    assert asked[0] == asked[1]
    assert region in asked[0]


@pytest.mark.parametrize("token", [None, "a/session+token=="])
def test_what_is_sent_is_signed_as_botocore_signs_it(server: Server, token: str | None) -> None:
    client_of(server.url, short=True, token=token).put_item(TableName="t", Item=ITEM)
    ((_, headers, body),) = server.requests
    signed = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {"host", "x-amz-date", "x-amz-target"} < set(signed)
    assert ("x-amz-security-token" in signed) == (token is not None)
    assert headers["Authorization"].endswith(signature_of(server, headers, body, "local", token))


def test_a_connection_is_kept_and_made_anew_when_the_other_side_has_closed_it(
    server: Server,
) -> None:
    client = client_of(server.url, short=True)
    server.plan = ["", "", "closes", "", ""]
    for _ in range(5):
        client.get_item(TableName="t", Key=KEY)
    connections = [connection for connection, _, _ in server.requests]
    assert connections[0] == connections[1] == connections[2]
    assert connections[2] != connections[3] == connections[4]


@pytest.mark.parametrize(
    "trouble",
    [
        *("hangs up", "500", "503", "garbled", "ThrottlingException", "InternalServerError"),
        *RAW,
    ],
)
def test_what_is_no_answer_is_left_to_botocore(server: Server, trouble: str) -> None:
    server.plan = [trouble]
    client_of(server.url, short=True, attempts=1).put_item(TableName="t", Item=ITEM)
    (_, first, body), (_, second, again) = server.requests
    assert body == again
    assert "amz-sdk-invocation-id" not in {name.lower() for name in first}
    assert "amz-sdk-invocation-id" in {name.lower() for name in second}


def test_where_nobody_listens_botocore_says_so(server: Server) -> None:
    client = client_of("http://127.0.0.1:9", short=True, attempts=1)
    with pytest.raises(EndpointConnectionError):
        client.get_item(TableName="t", Key=KEY)


def test_a_refusal_is_an_answer_and_asked_for_once(server: Server) -> None:
    server.plan = ["ConditionalCheckFailedException"]
    with pytest.raises(ClientError) as refused:
        client_of(server.url, short=True).put_item(TableName="t", Item=ITEM)
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert len(server.requests) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate for ``localhost``, by an authority of its own."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", file, "-out", file.with_suffix(".crt")),
        ],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


def test_it_speaks_tls_and_keeps_the_connection(certificate: Path) -> None:
    with serving(certificate) as server:
        trusted = str(certificate.with_suffix(".crt"))
        client = client_of(server.url, short=True, authorities=trusted)
        client.get_item(TableName="t", Key=KEY)
        client.put_item(TableName="t", Item=ITEM)
        (one, first, _), (other, _, _) = server.requests
        assert one == other
        assert "amz-sdk-invocation-id" not in {name.lower() for name in first}


def test_it_says_nothing_to_a_server_that_it_does_not_trust(certificate: Path) -> None:
    with serving(certificate) as server:
        trusted = str(certificate.with_suffix(".crt"))
        for url in (server.url.replace("localhost", "127.0.0.1"), server.url):
            authorities = trusted if url != server.url else get_cert_path(True)
            client = client_of(url, short=True, attempts=1, authorities=authorities)
            with pytest.raises(SSLError):
                client.get_item(TableName="t", Key=KEY)
        assert server.requests == []
