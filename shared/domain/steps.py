"""What to do next about a purchase, and what a cancel request means for it. Pure.

:func:`next_step` is asked again after every step that was recorded, until it answers ``None``;
whatever order things happened in, and wherever a crash cut in, the answer follows from the
record alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from shared.domain.clock import backoff_seconds
from shared.domain.errors import OperationInProgress, PeriodEndNotAvailable, PurchaseAlreadyEnded
from shared.domain.purchase import Audit, End, Intent, Own, Purchase, Removal, Retry, When

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
class Remove:
    """Take one user out of one chat."""

    removal: Removal


@dataclass(frozen=True, slots=True)
class SetSchedule:
    """Make the one-time schedule fire at ``at``; ``None``: there should be none."""

    at: int | None


Step = AskStripe | CloseIntent | DeclareEnd | LookAgain | PlanRemovals | Remove | SetSchedule


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
        if own.retry_at("plan", 0) <= now:
            return PlanRemovals()
    else:
        for removal in purchase.open_removals:
            if (removal.next_attempt_at or 0) <= now:
                return Remove(removal)
    if purchase.wanted_schedule_at != own.schedule_at and own.retry_at("schedule", 0) <= now:
        return SetSchedule(purchase.wanted_schedule_at)
    return None


def _step_of_intent(purchase: Purchase, now: int) -> Step | None:
    intent = purchase.own.intent
    if purchase.intent_was_taken_back:
        return CloseIntent("superseded")
    if intent is None or intent.phase != "requested":
        return None
    if purchase.is_over or (intent.mode == "period_end" and purchase.cancel_at is not None):
        return CloseIntent("done")
    if purchase.kind != "subscription":
        return DeclareEnd(End(intent.requested_at, "cancelled_by_owner"))
    return AskStripe(intent) if purchase.own.retry_at("stripe", 0) <= now else None


def outstanding(purchase: Purchase) -> bool:
    """Whether what was asked for is not yet done, or scheduled and recorded."""
    return (
        purchase.cancel_pending is not None
        or purchase.plan_is_stale
        or bool(purchase.open_removals)
        or (purchase.ends_at is not None and purchase.own.schedule_at != purchase.ends_at)
    )


def request_cancel(
    purchase: Purchase, when: When, *, actor: str, reason: str | None, now: int
) -> Own | None:
    """Our part of the purchase with the owner's new intent; ``None`` where nothing changes.

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
            return None
        raise PurchaseAlreadyEnded
    if in_effect is not None and in_effect.phase == "requested":
        if in_effect.mode == when:
            return None
        if in_effect.mode == "immediately":
            raise OperationInProgress("An immediate cancellation of this purchase is under way")
    if when == "period_end":
        if "period_end" not in purchase.cancel_options:
            if not purchase.cancel_options:
                raise PurchaseAlreadyEnded
            raise PeriodEndNotAvailable
        if purchase.cancel_at is not None:
            return None
    elif not purchase.cancel_options:
        raise PurchaseAlreadyEnded("This purchase gives no access that could be cancelled")
    generation = 1 if intent is None else intent.generation + 1
    own = replace(
        purchase.own,
        intent=Intent(generation, when, actor, now, reason=reason),
        audit=(*purchase.own.audit, Audit(now, "owner", "cancel_requested", when)),
    )
    return own.without_retry("stripe")


def request_revocation(purchase: Purchase, *, now: int) -> Own | None:
    """Our part with every failed or waiting removal due now; ``None`` where there is none."""
    again = {
        removal.key: replace(
            removal, state="revoking", detail=None, attempts=0, next_attempt_at=now, wait=0
        )
        for removal in purchase.own.removals.values()
        if removal.state in ("failed", "revoking")
    }
    if not again:
        return None
    failed = any(removal.state == "failed" for removal in purchase.own.removals.values())
    audit = purchase.own.audit
    if failed:
        audit = (*audit, Audit(now, "owner", "revocation_requested"))
    return replace(purchase.own, removals={**purchase.own.removals, **again}, audit=audit)


def plan(purchase: Purchase, chat_ids: Iterable[str], *, now: int) -> Own:
    """Our part with a removal for everybody who must leave, in every chat of the products."""
    users = purchase.users_to_remove
    removals = {
        key: removal
        for key, removal in purchase.own.removals.items()
        if removal.telegram_user_id in users and purchase.planned_in_this_turn
    }
    for chat_id in sorted(chat_ids):
        for user in sorted(users):
            removal = Removal(chat_id, user, next_attempt_at=now)
            removals.setdefault(removal.key, removal)
    own = replace(purchase.own, removals=removals, planned=purchase.plan_key or None)
    return own.without_retry("plan")


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
    audit = (*purchase.own.audit, Audit(now, "stripe", "cancel_withdrawn"))
    return replace(purchase.own, intent=closed, audit=audit).without_retry("stripe")


def _carried_out(own: Own, intent: Intent, now: int) -> Own:
    closed = replace(intent, phase="done", error=None)
    audit = (*own.audit, Audit(now, "system", "cancel_confirmed", intent.mode))
    return replace(own, intent=closed, audit=audit)


def declare_end(purchase: Purchase, end: End, *, now: int) -> Own:
    """Our part once the purchase is over by our word; an intent is carried out with it."""
    own = replace(purchase.own, end=purchase.own.end or end).without_retry("look")
    intent = own.intent
    if intent is not None and intent.phase == "requested":
        own = _carried_out(own, intent, now)
    return own


def postpone(purchase: Purchase, step: str, error: str, *, now: int) -> Own:
    """Our part after a step failed for now: tried again later, and later each time."""
    earlier = purchase.own.retries.get(step)
    attempts = 1 if earlier is None else earlier.attempts + 1
    retry = Retry(attempts, now + backoff_seconds(attempts), error)
    return replace(purchase.own, retries={**purchase.own.retries, step: retry})


def refuse(purchase: Purchase, error: str, *, now: int) -> Own:
    """Our part after Stripe said that it will never do what the intent asks."""
    intent = purchase.own.intent
    if intent is None or intent.phase == "refused":
        return purchase.own
    refused = replace(intent, phase="refused", error=error)
    audit = (*purchase.own.audit, Audit(now, "system", "cancel_refused", error))
    return replace(purchase.own, intent=refused, audit=audit).without_retry("stripe")
