"""Reading a lot from Stripe without getting in anybody's way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import stripe

from customers_cli.stripe_http import Pace, PacedClient
from shared.integrations.stripe_gateway import (
    Mode,
    StripeGateway,
    StripeRefusal,
    StripeUnavailable,
)
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


@pytest.fixture
def pace() -> Pace:
    return Pace()


def patient(server: StandinServer, pace: Pace) -> StripeGateway:
    """The gateway of the functions, above the client of the commands."""
    return StripeGateway(
        lambda: {"live": "sk_live_local"},
        server.url,
        connect_timeout=1,
        read_timeout=1,
        http_client=lambda: PacedClient(pace, waits=(0.01, 0.02)),
    )


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_what_stripe_cannot_answer_now_is_asked_again(
    standin: StripeStandin, server: StandinServer, pace: Pace, status: int
) -> None:
    standin.live.create_customer(name="Renée")
    standin.fail("GET", "/v1/customers", times=2, status=status)
    gateway = patient(server, pace)
    assert len(list(gateway.list_all("customers", LIVE))) == 1
    assert pace.turns == 3


def test_patience_ends(standin: StripeStandin, server: StandinServer, pace: Pace) -> None:
    standin.fail("GET", "/v1/customers", times=None, status=429)
    gateway = patient(server, pace)
    with pytest.raises(StripeUnavailable):
        gateway.list_page("customers", LIVE)
    assert pace.turns == 3


def test_a_refusal_is_not_asked_again(
    standin: StripeStandin, server: StandinServer, pace: Pace
) -> None:
    standin.disconnect("acct_1")
    gateway = patient(server, pace)
    with pytest.raises(StripeRefusal):
        gateway.list_page("customers", Mode(True, "acct_1"))
    assert pace.turns == 1


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


class Broken(stripe.HTTPClient):
    """Loses the connection as often as it is told to."""

    name = "broken"

    def __init__(self, times: int, why: Exception) -> None:
        super().__init__()
        self.times = times
        self.why = why
        self.asked = 0

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[Any, int, Mapping[str, str]]:
        self.asked += 1
        if self.asked <= self.times:
            raise stripe.APIConnectionError("no connection") from self.why  # type: ignore[no-untyped-call]
        return b"{}", 200, {}


def test_a_lost_connection_is_asked_again() -> None:
    inner = Broken(2, requests.ConnectionError())
    assert PacedClient(Pace(), inner, waits=(0.0, 0.0)).request("get", "/", {})[1] == 200
    assert inner.asked == 3


def test_a_certificate_that_is_not_stripes_is_not_asked_again() -> None:
    inner = Broken(2, requests.exceptions.SSLError())
    with pytest.raises(stripe.APIConnectionError):
        PacedClient(Pace(), inner, waits=(0.0, 0.0)).request("get", "/", {})
    assert inner.asked == 1


def test_nobody_waits_for_a_turn_after_the_end() -> None:
    pace = Pace()
    pace.pause(60)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(pace.wait_for_turn) for _ in range(2)]
        pace.end()
        for one in waiting:
            with pytest.raises(stripe.APIConnectionError):
                one.result(timeout=5)
