"""A Stripe stand-in whose clock stands still, and the SDK on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from standins.stripe import StandinServer, StripeStandin
from tests.standins.stripe_caller import NOW, Client, Receiver


@pytest.fixture
def standin() -> Iterator[StripeStandin]:
    made = StripeStandin(now=NOW)
    yield made
    made.close()


@pytest.fixture
def receiver(standin: StripeStandin) -> Receiver:
    made = Receiver()
    standin.add_endpoint(send=made, secret=made.secret, enabled_events=("*",))
    return made


@pytest.fixture
def server(standin: StripeStandin) -> Iterator[StandinServer]:
    with StandinServer(standin, deliver=False) as running:
        yield running


@pytest.fixture
def client(server: StandinServer) -> Client:
    def make(key: str = "sk_live_test", **options: Any) -> Any:
        return stripe.StripeClient(key, base_addresses={"api": server.url}, **options).v1

    return make
