"""A store from its first event to its last removal, on the local stack: the project's own template
and handlers, really signed events, schedules that really fire."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from local.stack import Stack

CHAT = -1001900000001
PHRASE = "CANCEL PURCHASE"
DAY = 86_400
# A period that ends soon enough to wait for and late enough to be scheduled.
SOON = 80


class Store:
    """The stack as a store owner and its stand-ins see it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {stack.token()}"

    def scenario(self, *steps: dict[str, Any]) -> list[dict[str, Any]]:
        """Let things happen at Stripe, and wait until their events were delivered."""
        answer = requests.post(
            f"{self.stack.stripe_url}/_control/scenarios", json={"steps": list(steps)}, timeout=60
        )
        assert answer.ok, answer.text
        drained = requests.post(
            f"{self.stack.stripe_url}/_control/drain", json={"timeout": 60}, timeout=90
        )
        assert drained.ok, drained.text
        results: list[dict[str, Any]] = answer.json()["list"]
        return results

    def get(self, path: str, **query: Any) -> Any:
        answer = self.session.get(f"{self.stack.url}/v1/{path}", params=query, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def customer(self, email: str) -> dict[str, Any]:
        """The detail of the customer with an e-mail address."""
        (found,) = self.get("customers", search=email)["items"]
        detail: dict[str, Any] = self.get(f"customers/{found['customer_id']}")
        return detail

    def cancel(self, detail: dict[str, Any], when: str) -> tuple[int, Any]:
        customer_id = detail["customer"]["customer_id"]
        (purchase,) = detail["purchases"]
        answer = self.session.post(
            f"{self.stack.url}/v1/customers/{customer_id}/purchases/"
            f"{purchase['purchase_id']}/cancel",
            json={"when": when, "confirmation": PHRASE},
            timeout=20,
        )
        return answer.status_code, answer.json()

    def asked_telegram(self, method: str, user: int) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.stack.telegram_url}/_control/requests", timeout=20)
        return [
            request
            for request in answer.json()
            if request["method"] == method and str(request["params"].get("user_id")) == str(user)
        ]

    def asked_stripe(self) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.stack.stripe_url}/_control/requests", timeout=20)
        asked: list[dict[str, Any]] = answer.json()["requests"]
        return asked

    def join(self, user: int) -> None:
        answer = requests.post(
            f"{self.stack.telegram_url}/_control/join",
            json={"chat_id": CHAT, "user_id": user},
            timeout=20,
        )
        assert answer.ok, answer.text


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """Wait for a condition; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)
    return value


@pytest.fixture(scope="module")
def store(stack: Stack) -> Store:
    return Store(stack)


@pytest.fixture(scope="module")
def product(store: Store) -> str:
    args = {"name": "Signals", "telegram_chat_ids": str(CHAT)}
    return str(store.scenario({"do": "create_product", "args": args})[0]["id"])


def subscribe(store: Store, product: str, *, name: str, user: int, **more: Any) -> dict[str, Any]:
    args = {
        "product": product,
        "name": name,
        "email": f"{name.lower()}@example.com",
        "telegram_user_id": user,
        "interval": "day",
    }
    results = store.scenario({"do": "subscribe", "args": args, **more})
    store.join(user)
    return results[0]


def test_an_immediate_cancel_ends_charges_and_access(store: Store, product: str) -> None:
    user = 7100001
    subscription = subscribe(store, product, name="Ada", user=user)
    detail = store.customer("ada@example.com")
    assert [row["type"] for row in detail["transactions"]["items"]] == ["charge"]
    assert detail["purchases"][0]["payment_method"]["type"] == "card"
    status, answer = store.cancel(detail, "immediately")
    assert (status, answer["changed"]) == (200, True)
    assert answer["purchase"]["status"] == "cancelled"
    assert answer["purchase"]["access"]["state"] == "revoked"
    assert len(store.asked_telegram("unbanChatMember", user)) == 1
    deletes = [r["path"] for r in store.asked_stripe() if r["method"] == "DELETE"]
    assert deletes.count(f"/v1/subscriptions/{subscription['id']}") == 1
    status, again = store.cancel(store.customer("ada@example.com"), "immediately")
    assert (status, again["changed"]) == (200, False)
    assert len(store.asked_telegram("unbanChatMember", user)) == 1


def test_a_schedule_fires_at_the_periods_end_and_takes_the_buyer_out(
    store: Store, product: str
) -> None:
    user = 7100002
    begun = int(time.time()) - DAY + SOON
    subscription = subscribe(store, product, name="Grace", user=user, at=begun)
    status, answer = store.cancel(store.customer("grace@example.com"), "period_end")
    purchase = answer["purchase"]
    assert (status, answer["changed"], purchase["status"]) == (200, True, "active")
    assert purchase["cancel_at"] == purchase["current_period_end"]
    assert store.asked_telegram("unbanChatMember", user) == []

    def over() -> Any:
        (shown,) = store.customer("grace@example.com")["purchases"]
        return shown if shown["access"]["state"] == "revoked" else None

    shown = until(over, SOON + 60)
    assert shown["status"] == "cancelled"
    assert shown["end_reason"] == "cancelled_by_owner"
    assert len(store.asked_telegram("unbanChatMember", user)) == 1
    log = store.stack.data_dir / "logs" / "functions.log"
    until(
        lambda: any(
            "schedule fired" in line and subscription["id"] in line
            for line in log.read_text().splitlines()
        ),
        30,
    )


def test_no_request_ever_asks_for_a_refund(store: Store) -> None:
    assert [r for r in store.asked_stripe() if "refund" in r["path"] and r["method"] != "GET"] == []


def test_without_a_token_the_gateway_refuses(store: Store) -> None:
    answer = requests.get(f"{store.stack.url}/v1/customers", timeout=20)
    assert answer.status_code == 401


def test_another_store_sees_nothing(store: Store, product: str) -> None:
    subscribe(store, product, name="Linus", user=7100003)
    customer_id = store.customer("linus@example.com")["customer"]["customer_id"]
    headers = {"Authorization": f"Bearer {store.stack.token('other')}"}
    listed = requests.get(f"{store.stack.url}/v1/customers", headers=headers, timeout=20)
    assert listed.json() == {"items": [], "next_cursor": None}
    answer = requests.get(
        f"{store.stack.url}/v1/customers/{customer_id}", headers=headers, timeout=20
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {}, 400),
        (b"{}", {"Stripe-Signature": "t=1,v1=00"}, 400),
        (b"x" * 2_000_000, {"Stripe-Signature": "t=1,v1=00"}, 413),
    ],
)
def test_what_is_not_stripes_is_refused(
    store: Store, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = requests.post(store.stack.webhook_url, data=body, headers=headers, timeout=20)
    assert answer.status_code == status
    assert "Traceback" not in answer.text
