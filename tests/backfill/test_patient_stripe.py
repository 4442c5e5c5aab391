"""Reading a lot from Stripe without getting in anybody's way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from customers_cli.patient_stripe import Pace, PatientStripe
from shared.integrations.stripe_gateway import Mode, StripeRefusal, StripeUnavailable
from standins.stripe import StandinServer, StripeStandin

LIVE = Mode(True)


@pytest.fixture
def standin() -> Iterator[StripeStandin]:
    standin = StripeStandin(api_keys=("sk_live_local",))
    yield standin
    standin.close()


@pytest.fixture
def server(standin: StripeStandin) -> Iterator[StandinServer]:
    with StandinServer(standin, deliver=False) as server:
        yield server


def patient(server: StandinServer) -> PatientStripe:
    return PatientStripe(lambda: {"live": "sk_live_local"}, server.url, waits=(0.01, 0.02))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_stripe_cannot_answer_now_is_asked_again(
    standin: StripeStandin, server: StandinServer, status: int
) -> None:
    standin.live.create_customer(name="Renée")
    standin.fail("GET", "/v1/customers", times=2, status=status)
    stripe = patient(server)
    assert len(list(stripe.list_all("customers", LIVE))) == 1
    assert stripe.requests == 3


def test_patience_ends(standin: StripeStandin, server: StandinServer) -> None:
    standin.fail("GET", "/v1/customers", times=None, status=429)
    stripe = patient(server)
    with pytest.raises(StripeUnavailable):
        stripe.list_page("customers", LIVE)
    assert stripe.requests == 3


def test_a_refusal_is_not_asked_again(standin: StripeStandin, server: StandinServer) -> None:
    standin.disconnect("acct_1")
    stripe = patient(server)
    with pytest.raises(StripeRefusal):
        stripe.list_page("customers", Mode(True, "acct_1"))
    assert stripe.requests == 1


def test_all_threads_together_keep_the_pace() -> None:
    pace = Pace(per_second=100)
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: pace.wait_for_turn(), range(31)))
    assert time.monotonic() - started >= 0.3


def test_while_one_waits_all_wait() -> None:
    pace = Pace(per_second=1000)
    pace.pause(0.2)
    started = time.monotonic()
    pace.wait_for_turn()
    assert time.monotonic() - started >= 0.2
