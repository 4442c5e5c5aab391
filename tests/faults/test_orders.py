"""See :mod:`tests.faults.orders`."""

from __future__ import annotations

import os

import pytest

from tests.faults.orders import STORIES, Examiner, Story
from tests.faults.replay import Replay
from tests.telling import Tell

SAMPLE = None if "FAULTS_LONG" in os.environ else 24


@pytest.mark.parametrize("story", STORIES, ids=[story.name for story in STORIES])
def test_in_any_order_the_same_people_leave_and_the_same_is_told(
    story: Story, tell: Tell, replay: Replay
) -> None:
    examiner = Examiner.of(story)
    is_replay = replay.run is not None
    tried = [examiner.replay(replay.run)] if is_replay else list(examiner.failures(SAMPLE))
    tell(f"{story.name}: {len(tried)} orders")
    replay.judge([found for found in tried if found is not None], examiner.shrunk)
