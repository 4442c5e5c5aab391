"""The bot's pace and pause, shared by every function that removes somebody.

Items under ``BOT``:

``STATE``
    ``paused_until`` (seconds since the epoch) and ``pause_reason``: Telegram asked us to wait, or
    does not accept the token. ``removals_enabled``: the kill switch, on unless stored ``False``.
``SLOT#0``, ``SLOT#1``
    The two removals that may be under way at once: ``owner``, ``lease_until``; ``wanted_until``
    on ``SLOT#1``, which the queue leaves to people who wait for an answer.
``CHAT#{chat_id}``, ``QUEUE``
    ``next_at`` in milliseconds: the next free turn in a chat, and in the queue of removals that
    found no slot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from shared.domain.clock import Clock, system_clock
from shared.domain.key_parts import part
from shared.domain.telegram import UNAUTHORIZED_PAUSE_SECONDS
from shared.storage.dynamo import ConditionFailed, Table

_PK = "BOT"
_STATE = "STATE"
_SHARED_SLOT = "SLOT#1"
_SLOTS_OF_THE_QUEUE = ("SLOT#0", _SHARED_SLOT)
_SLOTS_OF_PEOPLE = (_SHARED_SLOT, "SLOT#0")
# How long the queue leaves the shared slot alone after somebody found it taken. A purchase's
# chats follow one another, so this outlives the one removal that was waited for.
_WANTED_SECONDS = 10

# Telegram publishes no limit for removals; more than one a second in a chat is answered with
# 429 before long. The tenth more covers what lies between taking a turn and the call.
CHAT_GAP_MS = 1100
# Two at a time, a second or two each.
QUEUE_GAP_MS = 1000


@dataclass(frozen=True, slots=True)
class BotState:
    """Whether removals may be made now.

    Attributes:
        paused_until: seconds since the epoch; in the past when the pause is over.
    """

    removals_enabled: bool = True
    paused_until: int = 0
    pause_reason: str | None = None


class Bot:
    """The one bot that serves all stores."""

    def __init__(self, table: Table, clock: Clock = system_clock) -> None:
        self.table = table
        self.clock = clock

    # -- pause and kill switch --------------------------------------------------------------------

    def state(self) -> BotState:
        item = self.table.get(_PK, _STATE) or {}
        return BotState(
            removals_enabled=item.get("removals_enabled", True),
            paused_until=item.get("paused_until", 0),
            pause_reason=item.get("pause_reason"),
        )

    def pause(self, until: int, reason: str) -> int:
        """No removal before ``until``; a longer pause stays. Returns when the pause ends."""
        try:
            self.table.update_blind(
                _PK,
                _STATE,
                "SET paused_until = :until, pause_reason = :reason",
                "attribute_not_exists(paused_until) OR paused_until < :until",
                until=until,
                reason=reason,
            )
        except ConditionFailed as refused:
            return until if refused.item is None else int(refused.item["paused_until"])
        return until

    def asked_to_wait(self, seconds: int) -> tuple[int, str]:
        """Telegram asks to wait. Whom it meant is nowhere said, so the whole bot waits.

        Returns:
            When the pause ends, and why it is, as a sentence.
        """
        reason = "Telegram asked the bot to wait."
        return self.pause(math.ceil(self.clock()) + seconds + 1, reason), reason

    def token_refused(self) -> tuple[int, str]:
        """Telegram does not accept the token; likewise."""
        reason = "Telegram does not accept the bot's token at the moment."
        until = math.ceil(self.clock()) + UNAUTHORIZED_PAUSE_SECONDS
        return self.pause(until, reason), reason

    def resume(self) -> None:
        """End a pause now (the operator has put a new token in place)."""
        self.table.update_blind(_PK, _STATE, "REMOVE paused_until, pause_reason")

    def switch_removals(self, *, enabled: bool) -> None:
        """The kill switch: ``False`` stops all removals of all stores, and nothing else."""
        self.table.update_blind(_PK, _STATE, "SET removals_enabled = :enabled", enabled=enabled)

    # -- two at once ------------------------------------------------------------------------------

    def take_slot(self, owner: str, *, until: float, interactive: bool) -> str | None:
        """One of the two slots, ``None`` while there is none for us.

        Args:
            until: when the slot is free again by itself, should its owner die.
            interactive: a person waits; the queue leaves the shared slot to them.
        """
        now = int(self.clock())
        free = "(attribute_not_exists(lease_until) OR lease_until < :now)"
        for slot in _SLOTS_OF_PEOPLE if interactive else _SLOTS_OF_THE_QUEUE:
            condition = free
            if slot == _SHARED_SLOT and not interactive:
                condition += " AND (attribute_not_exists(wanted_until) OR wanted_until < :now)"
            try:
                self.table.update_blind(
                    _PK,
                    slot,
                    "SET #owner = :owner, lease_until = :until",
                    condition,
                    names={"#owner": "owner"},
                    owner=owner,
                    until=int(until) + 1,
                    now=now,
                )
            except ConditionFailed:
                continue
            return slot
        return None

    def want_shared_slot(self) -> None:
        """Keep the queue away from the shared slot for a while: a person waits for it."""
        self.table.update_blind(
            _PK,
            _SHARED_SLOT,
            "SET wanted_until = :until",
            until=int(self.clock()) + _WANTED_SECONDS,
        )

    def give_slot_back(self, slot: str, owner: str) -> None:
        """Give a slot back; harmless when it is another's by now."""
        with self.table.giving_back():
            self.table.update_blind(
                _PK,
                slot,
                "REMOVE #owner, lease_until",
                "#owner = :owner",
                names={"#owner": "owner"},
                owner=owner,
            )

    # -- turns ------------------------------------------------------------------------------------

    def turn_in_chat(self, chat_id: str, *, patience: float) -> float | None:
        """Take the next free turn in a chat.

        Returns:
            Seconds until that turn; ``None``, and no turn taken, where that is more than
            ``patience``.
        """
        return self._turn(f"CHAT#{part(chat_id)}", CHAT_GAP_MS, patience)

    def turn_in_queue(self) -> float:
        """Seconds until this removal's turn, behind all others that found no slot."""
        wait = self._turn("QUEUE", QUEUE_GAP_MS, None)
        return 0.0 if wait is None else wait

    def _turn(self, sk: str, gap_ms: int, patience: float | None) -> float | None:
        while True:
            now = int(self.clock() * 1000)
            try:
                self.table.update_blind(
                    _PK,
                    sk,
                    "SET next_at = :next",
                    "attribute_not_exists(next_at) OR next_at <= :now",
                    next=now + gap_ms,
                    now=now,
                )
            except ConditionFailed:
                pass  # taken: the turn after that one
            else:
                return 0.0
            condition, limit = "next_at > :now", dict[str, Any]()
            if patience is not None:
                condition += " AND next_at <= :limit"
                limit = {"limit": now + int(patience * 1000)}
            try:
                item = self.table.update(
                    _PK, sk, "SET next_at = next_at + :gap", condition, gap=gap_ms, now=now, **limit
                )
            except ConditionFailed as refused:
                if refused.item is not None and refused.item["next_at"] > now:
                    return None
                continue  # that turn came meanwhile
            return float(item["next_at"] - gap_ms - now) / 1000
