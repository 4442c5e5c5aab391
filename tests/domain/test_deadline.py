"""The time limits of one invocation."""

from __future__ import annotations

import math

import pytest

from shared.domain.deadline import Deadline, OutOfTime


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def deadline(time: Time) -> Deadline:
    made = Deadline(time.monotonic, time.sleep)
    made.start(act_within=8.0, begin_within=20.0)
    return made


def test_calls_may_begin_until_the_time_is_up(deadline: Deadline, time: Time) -> None:
    assert deadline.act_until == 108.0
    time.now += 19.5
    deadline.check()
    assert deadline.left() == 0.5
    time.now += 0.5
    with pytest.raises(OutOfTime) as refused:
        deadline.check()
    assert (refused.value.status, refused.value.code) == (503, "try_again_later")


def test_nothing_begins_after_a_call_that_timed_out(deadline: Deadline, time: Time) -> None:
    deadline.give_up()
    assert deadline.has_given_up
    assert deadline.left() == 0
    with pytest.raises(OutOfTime):
        deadline.check()


def test_the_next_independent_piece_of_work_may_begin_calls_again(
    deadline: Deadline, time: Time
) -> None:
    deadline.give_up()
    deadline.go_on()
    deadline.check()
    time.now += 20.0
    with pytest.raises(OutOfTime):
        deadline.check()


def test_a_lease_may_be_given_back_after_a_call_that_timed_out(deadline: Deadline) -> None:
    deadline.give_up()
    for _ in range(2):
        with deadline.giving_back():
            deadline.check()
        assert deadline.has_given_up


def test_nothing_more_is_given_back_once_that_timed_out_too(deadline: Deadline) -> None:
    deadline.give_up()
    with deadline.giving_back():
        deadline.give_up()
    with pytest.raises(OutOfTime), deadline.giving_back():
        raise AssertionError


def test_nothing_is_given_back_when_the_time_is_up(deadline: Deadline, time: Time) -> None:
    time.now += 20.0
    with pytest.raises(OutOfTime), deadline.giving_back():
        deadline.check()


def test_the_next_invocation_has_all_of_its_time_again(deadline: Deadline, time: Time) -> None:
    deadline.give_up()
    time.now += 60
    deadline.start(act_within=8.0, begin_within=20.0)
    deadline.check()
    assert (deadline.act_until, deadline.left()) == (168.0, 20.0)


def test_a_wait_ends_before_the_time_does_or_is_not_begun(deadline: Deadline, time: Time) -> None:
    deadline.sleep(19.0)
    assert time.now == 119.0
    with pytest.raises(OutOfTime):
        deadline.sleep(1.0)
    assert time.now == 119.0


def test_a_deadline_that_was_never_started_has_no_end(time: Time) -> None:
    """An operator's command may take hours, and goes on after a call that timed out."""
    deadline = Deadline(time.monotonic, time.sleep)
    deadline.give_up()
    time.now += 10**6
    deadline.check()
    assert deadline.left() == math.inf
