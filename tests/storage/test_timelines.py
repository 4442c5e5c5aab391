"""What the store's own events say over time, whatever the order in which they come."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.history import facts
from shared.domain.merge import Observation
from shared.domain.purchase import Purchase
from shared.storage.keys import purchase_key
from shared.storage.records import Records
from shared.tenant import Tenant
from tests.builders import NOW, subscription_data
from tests.dynamo import memory_database

DEMO = Tenant("demo")
KEY = purchase_key(DEMO, "cus_1", "sub_1")


def subscription() -> Observation:
    data = {**subscription_data(), "telegram_user_id": None}
    return Observation("subscription", data, NOW - 100, "evt_created")


def links(users: list[str | None]) -> list[Observation]:
    """The store links, replaces and takes off accounts, some of them more than once."""
    return [
        Observation("link", {"telegram_user_id": user, "invite_links": {}}, NOW + n, f"bus-{n}")
        for n, user in enumerate(users)
    ]


def stored(observations: list[Observation]) -> Purchase:
    records = Records(memory_database().records)
    for seen in observations:
        user = seen.data.get("telegram_user_id")
        records.observe(
            KEY, seen, fetch=lambda: None, ids=frozenset() if user is None else frozenset({user})
        )
    record = records.get(KEY)
    assert record is not None
    return record.purchase


@given(
    st.lists(st.sampled_from(["51", "52", "53", None]), min_size=1, max_size=7),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_links_in_any_order_leave_the_same_accounts_and_the_same_facts(
    users: list[str | None], dice: random.Random
) -> None:
    observations = [subscription(), *links(users)]
    in_order = stored(observations)
    shuffled = observations + dice.choices(observations, k=3)
    dice.shuffle(shuffled)
    mixed = stored(shuffled)
    assert mixed.telegram_user_id == in_order.telegram_user_id == users[-1]
    assert mixed.lost == in_order.lost
    assert facts(mixed) == facts(in_order)


def test_an_account_that_comes_back_is_told_each_time() -> None:
    purchase = stored([subscription(), *links(["51", "52", "51", None])])
    told: list[Any] = [entry.event for entry in facts(purchase)]
    assert told == ["purchased", "linked", "relinked", "relinked", "unlinked"]
    assert replace(purchase).telegram_user_id is None
