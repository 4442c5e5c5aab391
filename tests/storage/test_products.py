"""A store's products and the chats they open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.merge import Observation
from shared.integrations.stripe_gateway import StripeGateway, StripeRefusal, StripeUnavailable
from shared.storage.items import to_item
from shared.storage.keys import product_key_without_mode
from shared.storage.products import Products, name_of, product_of
from shared.tenant import Tenant
from standins.stripe import StripeStandin
from tests.builders import a_subscription
from tests.functions.webhook_world import STORE, World
from tests.storage.owners import store_chats

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


def chats_of(
    products: Products, tenant: Tenant, product_id: str, livemode: bool = True
) -> set[str]:
    """The chats a product opens now; fetched where nobody told of it."""
    bought = a_subscription(products=[product_id], livemode=livemode)
    found = products.complete(tenant, bought)
    return set(found[product_id].chats) if product_id in found else set()


def name(products: Products, product_id: str) -> str | None:
    (record,) = products.known(STORE, [(True, product_id)]).values()
    return name_of(record)


def test_a_product_knows_which_chats_it_opened_when(products: Products) -> None:
    products.observe(STORE, "prod_1", seen(20, "New", "-2"), livemode=True)
    products.observe(STORE, "prod_1", seen(10, "Old", "-1"), livemode=True)
    (record,) = products.known(STORE, [(True, "prod_1"), (True, "prod_2")]).values()
    (timeline,) = product_of(record).timelines
    assert chats_of(products, STORE, "prod_1") == {"-2"}
    assert (timeline.at(15), timeline.during(12, 25)) == (["-1"], [["-1"], ["-2"]])


def test_one_id_in_both_modes_is_two_products(products: Products) -> None:
    products.observe(STORE, "prod_1", seen(1, "Live", "-1"), livemode=True)
    products.observe(STORE, "prod_1", seen(2, "Test", "-2"), livemode=False)
    assert chats_of(products, STORE, "prod_1", livemode=True) == {"-1"}
    assert chats_of(products, STORE, "prod_1", livemode=False) == {"-2"}


def test_a_product_from_before_keys_had_a_mode_is_read_as_either_and_kept(
    world: World, products: Products
) -> None:
    products.observe(STORE, "prod_1", seen(10, "Old", "-2"), livemode=True)
    (record,) = products.known(STORE, [(True, "prod_1")]).values()
    world.table.delete(record.key.pk, record.key.sk)
    old = replace(
        record,
        key=product_key_without_mode(STORE, "prod_1"),
        timelines={},
        seen=frozenset({"-1", "-2"}),
    )
    world.table.put(to_item(old))
    for livemode in (True, False):
        assert chats_of(products, STORE, "prod_1", livemode=livemode) == {"-2"}
    products.observe(STORE, "prod_1", seen(20, "New", "-3"), livemode=False)
    assert chats_of(products, STORE, "prod_1", livemode=True) == {"-2"}
    assert chats_of(products, STORE, "prod_1", livemode=False) == {"-3"}
    (now,) = products.known(STORE, [(False, "prod_1")]).values()
    (timeline,) = product_of(now).timelines
    # What it ever opened counts for the time before its last word.
    assert timeline.during(1, 5) == [["-1", "-2"]]
    assert timeline.during(12, 15) == [["-2"], ["-3"]]


def test_a_chat_is_kept_as_it_was_given_whoever_it_belongs_to(
    world: World, products: Products
) -> None:
    store_chats(world.table).approve(OTHER, "-1")
    products.observe(STORE, "prod_1", seen(1, "Ours", "-1", "-2", "@name"), livemode=True)
    chats = chats_of(products, STORE, "prod_1")
    assert chats == {"-1", "-2", "@name"}
    standings = store_chats(world.table).standings(STORE, chats)
    assert {chat: (s.usable, s.reason) for chat, s in standings.items()} == {
        "-1": (False, "other_store"),
        "-2": (True, None),
        "@name": (False, "not_numeric"),
    }


def test_the_name_is_what_was_said_last_by_stripe_or_the_store(products: Products) -> None:
    products.observe(STORE, "prod_1", seen(1, "Stripe's"), livemode=True)
    products.observe(STORE, "prod_1", seen(2, "The store's", source="store"), livemode=True)
    assert name(products, "prod_1") == "The store's"
    products.observe(STORE, "prod_1", seen(3, "Stripe's again"), livemode=True)
    assert name(products, "prod_1") == "Stripe's again"


def test_an_unknown_product_is_fetched_once(world: World, products: Products) -> None:
    made = world.standin.live.create_product(name="Signals", telegram_chat_ids=[-1])["id"]
    for _ in range(2):
        assert chats_of(products, STORE, made) == {"-1"}
    assert world.stripe.asked == [("get", f"/v1/products/{made}")]
    assert name(products, made) == "Signals"
    assert world.marked() == []


def test_a_product_of_a_connected_account_is_asked_for_there(
    world: World, products: Products
) -> None:
    world.registry.register(OTHER, "acct_other")
    connected = world.standin.account("acct_other", livemode=False)
    made = connected.create_product(name="Theirs", telegram_chat_ids=[-1])["id"]
    assert chats_of(products, OTHER, made, livemode=False) == {"-1"}
    assert chats_of(products, STORE, made, livemode=False) == set()


def test_a_product_stripe_does_not_have_opens_nothing(products: Products) -> None:
    assert chats_of(products, STORE, "prod_gone") == set()


def test_what_stripe_does_not_answer_is_not_taken_for_nothing(
    world: World, products: Products
) -> None:
    made = world.standin.live.create_product(name="Signals", telegram_chat_ids=[-1])["id"]
    world.standin.fail(status=500)
    with pytest.raises(StripeUnavailable):
        chats_of(products, STORE, made)
    without_keys = StripeGateway(dict, "http://stand-in", connect_timeout=1.0, read_timeout=1.0)
    unconnected = replace(products, stripe=without_keys)
    with pytest.raises(StripeRefusal):
        chats_of(unconnected, STORE, made)
