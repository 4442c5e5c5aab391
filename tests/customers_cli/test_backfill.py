"""Stripe's lists end in the records that its webhooks would have made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from customers_cli.backfill import ENDED, LIVE, MONEY, Backfill, NoAccount, modes_of, steps
from local import seed
from shared.compose import COMMAND, Composition, Leaves
from shared.domain.errors import TryAgainLater
from shared.integrations.stripe_gateway import Mode
from shared.settings import Settings
from shared.stripe_events.events import HANDLERS
from shared.tenant import Tenant
from standins.stripe import StandinServer, StripeAccount, StripeStandin, payment_intents
from standins.stripe.history import history
from tests.customers_cli.stripe_past import (
    BOTH,
    backfill,
    some_days_ago,
    webhooks,
    without_the_past,
)
from tests.functions.webhook_world import STORE, Crash, CrashingClient, World

CHATS = [-1001111111111]


@pytest.mark.parametrize("events", [40, 52])
def test_a_history_comes_out_the_same(events: int) -> None:
    standin = StripeStandin(now=1_790_000_000)
    history(standin.live, events=events)
    hooked, filled = webhooks(standin), World(standin)
    backfill(filled)
    assert without_the_past(filled.state()) == without_the_past(hooked.state())
    assert filled.marked() == []
    assert filled.unlinked() == []


def test_the_demo_store_comes_out_the_same() -> None:
    standin = StripeStandin()
    hooked, filled = World(standin), World(standin)

    def send(body: bytes, headers: dict[str, str]) -> int:
        try:
            hooked.deliveries.receive(body, headers["Stripe-Signature"])
        except TryAgainLater:
            return 503
        return 200

    standin.add_endpoint(send=send)
    with StandinServer(standin, deliver=False) as server:
        seeded = seed.seed(server.url, 60, workers=1)
    assert seeded["delivered"]
    progress = backfill(filled, workers=4)
    assert progress.left_out == {}
    assert progress.seen["customers"] > 50
    assert without_the_past(filled.state()) == without_the_past(hooked.state())
    assert filled.marked() == []
    assert filled.unlinked() == []


def test_a_second_run_writes_nothing() -> None:
    standin = StripeStandin(now=1_790_000_000)
    history(standin.live, events=52)
    filled = World(standin, wrap=CrashingClient)
    backfill(filled)
    before, written = filled.state(), filled.client.writes
    backfill(filled)
    assert filled.client.writes == written
    assert filled.state() == before


def test_filling_what_webhooks_have_filled_changes_nothing() -> None:
    standin = StripeStandin(now=1_790_000_000)
    history(standin.live, events=52)
    hooked = webhooks(standin)
    before = hooked.state()
    backfill(hooked)
    assert hooked.state() == before


def test_every_page_is_read() -> None:
    standin = StripeStandin(now=1_790_000_000)
    for number in range(120):
        standin.live.create_customer(name=f"Customer {number}")
    filled = World(standin)
    assert backfill(filled, workers=4).seen["customers"] == 120
    assert without_the_past(filled.state()) == without_the_past(webhooks(standin).state())


# -- beside live webhooks --------------------------------------------------------------------------


def rename(shop: StripeAccount, customer: str, _: str) -> None:
    shop.update_customer(customer, name="Renée Schmidt")


def cancel_at_period_end(shop: StripeAccount, _: str, subscription: str) -> None:
    shop.portal_cancel(subscription)


def cancel_and_take_back(shop: StripeAccount, _: str, subscription: str) -> None:
    shop.portal_cancel(subscription)
    shop.portal_uncancel(subscription)


def end(shop: StripeAccount, _: str, subscription: str) -> None:
    shop.cancel_subscription(subscription)


def refund_and_buy(shop: StripeAccount, customer: str, subscription: str) -> None:
    shop.refund(subscription, amount=100)
    shop.buy_one_off(customer=customer, telegram_user_id=700009)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "in the end"])
@pytest.mark.parametrize(
    "happens", [rename, cancel_at_period_end, cancel_and_take_back, end, refund_and_buy]
)
def test_whatever_happens_in_between_is_not_lost(
    happens: Callable[[StripeAccount, str, str], None], late: bool
) -> None:
    """After each request of a run something happens, and its webhooks come at once or in the end:
    the records are those of the webhooks alone."""
    at = 0
    while True:
        at += 1
        standin = StripeStandin(seed="the same")
        history(standin.live, events=18, start=some_days_ago(20))
        hooked, filled = webhooks(standin), World(standin)
        known = len(standin.events(account=standin.live))
        (customer,) = (e["id"] for e in standin.live.all("customer"))
        (subscription,) = (e["id"] for e in standin.live.all("subscription"))
        reached = False

        def after(
            number: int,
            standin: StripeStandin = standin,
            filled: World = filled,
            customer: str = customer,
            subscription: str = subscription,
            at: int = at,
            known: int = known,
        ) -> None:
            nonlocal reached
            if number != at:
                return
            reached, filled.stripe.after = True, lambda _: None
            happens(standin.live, customer, subscription)
            if not late:
                deliver(standin, filled, known)

        filled.stripe.after = after
        backfill(filled)
        if not reached:
            break
        if late:
            deliver(standin, filled, known)
        deliver(standin, hooked, known)
        assert without_the_past(filled.state()) == without_the_past(hooked.state()), at
        assert filled.unlinked() == []
    assert at > 15


def test_a_customer_deleted_in_between_stays_deleted() -> None:
    """What Stripe doesn't tell any more may be missing; nothing of it comes back."""
    for at in range(1, 12):
        standin = StripeStandin()
        history(standin.live, events=18, start=some_days_ago(20))
        known = len(standin.events(account=standin.live))
        (customer,) = (e["id"] for e in standin.live.all("customer"))
        filled = World(standin)

        def after(
            number: int,
            standin: StripeStandin = standin,
            filled: World = filled,
            customer: str = customer,
            at: int = at,
            known: int = known,
        ) -> None:
            if number == at:
                standin.live.delete_customer(customer)
                deliver(standin, filled, known)

        filled.stripe.after = after
        backfill(filled)
        (profile,) = filled.sources("PROFILE").values()
        assert profile["customer"]["deleted"], at
        assert len(filled.sources("PURCHASE")) == 1
        assert filled.marked() == []


def deliver(standin: StripeStandin, world: World, known: int) -> None:
    for event in standin.events(account=standin.live)[known:]:
        if event["type"] in HANDLERS:
            assert world.receive(event) == "applied"


# -- stopped and started again ---------------------------------------------------------------------


def test_a_run_killed_after_any_request_goes_on_where_it_was(tmp_path: Path) -> None:
    standin = StripeStandin(now=1_790_000_000)
    history(standin.live, events=52)
    expected = World(standin)
    backfill(expected)
    whole = len(expected.stripe.asked)
    for at in range(1, whole, 3):
        kept = tmp_path / f"{at}.json"
        filled = World(standin)

        def crash(number: int, at: int = at) -> None:
            if number == at:
                raise Crash

        filled.stripe.after = crash
        with pytest.raises(Crash):
            backfill(filled, kept=kept)
        filled.stripe.after = lambda _: None
        backfill(filled, kept=kept)
        # A page, and what its objects need asked besides.
        assert len(filled.stripe.asked) <= whole + 8, at
        assert filled.state() == expected.state()
        assert not kept.exists()


def test_a_run_killed_after_any_write_goes_on_where_it_was(tmp_path: Path) -> None:
    standin = StripeStandin(now=1_790_000_000)
    history(standin.live, events=52)
    expected = World(standin)
    backfill(expected)
    at = 0
    while True:
        at += 1
        kept = tmp_path / f"{at}.json"
        filled = World(standin, wrap=CrashingClient)
        filled.client.at = at
        try:
            backfill(filled, kept=kept)
        except Crash:
            backfill(filled, kept=kept)
        if filled.client.writes < at:
            break
        assert filled.state() == expected.state(), at
        assert filled.marked() == []
    assert at > 20


def test_a_list_begins_again_where_its_place_was_deleted(tmp_path: Path) -> None:
    standin = StripeStandin(now=1_790_000_000)
    shop = standin.live
    people = [shop.create_customer(name=f"Customer {number}")["id"] for number in range(3)]
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"store": "demo", "step": "live: customers", "after": people[1]}))
    shop.delete_customer(people[1])
    filled = World(standin)
    backfill(filled, kept=kept)
    assert len([key for key in filled.state() if key.endswith("PROFILE")]) == 2


# -- what is read, and when ------------------------------------------------------------------------


def test_what_ends_access_is_stored_after_all_that_gives_it() -> None:
    """Else a sweep in the middle would remove a buyer who has another purchase."""
    standin = StripeStandin(now=1_790_000_000)
    live, test = standin.live, standin.test
    product = live.create_product(name="Signals", telegram_chat_ids=CHATS)["id"]
    buyer = live.create_customer(name="Renée")["id"]
    ended = live.subscribe(
        customer=buyer, product=product, telegram_user_id=700001, checkout=False
    )["id"]
    live.cancel_subscription(ended)
    live.buy_one_off(customer=buyer, product=product, telegram_user_id=700001)
    code = live.redeem_access_code(
        customer=buyer,
        product=product,
        access_code="ABCDEFGHIJKL",
        telegram_user_id=700001,
        access_expires_at="2026-09-21T13:15:00Z",
    )["id"]
    tester = test.create_customer(name="Tester")["id"]
    test.buy_one_off(customer=tester, telegram_user_id=700001)
    filled = World(standin)
    order: list[str] = []
    put = filled.records._put

    def noted(before: Any, after: Any) -> Any:
        if after.key.kind == "PURCHASE" and after.key.sk not in order:
            order.append(after.key.sk)
        return put(before, after)

    filled.records._put = noted  # type: ignore[method-assign]
    backfill(filled)
    assert len(order) == 4
    assert set(order[-2:]) == {f"PURCHASE#{ended}", f"PURCHASE#{code}"}
    assert without_the_past(filled.state()) == without_the_past(webhooks(standin).state())


def test_both_modes_are_read_before_anything_ends() -> None:
    names = [name for name, _, _ in steps(BOTH)]
    assert len(names) == len(set(names)) == 2 * len(LIVE + ENDED + MONEY)
    assert names.index("test: charges") < names.index("live: ended subscriptions")


def test_failed_charges_do_not_hide_the_one_that_paid() -> None:
    standin = StripeStandin(now=1_790_000_000)
    shop = standin.live
    buyer = shop.create_customer(name="Renée")["id"]
    session = shop.buy_one_off(customer=buyer, telegram_user_id=700001, outcome="failed")
    intent = shop.get("payment_intent", session["payment_intent"])
    for outcome in ("failed", "succeeded"):
        with shop.ledger.transaction():
            method = shop.attach_payment_method(buyer)["id"]
            shop.ledger.change(intent, payment_method=method)
            payment_intents.attempt(shop.ledger, intent, outcome)
    filled = World(standin)
    backfill(filled)
    assert without_the_past(filled.state()) == without_the_past(webhooks(standin).state())
    (purchase,) = filled.sources("PURCHASE").values()
    assert purchase["charge"]["status"] == "succeeded"


def test_what_cannot_be_stored_is_named_and_left_out() -> None:
    standin = StripeStandin(now=1_790_000_000)
    shop = standin.live
    buyer = shop.create_customer(name="Renée")["id"]
    bought = shop.buy_one_off(customer=buyer, telegram_user_id=700001)
    refund = shop.refund(bought["id"], amount=100)
    shop.get("refund", refund["id"]).update(charge=None, payment_intent=None, customer=None)
    complaints: list[tuple[str, str, str]] = []
    progress = backfill(World(standin), complain=lambda *what: complaints.append(what))
    why = "a refund without a charge and without a customer"
    assert complaints == [("refunds", refund["id"], why)]
    assert progress.left_out == {why: 1}


# -- whose account ---------------------------------------------------------------------------------


class Secrets:
    """Secrets Manager with the key of live mode only."""

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        return {"SecretString": json.dumps({"live": "sk_live_local"})}


def parts(world: World) -> Composition:
    clients = {"dynamodb": world.client, "secretsmanager": Secrets()}
    settings = {"RECORDS_TABLE": "records", "INDEX_TABLE": "index", "STRIPE_API_SECRET_ARN": "arn"}
    return Composition(COMMAND, Settings(settings), Leaves(aws=clients.__getitem__))


def test_a_store_is_filled_from_its_own_account() -> None:
    standin = StripeStandin(now=1_790_000_000)
    standin.live.create_customer(name="Of the platform")
    connected = standin.account("acct_1")
    connected.create_customer(name="Of the store")
    filled, other = World(standin), Tenant("other")
    with pytest.raises(NoAccount):
        modes_of(parts(filled), other)
    filled.registry.register(other, "acct_1")
    modes = modes_of(parts(filled), other)
    assert modes == [Mode(True, "acct_1")]
    Backfill(other, filled.services, modes).run()
    profiles = [item for key, item in filled.state().items() if key.endswith("PROFILE")]
    assert [json.loads(item["s_customer"])["name"] for item in profiles] == ["Of the store"]
    assert all(item["pk"].startswith("other#") for item in profiles)


def test_the_default_store_is_filled_from_the_platforms_account() -> None:
    filled = World(StripeStandin(now=1_790_000_000))
    assert modes_of(parts(filled), STORE) == [Mode(True)]


def test_progress_reaches_the_end_and_never_goes_back() -> None:
    standin = StripeStandin()
    history(standin.live, events=52, start=some_days_ago(300))
    shares: list[float] = []
    started = time.time()
    progress = backfill(World(standin), tell=lambda progress: shares.append(progress.share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert progress.started_at >= started
