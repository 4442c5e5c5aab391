"""Cancelling a purchase: word for word, once, and never shown as done before it is."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.console.conftest import Buyer, Look, Shop, swept_until
from tests.console.test_customer import purchase, state

WARNING = (
    "Cancelling this purchase will revoke the customer's access to the product. If it was a "
    "subscription, no further charges will be made. This action cannot be undone."
)
PHRASE = "CANCEL PURCHASE"


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def confirm(page: Page) -> Locator:
    return dialog(page).get_by_role("button", name="Cancel purchase")


def phrase(page: Page) -> Locator:
    return page.get_by_label("Type CANCEL PURCHASE to confirm")


def open_dialog(page: Page, shop: Shop, customer_id: str, product: str) -> Locator:
    page.goto(f"{shop.url}/customers/{customer_id}")
    page.get_by_role("button", name=f"Cancel purchase of {product}", exact=True).click()
    expect(dialog(page)).to_be_visible()
    return dialog(page)


def requests_to_cancel(page: Page) -> list[Request]:
    sent: list[Request] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/cancel"):
            sent.append(request)

    page.on("request", note)
    return sent


def subscriber(shop: Shop, name: str, product: str) -> tuple[Buyer, str]:
    buyer = shop.person(name)
    buyer.buys("subscribe", buyer.product(product, 1))
    return buyer, buyer.arrives()


def only_purchase(shop: Shop, customer_id: str) -> Any:
    (found,) = shop.get(f"/v1/customers/{customer_id}")["purchases"]
    return found


def test_the_window_says_exactly_this_and_keeps_the_purchase_on_request(
    page: Page, shop: Shop, look: Look
) -> None:
    _, customer_id = subscriber(shop, "Wanda Words", "Word club")
    sent = requests_to_cancel(page)
    window = open_dialog(page, shop, customer_id, "Word club")
    expect(window.get_by_text(WARNING, exact=True)).to_be_visible()
    expect(window.get_by_text("When to cancel", exact=True)).to_be_visible()
    expect(window.get_by_role("radio", name="Immediately")).to_be_checked()
    at = datetime.fromisoformat(only_purchase(shop, customer_id)["current_period_end"])
    period_end = window.get_by_role("radio", name="At the end of the period")
    expect(period_end).to_have_accessible_description(
        re.compile(rf"On \d+ {at.astimezone(UTC):%b}\w* {at:%Y}")
    )
    expect(confirm(page)).to_be_disabled()
    for wrong in (
        "cancel purchase",
        "CANCEL  PURCHASE",
        "CANCEL PURCHASE ",
        " CANCEL PURCHASE",
        "CANCEL PURCHAS",
        "Cancel Purchase",
    ):
        phrase(page).fill(wrong)
        expect(confirm(page)).to_be_disabled()
        phrase(page).press("Enter")
    look(page, "cancel")
    phrase(page).fill(PHRASE)
    expect(confirm(page)).to_be_enabled()
    look(page, "cancel-confirmed")
    window.get_by_role("button", name="Keep purchase").click()
    expect(window).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel purchase of Word club")).to_be_focused()
    assert sent == []
    assert only_purchase(shop, customer_id)["status"] == "active"


def test_one_off_and_code_purchases_can_only_end_immediately(page: Page, shop: Shop) -> None:
    buyer = shop.person("Olga Once")
    buyer.buys("buy_one_off", buyer.product("Book", 1))
    buyer.buys("redeem_access_code", buyer.product("Gift", 2), access_code="ABCDEFGH2345")
    customer_id = buyer.arrives()
    for product in ("Book", "Gift"):
        window = open_dialog(page, shop, customer_id, product)
        expect(window.get_by_text("When to cancel")).to_have_count(0)
        expect(window.get_by_role("radio")).to_have_count(0)
        expect(phrase(page)).to_be_focused()
        phrase(page).fill(PHRASE)
        confirm(page).click()
        expect(window).to_have_count(0)
        card = purchase(page, product)
        expect(state(card, "Billing")).to_have_text("Cancelled")
        expect(state(card, "Access")).to_have_text("Removed")
        expect(card.get_by_role("heading", name=product)).to_be_focused()


def test_an_immediate_cancel_ends_billing_and_access(page: Page, shop: Shop) -> None:
    buyer, customer_id = subscriber(shop, "Ina Immediate", "Now club")
    sent = requests_to_cancel(page)
    window = open_dialog(page, shop, customer_id, "Now club")
    page.get_by_label("Reason").fill("Asked for it in the chat")
    phrase(page).fill(PHRASE)
    confirm(page).click()
    expect(window).to_have_count(0)
    card = purchase(page, "Now club")
    expect(state(card, "Billing")).to_have_text("Cancelled")
    expect(state(card, "Access")).to_have_text("Removed")
    expect(card).to_contain_text("cancelled by you")
    expect(page.get_by_role("status").filter(has_text="Now club")).to_have_count(1)
    (request,) = sent
    assert json.loads(request.post_data or "") == {
        "when": "immediately",
        "confirmation": PHRASE,
        "reason": "Asked for it in the chat",
    }
    assert shop.status_in(buyer.chat(1), buyer.user_id) == "left"


def test_a_period_end_is_scheduled_stays_cancellable_and_gives_way_to_immediately(
    page: Page, shop: Shop, look: Look
) -> None:
    buyer, customer_id = subscriber(shop, "Enno End", "Month club")
    window = open_dialog(page, shop, customer_id, "Month club")
    window.get_by_role("radio", name="At the end of the period").check()
    expect(window.get_by_text(re.compile(r"Leaves on \d+ \w+ \d{4}"))).to_be_visible()
    phrase(page).fill(PHRASE)
    confirm(page).click()
    expect(window).to_have_count(0)
    card = purchase(page, "Month club")
    expect(card).to_contain_text(re.compile(r"Ends on \d+ \w+ \d{4}"))
    expect(state(card, "Billing")).to_have_text("Active")
    expect(state(card, "Access")).to_have_text("Has access")
    button = page.get_by_role("button", name="Cancel purchase of Month club")
    expect(button).to_be_focused()
    look(page, "scheduled")
    button.click()
    expect(
        window.get_by_role("radio", name="At the end of the period")
    ).to_have_accessible_description(re.compile("Already scheduled to end on"))
    phrase(page).fill(PHRASE)
    confirm(page).click()
    expect(state(card, "Billing")).to_have_text("Cancelled")
    expect(state(card, "Access")).to_have_text("Removed")
    assert shop.status_in(buyer.chat(1), buyer.user_id) == "left"


def test_the_effect_names_the_chats_that_are_left_and_kept(
    page: Page, shop: Shop, look: Look
) -> None:
    buyer = shop.person("Effie Effect")
    both = buyer.product("Two chats", 1, 2)
    one = buyer.does("create_product", name="Other club", telegram_chat_ids=[buyer.chat(1)])
    buyer.buys("subscribe", both)
    buyer.buys("buy_one_off", one)
    customer_id = buyer.arrives()
    window = open_dialog(page, shop, customer_id, "Two chats")
    effect = window.get_by_role("region", name="What happens")
    text = re.sub(r"\s+", " ", effect.inner_text())
    assert f"Leaves now Chat {buyer.chat(2)}" in text
    assert f"Stays in Chat {buyer.chat(1)} through Other club" in text
    assert "No further charges. Nothing is refunded." in text
    look(page, "cancel-effect")
    phrase(page).fill(PHRASE)
    confirm(page).click()
    card = purchase(page, "Two chats")
    expect(state(card, "Access")).to_have_text("Kept")
    assert shop.status_in(buyer.chat(1), buyer.user_id) == "member"
    assert shop.status_in(buyer.chat(2), buyer.user_id) == "left"


def test_a_purchase_without_a_telegram_account_says_that_nobody_leaves(
    page: Page, shop: Shop
) -> None:
    buyer = shop.person("Nora Notlinked")
    buyer.buys("subscribe", buyer.product("Quiet club", 1), linked=False)
    window = open_dialog(page, shop, buyer.arrives(), "Quiet club")
    expect(window).to_contain_text("No Telegram account is linked to this purchase")


def test_while_it_is_sent_the_window_is_busy_and_sends_once(
    page: Page, shop: Shop, look: Look
) -> None:
    _, customer_id = subscriber(shop, "Dora Double", "Double club")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile("/cancel$"), hold)
    sent = requests_to_cancel(page)
    window = open_dialog(page, shop, customer_id, "Double club")
    phrase(page).fill(PHRASE)
    with page.expect_request(re.compile("/cancel$")):
        phrase(page).press("Enter")
    busy = window.get_by_role("button", name="Cancelling…")
    expect(busy).to_be_visible()
    phrase(page).press("Enter")
    busy.click(force=True)
    busy.dblclick(force=True)
    page.keyboard.press("Escape")
    expect(window.get_by_role("button", name="Keep purchase")).to_be_disabled()
    look(page, "cancel-sending")
    assert len(sent) == 1
    assert len(sent[0].headers["idempotency-key"]) >= 16
    held[0].continue_()
    expect(window).to_have_count(0)
    expect(state(purchase(page, "Double club"), "Billing")).to_have_text("Cancelled")


def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    page: Page, shop: Shop, look: Look
) -> None:
    _, customer_id = subscriber(shop, "Lina Lost", "Lost club")
    sent = requests_to_cancel(page)
    window = open_dialog(page, shop, customer_id, "Lost club")

    def lose(route: Route) -> None:
        route.fetch()  # it is carried out; only the answer gets lost
        route.abort()

    page.route(re.compile("/cancel$"), lose)
    phrase(page).fill(PHRASE)
    confirm(page).click()
    alert = window.get_by_role("alert")
    expect(alert).to_contain_text("No answer from the server")
    expect(alert).to_contain_text("never cancelled twice")
    look(page, "cancel-no-answer")
    page.unroute(re.compile("/cancel$"))
    confirm(page).click()
    expect(window).to_have_count(0)
    expect(state(purchase(page, "Lost club"), "Billing")).to_have_text("Cancelled")
    keys = {request.headers["idempotency-key"] for request in sent}
    assert len(sent) == 2
    assert len(keys) == 1


def test_another_wish_has_another_key(page: Page, shop: Shop) -> None:
    _, customer_id = subscriber(shop, "Kai Key", "Key club")
    sent = requests_to_cancel(page)
    window = open_dialog(page, shop, customer_id, "Key club")
    page.route(re.compile("/cancel$"), lambda route: route.abort())
    phrase(page).fill(PHRASE)
    confirm(page).click()
    expect(window.get_by_role("alert")).to_be_visible()
    window.get_by_role("radio", name="At the end of the period").check()
    confirm(page).click()
    expect(confirm(page)).to_be_enabled()
    expect(window.get_by_role("alert")).to_be_visible()
    first, second = (request.headers["idempotency-key"] for request in sent)
    assert first != second


def test_stripe_refusing_is_told_with_what_to_do_and_nothing_is_done(
    page: Page, shop: Shop, look: Look
) -> None:
    _, customer_id = subscriber(shop, "Rita Refused", "Refused club")
    window = open_dialog(page, shop, customer_id, "Refused club")
    message = "This key may not do that."
    fault = {
        "method": "*",
        "path": "/v1/subscriptions/.*",
        "status": 403,
        "times": None,
        "body": {"error": {"type": "invalid_request_error", "message": message}},
    }
    shop.stripe.post("faults", fault)
    phrase(page).fill(PHRASE)
    confirm(page).click()
    alert = window.get_by_role("alert")
    expect(alert).to_contain_text("Stripe refused to cancel")
    expect(alert).to_contain_text("Nothing was cancelled.")
    expect(alert).to_contain_text("Request ")
    look(page, "cancel-refused")
    window.get_by_role("button", name="Keep purchase").click()
    card = purchase(page, "Refused club")
    expect(state(card, "Billing")).to_have_text("Active")
    expect(card).to_contain_text("Stripe refused the cancellation of")
    expect(card.get_by_role("button", name="Cancel purchase of Refused club")).to_be_visible()
    look(page, "refused")


PROBLEMS = {
    "confirmation_mismatch": (422, "The confirmation does not match", "capital letters"),
    "period_end_not_available": (422, "can only be cancelled immediately", "Immediately"),
    "purchase_already_ended": (409, "This purchase has already ended", "nothing left to cancel"),
    "operation_in_progress": (409, "Another change of this purchase is running", "Wait"),
    "idempotency_key_reused": (422, "changed while it was being sent", "Try again"),
    "not_found": (404, "This purchase was not found", "load the page again"),
    "internal_error": (500, "on our side", "never cancelled twice"),
}


def test_every_refusal_is_told_in_the_window_with_what_to_do(page: Page, shop: Shop) -> None:
    customer_id = shop.once("refusals", lambda: subscriber(shop, "Rolf Refusals", "No club")[1])
    said: dict[str, Any] = {}
    page.route(re.compile("/cancel$"), lambda route: route.fulfill(**said))
    page.goto(f"{shop.url}/customers/{customer_id}")
    for code, (status, title, advice) in PROBLEMS.items():
        problem = {"code": code, "detail": "d", "request_id": f"of-{code}"}
        said.update(status=status, content_type="application/problem+json", json=problem)
        page.get_by_role("button", name="Cancel purchase of No club").click()
        phrase(page).fill(PHRASE)
        confirm(page).click()
        alert = dialog(page).get_by_role("alert")
        expect(alert).to_contain_text(f"Request of-{code}")
        expect(alert).to_contain_text(title)
        expect(alert).to_contain_text(advice)
        if code in ("purchase_already_ended", "not_found"):
            expect(confirm(page)).to_have_count(0)
            dialog(page).get_by_role("button", name="Close").click()
        else:
            expect(confirm(page)).to_be_enabled()
            dialog(page).get_by_role("button", name="Keep purchase").click()
        expect(dialog(page)).to_have_count(0)


def test_a_login_that_ended_in_the_window_is_told_and_nothing_was_cancelled(
    page: Page, shop: Shop
) -> None:
    _, customer_id = subscriber(shop, "Tom Token", "Token club")
    window = open_dialog(page, shop, customer_id, "Token club")
    page.route(
        re.compile("/cancel$"),
        lambda route: route.fulfill(status=401, json={"message": "Unauthorized"}),
    )
    phrase(page).fill(PHRASE)
    confirm(page).click()
    expect(window.get_by_role("alert")).to_contain_text("Nothing was cancelled. Log in again")
    window.get_by_role("button", name="Log in again").click()
    expect(page.get_by_role("button", name="Cancel purchase of Token club")).to_be_visible()
    assert page.url == f"{shop.url}/customers/{customer_id}"


def test_what_is_still_outstanding_is_shown_as_pending_and_followed_until_done(
    page: Page, shop: Shop, look: Look
) -> None:
    buyer, customer_id = subscriber(shop, "Paula Pending", "Pending club")
    shop.telegram("faults", kind="server_error", chat_id=buyer.chat(1))
    window = open_dialog(page, shop, customer_id, "Pending club")
    phrase(page).fill(PHRASE)
    with page.expect_response(re.compile("/cancel$")) as answer:
        confirm(page).click()
    assert answer.value.status == 202
    expect(window).to_have_count(0)
    card = purchase(page, "Pending club")
    expect(state(card, "Billing")).to_have_text("Cancelled")
    expect(state(card, "Access")).to_have_text("Removing")
    expect(card).to_contain_text(re.compile(r"Removing from Telegram, next try \d\d:\d\d"))
    expect(page.get_by_role("status").filter(has_text="under way")).to_have_count(1)
    look(page, "cancel-pending")
    shop.heal_telegram()
    swept_until(shop, lambda: shop.status_in(buyer.chat(1), buyer.user_id) == "left")
    # By itself: the next try was a few seconds away.
    expect(state(card, "Access")).to_have_text("Removed", timeout=30_000)
    expect(page.get_by_role("status").filter(has_text="access has ended")).to_have_count(1)


def test_stripe_being_away_is_shown_as_pending_until_it_has_confirmed(
    page: Page, shop: Shop, look: Look
) -> None:
    _, customer_id = subscriber(shop, "Stella Stripeless", "Outage club")
    window = open_dialog(page, shop, customer_id, "Outage club")
    shop.stripe.post("outage", {"on": True})
    try:
        phrase(page).fill(PHRASE)
        confirm(page).click()
        expect(window).to_have_count(0, timeout=40_000)
        card = purchase(page, "Outage club")
        expect(card).to_contain_text("Waiting for Stripe to confirm the cancellation")
        expect(state(card, "Billing")).to_have_text("Active")
        look(page, "stripe-pending")
    finally:
        shop.stripe.post("outage", {"on": False})
    swept_until(shop, lambda: only_purchase(shop, customer_id)["status"] == "cancelled"
    )
    expect(state(card, "Billing")).to_have_text("Cancelled", timeout=30_000)
    expect(state(card, "Access")).to_have_text("Removed")


def test_the_keyboard_alone_does_everything(page: Page, shop: Shop) -> None:
    buyer, customer_id = subscriber(shop, "Kim Keyboard", "Keyboard club")
    page.goto(shop.url)
    expect(page.locator("tbody a").first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type(buyer.email)
    expect(page.locator("tbody a")).to_have_count(1)
    _tab_to(page, page.get_by_role("link", name="Kim Keyboard"))
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Cancel purchase of Keyboard club")
    expect(button).to_be_visible()
    assert page.url.endswith(customer_id)
    _tab_to(page, button)
    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name="Immediately")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="At the end of the period")).to_be_checked()
    page.keyboard.press("ArrowUp")
    # The focus stays inside, all the way round.
    for _ in range(8):
        page.keyboard.press("Tab")
        inside = "() => !!document.activeElement.closest('[role=dialog]')"
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    expect(dialog(page)).to_have_count(0)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    _tab_to(page, phrase(page))
    page.keyboard.type(PHRASE)
    _tab_to(page, confirm(page))
    page.keyboard.press("Enter")
    card = purchase(page, "Keyboard club")
    expect(state(card, "Billing")).to_have_text("Cancelled")
    expect(card.get_by_role("heading", name="Keyboard club")).to_be_focused()


def _tab_to(page: Page, target: Locator) -> None:
    for _ in range(60):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail("the keyboard does not reach it")
