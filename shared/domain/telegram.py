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

# Why somebody is not out, as stable codes; the API's document lists them.
NO_ADMINISTRATOR = "bot_not_administrator"
NOT_IN_CHAT = "bot_not_in_chat"
CHAT_NOT_FOUND = "chat_not_found"
CHAT_DELETED = "chat_deleted"
BASIC_GROUP = "basic_group"
USER_IS_ADMINISTRATOR = "user_is_administrator"
USER_IS_OWNER = "user_is_owner"
USER_IS_BOT = "user_is_the_bot"
LINK_WORKS = "invite_link_works"
TELEGRAM_REFUSED = "telegram_refused"
TELEGRAM_UNAVAILABLE = "telegram_unavailable"
BOT_PAUSED = "bot_paused"
REMOVALS_OFF = "removals_off"
BUSY = "busy"
PRODUCT_UNKNOWN = "product_unknown"
STRIPE_UNREACHABLE = "stripe_unreachable"
OTHER_STORE = "other_store"
NOT_NUMERIC = "not_numeric"
POSITIVE = "positive"
UNVERIFIED = "unverified"
SETTLING = "settling"
# And why somebody stays.
STILL_OPENED = "still_opened"
LEFT_BY_OWNER = "left_by_owner"

# The bot has lost its rights, or its place: when they are back, what failed is tried again.
LOST_RIGHTS = frozenset({NO_ADMINISTRATOR, NOT_IN_CHAT, CHAT_NOT_FOUND, BASIC_GROUP})

# What may end by itself: the rights come back, or it is proven whose the chat is.
MAY_END = LOST_RIGHTS | {UNVERIFIED}

# A chat id that can't be used, for this store or at all.
CANNOT_BE_USED = frozenset({NOT_NUMERIC, POSITIVE, OTHER_STORE, UNVERIFIED})

# What part of the description says that only the owner can help, why, and what the owner is told.
_OWNER_MUST_ACT = {
    "not enough rights to restrict/unrestrict chat member": (
        NO_ADMINISTRATOR,
        "The bot is no longer an administrator of {chat}, or may not ban users there.",
    ),
    "chat_admin_required": (NO_ADMINISTRATOR, "The bot is no longer an administrator of {chat}."),
    "member list is inaccessible": (
        NO_ADMINISTRATOR,
        "The bot is no longer an administrator of {chat}.",
    ),
    "user is an administrator of the chat": (
        USER_IS_ADMINISTRATOR,
        "This person is an administrator of {chat}; a bot can't remove administrators.",
    ),
    "can't remove chat owner": (
        USER_IS_OWNER,
        "This person owns {chat} and can't be removed from it.",
    ),
    "not in the chat": (NOT_IN_CHAT, "The bot is no longer in {chat}."),
    "chat not found": (
        CHAT_NOT_FOUND,
        "Telegram does not find {chat}, or the bot was never in it.",
    ),
    "channel_private": (NOT_IN_CHAT, "The bot no longer has access to {chat}."),
    "not enough rights to manage chat invite link": (
        NO_ADMINISTRATOR,
        "The bot may not manage the invite links of {chat}.",
    ),
    "method is available for supergroup and channel chats only": (
        BASIC_GROUP,
        "{chat} is a basic group, from which a bot can't remove people without banning them: "
        "turn it into a supergroup.",
    ),
    "bot was kicked from the": (NOT_IN_CHAT, "The bot was removed from {chat}."),
    "bot is not a member of the": (NOT_IN_CHAT, "The bot is no longer in {chat}."),
    "the group chat was deleted": (CHAT_DELETED, "{chat} was deleted."),
}

MAY_NOT_BAN = _OWNER_MUST_ACT["not enough rights to restrict/unrestrict chat member"][1]
BASIC_GROUP_STAYS = _OWNER_MUST_ACT["method is available for supergroup and channel chats only"][1]
NOT_ADMINISTRATOR = _OWNER_MUST_ACT["chat_admin_required"][1]
ADMINISTRATOR_STAYS = _OWNER_MUST_ACT["user is an administrator of the chat"][1]
OWNER_STAYS = _OWNER_MUST_ACT["can't remove chat owner"][1]


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


def explain(method: str, answer: Answer, chat: str) -> tuple[str, str]:
    """Why Telegram refused, as a stable code and as a sentence for the owner.

    Args:
        chat: the chat's title or id.
    """
    text = answer.description.casefold()
    for part, (reason, sentence) in _OWNER_MUST_ACT.items():
        if part in text:
            return reason, sentence.format(chat=chat)
    what = "revoke the invite link of" if method == REVOKE_LINK else "remove this person from"
    said = answer.description[:_MAX_DESCRIPTION]
    return TELEGRAM_REFUSED, f"Telegram refused to {what} {chat}: {said}"


def display_name(chat_id: str, title: str | None) -> str:
    """How a chat is called in a sentence: by its title, else by its id."""
    printable = "".join(c if c.isprintable() else " " for c in title or "")
    name = " ".join(printable.split())
    if len(name) > _MAX_TITLE:
        name = name[: _MAX_TITLE - 1].rstrip() + "…"
    return name or chat_id


def _any_in(parts: Any, text: str) -> bool:
    return any(part in text for part in parts)
