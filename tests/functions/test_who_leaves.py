"""Who leaves which chat, when and why: from Stripe's events to Telegram.

Kinds of change, with their variants:

* a live purchase opens less than before: downgrade; item removed; upgrade; item added; the event
  that tells it twice, late, or after a later one; another purchase that still opens the chat;
* what a product opened at another time: before the purchase began, for a moment during it, after
  it ended; a chat that moved to another product; a test product with the same id;
* facts that come late: chats told after the end; a product told after the end; chats told of the
  other mode only;
* a new purchase that is on its way: under the same customer, a new customer, as a guest, with
  metadata on the session only, linked by the bus; one that was delivered nowhere;
* several products in one payment: two, three, one of them twice;
* a link that changes: taken off, replaced, taken off and made again, taken off after the end;
* a chat that is gone: no longer opened, still opened, moved to a new id;
* a set end later than the period: cancelled at the end of the period, or there already;
* a biller that is gone: the subscription, the account, the connection; a wrong key;
* Telegram hangs while an event ends, switches, unlinks or relinks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import pytest

from shared.settings import SETTLE_SECONDS
from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.functions.shop import USER, MovableClock, Shop
from tests.functions.webhook_world import signed

ONE, TWO, THREE = -1001000000001, -1001000000002, -1001000000003
SECOND = USER + 1


@pytest.fixture(autouse=True)
def _clock(clock: MovableClock) -> None:
    """Every test here moves the time."""


def product(shop: Shop, name: str, *chats: int, live: bool = True) -> str:
    account = shop.stripe.live if live else shop.stripe.test
    ids = ",".join(map(str, chats))
    made = account.create_product(name=name, telegram_chat_ids=ids)
    return str(made["id"])


def join(shop: Shop, user: int, *chats: int) -> None:
    for chat in chats:
        shop.telegram.bot_api.join(chat, user)


def is_in(shop: Shop, user: int = USER) -> set[int]:
    """The chats somebody is in."""
    return {
        chat
        for chat in (ONE, TWO, THREE)
        if chat in shop.telegram.bot_api.chats
        and shop.telegram.bot_api.status_of(chat, user) == "member"
    }


def settle(shop: Shop, clock: MovableClock) -> None:
    """Let what was told settle, and sweep."""
    clock.later(SETTLE_SECONDS + 1)
    shop.sweep()


def tell(shop: Shop, events: Iterable[dict[str, Any]]) -> None:
    """Deliver events, really signed, in this order."""
    for event in events:
        body = json.dumps(event).encode()
        assert shop.receive(body, {"Stripe-Signature": signed(body)}) == 200, event["type"]


class Events:
    """What happened at Stripe since, by type; ``with Events(shop) as new:`` delivers nothing."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.known = len(shop.stripe.events())

    @property
    def new(self) -> list[dict[str, Any]]:
        return self.shop.stripe.events()[self.known :]

    def of(self, *types: str) -> list[dict[str, Any]]:
        return [event for event in self.new if event["type"] in types]


def purchases(shop: Shop) -> dict[str, dict[str, Any]]:
    """Every purchase of the store, by id."""
    _, page = shop.get("/v1/customers", "limit=100")
    found: dict[str, dict[str, Any]] = {}
    for customer in page["items"]:
        _, detail = shop.get(f"/v1/customers/{customer['customer_id']}")
        found |= {p["purchase_id"]: p for p in detail["purchases"]}
    return found


def path_of(shop: Shop, purchase_id: str, action: str) -> str:
    _, page = shop.get("/v1/customers", "limit=100")
    for customer in page["items"]:
        _, detail = shop.get(f"/v1/customers/{customer['customer_id']}")
        if purchase_id in {p["purchase_id"] for p in detail["purchases"]}:
            return f"/v1/customers/{customer['customer_id']}/purchases/{purchase_id}/{action}"
    raise AssertionError(purchase_id)


def cancel(shop: Shop, purchase_id: str, when: str = "immediately", **more: Any) -> tuple[int, Any]:
    body = {"when": when, "confirmation": "CANCEL PURCHASE", **more}
    return shop.post(path_of(shop, purchase_id, "cancel"), body)


def chats_of(purchase: dict[str, Any]) -> dict[int, str]:
    return {int(c["chat_id"]): c["state"] for c in purchase["access"]["chats"]}


def events_of(purchase: dict[str, Any]) -> list[str]:
    return [entry["event"] for entry in purchase["history"]]


# -- a live purchase that opens less than before ---------------------------------------------------


@pytest.fixture
def plans(shop: Shop) -> tuple[str, str]:
    """A dear plan of both chats, and a cheap one of the second."""
    return product(shop, "Dear", ONE, TWO), product(shop, "Cheap", TWO)


def test_after_a_downgrade_the_member_leaves_what_the_cheaper_plan_does_not_open(
    shop: Shop, clock: MovableClock, plans: tuple[str, str]
) -> None:
    dear, cheap = plans
    sold = shop.stripe.live.subscribe(product=dear, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE, TWO)
    shop.stripe.live.change_plan(sold["id"], product=cheap)
    shop.deliver()
    shop.sweep()
    assert is_in(shop) == {ONE, TWO}  # it settles
    assert chats_of(purchases(shop)[sold["id"]]) == {TWO: "granted", ONE: "revoking"}
    settle(shop, clock)
    assert is_in(shop) == {TWO}
    purchase = purchases(shop)[sold["id"]]
    assert (purchase["status"], purchase["access"]["state"]) == ("active", "granted")
    assert "switched" in events_of(purchase)
    assert "access_revoked" in events_of(purchase)


def test_after_an_upgrade_nobody_leaves(
    shop: Shop, clock: MovableClock, plans: tuple[str, str]
) -> None:
    dear, cheap = plans
    sold = shop.stripe.live.subscribe(product=cheap, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, TWO)
    shop.stripe.live.change_plan(sold["id"], product=dear)
    shop.deliver()
    settle(shop, clock)
    assert is_in(shop) == {TWO}
    assert chats_of(purchases(shop)[sold["id"]]) == {ONE: "granted", TWO: "granted"}


@pytest.mark.parametrize("order", ["forwards", "backwards", "twice"])
def test_down_and_up_again_removes_nobody_whatever_the_order_of_the_events(
    shop: Shop, clock: MovableClock, plans: tuple[str, str], order: str
) -> None:
    dear, cheap = plans
    sold = shop.stripe.live.subscribe(product=dear, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE, TWO)
    since = Events(shop)
    clock.later(5)
    shop.stripe.live.change_plan(sold["id"], product=cheap)
    clock.later(5)
    shop.stripe.live.change_plan(sold["id"], product=dear)
    events = since.new
    tell(shop, {"forwards": events, "backwards": events[::-1], "twice": events * 2}[order])
    settle(shop, clock)
    assert is_in(shop) == {ONE, TWO}


def test_a_downgrade_that_is_told_late_still_takes_the_member_out(
    shop: Shop, clock: MovableClock, plans: tuple[str, str]
) -> None:
    dear, cheap = plans
    sold = shop.stripe.live.subscribe(product=dear, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE, TWO)
    since = Events(shop)
    clock.later(5)
    shop.stripe.live.change_plan(sold["id"], product=cheap)
    (switch,) = since.of("customer.subscription.updated")
    since = Events(shop)
    clock.later(3600)
    shop.stripe.live.pause_collection(sold["id"])
    tell(shop, since.new)  # says only that collection is paused, with the new items
    tell(shop, [switch])
    settle(shop, clock)
    assert is_in(shop) == {TWO}


def test_an_item_that_is_removed_takes_its_chat_with_it(shop: Shop, clock: MovableClock) -> None:
    one, two = product(shop, "One", ONE), product(shop, "Two", TWO)
    sold = shop.stripe.live.subscribe(product=one, more_products=[two], telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE, TWO)
    shop.stripe.live.change_items(sold["id"], sold=[two])
    shop.deliver()
    settle(shop, clock)
    assert is_in(shop) == {TWO}


def test_an_item_that_is_added_takes_nobody_out_and_leaves_with_the_purchase(
    shop: Shop, clock: MovableClock
) -> None:
    one, two = product(shop, "One", ONE), product(shop, "Two", TWO)
    sold = shop.stripe.live.subscribe(product=one, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE)
    clock.later(60)
    shop.stripe.live.change_items(sold["id"], sold=[one, two])
    shop.deliver()
    join(shop, USER, TWO)
    settle(shop, clock)
    assert is_in(shop) == {ONE, TWO}
    assert [p["product_id"] for p in purchases(shop)[sold["id"]]["products"]] == [one, two]
    assert cancel(shop, sold["id"])[0] == 200
    assert is_in(shop) == set()


def test_another_live_purchase_keeps_the_member_where_a_downgrade_would_end_it(
    shop: Shop, clock: MovableClock, plans: tuple[str, str]
) -> None:
    dear, cheap = plans
    sold = shop.stripe.live.subscribe(product=dear, telegram_user_id=USER)
    shop.stripe.live.subscribe(product=product(shop, "Other", ONE), telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE, TWO)
    shop.stripe.live.change_plan(sold["id"], product=cheap)
    shop.deliver()
    settle(shop, clock)
    assert is_in(shop) == {ONE, TWO}
    assert chats_of(purchases(shop)[sold["id"]])[TWO] == "granted"


# -- what a product opened at another time ---------------------------------------------------------


def test_a_chat_the_product_opened_before_the_purchase_began_is_no_business_of_it(
    shop: Shop, clock: MovableClock
) -> None:
    made = product(shop, "Signals", ONE, TWO)
    clock.later(3)
    shop.stripe.live.update_product(made, metadata={"telegram_chat_ids": str(TWO)})
    clock.later(1000)
    sold = shop.stripe.live.subscribe(product=made, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE, TWO)
    assert chats_of(purchases(shop)[sold["id"]]) == {TWO: "granted"}
    status, answer = cancel(shop, sold["id"])
    assert (status, chats_of(answer["purchase"])) == (200, {TWO: "revoked"})
    assert is_in(shop) == {ONE}


def test_a_chat_the_product_opened_for_a_moment_of_the_purchase_is_left_with_it(
    shop: Shop, clock: MovableClock
) -> None:
    made = product(shop, "Signals", ONE)
    sold = shop.stripe.live.subscribe(product=made, telegram_user_id=USER)
    clock.later(100)
    both = {"telegram_chat_ids": f"{ONE},{TWO}"}
    shop.stripe.live.update_product(made, metadata=both)
    clock.later(100)
    shop.stripe.live.update_product(made, metadata={"telegram_chat_ids": str(ONE)})
    shop.deliver()
    join(shop, USER, ONE, TWO)
    settle(shop, clock)
    assert is_in(shop) == {ONE, TWO}  # editing a product removes nobody
    cancel(shop, sold["id"])
    assert is_in(shop) == set()


def test_a_chat_the_product_opens_after_the_end_is_no_business_of_the_purchase(
    shop: Shop, clock: MovableClock
) -> None:
    made = product(shop, "Signals", ONE)
    sold = shop.stripe.live.subscribe(product=made, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE, TWO)
    clock.later(60)
    cancel(shop, sold["id"])
    clock.later(3600)
    shop.stripe.live.update_product(made, metadata={"telegram_chat_ids": f"{ONE},{TWO}"})
    shop.deliver()
    settle(shop, clock)
    settle(shop, clock)
    assert is_in(shop) == {TWO}


def test_a_chat_that_moved_to_another_product_keeps_those_who_bought_that(
    shop: Shop, clock: MovableClock
) -> None:
    first, second = product(shop, "First", ONE), product(shop, "Second", TWO)
    sold = shop.stripe.live.subscribe(product=first, telegram_user_id=USER)
    shop.stripe.live.subscribe(product=second, telegram_user_id=USER)
    clock.later(60)
    shop.stripe.live.update_product(first, metadata={"telegram_chat_ids": str(THREE)})
    shop.stripe.live.update_product(second, metadata={"telegram_chat_ids": f"{ONE},{TWO}"})
    shop.deliver()
    join(shop, USER, ONE, TWO)
    cancel(shop, sold["id"])
    assert is_in(shop) == {ONE, TWO}


def test_a_test_product_with_the_same_id_opens_its_own_chats(
    shop: Shop, clock: MovableClock
) -> None:
    for account, chat in ((shop.stripe.live, ONE), (shop.stripe.test, TWO)):
        account.create_product(id="prod_same", name="Same", telegram_chat_ids=str(chat))
    live = shop.stripe.live.subscribe(product="prod_same", telegram_user_id=USER)
    test = shop.stripe.test.subscribe(product="prod_same", telegram_user_id=SECOND)
    shop.deliver()
    join(shop, USER, ONE, TWO)
    join(shop, SECOND, ONE, TWO)
    found = purchases(shop)
    assert chats_of(found[live["id"]]) == {ONE: "granted"}
    assert chats_of(found[test["id"]]) == {TWO: "granted"}
    cancel(shop, live["id"])
    cancel(shop, test["id"])
    assert (is_in(shop, USER), is_in(shop, SECOND)) == ({TWO}, {ONE})


def test_a_test_purchase_keeps_nobody_against_the_end_of_a_live_one(
    shop: Shop, clock: MovableClock
) -> None:
    live = shop.stripe.live.subscribe(product=product(shop, "Live", ONE), telegram_user_id=USER)
    test_product = product(shop, "Test", ONE, live=False)
    shop.stripe.test.subscribe(product=test_product, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE)
    cancel(shop, live["id"])
    assert is_in(shop) == set()


# -- facts that come late --------------------------------------------------------------------------


def test_chats_told_after_the_end_take_the_member_out_as_chats_told_before(
    shop: Shop, clock: MovableClock
) -> None:
    since = Events(shop)
    made = product(shop, "Signals")
    clock.later(1)
    shop.stripe.live.update_product(made, metadata={"telegram_chat_ids": str(ONE)})
    clock.later(1)
    sold = shop.stripe.live.subscribe(product=made, telegram_user_id=USER)
    clock.later(60)
    shop.stripe.live.cancel_subscription(sold["id"])
    (chats_told,) = since.of("product.updated")
    join(shop, USER, ONE)
    # Stripe is asked for a product that nobody told of; here its older word is known.
    tell(shop, [event for event in since.new if event != chats_told])
    settle(shop, clock)
    clock.later(3600)
    tell(shop, [chats_told])
    settle(shop, clock)
    settle(shop, clock)
    assert is_in(shop) == set()
    assert chats_of(purchases(shop)[sold["id"]]) == {ONE: "revoked"}


def test_a_purchase_whose_product_opens_no_chat_is_never_called_removed(
    shop: Shop, clock: MovableClock
) -> None:
    sold = shop.stripe.live.subscribe(product=product(shop, "Plain"), telegram_user_id=USER)
    shop.deliver()
    shop.stripe.live.cancel_subscription(sold["id"])
    shop.deliver()
    settle(shop, clock)
    access = purchases(shop)[sold["id"]]["access"]
    assert (access["state"], access["chats"]) == ("no_chats", [])


def test_who_was_let_in_again_by_hand_stays_when_old_chats_are_told_once_more(
    shop: Shop, clock: MovableClock
) -> None:
    since = Events(shop)
    made = product(shop, "Signals", ONE)
    sold = shop.stripe.live.subscribe(product=made, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE)
    cancel(shop, sold["id"])
    shop.deliver()
    assert is_in(shop) == set()
    join(shop, USER, ONE)  # the owner lets the person in again
    tell(shop, since.new[::-1])
    settle(shop, clock)
    settle(shop, clock)
    assert is_in(shop) == {ONE}


# -- a new purchase that is on its way -------------------------------------------------------------


@pytest.fixture
def ending(shop: Shop) -> tuple[str, str]:
    """A product, and a live subscription to it whose member is in its chat."""
    made = product(shop, "Signals", ONE)
    sold = shop.stripe.live.subscribe(product=made, telegram_user_id=USER, name="Old")
    shop.deliver()
    join(shop, USER, ONE)
    return made, str(sold["id"])


def test_a_deletion_that_comes_before_the_new_subscription_removes_nobody(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    made, old = ending
    since = Events(shop)
    customer = shop.stripe.live.get("subscription", old)["customer"]
    shop.stripe.live.subscribe(product=made, telegram_user_id=USER, customer=customer)
    clock.later(1)
    shop.stripe.live.cancel_subscription(old)
    tell(shop, since.of("customer.subscription.deleted"))
    clock.later(1)
    tell(shop, since.of("customer.subscription.created", "customer.subscription.updated"))
    settle(shop, clock)
    assert is_in(shop) == {ONE}
    assert chats_of(purchases(shop)[old]) == {ONE: "kept"}


@pytest.mark.parametrize("how", ["same customer", "new customer", "guest", "session", "one-off"])
def test_a_new_purchase_of_which_no_event_came_is_found_before_anybody_is_removed(
    shop: Shop, clock: MovableClock, ending: tuple[str, str], how: str
) -> None:
    made, old = ending
    live = shop.stripe.live
    customer = live.get("subscription", old)["customer"]
    since = Events(shop)
    match how:
        case "same customer":
            live.subscribe(product=made, telegram_user_id=USER, customer=customer)
        case "new customer":
            live.subscribe(product=made, telegram_user_id=USER, name="New")
        case "guest":
            live.guest_checkout(product=made, telegram_user_id=USER)
        case "session":
            live.subscribe(product=made, telegram_user_id=USER, customer=customer, checkout=True)
        case "one-off":
            live.buy_one_off(product=made, telegram_user_id=USER, customer=customer)
    clock.later(120)  # Stripe's Search lags by up to a minute
    live.cancel_subscription(old)
    tell(shop, since.of("customer.subscription.deleted"))
    settle(shop, clock)
    assert is_in(shop) == {ONE}
    shop.deliver()
    settle(shop, clock)
    assert is_in(shop) == {ONE}


def test_a_new_purchase_that_the_bus_links_keeps_its_member(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    made, old = ending
    new = shop.stripe.live.subscribe(product=made, name="New")
    shop.deliver()
    shop.stripe.live.cancel_subscription(old)
    shop.deliver()
    shop.invoke(
        "store_events",
        {
            "id": "bus-1",
            "detail-type": "TelegramLinked",
            "time": "2026-11-26T12:00:00Z",
            "detail": {
                "store_id": "demo",
                "purchase_id": new["id"],
                "telegram_user_id": str(USER),
            },
        },
    )
    settle(shop, clock)
    assert is_in(shop) == {ONE}


def test_without_an_answer_of_stripe_nobody_is_removed(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, old = ending
    shop.stripe.live.cancel_subscription(old)
    shop.deliver()
    shop.stripe.fail(status=500, times=None)
    for _ in range(5):
        settle(shop, clock)
    assert is_in(shop) == {ONE}
    assert purchases(shop)[old]["access"]["state"] == "revoking"
    shop.stripe.faults.clear()
    clock.later(3600)
    shop.sweep()
    assert is_in(shop) == set()


def test_the_owners_own_cancel_waits_for_nothing(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, old = ending
    status, answer = cancel(shop, old)
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    assert is_in(shop) == set()


# -- several products in one payment ---------------------------------------------------------------


@pytest.mark.parametrize("extra", [[], ["third"], ["first"]])
def test_a_cart_opens_and_ends_the_chats_of_all_its_products(
    shop: Shop, clock: MovableClock, extra: list[str]
) -> None:
    made = {
        "first": product(shop, "First", ONE),
        "second": product(shop, "Second", TWO),
        "third": product(shop, "Third", THREE),
    }
    more = [made["second"], *(made[name] for name in extra)]
    shop.stripe.live.buy_one_off(
        product=made["first"], more_products=more, telegram_user_id=USER, product_in_metadata=False
    )
    shop.deliver()
    (purchase_id,) = purchases(shop)
    wanted = {made["first"], *more}
    shown = purchases(shop)[purchase_id]
    assert {p["product_id"] for p in shown["products"]} == wanted
    for one in wanted:
        _, page = shop.get("/v1/customers", [("product_id", one)])
        assert len(page["items"]) == 1
    join(shop, USER, ONE, TWO, THREE)
    assert cancel(shop, purchase_id)[0] == 200
    assert is_in(shop) == ({THREE} if "third" not in extra else set())


# -- a link that changes ---------------------------------------------------------------------------


def test_an_account_that_is_taken_off_leaves_and_the_history_says_who_and_why(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, sold = ending
    clock.later(60)
    shop.stripe.live.link_telegram(sold, None)
    shop.deliver()
    settle(shop, clock)
    assert is_in(shop) == set()
    purchase = purchases(shop)[sold]
    assert purchase["status"] == "active"
    assert purchase["access"]["state"] != "not_linked"
    (unlinked,) = (e for e in purchase["history"] if e["event"] == "unlinked")
    assert str(USER) in unlinked["detail"]
    assert "evt_" in unlinked["detail"]


def test_an_account_that_is_replaced_leaves_and_the_new_one_stays(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, sold = ending
    clock.later(60)
    shop.stripe.live.link_telegram(sold, SECOND)
    shop.deliver()
    join(shop, SECOND, ONE)
    settle(shop, clock)
    assert (is_in(shop, USER), is_in(shop, SECOND)) == (set(), {ONE})
    assert "relinked" in events_of(purchases(shop)[sold])


def test_an_account_that_is_taken_off_and_put_back_at_once_stays(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, sold = ending
    clock.later(60)
    since = Events(shop)
    shop.stripe.live.link_telegram(sold, None)
    clock.later(5)
    shop.stripe.live.link_telegram(sold, USER)
    tell(shop, since.new[::-1])
    settle(shop, clock)
    assert is_in(shop) == {ONE}
    assert {"unlinked", "linked"} <= set(events_of(purchases(shop)[sold]))


def test_a_former_account_whose_removal_failed_shows_in_the_state(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, sold = ending
    clock.later(60)
    shop.telegram.bot_api.set_member(ONE, USER, status="administrator")
    shop.stripe.live.link_telegram(sold, SECOND)
    shop.deliver()
    join(shop, SECOND, ONE)
    settle(shop, clock)
    access = purchases(shop)[sold]["access"]
    assert access["state"] == "failed"
    states = {c["telegram_user_id"]: c["state"] for c in access["chats"]}
    assert states == {str(USER): "failed", str(SECOND): "granted"}


# -- a chat that is gone ---------------------------------------------------------------------------


def test_a_dead_group_the_product_no_longer_opens_needs_nobodys_attention(
    shop: Shop, clock: MovableClock
) -> None:
    made = product(shop, "Club", ONE)
    clock.later(10)
    shop.stripe.live.update_product(made, metadata={"telegram_chat_ids": str(TWO)})
    clock.later(1000)
    sold = shop.stripe.live.subscribe(product=made, telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, TWO)
    shop.telegram.bot_api.add_chat(ONE)
    shop.telegram.bot_api.delete_chat(ONE)
    status, answer = cancel(shop, sold["id"])
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    assert is_in(shop) == set()


def test_a_dead_group_the_product_still_opens_is_told(shop: Shop, clock: MovableClock) -> None:
    sold = shop.stripe.live.subscribe(
        product=product(shop, "Club", ONE, TWO), telegram_user_id=USER
    )
    shop.deliver()
    join(shop, USER, ONE, TWO)
    shop.telegram.bot_api.delete_chat(ONE)
    status, answer = cancel(shop, sold["id"])
    assert (status, answer["purchase"]["access"]["state"]) == (202, "failed")
    assert chats_of(answer["purchase"]) == {ONE: "failed", TWO: "revoked"}


# -- a set end later than the period ---------------------------------------------------------------

DAY = 86_400


@pytest.mark.parametrize(("days", "changed"), [(330, True), (31, True), (0, False), (-3, False)])
def test_the_end_of_the_period_means_that_no_further_period_is_charged(
    shop: Shop, clock: MovableClock, ending: tuple[str, str], days: int, changed: bool
) -> None:
    _, sold = ending
    item = shop.stripe.live.get("subscription", sold)["items"]["data"][0]
    set_end = item["current_period_end"] + days * DAY
    shop.stripe.live.update_subscription(sold, {"cancel_at": set_end})
    shop.deliver()
    status, answer = cancel(shop, sold, "period_end")
    assert (status, answer["changed"]) == (200, changed)
    purchase = answer["purchase"]
    if changed:
        assert purchase["cancel_at"] == purchase["current_period_end"]
    assert is_in(shop) == {ONE}


# -- a biller that is gone -------------------------------------------------------------------------

GONE = {"error": {"type": "invalid_request_error", "code": "resource_missing"}}


def gone(shop: Shop, sold: str) -> None:
    shop.stripe.fail(path=f"/v1/subscriptions/{sold}", status=404, body=GONE, times=None)


def test_a_subscription_that_stripe_does_not_have_can_end_here(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, sold = ending
    gone(shop, sold)
    status, problem = cancel(shop, sold)
    assert (status, problem["code"]) == (502, "stripe_refused")
    assert problem["can_end_without_stripe"] is True
    assert purchases(shop)[sold]["access"]["state"] == "granted"
    status, answer = cancel(shop, sold, without_stripe=True)
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    assert answer["purchase"]["end_reason"] == "cancelled_by_owner"
    ended = [e for e in answer["purchase"]["history"] if e["event"] == "ended_without_stripe"]
    assert [e["detail"] for e in ended] == ["gone_at_stripe"]
    assert is_in(shop) == set()


def test_a_subscription_that_no_key_of_ours_sees_is_not_taken_for_gone(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    """A wrong key of the right form shows nothing of this account: that proves nothing."""
    _, sold = ending
    shop.stripe.fail(
        path="/v1/(subscriptions|customers|products)/.*", status=404, body=GONE, times=None
    )
    status, problem = cancel(shop, sold)
    assert (status, problem["code"]) == (502, "stripe_refused")
    assert not problem.get("can_end_without_stripe")
    status, problem = cancel(shop, sold, without_stripe=True)
    assert status == 502
    assert is_in(shop) == {ONE}


def test_in_a_closed_account_the_owner_may_end_it_here_and_is_told_that_charges_may_continue(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, sold = ending
    shop.stripe.close_account()
    status, problem = cancel(shop, sold)
    assert (status, problem["can_end_without_stripe"]) == (502, True)
    status, answer = cancel(shop, sold, without_stripe=True)
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    ended = [e for e in answer["purchase"]["history"] if e["event"] == "ended_without_stripe"]
    assert [e["detail"] for e in ended] == ["charges_may_continue"]


def test_in_a_disconnected_account_the_owner_may_end_it_here(
    shop: Shop, clock: MovableClock
) -> None:
    registry = Registry(shop.tables.records, "demo")
    registry.register(Tenant("demo"), "acct_demo")
    connected = shop.stripe.account("acct_demo")
    made = connected.create_product(name="Signals", telegram_chat_ids=str(ONE))
    sold = connected.subscribe(product=made["id"], telegram_user_id=USER)
    shop.deliver()
    join(shop, USER, ONE)
    connected.deauthorize()
    shop.deliver()
    status, problem = cancel(shop, sold["id"])
    assert (status, problem["can_end_without_stripe"]) == (502, True)
    status, answer = cancel(shop, sold["id"], without_stripe=True)
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    assert is_in(shop) == set()


def test_without_stripe_changes_nothing_where_stripe_can_end_it(
    shop: Shop, clock: MovableClock, ending: tuple[str, str]
) -> None:
    _, sold = ending
    status, answer = cancel(shop, sold, without_stripe=True)
    assert (status, answer["purchase"]["status"]) == (200, "cancelled")
    assert shop.stripe.live.get("subscription", sold)["status"] == "canceled"
    assert "ended_without_stripe" not in events_of(answer["purchase"])


# -- Telegram hangs --------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["deleted", "switched", "unlinked", "relinked"])
def test_an_event_is_answered_without_telegram_and_the_removal_is_due(
    shop: Shop, clock: MovableClock, ending: tuple[str, str], change: str
) -> None:
    _, sold = ending
    live = shop.stripe.live
    clock.later(60)
    match change:
        case "deleted":
            live.cancel_subscription(sold)
        case "switched":
            live.change_plan(sold, product=product(shop, "Other", TWO))
        case "unlinked":
            live.link_telegram(sold, None)
        case "relinked":
            live.link_telegram(sold, SECOND)
    shop.telegram.forget_requests()
    shop.telegram.fail("latency", seconds=25)
    began = time.monotonic()
    shop.deliver()
    assert time.monotonic() - began < 8
    assert shop.telegram.requests() == []
    assert is_in(shop) == {ONE}
    assert "revoking" in [c["state"] for c in purchases(shop)[sold]["access"]["chats"]]
    shop.telegram.heal()
    settle(shop, clock)
    assert is_in(shop) == set()
