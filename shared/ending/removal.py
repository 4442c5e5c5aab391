"""Taking one Telegram user out of one chat: may this user be in this chat?

The question is always that, and never "did a purchase end?": the answer follows from every
purchase of the user as stored now, so it does not matter which of them ended, in which order,
or how often it is asked.

One step, :meth:`AccessRemover.remove`, in order:

1. kill switch and pause of the bot (looked at again before every call);
2. the chat as it is now: moved, or another store's;
3. another live purchase that opens this chat: kept;
4. one of the two slots of the bot, then the lock of the Telegram user;
5. the invite links by which the user could come back, then what the user is in the chat;
6. a turn in the chat, the purchases once more, and the removal.

Any of it may be repeated after a crash at any point and ends in the same state: looking is free
of effects, removing somebody who has left does nothing, a revoked link stays revoked, and the
lock, the slot and the turn end by themselves.
"""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.domain import access
from shared.domain import telegram as rules
from shared.domain.clock import Clock, backoff_seconds, system_clock
from shared.domain.purchase import Purchase, Removal, RemovalState
from shared.domain.telegram import Answer, Class
from shared.integrations.telegram_gateway import BotUnauthorized, TelegramGateway
from shared.storage.bot import Bot
from shared.storage.chats import Chats
from shared.storage.dynamo import Table
from shared.storage.keys import Key
from shared.storage.products import products_of
from shared.storage.telegram_users import TelegramUsers
from shared.tenant import Tenant, store_of

# A removal takes over a second at Telegram, which absorbs up to 8 s of its own flood wait before
# it answers 429: the worker listens long enough to hear the end of it.
CALL_SECONDS = 30.0
# With a person waiting, one chat that hangs must leave time for the others.
INTERACTIVE_CALL_SECONDS = 4.0
# All of one step: the lease of a purchase is good for this long when the step begins.
STEP_SECONDS = 35.0
# How much longer than its deadline a step may last that nobody waits for: a webhook is stopped by
# its function's timeout (30 s), which would leave slot, lock and lease to end by themselves.
OVERTIME_SECONDS = 12.0
# With less than this left no call, and no removal, is begun: its answer would not be heard.
LEAST_CALL_SECONDS = 0.5
LEAST_REMOVAL_SECONDS = 2.0
TITLE_SECONDS = 2.0

# How long a step waits for a slot, and then for its turn in the chat.
PATIENCE_SECONDS = 3.0
INTERACTIVE_PATIENCE_SECONDS = 2.0
POLL_SECONDS = 0.5
INTERACTIVE_POLL_SECONDS = 0.1

# A call whose answer was not heard may still take effect at Telegram for about this long.
SETTLE_SECONDS = 10.0
# The lock and the slot outlive the longest call made under them by this much.
MARGIN_SECONDS = 10.0
LOCK_SECONDS = CALL_SECONDS + 2 * MARGIN_SECONDS

BUSY_SECONDS = 2
NO_SLOT_SECONDS = 5
SWITCHED_OFF_SECONDS = 300
# A group migrates once in its life; more hops in one step are a fault.
MAX_MIGRATIONS = 3

# What removals come to, as metrics; failures are counted with their reason at hand.
_COUNTED = {"revoked": "AccessRemoved", "kept": "AccessKept"}


class _NotNow(Exception):
    """The step ends here, and is tried again.

    Attributes:
        wait: seconds until then.
        reason, detail: a stable code, and a sentence for the owner.
        failed: whether this counts as a try.
        unheard: Telegram may have done what it was asked, or still do it.
        by_sweep: no schedule of its own, however long the wait.
    """

    def __init__(
        self,
        wait: int,
        reason: str,
        detail: str,
        *,
        failed: bool = False,
        unheard: bool = False,
        by_sweep: bool = False,
    ) -> None:
        super().__init__(detail)
        self.wait = wait
        self.reason = reason
        self.detail = detail
        self.failed = failed
        self.unheard = unheard
        self.by_sweep = by_sweep


def _out_of_time() -> _NotNow:
    return _NotNow(1, rules.BUSY, "The time was up before Telegram could be asked.")


class _Migrated(Exception):
    """Telegram says that the chat has another id now."""

    def __init__(self, new_id: str) -> None:
        super().__init__("the chat has a new id")
        self.new_id = new_id


@dataclass
class _Step:
    """One step under way.

    Attributes:
        removal: what is returned in the end, as far as it is known.
        chat_id: the chat as it is now; the removal keeps the id it was planned with.
        until: when the step must be over, on the monotonic clock.
        owner: of the lock and the slot; unique to this step.
        locked_until: how long the user's lock is ours, seconds since the epoch.
        unlock_at: until when no purchase may begin to admit the user, where that is after the
            step: a removal whose answer was not heard may still take effect.
        link_refusal: why an invite link still works, a code and a sentence.
        ended: purchases of the user that are over, as last looked at.
    """

    tenant: Tenant
    purchase: Purchase
    removal: Removal
    chat_id: str
    interactive: bool
    until: float
    patience: float
    owner: str
    locked_until: float = 0.0
    unlock_at: float = 0.0
    link_refusal: tuple[str, str] | None = None
    ended: tuple[Purchase, ...] = ()

    @property
    def user_id(self) -> str:
        return self.removal.telegram_user_id


class AccessRemover:
    """Removes buyers from chats that none of their purchases opens any more.

    Args:
        table: the records.
        chats: whose the chats are.
        clock: seconds since the epoch, for everything that is stored.
        monotonic: the clock by which deadlines are measured.
        count: called with the name of a metric for what somebody should hear of:
            ``TelegramUnauthorized`` (the token is not accepted: alarm), ``TelegramTooMany``
            (429), ``RemovalFailed`` (the owner must act), ``RemovalRefused`` (our fault, or an
            answer that is in no table).
    """

    def __init__(
        self,
        table: Table,
        gateway: TelegramGateway,
        chats: Chats,
        *,
        clock: Clock = system_clock,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.table = table
        self.gateway = gateway
        self.bot = Bot(table, clock)
        self.chats = chats
        self.users = TelegramUsers(table)
        self.clock = clock
        self.monotonic = monotonic
        self.sleep = sleep
        self.count = count

    def remove(
        self,
        purchase: Purchase,
        key: Key,
        removal: Removal,
        *,
        deadline: float,
        interactive: bool,
    ) -> Removal:
        """One step for one chat and user. Nothing of the purchase is written: the caller does.

        Args:
            purchase: whose end asked for this; only its invite link is taken from it.
            key: the purchase's; it says which store this is.
            deadline: on the ``monotonic`` clock. With a person waiting, the step is over by
                then; without, it is over :data:`STEP_SECONDS` after it began, and at the latest
                :data:`OVERTIME_SECONDS` after the deadline.
            interactive: a person waits: go before the queue, and don't wait long.

        Returns:
            The removal ``revoked``, ``kept`` or ``failed``, with ``finished_at`` and, but for
            the first, a ``reason`` and a ``detail`` for the owner; or still ``revoking`` with
            ``next_attempt_at``, later than now. ``attempts`` counts what Telegram was asked in
            vain or to the end, not the waiting.

        Raises:
            botocore's errors: the database was not reached. Nothing is lost by trying again.
        """
        if removal.state != "revoking":
            return removal
        step = _Step(
            tenant=store_of(key.pk),
            purchase=purchase,
            removal=removal,
            chat_id=removal.chat_id,
            interactive=interactive,
            until=deadline
            if interactive
            else min(self.monotonic() + STEP_SECONDS, deadline + OVERTIME_SECONDS),
            patience=INTERACTIVE_PATIENCE_SECONDS if interactive else PATIENCE_SECONDS,
            owner=uuid.uuid4().hex,
        )
        try:
            return self._decide(step)
        except _NotNow as later:
            return self._later(step, later)
        except BotUnauthorized:
            return self._later(step, self._unauthorized())

    # -- the step ---------------------------------------------------------------------------------

    def _decide(self, step: _Step) -> Removal:
        self._check_bot()
        if not (rules.is_chat_id(step.chat_id) and rules.is_user_id(step.user_id)):
            detail = "The chat or the person has no numeric Telegram id."
            return self._failed(step, rules.NOT_NUMERIC, detail)
        if self.gateway.is_the_bot(step.user_id):
            return self._failed(step, rules.USER_IS_BOT, "This person is the bot itself.")
        standing = self.chats.standing(step.tenant, step.chat_id)
        if standing.reason is not None:
            return self._failed(step, standing.reason, standing.detail or "")
        step.chat_id = standing.current_id
        kept = self._kept(step)
        if kept is not None:
            return kept
        slot = self._wait_for_slot(step)
        try:
            return self._remove_wherever_it_moved(step)
        except _NotNow as later:
            if later.unheard and step.locked_until:
                step.unlock_at = self.clock() + SETTLE_SECONDS
            raise
        finally:
            if step.locked_until:
                self.users.unlock(
                    step.tenant, step.user_id, step.owner, now=self.clock(), at=step.unlock_at
                )
            self.bot.give_slot_back(slot, step.owner)

    def _remove_wherever_it_moved(self, step: _Step) -> Removal:
        for _ in range(MAX_MIGRATIONS):
            try:
                return self._remove(step)
            except _Migrated as migrated:
                moved = migrated.new_id
            if not self.chats.migrated(step.tenant, step.chat_id, moved):
                return self._foreign(step)
            step.chat_id = moved
            kept = self._kept(step)
            if kept is not None:
                return kept
        detail = "The chat moves from one id to the next."
        raise self._try_again(step, rules.TELEGRAM_UNAVAILABLE, detail)

    def _remove(self, step: _Step) -> Removal:
        self._revoke_links(step)
        self._lock(step)
        out = self._look(step)
        if out is not None:
            return out
        self._wait_for_turn(step)
        # The lock is held from the last look at the purchases to the end of the call: no
        # purchase begins to admit the user in between.
        self._lock(step)
        kept = self._kept(step)
        if kept is not None:
            return kept
        if self._left(step) < LEAST_REMOVAL_SECONDS:
            raise _out_of_time()
        kind, answer = self._ask(
            step,
            rules.UNBAN,
            lambda timeout: self.gateway.unban_chat_member(
                step.chat_id, step.user_id, timeout=timeout
            ),
        )
        if kind is Class.OK:
            return self._out(step)
        if kind is Class.ALREADY_GONE:
            return self._out_if_bot_may_see(step)
        return self._refused(step, rules.UNBAN, kind, answer)

    def _revoke_links(self, step: _Step) -> None:
        """Make the invite links useless that would let the buyer in again.

        A refusal doesn't keep the buyer from being removed.
        """
        step.link_refusal = None
        links = self._links(step)
        if not links or step.removal.link_revoked:
            return
        for link in links:

            def revoke(timeout: float, link: str = link) -> Answer:
                return self.gateway.revoke_chat_invite_link(step.chat_id, link, timeout=timeout)

            kind, answer = self._ask(step, rules.REVOKE_LINK, revoke)
            if kind not in (Class.OK, Class.LINK_GONE):
                step.link_refusal = rules.explain(rules.REVOKE_LINK, answer, self._name(step))
                return
        step.removal = replace(step.removal, link_revoked=True)

    def _links(self, step: _Step) -> list[str]:
        """The links of the purchase, and of those that ended before it when its buyer was kept.

        A purchase that lives on with another user keeps its link: it is that user's now.
        """
        chats = (step.removal.chat_id, step.chat_id)
        over = [step.purchase] if step.purchase.is_over else []
        over += [
            purchase
            for purchase in step.ended
            for chat_id in chats
            if purchase.has_kept(chat_id, step.user_id)
        ]
        links = (purchase.invite_link(chat_id) for purchase in over for chat_id in chats)
        return list(dict.fromkeys(link for link in links if link is not None))

    def _look(self, step: _Step) -> Removal | None:
        """The removal's end where there is nobody to remove; ``None``: the user is there."""
        kind, answer = self._ask(
            step,
            rules.GET_MEMBER,
            lambda timeout: self.gateway.get_chat_member(
                step.chat_id, step.user_id, timeout=timeout
            ),
        )
        if kind is Class.ALREADY_GONE:
            return self._out_if_bot_may_see(step)
        if kind is not Class.OK:
            return self._refused(step, rules.GET_MEMBER, kind, answer)
        member = answer.result
        match member.get("status"):
            case "creator":
                detail = rules.OWNER_STAYS.format(chat=self._name(step))
                return self._failed(step, rules.USER_IS_OWNER, detail)
            case "administrator":
                detail = rules.ADMINISTRATOR_STAYS.format(chat=self._name(step))
                return self._failed(step, rules.USER_IS_ADMINISTRATOR, detail)
            case "left" | "kicked":
                # Removing somebody who is banned would lift the ban, an owner's own too.
                return self._out(step)
            case "restricted" if member.get("is_member") is False:
                return self._out(step)
        return None

    def _out_if_bot_may_see(self, step: _Step) -> Removal:
        """Telegram says there is no such member; it says so to bots without rights, too."""
        timeout = min(TITLE_SECONDS, max(self._left(step), LEAST_CALL_SECONDS))
        bot_id = self.gateway.bot_id(timeout=timeout)
        kind, answer = self._ask(
            step,
            rules.GET_MEMBER,
            lambda timeout: self.gateway.get_chat_member(step.chat_id, bot_id, timeout=timeout),
        )
        if kind is Class.OK:
            bot = answer.result
            if bot.get("status") == "administrator" and bot.get("can_restrict_members") is True:
                return self._out(step)
        if kind in (Class.OK, Class.ALREADY_GONE):
            detail = rules.NOT_ADMINISTRATOR.format(chat=self._name(step))
            return self._failed(step, rules.NO_ADMINISTRATOR, detail)
        return self._refused(step, rules.GET_MEMBER, kind, answer)

    # -- may this user be in this chat? -----------------------------------------------------------

    def _kept(self, step: _Step) -> Removal | None:
        """The removal's end where a live purchase of this user opens this chat.

        A test purchase keeps nobody against the end of a live one.
        """
        purchases = self.users.purchases(step.tenant, step.user_id)
        step.ended = tuple(purchase for purchase in purchases if purchase.is_over)
        now = self.clock()
        live = [
            purchase
            for purchase in purchases
            if access.may_keep(purchase, step.user_id, step.purchase, now)
        ]
        products = products_of(self.table, step.tenant, live)
        opened = {
            purchase.purchase_id: access.chats_opened(purchase, products[purchase.purchase_id])
            for purchase in live
        }
        current = self.chats.current_ids({chat for chats in opened.values() for chat in chats})
        for purchase_id, chats in opened.items():
            if step.chat_id in {current[chat] for chat in chats}:
                detail = f"Kept: purchase {purchase_id} still opens this chat."
                return self._finished(step, "kept", rules.STILL_OPENED, detail)
        unknown = any(
            product_id not in products[purchase.purchase_id]
            for purchase in live
            for product_id in purchase.candidates
        )
        if unknown and step.removal.attempts < rules.MAX_UNSURE_ATTEMPTS:
            # What the product opens is not known yet, only that the purchase lives.
            detail = "The product of another live purchase is not known yet."
            raise self._try_again(step, rules.PRODUCT_UNKNOWN, detail)
        return None

    # -- pace and pause ---------------------------------------------------------------------------

    def _check_bot(self) -> None:
        state = self.bot.state()
        if not state.removals_enabled:
            detail = "Removals are switched off."
            raise _NotNow(SWITCHED_OFF_SECONDS, rules.REMOVALS_OFF, detail, by_sweep=True)
        wait = state.paused_until - self.clock()
        if wait > 0:
            detail = state.pause_reason or "The bot is paused."
            raise _NotNow(math.ceil(wait), rules.BOT_PAUSED, detail)

    def _wait_for_slot(self, step: _Step) -> str:
        patience = self.monotonic() + min(step.patience, max(self._left(step), 0.0))
        wanted = False
        while True:
            slot = self.bot.take_slot(
                step.owner,
                until=self.clock() + STEP_SECONDS + MARGIN_SECONDS,
                interactive=step.interactive,
            )
            if slot is not None:
                return slot
            if step.interactive and not wanted:
                self.bot.want_shared_slot()
                wanted = True
            if self.monotonic() >= patience:
                wait = NO_SLOT_SECONDS
                if not step.interactive:
                    wait = max(wait, math.ceil(self.bot.turn_in_queue()))
                raise _NotNow(wait, rules.BUSY, "Other removals are under way.")
            # Spread, so that those who wait don't all ask at the same moment.
            poll = INTERACTIVE_POLL_SECONDS if step.interactive else POLL_SECONDS
            self.sleep(poll * random.uniform(0.8, 1.2))  # noqa: S311

    def _wait_for_turn(self, step: _Step) -> None:
        patience = min(step.patience, self._left(step) - LEAST_REMOVAL_SECONDS)
        wait = self.bot.turn_in_chat(step.chat_id, patience=max(patience, 0.0))
        if wait is None:
            detail = "Other removals from this chat are under way."
            raise _NotNow(BUSY_SECONDS, rules.BUSY, detail)
        if wait > 0:
            self.sleep(wait)

    def _lock(self, step: _Step) -> None:
        """Take the user's lock, or keep it for one more call."""
        now = self.clock()
        if step.locked_until >= now + CALL_SECONDS + MARGIN_SECONDS:
            return
        # Set first: a lock whose taking was not answered is given back, too.
        step.locked_until = now + LOCK_SECONDS
        settles_at = self.users.lock(
            step.tenant, step.user_id, step.owner, now=now, until=step.locked_until
        )
        if settles_at is None:
            step.locked_until = 0.0
            detail = "Another removal of this person is under way."
            raise _NotNow(BUSY_SECONDS, rules.BUSY, detail)
        step.unlock_at = max(step.unlock_at, settles_at)

    def _left(self, step: _Step) -> float:
        return step.until - self.monotonic()

    # -- asking Telegram --------------------------------------------------------------------------

    def _ask(
        self, step: _Step, method: str, call: Callable[[float], Answer]
    ) -> tuple[Class, Answer]:
        """One call, and what its answer means where that concerns this removal alone."""
        self._check_bot()
        longest = INTERACTIVE_CALL_SECONDS if step.interactive else CALL_SECONDS
        timeout = min(longest, self._left(step))
        if timeout < LEAST_CALL_SECONDS:
            raise _out_of_time()
        answer = call(timeout)
        kind = rules.classify(method, answer)
        match kind:
            case Class.MIGRATED:
                raise _Migrated(str(answer.migrate_to_chat_id))
            case Class.TOO_MANY:
                raise self._too_many(answer)
            case Class.RETRY:
                raise self._try_again(
                    step,
                    rules.TELEGRAM_UNAVAILABLE,
                    "Telegram did not answer as it should.",
                    unheard=method == rules.UNBAN,
                )
        return kind, answer

    def _refused(self, step: _Step, method: str, kind: Class, answer: Answer) -> Removal:
        """Telegram said no, and neither waiting nor another id helps."""
        if kind is not Class.OWNER_MUST_ACT:
            self.count("RemovalRefused")
        reason, detail = rules.explain(method, answer, self._name(step))
        if kind is Class.UNKNOWN and step.removal.attempts + 1 < rules.MAX_UNSURE_ATTEMPTS:
            raise self._try_again(step, reason, detail)
        return self._failed(step, reason, detail)

    def _too_many(self, answer: Answer) -> _NotNow:
        until, reason = self.bot.asked_to_wait(answer.retry_after or 0)
        self.count("TelegramTooMany")
        return _NotNow(until - int(self.clock()), rules.BOT_PAUSED, reason)

    def _unauthorized(self) -> _NotNow:
        """The token is not accepted: that says nothing about this removal, so nothing is final."""
        until, reason = self.bot.token_refused()
        self.count("TelegramUnauthorized")
        return _NotNow(until - int(self.clock()), rules.BOT_PAUSED, reason)

    def _try_again(
        self, step: _Step, reason: str, detail: str, *, unheard: bool = False
    ) -> _NotNow:
        wait = backoff_seconds(step.removal.attempts + 1)
        return _NotNow(wait, reason, detail, failed=True, unheard=unheard)

    def _name(self, step: _Step) -> str:
        """How to call the chat in a sentence. Its title is worth a call, but not a failure."""
        title = self.chats.standing(step.tenant, step.chat_id).title
        timeout = min(TITLE_SECONDS, self._left(step))
        if timeout >= LEAST_CALL_SECONDS:
            try:
                answer = self.gateway.get_chat(step.chat_id, timeout=timeout)
            except BotUnauthorized:
                answer = Answer(False)
            chat = answer.result if isinstance(answer.result, dict) else {}
            told = chat.get("title")
            if isinstance(told, str) and told and told != title:
                title = told
                self.chats.described(step.chat_id, told, chat.get("type"))
        return rules.display_name(step.chat_id, title)

    # -- what came of it --------------------------------------------------------------------------

    def _out(self, step: _Step) -> Removal:
        """The user is not in the chat; done, if the way back in is closed too."""
        if step.link_refusal is not None:
            detail = f"The person is out, but the invite link still works. {step.link_refusal[1]}"
            reason = step.link_refusal[0]
            return self._failed(
                step, reason if reason in rules.LOST_RIGHTS else rules.LINK_WORKS, detail
            )
        return self._finished(step, "revoked", None, None)

    def _foreign(self, step: _Step) -> Removal:
        detail = f"The chat {step.removal.chat_id} belongs to another store."
        return self._failed(step, rules.OTHER_STORE, detail)

    def _failed(self, step: _Step, reason: str, detail: str) -> Removal:
        self.count("RemovalFailed")
        return self._finished(step, "failed", reason, detail)

    def _finished(
        self, step: _Step, state: RemovalState, reason: str | None, detail: str | None
    ) -> Removal:
        if state in _COUNTED:
            self.count(_COUNTED[state])
        return replace(
            step.removal,
            state=state,
            reason=reason,
            detail=detail,
            attempts=step.removal.attempts + 1,
            next_attempt_at=None,
            wait=0,
            finished_at=int(self.clock()),
        )

    def _later(self, step: _Step, later: _NotNow) -> Removal:
        wait = max(later.wait, 1)
        return replace(
            step.removal,
            reason=later.reason,
            detail=later.detail,
            attempts=step.removal.attempts + (1 if later.failed else 0),
            next_attempt_at=int(self.clock()) + wait,
            finished_at=None,
            wait=0 if later.by_sweep else wait,
        )
