"""Everybody who should be out of a chat and is not, and trying all of them again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.domain.clock import parse_iso
from shared.settings import SETTLE_SECONDS
from shared.storage.attention import LATE_SECONDS
from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.functions.http import api_event, json_of
from tests.functions.shop import CHAT, USER, Shop
from tests.functions.test_get_customer import check


def attention(shop: Shop, query: Any = "", store: str = "demo") -> dict[str, Any]:
    status, page = shop.get("/v1/attention", query, store=store)
    assert status == 200, page
    check("AttentionPage", page)
    result: dict[str, Any] = page
    return result


def everything(shop: Shop, limit: int) -> Iterator[dict[str, Any]]:
    """All pages' rows."""
    cursor = None
    while True:
        query = [("limit", str(limit)), *([] if cursor is None else [("cursor", cursor)])]
        page = attention(shop, query)
        assert len(page["items"]) <= limit
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


@pytest.fixture
def product(shop: Shop) -> str:
    return str(shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"])


def sell(shop: Shop, product: str, user: int) -> dict[str, Any]:
    """A subscription of a new customer whose linked buyer is in the product's chat."""
    sold = shop.stripe.live.subscribe(
        product=product, telegram_user_id=user, name=f"Buyer {user}", email=f"b{user}@shop.example"
    )
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, user)
    return dict(sold)


def customer_ids(shop: Shop) -> dict[str, str]:
    _, page = shop.get("/v1/customers", "limit=100")
    return {customer["name"]: customer["customer_id"] for customer in page["items"]}


def cancel(shop: Shop, sold: dict[str, Any], user: int) -> tuple[int, Any]:
    customer_id = customer_ids(shop)[f"Buyer {user}"]
    path = f"/v1/customers/{customer_id}/purchases/{sold['id']}/cancel"
    return shop.post(path, {"when": "immediately", "confirmation": "CANCEL PURCHASE"})


def lose_rights(shop: Shop, *, back: bool = False) -> None:
    shop.telegram.bot_api.set_bot(CHAT, can_restrict_members=back)


def test_nobody_needs_attention_in_a_store_where_all_went_well(shop: Shop, product: str) -> None:
    sold = sell(shop, product, USER)
    assert attention(shop) == {"items": [], "next_cursor": None}
    assert cancel(shop, sold, USER)[0] == 200
    assert attention(shop) == {"items": [], "next_cursor": None}


def test_a_failed_removal_is_listed_with_its_customer_chat_and_reason(
    shop: Shop, product: str
) -> None:
    sold = sell(shop, product, USER)
    lose_rights(shop)
    status, answer = cancel(shop, sold, USER)
    assert status == 202
    (item,) = attention(shop)["items"]
    (customer,) = shop.get("/v1/customers")[1]["items"]
    (chat,) = answer["purchase"]["access"]["chats"]
    assert item["customer"] == customer
    assert item["purchase_id"] == sold["id"]
    assert item["product"] == {"product_id": product, "name": "Signals"}
    assert item["chat"] == chat
    assert item["telegram_user_id"] == str(USER)
    assert (item["state"], item["reason"]) == ("failed", "bot_not_administrator")
    ended_at = parse_iso(answer["purchase"]["ended_at"])
    assert ended_at <= parse_iso(item["since"]) <= time.time()


def test_a_removal_that_succeeds_leaves_the_list(shop: Shop, product: str) -> None:
    sold = sell(shop, product, USER)
    lose_rights(shop)
    cancel(shop, sold, USER)
    lose_rights(shop, back=True)
    shop.post(shop.path_of({"purchase_id": sold["id"]}, "revocation"))
    assert shop.kicks() == [(CHAT, USER)]
    assert attention(shop)["items"] == []


def test_somebody_the_owner_leaves_in_is_off_the_list(shop: Shop, product: str) -> None:
    sold = sell(shop, product, USER)
    lose_rights(shop)
    cancel(shop, sold, USER)
    status, answer = shop.post(
        shop.path_of({"purchase_id": sold["id"]}, "revocation"), {"leave": True}
    )
    assert (status, answer["purchase"]["access"]["state"]) == (200, "kept")
    assert attention(shop)["items"] == []


def test_a_removal_that_waits_is_listed_after_a_quarter_of_an_hour(
    shop: Shop, product: str, clock: Any
) -> None:
    sell(shop, product, USER)
    shop.telegram.fail("server_error")
    shop.cancel()
    assert shop.purchase()["access"]["state"] == "revoking"
    assert attention(shop)["items"] == []
    clock.later(LATE_SECONDS)
    (item,) = attention(shop)["items"]
    assert (item["state"], item["reason"]) == ("revoking", "telegram_unavailable")


def test_somebody_who_waits_for_an_answer_of_stripe_is_listed_as_stripe_unreachable(
    shop: Shop, product: str, clock: Any
) -> None:
    sold = sell(shop, product, USER)
    shop.stripe.live.cancel_subscription(sold["id"])
    shop.deliver()
    shop.stripe.fail(status=500, times=None)
    clock.later(SETTLE_SECONDS)
    shop.sweep()
    assert attention(shop)["items"] == []
    clock.later(LATE_SECONDS)
    (item,) = attention(shop)["items"]
    assert (item["state"], item["reason"]) == ("revoking", "stripe_unreachable")
    # The owner decides on what is known.
    status, _ = shop.post(shop.path_of({"purchase_id": sold["id"]}, "revocation"))
    assert (status, shop.kicks()) == (200, [(CHAT, USER)])
    assert attention(shop)["items"] == []


def test_the_oldest_comes_first_and_pages_hold_everybody_once(
    shop: Shop, product: str, clock: Any
) -> None:
    users = [USER + n for n in range(7)]
    sold = {user: sell(shop, product, user) for user in users}
    lose_rights(shop)
    for user in reversed(users):
        cancel(shop, sold[user], user)
        clock.later(60)
    for limit in (1, 2, 3, 100):
        items = list(everything(shop, limit))
        assert [int(item["telegram_user_id"]) for item in items] == users[::-1]
        assert [item["since"] for item in items] == sorted(item["since"] for item in items)


def test_every_chat_of_a_purchase_has_a_row_of_its_own_across_pages(shop: Shop) -> None:
    chats = [CHAT - n for n in range(5)]
    made = shop.stripe.live.create_product(
        name="Bundle", telegram_chat_ids=",".join(map(str, chats))
    )
    sold = sell(shop, made["id"], USER)
    for chat in chats:
        shop.telegram.bot_api.join(chat, USER)
        shop.telegram.bot_api.set_bot(chat, can_restrict_members=False)
    cancel(shop, sold, USER)
    for limit in (1, 2, 100):
        rows = [item["chat"]["chat_id"] for item in everything(shop, limit)]
        assert sorted(rows) == sorted(map(str, chats))


def test_a_cursor_of_another_store_is_refused(shop: Shop, product: str) -> None:
    for user in (USER, USER + 1):
        sold = sell(shop, product, user)
        lose_rights(shop)
        cancel(shop, sold, user)
    cursor = attention(shop, "limit=1")["next_cursor"]
    Registry(shop.tables.records, "demo").register(Tenant("other"), "acct_other")
    status, problem = shop.get("/v1/attention", [("cursor", cursor)], store="other")
    assert (status, problem["code"]) == (422, "invalid_cursor")
    assert attention(shop, store="other")["items"] == []


def test_a_retry_of_everything_is_done_by_the_next_sweep(shop: Shop, product: str) -> None:
    users = [USER + n for n in range(3)]
    sold = {user: sell(shop, product, user) for user in users}
    for user in users:
        shop.telegram.bot_api.set_member(CHAT, user, status="administrator")
        assert cancel(shop, sold[user], user)[0] == 202
    shop.sweep()
    for user in users:
        shop.telegram.bot_api.set_member(CHAT, user, status="member")
    status, answer = shop.post("/v1/attention/retry")
    assert (status, answer) == (202, {"accepted": True})
    assert shop.kicks() == []
    assert shop.sweep()["retried"] == len(users)
    assert sorted(shop.kicks()) == [(CHAT, user) for user in users]
    assert attention(shop)["items"] == []


def test_a_retry_of_everything_is_scheduled_and_stands_in_each_history(
    shop: Shop, product: str
) -> None:
    sold = sell(shop, product, USER)
    lose_rights(shop)
    cancel(shop, sold, USER)
    shop.scheduler.schedules.clear()
    shop.post("/v1/attention/retry", {})
    (schedule,) = shop.scheduler.schedules.values()
    assert json.loads(schedule["Target"]["Input"]) == {}
    shop.fire()
    events = [(entry["actor"], entry["event"]) for entry in shop.purchase()["history"]]
    assert ("owner", "revocation_requested") in events
    assert shop.sweep()["retried"] == 0


def test_a_retry_of_everything_survives_a_scheduler_that_is_down(shop: Shop, product: str) -> None:
    sold = sell(shop, product, USER)
    shop.telegram.bot_api.set_member(CHAT, USER, status="administrator")
    cancel(shop, sold, USER)
    shop.telegram.bot_api.set_member(CHAT, USER, status="member")
    shop.scheduler.down = True
    status, _ = shop.post("/v1/attention/retry")
    assert status == 202
    shop.sweep()
    assert shop.kicks() == [(CHAT, USER)]


def test_a_retry_of_everything_takes_no_fields(shop: Shop) -> None:
    status, problem = shop.post("/v1/attention/retry", {"store": "other"})
    assert (status, problem["code"]) == (422, "invalid_request")


def test_the_sweep_tells_the_backlog_of_all_stores(
    shop: Shop, product: str, clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [USER, USER + 1]
    first, second = (sell(shop, product, user) for user in users)
    shop.telegram.bot_api.set_member(CHAT, users[0], status="administrator")
    cancel(shop, first, users[0])
    shop.telegram.fail("server_error")
    cancel(shop, second, users[1])

    def gauges() -> tuple[float, float]:
        capsys.readouterr()
        shop.sweep()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (told,) = (line for line in lines if "RemovalsFailing" in line)
        return told["RemovalsFailing"][0], told["RemovalsLate"][0]

    assert gauges() == (1, 0)
    clock.later(LATE_SECONDS)
    assert gauges() == (1, 1)


def test_the_list_takes_the_parameters_of_pages_only(shop: Shop) -> None:
    answer = shop.invoke("get_customer", api_event("GET", "/v1/attention", query="state=failed"))
    assert (answer["statusCode"], json_of(answer)["code"]) == (422, "invalid_request")


def test_an_end_that_is_told_long_after_it_came_is_not_late_at_once(
    shop: Shop, product: str, clock: Any
) -> None:
    sold = sell(shop, product, USER)
    shop.stripe.live.portal_cancel(sold["id"])
    clock.later(60 * 86_400)
    shop.stripe.run_due()
    shop.deliver()
    assert attention(shop)["items"] == []
    assert shop.sweep()["late"] == 0
    assert shop.kicks() == [(CHAT, USER)]
