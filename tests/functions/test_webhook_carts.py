"""Purchases of several products: which products count, and as which purchase."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from shared.domain.errors import TryAgainLater
from shared.domain.merge import Observation
from shared.domain.purchase import Purchase
from shared.storage.keys import purchase_key
from standins.stripe import NEWEST, OLDEST, StripeAccount, StripeStandin
from tests.functions.carts import (
    CARTS,
    FIRST_CHAT,
    USER,
    Sold,
    made,
    one_time_items_beside_a_subscription,
)
from tests.functions.shop import MovableClock, Shop
from tests.functions.test_webhook_convergence import START, handled
from tests.functions.test_webhook_scenarios import purchase, told
from tests.functions.webhook_world import STORE, World

DAY = 86_400
# The last item of a list is the one that an event doesn't hold.
LAST = 11


@pytest.fixture
def standin() -> StripeStandin:
    return StripeStandin(now=START)


@pytest.fixture
def account(standin: StripeStandin) -> StripeAccount:
    return standin.live


def asked(world: World) -> list[str]:
    """The lists and objects Stripe was asked for, without products and customers."""
    paths = (path for _, path in world.stripe.asked)
    return [p for p in paths if not p.startswith(("/v1/products", "/v1/customers"))]


@pytest.mark.parametrize("sell", CARTS, ids=lambda sell: sell.__name__)
def test_every_product_of_a_checkout_is_bought(
    sell: Callable[[StripeAccount], Sold], account: StripeAccount, standin: StripeStandin
) -> None:
    sold = sell(account)
    world = told(standin)
    found = {id_: purchase(world, id_) for id_ in sold.products}
    assert {id_: list(p.product_ids) for id_, p in found.items()} == sold.products
    assert {id_: p.status for id_, p in found.items()} == sold.status
    assert {p.telegram_user_id for p in found.values()} == {str(USER)}
    assert len(world.sources("PURCHASE#")) == len(sold.products)
    assert world.unlinked() == []


# -- several products in one payment --------------------------------------------------------------


def test_the_buyer_of_a_cart_is_found_by_each_product_and_leaves_every_chat(shop: Shop) -> None:
    products = {
        name: shop.stripe.live.create_product(name=name, telegram_chat_ids=str(chat))["id"]
        for name, chat in (("A", FIRST_CHAT), ("B", FIRST_CHAT - 1))
    }
    shop.stripe.live.buy_one_off(
        product=products["A"],
        more_products=[products["B"]],
        product_in_metadata=False,
        telegram_user_id=USER,
    )
    shop.deliver()
    for chat in (FIRST_CHAT, FIRST_CHAT - 1):
        shop.telegram.bot_api.join(chat, USER)
    for product_id in products.values():
        _, page = shop.get("/v1/customers", [("product_id", product_id)])
        assert len(page["items"]) == 1
    shown = shop.purchase()
    both = [{"product_id": product_id, "name": name} for name, product_id in products.items()]
    assert (shown["products"], shown["product"]) == (both, both[0])
    status, answer = shop.cancel("immediately")
    assert (status, answer["changed"]) == (200, True)
    assert sorted(shop.kicks()) == [(FIRST_CHAT - 1, USER), (FIRST_CHAT, USER)]


def test_line_items_are_read_to_their_last_page(
    account: StripeAccount, standin: StripeStandin
) -> None:
    products = made(account, 102)
    account.buy_one_off(product=products[0], more_products=products[1:], product_in_metadata=False)
    world = told(standin)
    assert [path.rsplit("/", 1)[1] for path in asked(world)] == ["line_items", "line_items"]


def test_a_product_in_the_metadata_is_the_only_one(
    account: StripeAccount, standin: StripeStandin
) -> None:
    one, other = made(account, 2)
    session = account.buy_one_off(product=one, more_products=[other])
    world = told(standin)
    bought = purchase(world, session["payment_intent"])
    assert bought.product_ids == (one,)
    assert bought.data("session")["products"] == []
    assert asked(world) == []


def test_a_product_in_the_payments_metadata_counts_more_than_line_items(
    account: StripeAccount, standin: StripeStandin
) -> None:
    one, other = made(account, 2)
    session = account.buy_one_off(product=one, more_products=[other])
    events = handled(standin)
    for event in events:
        if event["type"] == "checkout.session.completed":
            event["data"]["object"]["metadata"] = {}
    bought = purchase(World(standin).receive_all(events), session["payment_intent"])
    assert bought.data("session")["products"] == [one, other]
    assert bought.product_ids == (one,)


def test_a_cart_that_only_its_payment_told_of_is_whole(
    account: StripeAccount, standin: StripeStandin
) -> None:
    """``completed`` never came, ``async_payment_succeeded`` did."""
    products = made(account, 2)
    session = account.buy_one_off_async(
        product=products[0], more_products=products[1:], product_in_metadata=False, settle=True
    )
    events = [e for e in handled(standin) if e["type"] != "checkout.session.completed"]
    bought = purchase(World(standin).receive_all(events), session["payment_intent"])
    assert (bought.status, bought.product_ids) == ("active", tuple(products))


def test_a_cart_stored_as_its_first_product_becomes_whole_with_its_next_event(
    account: StripeAccount, standin: StripeStandin
) -> None:
    products = made(account, 2)
    session = account.buy_one_off_async(
        product=products[0], more_products=products[1:], product_in_metadata=False, settle=True
    )
    intent, customer = session["payment_intent"], session["customer"]
    older = {
        "id": session["id"],
        "mode": "payment",
        "outcome": "completed",
        "payment_status": "unpaid",
        "created_at": START,
        "product_id": products[0],
        "telegram_user_id": None,
        "access_code": None,
        "access_expires_at": None,
        "livemode": True,
    }
    world = World(standin)
    key = purchase_key(STORE, customer, intent)
    seen = Observation("session", older, START - 60, "evt_older")
    world.records.observe(key, seen, fetch=lambda: None)
    assert purchase(world, intent).product_ids == (products[0],)
    world.receive_all(handled(standin, "checkout.session.async_payment_succeeded"))
    assert purchase(world, intent).product_ids == tuple(products)


def test_without_its_line_items_a_payment_counts_without_a_product(
    account: StripeAccount, standin: StripeStandin
) -> None:
    products = made(account, 2)
    session = account.buy_one_off(
        product=products[0], more_products=products[1:], product_in_metadata=False
    )
    standin.fail("GET", ".*/line_items", status=403)
    world = told(standin)
    assert purchase(world, session["payment_intent"]).product_ids == ()
    assert "LineItemsNotReadable" in world.counted
    world.receive_all(handled(standin, "checkout.session.completed"))
    again = purchase(world, session["payment_intent"])
    assert again.visible
    assert again.is_live


# -- subscriptions of more than ten items ---------------------------------------------------------


def twelve(account: StripeAccount, **more: Any) -> tuple[str, list[str]]:
    """A subscription of twelve products, and the products."""
    products = made(account, 12)
    bought = account.subscribe(
        product=products[0],
        more_products=products[1:],
        telegram_user_id=USER,
        checkout=False,
        **more,
    )
    return bought["id"], products


def subscriptions_told(standin: StripeStandin, version: str = NEWEST) -> list[dict[str, Any]]:
    found = standin.events(api_version=version)
    return [e for e in found if e["type"].startswith("customer.subscription.")]


def test_items_past_the_tenth_are_asked_for_once_per_event(
    account: StripeAccount, standin: StripeStandin
) -> None:
    id_, products = twelve(account)
    events = subscriptions_told(standin)
    assert {len(e["data"]["object"]["items"]["data"]) for e in events} == {10}
    world = World(standin).receive_all(events)
    assert purchase(world, id_).product_ids == tuple(products)
    assert asked(world) == ["/v1/subscription_items"] * len(events)


def test_ten_items_are_asked_for_by_nobody(account: StripeAccount, standin: StripeStandin) -> None:
    products = made(account, 10)
    bought = account.subscribe(product=products[0], more_products=products[1:], checkout=False)
    world = told(standin)
    assert purchase(world, bought["id"]).product_ids == tuple(products)
    assert asked(world) == []


@pytest.mark.parametrize("version", [NEWEST, OLDEST])
@pytest.mark.parametrize("position", [0, LAST])
def test_the_period_ends_with_the_earliest_of_all_items(
    account: StripeAccount, standin: StripeStandin, version: str, position: int
) -> None:
    id_, _ = twelve(account)
    ends = START + 3 * DAY
    account.get("subscription", id_)["items"]["data"][position]["current_period_end"] = ends
    account.update_subscription(id_, {"metadata": {"note": "x"}})
    world = World(standin).receive_all(subscriptions_told(standin, version)[-1:])
    assert purchase(world, id_).data("subscription")["current_period_end"] == ends


def test_a_switch_of_one_item_loses_none_of_the_others(
    account: StripeAccount, standin: StripeStandin
) -> None:
    """What was before the switch is told with ten items, too."""
    id_, products = twelve(account)
    other = account.create_product(name="Other")["id"]
    standin.advance(60)
    account.change_plan(id_, product=other)
    told_before = subscriptions_told(standin)[-1]["data"]["previous_attributes"]
    assert len(told_before["items"]["data"]) == 10
    bought = purchase(World(standin).receive_all(subscriptions_told(standin)), id_)
    assert bought.product_ids == (other, *products[1:])
    assert set(bought.lost) == {(str(USER), products[0])}


def test_a_switch_told_first_says_what_was_before_it(
    account: StripeAccount, standin: StripeStandin
) -> None:
    id_, products = twelve(account)
    other = account.create_product(name="Other")["id"]
    standin.advance(60)
    account.change_plan(id_, product=other)
    known, events = handled(standin, "product.created"), subscriptions_told(standin)
    ordered = World(standin).receive_all([*known, *events])
    turned = World(standin).receive_all([*known, *reversed(events)])
    assert turned.state() == ordered.state()
    assert set(purchase(turned, id_).lost) == {(str(USER), products[0])}


def test_a_list_that_shrinks_below_ten_loses_what_was_taken_off(
    account: StripeAccount, standin: StripeStandin
) -> None:
    id_, products = twelve(account)
    standin.advance(60)
    target = account.get("subscription", id_)
    fewer = json.loads(json.dumps(target["items"]))
    del fewer["data"][8:]
    with standin.store.transaction():
        account.ledger.update("customer.subscription.updated", target, items=fewer)
    world = World(standin)
    for event in subscriptions_told(standin)[:-1]:
        # As if each had come before the items were taken off.
        now, target["items"] = target["items"], before_the_cut(event, products, target)
        world.receive_all([event])
        target["items"] = now
    world.receive_all(subscriptions_told(standin)[-1:])
    bought = purchase(world, id_)
    assert bought.product_ids == tuple(products[:8])
    assert {product for _, product in bought.lost} == set(products[8:])


def before_the_cut(
    event: Mapping[str, Any], products: Iterable[str], target: Mapping[str, Any]
) -> dict[str, Any]:
    """All twelve items, as Stripe had them at an event of ten."""
    held = event["data"]["object"]["items"]["data"]
    rest = [
        {**held[0], "id": f"si_rest_{number}", "price": {**held[0]["price"], "product": product}}
        for number, product in enumerate(products)
        if number >= len(held)
    ]
    return {**target["items"], "data": [*held, *rest]}


@pytest.mark.parametrize("status", [403, 404])
def test_an_end_is_applied_though_the_items_are_shown_to_nobody(
    account: StripeAccount, standin: StripeStandin, status: int
) -> None:
    id_, products = twelve(account)
    world = told(standin)
    account.cancel_subscription(id_)
    standin.fail("GET", "/v1/subscription_items", status=status, times=None)
    world.receive_all(subscriptions_told(standin)[-1:])
    bought = purchase(world, id_)
    assert bought.is_over
    assert {product for _, product in bought.lost} == set(products)


def test_an_event_waits_for_items_that_cannot_be_read_now(
    account: StripeAccount, standin: StripeStandin
) -> None:
    id_, products = twelve(account)
    standin.fail("GET", "/v1/subscription_items", status=500)
    world, (first, *more) = World(standin), subscriptions_told(standin)
    with pytest.raises(TryAgainLater):
        world.receive(first)
    assert world.sources("PURCHASE#") == {}
    world.receive_all([first, *more])
    assert purchase(world, id_).product_ids == tuple(products)


def test_the_answer_to_a_cancel_keeps_every_item(shop: Shop, clock: MovableClock) -> None:
    products = made(shop.stripe.live, 12)
    shop.stripe.live.subscribe(
        product=products[0], more_products=products[1:], telegram_user_id=USER
    )
    shop.deliver()
    assert shop.cancel("period_end")[0] == 200
    assert [p["product_id"] for p in shop.purchase()["products"]] == products
    clock.later(60)
    assert shop.cancel("immediately")[0] == 200
    assert [p["product_id"] for p in shop.purchase()["products"]] == products


# -- one-time items beside a subscription ---------------------------------------------------------


def both(world: World, sold: Sold) -> tuple[Purchase, Purchase]:
    """The subscription, and what was sold once with it."""
    subscription, session = sold.products
    return purchase(world, subscription), purchase(world, session)


def test_what_is_sold_once_is_a_one_off_purchase_by_its_session(
    account: StripeAccount, standin: StripeStandin
) -> None:
    sold = one_time_items_beside_a_subscription(account)
    _, extra = both(told(standin), sold)
    assert extra.kind == "one_off"
    assert extra.payment_provider == "stripe"
    assert extra.cancel_options == ("immediately",)


def test_a_completed_checkout_of_a_subscription_is_asked_for_its_line_items_once(
    account: StripeAccount, standin: StripeStandin
) -> None:
    account.subscribe(product=made(account, 1)[0])
    world = told(standin)
    assert [path.rsplit("/", 1)[1] for path in asked(world)] == ["line_items"]
    world.receive_all(handled(standin))
    assert len(asked(world)) == 1
    assert len(world.sources("PURCHASE#")) == 1


def test_a_known_checkout_with_one_time_items_is_not_asked_for_them_again(
    account: StripeAccount, standin: StripeStandin
) -> None:
    one_time_items_beside_a_subscription(account)
    world = told(standin)
    before = world.state()
    world.receive_all(handled(standin))
    assert len(asked(world)) == 1
    assert world.state() == before


def test_what_was_sold_once_goes_on_when_its_subscription_ends(shop: Shop) -> None:
    live, chats = shop.stripe.live, shop.telegram.bot_api
    monthly, once = made(live, 2)
    bought = live.subscribe(product=monthly, one_time_products=[once], telegram_user_id=USER)
    shop.deliver()
    for chat in (FIRST_CHAT, FIRST_CHAT - 1):
        chats.join(chat, USER)
    customer = shop.customer()
    path = f"/v1/customers/{customer['customer']['customer_id']}/purchases"
    body = {"when": "immediately", "confirmation": "CANCEL PURCHASE"}
    assert shop.post(f"{path}/{bought['id']}/cancel", body)[0] == 200
    shop.deliver()
    assert shop.kicks() == [(FIRST_CHAT, USER)]
    (extra,) = (p for p in shop.customer()["purchases"] if p["purchase_id"] != bought["id"])
    assert extra["purchase_id"].startswith("cs_")
    assert (extra["status"], extra["access"]["state"]) == ("active", "granted")
    assert shop.post(f"{path}/{extra['purchase_id']}/cancel", body)[0] == 200
    assert shop.kicks() == [(FIRST_CHAT, USER), (FIRST_CHAT - 1, USER)]


def as_bank_debit(standin: StripeStandin, succeeds: bool) -> list[dict[str, Any]]:
    """The events of a checkout as if it had been paid by a debit that is decided an hour later."""
    events = handled(standin)
    (completed,) = (e for e in events if e["type"] == "checkout.session.completed")
    decided = json.loads(json.dumps(completed))
    kind = "succeeded" if succeeds else "failed"
    decided |= {"id": "evt_decided", "type": f"checkout.session.async_payment_{kind}"}
    decided["created"] += 3600
    completed["data"]["object"]["payment_status"] = "unpaid"
    if not succeeds:
        decided["data"]["object"]["payment_status"] = "unpaid"
    return [*events, decided]


@pytest.mark.parametrize(("succeeds", "status"), [(True, "active"), (False, "failed")])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_sold_once_is_paid_when_its_checkout_is(
    account: StripeAccount, standin: StripeStandin, succeeds: bool, status: str, turned: bool
) -> None:
    sold = one_time_items_beside_a_subscription(account)
    events = as_bank_debit(standin, succeeds)
    world = World(standin).receive_all(events[:-1])
    assert both(world, sold)[1].status == "pending"
    if turned:
        world = World(standin).receive_all(reversed(events[:-1]))
    world.receive_all(events[-1:])
    assert both(world, sold)[1].status == status


@pytest.mark.parametrize("user", [700002, None])
@pytest.mark.parametrize("late", [False, True], ids=["in order", "the session comes last"])
def test_who_is_linked_to_the_subscription_is_linked_to_what_was_sold_with_it(
    account: StripeAccount, standin: StripeStandin, user: int | None, late: bool
) -> None:
    sold = one_time_items_beside_a_subscription(account)
    standin.advance(3600)
    account.link_telegram(next(iter(sold.products)), user)
    events = handled(standin)
    for event in events:
        if event["type"].startswith("checkout."):
            event["data"]["object"]["metadata"] = {}
    ordered = World(standin).receive_all(events)
    if late:
        events.sort(key=lambda event: event["type"].startswith("checkout."))
    world = World(standin).receive_all(events)
    expected = None if user is None else str(user)
    assert [p.telegram_user_id for p in both(world, sold)] == [expected, expected]
    assert {user for user, _ in both(world, sold)[1].lost} == {str(USER)}
    assert world.state() == ordered.state()
    assert world.unlinked() == []


def test_a_renewal_tells_what_was_sold_once_nothing(
    account: StripeAccount, standin: StripeStandin
) -> None:
    sold = one_time_items_beside_a_subscription(account)
    world = told(standin)
    standin.advance(40 * DAY)
    renewed = [e for e in handled(standin) if e["created"] > START]
    assert renewed
    before, asked_before = world.sources("PURCHASE#cs_"), asked(world)
    world.receive_all(renewed)
    assert world.sources("PURCHASE#cs_") == before
    assert asked(world) == asked_before
    assert both(world, sold)[1].status == "active"


def test_a_checkout_of_a_subscription_that_expired_sold_nothing(
    account: StripeAccount, standin: StripeStandin
) -> None:
    account.subscribe(product=made(account, 1)[0], one_time_products=made(account, 1), fails=True)
    standin.advance(2 * DAY)
    assert "checkout.session.expired" in {event["type"] for event in standin.events()}
    world = told(standin)
    assert world.sources("PURCHASE#cs_") == {}
    assert asked(world) == []


def test_the_metadata_of_a_subscriptions_checkout_says_nothing_of_what_it_sold_once(
    account: StripeAccount, standin: StripeStandin
) -> None:
    monthly, once = made(account, 2)
    account.subscribe(
        product=monthly,
        one_time_products=[once],
        product_in_metadata=True,
        trial_days=7,
        metadata={"access_code": "ABCD2345EFGH"},
    )
    events = handled(standin)
    for event in events:
        if event["type"].startswith("checkout."):
            event["data"]["object"]["payment_status"] = "no_payment_required"
    world = World(standin).receive_all(events)
    (session,) = account.all("checkout.session")
    extra = purchase(world, session["id"])
    assert (extra.kind, extra.product_ids) == ("one_off", (once,))
