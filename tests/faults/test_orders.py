"""See :mod:`tests.faults.orders`."""

from __future__ import annotations

import os

import pytest

from tests.faults.orders import STORIES, Story, failures, told_in
from tests.telling import Tell

SAMPLE = None if "FAULTS_LONG" in os.environ else 24


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_in_any_order_the_same_people_leave_and_the_same_is_told(story: Story, tell: Tell) -> None:
    wanted = told_in(story)
    assert wanted.violations == []
    assert wanted.members == story.stay
    tried = list(failures(story, SAMPLE, wanted))
    failed = [failure for failure in tried if failure is not None]
    tell(f"{story.name}: {len(tried)} orders")
    assert not failed, f"{len(failed)} of {len(tried)}: {failed[0]}, wanted {wanted}"
