"""The list of customers: found, filtered, sorted and paged, with all of it in the address."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.console.conftest import Look, NewContext, Shop, portraits

pytestmark = pytest.mark.usefixtures("demo")


def rows(page: Page) -> list[str]:
    """The names shown, once the list is at rest."""
    expect(page.locator("main [aria-busy=false]")).to_be_visible()
    return page.locator("tbody a").all_inner_texts()


def customers(page: Page) -> list[str | None]:
    """Whom the rows lead to: several customers may have one name."""
    rows(page)
    return [link.get_attribute("href") for link in page.locator("tbody a").all()]


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def holding(page: Page, pattern: re.Pattern[str]) -> list[Route]:
    """Requests that get no answer until the test gives one."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(pattern, hold)
    return held


def listing(route: Route, items: list[object], next_cursor: str | None = None) -> None:
    route.fulfill(json={"items": items, "next_cursor": next_cursor})


def test_the_list_shows_who_bought_and_how(page: Page, shop: Shop, look: Look) -> None:
    portraits(page)
    page.goto(f"{shop.url}/?sort=oldest")  # the demo's people come before those of the tests
    expect(page.get_by_role("heading", name="Customers")).to_be_visible()
    shown = rows(page)
    first = shop.get("/v1/customers?sort=oldest")["items"]
    assert shown == [one["name"] for one in first]
    assert len(shown) == 25
    person = first[0]
    row = page.get_by_role("row").filter(has_text=person["email"])
    labels = {"stripe": "Stripe", "stripe_test": "Stripe test"}
    for provider in person["payment_providers"]:
        expect(row.get_by_text(labels[provider], exact=True)).to_be_visible()
    code = next(one for one in first if one["used_access_code"])
    expect(
        page.get_by_role("row").filter(has_text=code["email"]).get_by_text("Access code")
    ).to_be_visible()
    expect(row.locator("time")).to_have_text(re.compile(r"^\d{1,2} \w{3,4} \d{4}$"))
    assert page.locator("tbody img").count() > 0, "avatars"
    assert re.search(
        r"^\w\w?$",
        page.locator("tbody tr", has_not=page.locator("img"))
        .first.locator("[aria-hidden]")
        .first.inner_text(),
    ), "initials"
    look(page, "customers")


def test_an_avatar_that_cannot_be_loaded_gives_way_to_initials(page: Page, shop: Shop) -> None:
    page.route("https://**/*", lambda route: route.abort())
    page.goto(shop.url)
    rows(page)
    page.locator("tbody tr").last.scroll_into_view_if_needed()  # they are loaded when in sight
    expect(page.locator("tbody img")).to_have_count(0)


def test_searching_as_one_types_asks_once_and_keeps_it_in_the_address(
    page: Page, shop: Shop
) -> None:
    person = shop.get("/v1/customers?limit=100")["items"][7]
    page.goto(shop.url)
    rows(page)
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if "/v1/customers?" in r.url else None)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search customers")).to_be_focused()
    page.keyboard.type(person["email"], delay=15)
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("search") == [person["email"]])
    expect(page.locator("tbody a")).to_have_count(1)
    assert rows(page) == [person["name"]]
    assert len(asked) < len(person["email"]) / 3, "every key asked the server"
    page.reload()
    assert rows(page) == [person["name"]]
    expect(page.get_by_role("searchbox")).to_have_value(person["email"])
    page.get_by_role("button", name="Clear search").click()
    expect(page.locator("tbody a")).to_have_count(25)
    assert "search" not in query(page)


def test_a_search_that_has_been_overtaken_is_cancelled_and_never_shown(
    page: Page, shop: Shop
) -> None:
    cancelled: list[str] = []
    page.on("requestfailed", lambda r: cancelled.append(f"{r.url} {r.failure}"))
    holding(page, re.compile(r"/v1/.*search=slow"))
    page.goto(shop.url)
    before = rows(page)
    search = page.get_by_role("searchbox")
    with page.expect_request(re.compile("search=slow")):
        search.fill("slow")
    expect(page.locator("[aria-busy=true]")).to_have_count(1)
    with page.expect_event("requestfailed", lambda r: "search=slow" in r.url):
        search.fill("")
    assert rows(page) == before
    assert any("search=slow" in one and "ERR_ABORTED" in one for one in cancelled)


def test_filters_narrow_the_list_and_show_what_is_on(page: Page, shop: Shop, look: Look) -> None:
    page.goto(shop.url)
    rows(page)
    page.get_by_role("button", name="Product").click()
    page.get_by_role("checkbox", name="Academy").check()
    expect(page.get_by_role("button", name="Product: Academy")).to_be_visible()
    look(page, "filter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Product: Academy")).to_be_focused()
    ids = query(page)["product_id"]
    asked = "&".join(f"product_id={one}" for one in ids)
    assert rows(page) == [one["name"] for one in shop.get(f"/v1/customers?{asked}")["items"]]

    page.get_by_role("button", name="Provider").click()
    page.get_by_role("checkbox", name="Stripe", exact=True).check()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Access code").click()
    page.get_by_role("radio", name="Never used a code").check()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Access code: Never used a code")).to_be_visible()
    asked += "&payment_provider=stripe&used_access_code=false"
    assert rows(page) == [one["name"] for one in shop.get(f"/v1/customers?{asked}")["items"]]
    assert query(page)["payment_provider"] == ["stripe"]
    assert query(page)["used_access_code"] == ["false"]

    page.go_back()
    expect(page.get_by_role("button", name="Access code", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("button", name="Provider", exact=True)).to_be_visible()
    page.go_forward()
    expect(page.get_by_role("button", name="Provider: Stripe")).to_be_visible()
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator("tbody a")).to_have_count(25)
    assert query(page) == {}


def test_a_transaction_id_leads_to_its_customer(page: Page, shop: Shop) -> None:
    buyer = shop.person("Tara Transaction")
    buyer.buys("buy_one_off", buyer.product("Paid thing", 1))
    customer_id = buyer.arrives()
    detail = shop.get(f"/v1/customers/{customer_id}")
    transaction = detail["transactions"]["items"][0]["transaction_id"]
    page.goto(shop.url)
    rows(page)
    page.get_by_role("button", name="Transaction").click()
    page.get_by_label("Transaction ID").fill(transaction.lower())
    page.keyboard.press("Enter")
    expect(page.locator("tbody a")).to_have_text(["Tara Transaction"])
    assert query(page)["transaction_id"] == [transaction]
    # Typed into the search by mistake, the way there is shown.
    page.goto(f"{shop.url}/?search={transaction}")
    page.get_by_role("button", name=f"Look for transaction {transaction}").click()
    expect(page.locator("tbody a")).to_have_text(["Tara Transaction"])


def test_sorting_and_page_size_are_kept_in_the_address(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    newest = rows(page)
    page.get_by_label("Sort").select_option("oldest")
    expect(page.locator("tbody a").first).not_to_have_text(newest[0])
    page.get_by_label("Rows per page").select_option("50")
    page.wait_for_function("() => document.querySelectorAll('tbody a').length > 25")
    assert query(page) == {"sort": ["oldest"], "limit": ["50"]}
    expected = shop.get("/v1/customers?sort=oldest&limit=50")["items"]
    assert rows(page) == [one["name"] for one in expected]
    page.reload()
    assert rows(page) == [one["name"] for one in expected]


def test_the_next_page_and_back_from_a_customer_lose_no_place(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    first = customers(page)
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2")).to_be_visible()
    second = customers(page)
    assert not set(first) & set(second)
    assert page.evaluate("scrollY") == 0
    expect(page.get_by_role("heading", name="Customers")).to_be_focused()
    page.reload()
    expect(page.get_by_text("Page 2")).to_be_visible()
    assert customers(page) == second

    link = page.locator("tbody a").last
    link.scroll_into_view_if_needed()
    place = page.evaluate("scrollY")
    link.click()
    expect(page.get_by_role("heading", name="Purchases")).to_be_visible()
    page.get_by_role("link", name="All customers").click()
    expect(page.get_by_text("Page 2")).to_be_visible()
    assert customers(page) == second
    expect(page.locator("tbody a").last).to_be_focused()
    assert abs(page.evaluate("scrollY") - place) < 5

    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_text("Page 1")).to_be_visible()
    assert customers(page) == first


def test_the_rows_of_before_stay_until_the_new_ones_are_there(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    before = rows(page)
    held = holding(page, re.compile("sort=oldest"))
    page.get_by_label("Sort").select_option("oldest")
    expect(page.locator("[aria-busy=true]")).to_have_count(1)
    assert page.locator("tbody a").all_inner_texts() == before
    held[0].continue_()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    assert rows(page) != before


def test_skeletons_hold_the_place_of_the_first_rows(page: Page, shop: Shop, look: Look) -> None:
    held = holding(page, re.compile(r"/v1/customers\?"))
    page.goto(shop.url)
    expect(page.locator("tbody tr")).to_have_count(8)
    expect(page.locator("tbody a")).to_have_count(0)
    look(page, "customers-loading")
    held[0].continue_()
    expect(page.locator("tbody a")).to_have_count(25)


def test_a_store_without_customers_is_told_how_they_come(
    new_context: NewContext, shop: Shop, look: Look, size: str
) -> None:
    page = new_context(size, store="brand-new").new_page()
    page.goto(shop.url)
    expect(page.get_by_role("heading", name="No customers yet")).to_be_visible()
    look(page, "customers-empty")
    page.get_by_role("button", name="Product").click()
    expect(page.get_by_text("No products yet")).to_be_visible()


def test_no_match_says_what_to_do(page: Page, shop: Shop, look: Look) -> None:
    page.goto(f"{shop.url}/?search=nobody-is-called-this")
    expect(page.get_by_role("heading", name="No customer matches")).to_be_visible()
    look(page, "customers-no-match")
    page.get_by_role("button", name="Clear search and filters").click()
    expect(page.locator("tbody a")).to_have_count(25)


def test_an_empty_page_with_a_cursor_is_looked_beyond(page: Page, shop: Shop) -> None:
    rest = shop.get("/v1/customers?search=a")

    def answer(route: Route) -> None:
        if "cursor=more" in route.request.url:
            listing(route, rest["items"])
        else:
            listing(route, [], "more")

    page.route(re.compile("/v1/.*search=a"), answer)
    page.goto(f"{shop.url}/?search=a")
    expect(page.locator("tbody a")).to_have_count(len(rest["items"]))


def test_a_list_that_cannot_be_loaded_says_why_and_tries_again(
    page: Page, shop: Shop, look: Look
) -> None:
    answers = [
        (403, '{"message": "Forbidden"}', "This login has no store"),
        (0, "", "The server could not be reached"),
        (503, '{"message": "Service Unavailable"}', "on our side"),
        (500, json.dumps({"code": "internal_error", "request_id": "r-1"}), "Request r-1"),
    ]
    pattern = re.compile(r"/v1/customers\?")

    for status, body, advice in answers:

        def refuse(route: Route, *, status: int = status, body: str = body) -> None:
            if status:
                route.fulfill(status=status, body=body, content_type="application/problem+json")
            else:
                route.abort()

        page.unroute(pattern)
        page.route(pattern, refuse)
        page.goto(shop.url)
        heading = page.get_by_role("heading", name="The customers could not be loaded")
        expect(heading).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text(advice)
        again = "Log in again" if status == 403 else "Try again"
        expect(page.get_by_role("button", name=again)).to_be_visible()
    look(page, "customers-error")
    page.unroute(pattern)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("tbody a")).to_have_count(25)


def test_a_cursor_that_no_longer_holds_leads_back_to_the_first_page(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.url}/?cursor=altered")
    expect(page.get_by_role("alert")).to_contain_text("This page of the list no longer exists")
    page.get_by_role("button", name="First page").click()
    expect(page.locator("tbody a")).to_have_count(25)


def test_new_rows_are_shown_within_100_ms_of_the_answer(
    new_context: NewContext, shop: Shop
) -> None:
    page = new_context().new_page()
    page.goto(shop.url)
    rows(page)
    everybody = len(shop.get("/v1/customers?limit=100")["items"])
    expected = {"oldest": everybody, "newest": 25}
    page.evaluate(
        """() => {
            window.shownAt = 0;
            const note = () => requestAnimationFrame(() => { window.shownAt = performance.now() });
            new MutationObserver(note).observe(
                document.querySelector('main'), { childList: true, subtree: true });
        }"""
    )
    spent = []
    for order in ("oldest", "newest", "oldest"):
        page.get_by_label("Rows per page").select_option("100" if order == "oldest" else "25")
        expect(page.locator("tbody a")).to_have_count(expected[order])
        page.wait_for_timeout(150)
        # From the last byte of the newest answer to the frame that shows its rows.
        spent.append(
            page.evaluate(
                """() => {
                    const answers = performance.getEntriesByType('resource')
                        .filter((one) => one.name.includes('/v1/customers?'));
                    return window.shownAt - answers.at(-1).responseEnd;
                }"""
            )
        )
    assert min(spent) <= 100, f"{spent} ms of page work"


def test_no_window_is_too_small_or_too_wide(new_context: NewContext, shop: Shop) -> None:
    page = new_context().new_page()
    customer = shop.get("/v1/customers")["items"][0]["customer_id"]
    for address, there in (("/", "tbody a"), (f"/customers/{customer}", "article")):
        page.goto(shop.url + address)
        expect(page.locator(there).first).to_be_visible()
        for width, height in ((360, 640), (768, 1024), (1920, 1080), (3840, 2160)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
