"""A store's products and the chats they open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.merge import Observation
from shared.integrations.stripe_gateway import StripeGateway, StripeRefusal, StripeUnavailable
from shared.storage.products import Products
from shared.tenant import Tenant
from standins.stripe import StripeStandin
from tests.functions.webhook_world import STORE, World

OTHER = Tenant("other")


@pytest.fixture
def world() -> World:
    return World(StripeStandin())


@pytest.fixture
def products(world: World) -> Products:
    return world.products


def seen(at: int, name: str, *chats: str, source: str = "product") -> Observation:
    data: dict[str, Any] = {"name": name, "chats": list(chats), "deleted": False}
    return Observation(source, data, at, f"evt_{at}_{source}")


def test_a_product_keeps_every_chat_it_ever_opened(products: Products) -> None:
    products.observe(STORE, "prod_1", seen(2, "New", "-2"), livemode=True)
    products.observe(STORE, "prod_1", seen(1, "Old", "-1"), livemode=True)
    assert products.names(STORE, ["prod_1", "prod_2"]) == {"prod_1": "New"}
    assert products.chats_ever(STORE, ["prod_1"], True) == {"-1", "-2"}


def test_a_chat_belongs_to_the_store_that_named_it_first(products: Products) -> None:
    assert products.observe(OTHER, "prod_1", seen(1, "Theirs", "-1"), livemode=True) == 0
    assert products.observe(STORE, "prod_1", seen(1, "Ours", "-1", "-2"), livemode=True) == 1
    assert products.chats_ever(STORE, ["prod_1"], True) == {"-2"}
    assert products.chats_ever(OTHER, ["prod_1"], True) == {"-1"}


def test_the_name_is_what_was_said_last_by_stripe_or_the_store(products: Products) -> None:
    products.observe(STORE, "prod_1", seen(1, "Stripe's"), livemode=True)
    products.observe(STORE, "prod_1", seen(2, "The store's", source="store"), livemode=True)
    assert products.names(STORE, ["prod_1"]) == {"prod_1": "The store's"}
    products.observe(STORE, "prod_1", seen(3, "Stripe's again"), livemode=True)
    assert products.names(STORE, ["prod_1"]) == {"prod_1": "Stripe's again"}


def test_an_unknown_product_is_fetched_once(world: World, products: Products) -> None:
    made = world.standin.live.create_product(name="Signals", telegram_chat_ids=[-1])["id"]
    for _ in range(2):
        assert products.chats_ever(STORE, [made], True) == {"-1"}
    assert world.stripe.asked == [("get", f"/v1/products/{made}")]
    assert products.names(STORE, [made]) == {made: "Signals"}
    assert world.marked() == []


def test_a_product_of_a_connected_account_is_asked_for_there(
    world: World, products: Products
) -> None:
    world.registry.register(OTHER, "acct_other")
    connected = world.standin.account("acct_other", livemode=False)
    made = connected.create_product(name="Theirs", telegram_chat_ids=[-1])["id"]
    assert products.chats_ever(OTHER, [made], False) == {"-1"}
    assert products.chats_ever(STORE, [made], False) == frozenset()


def test_a_product_stripe_does_not_have_opens_nothing(products: Products) -> None:
    assert products.chats_ever(STORE, ["prod_gone"], True) == frozenset()


def test_what_stripe_does_not_answer_is_not_taken_for_nothing(
    world: World, products: Products
) -> None:
    made = world.standin.live.create_product(name="Signals", telegram_chat_ids=[-1])["id"]
    world.standin.fail(status=500)
    with pytest.raises(StripeUnavailable):
        products.chats_ever(STORE, [made], True)
    without_keys = StripeGateway(dict, "http://stand-in", connect_timeout=1.0, read_timeout=1.0)
    unconnected = replace(products, stripe=without_keys)
    with pytest.raises(StripeRefusal):
        unconnected.chats_ever(STORE, [made], True)
