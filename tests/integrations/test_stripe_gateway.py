"""The gateway over HTTP, with the real SDK, against the stand-in."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.integrations.stripe_gateway import (
    Keys,
    Mode,
    StripeAccountClosed,
    StripeError,
    StripeGateway,
    StripeMissing,
    StripeRefusal,
    StripeUnavailable,
    SubscriptionRef,
)
from standins.stripe import StandinServer, StripeStandin

ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = {"live": "sk_live_canary", "test": "sk_test_canary"}
LIVE = Mode(livemode=True)


@pytest.fixture(scope="module")
def server() -> Iterator[StandinServer]:
    standin = StripeStandin(api_keys=tuple(KEYS.values()))
    with StandinServer(standin, deliver=False) as running:
        yield running
    standin.close()


def hasty(keys: Keys, url: str, refresh_keys: Keys | None = None) -> StripeGateway:
    return StripeGateway(
        keys, url, connect_timeout=1.0, read_timeout=0.5, refresh_keys=refresh_keys
    )


@pytest.fixture
def standin(server: StandinServer) -> StripeStandin:
    server.standin.faults.clear()
    server.standin.outage = False
    server.standin.clear_requests()
    return server.standin


@pytest.fixture
def gateway(server: StandinServer) -> StripeGateway:
    return hasty(lambda: KEYS, server.url)


def subscribed(standin: StripeStandin) -> SubscriptionRef:
    return SubscriptionRef(standin.live.subscribe(checkout=False)["id"], livemode=True)


def test_a_subscription_comes_as_plain_json(gateway: StripeGateway, standin: StripeStandin) -> None:
    ref = subscribed(standin)
    raw = gateway.retrieve_subscription(ref)
    assert type(raw) is dict
    assert json.loads(json.dumps(raw)) == raw
    (request,) = standin.requests
    assert (request.method, request.path) == ("GET", f"/v1/subscriptions/{ref.subscription_id}")
    assert request.stripe_version == "2026-10-28.endive"


def test_cancelling_now_neither_invoices_nor_prorates(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    raw = gateway.cancel_subscription(subscribed(standin), idempotency_key="k1")
    assert raw["status"] == "canceled"
    (request,) = standin.requests
    assert request.method == "DELETE"
    assert request.params == {"invoice_now": "false", "prorate": "false"}


def test_cancelling_twice_says_there_is_nothing(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    ref = subscribed(standin)
    gateway.cancel_subscription(ref, idempotency_key="k1")
    with pytest.raises(StripeMissing):
        gateway.cancel_subscription(ref, idempotency_key="k2")


def test_a_cancel_at_the_periods_end_carries_its_key(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    raw = gateway.cancel_at_period_end(subscribed(standin), idempotency_key="k-period")
    assert raw["status"] == "active"
    assert raw["cancel_at_period_end"] or raw["cancel_at"]
    (request,) = standin.requests
    assert (request.method, request.idempotency_key) == ("POST", "k-period")


def test_a_schedule_is_released_and_never_cancelled(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    ref = subscribed(standin)
    standin.live.schedule_subscription(ref.subscription_id)
    raw = gateway.cancel_at_period_end(ref, idempotency_key="k-schedule")
    assert raw["cancel_at_period_end"] or raw["cancel_at"]
    asked = [(request.method, request.path.split("/")[-1]) for request in standin.requests]
    assert asked == [
        ("POST", ref.subscription_id),
        ("GET", ref.subscription_id),
        ("POST", "release"),
        ("POST", ref.subscription_id),
    ]
    assert standin.requests[2].params == {"preserve_cancel_date": "true"}
    keys = [request.idempotency_key for request in standin.requests if request.method == "POST"]
    assert len(set(keys)) == 3


def test_a_subscription_that_is_over_already_is_returned_as_it_is(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    ref = subscribed(standin)
    standin.live.cancel_subscription(ref.subscription_id)
    raw = gateway.cancel_at_period_end(ref, idempotency_key="k-over")
    assert raw["status"] == "canceled"


def test_a_connected_account_is_named_in_every_request(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    connected = standin.account("acct_1Gateway", livemode=False)
    bought = connected.subscribe(checkout=False)["id"]
    ref = SubscriptionRef(bought, livemode=False, stripe_account="acct_1Gateway")
    assert gateway.retrieve_subscription(ref)["livemode"] is False
    assert standin.requests[-1].account == "acct_1Gateway"
    with pytest.raises(StripeMissing):
        gateway.retrieve_subscription(SubscriptionRef(bought, livemode=False))
    with pytest.raises((StripeMissing, StripeRefusal)):
        gateway.retrieve_subscription(
            SubscriptionRef(bought, livemode=True, stripe_account="acct_1Gateway")
        )


def test_a_disconnected_account_is_a_refusal_that_says_so(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    standin.account("acct_1Gone")
    standin.disconnect("acct_1Gone")
    with pytest.raises(StripeRefusal, match="disconnected"):
        gateway.retrieve("customers", "cus_1", Mode(True, "acct_1Gone"))


def test_a_mode_without_a_key_is_not_connected(server: StandinServer) -> None:
    gateway = hasty(lambda: {"test": "sk_test_canary"}, server.url)
    with pytest.raises(StripeRefusal, match="live mode is not connected"):
        gateway.retrieve("customers", "cus_1", LIVE)


def test_a_rotated_key_is_read_again_once(server: StandinServer, standin: StripeStandin) -> None:
    customer = standin.live.create_customer()["id"]
    refreshed: list[int] = []

    def fresh() -> dict[str, str]:
        refreshed.append(1)
        return KEYS

    gateway = hasty(lambda: {"live": "sk_live_old"}, server.url, refresh_keys=fresh)
    assert gateway.retrieve("customers", customer, LIVE)["id"] == customer
    stale = hasty(
        lambda: {"live": "sk_live_old"},
        server.url,
        refresh_keys=lambda: {"live": "sk_live_old"},
    )
    with pytest.raises(StripeRefusal, match="does not accept the API key"):
        stale.retrieve("customers", customer, LIVE)
    assert refreshed == [1]


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503])
def test_what_may_pass_is_unavailable_and_never_retried_here(
    gateway: StripeGateway, standin: StripeStandin, status: int
) -> None:
    ref = subscribed(standin)
    standin.clear_requests()
    standin.fail(status=status, times=None)
    with pytest.raises(StripeUnavailable):
        gateway.retrieve_subscription(ref)
    assert len(standin.requests) == 1


def test_a_lost_answer_is_unavailable(gateway: StripeGateway, standin: StripeStandin) -> None:
    ref = subscribed(standin)
    standin.fail(drop=True)
    with pytest.raises(StripeUnavailable):
        gateway.cancel_subscription(ref, idempotency_key="k-lost")


def test_a_slow_answer_is_unavailable_within_the_timeout(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    ref = subscribed(standin)
    standin.fail(latency=2.0)
    with pytest.raises(StripeUnavailable):
        gateway.retrieve_subscription(ref)


def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gateway = hasty(lambda: KEYS, f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StripeUnavailable):
            gateway.retrieve("customers", "cus_1", LIVE)


def test_a_list_is_read_to_its_end(gateway: StripeGateway, standin: StripeStandin) -> None:
    customer = standin.live.create_customer()["id"]
    for amount in range(1, 104):
        standin.live.adjust_balance(customer, amount=-amount)
    standin.clear_requests()
    found = [raw["amount"] for raw in gateway.list_balance_transactions(customer, LIVE)]
    assert found == [-amount for amount in range(103, 0, -1)]
    assert len(standin.requests) == 2


def test_line_items_name_their_products(gateway: StripeGateway, standin: StripeStandin) -> None:
    session = standin.live.buy_one_off(product_in_metadata=False)
    (item,) = gateway.list_line_items(session["id"], LIVE)
    assert item["price"]["product"]


def test_an_id_can_not_leave_its_path(gateway: StripeGateway, standin: StripeStandin) -> None:
    for id_ in ("../refunds?charge=x", "..", ".", "", "x/../../refunds"):
        with contextlib.suppress(StripeError):
            gateway.retrieve("customers", id_, LIVE)
    assert [request.path for request in standin.requests] == [
        "/v1/customers/../refunds?charge=x",  # one segment, as the server has decoded it
        "/v1/customers/x/../../refunds",
    ]
    assert all(request.status == 404 and not request.params for request in standin.requests)


def test_keys_never_show_in_errors_or_logs(
    gateway: StripeGateway, standin: StripeStandin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    standin.api_keys = ("sk_live_other",)
    try:
        gateway.retrieve("customers", "cus_1", LIVE)
    except StripeError as error:
        texts += traceback.format_exception(error)
    finally:
        standin.api_keys = tuple(KEYS.values())
    standin.fail(drop=True)
    try:
        gateway.retrieve("customers", "cus_1", LIVE)
    except StripeError as error:
        texts += traceback.format_exception(error)
    assert texts
    assert "canary" not in "".join(texts) + caplog.text


def test_the_sdk_is_not_imported_before_the_first_request() -> None:
    code = "import sys, shared.integrations.stripe_gateway; print('stripe' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_nothing_here_can_refund() -> None:
    text = (ROOT / "shared/integrations/stripe_gateway.py").read_text()
    posts: list[Any] = [line for line in text.splitlines() if '"post"' in line]
    assert len(posts) == 2  # the schedule's release, the subscription's update
    assert "refunds" not in text.replace("``refunds``", "")


def test_a_closed_account_is_told_from_a_key_that_may_not_do_this(
    gateway: StripeGateway, standin: StripeStandin
) -> None:
    standin.close_account()
    with pytest.raises(StripeAccountClosed):
        gateway.list_page("subscriptions", LIVE)
    standin.reopen_account()
    assert gateway.list_page("subscriptions", LIVE)["object"] == "list"
