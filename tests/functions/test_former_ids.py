"""A customer id never dies: every route takes the ids that a customer had before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.functions.shop import CHAT, USER, Shop

CANCEL = {"when": "period_end", "confirmation": "CANCEL PURCHASE"}


@dataclass(frozen=True)
class Renamed:
    """A customer whose id has changed.

    Attributes:
        ids: all there were, the current one last.
        purchase: of a live subscription.
        old_cursors: of lists, given out under the first id.
    """

    ids: tuple[str, ...]
    purchase: str
    old_cursors: dict[str, str]


def rename(shop: Shop, account: str, grouptizer_id: str) -> str:
    shop.stripe.live.update_customer(account, metadata={"grouptizer_id": grouptizer_id})
    shop.deliver()
    return str(shop.customer()["customer"]["customer_id"])


@pytest.fixture
def renamed(shop: Shop) -> Renamed:
    purchase = shop.sell()
    live = shop.stripe.live
    account = live.get("subscription", purchase)["customer"]
    for _ in range(2):
        product = live.create_product(name="More", telegram_chat_ids=str(CHAT))["id"]
        live.subscribe(product=product, customer=account, telegram_user_id=USER)
        shop.stripe.advance(60)
    shop.deliver()
    first = str(shop.customer()["customer"]["customer_id"])
    cursors = {
        name: shop.get(f"/v1/customers/{first}/{name}", [("limit", "1")])[1]["next_cursor"]
        for name in ("purchases", "transactions")
    }
    ids = (first, rename(shop, account, "gz-1"), rename(shop, account, "gz-2"))
    assert len(set(ids)) == 3
    return Renamed(ids, purchase, cursors)


Route = Callable[[Shop, str, str], tuple[int, Any]]

READS: dict[str, Route] = {
    "customer": lambda shop, id_, _: shop.get(f"/v1/customers/{id_}"),
    "purchases": lambda shop, id_, _: shop.get(f"/v1/customers/{id_}/purchases"),
    "transactions": lambda shop, id_, _: shop.get(f"/v1/customers/{id_}/transactions"),
    "cancel_preview": lambda shop, id_, purchase: shop.get(
        f"/v1/customers/{id_}/purchases/{purchase}/cancel_preview"
    ),
}
CHANGES: dict[str, Route] = {
    "cancel": lambda shop, id_, purchase: shop.post(
        f"/v1/customers/{id_}/purchases/{purchase}/cancel", CANCEL
    ),
    "revocation": lambda shop, id_, purchase: shop.post(
        f"/v1/customers/{id_}/purchases/{purchase}/revocation"
    ),
}


@pytest.mark.parametrize("route", READS)
def test_a_former_id_is_answered_as_the_current_one(
    shop: Shop, renamed: Renamed, route: str
) -> None:
    answers = [READS[route](shop, id_, renamed.purchase) for id_ in renamed.ids]
    assert [status for status, _ in answers] == [200, 200, 200]
    bodies = [_without_cursors(body) for _, body in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    if route == "customer":
        assert bodies[0]["customer"]["customer_id"] == renamed.ids[-1]


def _without_cursors(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {k: _without_cursors(v) for k, v in body.items() if not k.endswith("next_cursor")}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("route", CHANGES)
def test_a_purchase_is_changed_by_a_former_id(
    shop: Shop, renamed: Renamed, route: str, number: int
) -> None:
    status, answer = CHANGES[route](shop, renamed.ids[number], renamed.purchase)
    assert status == 200, answer
    assert answer["purchase"]["purchase_id"] == renamed.purchase
    assert answer["changed"] is (route == "cancel")


@pytest.mark.parametrize("name", ["purchases", "transactions"])
def test_a_cursor_goes_on_under_every_id_of_the_customer(
    shop: Shop, renamed: Renamed, name: str
) -> None:
    def page(id_: str, cursor: str) -> tuple[int, Any]:
        return shop.get(f"/v1/customers/{id_}/{name}", [("limit", "1"), ("cursor", cursor)])

    pages = [page(id_, renamed.old_cursors[name]) for id_ in renamed.ids]
    assert [status for status, _ in pages] == [200] * 3
    assert pages[0][1]["items"] == pages[1][1]["items"] == pages[2][1]["items"] != []
    onward = pages[2][1]["next_cursor"]
    assert page(renamed.ids[0], onward)[1]["items"] == page(renamed.ids[2], onward)[1]["items"]


def test_a_cursor_of_another_customer_is_refused(shop: Shop, renamed: Renamed) -> None:
    live = shop.stripe.live
    product = live.create_product(name="Other")["id"]
    live.subscribe(product=product, name="Bo", email="bo@x.example")
    shop.deliver()
    items = shop.get("/v1/customers")[1]["items"]
    (other,) = (one["customer_id"] for one in items if one["customer_id"] != renamed.ids[-1])
    cursor = renamed.old_cursors["transactions"]
    for id_, query in ((other, cursor), (renamed.ids[0], cursor + "A")):
        status, answer = shop.get(f"/v1/customers/{id_}/transactions", [("cursor", query)])
        assert (status, answer["code"]) == (422, "invalid_cursor")
    status, answer = shop.get(f"/v1/customers/{renamed.ids[0]}/purchases", [("cursor", cursor)])
    assert (status, answer["code"]) == (422, "invalid_cursor")


def test_an_idempotency_key_belongs_to_the_purchase_whichever_id_led_to_it(
    shop: Shop, renamed: Renamed
) -> None:
    def cancel(id_: str) -> tuple[int, Any]:
        path = f"/v1/customers/{id_}/purchases/{renamed.purchase}/cancel"
        return shop.post(path, CANCEL, key="key-1")

    first = cancel(renamed.ids[0])
    assert first[1]["changed"] is True
    assert [cancel(id_) for id_ in renamed.ids[1:]] == [first, first]
    assert cancel("cust_nobody")[0] == 404


def test_nobody_else_is_reached_by_a_former_id_of_another_store(
    shop: Shop, renamed: Renamed
) -> None:
    for id_ in renamed.ids:
        assert shop.get(f"/v1/customers/{id_}", store="other")[0] == 404
