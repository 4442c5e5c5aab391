"""Dates as stores write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.dates import as_shown, expiry, moment

START = int(datetime(2027, 3, 28, tzinfo=UTC).timestamp())
LAST = START + 86_399


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("2027-03-28", LAST),
        (" 2027-03-28 ", LAST),
        ("20270328", LAST),
        ("28.03.2027", LAST),
        ("28.3.2027", LAST),
        ("28.03.2027 10:00", START + 36_000),
        ("2027-03-28T10:00:00Z", START + 36_000),
        ("2027-03-28T10:00:00+02:00", START + 28_800),
        ("2027-03-28 10:00", START + 36_000),
        ("2027-03-28T00:00:00Z", START),
        (str(START), START),
        (START, START),
        (str(START * 1000), START),
        (START * 1000 + 999, START),
        ("9999-12-31", 253_402_300_799),
        (None, None),
        ("", None),
        ("  ", None),
    ],
)
def test_a_date_alone_ends_with_its_day(told: Any, at: int | None) -> None:
    assert expiry(told) == at


NO_DATES: list[Any] = [
    "soon",
    "never",
    "2027",
    "0",
    "-1",
    0,
    12,
    10**40,
    "1" * 5000,
    "31.02.2027",
    "03/28/2027",
    "28.03.27",
    "2027-03-28+02:00",
    "1906-03-28",
    "0001-01-01T00:00:00+14:00",
    "²",
    "١٨٠٦١٩٢٠٠٠",
    "\ud800",
    "28.03.2027\0",
    True,
    False,
    1.5,
    [],
    {"at": "2027-03-28"},
]


@pytest.mark.parametrize("told", NO_DATES, ids=lambda told: repr(told)[:30])
def test_what_is_not_understood_is_neither_for_life_nor_over(told: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whichever parser found it
        expiry(told)
    assert len(as_shown(told)) <= 100
    as_shown(told).encode()


def test_a_date_on_which_something_began_begins_with_its_day() -> None:
    assert moment("2027-03-28") == moment("28.03.2027") == START
    with pytest.raises(ValueError, match="not a date"):
        moment(None)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(deadline=None)
@given(told=anything)
def test_whatever_is_told_is_a_time_or_no_date(told: Any) -> None:
    try:
        at = expiry(told)
    except ValueError:
        assert json.dumps(as_shown(told), ensure_ascii=False).encode()
    else:
        assert at is None or 0 <= at <= 253_402_300_799
