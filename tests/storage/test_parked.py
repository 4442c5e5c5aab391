"""Events that can never be applied."""

from __future__ import annotations

import random

import pytest

from shared.storage.parked import Parked, ParkedEvent
from shared.tenant import Tenant
from tests.dynamo import Tables

DEMO, OTHER = Tenant("demo"), Tenant("other")


def event(number: int = 1, body: bytes = b"{}", reason: str = "malformed") -> ParkedEvent:
    return ParkedEvent(f"evt_{number}", 1_790_000_000 + number, "stripe", reason, body, 5)


@pytest.fixture
def parked(tables: Tables) -> Parked:
    return Parked(tables.records, lambda: 5.0)


def test_a_parked_event_comes_back_as_it_came_in(parked: Parked) -> None:
    parked.park(DEMO, event(body="{'ü': \x00}".encode()))
    assert [*parked.all(DEMO)] == [event(body="{'ü': \x00}".encode())]


def test_an_event_is_parked_once_however_often_it_is_sent(parked: Parked) -> None:
    parked.park(DEMO, event())
    parked.park(DEMO, event())
    assert [*parked.all(DEMO)] == [event()]


def test_stores_have_their_own_and_events_of_no_store_theirs(parked: Parked) -> None:
    parked.park(DEMO, event(1))
    parked.park(None, event(2))
    assert [one.event_id for one in parked.all(DEMO)] == ["evt_1"]
    assert [one.event_id for one in parked.all(None)] == ["evt_2"]
    assert [*parked.all(OTHER)] == []


def test_the_oldest_comes_first(parked: Parked) -> None:
    for number in (3, 1, 2):
        parked.park(DEMO, event(number))
    assert [one.event_id for one in parked.all(DEMO)] == ["evt_1", "evt_2", "evt_3"]


def test_a_body_that_does_not_compress_takes_several_items(parked: Parked, tables: Tables) -> None:
    body = random.Random(1).randbytes(1_000_000)
    parked.park(DEMO, event(body=body))
    parked.park(DEMO, event(2))
    assert len(tables.dump(tables.records)) > 3
    first, second = parked.all(DEMO)
    assert (first.body, second.body) == (body, b"{}")


def test_an_event_whose_parts_are_not_all_there_is_not_shown(
    parked: Parked, tables: Tables
) -> None:
    parked.park(DEMO, event(body=random.Random(1).randbytes(500_000)))
    first, *_ = tables.dump(tables.records)
    tables.records.delete(first["pk"]["S"], first["sk"]["S"])
    assert [*parked.all(DEMO)] == []


def test_an_event_that_was_applied_after_all_is_forgotten(parked: Parked, tables: Tables) -> None:
    parked.park(DEMO, event(body=random.Random(1).randbytes(500_000)))
    parked.park(DEMO, event(2))
    parked.remove(DEMO, event())
    assert [one.event_id for one in parked.all(DEMO)] == ["evt_2"]
