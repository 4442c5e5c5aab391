"""Strange inputs: values that nobody should send, and the places where they are put."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

LONG = "FAULTS_LONG" in os.environ
"""Whether every value is tried in every place, which takes many minutes."""


def _nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"x": [value]}
    return value


TEXTS = [
    "",
    " ",
    "x",
    "\0",
    "\ud800",
    "half \udfff a pair",
    "x" * 256,
    "x" * 3000,
    "é" * 255,
    "\U0001f600" * 255,
    "\U0001d165" * 100,  # each becomes three
    "\ufdfa" * 200,  # each becomes eighteen
    "\u0344" * 200,
    "e" + "\u0301" * 3000,
    "\u202etxt.exe\u2066",
    "\u0627\u0644\u0633\u0644\u0627\u0645" * 40,
    "\uffff\ufffe",
    "../../v1/customers",
    "a#b|c?d=%00&e",
    "live#prod_1",
    "null",
    "NaN",
    "9" * 400,
    "-1",
    "1e9",
    "9999-12-31T23:59:59Z",
]
VALUES: list[Any] = [
    *TEXTS,
    None,
    True,
    False,
    0,
    -1,
    9_999_999_999,
    10**40,
    1.5,
    1e308,
    [],
    [None],
    ["x"],
    ["\ud800"],
    [{"id": "x" * 3000}],
    {},
    {"id": 5},
    {"id": "x" * 3000},
    {"data": None},
    {"data": [{"id": None}]},
    _nested(100),
]

any_text: SearchStrategy[str] = st.one_of(
    st.text(st.characters(), max_size=40),  # half surrogates among them
    st.sampled_from(TEXTS),
    # Marks, and what is taken apart into many: repeated, so that it gets long.
    st.builds(
        lambda char, times: char * times,
        st.characters(categories=["Mn", "Lo", "So", "Sk", "Cc", "Cf", "Nd", "Lm"]),
        st.integers(1, 3000),
    ),
)
any_value: SearchStrategy[Any] = st.recursive(
    st.one_of(
        any_text,
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(VALUES),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)


def examples(few: int, many: int) -> settings:
    """How many examples are tried, of which each runs the whole of what it is put into."""
    return settings(
        max_examples=many if LONG else few,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
            HealthCheck.data_too_large,
        ],
    )


Place = tuple[Any, ...]
"""Names and positions that lead to a part of a JSON value."""


def places(value: Any, before: Place = ()) -> Iterator[Place]:
    """Every place within a JSON value."""
    parts: Any = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for name, part in parts:
        yield (*before, name)
        yield from places(part, (*before, name))


def put(value: Any, place: Place, strange: Any) -> Any:
    """The value with another one in one place; all other parts are shared with it."""
    if not place:
        return strange
    changed = copy.copy(value)
    changed[place[0]] = put(value[place[0]], place[1:], strange)
    return changed


def tried_in(number: int, few: int = 1) -> list[Any]:
    """The values that are tried in the place of this number: a few in turn, or all of them."""
    if LONG:
        return VALUES
    return [VALUES[(number * few + at) * 7 % len(VALUES)] for at in range(few)]
