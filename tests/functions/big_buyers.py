"""One buyer with very much of one kind, and what a request about that buyer costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.functions.http import api_event
from tests.functions.shop import CHAT, USER, Shop

AT = 1_790_000_000
EMAIL = "ann@shop.example"
GUESTS_EMAIL = "guest@shop.example"

Event = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """What three requests about a buyer took.

    Attributes:
        page, event, cancel: calls of the database.
        page_bytes: length of the page's answer.
    """

    page: int
    page_bytes: int
    event: int
    cancel: int


def _event(number: int, type_: str, **about: Any) -> Event:
    told = {"created": AT + 60 * number, "livemode": True, "currency": "eur", **about}
    return {
        "id": f"evt_{type_}_{number}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": AT + 60 * number,
        "livemode": True,
        "type": type_,
        "data": {"object": told},
    }


def _charge(number: int, **more: Any) -> Event:
    status = more.get("status", "succeeded")
    charge = {
        "id": f"ch_{number:06d}",
        "object": "charge",
        "customer": "cus_1",
        "amount": 1000,
        "amount_captured": 1000,
        "amount_refunded": 0,
        "captured": True,
        "refunded": False,
        "status": "succeeded",
        "payment_intent": f"pi_{number:06d}",
        "payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": "4242"}},
        "metadata": {},
    }
    return _event(number, f"charge.{status}", **charge | more)


def _intent(number: int, status: str, **more: Any) -> Event:
    intent = {
        "id": f"pi_{number:06d}",
        "object": "payment_intent",
        "customer": "cus_1",
        "status": status,
        "last_payment_error": None,
        "metadata": {"product_id": f"prod_{number % 5}", "telegram_user_id": str(USER)},
    }
    type_ = "succeeded" if status == "succeeded" else "payment_failed"
    return _event(number, f"payment_intent.{type_}", **intent | more)


def guest_checkouts(number: int) -> Iterator[Event]:
    metadata = {"product_id": f"prod_{number % 5}", "telegram_user_id": str(USER)}
    details = {"name": "Ann", "email": GUESTS_EMAIL}
    yield _charge(number, customer=None, metadata=metadata, billing_details=details)


def declined_guests(number: int) -> Iterator[Event]:
    for event in guest_checkouts(number):
        event["type"] = "charge.failed"
        event["data"]["object"] |= {"status": "failed", "captured": False, "amount_captured": 0}
        yield event


def purchases(number: int) -> Iterator[Event]:
    yield _intent(number, "succeeded")
    yield _charge(number)


def failed_payments(number: int) -> Iterator[Event]:
    yield _intent(number, "requires_payment_method", last_payment_error={"code": "card_declined"})
    yield _charge(number, status="failed", captured=False, amount_captured=0)


def transactions(number: int) -> Iterator[Event]:
    yield _charge(number)


HABITS: Mapping[str, Callable[[int], Iterator[Event]]] = {
    "guest checkouts": guest_checkouts,
    "purchases": purchases,
    "failed payments": failed_payments,
    "transactions": transactions,
}


def fill(shop: Shop, habit: str, first: int, last: int, *, chats: int = 1) -> None:
    """Let the buyer do it ``last - first`` times more; the first of all is a plain purchase.

    Args:
        chats: so many each product opens.
    """
    if first == 0:
        _post_all(shop, iter(_beginnings(chats)))
        one = guest_checkouts if habit == "guest checkouts" else purchases
        _post_all(shop, one(0))
    for number in range(max(first, 1), last):
        _post_all(shop, HABITS[habit](number))


def _beginnings(chats: int) -> list[Event]:
    opens = {"telegram_chat_ids": ",".join(str(CHAT - n) for n in range(chats))}
    products = [
        _event(0, "product.created", id=f"prod_{n}", object="product", name=f"P{n}", metadata=opens)
        for n in range(5)
    ]
    for number, event in enumerate(products):
        event["id"] = f"evt_product_{number}"
    ann = {"id": "cus_1", "object": "customer", "name": "Ann", "email": EMAIL, "metadata": {}}
    return [*products, _event(0, "customer.created", **ann)]


def _post_all(shop: Shop, events: Iterator[Event]) -> None:
    for event in events:
        assert shop.post_signed(event) == (200, {"result": "applied"}), event["type"]


def cost(shop: Shop, habit: str, number: int) -> Cost:
    """What a page, one more event and a cancel cost now; the event and the cancel take effect.

    Args:
        number: of a happening that has not been told yet.
    """
    calls = shop.tables.client.calls
    customer_id = shop.get("/v1/customers")[1]["items"][0]["customer_id"]
    shop.get(f"/v1/customers/{customer_id}")
    before = calls.total()
    answer = shop.invoke("get_customer", api_event("GET", f"/v1/customers/{customer_id}"))
    page, page_bytes = calls.total() - before, len(answer["body"].encode())
    assert answer["statusCode"] == 200
    before = calls.total()
    _post_all(shop, guest_checkouts(number) if habit == "guest checkouts" else purchases(number))
    event = calls.total() - before
    live = next(p for p in json.loads(answer["body"])["purchases"] if p["cancel_options"])
    before = calls.total()
    status, _ = shop.post(
        f"/v1/customers/{customer_id}/purchases/{live['purchase_id']}/cancel",
        {"when": "immediately", "confirmation": "CANCEL PURCHASE"},
    )
    assert status in (200, 202), status
    return Cost(page, page_bytes, event, calls.total() - before)
