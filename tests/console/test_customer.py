"""One customer: purchases with billing and access apart, money, payment methods, history."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from playwright.sync_api import Locator, Page, Route, expect

from tests.console.conftest import Buyer, Look, Shop, swept_until, wait_for


def purchase(page: Page, product: str) -> Locator:
    return page.get_by_role("article", name=product, exact=True)


def state(card: Locator, label: str) -> Locator:
    """A badge by its label: Billing, Access."""
    return card.locator("dl > div", has=card.page.get_by_text(label, exact=True)).locator("dd")


def spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_a_purchase_shows_billing_and_access_apart(page: Page, shop: Shop, look: Look) -> None:
    def petra() -> tuple[Buyer, str]:
        buyer = shop.person("Petra Parts")
        buyer.buys("subscribe", buyer.product("Signals club", 1, 2))
        buyer.buys("buy_one_off", buyer.product("Handbook", 3), linked=False)
        buyer.buys("redeem_access_code", buyer.product("Preview", 4), access_code="K7QM2PXW9ABC")
        return buyer, buyer.arrives()

    buyer, customer_id = shop.once("parts", petra)
    page.goto(f"{shop.url}/customers/{customer_id}")
    expect(page.get_by_role("heading", name="Petra Parts")).to_be_visible()

    club = purchase(page, "Signals club")
    expect(state(club, "Billing")).to_have_text("Active")
    expect(state(club, "Access")).to_have_text("Has access")
    expect(club).to_contain_text("Subscription")
    expect(club).to_contain_text("Renews")
    expect(club).to_contain_text("Visa ending in 4242")
    expect(club).to_contain_text(str(buyer.chat(1)))
    handbook = purchase(page, "Handbook")
    expect(handbook).to_contain_text("One-off purchase")
    expect(state(handbook, "Access")).to_have_text("Not linked")
    preview = purchase(page, "Preview")
    expect(preview).to_contain_text("Access code")
    expect(preview).to_contain_text("K7QM2PXW9ABC")
    expect(preview).to_contain_text("For life")

    club.get_by_text("History").click()
    expect(club.get_by_text("Purchased · Customer")).to_be_visible()
    expect(page.get_by_role("region", name="Payment methods")).to_contain_text("Visa")
    expect(page.get_by_text("Customer since")).to_be_visible()
    expect(page.get_by_text(buyer.email)).to_be_visible()
    expect(page.get_by_text(f"gz_test_{buyer.number}")).to_be_visible()
    look(page, "customer")


def test_amounts_are_signed_in_their_own_currency_and_carry_their_badges(
    page: Page, shop: Shop, look: Look
) -> None:
    def mona() -> str:
        buyer = shop.person("Mona Money")
        product = buyer.product("Everything", 1)
        dollars = buyer.buys("buy_one_off", product, amount=2900, currency="usd")
        buyer.buys("buy_one_off", product, amount=1200, currency="jpy")
        lost = buyer.buys("buy_one_off", product, amount=19900, currency="eur")
        part = buyer.buys("buy_one_off", product, amount=150000, currency="huf")
        won = buyer.buys("buy_one_off", product, amount=4900, currency="gbp")
        buyer.does("refund", payment=f"${dollars}.payment_intent")
        buyer.does("refund", payment=f"${part}.payment_intent", amount=50000)
        for session, is_won in ((lost, False), (won, True)):
            dispute = buyer.does("dispute", payment=f"${session}.payment_intent")
            buyer.does("close_dispute", dispute=f"${dispute}.id", won=is_won)
        return buyer.arrives()

    customer_id = shop.once("money", mona)
    page.goto(f"{shop.url}/customers/{customer_id}")
    money = page.get_by_role("region", name="Transactions")
    expect(money).to_be_visible()
    text = spaced(money.inner_text())
    for amount in ("US$29.00", "JP¥1,200", "€199.00", "HUF 1,500.00", "£49.00"):
        assert amount in text
    for amount in ("−US$29.00", "−€199.00", "−HUF 500.00"):
        assert amount in text, "refunds and lost disputes are negative"
    for badge in ("Refunded", "Partly refunded", "Won dispute", "Lost dispute"):
        expect(money.get_by_text(badge, exact=True)).to_have_count(1)
    assert "Total" not in text
    shown = shop.get(f"/v1/customers/{customer_id}")["transactions"]["items"]
    expect(money.get_by_role("listitem")).to_have_count(len(shown))
    money.scroll_into_view_if_needed()
    look(page, "transactions")


def test_a_day_tells_its_exact_time_to_whoever_points_at_it(page: Page, shop: Shop) -> None:
    def tim() -> str:
        buyer = shop.person("Tim Time")
        buyer.buys("buy_one_off", buyer.product("Everything", 1))
        return buyer.arrives()

    customer_id = shop.once("time", tim)
    page.goto(f"{shop.url}/customers/{customer_id}")
    day = page.get_by_role("region", name="Transactions").locator("time").first
    expect(day).to_have_text(re.compile(r"^\d{1,2} \w{3,4} \d{4}$"))
    day.hover()
    exact = r"^\w+day, \d{1,2} \w+ \d{4} at \d{2}:\d{2}:\d{2} "
    expect(day).to_have_attribute("title", re.compile(exact))


def test_further_transactions_come_on_demand(page: Page, shop: Shop) -> None:
    def lotta() -> str:
        buyer = shop.person("Lotta Long")
        product = buyer.product("Small thing", 1)
        for _ in range(26):
            buyer.buys("buy_one_off", product, amount=100)
        return buyer.arrives()

    customer_id = shop.once("long", lotta)
    page.goto(f"{shop.url}/customers/{customer_id}")
    rows = page.get_by_role("region", name="Transactions").get_by_role("listitem")
    expect(rows).to_have_count(25)
    more = page.get_by_role("button", name="Show more transactions")
    page.route(re.compile("/transactions"), lambda route: route.abort())
    more.click()
    expect(page.get_by_text("Further transactions could not be loaded.")).to_be_visible(
        timeout=20_000
    )
    page.unroute(re.compile("/transactions"))
    page.get_by_role("button", name="Try again").click()
    expect(rows).to_have_count(26)
    expect(more).to_have_count(0)


def test_further_purchases_come_on_demand(page: Page, shop: Shop) -> None:
    """The API gives a hundred at once; here it gives one, and the rest as its next page."""

    def paul() -> str:
        buyer = shop.person("Paul Plenty")
        for name in ("First thing", "Second thing"):
            buyer.buys("buy_one_off", buyer.product(name, 1))
        return buyer.arrives()

    customer_id = shop.once("plenty", paul)
    newest, oldest = shop.get(f"/v1/customers/{customer_id}")["purchases"]

    def detail(route: Route) -> None:
        answer = route.fetch()
        cut = answer.json() | {"purchases": [newest], "purchases_next_cursor": "next"}
        route.fulfill(response=answer, json=cut)

    page.route(re.compile(f"/v1/customers/{customer_id}$"), detail)
    further = re.compile("/purchases[?]cursor=next$")
    page.route(further, lambda route: route.abort())
    page.goto(f"{shop.url}/customers/{customer_id}")
    cards = page.get_by_role("region", name="Purchases").get_by_role("heading", level=3)
    expect(cards).to_have_count(1)
    more = page.get_by_role("button", name="Show more purchases")
    more.click()
    expect(page.get_by_text("Further purchases could not be loaded.")).to_be_visible(
        timeout=20_000
    )
    page.unroute(further)
    following = {"items": [oldest], "next_cursor": None}
    page.route(further, lambda route: route.fulfill(json=following))
    page.get_by_role("button", name="Try again").click()
    names = [purchase["product"]["name"] for purchase in (newest, oldest)]
    expect(cards).to_have_text(names)
    expect(more).to_have_count(0)


def test_a_scheduled_end_is_told_and_can_still_be_cancelled(page: Page, shop: Shop) -> None:
    buyer = shop.person("Sven Scheduled")
    subscription = buyer.buys("subscribe", buyer.product("Monthly", 1))
    buyer.does("portal_cancel", subscription=f"${subscription}.id")
    customer_id = buyer.arrives()
    page.goto(f"{shop.url}/customers/{customer_id}")
    (sold,) = shop.get(f"/v1/customers/{customer_id}")["purchases"]
    at = datetime.fromisoformat(sold["cancel_at"]).astimezone(UTC)
    card = purchase(page, "Monthly")
    expect(card).to_contain_text(re.compile(rf"Ends on \d+ {at:%b}\w* {at:%Y}"))
    expect(state(card, "Billing")).to_have_text("Active")
    expect(card.get_by_role("button", name="Cancel purchase of Monthly")).to_be_visible()


def test_an_ended_purchase_keeps_its_record_and_has_no_cancel_button(
    page: Page, shop: Shop
) -> None:
    buyer = shop.person("Enno Ended")
    subscription = buyer.buys("subscribe", buyer.product("Over", 1))
    buyer.does("portal_cancel", subscription=f"${subscription}.id", immediately=True)
    customer_id = buyer.arrives()
    page.goto(f"{shop.url}/customers/{customer_id}")
    card = purchase(page, "Over")
    expect(state(card, "Billing")).to_have_text("Cancelled")
    expect(state(card, "Access")).to_have_text("Removed")
    expect(card).to_contain_text("cancelled by the customer")
    expect(card.get_by_role("button", name="Cancel purchase of Over")).to_have_count(0)
    wait_for(lambda: shop.status_in(buyer.chat(1), buyer.user_id) == "left")


def test_a_removal_that_failed_says_why_and_is_retried(page: Page, shop: Shop, look: Look) -> None:
    """For a reason that the sweep leaves alone: it would be faster than a finger."""
    buyer = shop.person("Frida Failed")
    subscription = buyer.buys("subscribe", buyer.product("Locked club", 1))
    member = {"chat_id": buyer.chat(1), "user_id": buyer.user_id}
    shop.telegram("members", **member, status="administrator")
    buyer.does("portal_cancel", subscription=f"${subscription}.id", immediately=True)
    customer_id = buyer.arrives()
    page.goto(f"{shop.url}/customers/{customer_id}")
    card = purchase(page, "Locked club")
    expect(state(card, "Access")).to_have_text("Not removed")
    expect(card).to_contain_text("Could not be removed from Telegram")
    expect(card).to_contain_text("This person is an administrator of")
    expect(card).to_contain_text("Put this right in Telegram, then retry.")
    look(page, "access-failed")
    shop.telegram("members", **member, status="member")
    card.get_by_role("button", name="Retry removing from Locked club").click()
    expect(state(card, "Access")).to_have_text("Removed")
    assert shop.status_in(buyer.chat(1), buyer.user_id) == "left"


def test_a_pending_removal_says_when_it_is_tried_next(page: Page, shop: Shop, look: Look) -> None:
    buyer = shop.person("Pia Pending")
    subscription = buyer.buys("subscribe", buyer.product("Slow club", 1))
    shop.telegram("faults", kind="server_error", chat_id=buyer.chat(1))
    buyer.does("portal_cancel", subscription=f"${subscription}.id", immediately=True)
    customer_id = buyer.arrives()
    page.goto(f"{shop.url}/customers/{customer_id}")
    card = purchase(page, "Slow club")
    expect(state(card, "Access")).to_have_text("Removing")
    expect(card).to_contain_text(re.compile(r"Removing from Telegram, next try \d\d:\d\d"))
    look(page, "access-pending")
    shop.heal_telegram()
    swept_until(shop, lambda: shop.status_in(buyer.chat(1), buyer.user_id) == "left")
    # Without a reload: the page follows it.
    expect(state(card, "Access")).to_have_text("Removed", timeout=30_000)


def test_kept_access_names_the_purchase_it_is_kept_through(
    page: Page, shop: Shop, look: Look
) -> None:
    buyer = shop.person("Karl Kept")
    first = buyer.product("Basic", 1)
    chats = [buyer.chat(1)]
    second = buyer.does("create_product", name="Premium", telegram_chat_ids=chats)
    buyer.buys("subscribe", first)
    buyer.buys("subscribe", second)
    customer_id = buyer.arrives()
    shop.live(
        {
            "do": "portal_cancel",
            "args": {
                "subscription": _subscription(shop, customer_id, "Basic"),
                "immediately": True,
            },
        }
    )
    page.goto(f"{shop.url}/customers/{customer_id}")
    card = purchase(page, "Basic")
    expect(state(card, "Billing")).to_have_text("Cancelled")
    expect(state(card, "Access")).to_have_text("Kept")
    expect(card).to_contain_text("Stays through Premium")
    look(page, "access-kept")
    assert shop.status_in(buyer.chat(1), buyer.user_id) == "member"


def _subscription(shop: Shop, customer_id: str, product: str) -> str:
    purchases = shop.get(f"/v1/customers/{customer_id}")["purchases"]
    return str(next(p["purchase_id"] for p in purchases if p["product"]["name"] == product))


def test_a_customer_that_is_not_this_stores_does_not_exist(
    page: Page, shop: Shop, look: Look
) -> None:
    page.goto(f"{shop.url}/customers/cust_nobody")
    expect(page.get_by_role("heading", name="This customer does not exist")).to_be_visible()
    look(page, "customer-not-found")
    page.get_by_role("link", name="All customers").click()
    expect(page.get_by_role("heading", name="Customers")).to_be_visible()


def test_a_customer_that_cannot_be_loaded_says_why_and_tries_again(page: Page, shop: Shop) -> None:
    buyer = shop.person("Udo Unreachable")
    buyer.buys("buy_one_off", buyer.product("Thing", 1))
    customer_id = buyer.arrives()
    page.route(re.compile("/v1/customers/cust"), lambda route: route.abort())
    page.goto(f"{shop.url}/customers/{customer_id}")
    expect(page.get_by_role("alert")).to_contain_text("The server could not be reached")
    page.unroute(re.compile("/v1/customers/cust"))
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Purchases")).to_be_visible()


def test_an_unknown_address_leads_back_to_the_list(page: Page, shop: Shop, look: Look) -> None:
    page.goto(f"{shop.url}/no/such/page")
    expect(page.get_by_role("heading", name="There is nothing at this address")).to_be_visible()
    look(page, "unknown-address")
    page.get_by_role("button", name="Go to all customers").click()
    expect(page.get_by_role("heading", name="Customers")).to_be_visible()


def test_the_scheme_follows_the_system_until_it_is_chosen(page: Page, shop: Shop) -> None:
    root = page.locator("html")
    page.goto(f"{shop.url}/no/such/page")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        expect(root).to_have_attribute("data-mantine-color-scheme", scheme)
    page.get_by_role("button", name="Switch to dark mode").click()
    expect(root).to_have_attribute("data-mantine-color-scheme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-mantine-color-scheme", "dark")
    page.get_by_role("button", name="Switch to light mode").click()
    page.emulate_media(color_scheme="dark")
    expect(root).to_have_attribute("data-mantine-color-scheme", "light")
