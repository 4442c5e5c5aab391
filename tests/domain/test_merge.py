from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.domain import merge
from shared.domain.merge import CLOCK_SKEW_SECONDS, Fetched, Observation, Source, Verdict
from tests.builders import NOW, observation


def seen(status: str, at: int, event: str, **more: Any) -> Observation:
    return observation({"status": status}, created_at=at, event_id=event, **more)


def after(*observations: Observation) -> Source:
    stored: Source | None = None
    for each in observations:
        assert merge.decide(stored, each) is Verdict.APPLY
        stored = merge.applied(stored, each)
    assert stored is not None
    return stored


def test_the_first_word_on_an_object_is_taken() -> None:
    assert merge.decide(None, seen("active", NOW, "evt_1")) is Verdict.APPLY


def test_an_older_event_never_overwrites_a_newer_one() -> None:
    stored = after(seen("active", NOW, "evt_2"))
    assert merge.decide(stored, seen("incomplete", NOW - 1, "evt_1")) is Verdict.DROP


def test_an_event_is_applied_once() -> None:
    stored = after(seen("incomplete", NOW, "evt_1", rank=0), seen("active", NOW, "evt_2"))
    assert merge.decide(stored, seen("incomplete", NOW, "evt_1", rank=0)) is Verdict.DROP
    assert merge.decide(stored, seen("active", NOW, "evt_2")) is Verdict.DROP


def test_within_one_second_the_created_event_is_the_oldest() -> None:
    stored = after(seen("active", NOW, "evt_2"))
    assert merge.decide(stored, seen("incomplete", NOW, "evt_1", rank=0)) is Verdict.DROP


def test_within_one_second_the_event_that_continues_what_is_stored_is_newer() -> None:
    stored = after(seen("incomplete", NOW, "evt_1"))
    update = seen("active", NOW, "evt_2", previous={"status": "incomplete"})
    assert merge.decide(stored, update) is Verdict.APPLY


def test_within_one_second_the_event_that_what_is_stored_continues_is_older() -> None:
    stored = after(seen("past_due", NOW, "evt_3", previous={"status": "active"}))
    update = seen("active", NOW, "evt_2", previous={"status": "incomplete"})
    assert merge.decide(stored, update) is Verdict.DROP


def test_within_one_second_what_neither_continues_the_other_is_asked_of_stripe() -> None:
    stored = after(seen("unpaid", NOW, "evt_3", previous={"status": "past_due"}))
    update = seen("active", NOW, "evt_1", previous={"status": "incomplete"})
    assert merge.decide(stored, update) is Verdict.FETCH


def test_a_change_of_what_ended_in_the_same_second_is_told_from_one_before() -> None:
    ended = seen("canceled, 1", NOW, "evt_1", rank=2, terminal=True)
    linked = seen("canceled, 2", NOW, "evt_2", terminal=True, previous={"status": "canceled, 1"})
    assert merge.decide(after(ended), linked) is Verdict.APPLY
    assert merge.decide(after(linked), ended) is Verdict.DROP


def test_there_and_back_within_one_second_is_asked_of_stripe() -> None:
    there = seen("paused", NOW, "evt_1", previous={"status": "active"})
    back = seen("active", NOW, "evt_2", previous={"status": "paused"})
    assert merge.decide(after(back), there) is Verdict.FETCH


def test_a_terminal_state_absorbs_whatever_comes_later() -> None:
    stored = after(seen("canceled", NOW, "evt_9", terminal=True))
    assert merge.decide(stored, seen("active", NOW + 100, "evt_10")) is Verdict.DROP


def test_a_terminal_state_wins_over_a_newer_event() -> None:
    stored = after(seen("active", NOW + 100, "evt_10"))
    assert merge.decide(stored, seen("canceled", NOW, "evt_9", terminal=True)) is Verdict.APPLY


def fetched(status: str, *, because: Observation | None, at: int = NOW + 50) -> Fetched:
    return Fetched("subscription", {"status": status}, at, because=because)


def test_after_a_fetch_an_event_from_before_it_that_differs_is_asked_again() -> None:
    update = seen("active", NOW, "evt_1")
    stored = merge.refreshed(None, fetched("unpaid", because=update))
    assert stored is not None
    assert merge.decide(stored, seen("past_due", NOW + 20, "evt_2")) is Verdict.FETCH
    assert merge.decide(stored, seen("unpaid", NOW + 20, "evt_3")) is Verdict.DROP


def test_after_a_fetch_a_clearly_newer_event_is_trusted_again() -> None:
    stored = merge.refreshed(None, fetched("unpaid", because=seen("active", NOW, "evt_1")))
    later = NOW + 50 + CLOCK_SKEW_SECONDS + 1
    assert stored is not None
    assert merge.decide(stored, seen("active", later, "evt_2")) is Verdict.APPLY


def test_a_fetch_never_overwrites_what_an_event_said_after_it() -> None:
    stored = after(seen("active", NOW + 500, "evt_1"))
    assert merge.refreshed(stored, fetched("past_due", because=None)) is None


def test_a_fetch_that_brings_nothing_new_changes_nothing() -> None:
    stored = after(seen("active", NOW, "evt_1"))
    assert merge.refreshed(stored, fetched("active", because=None)) is None


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=6))
def test_a_chain_of_updates_ends_in_its_last_state_in_any_order(
    order: list[int], again: list[int]
) -> None:
    states = ["incomplete", "active", "past_due", "unpaid", "active", "past_due", "paused"]
    events = [
        seen(
            f"{states[i + 1]}{i + 1}",
            NOW + i // 3,
            f"evt_{i}",
            previous={"status": f"{states[i]}{i}"},
        )
        for i in range(6)
    ]
    stored: Source | None = None
    for index in [*order, *again]:
        event = events[index]
        verdict = merge.decide(stored, event)
        if verdict is Verdict.APPLY:
            stored = merge.applied(stored, event)
        elif verdict is Verdict.FETCH:
            answer = Fetched("subscription", events[-1].data, NOW + 100, because=event)
            stored = merge.refreshed(stored, answer) or stored
    assert stored is not None
    assert stored.data == events[-1].data
    assert stored.version == events[-1].created_at
