"""The preview says what a cancel then does."""

from __future__ import annotations

from typing import Any

import pytest

from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.functions.shop import CHAT, OTHER_CHAT, USER, Shop
from tests.functions.test_get_customer import check


def preview_of(shop: Shop, purchase: dict[str, Any], customer_id: str) -> list[dict[str, Any]]:
    path = f"/v1/customers/{customer_id}/purchases/{purchase['purchase_id']}/cancel_preview"
    status, preview = shop.get(path)
    assert status == 200, preview
    check("CancelPreview", preview)
    options: list[dict[str, Any]] = preview["options"]
    return options


def preview(shop: Shop) -> dict[str, dict[str, Any]]:
    """The preview of the only purchase there is, by ``when``."""
    purchase = shop.purchase()
    customer_id = shop.customer()["customer"]["customer_id"]
    return {option["when"]: option for option in preview_of(shop, purchase, customer_id)}


@pytest.fixture
def product(shop: Shop) -> str:
    return str(shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"])


def test_a_subscriber_leaves_at_once_or_at_the_end_of_the_period(shop: Shop, product: str) -> None:
    shop.sell(product)
    options = preview(shop)
    leaves = [{"chat_id": str(CHAT), "title": None, "effect": "leaves", "because": None}]
    assert options["immediately"] == {
        "when": "immediately",
        "ends_at": None,
        "no_op": False,
        "charges": {
            "text_code": "no_further_charges",
            "open_invoice": None,
            "collection_continues": False,
        },
        "chats": leaves,
    }
    assert options["period_end"] == {
        "when": "period_end",
        "ends_at": shop.purchase()["current_period_end"],
        "no_op": False,
        "charges": {
            "text_code": "no_charges_after_period",
            "open_invoice": None,
            "collection_continues": False,
        },
        "chats": leaves,
    }


def test_a_preview_changes_nothing_and_asks_nobody(shop: Shop, product: str) -> None:
    shop.sell(product)
    shop.stripe.clear_requests()
    shop.telegram.forget_requests()
    before = shop.tables.dump(shop.tables.records)
    preview(shop)
    assert shop.tables.dump(shop.tables.records) == before
    assert (shop.asked_stripe(), shop.telegram.requests()) == ([], [])


def test_a_scheduled_end_makes_the_end_of_the_period_a_no_op(shop: Shop, product: str) -> None:
    shop.sell(product)
    shop.cancel("period_end")
    options = preview(shop)
    assert options["period_end"]["no_op"]
    assert options["period_end"]["ends_at"] == shop.purchase()["cancel_at"]
    assert not options["immediately"]["no_op"]


def test_a_fixed_term_ends_with_its_current_period(shop: Shop, product: str) -> None:
    sold = shop.sell(product)
    period_end = shop.stripe.live.get("subscription", sold)["items"]["data"][0][
        "current_period_end"
    ]
    shop.stripe.live.update_subscription(sold, {"cancel_at": period_end + 330 * 86_400})
    shop.deliver()
    option = preview(shop)["period_end"]
    assert option["ends_at"] == shop.purchase()["current_period_end"]
    assert not option["no_op"]


def test_an_ended_purchase_has_no_options(shop: Shop, product: str) -> None:
    shop.sell(product)
    shop.cancel()
    assert preview(shop) == {}


def test_a_one_off_has_nothing_to_charge_and_ends_at_once(shop: Shop, product: str) -> None:
    shop.stripe.live.buy_one_off(product=product, telegram_user_id=USER)
    shop.deliver()
    (option,) = preview(shop).values()
    assert (option["when"], option["charges"]["text_code"]) == ("immediately", "nothing_to_charge")
    assert [chat["effect"] for chat in option["chats"]] == ["leaves"]


def test_the_chats_of_an_unlinked_purchase_are_told_as_not_linked(shop: Shop, product: str) -> None:
    shop.stripe.live.subscribe(product=product)
    shop.deliver()
    (chat,) = preview(shop)["immediately"]["chats"]
    assert (chat["chat_id"], chat["effect"], chat["because"]) == (str(CHAT), "not_linked", None)


def test_another_purchase_of_the_same_telegram_account_keeps_it_in_whoever_bought_it(
    shop: Shop, product: str
) -> None:
    sold = shop.stripe.live.subscribe(product=product, telegram_user_id=USER, name="One")
    shop.deliver()
    one = shop.customer()["customer"]["customer_id"]
    bundle = shop.stripe.live.create_product(
        name="Bundle", telegram_chat_ids=f"{CHAT},{OTHER_CHAT}"
    )
    shop.stripe.live.subscribe(product=bundle["id"], telegram_user_id=USER, name="Two")
    shop.deliver()
    (other,) = (
        customer
        for customer in shop.get("/v1/customers")[1]["items"]
        if customer["customer_id"] != one
    )
    _, detail = shop.get(f"/v1/customers/{other['customer_id']}")
    (bundle_sold,) = detail["purchases"]
    for option in preview_of(shop, {"purchase_id": sold["id"]}, one):
        (chat,) = option["chats"]
        assert (chat["chat_id"], chat["effect"]) == (str(CHAT), "keeps")
        assert chat["because"] == {
            "customer_id": other["customer_id"],
            "purchase_id": bundle_sold["purchase_id"],
            "product": {"product_id": bundle["id"], "name": "Bundle"},
        }
    effects = {
        chat["chat_id"]: chat["effect"]
        for chat in preview_of(shop, bundle_sold, other["customer_id"])[0]["chats"]
    }
    assert effects == {str(CHAT): "keeps", str(OTHER_CHAT): "leaves"}


def test_a_purchase_that_ends_first_keeps_nobody_at_the_end_of_the_period(
    shop: Shop, product: str
) -> None:
    shop.stripe.live.subscribe(product=product, telegram_user_id=USER)
    shop.deliver()
    customer_id = shop.customer()["customer"]["customer_id"]
    purchase = shop.purchase()
    ends_soon = shop.stripe.live.subscribe(product=product, telegram_user_id=USER)
    soon = ends_soon["created"] + 86_400
    shop.stripe.live.update_subscription(ends_soon["id"], {"cancel_at": soon})
    shop.deliver()
    effects = {
        option["when"]: option["chats"][0]["effect"]
        for option in preview_of(shop, purchase, customer_id)
    }
    assert effects == {"immediately": "keeps", "period_end": "leaves"}


def test_a_chat_that_cannot_be_used_is_told_with_its_reason(shop: Shop) -> None:
    made = shop.stripe.live.create_product(name="Odd", telegram_chat_ids=f"{CHAT}, @signals")
    shop.stripe.live.subscribe(product=made["id"], telegram_user_id=USER)
    shop.deliver()
    effects = {
        chat["chat_id"]: (chat["effect"], chat["because"])
        for chat in preview(shop)["immediately"]["chats"]
    }
    assert effects == {str(CHAT): ("leaves", None), "@signals": ("cannot", "not_numeric")}


def test_collection_of_an_open_invoice_goes_on_until_the_end_of_the_period(
    shop: Shop, product: str
) -> None:
    sold = shop.sell(product)
    shop.stripe.live.fail_renewal(sold)
    shop.deliver()
    assert shop.purchase()["status"] == "past_due"
    options = preview(shop)
    assert options["immediately"]["charges"]["open_invoice"] == {"amount": 900, "currency": "usd"}
    assert not options["immediately"]["charges"]["collection_continues"]
    assert options["period_end"]["charges"]["collection_continues"]


def test_a_subscription_that_is_gone_at_stripe_can_only_end_without_stripe(
    shop: Shop, product: str
) -> None:
    sold = shop.sell(product)
    gone = {"error": {"type": "invalid_request_error", "code": "resource_missing"}}
    shop.stripe.fail(path=f"/v1/subscriptions/{sold}", status=404, body=gone, times=None)
    status, problem = shop.cancel()
    assert (status, problem["can_end_without_stripe"]) == (502, True)
    assert preview(shop)["immediately"]["charges"]["text_code"] == "ends_without_stripe"


def test_charges_may_continue_in_a_closed_account(shop: Shop, product: str) -> None:
    shop.sell(product)
    shop.stripe.close_account()
    status, problem = shop.cancel()
    assert (status, problem["can_end_without_stripe"]) == (502, True)
    assert preview(shop)["immediately"]["charges"]["text_code"] == "charges_may_continue"


@pytest.mark.parametrize("path", ["cust_nobody/purchases/sub_x", "{}/purchases/sub_nothing"])
def test_an_unknown_customer_or_purchase_is_not_found(shop: Shop, product: str, path: str) -> None:
    shop.sell(product)
    customer_id = shop.customer()["customer"]["customer_id"]
    status, problem = shop.get(f"/v1/customers/{path.format(customer_id)}/cancel_preview")
    assert (status, problem["code"]) == (404, "not_found")


def test_another_store_sees_no_preview(shop: Shop, product: str) -> None:
    sold = shop.sell(product)
    Registry(shop.tables.records, "demo").register(Tenant("other"), "acct_other")
    customer_id = shop.customer()["customer"]["customer_id"]
    path = f"/v1/customers/{customer_id}/purchases/{sold}/cancel_preview"
    status, problem = shop.get(path, store="other")
    assert (status, problem["code"]) == (404, "not_found")
