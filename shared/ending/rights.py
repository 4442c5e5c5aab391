"""What the bot may do in a store's chats, and whose they are.

The sweep looks: at once at a chat that a store names for the first time, every sweep where a
removal waits for the bot's rights, every hour while it is not proven whose the chat is, daily
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from shared.domain import telegram as rules
from shared.domain.clock import Clock, system_clock
from shared.domain.telegram import Answer, Class
from shared.integrations.telegram_gateway import BotUnauthorized, TelegramGateway
from shared.storage.bot import Bot
from shared.storage.chats import Chats, Look
from shared.storage.registry import Registry
from shared.tenant import Tenant

DAILY_SECONDS = 86_400
UNVERIFIED_SECONDS = 3_600
NO_ANSWER_SECONDS = 300
# A look is two or three calls, none of which may hold up the sweep.
CALL_SECONDS = 5.0
MAX_MIGRATIONS = 3

# What the bot is in a chat, by why Telegram refused.
_STATES = {rules.NO_ADMINISTRATOR: "lost_rights", rules.NOT_IN_CHAT: "not_member"}


class NoAnswer(Exception):
    """Telegram did not answer: nothing is known of this chat."""


class BotRests(Exception):
    """Telegram must not be asked now: it asked the bot to wait, or does not accept its token."""


@dataclass(frozen=True)
class Rights:
    """Looks at chats with the eyes of the bot."""

    chats: Chats
    registry: Registry
    gateway: TelegramGateway
    bot: Bot
    clock: Clock = system_clock

    def look(self, tenant: Tenant, chat_id: str) -> Look:
        """What the bot is in a chat now; remembered, with the chat's title and type.

        Raises:
            NoAnswer, BotRests
        """
        state = self.bot.state()
        if state.paused_until > self.clock():
            raise BotRests
        try:
            look = self._look(tenant, chat_id)
        except BotUnauthorized:
            self.bot.token_refused()
            raise BotRests from None
        wait = UNVERIFIED_SECONDS if look.bot == "unverified" else DAILY_SECONDS
        self.chats.looked_at(tenant, chat_id, look, again_at=int(self.clock()) + wait)
        return look

    def look_later(self, tenant: Tenant, chat_id: str) -> None:
        """Look again when Telegram may answer; what is known stays."""
        self.chats.look_again(tenant, chat_id, int(self.clock()) + NO_ANSWER_SECONDS)

    def _look(self, tenant: Tenant, chat_id: str) -> Look:
        for _ in range(MAX_MIGRATIONS):
            standing = self.chats.standing(tenant, chat_id)
            if standing.reason == rules.UNVERIFIED:
                standing = self._verified(tenant, chat_id)
            if not standing.usable:
                return self._found("unverified", standing.detail)
            current = standing.current_id
            answer = self.gateway.get_chat(current, timeout=CALL_SECONDS)
            if self._kind("getChat", answer) is Class.MIGRATED:
                self.chats.migrated(tenant, current, str(answer.migrate_to_chat_id))
                continue
            return self._rights(current, answer)
        return self._found("unreachable", f"{chat_id} moves from one id to the next.")

    def _verified(self, tenant: Tenant, chat_id: str) -> Any:
        """The standing of a chat once it was asked who created it."""
        owners = self.registry.telegram_owners(tenant)
        standing = self.chats.standing(tenant, chat_id)
        if owners:
            ids, creators = self._creators(standing.current_id)
            # The present id first: it decides whose chat it is.
            if creators & owners and self.chats.approve(tenant, ids[-1]):
                for old_id, new_id in pairwise(ids):
                    if self.chats.approve(tenant, old_id):
                        self.chats.migrated(tenant, old_id, new_id)
        return self.chats.standing(tenant, chat_id)

    def _creators(self, chat_id: str) -> tuple[list[str], frozenset[str]]:
        """The ids a chat has had from this one on, and who created it."""
        ids = [chat_id]
        for _ in range(MAX_MIGRATIONS):
            answer = self.gateway.get_chat_administrators(ids[-1], timeout=CALL_SECONDS)
            if self._kind("getChatAdministrators", answer) is Class.MIGRATED:
                ids.append(str(answer.migrate_to_chat_id))
                continue
            members = answer.result if answer.ok and isinstance(answer.result, list) else []
            return ids, frozenset(
                str((member.get("user") or {}).get("id"))
                for member in members
                if isinstance(member, dict) and member.get("status") == "creator"
            )
        return ids, frozenset()

    def _rights(self, chat_id: str, chat: Answer) -> Look:
        told = chat.result if isinstance(chat.result, dict) else {}
        title, kind = _text(told.get("title")), _text(told.get("type"))
        name = rules.display_name(chat_id, title)
        if not chat.ok:
            return self._refused("getChat", chat, name)
        self.chats.described(chat_id, title, kind)
        bot_id = self.gateway.bot_id(timeout=CALL_SECONDS)
        answer = self.gateway.get_chat_member(chat_id, bot_id, timeout=CALL_SECONDS)
        self._kind(rules.GET_MEMBER, answer)
        if not answer.ok:
            return self._refused(rules.GET_MEMBER, answer, name)
        member = answer.result
        if member.get("status") in ("left", "kicked"):
            return self._found("not_member", f"The bot is no longer in {name}.")
        if kind == "group":
            return self._found("lost_rights", rules.BASIC_GROUP_STAYS.format(chat=name))
        if member.get("status") == "administrator" and member.get("can_restrict_members") is True:
            return self._found("can_remove", None)
        return self._found("lost_rights", rules.MAY_NOT_BAN.format(chat=name))

    def _refused(self, method: str, answer: Answer, name: str) -> Look:
        reason, detail = rules.explain(method, answer, name)
        return self._found(_STATES.get(reason, "unreachable"), detail)

    def _kind(self, method: str, answer: Answer) -> Class:
        kind = rules.classify(method, answer)
        if kind is Class.TOO_MANY:
            self.bot.asked_to_wait(answer.retry_after or 0)
            raise BotRests
        if kind is Class.RETRY:
            raise NoAnswer
        return kind

    def _found(self, bot: str, detail: str | None) -> Look:
        return Look(bot, detail, int(self.clock()))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
