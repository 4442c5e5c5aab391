"""Dates in any of the ways in which stores write them. Pure."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time
from typing import Any

# Seconds and milliseconds since the epoch, both from 2001 to 5138: no number is both.
_SECONDS = range(1_000_000_000, 100_000_000_000)
_MILLISECONDS = range(1_000_000_000_000, 100_000_000_000_000)
_DAY_MONTH_YEAR = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})(?:[ T]+(.+))?")
# datetime takes anything between a date and a time, the sign of a time zone among them.
_DATE_AND_TIME = re.compile(r"[0-9W-]+[T ].+", re.IGNORECASE)
_FIRST_OF_DAY, _LAST_OF_DAY = time(0), time(23, 59, 59)
# The last second that datetime can show.
_LAST_SECOND = 253_402_300_799
_LONGEST_SHOWN = 100


def moment(told: Any) -> int:
    """The moment that is meant, seconds since the epoch; of a date alone its first second, UTC.

    Understood are ISO 8601 (UTC where no zone is named), ``28.03.2027`` with or without a time, and
    seconds or milliseconds since the epoch, as a number or as text.

    Raises:
        ValueError: something else, or a time before 1970.
    """
    return _moment(told, _FIRST_OF_DAY)


def expiry(told: Any) -> int | None:
    """The moment at which access ends, of a date alone its last second, UTC; ``None``: it lasts
    for life.

    Raises:
        ValueError: it is not understood. Then neither would be right: access for ever because of a
            slip in a date, nor its end at a date that nobody meant.
    """
    if told is None or (isinstance(told, str) and not told.strip()):
        return None
    return _moment(told, _LAST_OF_DAY)


def as_shown(told: Any) -> str:
    """A date that was not understood, as the owner is told it."""
    text = told if isinstance(told, str) else json.dumps(told)
    printable = "".join(char if char.isprintable() else "?" for char in text.strip())
    if len(printable) <= _LONGEST_SHOWN:
        return printable
    return f"{printable[: _LONGEST_SHOWN - 1]}…"


def _moment(told: Any, time_of_date: time) -> int:
    if isinstance(told, str):
        text = told.strip()
        # Eight digits are a date.
        is_number = text.isascii() and text.isdecimal() and len(text) != 8
        seconds = _of_number(int(text)) if is_number else _of_text(text, time_of_date)
    elif type(told) is int:
        seconds = _of_number(told)
    else:
        raise ValueError("not a date")
    if not 0 <= seconds <= _LAST_SECOND:
        raise ValueError("not a date of a purchase")
    return seconds


def _of_number(number: int) -> int:
    if number in _SECONDS:
        return number
    if number in _MILLISECONDS:
        return number // 1000
    raise ValueError("neither seconds nor milliseconds since the epoch")


def _of_text(text: str, time_of_date: time) -> int:
    written = _DAY_MONTH_YEAR.fullmatch(text)
    if written is not None:
        day, month, year, rest = written.groups()
        text = f"{year}-{month:0>2}-{day:0>2}" + ("" if rest is None else f"T{rest}")
    try:
        found = datetime.combine(date.fromisoformat(text), time_of_date)
    except ValueError:
        if not _DATE_AND_TIME.fullmatch(text):
            raise
        found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int(found.timestamp())
