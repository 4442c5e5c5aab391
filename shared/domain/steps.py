"""What to do next about a purchase, and what a cancel request means for it. Pure.

:func:`next_step` is asked again after every step that was recorded, until it answers ``None``;
whatever order things happened in, and wherever a crash cut in, the answer follows from the
record alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from shared.domain.clock import backoff_seconds
from shared.domain.errors import OperationInProgress, PeriodEndNotAvailable, PurchaseAlreadyEnded
from shared.domain.purchase import (
    END,
    LOOK_LASTS_SECONDS,
    Audit,
    End,
    Intent,
    Lost,
    Own,
    Purchase,
    Removal,
    Retry,
    When,
)
from shared.domain.telegram import LEFT_BY_OWNER, MAY_END

# EventBridge Scheduler fires with a precision of 60 seconds, and what it does with a time that
# has passed is nowhere stated: nearer than this, the sweep and the caller act by themselves.
SCHEDULE_LEAD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class AskStripe:
    """Ask Stripe to do what the owner wants."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class CloseIntent:
    """The intent is carried out, or was taken back in Stripe."""

    phase: Literal["done", "superseded"]


@dataclass(frozen=True, slots=True)
class DeclareEnd:
    """The purchase ends by our own word."""

    end: End


@dataclass(frozen=True, slots=True)
class LookAgain:
    """The scheduled end has come: ask Stripe whether it still stands."""


@dataclass(frozen=True, slots=True)
class PlanRemovals:
    """Find out who must leave which chats."""


@dataclass(frozen=True, slots=True)
class LookAtBuyer:
    """Ask Stripe what else the person bought who is about to be removed.

    Attributes:
        users: the Telegram users.
    """

    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Remove:
    """Take one user out of one chat."""

    removal: Removal


@dataclass(frozen=True, slots=True)
class SetSchedule:
    """Make the one-time schedule fire at ``at``; ``None``: there should be none."""

    at: int | None


Step = (
    AskStripe
    | CloseIntent
    | DeclareEnd
    | LookAgain
    | PlanRemovals
    | LookAtBuyer
    | Remove
    | SetSchedule
)


@dataclass(frozen=True, slots=True)
class Who:
    """Who asked for something, from the token."""

    id: str
    name: str | None = None


def next_step(purchase: Purchase, now: int) -> Step | None:
    """The next thing to do, ``None`` while there is nothing to do before ``due_at``."""
    own = purchase.own
    step = _step_of_intent(purchase, now)
    if step is not None:
        return step
    ends_at = purchase.ends_at
    if ends_at is not None and max(ends_at, own.retry_at("look", 0)) <= now:
        if purchase.kind == "access_code":
            return DeclareEnd(End(ends_at, "expired"))
        return LookAgain()
    if purchase.plan_is_stale:
        if purchase.plan_at <= now:
            return PlanRemovals()
    else:
        due = [r for r in purchase.open_removals if (r.next_attempt_at or 0) <= now]
        if due and is_looked_at(purchase, now):
            return Remove(due[0])
        if due and own.retry_at("buyer", 0) <= now:
            return LookAtBuyer(tuple(sorted({r.telegram_user_id for r in purchase.open_removals})))
    if purchase.wanted_schedule_at != own.schedule_at and own.retry_at("schedule", 0) <= now:
        return SetSchedule(purchase.wanted_schedule_at)
    return None


def is_looked_at(purchase: Purchase, now: int) -> bool:
    """Whether it is known what else the buyers have, or the owner decided that it needs not be."""
    own = purchase.own
    if own.waived is not None and own.waived == purchase.plan_key:
        return True
    return own.looked_at is not None and now - own.looked_at < LOOK_LASTS_SECONDS


def _step_of_intent(purchase: Purchase, now: int) -> Step | None:
    intent = purchase.own.intent
    if purchase.intent_was_taken_back:
        return CloseIntent("superseded")
    if intent is None or intent.phase != "requested":
        return None
    if purchase.is_over or (intent.mode == "period_end" and purchase.ends_with_period):
        return CloseIntent("done")
    if purchase.kind != "subscription":
        return DeclareEnd(End(intent.requested_at, "cancelled_by_owner"))
    return AskStripe(intent) if purchase.own.retry_at("stripe", 0) <= now else None


def outstanding(purchase: Purchase) -> bool:
    """Whether what was asked for is not yet done, or scheduled and recorded."""
    return (
        purchase.cancel_pending is not None
        or purchase.plan_is_stale
        or any(r.state in ("revoking", "failed") for r in purchase.own.removals.values())
        or (purchase.ends_at is not None and purchase.own.schedule_at != purchase.ends_at)
    )


def request_cancel(
    purchase: Purchase,
    when: When,
    *,
    who: Who,
    reason: str | None,
    now: int,
    without_stripe: bool = False,
) -> Own | None:
    """Our part of the purchase with the owner's new intent; ``None`` where nothing changes.

    A reason given with a request that changes nothing else is logged all the same.

    Raises:
        PurchaseAlreadyEnded: it is over by something else than this request.
        OperationInProgress: an immediate end was asked for, which Stripe has not carried out yet.
        PeriodEndNotAvailable: only an immediate end is possible.
    """
    intent = purchase.own.intent
    in_effect = intent if intent is not None and intent.phase in ("requested", "done") else None
    if purchase.is_over:
        if (
            in_effect is not None
            and in_effect.mode == when
            and purchase.end_reason == "cancelled_by_owner"
        ):
            return _with_reason(purchase, who, reason, now)
        raise PurchaseAlreadyEnded
    if in_effect is not None and in_effect.phase == "requested":
        if in_effect.mode == when:
            return _with_reason(purchase, who, reason, now)
        if in_effect.mode == "immediately":
            raise OperationInProgress("An immediate cancellation of this purchase is under way")
    if when == "period_end":
        if "period_end" not in purchase.cancel_options:
            if not purchase.cancel_options:
                raise PurchaseAlreadyEnded
            raise PeriodEndNotAvailable
        if purchase.ends_with_period:
            return _with_reason(purchase, who, reason, now)
    elif not purchase.cancel_options:
        raise PurchaseAlreadyEnded("This purchase gives no access that could be cancelled")
    generation = 1 if intent is None else intent.generation + 1
    own = replace(
        purchase.own,
        intent=Intent(
            generation,
            when,
            who.id,
            now,
            reason=reason,
            actor_name=who.name,
            without_stripe=without_stripe and purchase.kind == "subscription",
        ),
    )
    entry = Audit(now, "owner", "cancel_requested", when, who.id, who.name, reason)
    return own.logged(entry).without_retry("stripe")


def _with_reason(purchase: Purchase, who: Who, reason: str | None, now: int) -> Own | None:
    """Our part with a reason that the log doesn't hold yet; ``None`` where there is none."""
    if reason is None or any(entry.reason == reason for entry in purchase.own.audit):
        return None
    entry = Audit(now, "owner", "reason_given", None, who.id, who.name, reason)
    return purchase.own.logged(entry)


def changes_more_than_the_log(before: Own, after: Own | None) -> bool:
    """Whether a request asks for anything new."""
    return after is not None and replace(after, audit=before.audit) != before


def request_revocation(purchase: Purchase, *, who: Who, now: int) -> Own | None:
    """Our part with every failed or waiting removal due now; ``None`` where there is none.

    What waits because Stripe can't be asked is decided on what is known: that is the owner's word.
    """
    own = purchase.own
    outstanding = _outstanding_removals(own)
    waits_for_stripe = [step for step in ("plan", "buyer") if step in own.retries]
    if not outstanding and not waits_for_stripe:
        return None
    again = {
        removal.key: replace(
            removal,
            state="revoking",
            reason=None,
            detail=None,
            attempts=0,
            next_attempt_at=now,
            wait=0,
            restarts=0,
        )
        for removal in outstanding
    }
    for step in waits_for_stripe:
        own = replace(own.without_retry(step), waived=purchase.plan_key)
    detail = "without_looking_at_stripe" if waits_for_stripe else None
    own = replace(own, removals={**own.removals, **again})
    entry = Audit(now, "owner", "revocation_requested", detail, who.id, who.name)
    # A write whose answer was lost is made again.
    return own if entry in own.audit else own.logged(entry)


def restart(purchase: Purchase, chats: Collection[str], *, now: int) -> Own | None:
    """Our part with the removals due again that failed in chats where the bot can remove people
    now; ``None`` where there is none.

    One that fails again for the same reason, whatever the bot sees of its rights, waits longer each
    time.
    """
    failed = [
        removal
        for removal in purchase.own.removals.values()
        if removal.state == "failed"
        and removal.reason in MAY_END
        and removal.chat_id in chats
        and now >= (removal.finished_at or 0) + _wait_before_restart(removal)
    ]
    if not failed:
        return None
    again = {
        removal.key: replace(
            removal,
            state="revoking",
            reason=None,
            detail=None,
            attempts=0,
            next_attempt_at=now,
            wait=0,
            restarts=removal.restarts + 1,
        )
        for removal in failed
    }
    entries = (
        Audit(
            now,
            "system",
            "removal_restarted",
            "The bot can remove people from this chat again.",
            chat_id=removal.chat_id,
            telegram_user_id=removal.telegram_user_id,
        )
        for removal in failed
    )
    return replace(purchase.own, removals={**purchase.own.removals, **again}).logged(*entries)


def _wait_before_restart(removal: Removal) -> int:
    return 0 if removal.restarts == 0 else int(min(30 * 2**removal.restarts, 86_400))


def request_leaving_in(purchase: Purchase, *, who: Who, now: int) -> Own | None:
    """Our part where the owner leaves those in who should be out and are not; ``None`` where there
    is nobody."""
    outstanding = _outstanding_removals(purchase.own)
    if not outstanding:
        return None
    left = {
        removal.key: replace(
            removal,
            state="kept",
            reason=LEFT_BY_OWNER,
            detail="The owner of the store leaves this person in.",
            next_attempt_at=None,
            wait=0,
            finished_at=now,
        )
        for removal in outstanding
    }
    entries = (
        Audit(
            now,
            "owner",
            "access_kept",
            LEFT_BY_OWNER,
            who.id,
            who.name,
            chat_id=removal.chat_id,
            telegram_user_id=removal.telegram_user_id,
        )
        for removal in outstanding
    )
    return replace(purchase.own, removals={**purchase.own.removals, **left}).logged(*entries)


def _outstanding_removals(own: Own) -> list[Removal]:
    return [r for r in own.removals.values() if r.state in ("failed", "revoking")]


def plan(purchase: Purchase, leaving: Mapping[tuple[str, str], Lost], *, now: int) -> Own:
    """Our part with a removal for everybody who must leave.

    What was finished for the same loss is not done again: whoever was let in again by hand stays.
    A removal that isn't asked for any more is dropped, if it isn't finished.

    Args:
        leaving: :func:`shared.domain.access.leaving`.
    """
    before = purchase.own.removals
    removals = {key: r for key, r in before.items() if r.state in ("revoked", "kept")}
    for (chat_id, user), lost in sorted(leaving.items()):
        removal = Removal(chat_id, user, next_attempt_at=now, lost=lost, since=now)
        earlier = before.get(removal.key)
        if earlier is None or _is_lost_again(earlier, lost):
            removals[removal.key] = removal
        else:
            removals[removal.key] = replace(earlier, lost=earlier.lost or lost)
    own = replace(purchase.own, removals=removals, planned=purchase.plan_key or None)
    return own.without_retry("plan")


def _is_lost_again(earlier: Removal, lost: Lost) -> bool:
    """Whether somebody was let in again by this purchase since a removal was planned."""
    if earlier.state == "revoking" or earlier.lost in (None, END):
        return False
    return lost == END or (isinstance(lost, int) and lost > int(earlier.lost or 0))


def close_intent(purchase: Purchase, phase: Literal["done", "superseded"], *, now: int) -> Own:
    """Our part once the intent needs nothing more.

    Like everything that is written here it may be asked for twice: the SDK repeats a write whose
    answer was lost, and is refused by what it wrote itself.
    """
    intent = purchase.own.intent
    if intent is None or intent.phase == phase:
        return purchase.own
    if phase == "done":
        return _carried_out(purchase.own, intent, now).without_retry("stripe")
    closed = replace(intent, phase=phase, error=None)
    return replace(purchase.own, intent=closed).without_retry("stripe")


def _carried_out(own: Own, intent: Intent, now: int) -> Own:
    closed = replace(intent, phase="done", error=None)
    return replace(own, intent=closed).logged(Audit(now, "system", "cancel_confirmed", intent.mode))


def declare_end(purchase: Purchase, end: End, *, now: int) -> Own:
    """Our part once the purchase is over by our word; an intent is carried out with it."""
    own = replace(purchase.own, end=purchase.own.end or end).without_retry("look")
    intent = own.intent
    if intent is not None and intent.phase == "requested":
        own = _carried_out(own, intent, now)
    return own


def after_cancel(purchase: Purchase, at: int) -> Purchase:
    """The purchase as it will be when it has ended by the owner's word at ``at``."""
    return replace(purchase, own=declare_end(purchase, End(at, "cancelled_by_owner"), now=at))


def postpone(purchase: Purchase, step: str, error: str, *, now: int) -> Own:
    """Our part after a step failed for now: tried again later, and later each time."""
    earlier = purchase.own.retries.get(step)
    attempts = 1 if earlier is None else earlier.attempts + 1
    retry = Retry(attempts, now + backoff_seconds(attempts), error)
    return replace(purchase.own, retries={**purchase.own.retries, step: retry})


def refuse(
    purchase: Purchase,
    error: str,
    *,
    now: int,
    can_end_without_stripe: bool = False,
    charges_may_continue: bool = False,
) -> Own:
    """Our part after Stripe said that it will never do what the intent asks."""
    intent = purchase.own.intent
    if intent is None or intent.phase == "refused":
        return purchase.own
    refused = replace(
        intent,
        phase="refused",
        error=error,
        can_end_without_stripe=can_end_without_stripe,
        charges_may_continue=charges_may_continue,
    )
    own = replace(purchase.own, intent=refused).without_retry("stripe")
    return own.logged(Audit(now, "system", "cancel_refused", error))


def end_without_stripe(purchase: Purchase, *, charges_may_continue: bool, now: int) -> Own:
    """Our part once the purchase is over although Stripe could end nothing.

    Args:
        charges_may_continue: the account is closed or disconnected: nobody knows what it does.
    """
    if purchase.own.end is not None:
        return purchase.own
    own = declare_end(purchase, End(now, "cancelled_by_owner"), now=now)
    detail = "charges_may_continue" if charges_may_continue else "gone_at_stripe"
    return own.without_retry("stripe").logged(Audit(now, "system", "ended_without_stripe", detail))
