"""The Stripe stand-in, asked by the real SDK wherever the SDK can ask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from local.seed import LIVES, seed
from standins.stripe import HANDLED_EVENTS, OLDEST, StandinServer, StripeStandin, shape
from standins.stripe.clock import DAY, add_interval
from standins.stripe.history import history
from tests.standins.stripe_caller import NOW, Client, Receiver

ROOT = Path(__file__).parents[2]

Json = dict[str, Any]


def types_of(standin: StripeStandin) -> list[str]:
    return [event["type"] for event in standin.events()]


# --- reading ------------------------------------------------------------------------------


def test_the_sdk_reads_a_subscription_with_expanded_objects(
    standin: StripeStandin, client: Client
) -> None:
    product = standin.live.create_product(name="Signals", telegram_chat_ids=[-1001, -1002])
    made = standin.live.subscribe(product=product["id"], telegram_user_id=77)

    read = client().subscriptions.retrieve(
        made["id"],
        {"expand": ["items.data.price.product", "latest_invoice.payments", "customer"]},
    )

    assert read.status == "active"
    assert read.metadata["telegram_user_id"] == "77"
    item = read["items"].data[0]
    assert item.price.product.metadata["telegram_chat_ids"] == "-1001,-1002"
    assert item.current_period_end == add_interval(NOW, "month", 1)
    assert read.latest_invoice.payments.data[0].payment.type == "payment_intent"
    assert read.customer.email == "jane@example.com"


def test_line_items_are_told_only_when_asked_for(standin: StripeStandin, client: Client) -> None:
    made = standin.live.buy_one_off(amount=4200, currency="eur")
    sessions = client().checkout.sessions

    assert "line_items" not in sessions.retrieve(made["id"])
    read = sessions.retrieve(made["id"], {"expand": ["line_items", "payment_intent.latest_charge"]})
    assert read.line_items.data[0].amount_total == 4200
    assert read.payment_intent.latest_charge.payment_method_details.card.last4 == "4242"
    lines = sessions.line_items.list(made["id"])
    assert lines.data[0].price.product == read.line_items.data[0].price.product


def test_lists_are_paged_newest_first_without_gaps_or_repeats(
    standin: StripeStandin, client: Client
) -> None:
    made = [standin.live.create_customer(name=f"C{n}")["id"] for n in range(25)]
    customers = client().customers

    first = customers.list({"limit": 10})
    assert first.has_more
    assert [c.id for c in first.data] == made[:-11:-1]
    assert [c.id for c in customers.list({"limit": 7}).auto_paging_iter()] == made[::-1]
    back = customers.list({"ending_before": made[0], "limit": 2})
    assert [c.id for c in back.data] == [made[2], made[1]]


def test_lists_take_stripes_filters_and_refuse_unknown_ones(
    standin: StripeStandin, client: Client
) -> None:
    account = standin.live
    live = account.subscribe()
    over = account.subscribe(customer=live["customer"])
    account.cancel_subscription(over["id"])
    with standin.at(NOW - DAY):
        account.buy_one_off()
    api = client()

    def ids(**params: Any) -> list[str]:
        return [item.id for item in api.subscriptions.list(params).data]

    assert ids() == [live["id"]]
    assert ids(status="canceled") == [over["id"]]
    assert set(ids(status="all", customer=live["customer"])) == {live["id"], over["id"]}
    assert len(api.charges.list({"created": {"gte": NOW}}).data) == 2
    assert len(api.charges.list({"created": {"lt": NOW}}).data) == 1
    invoices = api.invoices.list({"subscription": live["id"], "status": "paid"}).data
    assert [invoice.id for invoice in invoices] == [live["latest_invoice"]]
    intent = account.charge_of(live["id"])["payment_intent"]
    found = api.invoice_payments.list(
        {"payment": {"type": "payment_intent", "payment_intent": intent}}
    ).data
    assert [payment.invoice for payment in found] == [live["latest_invoice"]]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.charges.list({"colour": "red"})
    assert refused.value.code == "parameter_unknown"


def test_what_a_customer_bought_lately_is_listed_page_by_page(
    standin: StripeStandin, client: Client
) -> None:
    account = standin.live
    customer = account.create_customer()["id"]
    with standin.at(NOW - 5 * DAY):
        account.buy_one_off(customer=customer)
    bought = [account.buy_one_off(customer=customer) for _ in range(5)]
    account.buy_one_off()
    over = account.subscribe(customer=customer, checkout=False)["id"]
    account.cancel_subscription(over)
    api = client()
    lately = {"customer": customer, "created": {"gte": NOW - 4 * DAY}, "limit": 2}

    sessions = api.checkout.sessions.list(lately)
    assert len(sessions.data) == 2
    assert [s.id for s in sessions.auto_paging_iter()] == [s["id"] for s in reversed(bought)]
    intents = [intent.id for intent in api.payment_intents.list(lately).auto_paging_iter()]
    subscribed = account.charge_of(over)["payment_intent"]
    assert intents == [subscribed, *(s["payment_intent"] for s in reversed(bought))]
    subscriptions = api.subscriptions.list({"customer": customer, "status": "all", "limit": 1})
    assert [s.id for s in subscriptions.data] == [over]
    assert api.subscriptions.list({"customer": customer}).data == []


def test_a_cart_of_many_lines_is_listed_page_by_page(
    standin: StripeStandin, client: Client
) -> None:
    products = [standin.live.create_product(name=f"P{n}")["id"] for n in range(12)]
    made = standin.live.buy_one_off(product=products[0], more_products=products[1:], amount=100)
    sessions = client().checkout.sessions

    session = sessions.retrieve(made["id"], {"expand": ["line_items"]})
    assert session.amount_total == 1200
    assert len(session.line_items.data) == 10
    assert session.line_items.has_more
    first = sessions.line_items.list(made["id"])
    assert (len(first.data), first.has_more) == (10, True)
    assert [line.price.product for line in first.auto_paging_iter()] == products
    last = sessions.line_items.list(made["id"], {"starting_after": first.data[-1].id})
    assert ([line.price.product for line in last.data], last.has_more) == (products[10:], False)


def test_a_subscription_and_its_invoice_hold_ten_entries_and_their_lists_hold_all(
    standin: StripeStandin, receiver: Receiver, client: Client
) -> None:
    products = [standin.live.create_product(name=f"P{n}")["id"] for n in range(12)]
    made = standin.live.subscribe(product=products[0], more_products=products[1:])
    api = client()

    read = api.subscriptions.retrieve(made["id"], {"expand": ["latest_invoice"]})
    assert (len(read["items"].data), read["items"].has_more) == (10, True)
    assert read["items"].url == f"/v1/subscription_items?subscription={made['id']}"
    lines = read.latest_invoice.lines
    assert (len(lines.data), lines.has_more) == (10, True)
    items = api.subscription_items.list({"subscription": made["id"]})
    assert len(items.data) == 10
    assert [item.price.product for item in items.auto_paging_iter()] == products
    assert len(list(api.invoices.line_items.list(read.latest_invoice.id).auto_paging_iter())) == 12
    standin.live.renew(made["id"])
    standin.deliveries.flush()
    told = [e["data"] for e in receiver.events if e["type"] == "customer.subscription.updated"][-1]
    for held in (told["object"]["items"], told["previous_attributes"]["items"]):
        assert len(held["data"]) == 10
    with pytest.raises(stripe.InvalidRequestError):
        api.subscription_items.list({})


def test_what_a_checkout_sells_once_is_a_line_of_it_and_no_item_of_the_subscription(
    standin: StripeStandin, client: Client
) -> None:
    monthly, once = (standin.live.create_product(name=name)["id"] for name in ("M", "O"))
    made = standin.live.subscribe(
        product=monthly, amount=900, one_time_products=[once], one_time_amount=500
    )
    api = client()

    session = api.checkout.sessions.list({"subscription": made["id"]}).data[0]
    assert (session.mode, session.amount_total) == ("subscription", 1400)
    lines = api.checkout.sessions.line_items.list(session.id).data
    assert [(line.price.product, line.price.type) for line in lines] == [
        (monthly, "recurring"),
        (once, "one_time"),
    ]
    assert [item["price"]["product"] for item in made["items"]["data"]] == [monthly]
    assert api.invoices.retrieve(session.invoice).amount_paid == 1400
    standin.advance_to(made["items"]["data"][0]["current_period_end"])
    renewed = api.invoices.list({"subscription": made["id"]}).data[0]
    assert (renewed.billing_reason, renewed.amount_due) == ("subscription_cycle", 900)


def test_open_invoices_of_a_subscription_tell_what_remains_to_be_paid(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe(amount=900)
    standin.live.subscribe()
    invoices = client().invoices

    def remaining() -> list[int]:
        found = invoices.list({"subscription": made["id"], "status": "open"}).data
        return [invoice.amount_remaining for invoice in found]

    assert remaining() == []
    standin.live.fail_renewal(made["id"])
    failed = invoices.list({"subscription": made["id"], "status": "open"}).data[0]
    assert (failed.amount_remaining, failed.amount_paid, failed.attempt_count) == (900, 0, 1)
    assert failed.next_payment_attempt == NOW + 3 * DAY
    assert failed.auto_advance is True
    standin.live.cancel_subscription(made["id"])
    assert remaining() == [900]  # left open, but not collected any more
    assert invoices.retrieve(failed.id).next_payment_attempt is None


def test_every_needed_route_answers_the_sdk(standin: StripeStandin, client: Client) -> None:
    account = standin.live
    subscription = account.subscribe()
    customer = subscription["customer"]
    refund = account.refund(subscription["id"], amount=100)
    dispute = account.dispute(account.buy_one_off(customer=customer)["id"])
    note = account.credit_note(subscription["id"])
    schedule = account.schedule_subscription(subscription["id"])
    api = client()
    charge = account.charge_of(subscription["id"])

    assert api.charges.retrieve(charge["id"]).amount_refunded == 100
    assert api.refunds.retrieve(refund["id"]).status == "succeeded"
    assert [r.id for r in api.refunds.list({"charge": charge["id"]}).data] == [refund["id"]]
    assert len(api.disputes.retrieve(dispute["id"]).balance_transactions) == 1
    assert len(api.disputes.list({"charge": dispute["charge"]}).data) == 1
    assert api.credit_notes.retrieve(note["id"]).invoice == subscription["latest_invoice"]
    assert len(api.credit_notes.list({"customer": customer}).data) == 1
    assert api.payment_intents.retrieve(charge["payment_intent"]).latest_charge == charge["id"]
    assert len(api.payment_intents.list({"customer": customer}).data) == 2
    assert api.subscription_schedules.retrieve(schedule["id"]).status == "active"
    assert api.payment_methods.retrieve(charge["payment_method"]).card.brand == "visa"
    assert len(api.payment_methods.list({"customer": customer, "type": "card"}).data) == 1
    assert len(api.customers.payment_methods.list(customer).data) == 1
    booked = api.customers.balance_transactions.list(customer).data
    assert [entry.type for entry in booked] == ["credit_note"]
    assert len(api.products.list({"active": True}).data) == 1
    price = api.prices.retrieve(subscription["items"]["data"][0]["price"]["id"])
    assert api.products.retrieve(price.product).name == "Channel access"
    assert len(api.checkout.sessions.list({"subscription": subscription["id"]}).data) == 1
    assert len(api.invoices.list({"customer": customer}).data) == 1
    payment = api.invoice_payments.list({"invoice": subscription["latest_invoice"]}).data[0]
    assert api.invoice_payments.retrieve(payment.id).status == "paid"
    assert api.webhook_endpoints.list().data == []
    assert api.accounts.retrieve_current().charges_enabled
    event = api.events.list({"limit": 1}).data[0]
    assert api.events.retrieve(event.id).type == event.type


def test_a_deleted_customer_answers_as_deleted_and_leaves_the_list(
    standin: StripeStandin, client: Client
) -> None:
    subscription = standin.live.subscribe()
    standin.live.delete_customer(subscription["customer"])

    assert client().customers.retrieve(subscription["customer"]).deleted
    assert client().customers.list().data == []
    assert client().subscriptions.retrieve(subscription["id"]).status == "canceled"


# --- keys, accounts, versions -------------------------------------------------------------


def test_the_key_decides_the_mode_and_modes_do_not_mix(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.test.create_customer()

    assert client("sk_test_x").customers.retrieve(made["id"]).livemode is False
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client("sk_live_x").customers.retrieve(made["id"])
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")


def test_unknown_keys_are_refused_when_keys_are_given() -> None:
    standin = StripeStandin(api_keys=["sk_test_right"])
    with StandinServer(standin, deliver=False) as server:
        for key, fine in (("sk_test_right", True), ("sk_test_wrong", False)):
            api = stripe.StripeClient(key, base_addresses={"api": server.url}).v1
            if fine:
                api.customers.list()
            else:
                with pytest.raises(stripe.AuthenticationError):
                    api.customers.list()
    standin.close()


def test_connected_accounts_are_apart_and_refuse_once_disconnected(
    standin: StripeStandin, client: Client, receiver: Receiver
) -> None:
    other = standin.account("acct_other")
    made = other.create_customer()
    api = client()
    options = {"stripe_account": "acct_other"}

    assert api.customers.retrieve(made["id"], options=options).id == made["id"]
    with pytest.raises(stripe.InvalidRequestError):
        api.customers.retrieve(made["id"])
    with pytest.raises(stripe.PermissionError):
        api.customers.list(options={"stripe_account": "acct_nobody"})

    other.deauthorize()
    with pytest.raises(stripe.PermissionError) as refused:
        api.customers.retrieve(made["id"], options=options)
    assert refused.value.http_status == 403
    assert json.loads(str(refused.value.http_body))["error"]["code"] == "account_invalid"
    other.authorize_again()
    assert api.customers.retrieve(made["id"], options=options).id == made["id"]
    standin.deliveries.flush()
    assert receiver.types == [
        "customer.created",
        "account.application.deauthorized",
        "account.application.authorized",
    ]
    assert {event["account"] for event in receiver.events} == {"acct_other"}


def test_a_closed_account_is_refused_until_it_is_there_again(
    standin: StripeStandin, server: StandinServer, client: Client
) -> None:
    other = standin.account("acct_other").create_customer()["id"]
    own = standin.live.create_customer()["id"]
    api, options = client(), {"stripe_account": "acct_other"}

    def control(**body: Any) -> Any:
        return requests.post(f"{server.url}/_control/close", json=body, timeout=10).json()

    def refused(call: Callable[[], Any]) -> bool:
        try:
            call()
        except stripe.PermissionError as error:
            code = json.loads(str(error.http_body))["error"]["code"]
            return (error.http_status, code) == (403, "account_invalid")
        return False

    def own_refused() -> bool:
        return refused(lambda: api.customers.retrieve(own))

    def other_refused() -> bool:
        return refused(lambda: api.customers.retrieve(other, options=options))

    assert control(account="acct_other") == {"closed": ["acct_other"]}
    assert (own_refused(), other_refused()) == (False, True)
    assert refused(lambda: api.accounts.retrieve("acct_other"))
    assert control(account="acct_other", on=False) == {"closed": []}
    assert (own_refused(), other_refused()) == (False, False)
    assert control() == {"closed": [""]}
    assert (own_refused(), other_refused()) == (True, True)
    assert refused(client("sk_test_x").customers.list)
    assert control(on=False) == {"closed": []}
    assert (own_refused(), other_refused()) == (False, False)


def test_a_closed_account_stays_closed_when_the_process_ends(tmp_path: Path) -> None:
    standin = StripeStandin(tmp_path)
    standin.close_account()
    standin.close()

    again = StripeStandin(tmp_path)
    assert not again.has_access("acct_1StandInPlatform")
    again.reopen_account()
    assert again.has_access("acct_1StandInPlatform")
    again.close()


def test_the_version_header_decides_the_shape(standin: StripeStandin, client: Client) -> None:
    made = standin.live.subscribe()
    end = made["items"]["data"][0]["current_period_end"]

    new = client().subscriptions.retrieve(made["id"])
    old = client(stripe_version=OLDEST).subscriptions.retrieve(made["id"])

    assert "current_period_end" not in new
    assert new["items"].data[0].current_period_end == end
    assert old.current_period_end == end
    assert "current_period_end" not in old["items"].data[0]
    charge = client(stripe_version=OLDEST).charges.list().data[0]
    assert charge.invoice == made["latest_invoice"]
    assert "invoice" not in client().charges.list().data[0]


# --- changing -----------------------------------------------------------------------------


def test_cancelling_now_ends_it_and_a_repeat_finds_nothing(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe()
    subscriptions = client().subscriptions

    cancelled = subscriptions.cancel(made["id"], {"invoice_now": False, "prorate": False})

    assert (cancelled.status, cancelled.ended_at) == ("canceled", NOW)
    assert types_of(standin)[-1] == "customer.subscription.deleted"
    with pytest.raises(stripe.InvalidRequestError) as again:
        subscriptions.cancel(made["id"])
    assert (again.value.http_status, again.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError) as late:
        subscriptions.update(made["id"], {"cancel_at_period_end": True})
    assert late.value.user_message == (
        "A canceled subscription can only update its cancellation_details and metadata."
    )


def test_cancelling_at_the_period_end_tells_what_was_before_and_is_silent_when_repeated(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe()
    update = client().subscriptions.update

    scheduled = update(made["id"], {"cancel_at_period_end": True})
    count = len(standin.events())
    update(made["id"], {"cancel_at_period_end": True})

    assert scheduled.cancel_at == add_interval(NOW, "month", 1)
    assert len(standin.events()) == count
    previous = standin.events()[-1]["data"]["previous_attributes"]
    assert previous["cancel_at_period_end"] is False
    assert previous["cancel_at"] is None
    assert update(made["id"], {"cancel_at_period_end": False}).cancel_at is None


def test_a_managed_subscription_must_be_released_first(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe()
    schedule = standin.live.schedule_subscription(made["id"])
    api = client()

    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        api.subscriptions.update(made["id"], {"cancel_at_period_end": True})
    released = api.subscription_schedules.release(schedule["id"], {"preserve_cancel_date": True})

    assert (released.status, released.released_subscription) == ("released", made["id"])
    read = api.subscriptions.retrieve(made["id"])
    assert read.schedule is None
    assert read.cancel_at == add_interval(NOW, "month", 1)
    assert api.subscriptions.update(made["id"], {"cancel_at_period_end": True}).cancel_at
    with pytest.raises(stripe.InvalidRequestError, match="released"):
        api.subscription_schedules.release(schedule["id"])


def test_an_incomplete_subscription_can_only_be_deleted(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe(fails=True)
    api = client()

    with pytest.raises(stripe.InvalidRequestError):
        api.subscriptions.update(made["id"], {"cancel_at_period_end": True})
    assert api.subscriptions.cancel(made["id"]).status == "canceled"


def test_cancelling_stops_the_collection_of_open_invoices(standin: StripeStandin) -> None:
    made = standin.live.subscribe()
    standin.live.fail_renewal(made["id"])
    invoice = standin.live.get("invoice", made["latest_invoice"])

    standin.live.cancel_subscription(made["id"])

    assert (invoice["status"], invoice["auto_advance"]) == ("open", False)


def test_nobody_can_refund_through_the_api_but_the_attempt_is_seen(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.buy_one_off()

    with pytest.raises(stripe.PermissionError):
        client().refunds.create({"payment_intent": made["payment_intent"]})

    asked = [record for record in standin.requests if record.path == "/v1/refunds"]
    assert [(r.method, r.params) for r in asked] == [
        ("POST", {"payment_intent": made["payment_intent"]})
    ]
    assert list(standin.live.all("refund")) == []


def test_only_an_open_payment_intent_can_be_cancelled(
    standin: StripeStandin, client: Client
) -> None:
    failed = standin.live.buy_one_off(outcome="failed")
    paid = standin.live.buy_one_off()
    intents = client().payment_intents

    assert intents.cancel(failed["payment_intent"]).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        intents.cancel(paid["payment_intent"])
    assert refused.value.code == "payment_intent_unexpected_state"


# --- idempotency and faults ---------------------------------------------------------------


def test_the_same_key_replays_and_another_request_under_it_is_refused(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe()
    update = client().subscriptions.update
    options = {"idempotency_key": "cancel-1"}

    first = update(made["id"], {"cancel_at_period_end": True}, options)
    standin.live.portal_uncancel(made["id"])
    again = update(made["id"], {"cancel_at_period_end": True}, options)

    assert again.cancel_at == first.cancel_at
    assert made["cancel_at"] is None
    assert [record.replayed for record in standin.requests] == [False, True]
    with pytest.raises(stripe.IdempotencyError):
        update(made["id"], {"cancel_at_period_end": False}, options)


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_saved_500_is_replayed_until_a_new_key_is_used(
    standin: StripeStandin, client: Client, after_effect: bool
) -> None:
    made = standin.live.subscribe()
    standin.fail("POST", "/v1/subscriptions/.*", status=500, after_effect=after_effect)
    update = client(max_network_retries=0).subscriptions.update

    for _ in range(2):
        with pytest.raises(stripe.APIError):
            update(made["id"], {"cancel_at_period_end": True}, {"idempotency_key": "k1"})
    assert made["cancel_at_period_end"] is after_effect

    update(made["id"], {"cancel_at_period_end": True}, {"idempotency_key": "k2"})
    assert made["cancel_at_period_end"] is True


def test_a_cancel_whose_answer_was_lost_comes_back_as_missing_on_the_retry(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe()
    standin.fail("DELETE", drop=True, after_effect=True)

    with pytest.raises(stripe.InvalidRequestError) as retried:
        client(max_network_retries=1).subscriptions.cancel(made["id"])

    assert retried.value.code == "resource_missing"
    assert made["status"] == "canceled"
    assert [record.status for record in standin.requests] == [0, 404]


def test_a_request_that_never_arrived_may_be_sent_again_under_its_key(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe()
    standin.fail("POST", drop=True)

    update = client(max_network_retries=1).subscriptions.update
    assert update(made["id"], {"cancel_at_period_end": True}).cancel_at_period_end


def test_rate_limits_outages_and_slow_answers_can_be_ordered(
    standin: StripeStandin, client: Client, server: StandinServer
) -> None:
    api = client(max_network_retries=0)
    standin.fail("GET", "/v1/customers", status=429)
    with pytest.raises(stripe.RateLimitError):
        api.customers.list()
    assert api.customers.list().data == []

    requests.post(f"{server.url}/_control/outage", json={"on": True}, timeout=5)
    with pytest.raises(stripe.APIError):
        api.customers.list()
    requests.delete(f"{server.url}/_control/faults", timeout=5)
    assert api.customers.list().data == []

    fault = {"method": "GET", "path": "/v1/charges", "latency": 2}
    requests.post(f"{server.url}/_control/faults", json=fault, timeout=5)
    with pytest.raises(requests.ReadTimeout):
        requests.get(
            f"{server.url}/v1/charges", headers={"Authorization": "Bearer sk_live_x"}, timeout=0.2
        )


def test_all_that_was_asked_is_in_the_log(standin: StripeStandin, client: Client) -> None:
    made = standin.account("acct_a").subscribe()
    client().subscriptions.update(
        made["id"],
        {"metadata": {"a": "b"}},
        {"idempotency_key": "k", "stripe_account": "acct_a"},
    )

    record = standin.requests[-1]
    assert (record.method, record.path) == ("POST", f"/v1/subscriptions/{made['id']}")
    assert record.params == {"metadata": {"a": "b"}}
    assert (record.idempotency_key, record.account) == ("k", "acct_a")
    assert record.stripe_version == "2026-10-28.endive"
    assert standin.events()[-1]["request"]["idempotency_key"] == "k"


# --- events and deliveries ----------------------------------------------------------------


def test_deliveries_are_really_signed_and_come_in_stripes_order(
    standin: StripeStandin, receiver: Receiver
) -> None:
    standin.live.subscribe(product=standin.live.create_product()["id"])

    assert standin.deliveries.flush() == 0
    assert receiver.types == [
        "product.created",
        "customer.created",
        "price.created",
        "payment_method.attached",
        "invoice.created",
        "invoice.finalized",
        "customer.subscription.created",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "customer.subscription.updated",
        "checkout.session.completed",
    ]
    became = receiver.events[13]["data"]
    assert became["previous_attributes"] == {"status": "incomplete"}
    assert became["object"]["status"] == "active"


def test_an_endpoint_gets_the_shape_of_its_version(standin: StripeStandin) -> None:
    old, new = Receiver(), Receiver()
    standin.add_endpoint(send=old, secret=old.secret, api_version=OLDEST, id="we_old")
    standin.add_endpoint(send=new, secret=new.secret, id="we_new")
    made = standin.live.subscribe(billing_mode="classic")
    standin.live.renew(made["id"])
    standin.deliveries.flush()

    def last(receiver: Receiver, type_: str) -> Json:
        found: list[Json] = [e["data"] for e in receiver.events if e["type"] == type_]
        return found[-1]

    start, end = NOW, add_interval(NOW, "month", 1)
    before = last(old, "customer.subscription.updated")["previous_attributes"]
    assert (before["current_period_start"], before["current_period_end"]) == (start, end)
    assert "items" in last(new, "customer.subscription.updated")["previous_attributes"]
    invoice = last(old, "invoice.paid")["object"]
    assert invoice["subscription"] == made["id"]
    assert invoice["paid"] is True
    assert invoice["charge"].startswith("ch_")
    parent = last(new, "invoice.paid")["object"]["parent"]
    assert parent["subscription_details"]["subscription"] == made["id"]
    assert "invoice_payment.paid" in new.types
    assert "invoice_payment.paid" not in old.types


def test_two_secrets_sign_while_one_is_rolled(standin: StripeStandin) -> None:
    seen: list[str] = []

    def receive(_body: bytes, headers: dict[str, str]) -> int:
        seen.append(headers["Stripe-Signature"])
        return 200

    standin.add_endpoint(send=receive, secret=["whsec_new", "whsec_old"])
    standin.live.create_customer()
    standin.deliveries.flush()
    assert seen[0].count("v1=") == 2


def test_refused_deliveries_are_sent_again(standin: StripeStandin, receiver: Receiver) -> None:
    receiver.answers = [500, 503]
    standin.deliveries.start(workers=2)
    standin.live.create_customer()

    assert standin.deliveries.drain(10)
    assert receiver.types == ["customer.created"]
    assert standin.deliveries.of(standin.events()[0]["id"])[0].attempts == 3


def test_deliveries_can_be_held_doubled_and_shuffled(
    standin: StripeStandin, receiver: Receiver
) -> None:
    deliveries = standin.deliveries
    deliveries.hold()
    deliveries.start(workers=3)
    deliveries.duplicates = 1
    deliveries.shuffled = True
    standin.live.subscribe()
    assert not deliveries.drain(0.1)
    assert receiver.events == []

    deliveries.release()
    assert deliveries.drain(10)
    ids = [event["id"] for event in receiver.events]
    happened = [event["id"] for event in standin.events()]
    assert sorted(ids) == sorted(happened * 2)
    assert list(dict.fromkeys(ids)) != happened


def test_dropped_events_are_listed_as_undelivered_and_can_be_resent(
    standin: StripeStandin, receiver: Receiver, client: Client
) -> None:
    standin.deliveries.drop_next = 1
    standin.live.create_customer(name="lost")
    standin.live.create_customer(name="found")
    standin.deliveries.flush()
    events = client().events

    lost = events.list({"delivery_success": False}).data
    assert [event.data.object.name for event in lost] == ["lost"]
    assert [e["data"]["object"]["name"] for e in receiver.events] == ["found"]
    standin.deliveries.redeliver(lost[0].id)
    standin.deliveries.flush()
    assert events.list({"delivery_success": False}).data == []


def test_events_are_undelivered_until_every_endpoint_has_taken_them(
    standin: StripeStandin, client: Client
) -> None:
    first, second = Receiver(), Receiver()
    for id_, receiver in (("we_first", first), ("we_second", second)):
        standin.add_endpoint(send=receiver, secret=receiver.secret, id=id_)
    made = standin.live.create_customer()["id"]
    events = client().events

    def undelivered() -> list[tuple[str, int]]:
        found = events.list({"delivery_success": False}).data
        assert not {e.id for e in found} & {
            e.id for e in events.list({"delivery_success": True}).data
        }
        return [(event.data.object.id, event.pending_webhooks) for event in found]

    assert undelivered() == [(made, 2)]  # not tried yet
    second.answers = [500, 500]
    standin.deliveries.flush()
    assert undelivered() == [(made, 1)]  # one of them refused
    standin.deliveries.max_attempts = 2
    standin.deliveries.flush()
    assert undelivered() == [(made, 1)]  # given up
    standin.deliveries.redeliver(standin.events()[0]["id"])
    standin.deliveries.flush()
    assert undelivered() == []
    assert events.list({"delivery_success": True}).data[0].pending_webhooks == 0


def test_an_event_that_no_endpoint_wants_counts_as_delivered(
    standin: StripeStandin, client: Client
) -> None:
    receiver = Receiver()
    standin.add_endpoint(send=receiver, secret=receiver.secret, enabled_events=("charge.*",))
    standin.live.create_customer()

    assert client().events.list({"delivery_success": False}).data == []
    assert [e.type for e in client().events.list({"delivery_success": True}).data] == [
        "customer.created"
    ]


def test_undelivered_events_are_paged_and_narrowed_by_type_and_time(
    standin: StripeStandin, receiver: Receiver, client: Client
) -> None:
    with standin.at(NOW - DAY):
        standin.live.create_customer()
    bought = [standin.live.buy_one_off()["id"] for _ in range(3)]
    events = client().events

    def undelivered(**params: Any) -> list[str]:
        found = events.list({"delivery_success": False, **params}).auto_paging_iter()
        return [event.data.object.id for event in found]

    sessions = {"type": "checkout.session.completed"}
    assert undelivered(**sessions, limit=1) == bought[::-1]
    assert (
        undelivered(types=["checkout.session.completed", "product.created"], limit=2)[:3]
        == (bought[::-1])
    )
    assert len(undelivered(created={"lt": NOW})) == 1
    assert undelivered(**sessions, created={"gt": NOW}) == []
    oldest = events.list({"delivery_success": False, **sessions}).data[-1].id
    back = undelivered(**sessions, ending_before=oldest, limit=1)
    assert back == bought[1:]  # this way round, pages come in the order of time
    standin.deliveries.flush()
    assert undelivered() == []


def test_undelivered_events_of_a_connected_account_are_listed_for_it_alone(
    standin: StripeStandin, receiver: Receiver, client: Client
) -> None:
    other = standin.account("acct_other").create_customer()["id"]
    own = standin.live.create_customer()["id"]
    standin.test.create_customer()
    events = client().events

    def undelivered(**options: str) -> list[str]:
        found = events.list({"delivery_success": False}, options=options).data
        return [event.data.object.id for event in found]

    assert undelivered() == [own]
    assert undelivered(stripe_account="acct_other") == [other]


@pytest.mark.parametrize(
    "params",
    [
        {"type": "charge.refunded", "types": ["charge.failed"]},
        {"types": [f"type.{n}" for n in range(21)]},
        {"delivery_success": "perhaps"},
    ],
)
def test_filters_of_events_that_stripe_does_not_take_are_refused(
    client: Client, params: dict[str, Any]
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client().events.list(params)
    assert refused.value.http_status == 400


def test_events_are_listed_by_type_and_time_and_forgotten_after_thirty_days(
    standin: StripeStandin, client: Client
) -> None:
    account = standin.live
    with standin.at(NOW - 31 * DAY):
        account.create_customer(name="old")
    made = account.buy_one_off()
    account.refund(made["id"])
    events = client().events

    def listed(**params: Any) -> list[str]:
        return [event.type for event in events.list(params).auto_paging_iter()]

    assert listed(types=["refund.created", "charge.refunded"], limit=1) == [
        "charge.refunded",
        "refund.created",
    ]
    assert listed(type="checkout.*") == ["checkout.session.completed"]
    assert listed(created={"lt": NOW}) == []
    assert "customer.created" in listed()
    assert len(listed()) == len(standin.events()) - 1


# --- time ---------------------------------------------------------------------------------


def test_the_clock_renews_and_ends_what_falls_due(standin: StripeStandin) -> None:
    kept = standin.live.subscribe()
    leaving = standin.live.subscribe()
    standin.live.portal_cancel(leaving["id"])
    assert leaving["cancel_at_period_end"] is False
    end = add_interval(NOW, "month", 1)

    standin.advance_to(end - 1)
    assert leaving["status"] == "active"
    standin.advance_to(end)

    assert (leaving["status"], leaving["ended_at"]) == ("canceled", end)
    assert kept["items"]["data"][0]["current_period_end"] == add_interval(NOW, "month", 2)
    since = [event["type"] for event in standin.events() if event["created"] == end]
    assert since.count("invoice.paid") == 1
    assert since.count("customer.subscription.deleted") == 1


def test_months_are_counted_from_the_anchor() -> None:
    anchor = 1_769_817_600  # 31 January 2026
    assert add_interval(anchor, "month", 1) == 1_772_236_800  # 28 February
    assert add_interval(anchor, "month", 2) == 1_774_915_200  # 31 March
    standin = StripeStandin(now=anchor)
    made = standin.live.subscribe()
    standin.advance(100 * DAY)
    assert made["items"]["data"][0]["current_period_end"] == 1_780_185_600  # 31 May
    standin.close()


def test_a_trial_warns_and_turns_paid_or_pauses_without_a_method(standin: StripeStandin) -> None:
    paying = standin.live.subscribe(trial_days=7)
    pausing = standin.live.subscribe(
        trial_days=7, no_payment_method=True, missing_payment_method="pause"
    )
    assert paying["status"] == pausing["status"] == "trialing"
    assert "charge.succeeded" not in types_of(standin)

    standin.advance(4 * DAY)
    assert types_of(standin)[-2:] == ["customer.subscription.trial_will_end"] * 2
    standin.advance(3 * DAY)

    assert paying["status"] == "active"
    assert paying["trial_end"] == NOW + 7 * DAY
    assert pausing["status"] == "paused"
    assert types_of(standin)[-1] == "customer.subscription.paused"
    standin.advance(90 * DAY)
    assert pausing["status"] == "paused"
    standin.live.resume_subscription(pausing["id"])
    assert pausing["status"] == "active"


def test_dunning_retries_and_then_ends_the_subscription(standin: StripeStandin) -> None:
    made = standin.live.subscribe()
    standin.live.decline_payments(made["id"])

    standin.advance(32 * DAY)
    assert made["status"] == "past_due"
    standin.advance(20 * DAY)

    assert made["status"] == "canceled"
    assert made["cancellation_details"]["reason"] == "payment_failed"
    assert types_of(standin).count("invoice.payment_failed") == 4


def test_a_late_payment_recovers_a_past_due_subscription(standin: StripeStandin) -> None:
    made = standin.live.subscribe()
    standin.live.fail_renewal(made["id"])
    assert made["status"] == "past_due"
    standin.live.pay_open_invoice(made["id"])
    assert made["status"] == "active"
    assert types_of(standin)[-1] == "customer.subscription.updated"


def test_an_unpaid_first_invoice_expires_after_a_day(standin: StripeStandin) -> None:
    made = standin.live.subscribe(fails=True)
    assert made["status"] == "incomplete"
    standin.advance(DAY)
    assert made["status"] == "incomplete_expired"
    assert types_of(standin).count("checkout.session.expired") == 1
    assert "customer.subscription.deleted" not in types_of(standin)


def test_schedules_fire(standin: StripeStandin) -> None:
    cancelled = standin.live.subscribe()
    standin.live.schedule_subscription(cancelled["id"], end_behavior="cancel")
    changed = standin.live.subscribe()
    better = standin.live.create_product(name="Better")
    schedule = standin.live.schedule_subscription(
        changed["id"], end_behavior="release", next_product=better["id"]
    )

    standin.advance(31 * DAY)
    assert cancelled["status"] == "canceled"
    assert changed["items"]["data"][0]["price"]["product"] == better["id"]
    standin.advance(31 * DAY)
    assert (schedule["status"], changed["schedule"]) == ("released", None)
    assert changed["status"] == "active"


def test_paused_collection_voids_invoices_and_resumes_by_itself(standin: StripeStandin) -> None:
    made = standin.live.subscribe()
    standin.live.pause_collection(made["id"], behavior="void", resumes_at=NOW + 40 * DAY)
    standin.advance(35 * DAY)
    assert made["status"] == "active"
    assert types_of(standin)[-1] == "invoice.voided"
    standin.advance(30 * DAY)
    assert made["pause_collection"] is None
    assert standin.live.get("invoice", made["latest_invoice"])["status"] == "paid"


# --- scenarios ----------------------------------------------------------------------------


def test_asynchronous_payments_complete_unpaid_and_settle_later(standin: StripeStandin) -> None:
    good = standin.live.buy_one_off_async()
    assert (good["status"], good["payment_status"]) == ("complete", "unpaid")
    assert types_of(standin)[-3:] == [
        "payment_intent.processing",
        "charge.pending",
        "checkout.session.completed",
    ]
    standin.live.settle(good["id"])
    assert good["payment_status"] == "paid"
    assert types_of(standin)[-1] == "checkout.session.async_payment_succeeded"

    bad = standin.live.buy_one_off_async(method_type="us_bank_account", settle=False)
    assert bad["payment_status"] == "unpaid"
    assert types_of(standin)[-3:] == [
        "charge.failed",
        "payment_intent.payment_failed",
        "checkout.session.async_payment_failed",
    ]


def test_a_guest_has_details_but_no_customer(standin: StripeStandin) -> None:
    made = standin.live.guest_checkout(name="Gast", email="gast@example.com")
    assert made["customer"] is None
    assert made["customer_details"]["email"] == "gast@example.com"
    assert standin.live.charge_of(made["id"])["customer"] is None
    assert list(standin.live.all("customer")) == []


def test_an_access_code_needs_no_payment(standin: StripeStandin) -> None:
    made = standin.live.redeem_access_code(
        access_code="ABCDEF123456", access_expires_at="2027-01-01T00:00:00Z", telegram_user_id=5
    )
    assert made["payment_status"] == "no_payment_required"
    assert made["payment_intent"] is None
    assert made["metadata"] == {
        "product_id": "prod_StandInChannel",
        "telegram_user_id": "5",
        "access_code": "ABCDEF123456",
        "access_expires_at": "2027-01-01T00:00:00Z",
    }


def test_refunds_count_once_each_and_failed_ones_do_not_count(standin: StripeStandin) -> None:
    account = standin.live
    made = account.buy_one_off(amount=1000)
    charge = account.charge_of(made["id"])
    account.refund(made["id"], amount=300)
    rest = account.refund(made["id"], status="pending")
    assert (charge["amount_refunded"], charge["refunded"]) == (1000, True)

    account.finish_refund(rest["id"], status="failed")

    assert (charge["amount_refunded"], charge["refunded"]) == (300, False)
    assert types_of(standin)[-4:] == [
        "refund.updated",
        "charge.refund.updated",
        "refund.failed",
        "charge.updated",
    ]
    old = standin.events(types=["charge.refunded"], api_version=OLDEST)[0]["data"]["object"]
    assert [refund["amount"] for refund in old["refunds"]["data"]] == [300]


def test_disputes_book_funds_and_fee_and_bring_them_back_when_won(standin: StripeStandin) -> None:
    account = standin.live
    won = account.dispute(account.buy_one_off(amount=2000)["id"])
    lost = account.dispute(account.buy_one_off()["id"])
    assert won["balance_transactions"][0]["amount"] == -2000
    assert won["balance_transactions"][0]["fee"] == 1500
    assert "customer" not in won

    account.update_dispute(won["id"])
    account.close_dispute(won["id"], won=True)
    account.close_dispute(lost["id"], won=False)

    assert [entry["amount"] for entry in won["balance_transactions"]] == [-2000, 2000]
    assert (won["status"], lost["status"]) == ("won", "lost")
    assert types_of(standin)[-4:] == [
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]


def test_credit_notes_go_to_the_balance_and_the_balance_pays_the_next_invoice(
    standin: StripeStandin,
) -> None:
    account = standin.live
    made = account.subscribe(amount=900)
    customer = account.get("customer", made["customer"])
    note = account.credit_note(made["id"], amount=300)
    account.adjust_balance(customer["id"], amount=-100)
    assert customer["balance"] == -400

    account.renew(made["id"])

    assert customer["balance"] == 0
    assert account.get("invoice", made["latest_invoice"])["amount_paid"] == 500
    account.void_credit_note(note["id"])
    assert types_of(standin)[-1] == "credit_note.voided"


def test_a_detached_payment_method_names_its_customer_in_what_was_before(
    standin: StripeStandin,
) -> None:
    customer = standin.live.create_customer()
    method = standin.live.attach_payment_method(customer["id"], type="sepa_debit", default=True)
    standin.live.detach_payment_method(method["id"])

    detached, updated = standin.events()[-2:]
    assert detached["type"] == "payment_method.detached"
    assert detached["data"]["object"]["customer"] is None
    assert detached["data"]["previous_attributes"] == {"customer": customer["id"]}
    assert updated["data"]["object"]["invoice_settings"]["default_payment_method"] is None


@pytest.mark.parametrize("type_", ["card", "link", "sepa_debit", "paypal", "aurora_pay"])
def test_any_type_of_payment_method_pays(standin: StripeStandin, type_: str) -> None:
    made = standin.live.buy_one_off(method_type=type_)
    details = standin.live.charge_of(made["id"])["payment_method_details"]
    assert details["type"] == type_
    assert type_ in details


def test_a_purchase_is_linked_to_another_telegram_account(standin: StripeStandin) -> None:
    account = standin.live
    subscription, session = account.subscribe(telegram_user_id=1), account.buy_one_off()
    account.link_telegram(subscription["id"], 2)
    assert standin.events()[-1]["data"]["previous_attributes"] == {
        "metadata": {"telegram_user_id": "1"}
    }
    account.link_telegram(session["id"], 3)
    last = standin.events()[-1]
    assert last["type"] == "charge.updated"
    assert last["data"]["previous_attributes"] == {"metadata": {"telegram_user_id": None}}


def test_scenarios_cover_every_type_of_event_a_store_subscribes_to(
    standin: StripeStandin,
) -> None:
    account = standin.account("acct_all")
    customer = account.create_customer()["id"]
    account.update_customer(customer, name="Other")
    product = account.create_product()["id"]
    account.update_product(product, name="Better")
    account.delete_product(account.create_product()["id"])
    source = account.add_source(customer)["id"]
    account.update_source(source)
    account.expire_source(source)
    account.remove_source(source)
    method = account.attach_payment_method(customer)["id"]
    account.update_payment_method(method, exp_year=2033)
    account.update_payment_method(method, exp_year=2034, automatically=True)
    account.detach_payment_method(method)
    account.capture(account.buy_one_off(outcome="authorized")["id"])
    account.expire_authorization(account.buy_one_off(outcome="authorized")["id"])
    account.buy_one_off_async(settle=True)
    account.buy_one_off_async(settle=False)
    account.expire_session(account.open_checkout()["id"])
    sold = account.buy_one_off()["id"]
    refund = account.refund(sold, status="pending")["id"]
    account.finish_refund(refund, status="failed")
    dispute = account.dispute(sold)["id"]
    account.update_dispute(dispute)
    account.close_dispute(dispute, won=True)
    account.cancel_intent(account.buy_one_off(outcome="failed")["payment_intent"])
    subscription = account.subscribe(trial_days=7)["id"]
    standin.advance(5 * DAY)
    account.begin_pending_update(subscription, product=product)
    account.end_pending_update(subscription, applied=True)
    account.begin_pending_update(subscription, product=product, amount=2100)
    account.end_pending_update(subscription, applied=False)
    account.pause_subscription(subscription)
    account.resume_subscription(subscription)
    note = account.credit_note(account.renew(subscription)["id"])["id"]
    account.update_credit_note(note, memo="sorry")
    account.void_credit_note(note)
    account.fail_renewal(subscription)
    account.give_up(subscription, how="uncollectible")
    account.fail_renewal(subscription)
    account.void_open_invoice(subscription)
    account.delete_customer(account.get("subscription", subscription)["customer"])
    account.deauthorize()
    account.authorize_again()

    assert set(HANDLED_EVENTS) - set(types_of(standin)) == set()


def test_objects_have_no_field_that_the_sdk_does_not_know(standin: StripeStandin) -> None:
    account = standin.live
    subscription, session = account.subscribe(), account.buy_one_off()
    account.refund(session["id"], amount=1)
    account.dispute(session["id"])
    account.credit_note(subscription["id"])
    account.add_source(subscription["customer"])
    account.schedule_subscription(subscription["id"])
    known = {
        "balance_transaction": stripe.BalanceTransaction,
        "card": stripe.Card,
        "charge": stripe.Charge,
        "checkout.session": stripe.checkout.Session,
        "credit_note": stripe.CreditNote,
        "customer": stripe.Customer,
        "customer_balance_transaction": stripe.CustomerBalanceTransaction,
        "dispute": stripe.Dispute,
        "invoice": stripe.Invoice,
        "invoice_payment": stripe.InvoicePayment,
        "payment_intent": stripe.PaymentIntent,
        "payment_method": stripe.PaymentMethod,
        "price": stripe.Price,
        "product": stripe.Product,
        "refund": stripe.Refund,
        "subscription": stripe.Subscription,
        "subscription_schedule": stripe.SubscriptionSchedule,
    }
    assert set(account.ledger.objects) == set(known)
    for kind, sdk_class in known.items():
        for stored in account.all(kind):
            assert set(shape(stored)) - set(sdk_class.__annotations__) == set(), kind


def test_a_history_is_the_same_every_time_and_agrees_with_the_state() -> None:
    lives = []
    for _ in range(2):
        standin = StripeStandin(now=1_799_000_000)
        lives.append(history(standin.live, events=40))
        standin_subscription = next(iter(standin.live.all("subscription")))
        standin.close()
    assert lives[0] == lives[1]
    assert len(lives[0]) == 40
    assert lives[0][-1]["created"] >= lives[0][0]["created"]
    told = [e for e in lives[0] if e["type"].startswith("customer.subscription")][-1]
    assert told["data"]["object"]["status"] == standin_subscription["status"] == "canceled"


@pytest.mark.parametrize("events", [14, 20, 27, 60])
def test_a_history_has_exactly_as_many_events_as_asked_for(events: int) -> None:
    standin = StripeStandin(now=1_799_000_000)
    assert len(history(standin.live, events=events, seconds_between=0)) == events
    standin.close()


# --- a process of its own -----------------------------------------------------------------


class Process:
    """``python -m standins.stripe`` on a free port."""

    def __init__(self, data_dir: Path, webhook_url: str = "") -> None:
        self._child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "standins.stripe",
                *("--port", "0", "--data-dir", str(data_dir)),
                *("--webhook-url", webhook_url, "--webhook-secret", "whsec_test"),
                *("--api-key", "sk_live_a,sk_test_a"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().split()[-1]

    def control(self, name: str, body: Json) -> Json:
        answer = requests.post(f"{self.url}/_control/{name}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        result: Json = answer.json()
        return result

    def client(self, key: str = "sk_live_a") -> Any:
        return stripe.StripeClient(key, base_addresses={"api": self.url}).v1

    def kill(self) -> None:
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.wait(10)
        if self._child.stdout:
            self._child.stdout.close()


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    first = Process(tmp_path, "http://127.0.0.1:9/nobody-listens")
    try:
        steps = [
            {"do": "subscribe", "args": {"telegram_user_id": 9}, "as": "sub"},
            {"do": "portal_cancel", "args": {"subscription": "$sub.id"}},
        ]
        made = first.control("scenarios", {"steps": steps})["results"]["sub"]
        first.client().subscriptions.update(
            made["id"], {"metadata": {"k": "v"}}, {"idempotency_key": "once"}
        )
    finally:
        first.kill()

    receiver = Receiver()
    second = StripeStandin(tmp_path)
    second.add_endpoint(send=receiver, secret=receiver.secret)
    with StandinServer(second) as server:
        api = stripe.StripeClient("sk_live_a", base_addresses={"api": server.url}).v1
        read = api.subscriptions.retrieve(made["id"])
        assert read.metadata["k"] == "v"
        assert read.cancel_at is not None
        assert second.deliveries.drain(10)
        assert receiver.types.count("customer.subscription.updated") == 3
        assert len({event["id"] for event in receiver.events}) == len(receiver.events)
        with pytest.raises(stripe.IdempotencyError):
            api.subscriptions.update(
                made["id"], {"metadata": {"k": "w"}}, {"idempotency_key": "once"}
            )
        assert next(record.idempotency_key for record in second.requests) == "once"
        second.advance_to(read.cancel_at)
        assert second.live.get("subscription", made["id"])["status"] == "canceled"
    second.close()


def test_time_goes_on_by_itself_in_a_running_process(tmp_path: Path) -> None:
    process = Process(tmp_path)
    try:
        steps = [
            {"do": "subscribe", "as": "sub"},
            {"do": "portal_cancel", "args": {"_": ["$sub.id"]}},
        ]
        made = process.control("scenarios", {"steps": steps})["results"]["sub"]
        left = made["items"]["data"][0]["current_period_end"] - int(time.time())
        process.control("clock", {"advance": left - 1})
        deadline = time.monotonic() + 30
        while process.client().subscriptions.retrieve(made["id"]).status != "canceled":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.kill()


def test_parallel_callers_leave_one_consistent_state(
    standin: StripeStandin, client: Client
) -> None:
    made = standin.live.subscribe()
    subscriptions = client().subscriptions

    def cancel(_: int) -> bool:
        try:
            subscriptions.cancel(made["id"])
        except stripe.InvalidRequestError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(cancel, range(16))) == 1
    assert types_of(standin).count("customer.subscription.deleted") == 1


# --- demo data ----------------------------------------------------------------------------


def test_the_seeder_makes_every_kind_of_life_once_and_only_once(tmp_path: Path) -> None:
    standin = StripeStandin(tmp_path)
    receiver = Receiver()
    standin.add_endpoint(send=receiver, secret=receiver.secret)
    with StandinServer(standin) as server:
        made = seed(server.url, len(LIVES))
        again = seed(server.url, len(LIVES))
        more = seed(server.url, len(LIVES) + 2)

        assert (made["customers"], again["customers"], more["customers"]) == (len(LIVES), 0, 2)
        assert made["delivered"]
        accounts = (standin.live, standin.test)
        statuses = {s["status"] for account in accounts for s in account.all("subscription")}
        assert statuses == {
            "active",
            "canceled",
            "incomplete",
            "incomplete_expired",
            "past_due",
            "paused",
            "trialing",
            "unpaid",
        }
        disputes = {d["status"] for account in accounts for d in account.all("dispute")}
        assert disputes == {"won", "lost", "needs_response"}
        charges = [charge for account in accounts for charge in account.all("charge")]
        assert len({charge["currency"] for charge in charges}) >= 4
        ids = [
            {c["metadata"].get("grouptizer_id") for c in account.all("customer")}
            for account in accounts
        ]
        assert ids[0] & ids[1]
        assert any(charge["customer"] is None for charge in charges)
        now = time.time()
        assert all(event["created"] <= now for event in receiver.events)
        oldest = min(e["created"] for e in receiver.events if e["type"] == "customer.created")
        assert oldest < now - 300 * DAY
    standin.close()


def test_an_interrupted_seeding_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = StripeStandin()
    broken = StripeStandin(tmp_path)
    with StandinServer(whole, deliver=False) as server:
        seed(server.url, 6)
    with StandinServer(broken, deliver=False) as server:
        original, left = broken.set_mark, 4

        def stop_midway(name: str, value: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise ValueError("killed")
            original(name, value)

        broken.set_mark = stop_midway  # type: ignore[method-assign]
        with pytest.raises(RuntimeError):
            seed(server.url, 6)
        assert broken.mark("seed")["done"] == 2
        broken.set_mark = original  # type: ignore[method-assign]
        seed(server.url, 6)
        assert broken.mark("seed")["done"] == 6
    whole.close()
    broken.close()


# --- endpoints and event destinations -----------------------------------------------------


def test_a_deleted_and_a_disabled_endpoint_are_sent_nothing_and_miss_nothing(
    standin: StripeStandin, client: Client
) -> None:
    first, second = Receiver(), Receiver()
    first.answers = [500]
    standin.add_endpoint(send=first, secret=first.secret, id="we_first")
    standin.add_endpoint(send=second, secret=second.secret, id="we_off", status="disabled")
    api = client()
    standin.live.create_customer()
    standin.deliveries.flush()
    assert len(api.events.list({"delivery_success": False}).data) == 1
    standin.remove_endpoint("we_first")
    standin.live.create_customer()
    assert standin.deliveries.flush() == 0
    assert (first.events, second.events) == ([], [])
    assert api.events.list({"delivery_success": False}).data == []
    assert [(one.id, one.status) for one in api.webhook_endpoints.list().data] == [
        ("we_off", "disabled")
    ]


def test_the_sdk_lists_event_destinations_and_their_addresses_where_asked(
    standin: StripeStandin, server: StandinServer
) -> None:
    standin.add_event_destination(url="https://a.example", event_payload="thin", livemode=True)
    standin.add_event_destination(
        id="ed_bridge", type="amazon_eventbridge", aws_event_source_arn="arn:aws:events:1"
    )
    sdk: Any = stripe.StripeClient("sk_live_test", base_addresses={"api": server.url})
    with_url = sdk.v2.core.event_destinations.list({"include": ["webhook_endpoint.url"]}).data
    assert with_url[0].webhook_endpoint.url == "https://a.example"
    assert (with_url[0].object, with_url[0].event_payload) == ("v2.core.event_destination", "thin")
    assert with_url[1].amazon_eventbridge.aws_event_source_arn == "arn:aws:events:1"
    without = sdk.v2.core.event_destinations.list().data
    assert without[0].webhook_endpoint.url is None
    test = stripe.StripeClient("sk_test_test", base_addresses={"api": server.url})
    assert [one.id for one in test.v2.core.event_destinations.list().data] == ["ed_bridge"]


def test_the_control_routes_change_endpoints_and_event_destinations(
    standin: StripeStandin, server: StandinServer
) -> None:
    control = f"{server.url}/_control"
    made = {"url": "https://a.example", "status": "disabled", "id": "we_1"}
    assert requests.post(f"{control}/endpoints", json=made, timeout=5).ok
    assert standin.deliveries.endpoints["we_1"].status == "disabled"
    assert requests.delete(f"{control}/endpoints", json={"id": "we_1"}, timeout=5).ok
    assert standin.deliveries.endpoints == {}
    listed = {"id": "ed_1", "url": "https://a.example", "enabled_events": ["v1.charge.failed"]}
    assert requests.post(f"{control}/event_destinations", json=listed, timeout=5).ok
    assert standin.event_destinations["ed_1"].enabled_events == ("v1.charge.failed",)
    assert requests.delete(f"{control}/event_destinations", timeout=5).ok
    assert standin.event_destinations == {}
