"""What may be part of a key of the database."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import key_parts
from shared.domain.key_parts import NotAKey, is_id, moment, part
from tests.strange import any_value


@pytest.mark.parametrize(
    "text", ["sub_1", "i" * 255, "Gz 1 ünïcode", "a#b/c?d", "😀" * 120, "שלום", "-1001"]
)
def test_whatever_can_name_something_is_an_id(text: str) -> None:
    assert is_id(text)
    assert part(text) == text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "i" * 256,
        "😀" * 121,
        "a\0b",
        "a\nb",
        "\x85",
        "half \ud800",
        None,
        True,
        5,
        [],
        ["x"],
        {},
    ],
    ids=repr,
)
def test_what_names_nothing_is_no_id(value: Any) -> None:
    assert not is_id(value)


@pytest.mark.parametrize("value", ["", "x" * 501, "\ud800", "a\0b", None, ["x"]], ids=repr)
def test_a_key_is_not_built_from_what_is_no_id(value: Any) -> None:
    with pytest.raises(NotAKey, match=r"^not an id$"):
        part(value)


@given(value=any_value)
def test_an_id_fits_into_every_key(value: Any) -> None:
    if not is_id(value):
        return
    assert len(part(f"PURCHASE#code_{value}").encode()) <= key_parts.MOST_PART_BYTES


def test_times_sort_as_texts() -> None:
    times = [0, 9, 1_000_000_000, 99_999_999_999]
    assert sorted(map(moment, times)) == list(map(moment, times))


@pytest.mark.parametrize("value", [-1, 10**11, 10**40, True, 1.0, "1", None])
def test_what_is_no_time_is_no_part_of_a_key(value: Any) -> None:
    with pytest.raises(NotAKey):
        moment(value)


@given(text=st.text(st.characters()))
def test_what_is_a_text_can_be_stored(text: str) -> None:
    assert key_parts.is_text(text) == (text.encode(errors="ignore").decode() == text)
