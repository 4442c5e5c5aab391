"""An account that is found to be somebody else while the list is brought up to date."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.domain.merge import Observation
from shared.storage import customers
from shared.storage.customers import Customers
from shared.storage.dynamo import Table
from shared.storage.keys import profile_key, purchase_key
from standins.stripe import StripeStandin
from tests.functions.webhook_world import STORE, World

GUEST = "guest:pi_1"
SESSION = {
    "id": "cs_1",
    "mode": "payment",
    "outcome": "completed",
    "payment_status": "paid",
    "created_at": 1_790_000_000,
    "product_id": "prod_1",
    "telegram_user_id": None,
    "access_code": None,
    "access_expires_at": None,
    "livemode": True,
}


class Interrupted:
    """A client that runs something else once, right before or after a transaction."""

    def __init__(self, client: Any, then: Callable[[], None], *, before: bool) -> None:
        self._client = client
        self._then: Callable[[], None] | None = then
        self._before = before

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)
        if name != "transact_write_items":
            return operation

        def call(**request: Any) -> Any:
            then, self._then = self._then, None
            if then is not None and self._before:
                then()
            answer = operation(**request)
            if then is not None and not self._before:
                then()
            return answer

        return call


def test_a_guest_whose_address_comes_in_between_is_listed_once() -> None:
    for before in (True, False):
        world = World(StripeStandin(now=1_790_000_000))
        records, purchase = world.records, purchase_key(STORE, GUEST, "pi_1")
        bought = Observation("session", SESSION, 1_790_000_000, "evt_1")
        records.observe(purchase, bought, fetch=lambda: None)

        def address_comes(world: World = world) -> None:
            guest = {"name": "Renée", "email": "renee@example.com", "created_at": 1_790_000_000}
            says = Observation("guest", guest, 1_790_000_000, "evt_2")
            world.records.observe(profile_key(STORE, GUEST), says, fetch=lambda: None)
            world.customers.reindex(STORE, GUEST)

        client = Interrupted(world.memory, address_comes, before=before)
        Customers(Table(client, "records"), Table(client, "index")).reindex(STORE, GUEST)
        listed = [
            item for key, item in world.state().items() if key.startswith("index demo#F|*|*|* ")
        ]
        assert [("Renée" in item["j"]) for item in listed] == [True]
        assert world.marked() == []


@pytest.mark.parametrize("rows_at_once", [99, 5])
def test_a_guest_that_moves_while_the_sweep_lists_it_is_listed_as_the_customer_only(
    monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    """A guest whose event was stopped before the list: the sweep sees to it, and whoever names its
    customer moves it in between. The sweep looks for no note: what it lists must be there still.
    """
    monkeypatch.setattr(customers, "ROWS_PER_TRANSACTION", rows_at_once)
    world = World(StripeStandin(now=1_790_000_000))
    bought = Observation("session", SESSION, 1_790_000_000, "evt_1")
    world.records.observe(purchase_key(STORE, GUEST, "pi_1"), bought, fetch=lambda: None)

    def moves() -> None:
        guests = world.services.guests
        assert guests.belongs_to(STORE, GUEST, "cus_1") == "cus_1"
        assert guests.adopt(STORE, GUEST, "cus_1")
        world.customers.reindex(STORE, "cus_1")
        world.customers.reindex(STORE, GUEST)
        guests.forget(STORE, GUEST)

    client = Interrupted(world.memory, moves, before=True)
    Customers(Table(client, "records"), Table(client, "index")).reindex(STORE, GUEST)
    listed = [key for key in world.state() if key.startswith("index demo#F|*|*|* ")]
    assert len(listed) == 1
    assert world.records.account(STORE, GUEST, "PROFILE") == []
    assert world.marked() == []


class BeforeReads:
    """A client that runs something else before some of its reads.

    Args:
        then: by the number of the read.
    """

    def __init__(self, client: Any, then: dict[int, Callable[[], None]]) -> None:
        self._client = client
        self._then = then
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)
        if name not in ("get_item", "query", "batch_get_item"):
            return operation

        def call(**request: Any) -> Any:
            self.reads += 1
            self._then.get(self.reads, lambda: None)()
            return operation(**request)

        return call


@pytest.mark.parametrize("first", range(1, 6))
@pytest.mark.parametrize("later", range(1, 6))
def test_a_guest_that_comes_again_while_it_is_taken_off_the_list_leaves_no_row(
    first: int, later: int
) -> None:
    """Another writer has taken it off already. Its records come again, and are moved by their own
    event. Only the profile says under whom a guest is listed."""
    world = World(StripeStandin(now=1_790_000_000))
    guests, customers_ = world.services.guests, world.customers
    guest = {"name": "Renée", "email": "renee@example.com", "created_at": 1_790_000_000}

    def comes() -> None:
        bought = Observation("session", SESSION, 1_790_000_000, "evt_1")
        says = Observation("guest", guest, 1_790_000_000, "evt_1")
        key = purchase_key(STORE, GUEST, "pi_1")
        world.records.observe(key, bought, fetch=lambda: None)
        world.records.observe(profile_key(STORE, GUEST), says, fetch=lambda: None)

    def is_taken_off() -> None:
        customers_.reindex(STORE, GUEST)
        guests.forget(STORE, GUEST)

    def is_taken_off_and_comes_again() -> None:
        is_taken_off()
        comes()

    def moves() -> None:
        while guests.adopt(STORE, GUEST, "cus_1"):
            customers_.reindex(STORE, "cus_1")
            is_taken_off()

    comes()
    customers_.reindex(STORE, GUEST)
    guests.belongs_to(STORE, GUEST, "cus_1")
    guests.adopt(STORE, GUEST, "cus_1")
    customers_.reindex(STORE, "cus_1")
    then: dict[int, Callable[[], None]] = {
        first: is_taken_off_and_comes_again,
        first + later: moves,
    }
    client = BeforeReads(world.memory, then)
    Customers(Table(client, "records"), Table(client, "index")).reindex(STORE, GUEST)
    assert client.reads >= 3
    moves()
    listed = [key for key in world.state() if key.startswith("index demo#F|*|*|* ")]
    assert len(listed) == 1
    assert world.records.account(STORE, GUEST, "PROFILE") == []
