"""Rows of money."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shared.domain.merge import Source
from shared.domain.transaction import Transaction, transaction_id_of, view

CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "amount": 1000,
    "currency": "eur",
    "status": "succeeded",
    "captured": True,
    "created_at": 1_790_000_000,
    "description": "Signals",
    "failure": None,
    "payment_intent": "pi_1",
    "method": None,
    "livemode": True,
}
DISPUTE: dict[str, Any] = {
    "id": "du_1",
    "amount": 1000,
    "currency": "eur",
    "status": "needs_response",
    "created_at": 1_790_000_000,
    "reason": "product_not_received",
    "charge": "ch_1",
    "payment_intent": "pi_1",
    "withdrawn": True,
    "livemode": True,
}


def row(**sources: dict[str, Any]) -> Transaction:
    found = view({name: Source(data, 1) for name, data in sources.items()})
    assert found is not None
    return found


def refund(amount: int, *, counted: bool = True) -> dict[str, Any]:
    return {"amount": amount, "counted": counted}


def test_a_public_id_is_twelve_letters_and_digits_and_always_the_same() -> None:
    ids = {transaction_id_of(f"ch_{number}") for number in range(2000)}
    assert len(ids) == 2000
    assert all(re.fullmatch(r"[A-Z0-9]{12}", id_) for id_ in ids)
    assert transaction_id_of("ch_1") == transaction_id_of("ch_1") == "EABG30HRMFII"


@pytest.mark.parametrize(
    ("refunds", "refunded"),
    [
        ({}, "no"),
        ({"re_1": refund(400)}, "partly"),
        ({"re_1": refund(400), "re_2": refund(600)}, "fully"),
        ({"re_1": refund(400), "pyr_2": refund(600)}, "fully"),
        ({"re_1": refund(1000)}, "fully"),
        ({"re_1": refund(1000, counted=False)}, "no"),
        ({"re_1": refund(400), "re_2": refund(600, counted=False)}, "partly"),
    ],
)
def test_a_charge_tells_how_much_of_it_was_given_back(
    refunds: dict[str, dict[str, Any]], refunded: str
) -> None:
    assert row(charge=CHARGE, **refunds).refunded == refunded


@pytest.mark.parametrize(
    ("totals", "refunds", "refunded"),
    [
        ([400], {}, "partly"),
        ([400, 1000], {}, "fully"),
        ([400], {"re_1": refund(400)}, "partly"),
        ([400], {"re_1": refund(1000)}, "fully"),
        ([1000], {"re_1": refund(400)}, "fully"),
        ([400], {"re_1": refund(400, counted=False)}, "no"),
        ([400, 1000], {"re_1": refund(400, counted=False)}, "partly"),
    ],
)
def test_a_charge_whose_refunds_nobody_told_of_says_so_itself(
    totals: list[int], refunds: dict[str, dict[str, Any]], refunded: str
) -> None:
    told = {f"total_{amount}": {"amount": amount} for amount in totals}
    assert row(charge=CHARGE, **refunds, **told).refunded == refunded


def test_refunds_of_a_charge_nobody_told_of_are_no_row() -> None:
    assert view({"re_1": Source(refund(5), 1)}) is None


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, "succeeded"),
        ({"captured": False}, "uncaptured"),
        ({"status": "failed", "captured": False}, "failed"),
        ({"status": "pending"}, "pending"),
    ],
)
def test_a_charge_tells_whether_money_came_in(more: dict[str, Any], status: str) -> None:
    assert row(charge={**CHARGE, **more}).status == status


def test_an_authorisation_that_ended_without_a_capture_is_released() -> None:
    uncaptured = {**CHARGE, "captured": False}
    assert row(charge=uncaptured, released={"id": "ch_1"}).status == "released"


def test_a_refund_is_below_zero_and_names_its_charge() -> None:
    data = {
        "id": "re_1",
        "amount": 400,
        "currency": "eur",
        "status": "succeeded",
        "created_at": 1_790_000_000,
        "reason": "requested_by_customer",
        "charge": "ch_1",
        "payment_intent": "pi_1",
    }
    shown = row(refund=data)
    assert (shown.type, shown.amount, shown.refunded) == ("refund", -400, "no")
    assert shown.related_transaction_id == transaction_id_of("ch_1")
    assert shown.description == "requested by customer"


@pytest.mark.parametrize(
    ("status", "withdrawn", "amount", "begins"),
    [
        ("needs_response", True, -1000, "Dispute"),
        ("under_review", True, -1000, "Dispute"),
        ("lost", True, -1000, "Lost dispute"),
        ("lost", False, -1000, "Lost dispute"),
        ("needs_response", False, 0, "Dispute"),
        ("under_review", False, 0, "Dispute"),
        ("won", True, 0, "Won dispute"),
        ("won", False, 0, "Won dispute"),
        ("prevented", False, 0, "Dispute"),
        ("warning_needs_response", False, 0, "Dispute"),
        ("warning_under_review", False, 0, "Dispute"),
        ("warning_closed", False, 0, "Dispute"),
    ],
)
def test_a_dispute_is_below_zero_while_the_money_is_gone_and_else_nothing(
    status: str, withdrawn: bool, amount: int, begins: str
) -> None:
    shown = row(dispute={**DISPUTE, "status": status, "withdrawn": withdrawn})
    assert (shown.type, shown.status, shown.amount) == ("dispute", status, amount)
    assert shown.description == f"{begins}: product not received"


def test_a_dispute_fee_is_a_row_of_its_own_that_names_its_dispute() -> None:
    fee = {
        "id": "txn_1",
        "amount": 1500,
        "currency": "eur",
        "created_at": 1_790_000_000,
        "dispute": "du_1",
        "charge": "ch_1",
        "payment_intent": "pi_1",
    }
    shown = row(fee=fee)
    assert (shown.type, shown.status, shown.amount) == ("dispute", "fee", -1500)
    assert shown.related_transaction_id == transaction_id_of("du_1")
    assert row(fee={**fee, "amount": -1500}).amount == 1500


def test_adjustments_are_credit_notes_and_changes_of_the_balance() -> None:
    note = {
        "id": "cn_1",
        "amount": 300,
        "currency": "eur",
        "status": "issued",
        "created_at": 1_790_000_000,
        "reason": "order_change",
        "description": None,
        "invoice": "in_1",
        "livemode": True,
    }
    shown = row(credit_note=note)
    assert (shown.type, shown.status, shown.amount) == ("adjustment", "issued", -300)
    assert (shown.invoice, shown.description) == ("in_1", "order change")
    assert row(credit_note={**note, "status": "void"}).status == "void"
    balance = {
        "id": "cbtxn_1",
        "amount": -500,
        "currency": "eur",
        "type": "adjustment",
        "created_at": 1_790_000_000,
        "description": None,
        "invoice": None,
        "livemode": True,
    }
    shown = row(balance=balance)
    assert (shown.type, shown.amount) == ("adjustment", -500)
    assert row(balance={**balance, "amount": 500}).amount == 500


def test_a_row_is_answered_with_every_field_of_the_api() -> None:
    assert row(charge=CHARGE, re_1=refund(400)).to_json("pi_1", "VIP", "https://x") == {
        "transaction_id": transaction_id_of("ch_1"),
        "type": "charge",
        "status": "succeeded",
        "amount": 1000,
        "currency": "eur",
        "created_at": "2026-09-21T14:13:20Z",
        "purchase_id": "pi_1",
        "product": "VIP",
        "related_transaction_id": None,
        "refunded": "partly",
        "description": "Signals",
        "provider_id": "ch_1",
        "provider_url": "https://x",
    }
