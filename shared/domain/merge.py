"""Which of two statements about one Stripe object is the newer.

Stripe promises neither order nor once (https://docs.stripe.com/webhooks#event-ordering), and an
event's ``created`` has a resolution of one second. Every record therefore keeps, for each Stripe
object it was told about, a :class:`Source`: the normalised object and where it came from. An
event becomes an :class:`Observation` of such an object; :func:`decide` says what to do with it.

The rules, in order:

1. a terminal state (a cancelled subscription, a deleted customer) absorbs everything else;
2. an older ``created`` never overwrites a newer one;
3. an event that was applied already is dropped;
4. an object that was fetched from Stripe holds everything Stripe knew then, so an event from
   before the fetch that says something else can't be trusted: ask again;
5. a newer ``created`` is applied;
6. within one second: the event whose ``previous_attributes`` match what is stored follows it;
   where that doesn't decide, later stages (``rank``) win, and the first event of an object
   (``*.created``) is the oldest. Where that doesn't decide either, ask Stripe.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

# How far Stripe's clock and ours may be apart when a fetch is compared with an event.
CLOCK_SKEW_SECONDS = 60
# The version of a source that was emptied for good (the year 2286): whatever is said of its object
# later is older.
FOR_EVER = 9_999_999_999

Data = Mapping[str, Any]


class Verdict(enum.Enum):
    """What to do with an observation."""

    APPLY = "apply"
    DROP = "drop"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one event says about one Stripe object.

    Attributes:
        source: name of the object within its record (``subscription``, ``session``, ``re_1`` ...).
        data: the object, normalised to what we keep.
        created_at: the event's ``created``, seconds since the epoch.
        event_id: the event's id.
        previous: the object as it was before the event, normalised; ``None`` where the event
            doesn't tell.
        rank: stage within one second, 0 for the first event of an object's life.
        terminal: the object can't change any more.
    """

    source: str
    data: Data
    created_at: int
    event_id: str
    previous: Data | None = None
    rank: int = 1
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """What a record holds of one Stripe object."""

    data: Data
    version: int
    event_ids: tuple[str, ...] = ()
    rank: int = 1
    previous_digest: str | None = None
    fetched_at: int | None = None
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object as Stripe's API returned it.

    Attributes:
        fetched_at: our clock when the request was sent, seconds since the epoch.
    """

    source: str
    data: Data
    fetched_at: int
    terminal: bool = False
    because: Observation | None = field(default=None)


def is_event_time(value: Any) -> bool:
    """Whether an event may have been made then, seconds since the epoch."""
    return type(value) is int and 0 <= value < FOR_EVER


def provisional(seen: Observation) -> Observation:
    """What is understood of an event that is parked as well: the event itself, applied again once
    all of it is understood, is the newer one."""
    return replace(seen, event_id=f"{seen.event_id} in part", rank=0)


def digest(data: Data) -> str:
    """A short fingerprint of a normalised object."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=9).hexdigest()


def decide(stored: Source | None, seen: Observation) -> Verdict:
    """What to do with ``seen`` when ``stored`` is what the record holds."""
    if stored is None:
        return Verdict.APPLY
    if stored.terminal != seen.terminal:
        return Verdict.APPLY if seen.terminal else Verdict.DROP
    if seen.created_at < stored.version or seen.event_id in stored.event_ids:
        return Verdict.DROP
    if stored.fetched_at is not None and seen.created_at <= (
        stored.fetched_at + CLOCK_SKEW_SECONDS
    ):
        return Verdict.DROP if _same(seen.data, stored.data) else Verdict.FETCH
    if seen.created_at > stored.version:
        return Verdict.APPLY
    return _decide_within_one_second(stored, seen)


def _decide_within_one_second(stored: Source, seen: Observation) -> Verdict:
    if _same(seen.data, stored.data):
        return Verdict.FETCH if _came_back(stored, seen) else Verdict.DROP
    follows = seen.previous is not None and _same(seen.previous, stored.data)
    precedes = stored.previous_digest is not None and stored.previous_digest == digest(seen.data)
    if follows != precedes:
        return Verdict.APPLY if follows else Verdict.DROP
    if seen.rank != stored.rank:
        return Verdict.APPLY if seen.rank > stored.rank else Verdict.DROP
    return Verdict.FETCH


def _came_back(stored: Source, seen: Observation) -> bool:
    """Whether the object became what is stored a second time, from something else.

    Then it left that state in between, and the event that says so is still to come: it would
    follow what is stored, and must not be applied.
    """
    return (
        seen.rank >= stored.rank
        and seen.previous is not None
        and not _same(seen.previous, seen.data)
        and digest(seen.previous) != stored.previous_digest
    )


def applied(stored: Source | None, seen: Observation) -> Source:
    """The source after ``seen`` was applied."""
    same_second = stored is not None and stored.version == seen.created_at
    earlier = stored.event_ids if stored is not None and same_second else ()
    version = seen.created_at if stored is None else max(stored.version, seen.created_at)
    return Source(
        data=seen.data,
        version=version,
        event_ids=(*earlier, seen.event_id),
        rank=seen.rank,
        previous_digest=None if seen.previous is None else digest(seen.previous),
        terminal=seen.terminal,
    )


def may_be_newer(stored: Source | None, fetched: Fetched) -> bool:
    """Whether what is stored may have been said after an object was fetched, and differs from it.

    So it is where the record was read later than the object: then neither can be trusted to be the
    newer one, and Stripe has to be asked once more.
    """
    if stored is None or _same(stored.data, fetched.data):
        return False
    if stored.fetched_at is not None:
        return stored.fetched_at >= fetched.fetched_at
    return stored.version >= fetched.fetched_at - CLOCK_SKEW_SECONDS


def refreshed(stored: Source | None, fetched: Fetched) -> Source | None:
    """The source after a fetch, or ``None`` where the fetch brings nothing.

    A fetch never lowers the version, and never overwrites what an event said after it: an event
    made later than the request was sent knows more than the answer.
    """
    if stored is not None:
        if stored.terminal and not fetched.terminal:
            return None
        newer_event = stored.fetched_at is None and stored.version > (
            fetched.fetched_at + CLOCK_SKEW_SECONDS
        )
        newer_fetch = stored.fetched_at is not None and stored.fetched_at > fetched.fetched_at
        if newer_event or newer_fetch:
            return None
        if fetched.because is None and _same(stored.data, fetched.data):
            return None
    because = fetched.because
    version = 0 if stored is None else stored.version
    event_ids = () if stored is None else stored.event_ids
    if because is not None:
        event_ids = (
            (*event_ids, because.event_id)
            if because.created_at == version
            else ((because.event_id,) if because.created_at > version else event_ids)
        )
        version = max(version, because.created_at)
    return Source(
        data=fetched.data,
        version=version,
        event_ids=event_ids,
        fetched_at=fetched.fetched_at,
        terminal=fetched.terminal,
    )


def _same(one: Data, other: Data) -> bool:
    return dict(one) == dict(other)
