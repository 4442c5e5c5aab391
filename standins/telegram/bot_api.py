"""The state of a small Telegram, and the Bot API's answers about it.

Pure: no HTTP, no clock of its own, no files. Texts of errors, and which one comes first, follow
the Bot API server 10.0.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

CREATOR = "creator"
ADMINISTRATOR = "administrator"
MEMBER = "member"
RESTRICTED = "restricted"
LEFT = "left"
KICKED = "kicked"
STATUSES = frozenset({CREATOR, ADMINISTRATOR, MEMBER, RESTRICTED, LEFT, KICKED})

SUPERGROUP = "supergroup"
CHANNEL = "channel"
GROUP = "group"

# A ban shorter or longer than this is a ban for ever.
_SHORTEST_BAN_SECONDS = 30
_LONGEST_BAN_SECONDS = 366 * 24 * 3600

_SUPERGROUP_IDS_BELOW = -1_000_000_000_000

# Every parameter that Bot API 10.0 knows for the methods here, offered or not.
PARAMETERS: Mapping[str, frozenset[str]] = {
    "getMe": frozenset(),
    "getChat": frozenset({"chat_id"}),
    "getChatAdministrators": frozenset({"chat_id", "return_bots"}),
    "getChatMember": frozenset({"chat_id", "user_id"}),
    "getChatMemberCount": frozenset({"chat_id"}),
    "banChatMember": frozenset({"chat_id", "user_id", "until_date", "revoke_messages"}),
    "unbanChatMember": frozenset({"chat_id", "user_id", "only_if_banned"}),
    "createChatInviteLink": frozenset(
        {"chat_id", "name", "expire_date", "member_limit", "creates_join_request"}
    ),
    "revokeChatInviteLink": frozenset({"chat_id", "invite_link"}),
    "sendMessage": frozenset(
        {
            "business_connection_id",
            "chat_id",
            "message_thread_id",
            "direct_messages_topic_id",
            "text",
            "parse_mode",
            "entities",
            "link_preview_options",
            "disable_notification",
            "protect_content",
            "allow_paid_broadcast",
            "message_effect_id",
            "suggested_post_parameters",
            "reply_parameters",
            "reply_markup",
        }
    ),
}


@dataclass
class Settings:
    """How the stand-in treats what nobody has set up.

    Attributes:
        token: the bot's token; its digits before the colon are the bot's user id.
        revoked: the token was revoked at BotFather: every call answers 401.
        create_chats: an unknown negative chat id becomes a chat with the bot as administrator.
        unknown_members: status of a user nobody has put into a chat, ``None``: unknown to it.
    """

    token: str = "123456:LOCAL"
    revoked: bool = False
    create_chats: bool = True
    unknown_members: str | None = MEMBER

    @property
    def bot_id(self) -> int:
        return int(self.token.partition(":")[0])


@dataclass
class Member:
    status: str = MEMBER
    until_date: int = 0
    """End of a ban, epoch seconds; 0: for ever."""
    is_member: bool = True
    """Only of a restricted one: restricted users may be in the chat or not."""
    can_restrict_members: bool = True
    can_invite_users: bool = True
    joined_with: str | None = None


@dataclass
class Chat:
    chat_id: int
    type: str = SUPERGROUP
    title: str = "Chat"
    members: dict[int, Member] = field(default_factory=dict)
    invite_links: dict[str, dict[str, Any]] = field(default_factory=dict)
    migrated_to: int | None = None
    deleted: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Chat:
        members = {int(user): Member(**member) for user, member in data["members"].items()}
        return cls(**{**data, "members": members})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class User:
    user_id: int
    first_name: str = "Buyer"
    username: str | None = None
    error: str | None = None
    """What every question about this user is answered with, e.g. of a deleted account."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer of the Bot API."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        return bool(self.body["ok"])


class _Refused(Exception):
    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


def bad_request(text: str, **parameters: int) -> _Refused:
    return _Refused(400, f"Bad Request: {text}", **parameters)


def forbidden(text: str) -> _Refused:
    return _Refused(403, f"Forbidden: {text}")


def refusal(code: int, description: str, **parameters: int) -> Answer:
    """An answer with ``ok: false``, as the Bot API writes it."""
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        body["parameters"] = parameters
    return Answer(code, body)


class BotApi:
    """Chats, their members and one bot.

    Args:
        settings: see :class:`Settings`.
        now: the time, aware UTC.
        on_change: called with every chat or user that has changed (for keeping it).
    """

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime],
        on_change: Callable[[Chat | User], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.chats: dict[int, Chat] = {}
        self.users: dict[int, User] = {}
        self._now = now
        self._changed = on_change
        self._message_id = 0

    # -- the Bot API ---------------------------------------------------------------------------

    def call(self, token: str, method: str, params: Mapping[str, Any]) -> Answer:
        """Answer one request. ``params`` are values of JSON, of a form or of a query alike."""
        bot, colon, rest = token.partition(":")
        if not (bot.isdigit() and colon and rest):
            return refusal(404, "Not Found")
        if token != self.settings.token or self.settings.revoked:
            return refusal(401, "Unauthorized")
        methods = {name.lower(): name for name in PARAMETERS}  # names are case-insensitive
        name = methods.get(method.lower())
        if name is None:
            return refusal(404, "Not Found: method not found")
        handler: Callable[[Mapping[str, Any]], Any] = getattr(self, f"_{name}")
        try:
            return Answer(200, {"ok": True, "result": handler(params)})
        except _Refused as refused:
            return refusal(refused.code, refused.description, **refused.parameters)

    def _getMe(self, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 - the method's name
        return {
            **self._user_object(self.settings.bot_id),
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    def _getChat(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        chat = self._chat(params)
        return {**_chat_object(chat), "accent_color_id": 0, "max_reaction_count": 11}

    def _getChatAdministrators(self, params: Mapping[str, Any]) -> list[dict[str, Any]]:  # noqa: N802
        chat = self._chat(params)
        self._need_member_list(chat)
        return [
            self._member_object(user_id, member)
            for user_id, member in sorted(chat.members.items())
            if member.status in {CREATOR, ADMINISTRATOR}
        ]

    def _getChatMember(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        chat = self._chat(params)
        user_id = self._user_id(params)
        if user_id != self.settings.bot_id:
            self._need_member_list(chat)
        return self._member_object(user_id, self._member(chat, user_id))

    def _getChatMemberCount(self, params: Mapping[str, Any]) -> int:  # noqa: N802
        return sum(_is_in(member) for member in self._chat(params).members.values())

    def _banChatMember(self, params: Mapping[str, Any]) -> bool:  # noqa: N802
        chat = self._chat(params)
        user_id = self._user_id(params)
        if user_id == self.settings.bot_id:
            raise bad_request("can't restrict self")
        member = self._member(chat, user_id)
        self._need_right_to_remove(chat, member)
        until = _integer(params.get("until_date")) or 0
        ahead = until - self._now().timestamp()
        if not _SHORTEST_BAN_SECONDS <= ahead <= _LONGEST_BAN_SECONDS:
            until = 0
        chat.members[user_id] = Member(status=KICKED, until_date=until, is_member=False)
        self._changed(chat)
        return True

    def _unbanChatMember(self, params: Mapping[str, Any]) -> bool:  # noqa: N802
        chat = self._chat(params)
        if chat.type == GROUP:
            raise bad_request("method is available for supergroup and channel chats only")
        user_id = self._user_id(params)
        only_if_banned = _boolean(params.get("only_if_banned"))
        member = self._member(chat, user_id)
        if user_id == self.settings.bot_id:
            if not only_if_banned:  # the bot leaves
                self.set_member(chat.chat_id, user_id, status=LEFT)
            return True
        if member.status == KICKED:  # the ban is lifted, an owner's own too
            self._need_right_to_remove(chat, member)
            self.set_member(chat.chat_id, user_id, status=LEFT)
            return True
        if not _is_in(member) or only_if_banned:
            return True  # nothing to do, so no rights are looked at
        self._need_right_to_remove(chat, member)
        self.set_member(chat.chat_id, user_id, status=LEFT)
        return True

    def _createChatInviteLink(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        chat = self._chat(params)
        self._need_right_to_invite(chat)
        link: dict[str, Any] = {
            "invite_link": f"https://t.me/+{secrets.token_urlsafe(12)}",
            "creator": self._user_object(self.settings.bot_id),
            "creates_join_request": _boolean(params.get("creates_join_request")),
            "is_primary": False,
            "is_revoked": False,
        }
        if name := params.get("name"):
            link["name"] = str(name)
        for key in ("expire_date", "member_limit"):
            if value := _integer(params.get(key)):
                link[key] = value
        chat.invite_links[link["invite_link"]] = link
        self._changed(chat)
        return link

    def _revokeChatInviteLink(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        chat = self._chat(params)
        self._need_right_to_invite(chat)
        link = chat.invite_links.get(str(params.get("invite_link", "")))
        if link is None:
            raise bad_request("INVITE_HASH_EXPIRED")
        link["is_revoked"] = True
        self._changed(chat)
        return link

    def _sendMessage(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        chat_id = _integer(params.get("chat_id"))
        text = str(params.get("text") or "")
        if not text:
            raise bad_request("message text is empty")
        if chat_id is not None and chat_id > 0:
            if (error := self.user(chat_id).error) is not None:
                raise _Refused(int(error.partition(" ")[0]), error.partition(" ")[2])
            chat: dict[str, Any] = {
                "id": chat_id,
                "type": "private",
                "first_name": self.user(chat_id).first_name,
            }
        else:
            chat = _chat_object(self._chat(params))
        self._message_id += 1
        return {
            "message_id": self._message_id,
            "date": int(self._now().timestamp()),
            "chat": chat,
            "from": self._user_object(self.settings.bot_id),
            "text": text,
        }

    # -- checks --------------------------------------------------------------------------------

    def _chat(self, params: Mapping[str, Any]) -> Chat:
        given = params.get("chat_id")
        if given is None or given == "":
            raise bad_request("chat_id is empty")
        chat_id = _integer(given)
        if chat_id is None:
            raise bad_request("chat not found")
        chat = self.chats.get(chat_id)
        if chat is None:
            if chat_id >= 0 or not self.settings.create_chats:
                raise bad_request("chat not found")
            chat = self.add_chat(chat_id)
        if chat.deleted:
            raise forbidden("the group chat was deleted")
        if chat.migrated_to is not None:
            raise bad_request(
                "group chat was upgraded to a supergroup chat", migrate_to_chat_id=chat.migrated_to
            )
        bot = chat.members.get(self.settings.bot_id, Member(status=LEFT))
        if bot.status == KICKED:
            raise forbidden(f"bot was kicked from the {chat.type} chat")
        if not _is_in(bot):
            raise forbidden(f"bot is not a member of the {chat.type} chat")
        return chat

    def _user_id(self, params: Mapping[str, Any]) -> int:
        user_id = _integer(params.get("user_id"))
        if user_id is None or user_id <= 0:
            raise bad_request("invalid user_id specified")
        if (error := self.user(user_id).error) is not None:
            code, _, description = error.partition(" ")
            raise _Refused(int(code), description)
        return user_id

    def _member(self, chat: Chat, user_id: int) -> Member:
        member = chat.members.get(user_id)
        if member is None:
            if self.settings.unknown_members is None:
                raise bad_request("PARTICIPANT_ID_INVALID")
            member = chat.members[user_id] = Member(status=self.settings.unknown_members)
            self._changed(chat)
        ban_is_over = member.status == KICKED and 0 < member.until_date <= self._now().timestamp()
        if ban_is_over:
            member = chat.members[user_id] = Member(status=LEFT)
            self._changed(chat)
        return member

    def _need_member_list(self, chat: Chat) -> None:
        if chat.type == CHANNEL and self.bot_in(chat).status != ADMINISTRATOR:
            raise bad_request("member list is inaccessible")

    def _need_right_to_remove(self, chat: Chat, member: Member) -> None:
        bot = self.bot_in(chat)
        if bot.status != ADMINISTRATOR:
            raise bad_request("CHAT_ADMIN_REQUIRED")
        if not bot.can_restrict_members:
            raise bad_request("not enough rights to restrict/unrestrict chat member")
        if member.status == CREATOR:
            raise bad_request("can't remove chat owner")
        if member.status == ADMINISTRATOR:
            raise bad_request("user is an administrator of the chat")

    def _need_right_to_invite(self, chat: Chat) -> None:
        bot = self.bot_in(chat)
        if bot.status != ADMINISTRATOR or not bot.can_invite_users:
            raise bad_request("not enough rights to manage chat invite link")

    # -- objects -------------------------------------------------------------------------------

    def _user_object(self, user_id: int) -> dict[str, Any]:
        if user_id == self.settings.bot_id:
            return {
                "id": user_id,
                "is_bot": True,
                "first_name": "Store bot",
                "username": "store_standin_bot",
            }
        user = self.user(user_id)
        found = {"id": user_id, "is_bot": False, "first_name": user.first_name}
        return found if user.username is None else {**found, "username": user.username}

    def _member_object(self, user_id: int, member: Member) -> dict[str, Any]:
        found: dict[str, Any] = {"user": self._user_object(user_id), "status": member.status}
        if member.status == ADMINISTRATOR:
            found |= {
                "can_be_edited": False,
                "is_anonymous": False,
                "can_manage_chat": True,
                "can_restrict_members": member.can_restrict_members,
                "can_invite_users": member.can_invite_users,
            }
        elif member.status == CREATOR:
            found["is_anonymous"] = False
        elif member.status == RESTRICTED:
            found |= {"is_member": member.is_member, "until_date": member.until_date}
        elif member.status == KICKED:
            found["until_date"] = member.until_date
        return found

    # -- what tests and the demo arrange and look at ---------------------------------------------

    def bot_in(self, chat: Chat) -> Member:
        return chat.members.get(self.settings.bot_id, Member(status=LEFT))

    def user(self, user_id: int) -> User:
        """A user, made when first spoken of."""
        if user_id not in self.users:
            self.users[user_id] = User(user_id)
            self._changed(self.users[user_id])
        return self.users[user_id]

    def add_chat(
        self,
        chat_id: int,
        *,
        type: str | None = None,  # noqa: A002 - the Bot API's word
        title: str = "Chat",
        bot: Mapping[str, Any] | None = None,
        members: Mapping[int, str] | None = None,
    ) -> Chat:
        """Put a chat there, in place of one with this id.

        Args:
            chat_id: negative; its size tells a basic group from supergroups and channels.
            type: ``supergroup``, ``channel`` or ``group``; by default as the id says.
            title: shown name.
            bot: fields of the bot's :class:`Member`; by default an administrator with all rights.
            members: user id to status.
        """
        if type is None:
            type = SUPERGROUP if chat_id < _SUPERGROUP_IDS_BELOW else GROUP  # noqa: A001
        if type not in {SUPERGROUP, CHANNEL, GROUP}:
            raise ValueError(f"unknown kind of chat: {type}")
        chat = Chat(chat_id, type=type, title=title)
        chat.members[self.settings.bot_id] = Member(**{"status": ADMINISTRATOR, **(bot or {})})
        for user_id, status in (members or {}).items():
            chat.members[int(user_id)] = Member(status=_known(status))
        self.chats[chat_id] = chat
        self._changed(chat)
        return chat

    def set_member(self, chat_id: int, user_id: int, **fields: Any) -> Member:
        """Change a member (or the bot, by its own id), or put one there."""
        chat = self.chats.get(chat_id) or self.add_chat(chat_id)
        if "status" in fields:
            _known(fields["status"])
        member = Member(**{**asdict(chat.members.get(user_id, Member())), **fields})
        chat.members[user_id] = member
        self._changed(chat)
        return member

    def set_bot(self, chat_id: int, **fields: Any) -> Member:
        """Change the bot's own status or rights in a chat."""
        return self.set_member(chat_id, self.settings.bot_id, **fields)

    def set_user(self, user_id: int, **fields: Any) -> User:
        """Change a user; ``error="403 Forbidden: user is deactivated"`` is a deleted account."""
        user = User(**{**asdict(self.user(user_id)), **fields, "user_id": user_id})
        self.users[user_id] = user
        self._changed(user)
        return user

    def status_of(self, chat_id: int, user_id: int) -> str | None:
        """A user's status in a chat, ``None`` where nobody has spoken of either."""
        chat = self.chats.get(chat_id)
        member = chat.members.get(user_id) if chat else None
        return member.status if member else None

    def join(self, chat_id: int, user_id: int, invite_link: str | None = None) -> bool:
        """A user tries to join, by an invite link where one is given. Tells whether it worked."""
        chat = self.chats.get(chat_id) or self.add_chat(chat_id)
        known = chat.members.get(user_id)
        if known is not None and known.status == KICKED and self._member(chat, user_id) is known:
            return False
        if invite_link is not None and not self._link_works(chat, invite_link):
            return False
        chat.members[user_id] = Member(status=MEMBER, joined_with=invite_link)
        self._changed(chat)
        return True

    def _link_works(self, chat: Chat, invite_link: str) -> bool:
        link = chat.invite_links.get(invite_link)
        if link is None or link["is_revoked"]:
            return False
        if float(link.get("expire_date", "inf")) <= self._now().timestamp():
            return False
        # The limit counts who is in the chat now, so a kick frees a place.
        used = sum(_is_in(m) and m.joined_with == invite_link for m in chat.members.values())
        return used < float(link.get("member_limit", "inf"))

    def migrate(self, chat_id: int, to: int | None = None) -> Chat:
        """Upgrade a basic group to a supergroup, which has another id."""
        old = self.chats.get(chat_id) or self.add_chat(chat_id)
        new_id = to if to is not None else _SUPERGROUP_IDS_BELOW + chat_id
        new = Chat.from_dict({**old.to_dict(), "chat_id": new_id, "type": SUPERGROUP})
        self.chats[new_id] = new
        old.migrated_to = new_id
        self._changed(new)
        self._changed(old)
        return new

    def delete_chat(self, chat_id: int) -> Chat:
        """The owner deletes the chat."""
        chat = self.chats.get(chat_id) or self.add_chat(chat_id)
        chat.deleted = True
        self._changed(chat)
        return chat


def unknown_parameters(method: str, params: Mapping[str, Any]) -> list[str]:
    """Parameters that the Bot API does not know for a method: it ignores them without a word."""
    known = {name.lower(): allowed for name, allowed in PARAMETERS.items()}.get(method.lower())
    return [] if known is None else sorted(set(params) - known)


def _known(status: str) -> str:
    if status not in STATUSES:
        raise ValueError(f"unknown status: {status}")
    return status


def _is_in(member: Member) -> bool:
    return member.status in {CREATOR, ADMINISTRATOR, MEMBER} or (
        member.status == RESTRICTED and member.is_member
    )


def _chat_object(chat: Chat) -> dict[str, Any]:
    return {"id": chat.chat_id, "type": chat.type, "title": chat.title}


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _boolean(value: Any) -> bool:
    return value is True or str(value).lower() in {"true", "1", "yes"}
