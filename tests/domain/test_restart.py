"""Removals that are tried again by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain import steps
from shared.domain.purchase import Own, Purchase, Removal
from shared.domain.telegram import MAY_END, NO_ADMINISTRATOR, USER_IS_OWNER
from tests.builders import NOW, a_subscription

CHAT, USER = "-1001", "700001"


def failed(reason: str = NO_ADMINISTRATOR, **more: object) -> Purchase:
    removal = Removal(CHAT, USER, "failed", reason=reason, finished_at=NOW, since=NOW)
    removal = replace(removal, **more)  # type: ignore[arg-type]
    return a_subscription(status="canceled", ended_at=NOW, own=Own(removals={removal.key: removal}))


@pytest.mark.parametrize("reason", sorted(MAY_END))
def test_what_failed_for_what_may_end_is_due_at_once(reason: str) -> None:
    own = steps.restart(failed(reason), {CHAT}, now=NOW)
    assert own is not None
    (removal,) = own.removals.values()
    assert (removal.state, removal.next_attempt_at, removal.reason) == ("revoking", NOW, None)
    (entry,) = own.audit
    assert (entry.actor, entry.event, entry.chat_id) == ("system", "removal_restarted", CHAT)


def test_what_only_the_owner_can_mend_waits_for_the_owner() -> None:
    assert steps.restart(failed(USER_IS_OWNER), {CHAT}, now=NOW) is None


def test_another_chat_is_left_alone() -> None:
    assert steps.restart(failed(), {"-1002"}, now=NOW) is None


def test_who_was_left_in_by_the_owner_is_left_alone() -> None:
    left = failed(state="kept", reason="left_by_owner")
    assert steps.restart(left, {CHAT}, now=NOW) is None


def test_a_removal_that_fails_in_spite_of_all_rights_is_tried_less_and_less_often() -> None:
    purchase, tried = failed(), []
    for minute in range(24 * 60):
        now = NOW + 60 * minute
        own = steps.restart(purchase, {CHAT}, now=now)
        if own is not None:
            tried.append(minute)
            (removal,) = own.removals.values()
            purchase = failed(restarts=removal.restarts, finished_at=now)
    assert tried[:5] == [0, 1, 3, 7, 15]
    assert len(tried) == 11
