"""One buyer may have hundreds of guest checkouts and purchases, and thousands of payments: what a
page, an event and a cancel cost is bounded. ``python -m bench.buyer`` measures more of them."""

from __future__ import annotations

import json

import pytest

from shared.domain.customer import MOST_ATTEMPTS
from tests.functions import big_buyers
from tests.functions.shop import Shop

# Calls of the database, docs/bench/buyer.md.
MOST_FOR_A_PAGE = 12
MOST_FOR_AN_EVENT = 14
MOST_FOR_A_CANCEL = 40


@pytest.mark.parametrize(
    ("habit", "number"),
    [("guest checkouts", 200), ("purchases", 300), ("failed payments", 400), ("transactions", 600)],
)
def test_what_a_big_buyer_costs_is_bounded(shop: Shop, habit: str, number: int) -> None:
    big_buyers.fill(shop, habit, 0, number)
    cost = big_buyers.cost(shop, habit, number)
    assert cost.page <= MOST_FOR_A_PAGE
    assert cost.page_bytes < 1_000_000
    assert cost.event <= MOST_FOR_AN_EVENT
    assert cost.cancel <= MOST_FOR_A_CANCEL


def purchases_of(shop: Shop) -> tuple[list[str], list[int]]:
    """Ids of every purchase of the only customer, page by page, and how long each answer is."""
    customer_id = shop.customer()["customer"]["customer_id"]
    path = f"/v1/customers/{customer_id}"
    _, detail = shop.get(path)
    found, lengths = detail["purchases"], [len(json.dumps(detail, ensure_ascii=False).encode())]
    cursor = detail["purchases_next_cursor"]
    while cursor is not None:
        status, page = shop.get(f"{path}/purchases", [("cursor", cursor), ("limit", "100")])
        assert status == 200
        found += page["items"]
        lengths.append(len(json.dumps(page, ensure_ascii=False).encode()))
        cursor = page["next_cursor"]
    assert found == sorted(found, key=lambda p: p["purchased_at"], reverse=True)
    return [purchase["purchase_id"] for purchase in found], lengths


def test_every_purchase_is_on_one_page(shop: Shop) -> None:
    big_buyers.fill(shop, "purchases", 0, 230)
    found, lengths = purchases_of(shop)
    assert sorted(found) == [f"pi_{number:06d}" for number in range(230)]
    assert len(lengths) == 3


def test_a_page_of_long_purchases_ends_early(shop: Shop) -> None:
    big_buyers.fill(shop, "purchases", 0, 60, chats=100)
    found, lengths = purchases_of(shop)
    assert sorted(found) == [f"pi_{number:06d}" for number in range(60)]
    assert len(lengths) > 1
    assert max(lengths) < 1_000_000


def test_of_failed_attempts_the_newest_are_listed_and_none_takes_a_purchase_off(shop: Shop) -> None:
    big_buyers.fill(shop, "failed payments", 0, MOST_ATTEMPTS + 10)
    found, _ = purchases_of(shop)
    attempts = [f"pi_{number:06d}" for number in range(10, MOST_ATTEMPTS + 10)]
    assert sorted(found) == ["pi_000000", *attempts]


def test_a_cursor_of_purchases_is_of_no_other_list(shop: Shop) -> None:
    big_buyers.fill(shop, "purchases", 0, 101)
    detail = shop.customer()
    path = f"/v1/customers/{detail['customer']['customer_id']}"
    cursor = [("cursor", detail["purchases_next_cursor"])]
    assert shop.get(f"{path}/purchases", cursor)[0] == 200
    assert shop.get(f"{path}/transactions", cursor)[0] == 422
    assert (
        shop.get(f"{path}/purchases", [("cursor", detail["transactions"]["next_cursor"])])[0] == 422
    )
