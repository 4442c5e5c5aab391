"""What Telegram's answers mean for a removal, and what the owner is told. Pure.

The Bot API documents its errors nowhere; the table follows the texts in the sources of the Bot
API server 10.0 and of TDLib (https://github.com/tdlib/telegram-bot-api,
https://github.com/tdlib/td).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any

# One spelling per chat: "-0100" and "-100" are the same chat to Telegram, and would be two here.
# A positive id is a person, not a chat; "@names" can be moved to another chat by their owner.
_CHAT_ID = re.compile(r"-[1-9][0-9]{0,18}")
_USER_ID = re.compile(r"[1-9][0-9]{0,18}")

GET_MEMBER = "getChatMember"
UNBAN = "unbanChatMember"
REVOKE_LINK = "revokeChatInviteLink"

# A refusal nobody knows may be of the moment; after this many tries (about 45 minutes) it isn't.
MAX_UNSURE_ATTEMPTS = 6
# How long the bot rests after Telegram didn't accept its token: short enough to go on by itself
# soon after the operator has put the new token in place.
UNAUTHORIZED_PAUSE_SECONDS = 300
_MAX_DESCRIPTION = 200
_MAX_TITLE = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one call of the Bot API.

    Attributes:
        result: of a call that was ``ok``.
        error_code: Telegram's own, 0 where there was none.
        description: Telegram's own text of an error.
        retry_after: seconds Telegram asks to wait.
        migrate_to_chat_id: the id a group has since it became a supergroup.
        fault: set where no answer of Telegram's was had: ``HTTP 502``, or the kind of the
            network's error. Whether the call had an effect is then unknown.
    """

    ok: bool
    result: Any = None
    error_code: int = 0
    description: str = ""
    retry_after: int | None = None
    migrate_to_chat_id: int | None = None
    fault: str | None = None


class Class(enum.Enum):
    """What to do about an answer."""

    OK = "ok"
    ALREADY_GONE = "already gone"
    """The user isn't there, if the bot may see and remove members at all."""
    LINK_GONE = "link gone"
    OWNER_MUST_ACT = "owner must act"
    MIGRATED = "migrated"
    BOT_REFUSED = "bot refused"
    """The bot's token isn't accepted: the operator's affair, never final for one user."""
    OUR_BUG = "our bug"
    TOO_MANY = "too many requests"
    RETRY = "retry"
    UNKNOWN = "unknown"


_ALREADY_GONE = (
    "participant_id_invalid",
    "user_id_invalid",
    "user_not_participant",
    "member not found",
    "user not found",
    "user is deactivated",
)
_LINK_GONE = ("invite_hash_expired", "hide_requester_missing")
_OUR_BUG = (
    "invalid user_id specified",
    "chat_id is empty",
    "can't restrict self",
    "peer_id_invalid",
)

# What part of the description says that only the owner can help, and what the owner is told.
_OWNER_MUST_ACT = {
    "not enough rights to restrict/unrestrict chat member": (
        "The bot is no longer an administrator of {chat}, or may not ban users there."
    ),
    "chat_admin_required": "The bot is no longer an administrator of {chat}.",
    "member list is inaccessible": "The bot is no longer an administrator of {chat}.",
    "user is an administrator of the chat": (
        "This person is an administrator of {chat}; a bot can't remove administrators."
    ),
    "can't remove chat owner": "This person owns {chat} and can't be removed from it.",
    "not in the chat": "The bot is no longer in {chat}.",
    "chat not found": "Telegram does not find {chat}, or the bot was never in it.",
    "channel_private": "The bot no longer has access to {chat}.",
    "not enough rights to manage chat invite link": (
        "The bot may not manage the invite links of {chat}."
    ),
    "method is available for supergroup and channel chats only": (
        "{chat} is a basic group, from which a bot can't remove people without banning them: "
        "turn it into a supergroup."
    ),
    "bot was kicked from the": "The bot was removed from {chat}.",
    "bot is not a member of the": "The bot is no longer in {chat}.",
    "the group chat was deleted": "{chat} was deleted.",
}

NOT_ADMINISTRATOR = _OWNER_MUST_ACT["chat_admin_required"]
ADMINISTRATOR_STAYS = _OWNER_MUST_ACT["user is an administrator of the chat"]
OWNER_STAYS = _OWNER_MUST_ACT["can't remove chat owner"]


def is_chat_id(text: str) -> bool:
    """Whether a text is a chat's numeric id in its one spelling (``-1001234567890``)."""
    return _CHAT_ID.fullmatch(text) is not None


def is_user_id(text: str) -> bool:
    """Whether a text is a person's numeric id in its one spelling."""
    return _USER_ID.fullmatch(text) is not None


def classify(method: str, answer: Answer) -> Class:
    """What to do about the answer to a method of the Bot API.

    Telegram's own words decide, not the HTTP status; capitals in them don't matter.
    """
    text = answer.description.casefold()
    code = answer.error_code
    if answer.ok:
        return Class.OK
    if answer.fault is not None or code >= 500:
        return Class.RETRY
    if code == 429 or answer.retry_after is not None:
        return Class.TOO_MANY
    if answer.migrate_to_chat_id is not None:
        return Class.MIGRATED
    if code == 404 and "method not found" in text:
        return Class.OUR_BUG
    if code in (401, 404) or (code == 400 and "logged out" in text):
        return Class.BOT_REFUSED
    if code in (400, 403):
        if method == REVOKE_LINK and _any_in(_LINK_GONE, text):
            return Class.LINK_GONE
        if method != REVOKE_LINK and _any_in(_ALREADY_GONE, text):
            return Class.ALREADY_GONE
        if _any_in(_OWNER_MUST_ACT, text):
            return Class.OWNER_MUST_ACT
        if _any_in(_OUR_BUG, text):
            return Class.OUR_BUG
    return Class.UNKNOWN


def sentence_for(method: str, answer: Answer, chat: str) -> str:
    """What the owner is told about a refusal.

    Args:
        chat: the chat's title or id.
    """
    text = answer.description.casefold()
    for part, sentence in _OWNER_MUST_ACT.items():
        if part in text:
            return sentence.format(chat=chat)
    what = "revoke the invite link of" if method == REVOKE_LINK else "remove this person from"
    said = answer.description[:_MAX_DESCRIPTION]
    return f"Telegram refused to {what} {chat}: {said}"


def display_name(chat_id: str, title: str | None) -> str:
    """How a chat is called in a sentence: by its title, else by its id."""
    printable = "".join(c if c.isprintable() else " " for c in title or "")
    name = " ".join(printable.split())
    if len(name) > _MAX_TITLE:
        name = name[: _MAX_TITLE - 1].rstrip() + "…"
    return name or chat_id


def _any_in(parts: Any, text: str) -> bool:
    return any(part in text for part in parts)
