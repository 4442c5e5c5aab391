"""Which store a Stripe account belongs to."""

from __future__ import annotations

import pytest

from shared.storage.registry import CACHE_SECONDS, AccountTaken, Connection, Registry
from shared.tenant import Tenant
from tests.dynamo import Tables

DEMO, OTHER = Tenant("demo"), Tenant("other")


class Now:
    """A clock to move by hand."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def registry(tables: Tables, now: Now) -> Registry:
    return Registry(tables.records, "demo", now)


def test_events_without_an_account_are_the_default_stores(registry: Registry) -> None:
    assert registry.of_account(None) == Connection(DEMO)


def test_an_account_nobody_registered_is_nobodys(registry: Registry) -> None:
    assert registry.of_account("acct_1") is None


def test_a_registered_account_leads_to_its_store_and_back(registry: Registry) -> None:
    registry.register(OTHER, "acct_1")
    registry.register(OTHER, "acct_1")
    assert registry.of_account("acct_1") == Connection(OTHER, "acct_1")
    assert registry.of_store(OTHER) == Connection(OTHER, "acct_1")
    assert registry.of_store(DEMO) == Connection(DEMO)


def test_an_account_can_not_be_taken_from_another_store(registry: Registry) -> None:
    registry.register(OTHER, "acct_1")
    with pytest.raises(AccountTaken):
        registry.register(DEMO, "acct_1")
    assert registry.of_store(DEMO).account is None


def test_the_newest_account_of_a_store_is_asked_and_both_tell_of_it(registry: Registry) -> None:
    registry.register(OTHER, "acct_1")
    registry.register(OTHER, "acct_2")
    assert registry.of_store(OTHER).account == "acct_2"
    assert registry.of_account("acct_1") == Connection(OTHER, "acct_1")


def test_a_disconnected_account_stays_its_stores(registry: Registry) -> None:
    registry.register(OTHER, "acct_1")
    registry.disconnected("acct_1", 100)
    assert registry.of_account("acct_1") == Connection(OTHER, "acct_1", 100)
    registry.connected_again("acct_1", 99)
    assert registry.of_store(OTHER).disconnected_at == 100
    registry.connected_again("acct_1", 101)
    assert registry.of_store(OTHER).disconnected_at is None
    registry.disconnected("acct_1", 100)
    assert registry.of_store(OTHER).disconnected_at is None


def test_registering_again_connects_again(registry: Registry) -> None:
    registry.register(OTHER, "acct_1")
    registry.disconnected("acct_1", 100)
    registry.register(OTHER, "acct_1")
    assert registry.of_store(OTHER).disconnected_at is None


def test_an_unknown_account_is_not_registered_by_disconnecting_it(registry: Registry) -> None:
    registry.disconnected("acct_1", 100)
    assert registry.of_account("acct_1") is None


def test_what_was_read_serves_for_a_minute(tables: Tables, registry: Registry, now: Now) -> None:
    registry.register(OTHER, "acct_1")
    registry.of_account("acct_1")
    Registry(tables.records, "demo").disconnected("acct_1", 100)
    calls = tables.client.calls.total()
    assert registry.of_account("acct_1") == Connection(OTHER, "acct_1")
    assert tables.client.calls.total() == calls
    now.at = CACHE_SECONDS + 1
    assert registry.of_account("acct_1") == Connection(OTHER, "acct_1", 100)


def test_an_account_registered_a_moment_ago_is_found_at_once(
    tables: Tables, registry: Registry
) -> None:
    assert registry.of_account("acct_1") is None
    Registry(tables.records, "demo").register(OTHER, "acct_1")
    assert registry.of_account("acct_1") == Connection(OTHER, "acct_1")


def test_every_registered_store_is_listed_with_its_newest_account(registry: Registry) -> None:
    assert registry.connections() == []
    for tenant, account in ((OTHER, "acct_1"), (DEMO, "acct_2"), (OTHER, "acct_3")):
        registry.register(tenant, account)
    registry.disconnected("acct_2", 5)
    assert registry.connections() == [
        Connection(DEMO, "acct_2", 5),
        Connection(OTHER, "acct_3"),
    ]


def test_a_removed_store_has_none_of_its_accounts_any_more(registry: Registry) -> None:
    for tenant, account in ((OTHER, "acct_1"), (DEMO, "acct_2"), (OTHER, "acct_3")):
        registry.register(tenant, account)
    assert registry.of_account("acct_1") == Connection(OTHER, "acct_1")
    assert registry.remove(OTHER) == ["acct_1", "acct_3"]
    assert registry.of_account("acct_1") is registry.of_account("acct_3") is None
    assert registry.of_store(OTHER) == Connection(OTHER)
    assert registry.connections() == [Connection(DEMO, "acct_2")]
    assert registry.remove(OTHER) == []
    registry.register(DEMO, "acct_1")
    assert registry.of_account("acct_1") == Connection(DEMO, "acct_1")
