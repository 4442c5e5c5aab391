"""The lock of a Telegram user, and the purchases a removal must know of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from botocore.exceptions import EndpointConnectionError

from shared.domain.errors import TryAgainLater
from shared.storage import records as records_module
from shared.storage.keys import purchase_key
from shared.storage.records import Records
from shared.storage.telegram_users import TelegramUsers
from shared.tenant import Tenant
from tests.builders import NOW, observation, subscription_data
from tests.dynamo import Tables

DEMO = Tenant("demo")
USER = "700001"


@pytest.fixture
def users(tables: Tables) -> TelegramUsers:
    return TelegramUsers(tables.records)


def buy(tables: Tables, purchase_id: str, tenant: Tenant = DEMO) -> None:
    seen = observation(subscription_data(id=purchase_id), rank=0, event_id="evt_0")
    records = Records(tables.records, lambda: float(NOW))
    records.observe(
        purchase_key(tenant, f"cus_{purchase_id}", purchase_id),
        seen,
        fetch=lambda: None,
        ids=frozenset({USER}),
    )


def test_every_purchase_of_a_user_is_found_across_customers_of_one_store(
    users: TelegramUsers, tables: Tables
) -> None:
    buy(tables, "sub_2")
    buy(tables, "sub_1")
    buy(tables, "sub_3", Tenant("other"))
    assert [p.purchase_id for p in users.purchases(DEMO, USER)] == ["sub_1", "sub_2"]
    assert users.purchases(DEMO, "700002") == []


def test_one_removal_of_a_user_at_a_time(users: TelegramUsers) -> None:
    assert users.lock(DEMO, USER, "a", now=NOW, until=NOW + 50) == 0
    assert users.lock(DEMO, USER, "b", now=NOW, until=NOW + 50) is None
    assert users.lock(DEMO, USER, "a", now=NOW + 20, until=NOW + 70) == 0
    users.unlock(DEMO, USER, "b", now=NOW)
    assert users.lock(DEMO, USER, "b", now=NOW, until=NOW + 50) is None
    users.unlock(DEMO, USER, "a", now=NOW)
    assert users.lock(DEMO, USER, "b", now=NOW, until=NOW + 50) == 0


def test_a_lock_whose_owner_died_ends_by_itself(users: TelegramUsers) -> None:
    users.lock(DEMO, USER, "a", now=NOW, until=NOW + 50)
    assert users.lock(DEMO, USER, "b", now=NOW + 50, until=NOW + 100) is None
    assert users.lock(DEMO, USER, "b", now=NOW + 52, until=NOW + 100) == 0


def test_while_a_removal_may_take_effect_purchases_wait_and_removals_do_not(
    users: TelegramUsers, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "USER_LOCK_PATIENCE_SECONDS", 0.0)
    users.lock(DEMO, USER, "a", now=NOW, until=NOW + 50)
    users.unlock(DEMO, USER, "a", now=NOW, at=NOW + 10)
    with pytest.raises(TryAgainLater):
        buy(tables, "sub_1")

    assert users.lock(DEMO, USER, "b", now=NOW, until=NOW + 50) == NOW + 11
    users.unlock(DEMO, USER, "b", now=NOW, at=NOW + 11)
    with pytest.raises(TryAgainLater):
        buy(tables, "sub_1")

    users.lock(DEMO, USER, "c", now=NOW, until=NOW + 50)
    users.unlock(DEMO, USER, "c", now=NOW + 20, at=NOW + 12)
    buy(tables, "sub_1")
    assert len(users.purchases(DEMO, USER)) == 1


def test_giving_the_lock_back_never_fails(users: TelegramUsers, tables: Tables) -> None:
    users.lock(DEMO, USER, "a", now=NOW, until=NOW + 50)

    def down(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="x")

    tables.client.hook = down
    users.unlock(DEMO, USER, "a", now=NOW)


def test_a_link_to_another_stores_records_is_not_followed(
    users: TelegramUsers, tables: Tables
) -> None:
    other = replace(purchase_key(Tenant("other"), "cus_1", "sub_1"))
    tables.records.put(
        {"pk": DEMO.telegram_user_pk(USER), "sk": f"LINK#{other.sk}", "account": other.pk}
    )
    assert users.purchases(DEMO, USER) == []
