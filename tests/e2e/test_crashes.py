"""``kill -9`` of every process in turn, then of all of it: nothing is lost, and what was pending
still happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.stack import Options, Stack
from tests.e2e.store import DAY, Store, subscribe, until

USER = 7200001
# Long enough for five restarts and one whole start, before the period ends.
LATER = 130


@dataclass
class Killed:
    """A stack all of whose processes were killed.

    Attributes:
        before: the customer as it was shown before the first of them was killed.
        after: process → the customer as it was shown once it was back.
        store: the store in the stack that was started anew on the same data.
    """

    before: dict[str, Any]
    after: dict[str, dict[str, Any]]
    store: Store


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    with Stack(Options(data_dir=tmp_path_factory.mktemp("killed"), port=0)) as stack:
        store = Store(stack)
        args = {"name": "Signals", "telegram_chat_ids": "-1001900000001"}
        product = store.scenario({"do": "create_product", "args": args})[0]["id"]
        begun = int(time.time()) - DAY + LATER
        subscribe(store, product, name="Edsger", user=USER, at=begun)
        status, _ = store.cancel(store.customer("edsger@example.com"), "period_end")
        assert status == 200
        stack.sweep()  # the bot looks at the chat, whose title is shown from then on
        before, after = store.customer("edsger@example.com"), {}
        for name in ("dynoxide", "ministack", "stripe", "telegram", "front"):
            stack.kill(name)
            stack.wait_ready()
            after[name] = store.customer("edsger@example.com")
        for child in stack.children.values():
            child.kill()
    with Stack(Options(data_dir=stack.data_dir, port=stack.port)) as again:
        store = Store(again)
        after["all of them"] = store.customer("edsger@example.com")
        yield Killed(before, after, store)


def test_whatever_is_killed_data_stays(killed: Killed) -> None:
    for name, shown in killed.after.items():
        assert shown == killed.before, name


@pytest.mark.turn(3)  # by then the period may be over, and nobody has to wait
def test_period_ends_still_happen_after_everything_was_killed(killed: Killed) -> None:
    def revoked() -> Any:
        (purchase,) = killed.store.customer("edsger@example.com")["purchases"]
        return purchase["access"]["state"] == "revoked"

    until(revoked, LATER + 90)
    assert len(killed.store.asked_telegram("unbanChatMember", USER)) == 1
