"""One movement of money is one amount, however many objects tell it; what moved none is 0.

Variants: a credit note given to the balance, by a refund, outside of Stripe, before the invoice is
paid, and taken back; a balance that is changed by hand; a dispute at each of its stages.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.functions.shop import CHAT, USER, MovableClock, Shop
from tests.functions.test_who_leaves import Events, tell

ORDERS = ["forwards", "backwards", "twice"]


@pytest.fixture
def sold(shop: Shop) -> str:
    made = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    id_ = shop.stripe.live.subscribe(product=made, amount=2500, telegram_user_id=USER)["id"]
    shop.deliver()
    return str(id_)


def in_order(events: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    return {"forwards": events, "backwards": events[::-1], "twice": events * 2}[order]


def rows(shop: Shop) -> dict[str, dict[str, Any]]:
    """The transactions that are no charge, by Stripe's id."""
    items = shop.customer()["transactions"]["items"]
    return {row["provider_id"]: row for row in items if row["type"] != "charge"}


@pytest.mark.parametrize("order", ORDERS)
def test_a_credit_to_the_balance_is_told_once_with_its_amount(
    shop: Shop, sold: str, order: str
) -> None:
    since = Events(shop)
    note = shop.stripe.live.credit_note(sold, amount=500)
    tell(shop, in_order(since.new, order))
    found = rows(shop)
    (balance,) = (row for row in found.values() if row["provider_id"] != note["id"])
    assert set(found) == {note["id"], note["customer_balance_transaction"]}
    assert (balance["type"], balance["amount"]) == ("adjustment", -500)
    assert balance["related_transaction_id"] is None
    credit = found[note["id"]]
    assert (credit["type"], credit["amount"]) == ("adjustment", 0)
    assert credit["related_transaction_id"] == balance["transaction_id"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("to", "amounts"),
    [("refund", [-500, 0]), ("out_of_band", [-500]), ("customer_balance", [-500, 0])],
)
def test_however_a_credit_was_given_it_counts_once(
    shop: Shop, sold: str, to: str, amounts: list[int], order: str
) -> None:
    since = Events(shop)
    shop.stripe.live.credit_note(sold, amount=500, to=to)
    tell(shop, in_order(since.new, order))
    assert sorted(row["amount"] for row in rows(shop).values()) == amounts


@pytest.mark.parametrize("order", ORDERS)
def test_a_credit_and_a_change_by_hand_of_the_same_amount_are_two(
    shop: Shop, sold: str, order: str
) -> None:
    since = Events(shop)
    customer = shop.stripe.live.get("subscription", sold)["customer"]
    shop.stripe.live.credit_note(sold, amount=500)
    shop.stripe.live.adjust_balance(customer, amount=-500)
    tell(shop, in_order(since.new, order))
    assert sorted(row["amount"] for row in rows(shop).values()) == [-500, -500, 0]


def disputed(shop: Shop) -> tuple[str, int]:
    """Status and amount of the only dispute."""
    (row,) = (r for r in rows(shop).values() if r["type"] == "dispute" and r["status"] != "fee")
    return row["status"], row["amount"]


@pytest.mark.parametrize("order", ORDERS)
def test_a_banks_inquiry_moves_nothing(
    shop: Shop, clock: MovableClock, sold: str, order: str
) -> None:
    charge = shop.customer()["transactions"]["items"][0]
    assert (charge["type"], charge["amount"]) == ("charge", 2500)
    since = Events(shop)
    dispute = shop.stripe.live.dispute(charge["provider_id"], inquiry=True)
    assert (dispute["status"], dispute["balance_transactions"]) == ("warning_needs_response", [])
    tell(shop, in_order(since.new, order))
    assert disputed(shop) == ("warning_needs_response", 0)
    clock.later(60)
    shop.stripe.live.update_dispute(dispute["id"])
    shop.deliver()
    assert disputed(shop) == ("warning_under_review", 0)
    clock.later(60)
    shop.stripe.live.close_dispute(dispute["id"])
    shop.deliver()
    assert disputed(shop) == ("warning_closed", 0)


@pytest.mark.parametrize(("won", "amount"), [(True, 0), (False, -2500)])
def test_a_dispute_takes_its_amount_while_the_money_is_gone(
    shop: Shop, clock: MovableClock, sold: str, won: bool, amount: int
) -> None:
    charge = shop.customer()["transactions"]["items"][0]["provider_id"]
    dispute = shop.stripe.live.dispute(charge)
    shop.deliver()
    assert disputed(shop) == ("needs_response", -2500)
    clock.later(60)
    shop.stripe.live.close_dispute(dispute["id"], won=won)
    shop.deliver()
    assert disputed(shop) == ("won" if won else "lost", amount)
