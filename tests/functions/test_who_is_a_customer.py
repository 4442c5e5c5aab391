"""Only who bought something is a customer."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.clock import parse_iso
from shared.domain.customer import customer_id_of
from standins.stripe import StripeStandin
from tests.functions.shop import CHAT, USER, Shop
from tests.functions.stories import Story
from tests.functions.webhook_world import STORE, World


def listed(shop: Shop) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = shop.get("/v1/customers")[1]["items"]
    return items


def status_of(shop: Shop, account: str) -> int:
    """What the page of an account's customer is answered with."""
    return shop.get(f"/v1/customers/{customer_id_of('demo', f'account:{account}')}")[0]


@pytest.fixture
def lead(shop: Shop) -> str:
    """Somebody who left an address."""
    made = shop.stripe.live.create_customer(name="Lead", email="lead@shop.example")
    shop.deliver()
    return str(made["id"])


def test_who_only_left_an_address_is_no_customer(shop: Shop, lead: str) -> None:
    assert listed(shop) == []
    assert status_of(shop, lead) == 404


def test_who_never_paid_the_first_invoice_is_no_customer(shop: Shop, lead: str, clock: Any) -> None:
    made = shop.stripe.live.subscribe(customer=lead, fails=True, telegram_user_id=USER)
    shop.deliver()
    assert listed(shop) == []
    clock.later(2 * 86_400)
    shop.stripe.run_due()
    shop.deliver()
    assert shop.stripe.live.get("subscription", made["id"])["status"] == "incomplete_expired"
    assert listed(shop) == []
    assert status_of(shop, lead) == 404


def test_a_lead_that_buys_is_a_customer_since_that_purchase(
    shop: Shop, lead: str, clock: Any
) -> None:
    clock.later(30 * 86_400)
    sold = shop.stripe.live.subscribe(customer=lead, telegram_user_id=USER)
    shop.deliver()
    (row,) = listed(shop)
    assert parse_iso(row["customer_since"]) == sold["created"]
    assert status_of(shop, lead) == 200


def test_a_failed_attempt_before_the_first_purchase_does_not_date_the_customer(
    shop: Shop, lead: str, clock: Any
) -> None:
    shop.stripe.live.subscribe(customer=lead, fails=True)
    clock.later(3 * 86_400)
    sold = shop.stripe.live.subscribe(customer=lead)
    shop.deliver()
    (row,) = listed(shop)
    assert parse_iso(row["customer_since"]) == sold["created"]


def test_a_payment_on_its_way_makes_a_customer_until_it_fails(shop: Shop) -> None:
    made = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
    session = shop.stripe.live.buy_one_off_async(product=made["id"])
    shop.deliver()
    assert len(listed(shop)) == 1
    shop.stripe.live.settle(session["id"], succeeded=False)
    shop.deliver()
    assert listed(shop) == []


def test_a_purchase_that_has_ended_still_makes_a_customer(shop: Shop, lead: str) -> None:
    sold = shop.stripe.live.subscribe(customer=lead)
    shop.stripe.live.cancel_subscription(sold["id"])
    shop.deliver()
    assert len(listed(shop)) == 1


def test_a_redeemed_code_makes_a_customer(shop: Shop) -> None:
    shop.stripe.live.redeem_access_code(access_code="ABCDEF123456")
    shop.deliver()
    (row,) = listed(shop)
    assert row["used_access_code"] is True


@pytest.mark.parametrize(
    ("story", "is_shown"),
    [
        (Story().customer().charge(), True),
        (Story().customer().charge(customer=None, payment_intent=None), False),
        (Story().customer().authorised().intent("canceled"), True),
        (Story().customer().charge("failed", status="failed", captured=False), False),
        (Story().customer().charge("pending", status="pending"), False),
        (Story().customer().charge().refund("re_1", 1000), True),
        (
            Story()
            .customer()
            .refund("re_1", 1000, charge=None, payment_intent=None, customer="cus_1"),
            True,
        ),
    ],
    ids=["paid", "of a guest", "released", "declined", "on its way", "refunded", "of a balance"],
)
def test_who_paid_for_something_else_is_listed_with_its_transactions(
    story: Story, is_shown: bool
) -> None:
    world = World(StripeStandin()).receive_all(story.events)
    assert (world.customers.of_account(STORE, "cus_1") is not None) == is_shown
