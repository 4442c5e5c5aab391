"""Telegram's Bot API over HTTP; the only importer of ``requests`` besides Stripe's own use of it.

The address of every call holds the bot's token, and ``requests`` and ``urllib3`` put addresses
into their errors and log lines. So: no ``raise_for_status``, no redirects, no retries of the
adapter; of an error of ``requests`` only its kind is kept, and nothing is raised or returned
while it is being handled, so that no traceback of ours ever shows it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from typing import Any, Protocol
from urllib.parse import quote

import requests
import urllib3

from shared.domain.deadline import Deadline
from shared.domain.telegram import (
    GET_MEMBER,
    REVOKE_LINK,
    UNBAN,
    Answer,
    Class,
    classify,
    is_chat_id,
    is_user_id,
)

CONNECT_SECONDS = 3.0
# The Bot API's answers here are a few kilobytes.
_MAX_BODY_BYTES = 1_000_000
_TOO_MANY_WITHOUT_A_TIME_SECONDS = 5


def new_session() -> requests.Session:
    """A session as the gateway wants it: connections are kept, nothing is retried."""
    return requests.Session()


class TokenSource(Protocol):
    """Where the bot's token comes from."""

    def __call__(self, *, fresh: bool = False) -> str:
        """The token; ``fresh``: as it is stored now, past any cache."""


class BotUnauthorized(Exception):
    """Telegram does not accept the bot's token, nor the one read again from its store."""


class _NoBotAddresses(logging.Filter):
    """Drops log lines with the address of a call: it holds the token."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "/bot" not in record.getMessage()


_no_bot_addresses = _NoBotAddresses()


class TelegramGateway:
    """The calls of the Bot API that ending access takes.

    Every method takes ``timeout``, the seconds it may take at most, and returns an
    :class:`~shared.domain.telegram.Answer`, whatever Telegram or the network did.

    Args:
        session: without retries on its adapters (which is how ``requests`` makes them).
        base: ``https://api.telegram.org``, or where a stand-in listens.
        longest_seconds: the most one call may take, whatever ``timeout`` it is given.
        deadline: of the invocation; no call is begun after it.

    Raises (from every method):
        BotUnauthorized: the token was read again and still isn't accepted.
        ValueError: an id is not numeric. ``@names`` can change hands, so none is ever sent.
    """

    def __init__(
        self,
        session: requests.Session,
        base: str,
        token_source: TokenSource,
        longest_seconds: float = math.inf,
        deadline: Deadline | None = None,
    ) -> None:
        self._longest = longest_seconds
        self._deadline = deadline or Deadline()
        self._session = session
        self._base = base.rstrip("/")
        self._token = token_source
        self._bot_id: str | None = None
        logging.getLogger("urllib3.connectionpool").addFilter(_no_bot_addresses)

    def get_chat_member(self, chat_id: str, user_id: str, *, timeout: float) -> Answer:
        """What somebody is in a chat; the result is the Bot API's ``ChatMember``."""
        answer = self._call(GET_MEMBER, _ids(chat_id, user_id), timeout)
        if answer.ok and not isinstance(answer.result, dict):
            return Answer(False, fault="no member in the answer")
        return answer

    def unban_chat_member(self, chat_id: str, user_id: str, *, timeout: float) -> Answer:
        """Remove somebody from a supergroup or channel without a lasting ban.

        Without ``only_if_banned`` a member is removed and may join again; of somebody banned it
        would lift the ban (https://core.telegram.org/bots/api#unbanchatmember).
        """
        return self._call(UNBAN, _ids(chat_id, user_id), timeout)

    def revoke_chat_invite_link(self, chat_id: str, link: str, *, timeout: float) -> Answer:
        """Make an invite link useless; it would let its owner in again."""
        return self._call(REVOKE_LINK, {**_ids(chat_id), "invite_link": link}, timeout)

    def get_chat(self, chat_id: str, *, timeout: float) -> Answer:
        """A chat, with its ``title``."""
        return self._call("getChat", _ids(chat_id), timeout)

    def get_chat_administrators(self, chat_id: str, *, timeout: float) -> Answer:
        """The administrators of a chat, its creator among them, as Bot API ``ChatMember``s."""
        return self._call("getChatAdministrators", _ids(chat_id), timeout)

    def get_me(self, *, timeout: float) -> Answer:
        """The bot itself, as a Bot API ``User``."""
        return self._call("getMe", {}, timeout)

    def bot_id(self, *, timeout: float) -> str:
        """The bot's user id: as Telegram says (asked once), else as its token says."""
        if self._bot_id is None:
            answer = self.get_me(timeout=timeout)
            if not (answer.ok and isinstance(answer.result, dict) and "id" in answer.result):
                return _id_in(self._token())
            self._bot_id = str(answer.result["id"])
        return self._bot_id

    def is_the_bot(self, user_id: str) -> bool:
        """Whether a user is the bot itself, as far as is known without asking Telegram."""
        return user_id in (_id_in(self._token()), self._bot_id)

    def _call(self, method: str, params: dict[str, Any], timeout: float) -> Answer:
        timeout = min(timeout, self._longest)
        until = self._deadline.monotonic() + timeout
        answer = self._post(self._token(), method, params, timeout)
        if classify(method, answer) is not Class.BOT_REFUSED:
            return answer
        token = self._token(fresh=True)
        self._bot_id = None
        answer = self._post(token, method, params, max(until - self._deadline.monotonic(), 1.0))
        if classify(method, answer) is Class.BOT_REFUSED:
            raise BotUnauthorized
        return answer

    def _post(self, token: str, method: str, params: dict[str, Any], timeout: float) -> Answer:
        if not token:
            return Answer(False, error_code=401, description="no token is stored")
        timeout = min(timeout, self._deadline.left())
        if timeout <= 0:
            return Answer(False, fault="no time left")
        until = self._deadline.monotonic() + timeout
        response: requests.Response | None = None
        body = b""
        fault: str | None = None
        try:
            response = self._session.post(
                f"{self._base}/bot{quote(token, safe=':')}/{method}",
                json=params,
                # Passed on to urllib3 as it is; two numbers would be added up.
                timeout=urllib3.Timeout(  # type: ignore[arg-type]
                    total=timeout, connect=min(CONNECT_SECONDS, timeout)
                ),
                allow_redirects=False,
                stream=True,
            )
            # The timeout is one of silence: a server that sends a byte now and then
            # could hold the call for ever.
            for chunk in response.iter_content(8192):
                body += chunk
                if len(body) > _MAX_BODY_BYTES or self._deadline.monotonic() > until:
                    fault = "an endless answer"
                    break
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            fault = type(error).__name__
        finally:
            if response is not None:
                response.close()
        if fault is not None or response is None:
            return Answer(False, fault=fault)
        return _parsed(response.status_code, response.headers.get("Retry-After"), body)


def _parsed(status: int, retry_after_header: str | None, body: bytes) -> Answer:
    answer: Any = None
    with contextlib.suppress(ValueError):
        answer = json.loads(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        if status == 429:
            answer = {"ok": False, "error_code": 429}
        else:
            return Answer(False, fault=f"HTTP {status}")
    if answer["ok"]:
        return Answer(True, result=answer.get("result"))
    parameters = answer.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    code = _integer(answer.get("error_code")) or status
    retry_after = _integer(parameters.get("retry_after"))
    if code == 429 and retry_after is None:
        retry_after = _integer(retry_after_header)
        if retry_after is None:
            retry_after = _TOO_MANY_WITHOUT_A_TIME_SECONDS
    return Answer(
        False,
        error_code=code,
        description=str(answer.get("description", "")),
        retry_after=retry_after,
        migrate_to_chat_id=_integer(parameters.get("migrate_to_chat_id")),
    )


def _ids(chat_id: str, user_id: str | None = None) -> dict[str, Any]:
    if not is_chat_id(chat_id):
        raise ValueError("a chat is named by its numeric id, like -1001234567890")
    params: dict[str, Any] = {"chat_id": int(chat_id)}
    if user_id is not None:
        if not is_user_id(user_id):
            raise ValueError("a user is named by a numeric id, like 123456789")
        params["user_id"] = int(user_id)
    return params


def _id_in(token: str) -> str:
    """The bot's user id, which is the part of its token before the colon."""
    return token.partition(":")[0]


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
