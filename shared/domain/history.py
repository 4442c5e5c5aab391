"""A purchase's history: what happened, newest first. Pure.

Two kinds of entries. *Facts* are what Stripe and the store told: each follows from one point of a
timeline, or from a time that stands in the object itself, and is known by what caused it. So the
same events give the same facts, in any order and however often they come. The *log*
(:attr:`Own.audit`) is what somebody asked of us and what we did; it is only ever added to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.domain.clock import iso
from shared.domain.merge import CLOCK_SKEW_SECONDS
from shared.domain.purchase import Purchase
from shared.domain.timeline import Point


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        cause: the event that told it, or what stands for it; unique with ``event``.
        actor: ``owner``, ``customer``, ``stripe``, ``system`` or ``store``.
        actor_id, actor_name: who of the staff.
        detail: a sentence or a code; reason: in the words of who acted.
    """

    at: int
    cause: str
    actor: str
    event: str
    detail: str | None = None
    reason: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "at": iso(self.at),
            "actor": self.actor,
            "actor_id": self.actor_id,
            "actor_name": self.actor_name,
            "event": self.event,
            "detail": self.detail,
            "reason": self.reason,
        }


def history(purchase: Purchase) -> list[Entry]:
    """Everything that is known to have happened, newest first."""
    entries = [*facts(purchase), *_log(purchase)]
    numbered = sorted(enumerate(entries), key=lambda e: (e[1].at, _place(e[1]), e[0]), reverse=True)
    return [entry for _, entry in numbered]


def _place(entry: Entry) -> int:
    """Within one second: what was asked comes before an end, and what was done because of it
    after."""
    if entry.event.startswith(("access_", "removal_")):
        return 2
    return 1 if entry.event == "ended" else 0


def facts(purchase: Purchase) -> list[Entry]:
    """What Stripe and the store told, oldest first."""
    found = [
        *_bought(purchase),
        *_scheduled(purchase),
        *_expiry(purchase),
        *(entry for source in sorted(purchase.sources) for entry in _changed(purchase, source)),
        *_ended(purchase),
    ]
    by_cause = {(entry.cause, entry.event): entry for entry in found}
    return sorted(by_cause.values(), key=lambda entry: (entry.at, entry.cause, entry.event))


def _bought(purchase: Purchase) -> Iterator[Entry]:
    if purchase.purchased_at:
        at = purchase.purchased_at
        yield Entry(at, f"{purchase.purchase_id}:{at}", "customer", "purchased")


def _scheduled(purchase: Purchase) -> Iterator[Entry]:
    """Ends that were set, changed or taken back at Stripe; what the owner asked for stands in the
    log."""
    set_before = False
    for point, was in _changes(purchase, "subscription", "cancel_at"):
        now = point.value.get("cancel_at")
        if point.value.get("over"):
            continue
        if now is None:
            yield Entry(point.at, point.event_id, "stripe", "cancel_withdrawn")
        elif was is not None:
            yield Entry(point.at, point.event_id, "stripe", "cancel_rescheduled", iso(now))
        elif not _asked_by_owner(purchase, point.at):
            words = point.value.get("cancellation") or {}
            by_buyer = words.get("feedback") or words.get("comment")
            actor = "customer" if by_buyer else "stripe"
            reason = words.get("comment") or words.get("feedback")
            yield Entry(point.at, point.event_id, actor, "cancel_requested", "period_end", reason)
        set_before = True
    canceled_at = purchase.data("subscription").get("canceled_at")
    if canceled_at and not set_before and not purchase.cancelled_by_owner:
        words = _words(purchase)
        actor = "customer" if words is not None else "stripe"
        cause = f"{purchase.purchase_id}:{canceled_at}"
        yield Entry(int(canceled_at), cause, actor, "cancel_requested", None, words)


def _expiry(purchase: Purchase) -> Iterator[Entry]:
    """Dates of expiry that nobody understands, and their corrections."""
    for source in ("redemption", "session") if purchase.kind == "access_code" else ():
        was = None
        for point in purchase.timeline(source).points:
            told = point.value.get("expiry_not_understood")
            if told != was:
                event = "expiry_corrected" if told is None else "expiry_unknown"
                detail = None if told is None else f"“{told}” is no date that is understood"
                yield Entry(point.at, f"{source}:{point.event_id}", "store", event, detail)
            was = told


def _asked_by_owner(purchase: Purchase, at: int) -> bool:
    """Whether an end that was set then is what the owner had asked for."""
    return any(
        entry.event == "cancel_requested"
        and entry.detail == "period_end"
        and entry.at <= at + CLOCK_SKEW_SECONDS
        for entry in purchase.own.audit
    )


def _changed(purchase: Purchase, source: str) -> Iterator[Entry]:
    """Products switched, and Telegram accounts linked, replaced or taken off."""
    actor = "store" if source in ("link", "redemption") else "stripe"
    if source == "link":
        first = purchase.timeline(source).points[0]
        user = first.value.get("user")
        if user is not None and not first.tells_change:
            yield Entry(first.at, first.event_id, actor, "linked", f"Telegram account {user}")
    for point, was in _changes(purchase, source, "user"):
        user = point.value.get("user")
        by = f"({point.event_id or 'as Stripe showed it'})"
        if was is None:
            event, detail = "linked", f"Telegram account {user} {by}"
        elif user is None:
            event, detail = "unlinked", f"Telegram account {was} was taken off {by}"
        else:
            event, detail = "relinked", f"Telegram account {was} was replaced by {user} {by}"
        yield Entry(point.at, point.event_id or f"{source}:{point.at}", actor, event, detail)
    if source == "subscription":
        for point, was in _changes(purchase, source, "items"):
            if not was or not point.value.get("items"):
                continue
            detail = f"{', '.join(was)} → {', '.join(point.value['items'])}"
            cause = point.event_id or f"{source}:{point.at}"
            yield Entry(point.at, cause, actor, "switched", detail)


def _changes(purchase: Purchase, source: str, name: str) -> Iterator[tuple[Point, Any]]:
    """The points that changed one thing, each with what it was before."""
    for point, before in purchase.timeline(source).changes():
        if before.get(name) != point.value.get(name):
            yield point, before.get(name)


def _ended(purchase: Purchase) -> Iterator[Entry]:
    if not purchase.is_over or purchase.ended_at is None:
        return
    actor = {
        "cancelled_by_owner": "owner",
        "cancelled_by_customer": "customer",
        "expired": "system",
    }.get(purchase.end_reason or "", "stripe")
    intent = purchase.own.intent
    by_owner = actor == "owner" and intent is not None
    yield Entry(
        purchase.ended_at,
        f"{purchase.purchase_id}:ended",
        actor,
        "ended",
        purchase.end_reason,
        reason=intent.reason if by_owner and intent else _words(purchase),
        actor_id=intent.actor if by_owner and intent else None,
        actor_name=intent.actor_name if by_owner and intent else None,
    )


def _words(purchase: Purchase) -> str | None:
    """What the buyer told Stripe about cancelling."""
    feedback, comment = purchase.buyers_words
    return comment or feedback


def _log(purchase: Purchase) -> Iterator[Entry]:
    logged = set()
    for number, entry in enumerate(purchase.own.audit):
        detail = entry.detail
        if entry.chat_id is not None:
            logged.add((entry.event, entry.chat_id, entry.telegram_user_id))
            where = f"chat {entry.chat_id}, Telegram account {entry.telegram_user_id}"
            detail = where if detail is None else f"{where}: {detail}"
        yield Entry(
            entry.at,
            f"log:{number}",
            entry.actor,
            entry.event,
            detail,
            entry.reason,
            entry.actor_id,
            entry.actor_name,
        )
    for removal in sorted(purchase.own.removals.values(), key=lambda r: r.key):
        event = f"access_{removal.state}"
        # Removals from before the log were only kept as they came out.
        done = (event, removal.chat_id, removal.telegram_user_id) in logged
        if removal.finished_at is not None and removal.lost is None and not done:
            detail = removal.detail or removal.chat_id
            yield Entry(removal.finished_at, f"removal:{removal.key}", "system", event, detail)
