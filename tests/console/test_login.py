"""The login: a code with PKCE, a token that is nowhere but in memory, and back to the address."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.console.conftest import Look, NewContext, Shop

pytestmark = pytest.mark.usefixtures("demo")


def test_whoever_is_not_logged_in_logs_in_and_comes_back_to_the_same_address(
    new_context: NewContext, shop: Shop, size: str
) -> None:
    page = new_context(size, store=None).new_page()
    with page.expect_request(re.compile("/oidc/authorize")) as asked:
        page.goto(f"{shop.url}/?search=a&sort=oldest")
    parameters = parse_qs(urlsplit(asked.value.url).query)
    assert parameters["response_type"] == ["code"]
    assert parameters["code_challenge_method"] == ["S256"]
    page.get_by_label("Store").fill("demo")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("tbody a").first).to_be_visible()
    assert page.url == f"{shop.url}/?search=a&sort=oldest"
    expect(page.get_by_role("searchbox")).to_have_value("a")
    expect(page.get_by_title("Store: demo")).to_be_visible()


def test_the_token_is_in_memory_only_and_a_reload_logs_in_silently(page: Page, shop: Shop) -> None:
    tokens = []
    page.on(
        "request",
        lambda request: (
            tokens.append(request.headers.get("authorization", "")[7:])
            if "/v1/" in request.url
            else None
        ),
    )
    page.goto(f"{shop.url}/?sort=oldest")
    expect(page.locator("tbody a").first).to_be_visible()
    kept = page.evaluate(
        "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    )
    assert tokens
    assert tokens[0]
    assert tokens[0] not in kept
    page.reload()
    expect(page.locator("tbody a").first).to_be_visible()
    assert page.url == f"{shop.url}/?sort=oldest"


def test_a_token_that_has_ended_leads_through_the_login_and_back(
    new_context: NewContext, shop: Shop, size: str
) -> None:
    page = new_context(size).new_page()  # a clock is a whole profile's
    page.clock.install()
    page.goto(shop.url)
    expect(page.locator("tbody a").first).to_be_visible()
    refused: list[Route] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route)
            route.fulfill(status=401, json={"message": "Unauthorized"})

    page.route(re.compile(r"/v1/customers\?"), refuse_once)
    page.clock.fast_forward("05:00")
    with page.expect_request(re.compile("/oidc/token")):
        page.get_by_label("Sort").select_option("oldest")
    expect(page.locator("tbody a").first).to_be_visible()
    assert page.url == f"{shop.url}/?sort=oldest"


def test_a_login_that_the_server_never_accepts_does_not_go_round_in_circles(
    page: Page, shop: Shop
) -> None:
    page.route(
        re.compile(r"/v1/"),
        lambda route: route.fulfill(status=401, json={"message": "Unauthorized"}),
    )
    page.goto(shop.url)
    expect(page.get_by_role("alert")).to_contain_text("Your login has ended")
    expect(page.get_by_role("button", name="Log in again")).to_be_visible()


def test_a_login_that_fails_says_so(page: Page, shop: Shop, look: Look) -> None:
    page.route(
        re.compile("/oidc/token"),
        lambda route: route.fulfill(status=400, json={"error": "invalid_grant"}),
    )
    page.goto(shop.url)
    expect(page.get_by_role("heading", name="The login did not succeed")).to_be_visible()
    look(page, "login-failed")
    page.unroute(re.compile("/oidc/token"))
    page.get_by_role("button", name="Log in again").click()
    expect(page.locator("tbody a").first).to_be_visible()


def test_an_answer_to_somebody_elses_login_is_not_taken(page: Page, shop: Shop) -> None:
    redeemed: list[str] = []
    page.on(
        "request",
        lambda r: redeemed.append(r.post_data or "") if "/oidc/token" in r.url else None,
    )
    page.goto(f"{shop.url}/login/callback?code=foreign&state=forged")
    expect(page.locator("tbody a").first).to_be_visible()
    assert len(redeemed) == 1
    assert "foreign" not in redeemed[0]


def test_logging_out_asks_for_the_store_again(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Store")).to_be_visible()
