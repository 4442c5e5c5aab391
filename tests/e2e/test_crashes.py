"""``kill -9`` of every process in turn, then of all of it: nothing is lost, and what was pending
still happens."""

from __future__ import annotations

import time
from typing import Any

from local.stack import Options, Stack
from tests.e2e.test_store import DAY, Store, subscribe, until
from tests.stacks import StartStack

# Long enough for five restarts and one whole start, before the period ends.
LATER = 120


def test_whatever_is_killed_data_stays_and_period_ends_still_happen(
    start_stack: StartStack,
) -> None:
    stack = start_stack()
    store = Store(stack)
    args = {"name": "Signals", "telegram_chat_ids": "-1001900000001"}
    product = store.scenario({"do": "create_product", "args": args})[0]["id"]
    begun = int(time.time()) - DAY + LATER
    subscribe(store, product, name="Edsger", user=7200001, at=begun)
    status, _ = store.cancel(store.customer("edsger@example.com"), "period_end")
    assert status == 200
    before = store.customer("edsger@example.com")

    for name in ("dynoxide", "ministack", "stripe", "telegram", "front"):
        stack.kill(name)
        stack.wait_ready()
        assert store.customer("edsger@example.com") == before, name
    for child in stack.children.values():
        child.kill()
    stack.stop()

    with Stack(Options(data_dir=stack.data_dir, port=stack.port)) as again:
        store = Store(again)
        assert store.customer("edsger@example.com") == before

        def revoked() -> Any:
            (purchase,) = store.customer("edsger@example.com")["purchases"]
            return purchase["access"]["state"] == "revoked"

        until(revoked, LATER + 90)
        assert len(store.asked_telegram("unbanChatMember", 7200001)) == 1
