"""Purchases and money as Stripe really tells of them, event after event."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from shared.domain.errors import TryAgainLater
from shared.domain.merge import Source
from shared.domain.purchase import Purchase
from shared.domain.transaction import Transaction, view
from shared.storage.keys import purchase_key
from shared.storage.products import product_of
from shared.stripe_events.events import HANDLERS
from shared.stripe_events.guests import Guests
from standins.stripe import NEWEST, OLDEST, StripeAccount, StripeStandin
from standins.stripe.history import history
from tests.functions.shop import Shop
from tests.functions.test_webhook_convergence import (
    START,
    guest_who_became_a_customer,
    handled,
    one_off_refunded_in_part,
)
from tests.functions.webhook_world import STORE, World

DAY = 86_400


@pytest.fixture
def standin() -> StripeStandin:
    return StripeStandin(now=START)


@pytest.fixture
def account(standin: StripeStandin) -> StripeAccount:
    return standin.live


def told(standin: StripeStandin) -> World:
    """A world that was told everything that happened."""
    return World(standin).receive_all(handled(standin))


def purchase(world: World, purchase_id: str) -> Purchase:
    (item,) = world.records.find(STORE, purchase_id)
    record = world.records.get(purchase_key(STORE, item["pk"].split("#", 2)[2], purchase_id))
    assert record is not None
    return record.purchase


def money(world: World) -> list[Transaction]:
    """All rows, the oldest first."""
    rows = [
        view({name: Source(data, 1) for name, data in sources.items()})
        for _, sources in sorted(world.sources("TXN#").items())
    ]
    return [row for row in rows if row is not None]


# -- subscriptions --------------------------------------------------------------------------------


def test_a_subscription_of_several_products_is_one_purchase(
    account: StripeAccount, standin: StripeStandin
) -> None:
    products = [account.create_product(name=name)["id"] for name in ("A", "B")]
    bought = account.subscribe(product=products[0], more_products=[products[1]])
    assert purchase(told(standin), bought["id"]).product_ids == tuple(products)


def test_metadata_of_the_subscriptions_session_counts_for_the_subscription(
    account: StripeAccount, standin: StripeStandin
) -> None:
    bought = account.subscribe(checkout=True)
    events = handled(standin)
    for event in events:
        if event["type"] == "checkout.session.completed":
            event["data"]["object"]["metadata"]["telegram_user_id"] = "700009"
    world = World(standin).receive_all(events)
    assert purchase(world, bought["id"]).telegram_user_id == "700009"


def test_a_trial_that_ends_without_a_payment_method_pauses(
    account: StripeAccount, standin: StripeStandin
) -> None:
    bought = account.subscribe(trial_days=4, no_payment_method=True, missing_payment_method="pause")
    assert purchase(told(standin), bought["id"]).status == "trialing"
    standin.advance(5 * DAY)
    assert purchase(told(standin), bought["id"]).status == "paused"
    account.resume_subscription(bought["id"])
    assert purchase(told(standin), bought["id"]).status == "active"


def test_a_cancel_in_the_portal_is_scheduled_and_can_be_taken_back(
    account: StripeAccount, standin: StripeStandin
) -> None:
    for mode in ("flexible", "classic"):
        bought = account.subscribe(billing_mode=mode)
        account.portal_cancel(bought["id"])
        scheduled = purchase(told(standin), bought["id"])
        assert scheduled.cancel_at == scheduled.data("subscription")["current_period_end"]
        account.portal_uncancel(bought["id"])
        assert purchase(told(standin), bought["id"]).cancel_at is None


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [("cancel", "cancelled", "payment_failed"), ("unpaid", "unpaid", None)],
)
def test_renewals_that_fail_end_as_the_store_has_set_it(
    account: StripeAccount, standin: StripeStandin, how: str, status: str, reason: str | None
) -> None:
    bought = account.subscribe()
    account.fail_renewal(bought["id"])
    assert purchase(told(standin), bought["id"]).status == "past_due"
    account.give_up(bought["id"], how=how)
    ended = purchase(told(standin), bought["id"])
    assert (ended.status, ended.end_reason) == (status, reason)


def test_a_first_payment_that_never_comes_expires(
    account: StripeAccount, standin: StripeStandin
) -> None:
    bought = account.subscribe(fails=True)
    assert purchase(told(standin), bought["id"]).status == "incomplete"
    standin.advance(2 * DAY)
    assert purchase(told(standin), bought["id"]).status == "expired"


def test_a_payment_of_a_subscription_leads_to_it_and_is_no_purchase(
    account: StripeAccount, standin: StripeStandin
) -> None:
    bought = account.subscribe(checkout=False)
    world = told(standin)
    assert [*world.sources("PURCHASE#")] == [f"PURCHASE#{bought['id']}"]
    (charge,) = money(world)
    assert charge.payment is not None
    link = world.sources(f"LINK#{charge.payment}")
    (paid,) = link.values()
    assert paid["payment"]["subscription"] == bought["id"]


@pytest.mark.parametrize("version", [NEWEST, OLDEST])
def test_a_first_payment_that_fails_leads_to_its_subscription(
    account: StripeAccount, standin: StripeStandin, version: str
) -> None:
    """No ``invoice_payment.paid`` tells of it, and in the new shape its charge names no invoice."""
    bought = account.subscribe(fails=True, checkout=False)
    events = standin.events(types=HANDLERS, api_version=version)
    world = World(standin).receive_all(events)
    (charge,) = money(world)
    assert charge.status == "failed"
    (link,) = world.sources(f"LINK#{charge.payment}").values()
    assert link["payment"]["subscription"] == bought["id"]
    assert world.stripe.asked == []


def test_a_reference_that_only_looks_like_an_invoice_links_nothing(
    account: StripeAccount, standin: StripeStandin
) -> None:
    bought = account.subscribe(fails=True, checkout=False)
    other = account.subscribe(fails=True, checkout=False)
    events = standin.events(types=HANDLERS)
    failed = [e for e in events if e["type"] == "payment_intent.payment_failed"]
    of_other = failed[1]["data"]["object"]["payment_details"]["order_reference"]
    for reference in ("in_of_the_store", of_other, "order 7", 7, None):
        details = {"customer_reference": None, "order_reference": reference}
        told_wrong = json.loads(json.dumps(failed[0]))
        told_wrong["data"]["object"]["payment_details"] = details
        world = World(standin).receive_all(e for e in events if e not in failed)
        assert world.receive(told_wrong) == "applied"
        assert world.sources("LINK#") == {}
    assert bought["customer"] != other["customer"]


def test_a_payment_method_is_kept_until_it_is_removed(
    account: StripeAccount, standin: StripeStandin
) -> None:
    owner = account.create_customer()["id"]
    method = account.attach_payment_method(owner, default=True)["id"]
    world = told(standin)
    (profile,) = world.sources("PROFILE").values()
    assert profile["customer"]["default_payment_method"] == method
    account.detach_payment_method(method)
    world = told(standin)
    assert world.sources(f"METHOD#{method}").popitem()[1]["method"]["deleted"] is True
    (profile,) = world.sources("PROFILE").values()
    assert profile["customer"]["default_payment_method"] is None


# -- one-off purchases ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settles", "status"), [(None, "pending"), (True, "active"), (False, "failed")]
)
def test_a_bank_debit_is_pending_until_it_is_decided(
    account: StripeAccount, standin: StripeStandin, settles: bool | None, status: str
) -> None:
    session = account.buy_one_off_async(settle=settles)
    assert purchase(told(standin), session["payment_intent"]).status == status


def test_an_attempt_that_failed_does_not_hide_the_one_that_paid(
    account: StripeAccount, standin: StripeStandin
) -> None:
    session = account.buy_one_off(telegram_user_id=700001)
    paid = next(e for e in standin.events() if e["type"] == "charge.succeeded")
    failed = json.loads(json.dumps(paid))
    failed |= {"id": "evt_failed", "type": "charge.failed", "created": paid["created"] - 60}
    failed["data"]["object"] |= {"id": "ch_failed", "status": "failed", "captured": False}
    touched = json.loads(json.dumps(failed))
    touched |= {"id": "evt_touched", "type": "charge.updated", "created": paid["created"] + 60}
    world = told(standin).receive_all([failed, touched])
    assert purchase(world, session["payment_intent"]).data("charge")["status"] == "succeeded"
    assert sorted(row.status for row in money(world)) == ["failed", "succeeded"]


def test_a_session_without_our_metadata_is_asked_for_its_line_items_once(
    account: StripeAccount, standin: StripeStandin
) -> None:
    product = account.create_product(name="Signals")["id"]
    session = account.buy_one_off_async(product=product, product_in_metadata=False, settle=True)
    world = told(standin)
    assert purchase(world, session["payment_intent"]).product_ids == (product,)
    asked = [path for _, path in world.stripe.asked]
    assert [path.rsplit("/", 1)[1] for path in asked if "sessions" in path] == ["line_items"]


def test_an_abandoned_session_leaves_nothing(
    account: StripeAccount, standin: StripeStandin
) -> None:
    account.open_checkout()
    standin.advance(2 * DAY)
    assert "checkout.session.expired" in {event["type"] for event in standin.events()}
    assert told(standin).sources("PURCHASE#") == {}


@pytest.mark.parametrize("expires_at", [None, "2026-12-24T00:00:00Z"])
def test_an_access_code_is_a_purchase_by_its_session(
    account: StripeAccount, standin: StripeStandin, expires_at: str | None
) -> None:
    session = account.redeem_access_code(
        access_code="ABCDEF123456", access_expires_at=expires_at, guest=True
    )
    bought = purchase(told(standin), session["id"])
    assert (bought.kind, bought.access_code) == ("access_code", "ABCDEF123456")
    assert bought.expires_at == (None if expires_at is None else 1_798_070_400)
    assert bought.payment_provider is None


def test_guests_with_one_address_are_one_customer(
    account: StripeAccount, standin: StripeStandin
) -> None:
    account.guest_checkout(name="Guest", email="guest@example.com")
    account.guest_checkout(name="Guest", email="Guest@Example.com")
    account.guest_checkout(name="Guest", email="other@example.com")
    rows = [item for item in told(standin).memory.dump("records") if item["sk"]["S"] == "CUSTOMER"]
    assert sorted(len(json.loads(item["accounts"]["S"])) for item in rows) == [1, 2]


def test_a_guest_who_turns_out_to_be_a_customer_is_listed_once(standin: StripeStandin) -> None:
    events = guest_who_became_a_customer(standin.live)
    late = sorted(events, key=lambda event: event["type"].startswith(("checkout", "customer")))
    world = World(standin)
    for event in late[:-2]:
        world.receive(event)
    before = [k for k, v in world.state().items() if k.endswith(" CUSTOMER")]
    assert len(before) == 1
    world.receive_all(late[-2:])
    customers = [v for k, v in world.state().items() if k.endswith(" CUSTOMER")]
    assert [json.loads(row["accounts"]) for row in customers] == [
        [events[0]["data"]["object"]["id"]]
    ]
    assert all("guest:" not in key or key.endswith("MOVED") for key in world.state())


def test_a_guest_is_adopted_by_an_event_that_was_stopped_and_comes_again(
    standin: StripeStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stored its purchase and was stopped before it looked for the guest; the sweep has seen to
    the list since, and other events of the purchase have come. Only it knows what is left to do."""
    events = guest_who_became_a_customer(standin.live)
    named = [e for e in events if e["data"]["object"].get("customer")]
    first = next(e for e in named if e["type"] == "checkout.session.completed")
    customer = first["data"]["object"]["customer"]
    guests_events = [e for e in events if e not in named]
    assert guests_events
    world = World(standin).receive_all(guests_events)

    def stopped(*_: object) -> str:
        raise TryAgainLater

    with monkeypatch.context() as patched:
        patched.setattr(Guests, "belongs_to", stopped)
        with pytest.raises(TryAgainLater):
            world.receive(first)
    world.customers.reindex(STORE, customer)
    world.receive_all([e for e in named if e is not first])
    world.receive_all([first])
    assert all("guest:" not in key or key.endswith("MOVED") for key in world.state())


def test_what_a_guests_event_brings_its_customer_is_complete(standin: StripeStandin) -> None:
    """The customer's own events found nothing to complete: this one is the first of the payment."""
    events = guest_who_became_a_customer(standin.live)
    charge = next(e for e in events if e["type"] == "charge.succeeded")
    session = next(e for e in events if e["type"] == "checkout.session.completed")
    assert charge["data"]["object"]["customer"] is None
    payment, customer = (
        charge["data"]["object"]["payment_intent"],
        session["data"]["object"]["customer"],
    )
    world = World(standin)
    world.services.guests.belongs_to(STORE, f"guest:{payment}", customer)
    world.receive_all([charge])
    (product,) = purchase(world, payment).product_ids
    assert world.products.known(STORE, [(True, product)])
    rows = [json.loads(v["row"]) for k, v in world.state().items() if k.endswith(" CUSTOMER")]
    assert [row["name"] for row in rows] == ["Renée"]


@pytest.mark.parametrize("seed", range(12))
def test_a_guest_and_its_customer_told_of_at_once_end_as_one(seed: int) -> None:
    standin = StripeStandin(now=START)
    events = guest_who_became_a_customer(standin.live)
    expected = World(standin).receive_all(events)
    random.Random(seed).shuffle(events)
    world = World(standin)
    in_parallel(world, [*events, *events[:3]])
    # Stripe's next delivery of any of them mends what a stopped one left.
    assert world.state() == expected.state()
    assert world.unlinked() == []


def in_parallel(world: World, events: list[dict[str, Any]], threads: int = 6) -> None:
    """Deliver all of the events, several at a time, each until it is taken."""
    todo, failures = list(events), []

    def deliver() -> None:
        while True:
            try:
                event = todo.pop()
            except IndexError:
                return
            for _ in range(20):
                try:
                    world.receive(event)
                    break
                except TryAgainLater:
                    continue
            else:
                failures.append(event["type"])

    workers = [threading.Thread(target=deliver) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


def test_a_guests_purchase_takes_our_own_part_along(standin: StripeStandin) -> None:
    world = World(standin)
    session = standin.live.guest_checkout(telegram_user_id=700001)
    world.receive_all(handled(standin))
    key = purchase_key(STORE, f"guest:{session['payment_intent']}", session["payment_intent"])
    leased = world.records.lease(key, "me")
    assert leased is not None
    with pytest.raises(TryAgainLater):
        Guests(world.records).adopt(STORE, f"guest:{session['payment_intent']}", "cus_1")
    world.records.save_own(leased, "me", lambda p: type(p.own)(audit=p.own.audit, schedule_at=5))
    world.records.release(key, "me")
    Guests(world.records).adopt(STORE, f"guest:{session['payment_intent']}", "cus_1")
    moved = purchase(world, session["payment_intent"])
    assert moved.own.schedule_at == 5
    assert moved.seen_users == {"700001"}
    assert world.unlinked() == []


# -- money ----------------------------------------------------------------------------------------


def test_refunds_are_rows_of_their_own_and_add_up(
    account: StripeAccount, standin: StripeStandin
) -> None:
    session = account.buy_one_off(amount=1500)
    account.refund(session["id"], amount=500)
    pending = account.refund(session["id"], amount=1000, status="pending")
    charge, first, second = sorted(money(told(standin)), key=lambda row: row.amount, reverse=True)
    assert (charge.refunded, first.amount, second.amount) == ("fully", -500, -1000)
    account.finish_refund(pending["id"], status="failed")
    charge = next(row for row in money(told(standin)) if row.type == "charge")
    assert charge.refunded == "partly"


@pytest.mark.parametrize("version", [NEWEST, OLDEST])
def test_a_charge_alone_tells_that_it_was_refunded(standin: StripeStandin, version: str) -> None:
    session = standin.live.buy_one_off(amount=1500)
    standin.live.refund(session["id"], amount=500)
    told_of = standin.events(types=("charge.succeeded", "charge.refunded"), api_version=version)
    rows = {row.type: row for row in money(World(standin).receive_all(told_of))}
    assert rows["charge"].refunded == "partly"
    if version == OLDEST:  # which lists the refunds; the newest tells of each by itself
        assert rows["refund"].amount == -500
        assert rows["refund"].related_transaction_id == rows["charge"].transaction_id


@pytest.mark.parametrize("backwards", [False, True])
def test_a_refund_within_its_charge_and_by_itself_is_one_row(
    standin: StripeStandin, backwards: bool
) -> None:
    session = standin.live.buy_one_off(amount=1500)
    pending = standin.live.refund(session["id"], amount=500, status="pending")
    standin.live.finish_refund(pending["id"], status="failed")
    events = standin.events(types=HANDLERS, api_version=OLDEST)
    rows = money(World(standin).receive_all(events[::-1] if backwards else events))
    assert sorted((row.type, row.status, row.refunded) for row in rows) == [
        ("charge", "succeeded", "no"),
        ("refund", "failed", "no"),
    ]


def test_a_refund_before_its_charge_fetches_the_charge(standin: StripeStandin) -> None:
    events = one_off_refunded_in_part(standin.live)
    refunds = [event for event in events if event["type"] == "refund.created"]
    world = World(standin).receive_all(refunds)
    assert world.stripe.asked[0][1].startswith("/v1/charges/")
    assert {row.type for row in money(world)} == {"charge", "refund"}


@pytest.mark.parametrize(("won", "amount"), [(True, 0), (False, -1500)])
def test_a_dispute_is_won_or_lost_and_its_fee_is_a_row(
    account: StripeAccount, standin: StripeStandin, won: bool, amount: int
) -> None:
    dispute = account.dispute(account.buy_one_off(amount=1500)["id"])
    account.close_dispute(dispute["id"], won=won)
    rows = {row.status: row for row in money(told(standin)) if row.type == "dispute"}
    assert rows["won" if won else "lost"].amount == amount
    assert rows["fee"].amount == -1500
    assert rows["fee"].related_transaction_id == rows["won" if won else "lost"].transaction_id


def test_a_balance_that_changed_is_read_from_stripes_list(
    account: StripeAccount, standin: StripeStandin
) -> None:
    customer = account.create_customer()["id"]
    for amount in (-500, 200, -100):
        account.adjust_balance(customer, amount=amount)
    events = handled(standin)
    world = World(standin).receive_all(events)
    assert sorted(row.amount for row in money(world)) == [-500, -100, 200]
    assert {row.type for row in money(world)} == {"adjustment"}
    backwards = World(standin).receive_all([*reversed(events), *events])
    assert backwards.state() == world.state()


def test_credit_notes_are_adjustments(account: StripeAccount, standin: StripeStandin) -> None:
    bought = account.subscribe()
    note = account.credit_note(bought["id"], amount=300, to="out_of_band")
    account.void_credit_note(note["id"])
    (adjusted,) = [row for row in money(told(standin)) if row.type == "adjustment"]
    assert (adjusted.amount, adjusted.status) == (-300, "void")


# -- modes, products, the whole -------------------------------------------------------------------


def test_test_mode_and_live_mode_live_side_by_side(standin: StripeStandin) -> None:
    live = standin.live.subscribe(grouptizer_id="gz-1")
    test = standin.test.subscribe(grouptizer_id="gz-1")
    world = told(standin)
    assert purchase(world, live["id"]).payment_provider == "stripe"
    assert purchase(world, test["id"]).payment_provider == "stripe_test"
    rows = [v for k, v in world.state().items() if k.endswith(" CUSTOMER")]
    (row,) = [json.loads(found["row"]) for found in rows]
    assert row["payment_providers"] == ["stripe", "stripe_test"]


def test_a_product_remembers_when_it_opened_which_chats_in_any_order(
    account: StripeAccount, standin: StripeStandin
) -> None:
    product = account.create_product(name="Signals", telegram_chat_ids=[-1001])["id"]
    standin.advance(60)
    account.update_product(product, metadata={"telegram_chat_ids": "-1002"})
    told = []
    for events in (handled(standin), [*reversed(handled(standin))]):
        world = World(standin).receive_all(events)
        (record,) = world.products.known(STORE, [(True, product)]).values()
        told.append(product_of(record).timelines)
        assert product_of(record).chats == {"-1002"}
    assert told[0] == told[1]
    assert told[0][0].during(0, 10**10) == [["-1001"], ["-1002"]]


def test_the_same_lifecycle_twice_answers_the_same(shop: Shop) -> None:
    events = history(shop.stripe.live, events=52)
    shop.deliver()

    def answers() -> list[Any]:
        _, page = shop.get("/v1/customers")
        paths = [f"/v1/customers/{found['customer_id']}" for found in page["items"]]
        return [page, *(shop.get(path) for path in paths)]

    before = answers()
    assert before[0]["items"]
    for event in events:
        if event["type"] in HANDLERS:
            shop.stripe.deliveries.redeliver(event["id"])
    shop.deliver()
    assert answers() == before


SCENARIOS: list[Callable[[StripeAccount], Any]] = [
    lambda a: a.subscribe(),
    lambda a: a.buy_one_off(),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=["subscription", "one-off"])
def test_no_event_ever_makes_stripe_do_anything(
    standin: StripeStandin, scenario: Callable[[StripeAccount], Any]
) -> None:
    scenario(standin.live)
    events = handled(standin)
    random.Random(1).shuffle(events)
    world = World(standin).receive_all(events)
    assert {method for method, _ in world.stripe.asked} <= {"get"}
