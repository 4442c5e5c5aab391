"""The Bot API's calls against the stand-in, and against servers that misbehave."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
import urllib3

from shared.domain.telegram import Answer
from shared.integrations.telegram_gateway import BotUnauthorized, TelegramGateway
from standins.telegram.server import TelegramStandin

TOKEN = "123456:CANARY-of-the-token"
CHAT = "-1001000000001"
USER = "700001"


class Tokens:
    """A token source: what is cached, and what is stored by now."""

    def __init__(self, token: str = TOKEN, stored: str | None = None) -> None:
        self.cached = token
        self.stored = stored or token
        self.reads = 0

    def __call__(self, *, fresh: bool = False) -> str:
        if fresh:
            self.reads += 1
            self.cached = self.stored
        return self.cached


@pytest.fixture
def telegram() -> Iterator[TelegramStandin]:
    with TelegramStandin(token=TOKEN) as standin:
        yield standin


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def gateway(telegram: TelegramStandin, session: requests.Session) -> TelegramGateway:
    return TelegramGateway(session, telegram.url, Tokens())


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server that answers every request by ``answer``; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self)

        def log_message(self, *_: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def says(status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


# -- what Telegram answers -------------------------------------------------------------------------


def test_a_member_is_looked_at_and_removed_without_a_ban(
    gateway: TelegramGateway, telegram: TelegramStandin
) -> None:
    telegram.bot_api.add_chat(int(CHAT), title="VIP", members={int(USER): "member"})

    member = gateway.get_chat_member(CHAT, USER, timeout=5)
    assert member.ok
    assert member.result["status"] == "member"
    assert gateway.unban_chat_member(CHAT, USER, timeout=5) == Answer(True, result=True)

    assert telegram.bot_api.status_of(int(CHAT), int(USER)) == "left"
    (unban,) = telegram.requests("unbanChatMember")
    assert unban["params"] == {"chat_id": int(CHAT), "user_id": int(USER)}
    assert telegram.violations() == []


def test_an_invite_link_is_revoked(gateway: TelegramGateway, telegram: TelegramStandin) -> None:
    created = telegram.bot_api.call(TOKEN, "createChatInviteLink", {"chat_id": CHAT})
    link = created.body["result"]["invite_link"]

    assert gateway.revoke_chat_invite_link(CHAT, link, timeout=5).ok

    assert telegram.bot_api.chats[int(CHAT)].invite_links[link]["is_revoked"]
    gone = gateway.revoke_chat_invite_link(CHAT, "https://t.me/+unknown", timeout=5)
    assert gone.description == "Bad Request: INVITE_HASH_EXPIRED"


def test_a_chat_has_a_title_and_the_bot_an_id(
    gateway: TelegramGateway, telegram: TelegramStandin
) -> None:
    telegram.bot_api.add_chat(int(CHAT), title="VIP")
    assert gateway.get_chat(CHAT, timeout=5).result["title"] == "VIP"
    assert gateway.bot_id(timeout=5) == "123456"
    assert gateway.bot_id(timeout=5) == "123456"
    assert len(telegram.requests("getMe")) == 1
    assert gateway.is_the_bot("123456")
    assert not gateway.is_the_bot(USER)


def test_the_bots_id_is_in_its_token_where_telegram_does_not_tell(
    session: requests.Session,
) -> None:
    with server(says(502, b"<html>")) as base:
        assert TelegramGateway(session, base, Tokens()).bot_id(timeout=5) == "123456"


def test_a_refusal_keeps_telegrams_code_and_words(
    gateway: TelegramGateway, telegram: TelegramStandin
) -> None:
    telegram.bot_api.settings.create_chats = False
    answer = gateway.get_chat_member(CHAT, USER, timeout=5)
    assert answer == Answer(False, error_code=400, description="Bad Request: chat not found")


def test_a_migrated_group_tells_its_new_id(
    gateway: TelegramGateway, telegram: TelegramStandin
) -> None:
    telegram.bot_api.migrate(-5, to=-1001000000005)
    assert gateway.unban_chat_member("-5", USER, timeout=5).migrate_to_chat_id == -1001000000005


def test_429_tells_how_long_to_wait(gateway: TelegramGateway, telegram: TelegramStandin) -> None:
    telegram.fail("too_many_requests", retry_after=77)
    answer = gateway.unban_chat_member(CHAT, USER, timeout=5)
    assert (answer.error_code, answer.retry_after) == (429, 77)


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        (b'{"ok":false,"error_code":429,"description":"Too Many"}', {"Retry_After": "9"}, 9),
        (b"<html>slow down</html>", {"Retry_After": "9"}, 9),
        (b"<html>slow down</html>", {}, 5),
    ],
)
def test_429_without_parameters_waits_by_its_header(
    session: requests.Session, body: bytes, headers: dict[str, str], seconds: int
) -> None:
    with server(says(429, body, **headers)) as base:
        answer = TelegramGateway(session, base, Tokens()).get_chat(CHAT, timeout=5)
    assert (answer.error_code, answer.retry_after) == (429, seconds)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, b"<html>Bad Gateway</html>"),
        (200, b"<html>a captive portal</html>"),
        (200, b"[]"),
        (200, b'{"result": true}'),
        (404, b"<html>nginx</html>"),
        (200, b"\xff\xfe"),
    ],
)
def test_what_is_no_answer_of_telegrams_is_a_fault(
    session: requests.Session, status: int, body: bytes
) -> None:
    with server(says(status, body)) as base:
        answer = TelegramGateway(session, base, Tokens()).unban_chat_member(CHAT, USER, timeout=5)
    assert answer == Answer(False, fault=f"HTTP {status}")


def test_a_member_that_is_none_is_a_fault(session: requests.Session) -> None:
    with server(says(200, b'{"ok":true,"result":true}')) as base:
        answer = TelegramGateway(session, base, Tokens()).get_chat_member(CHAT, USER, timeout=5)
    assert answer.fault == "no member in the answer"


def test_silence_ends_at_the_timeout(gateway: TelegramGateway, telegram: TelegramStandin) -> None:
    telegram.fail("timeout", seconds=5, times=1)
    began = time.monotonic()
    answer = gateway.unban_chat_member(CHAT, USER, timeout=0.3)
    assert answer.fault == "ReadTimeout"
    assert time.monotonic() - began < 4  # the answer would have come after five


def test_a_slow_connection_leaves_the_answer_less_time(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = urllib3.util.connection.create_connection
    over = threading.Event()

    def slowly(*args: Any, **more: Any) -> socket.socket:
        time.sleep(1.2)
        return connect(*args, **more)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", slowly)

    def never(_: BaseHTTPRequestHandler) -> None:
        over.wait(10)

    with server(never) as base:
        began = time.monotonic()
        answer = TelegramGateway(session, base, Tokens()).get_chat(CHAT, timeout=1.5)
        took = time.monotonic() - began
        over.set()
    assert answer.fault == "ReadTimeout"
    assert took < 2.6  # 2.7 is what connecting and waiting take, each with its own limit


@pytest.mark.parametrize("kind", ["disconnect", "dropped_answer"])
def test_a_lost_connection_is_a_fault(
    gateway: TelegramGateway, telegram: TelegramStandin, kind: str
) -> None:
    telegram.fail(kind)
    assert gateway.unban_chat_member(CHAT, USER, timeout=5).fault == "ConnectionError"


def test_an_answer_that_trickles_in_does_not_hold_the_call(session: requests.Session) -> None:
    over = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not over.wait(0.05):
                handler.wfile.write(b" " * 8192)
        except OSError:
            return

    with server(trickle) as base:
        began = time.monotonic()
        answer = TelegramGateway(session, base, Tokens()).get_chat(CHAT, timeout=0.4)
        over.set()
    assert answer.fault == "an endless answer"
    assert time.monotonic() - began < 10  # it never ends by itself


def test_an_answer_without_end_is_cut_off(session: requests.Session) -> None:
    with server(says(200, b" " * 3_000_000)) as base:
        answer = TelegramGateway(session, base, Tokens()).get_chat(CHAT, timeout=5)
    assert answer.fault == "an endless answer"


def test_a_redirect_is_not_followed(session: requests.Session) -> None:
    with (
        server(says(200, b'{"ok":true,"result":true}')) as elsewhere,
        server(says(302, b"", Location=f"{elsewhere}/")) as base,
    ):
        answer = TelegramGateway(session, base, Tokens()).unban_chat_member(CHAT, USER, timeout=5)
    assert answer.fault == "HTTP 302"


@pytest.mark.parametrize("chat_id", ["@vip", "100", "-0100", "-100/../x", ""])
def test_only_numeric_chats_are_named(
    gateway: TelegramGateway, telegram: TelegramStandin, chat_id: str
) -> None:
    with pytest.raises(ValueError, match="numeric"):
        gateway.unban_chat_member(chat_id, USER, timeout=5)
    assert telegram.requests() == []


def test_only_numeric_users_are_named(gateway: TelegramGateway, telegram: TelegramStandin) -> None:
    with pytest.raises(ValueError, match="numeric"):
        gateway.get_chat_member(CHAT, "@me", timeout=5)
    assert telegram.requests() == []


# -- the token -------------------------------------------------------------------------------------


def test_a_token_that_was_changed_is_read_again_once(
    telegram: TelegramStandin, session: requests.Session
) -> None:
    tokens = Tokens("123456:old", stored=TOKEN)
    gateway = TelegramGateway(session, telegram.url, tokens)
    assert gateway.get_chat(CHAT, timeout=5).ok
    assert gateway.get_chat(CHAT, timeout=5).ok
    assert tokens.reads == 1


def test_one_401_of_the_moment_is_not_the_end(
    gateway: TelegramGateway, telegram: TelegramStandin
) -> None:
    telegram.fail("unauthorized", times=1)
    assert gateway.get_chat(CHAT, timeout=5).ok


@pytest.mark.parametrize("token", ["123456:revoked", "not-a-token", ""])
def test_a_token_that_stays_refused_is_told(
    telegram: TelegramStandin, session: requests.Session, token: str
) -> None:
    tokens = Tokens(token)
    with pytest.raises(BotUnauthorized):
        TelegramGateway(session, telegram.url, tokens).unban_chat_member(CHAT, USER, timeout=5)
    assert tokens.reads == 1


def test_a_logged_out_bot_is_told(session: requests.Session) -> None:
    body = json.dumps({"ok": False, "error_code": 400, "description": "Logged out"}).encode()
    with server(says(400, body)) as base, pytest.raises(BotUnauthorized):
        TelegramGateway(session, base, Tokens()).get_chat(CHAT, timeout=5)


def test_a_method_telegram_does_not_know_says_nothing_of_the_token(
    session: requests.Session,
) -> None:
    body = b'{"ok":false,"error_code":404,"description":"Not Found: method not found"}'
    with server(says(404, body)) as base:
        assert TelegramGateway(session, base, Tokens()).get_chat(CHAT, timeout=5).error_code == 404


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def reset_by_server(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-nothing\r\n\r\n")
    handler.close_connection = True


def silent(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.6)


def half(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"ok":')
    handler.close_connection = True


REDIRECT = says(301, b"", Location="/elsewhere")
UNAUTHORIZED = says(401, b'{"ok":false,"error_code":401,"description":"Unauthorized"}')


MISHAPS: dict[str, Callable[[BaseHTTPRequestHandler], None] | None] = {
    "nobody listens": None,
    "no such host": None,
    "no such scheme": None,
    "bad address": None,
    "no such proxy": None,
    "the connection is closed": reset_by_server,
    "another protocol": garbage,
    "silence": silent,
    "half an answer": half,
    "a redirect": REDIRECT,
    "a refused token": UNAUTHORIZED,
    "an HTML page": says(502, b"<html>"),
}


@pytest.mark.parametrize("what", MISHAPS)
def test_the_token_is_in_no_log_line_no_error_and_no_answer(
    what: str,
    session: requests.Session,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []

    def call(base: str) -> None:
        gateway = TelegramGateway(session, base, Tokens())
        try:
            seen.append(repr(gateway.unban_chat_member(CHAT, USER, timeout=0.3)))
        except BotUnauthorized as error:
            chained = (error.__cause__, error.__context__)
            seen.append("".join(traceback.format_exception(error)) + repr(chained))
        seen.append(repr(gateway))

    answer = MISHAPS[what]
    if answer is not None:
        with server(answer) as base:
            call(base)
    elif what == "no such proxy":
        session.proxies = {"http": closed_port()}
        call("http://telegram.invalid")
    else:
        call(
            {
                "nobody listens": closed_port(),
                "no such host": "http://telegram.invalid",
                "no such scheme": "telegram://x",
                "bad address": "http://[",
            }[what]
        )
    assert len(seen) == 2
    logged = "\n".join(
        f"{record.getMessage()} {record.args} {record.exc_info}" for record in caplog.records
    )
    for text in (*seen, logged, caplog.text):
        assert "CANARY" not in text


def test_log_lines_without_an_address_of_the_bot_stay(
    session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    TelegramGateway(session, "http://127.0.0.1", Tokens())
    logging.getLogger("urllib3.connectionpool").debug("Starting new connection to %s", "stripe")
    assert "Starting new connection to stripe" in caplog.text
