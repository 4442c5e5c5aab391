"""A store from its first event to its last removal, on the local stack: the project's own template
and handlers, really signed events."""

from __future__ import annotations

import pytest
import requests

from tests.e2e.store import Store, subscribe


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
