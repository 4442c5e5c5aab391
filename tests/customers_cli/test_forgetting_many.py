"""Guests whose attempts are too many to be listed are exported and forgotten, too."""

from __future__ import annotations

import pytest

from customers_cli.export import export
from customers_cli.forget import forget
from shared.domain.customer import MOST_ATTEMPTS
from tests.customers_cli.test_forgetting import STORE, customer_id, everything, parts
from tests.dynamo import Tables
from tests.functions import big_buyers
from tests.functions.shop import Shop


@pytest.fixture
def tables(dynoxide_tables: Tables) -> Tables:
    return dynoxide_tables


def test_attempts_that_are_not_listed_are_exported_and_forgotten(shop: Shop) -> None:
    big_buyers.fill(shop, "guest checkouts", 0, 1)
    for number in range(1, MOST_ATTEMPTS + 6):
        for event in big_buyers.declined_guests(number):
            assert shop.post_signed(event)[0] == 200
    shop.cancel(purchase_id="pi_000000")
    who = customer_id(shop)
    assert len(shop.customer()["purchases"]) == MOST_ATTEMPTS + 1
    exported = export(parts(shop), STORE, who)
    assert len(exported["accounts"]) == MOST_ATTEMPTS + 6
    forget(parts(shop), STORE, who)
    assert big_buyers.GUESTS_EMAIL not in everything(shop)
