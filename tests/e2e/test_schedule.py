"""A schedule that really fires. It is made before the other tests of the stack and looked at after
them, so that nobody waits for it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.e2e.store import DAY, Store, subscribe, until

USER = 7100002
# A period that ends soon, and late enough to be scheduled.
SOON = 80


@pytest.fixture(scope="session")
def ending(store: Store, product: str) -> tuple[dict[str, Any], tuple[int, Any]]:
    """A subscription that was cancelled for the end of its period, and what was answered."""
    begun = int(time.time()) - DAY + SOON
    subscription = subscribe(store, product, name="Grace", user=USER, at=begun)
    return subscription, store.cancel(store.customer("grace@example.com"), "period_end")


def test_an_end_with_the_period_leaves_the_buyer_in_until_then(
    store: Store, ending: tuple[dict[str, Any], tuple[int, Any]]
) -> None:
    status, answer = ending[1]
    purchase = answer["purchase"]
    assert (status, answer["changed"], purchase["status"]) == (200, True, "active")
    assert purchase["cancel_at"] == purchase["current_period_end"]
    assert store.asked_telegram("unbanChatMember", USER) == []


@pytest.mark.turn(1)
def test_a_schedule_fires_at_the_periods_end_and_takes_the_buyer_out(
    store: Store, ending: tuple[dict[str, Any], tuple[int, Any]]
) -> None:
    subscription, _ = ending

    def over() -> Any:
        (shown,) = store.customer("grace@example.com")["purchases"]
        return shown if shown["access"]["state"] == "revoked" else None

    shown = until(over, SOON + 60)
    assert shown["status"] == "cancelled"
    assert shown["end_reason"] == "cancelled_by_owner"
    assert len(store.asked_telegram("unbanChatMember", USER)) == 1
    log = store.stack.data_dir / "logs" / "functions.log"
    until(
        lambda: any(
            "schedule fired" in line and subscription["id"] in line
            for line in log.read_text().splitlines()
        ),
        30,
    )
