"""Timelines: the same points say the same, in any order and however often."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.timeline import UNTOLD, Point, Timeline

VALUES = st.sampled_from(["a", "b", "c", None])


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Any]]:
    """What really happened: times, each with the value from then on; the first is the beginning."""
    times = draw(st.lists(st.integers(1, 60), min_size=1, max_size=7, unique=True))
    history: list[tuple[int, Any]] = []
    for time in sorted(times):
        value = draw(VALUES)
        if not history or history[-1][1] != value:
            history.append((time, value))
    return history


def told(history: Sequence[tuple[int, Any]], *, previous: bool) -> list[Point]:
    """The events of a history; with ``previous`` each tells what was before it."""
    points = []
    for number, (time, value) in enumerate(history):
        before = history[number - 1][1] if previous and number else UNTOLD
        points.append(Point(time, 0, f"evt_{number}", value, before))
    return points


def held(history: Sequence[tuple[int, Any]], start: float, end: float) -> set[Any]:
    """The values that held at some moment of a stretch, both ends included. At the moment of a
    change both held; before the beginning the first value counts."""
    found = set()
    for number, (time, value) in enumerate(history):
        begins = -math.inf if number == 0 else time
        ends = history[number + 1][0] if number + 1 < len(history) else math.inf
        if begins <= end and ends >= start:
            found.add(value)
    return found


@given(histories(), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_any_order_and_any_repetition_make_the_same_timeline(
    history: list[tuple[int, Any]], previous: bool, dice: random.Random
) -> None:
    """Where events don't tell what was before, every one is kept."""
    points = told(history, previous=previous)
    whole = Timeline.of(points, is_whole=not previous)
    shuffled = points + dice.choices(points, k=len(points))
    dice.shuffle(shuffled)
    grown = Timeline(is_whole=not previous)
    for point in shuffled:
        grown = grown.with_points(point)
    assert grown == whole
    assert Timeline.from_json(whole.to_json()).points == whole.points


@given(
    st.permutations(["a", "b", "c", "d", None]),
    st.lists(st.integers(0, 2), min_size=5, max_size=5),
    st.permutations(range(5)),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300, deadline=None)
def test_changes_of_one_second_are_in_the_order_of_what_each_tells_was_before(
    values: list[Any], gaps: list[int], ids: list[int], dice: random.Random
) -> None:
    points, at = [], 1
    for number, gap in enumerate(gaps):
        at += gap // 2  # mostly none: several changes of one second
        before = values[number - 1] if number else "what it began with"
        points.append(Point(at, 1, f"evt_{ids[number]}", values[number], before))
    shuffled = points + dice.choices(points, k=3)
    dice.shuffle(shuffled)
    grown = Timeline()
    for point in shuffled:
        grown = grown.with_points(point)
    assert list(grown.points) == points
    assert [was for _, was in grown.changes()] == ["what it began with", *values[:-1]]


@given(
    st.lists(st.sampled_from("abcd"), min_size=3, max_size=8),
    st.permutations(range(8)),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300, deadline=None)
def test_a_value_that_is_left_and_comes_back_within_one_second_leads_to_the_last_value(
    walk: list[str], ids: list[int], dice: random.Random
) -> None:
    steps = [(was, now) for was, now in pairwise(["a", *walk]) if was != now]
    points = [
        Point(1, 1, f"evt_{ids[number]}", now, was) for number, (was, now) in enumerate(steps)
    ]
    dice.shuffle(points)
    told = Timeline.of(points)
    grown = Timeline()
    for point in points:
        grown = grown.with_points(point)
    assert grown == told
    assert len(told.points) == len(steps)
    assert all(one.value == after.before for one, after in pairwise(told.points))
    if steps and steps[-1][1] != steps[0][0]:  # else it is a circle, which begins anywhere
        assert (told.points[0].before, told.points[-1].value) == ("a", steps[-1][1])


@given(histories(), st.booleans(), st.integers(0, 61), st.integers(0, 61))
@settings(max_examples=300, deadline=None)
def test_a_whole_history_says_what_held_when(
    history: list[tuple[int, Any]], previous: bool, one: int, other: int
) -> None:
    start, end = sorted((one, other))
    timeline = Timeline.of(told(history, previous=previous))
    assert timeline.at(start) in held(history, start, start)
    if previous:
        assert set(timeline.during(start, end)) == held(history, start, end)
    else:
        assert set(timeline.during(start, end)) >= held(history, start, end)


@given(histories(), st.data(), st.integers(0, 61), st.integers(0, 61))
@settings(max_examples=300, deadline=None)
def test_what_is_known_of_a_part_of_the_history_is_never_denied(
    history: list[tuple[int, Any]], data: st.DataObject, one: int, other: int
) -> None:
    """Events are missing: what those that came say of their own moments still holds."""
    points = told(history, previous=True)
    known = data.draw(st.lists(st.sampled_from(points), unique=True, min_size=1))
    start, end = sorted((one, other))
    said = Timeline.of(known).during(start, end)
    for point in known:
        if start <= point.at <= end:
            assert point.value in said
            assert point.before is UNTOLD or point.before in said


@given(histories(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_point_between_two_others_changes_only_what_is_said_between_them(
    history: list[tuple[int, Any]], data: st.DataObject
) -> None:
    points = told(history, previous=True)
    late = data.draw(st.sampled_from(points))
    without = [point for point in points if point is not late]
    if not without:
        return
    before, after = Timeline.of(without), Timeline.of(points)
    earlier = max((p.at for p in without if p.at < late.at), default=-1)
    later = min((p.at for p in without if p.at > late.at), default=61)
    for moment in range(62):
        if moment < earlier or moment > later:
            assert before.at(moment) == after.at(moment)


@given(histories(), st.integers(0, 70), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_a_fetched_value_that_events_told_adds_nothing(
    history: list[tuple[int, Any]], at: int, dice: random.Random
) -> None:
    points = told(history, previous=True)
    if at < history[0][0]:
        return
    value = [value for time, value in history if time <= at][-1]
    fetched = Point(at, 0, "", value)
    mixed = [*points, fetched]
    dice.shuffle(mixed)
    assert Timeline.of(mixed) == Timeline.of(points)
