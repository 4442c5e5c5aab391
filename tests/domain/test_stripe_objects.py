"""Stripe's objects of either shape, as the data we keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.domain import stripe_objects as of
from shared.domain.telegram import is_chat_id
from standins.stripe import OLDEST, StripeAccount, StripeStandin, shape

START = 1_790_000_000
DAY = 86_400


@pytest.fixture
def standin() -> StripeStandin:
    return StripeStandin(now=START)


@pytest.fixture
def shop(standin: StripeStandin) -> StripeAccount:
    return standin.live


def subscription(**more: Any) -> dict[str, Any]:
    items = [
        {"current_period_end": START + 30 * DAY, "price": {"product": "prod_1"}},
        {"current_period_end": START + 7 * DAY, "price": {"product": {"id": "prod_2"}}},
    ]
    return {
        "id": "sub_1",
        "status": "active",
        "created": START,
        "items": {"data": items},
        "livemode": True,
        **more,
    }


@pytest.mark.parametrize(
    ("kind", "normalise"),
    [
        ("subscription", of.subscription),
        ("charge", of.charge),
        ("charge", of.charge_of_purchase),
        ("payment_intent", of.payment_intent),
        ("invoice", of.invoice),
        ("credit_note", of.credit_note),
    ],
)
def test_both_shapes_of_an_object_say_the_same(
    standin: StripeStandin, shop: StripeAccount, kind: str, normalise: Callable[[Any], Any]
) -> None:
    bought = shop.subscribe(telegram_user_id=700001, trial_days=3)
    standin.advance(4 * DAY)
    shop.renew(bought["id"])
    shop.portal_cancel(bought["id"])
    shop.buy_one_off(outcome="authorized", telegram_user_id=700001)
    shop.credit_note(bought["id"])
    found = list(shop.all(kind))
    assert found
    for raw in found:
        assert normalise(shape(raw, OLDEST)) == normalise(shape(raw))


def test_a_period_ends_when_the_earliest_of_its_items_does() -> None:
    assert of.subscription(subscription())["current_period_end"] == START + 7 * DAY


def test_an_old_subscription_tells_its_period_itself() -> None:
    raw = subscription(current_period_end=START + 9 * DAY)
    for item in raw["items"]["data"]:
        del item["current_period_end"]
    assert of.subscription(raw)["current_period_end"] == START + 9 * DAY


def test_products_come_from_all_items_expanded_or_not_and_from_plans() -> None:
    raw = subscription()
    raw["items"]["data"].append({"plan": {"product": "prod_3"}})
    raw["items"]["data"].append({"price": {"product": "prod_1"}})
    assert of.subscription(raw)["products"] == ["prod_1", "prod_2", "prod_3"]


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ({}, None),
        ({"cancel_at_period_end": True}, START + 7 * DAY),
        ({"cancel_at": START + 99, "cancel_at_period_end": False}, START + 99),
        ({"cancel_at": START + 99, "cancel_at_period_end": True}, START + 99),
        ({"cancel_at": None, "cancel_at_period_end": False}, None),
    ],
)
def test_scheduled_to_end_is_either_the_flag_or_the_date(
    said: dict[str, Any], ends: int | None
) -> None:
    assert of.subscription(subscription(**said))["cancel_at"] == ends


def test_a_paused_collection_leaves_a_subscription_active(shop: StripeAccount) -> None:
    bought = shop.subscribe()
    shop.pause_collection(bought["id"])
    assert of.subscription(shape(shop.get("subscription", bought["id"])))["status"] == "active"


def test_the_subscriptions_own_method_comes_before_its_source() -> None:
    both = subscription(default_payment_method={"id": "pm_1"}, default_source="card_1")
    assert of.subscription(both)["payment_method"] == "pm_1"
    assert of.subscription(subscription(default_source="card_1"))["payment_method"] == "card_1"


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("700001", "700001"),
        (" 700001 ", "700001"),
        ("@jane", None),
        ("-100123", None),
        ("0", None),
        ("07", None),
        ("12e3", None),
        ("", None),
        ("9" * 17, None),
        ("٣", None),
    ],
)
def test_a_telegram_user_is_a_number_or_nobody(text: str, user: str | None) -> None:
    data = of.subscription(subscription(metadata={"telegram_user_id": text}))
    assert data["telegram_user_id"] == user
    assert of.users_of(data) == ({user} if user else set())


def test_chats_are_separated_by_commas_or_blanks_and_kept_as_they_were_given() -> None:
    text = "-1001, @channel,-1002 ,,1003 -1001\t-0100\nhttps://t.me/x"
    assert of.chat_ids(text) == ["-1001", "@channel", "-1002", "1003", "-0100", "https://t.me/x"]
    assert of.chat_ids(None) == []


def test_a_code_has_its_term_in_the_metadata_of_its_session() -> None:
    session = of.session(code_session("2026-09-21T14:13:20Z"))
    assert session["access_expires_at"] == START
    assert "expiry_not_understood" not in session


def test_a_slip_in_a_codes_date_is_told_and_is_not_for_life() -> None:
    session = of.session(code_session("next week"))
    assert session["access_expires_at"] is None
    assert session["expiry_not_understood"] == "next week"


def code_session(expires_at: str | None, status: str = "no_payment_required") -> dict[str, Any]:
    return {
        "id": "cs_1",
        "mode": "payment",
        "payment_status": status,
        "created": START,
        "livemode": True,
        "metadata": {"access_code": "ABC", "access_expires_at": expires_at},
    }


def test_a_code_counts_only_where_nothing_had_to_be_paid() -> None:
    assert of.session(code_session(None))["access_code"] == "ABC"
    assert of.session(code_session(None, "paid"))["access_code"] is None


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"captured": True}, "succeeded"),
        ({}, "succeeded"),
        ({"captured": False}, "pending"),
        ({"captured": False, "refunded": True}, "pending"),
        ({"captured": True, "refunded": True}, "succeeded"),
        ({"status": "failed", "captured": False}, "failed"),
    ],
)
def test_an_authorisation_is_not_a_payment_yet(more: dict[str, Any], status: str) -> None:
    raw = {"id": "ch_1", "status": "succeeded", "created": START, "livemode": True, **more}
    assert of.charge_of_purchase(raw)["status"] == status


@pytest.mark.parametrize(
    ("more", "is_released"),
    [
        ({}, False),
        ({"captured": True, "refunded": True}, False),
        ({"captured": False, "refunded": False}, False),
        ({"captured": False, "refunded": True}, True),
    ],
)
def test_an_authorisation_that_was_refunded_is_released(
    more: dict[str, Any], is_released: bool
) -> None:
    assert of.is_released(more) == is_released


@pytest.mark.parametrize(
    ("more", "payments"),
    [
        ({}, []),
        ({"payment_intent": "pi_1", "charge": "ch_1"}, ["pi_1"]),
        ({"payment_intent": None, "charge": "ch_1"}, ["ch_1"]),
        ({"payments": {"data": [{"payment": {"payment_intent": {"id": "pi_1"}}}]}}, ["pi_1"]),
        ({"payments": {"data": [{"payment": {"type": "charge", "charge": "py_1"}}]}}, ["py_1"]),
    ],
)
def test_an_invoice_names_what_paid_it(more: dict[str, Any], payments: list[str]) -> None:
    assert of.payments_of_invoice({"id": "in_1", **more}) == payments


def test_a_partly_captured_charge_is_worth_what_was_captured(shop: StripeAccount) -> None:
    raw = {
        "id": "ch_1",
        "status": "succeeded",
        "created": START,
        "livemode": True,
        "currency": "usd",
        "amount": 1500,
        "amount_captured": 1200,
        "captured": True,
    }
    assert of.charge(raw)["amount"] == 1200
    assert of.charge({**raw, "status": "pending", "amount_captured": 0})["amount"] == 1500


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        ("pending", True),
        ("requires_action", True),
        ("succeeded", True),
        ("failed", False),
        ("canceled", False),
    ],
)
def test_refunds_that_failed_or_were_cancelled_do_not_count(status: str, counted: bool) -> None:
    raw = {"amount": 5, "status": status, "created": START}
    assert of.refund_of_charge(raw)["counted"] is counted


def test_funds_are_withdrawn_until_they_come_back(shop: StripeAccount) -> None:
    made = shop.dispute(shop.buy_one_off()["id"])["id"]
    raw = shape(shop.get("dispute", made))
    assert of.dispute(raw)["withdrawn"] is True
    assert [fee["amount"] for fee in of.dispute_fees(raw)] == [1500]
    shop.close_dispute(made, won=True)
    assert of.dispute(shape(shop.get("dispute", made)))["withdrawn"] is False


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (
            {"object": "card", "brand": "American Express", "last4": "0005", "exp_year": 2030},
            ("card", "amex", "0005"),
        ),
        ({"object": "bank_account", "last4": "6789"}, ("bank_account", None, "6789")),
        (
            {"object": "source", "type": "sepa_debit", "sepa_debit": {"last4": "3000"}},
            ("sepa_debit", None, "3000"),
        ),
        ({"object": "alipay_account"}, ("alipay_account", None, None)),
    ],
)
def test_legacy_sources_are_payment_methods_too(raw: dict[str, Any], shown: Any) -> None:
    data = of.legacy_source({"id": "src_1", **raw}, livemode=True)
    assert (data["type"], data["brand"], data["last4"]) == shown


def test_previous_attributes_lie_over_the_object_hash_by_hash() -> None:
    raw: dict[str, Any] = {
        "metadata": {"a": "new", "b": "kept"},
        "items": [1],
        "status": "active",
    }
    previous = {"metadata": {"a": "old", "c": None}, "items": [0], "status": None}
    assert of.before(raw, previous) == {
        "metadata": {"a": "old", "b": "kept", "c": None},
        "items": [0],
        "status": None,
    }
    assert of.before(raw, None) is None
    assert raw["metadata"]["a"] == "new"


def test_somebody_who_says_nothing_is_no_guest() -> None:
    assert of.payer({"name": None, "email": ""}, START) is None
    assert of.payer(None, START) is None
    assert of.payer({"email": "a@b.c"}, START) == {
        "name": None,
        "email": "a@b.c",
        "created_at": START,
    }


@pytest.mark.parametrize(
    ("more", "before", "since"),
    [
        ({}, 0, 0),
        ({"amount_refunded": 500}, 500, 500),
        ({"amount_refunded": 300, "amount_captured": 1200}, 0, 300),
        ({"amount_refunded": 700, "amount_captured": 1200}, 400, 700),
        ({"amount_refunded": 1500, "captured": False, "refunded": True}, 0, 0),
    ],
)
def test_what_was_never_collected_is_not_given_back(
    more: dict[str, Any], before: int, since: int
) -> None:
    """Before API version 2025-03-31 Stripe counted it as refunded."""
    charge = {
        "object": "charge",
        "amount": 1500,
        "amount_captured": 1500,
        "captured": True,
        "status": "succeeded",
        **more,
    }
    assert of.given_back(of.since_2025(charge, "2025-02-24.acacia")) == before
    for version in ("2025-03-31.basil", "2026-10-28.endive", None):
        assert of.given_back(of.since_2025(charge, version)) == since


def test_a_product_names_a_hundred_chats_at_most_and_a_cut_makes_no_valid_id() -> None:
    many = of.chat_ids(",".join(f"-{number}" for number in range(1, 301)))
    assert many == [f"-{number}" for number in range(1, 101)]
    (cut,) = of.chat_ids("-" + "1" * 500)
    assert len(cut) == of.LONGEST_CHAT_ID
    assert not is_chat_id(cut)
