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
from shared.domain.purchase import Purchase
from shared.domain.timeline import Point


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        cause: the event that told it, or what stands for it; unique with ``event``.
        place: where it stands among the requests and changes of one second.
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
    place: int = 0

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
    numbered = sorted(enumerate(entries), key=lambda e: (*_order(e[1]), e[0]), reverse=True)
    return [entry for _, entry in numbered]


def _order(entry: Entry) -> tuple[int, int, int]:
    """Within one second: what was asked comes before an end, and what was done because of it
    after."""
    stage = 1 if entry.event == "ended" else 0
    if entry.event.startswith(("access_", "removal_")):
        stage = 2
    return (entry.at, stage, entry.place)


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
    return sorted(
        by_cause.values(), key=lambda entry: (entry.at, entry.place, entry.cause, entry.event)
    )


def _bought(purchase: Purchase) -> Iterator[Entry]:
    if purchase.purchased_at:
        at = purchase.purchased_at
        yield Entry(at, f"{purchase.purchase_id}:{at}", "customer", "purchased")


def _scheduled(purchase: Purchase) -> Iterator[Entry]:
    """Ends that were set, changed or taken back at Stripe; what the owner asked for stands in the
    log."""
    for number, end in enumerate(purchase.end_changes):
        at, cause, place = end.point.at, _cause("subscription", end.point), 2 * number + 1
        if end.now is None:
            yield Entry(at, cause, "stripe", "cancel_withdrawn", place=place)
            continue
        if end.asked_by is not None:
            continue
        words = _as_text(end.feedback, end.comment)
        actor = "stripe" if words is None else "customer"
        event, detail = "cancel_requested", "period_end"
        if end.was is not None:
            event, detail = "cancel_rescheduled", iso(end.now) or ""
        yield Entry(at, cause, actor, event, detail, words, place=place)
    # A cancel at once, or one that was set before anybody told of it.
    canceled_at = purchase.data("subscription").get("canceled_at")
    is_told = bool(purchase.end_changes) and purchase.end_changes[-1].now is not None
    by_itself = purchase.is_over and purchase.end_reason not in (*_CANCELLED, None)
    if canceled_at and not is_told and not by_itself and not purchase.cancelled_by_owner:
        words = _as_text(*purchase.buyers_words)
        actor = "stripe" if words is None else "customer"
        cause = f"{purchase.purchase_id}:{canceled_at}"
        yield Entry(int(canceled_at), cause, actor, "cancel_requested", None, words)


_CANCELLED = ("cancelled_by_customer", "cancelled_in_stripe")


def _cause(source: str, point: Point) -> str:
    return point.event_id or f"{source}:{point.at}"


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
        yield Entry(point.at, _cause(source, point), actor, event, detail)
    if source == "subscription":
        for point, was in _changes(purchase, source, "items"):
            if was and point.value.get("items"):
                detail = f"{', '.join(was)} → {', '.join(point.value['items'])}"
                yield Entry(point.at, _cause(source, point), actor, "switched", detail)
    if source == purchase.names_product:
        for point, was in _changes(purchase, source, "product"):
            if was and point.value.get("product"):
                detail = f"product_id: {was} → {point.value['product']}"
                yield Entry(point.at, f"{_cause(source, point)}:named", actor, "switched", detail)


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
        reason=intent.reason if by_owner and intent else _as_text(*purchase.buyers_words),
        actor_id=intent.actor if by_owner and intent else None,
        actor_name=intent.actor_name if by_owner and intent else None,
    )


def _as_text(feedback: str | None, comment: str | None) -> str | None:
    """What the buyer told Stripe about cancelling: the code that was chosen, and the comment."""
    return ": ".join(word for word in (feedback, comment) if word) or None


def _log(purchase: Purchase) -> Iterator[Entry]:
    logged = set()
    # A request comes before the change it led to, and after those before that one.
    places = {
        id(end.asked_by): 2 * number
        for number, end in enumerate(purchase.end_changes)
        if end.asked_by is not None
    }
    place = 0
    for number, entry in enumerate(purchase.own.audit):
        place = places.get(id(entry), place)
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
            place,
        )
    for removal in sorted(purchase.own.removals.values(), key=lambda r: r.key):
        event = f"access_{removal.state}"
        # Removals from before the log were only kept as they came out.
        done = (event, removal.chat_id, removal.telegram_user_id) in logged
        if removal.finished_at is not None and removal.lost is None and not done:
            detail = removal.detail or removal.chat_id
            yield Entry(removal.finished_at, f"removal:{removal.key}", "system", event, detail)
