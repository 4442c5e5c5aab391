"""What one source said of one thing over time: points in any order, asked for any stretch of time.

A *point* says: from this event on, the value was this, and (where the event tells it, in Stripe's
``previous_attributes``) before it, it was that. Points may be inserted in any order and any number
of times; the answers depend on the set of them alone.

Between two points that differ nobody knows when the value changed, unless the second one tells
what was before: then both values count for all of that time. Whoever may have been let in by a
value has to leave with it.

Events that change nothing are left out: what they say, the points around them say too. So an event
that renews a subscription needs no point, and the hot path writes none.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from shared.domain.merge import CLOCK_SKEW_SECONDS, Source

# Of a value that keeps changing the newest points are kept: a record has its bound (400 KB).
MOST_POINTS = 200


# The store's own events don't tell what was before. Of these sources every event is a point: which
# of them changed something is known only when all have come.
WITHOUT_BEFORE = frozenset({"link", "redemption", "store"})


class _Untold:
    """The value of ``before`` where an event doesn't tell."""

    def __repr__(self) -> str:
        return "UNTOLD"


UNTOLD: Any = _Untold()


@dataclass(frozen=True, slots=True)
class Point:
    """What one event, or one answer of Stripe's API, says.

    Attributes:
        at: the event's ``created``, or when Stripe was asked; seconds since the epoch.
        stage: where it stands within that second.
        event_id: the event's id; empty for an answer of the API.
        value: JSON.
        before: the value until then; :data:`UNTOLD` where nobody tells.
    """

    at: int
    stage: int
    event_id: str
    value: Any
    before: Any = UNTOLD

    @property
    def place(self) -> tuple[int, int, str]:
        return (self.at, self.stage, self.event_id)

    @property
    def is_fetched(self) -> bool:
        return not self.event_id

    @property
    def tells_change(self) -> bool:
        return self.before is not UNTOLD and self.before != self.value

    def to_json(self) -> list[Any]:
        told = [] if self.before is UNTOLD else [self.before]
        return [self.at, self.stage, self.event_id, self.value, *told]

    @classmethod
    def from_json(cls, parts: list[Any]) -> Point:
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class Span:
    """A value that held, or may have held, from ``start`` to ``end``, both included."""

    start: float
    end: float
    value: Any


@dataclass(frozen=True, slots=True)
class Timeline:
    """The points of one source, in order; see the module's text.

    Attributes:
        is_whole: every point is kept.
    """

    points: tuple[Point, ...] = ()
    is_whole: bool = False

    @classmethod
    def of(cls, points: Iterable[Point], *, is_whole: bool = False) -> Timeline:
        """The timeline of a set of points, without repetitions. Points that say what the others
        say already are left out, unless it is to be whole."""
        by_place = {point.place: point for point in sorted(points, key=_told_last)}
        said = _in_order(by_place.values())
        if is_whole:
            return cls(tuple(said[-MOST_POINTS:]), is_whole=True)
        events = [point for point in said if not point.is_fetched]
        changes = [point for point in said if point.tells_change]
        kept: list[Point] = []
        for point in said:
            if not point.tells_change:
                if point.is_fetched and _is_told_by_events(point, events):
                    continue
                if _follows_from(point, changes) or (kept and kept[-1].value == point.value):
                    continue
            kept.append(point)
        return cls(tuple(kept[-MOST_POINTS:]))

    def with_points(self, *points: Point) -> Timeline:
        return Timeline.of((*self.points, *points), is_whole=self.is_whole)

    def spans(self) -> Iterator[Span]:
        """Every value with the time for which it held, or may have held."""
        if not self.points:
            return
        first = self.points[0]
        yield Span(-math.inf, first.at, first.value if first.before is UNTOLD else first.before)
        following: tuple[Point | None, ...] = (*self.points[1:], None)
        for point, after in zip(self.points, following, strict=True):
            if after is None:
                yield Span(point.at, math.inf, point.value)
                continue
            yield Span(point.at, after.at, point.value)
            missed = after.value if after.before is UNTOLD else after.before
            if missed != point.value:
                yield Span(point.at, after.at, missed)

    def during(self, start: float, end: float) -> list[Any]:
        """Every value that held, or may have held, at some moment from start to end."""
        found: list[Any] = []
        for span in self.spans():
            if span.start <= end and span.end >= start and span.value not in found:
                found.append(span.value)
        return found

    def at(self, moment: float) -> Any:
        """The value at a moment; before the first point what was before it, else its value.
        ``None`` without any point."""
        return _value_at(self.points, moment)

    def changes(self) -> Iterator[tuple[Point, Any]]:
        """The points that changed the value, each with the value before it."""
        previous: Any = UNTOLD
        for point in self.points:
            was = previous if point.before is UNTOLD else point.before
            if was is not UNTOLD and was != point.value:
                yield point, was
            previous = point.value

    def to_json(self) -> list[list[Any]]:
        return [point.to_json() for point in self.points]

    @classmethod
    def from_json(cls, points: Iterable[list[Any]]) -> Timeline:
        return cls(tuple(Point.from_json(point) for point in points))


def of_source(name: str, stored: Source, timeline: Timeline | None, now: Any) -> Timeline:
    """The timeline of a source; what it says now is part of it.

    Args:
        name: the source's.
        timeline: the points that are stored, where there are any.
        now: what the source says now.
    """
    points = () if timeline is None else timeline.points
    is_whole = name in WITHOUT_BEFORE
    if points and points[-1].value == now and not is_whole:
        return Timeline(points)
    if stored.fetched_at is not None:
        latest = Point(stored.fetched_at, 0, "", now)
    else:
        event_id = stored.event_ids[-1] if stored.event_ids else "unknown"
        latest = Point(stored.version, stored.rank, event_id, now)
    return Timeline.of((*points, latest), is_whole=is_whole)


def _in_order(points: Iterable[Point]) -> list[Point]:
    """Points as they happened. Within one second, and one stage of it, they are ordered by what
    they tell was before; where that says nothing, by the events' ids."""
    ordered: list[Point] = []
    groups: dict[tuple[int, int], list[Point]] = {}
    for point in sorted(points, key=lambda point: point.place):
        groups.setdefault((point.at, point.stage), []).append(point)
    for rest in groups.values():
        changed = [point.value for point in ordered if point.tells_change]
        trail = _trail([point for point in rest if point.tells_change], changed[-1:])
        if trail:
            ordered += _with_repetitions(trail, [p for p in rest if not p.tells_change])
            continue
        while rest:
            value = ordered[-1].value if ordered else UNTOLD
            following = next((p for p in rest if p.tells_change and p.before == value), None)
            ordered.append(following or _first_of(rest))
            rest.remove(ordered[-1])
    return ordered


def _trail(points: list[Point], begins: list[Any]) -> list[Point]:
    """Changes in the order in which each begins with what the last one led to (Hierholzer's
    algorithm for a trail through all edges of a graph); empty where there is no such order.

    Whoever leaves a value twice came back to it in between.

    Args:
        begins: the value before all of them, where it is known; a trail that goes in a circle
            could begin anywhere.
    """
    if len(points) < 3:
        return []
    leaving: dict[str, list[Point]] = {}
    surplus: Counter[str] = Counter()
    for point in reversed(points):
        leaving.setdefault(_text(point.before), []).append(point)
        surplus[_text(point.before)] += 1
        surplus[_text(point.value)] -= 1
    begin = next((at for at, more in surplus.items() if more == 1), None)
    if begin is None:
        known = [_text(value) for value in begins if _text(value) in leaving]
        begin = known[0] if known else _text(points[0].before)
    walked: list[tuple[str, Point | None]] = [(begin, None)]
    found: list[Point] = []
    while walked:
        at, walked_by = walked[-1]
        if leaving.get(at):
            onward = leaving[at].pop()
            walked.append((_text(onward.value), onward))
            continue
        walked.pop()
        if walked_by is not None:
            found.append(walked_by)
    found.reverse()
    joined = all(one.value == after.before for one, after in pairwise(found))
    return found if joined and len(found) == len(points) else []


def _with_repetitions(trail: list[Point], repeating: list[Point]) -> list[Point]:
    """With the points that tell no change, each behind the first change that led to its value."""
    ordered = [point for point in repeating if point.value == trail[0].before]
    rest = [point for point in repeating if point.value != trail[0].before]
    for change in trail:
        ordered += [change, *(point for point in rest if point.value == change.value)]
        rest = [point for point in rest if point.value != change.value]
    return [*ordered, *rest]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _first_of(points: list[Point]) -> Point:
    """The first point to which no other leads; where each has one, the first."""
    return next(
        (
            point
            for point in points
            if not any(other is not point and other.value == point.before for other in points)
        ),
        points[0],
    )


def _told_last(point: Point) -> bool:
    """Of two points at one place the one that tells what was before counts."""
    return point.before is not UNTOLD


def _value_at(points: Iterable[Point], moment: float) -> Any:
    value: Any = None
    for number, point in enumerate(points):
        if point.at > moment:
            if number == 0:
                value = point.value if point.before is UNTOLD else point.before
            break
        value = point.value
    return value


def _is_told_by_events(fetched: Point, events: list[Point]) -> bool:
    """Whether an event tells what was fetched. Stripe's clock and ours may differ, so every value
    that held around that time counts."""
    if not events:
        return False
    around = (point.value for point in events if abs(point.at - fetched.at) <= CLOCK_SKEW_SECONDS)
    settled = _value_at(events, fetched.at - CLOCK_SKEW_SECONDS)
    return fetched.value == settled or fetched.value in list(around)


def _follows_from(point: Point, changes: list[Point]) -> bool:
    """Whether the changes next to a point say its value: the last one until then led to it, or the
    first one from then on began with it. Within one second nobody knows the order."""
    earlier = [change for change in changes if change.at <= point.at]
    later = [change for change in changes if change.at >= point.at]
    led_to = [change.value for change in earlier if change.at == earlier[-1].at]
    began_with = [change.before for change in later if change.at == later[0].at]
    return point.value in led_to or point.value in began_with
