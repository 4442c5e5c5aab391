"""A browser on the console of a running local stack.

Everything real but Stripe and Telegram: the built console, the login, the functions, the database.
Each test makes its own people, so that tests don't see each other's changes; those of the list
have some demo customers beside them. What a screen looks like is kept in
``test-artifacts/console``.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Route,
    ViewportSize,
    expect,
    sync_playwright,
)

from local.processes import clean_environment
from local.seed import Control, seed
from local.stack import DEFAULT_STORE, ROOT, Options, Stack

CONSOLE = ROOT / "console"
ARTIFACTS = ROOT / "test-artifacts" / "console"
DEMO_CUSTOMERS = 30

SIZES: dict[str, ViewportSize] = {
    "desktop": {"width": 1280, "height": 860},
    "phone": {"width": 360, "height": 740},
}

# Nothing shows a person's picture without a network; two in three of the demo's have one.
_PORTRAIT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40">
<rect width="40" height="40" fill="{back}"/><circle cx="20" cy="16" r="7.5" fill="{front}"/>
<path d="M5 44a15 15 0 0 1 30 0z" fill="{front}"/></svg>"""
_PALETTE = (("#d8e2dc", "#5c7a70"), ("#cddafd", "#4a5fa5"), ("#fde2e4", "#b56576"))

# An end that Stripe told settles, and the removal follows within 20 seconds of it; twice that on a
# machine that does other work.
expect.set_options(timeout=40_000)

T = TypeVar("T")


# What changes purchases, and the rest: about as long, so that two workers share the work and
# neither starts a stack for a test or two.
_GROUPS = {"test_cancel.py": "console-cancel", "test_customer.py": "console-cancel"}


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group(_GROUPS.get(item.path.name, "console")))


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    how = "Chromium is not installed; the console is tried in it: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(how)
    pytest.skip(how)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    executable = _chromium()
    if not (CONSOLE / "dist" / "index.html").is_file():
        pytest.fail("the console is not built: make console")
    with sync_playwright() as playwright:
        # For this package only: while it lives, no other test of this process can run a loop.
        running = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                # Nothing outside; without waiting for a network that may be there or not.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
            ],
            env=dict(clean_environment()),
        )
        yield running
        running.close()


@dataclass
class Shop:
    """The store: what happens at Stripe and Telegram, and who its customers are."""

    stack: Stack
    stripe: Control
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _made: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.stack.url

    def telegram(self, name: str, **body: Any) -> Any:
        """The Telegram stand-in's control API."""
        answer = requests.post(f"{self.stack.telegram_url}/_control/{name}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def heal_telegram(self) -> None:
        requests.delete(f"{self.stack.telegram_url}/_control/faults", timeout=30)

    def status_in(self, chat_id: int, user_id: int) -> str | None:
        """A person's status in a chat."""
        state = requests.get(f"{self.stack.telegram_url}/_control/state", timeout=30).json()
        for chat in state["chats"]:
            if chat["chat_id"] == chat_id:
                member = chat["members"].get(str(user_id))
                return None if member is None else str(member["status"])
        return None

    def live(self, *steps: dict[str, Any]) -> dict[str, Any]:
        """Lets scenarios happen at Stripe, and waits until we were told of all of them."""
        results = self.stripe.post("scenarios", {"steps": list(steps)})["results"]
        assert self.stripe.post("drain", {"timeout": 60})["drained"]
        return dict(results)

    def get(self, path: str, store: str = DEFAULT_STORE) -> Any:
        headers = {"Authorization": f"Bearer {self.stack.token(store)}"}
        answer = requests.get(self.url + path, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def customer_id(self, email: str) -> str:
        (found,) = self.get(f"/v1/customers?search={email}")["items"]
        return str(found["customer_id"])

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What a test only looks at, made for its first size and there for the second."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made

    def person(self, name: str = "Ada Tester") -> Buyer:
        """Somebody who has bought nothing yet, with a chat and a Telegram account of their own."""
        number = next(self._numbers)
        return Buyer(self, name, f"buyer{number}@tests.example", number)


@dataclass
class Buyer:
    shop: Shop
    name: str
    email: str
    number: int
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def user_id(self) -> int:
        return 700_000_000 + self.number

    def chat(self, n: int = 1) -> int:
        return -1002000000000 - self.number * 10 - n

    def _do(self, what: str, at: int | None = None, **arguments: Any) -> str:
        name = f"s{len(self.steps)}"
        step = {"do": what, "as": name, "args": arguments, "livemode": True}
        self.steps.append(step if at is None else {**step, "at": at})
        return name

    def product(self, name: str, *chats: int) -> str:
        """A product that opens these of the person's chats; the person is in all of them."""
        for n in chats:
            members = {self.shop_user: "member"}
            self.shop.telegram("chats", chat_id=self.chat(n), title=name, members=members)
        ids = [self.chat(n) for n in chats]
        return self._do("create_product", name=name, telegram_chat_ids=ids)

    @property
    def shop_user(self) -> str:
        return str(self.user_id)

    def _register(self) -> str:
        for step in self.steps:
            if step["do"] == "create_customer":
                return f"${step['as']}.id"
        name = self._do(
            "create_customer",
            name=self.name,
            email=self.email,
            grouptizer_id=f"gz_test_{self.number}",
        )
        return f"${name}.id"

    def buys(self, what: str, product: str, *, linked: bool = True, **more: Any) -> str:
        """``subscribe``, ``buy_one_off`` or ``redeem_access_code``; a name for the result."""
        user = {"telegram_user_id": self.user_id} if linked else {}
        return self._do(what, customer=self._register(), product=f"${product}.id", **user, **more)

    def does(self, what: str, **arguments: Any) -> str:
        return self._do(what, **arguments)

    def arrives(self) -> str:
        """Lets all of it happen; the customer's id."""
        self.shop.live(*self.steps)
        return self.shop.customer_id(self.email)


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Stack(Options(data_dir=tmp_path_factory.mktemp("console"), port=0)) as stack:
        yield Shop(stack, Control(stack.stripe_url))


@pytest.fixture(scope="package")
def demo(shop: Shop) -> None:
    """Customers enough for two pages of the list."""
    assert seed(shop.stack.stripe_url, DEMO_CUSTOMERS)["delivered"]


@pytest.fixture(autouse=True)
def _all_is_well_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves Stripe or Telegram broken for the next."""
    yield
    if "shop" in request.fixturenames:
        shop: Shop = request.getfixturevalue("shop")
        shop.heal_telegram()
        requests.delete(f"{shop.stack.stripe_url}/_control/faults", timeout=30)


def portraits(page: Page) -> None:
    """Pictures of people; without, there are none."""

    def draw(route: Route) -> None:
        number = re.search(r"(\d+)\.png", route.request.url)
        if number is None:
            route.abort()
            return
        back, front = _PALETTE[int(number[1]) // 3 % len(_PALETTE)]
        route.fulfill(content_type="image/svg+xml", body=_PORTRAIT.format(back=back, front=front))

    page.route("https://**/*", draw)


class People:
    """Browser profiles; what their pages complain about is kept."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url
        self.complaints: list[str] = []

    def new(self, size: str, store: str | None, **more: Any) -> BrowserContext:
        """``store``: whose owner has logged in before; whatever Playwright's ``new_context``
        takes."""
        settings: dict[str, Any] = {
            "viewport": SIZES[size],
            "is_mobile": size == "phone",
            "has_touch": size == "phone",
            "timezone_id": "Europe/Berlin",
            "locale": "en-GB",
            "reduced_motion": "reduce",
        }
        context = self._browser.new_context(**{**settings, **more})
        context.set_default_timeout(15_000)
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        if store is not None:
            self.log_in(context, store)
        return context

    def log_in(self, context: BrowserContext, store: str) -> None:
        # The issuer remembers who logged in, in a cookie.
        cookie: Any = {
            "name": f"store_{self._url.rsplit(':', 1)[1]}",
            "value": store,
            "domain": "localhost",
            "path": "/oidc",
        }
        context.add_cookies([cookie])

    def _heard(self, message: ConsoleMessage) -> None:
        # A request that fails is told in the console too; those are some tests' very subject.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)


@pytest.fixture(scope="package")
def people(browser: Browser, shop: Shop) -> People:
    return People(browser, shop.url)


@pytest.fixture
def _no_complaints(people: People) -> Iterator[None]:
    people.complaints.clear()
    yield
    assert people.complaints == []


NewContext = Callable[..., BrowserContext]


@pytest.fixture
def new_context(people: People, _no_complaints: None) -> Iterator[NewContext]:
    """Browser profiles of a test's own: ``size``, ``store`` (``None``: not logged in before)."""
    opened: list[BrowserContext] = []

    def new(size: str = "desktop", store: str | None = DEFAULT_STORE, **more: Any) -> Any:
        opened.append(people.new(size, store, **more))
        return opened[-1]

    yield new
    for context in opened:
        context.close()


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="package")
def profiles(people: People) -> Iterator[dict[str, BrowserContext]]:
    """One for each size: with its cache a page takes half the time."""
    made = {size: people.new(size, DEFAULT_STORE) for size in SIZES}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def page(
    profiles: dict[str, BrowserContext], people: People, size: str, _no_complaints: None
) -> Iterator[Page]:
    """A page of somebody logged in, on a desktop and on a phone."""
    people.log_in(profiles[size], DEFAULT_STORE)
    page = profiles[size].new_page()
    yield page
    if page.url.startswith("http"):
        page.evaluate("localStorage.clear()")
    page.close()


_AXE = (CONSOLE / "node_modules" / "axe-core" / "axe.min.js").read_text


class Look:
    """Keeps a picture of a screen, light and dark, and finds what is not accessible in it."""

    def __init__(self, size: str) -> None:
        self._size = size

    def __call__(self, page: Page, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        found = []
        page.evaluate(_AXE())
        # Between light and dark nothing but colours differs.
        for scheme, rules in (("light", None), ("dark", ["color-contrast"])):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", scheme)
            page.screenshot(path=ARTIFACTS / f"{name}-{self._size}-{scheme}.png")
            options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
            result = page.evaluate("(options) => axe.run(options)", options)
            for violation in result["violations"]:
                where = [node["html"][:200] for node in violation["nodes"]]
                found.append(f"{scheme}: {violation['id']}: {violation['help']}: {where}")
        page.emulate_media(color_scheme="light")
        assert found == []
        wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} px wider than the window"


@pytest.fixture
def look(size: str) -> Look:
    return Look(size)


def swept_until(shop: Shop, condition: Callable[[], Any]) -> Any:
    """Runs the sweep each second, and not more often, until a condition is true."""
    return wait_for(lambda: shop.stack.sweep() and condition(), every=1)


def wait_for(condition: Callable[[], Any], seconds: float = 30, *, every: float = 0.1) -> Any:
    """What a condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)
    return found
