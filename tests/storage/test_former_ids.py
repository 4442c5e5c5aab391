"""An id that a customer had before leads to the customer, until the person is forgotten."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from shared.domain.errors import NotFound
from shared.storage.customers import Customers
from shared.storage.keys import profile_key
from shared.storage.records import Records
from shared.stripe_events.guests import Guests
from shared.tenant import Tenant
from tests.dynamo import Tables
from tests.storage import people
from tests.storage.test_customers import assert_right

DEMO = Tenant("demo")
AT = 1_763_900_000


class _Crash(Exception):
    pass


@pytest.fixture
def records(tables: Tables) -> Records:
    return Records(tables.records)


@pytest.fixture
def customers(tables: Tables) -> Customers:
    return Customers(tables.records, tables.index)


def becomes(records: Records, account: str, grouptizer_id: str, at: int) -> None:
    people.observe_profile(records, DEMO, account, grouptizer_id=grouptizer_id, at=at)


def meant(customers: Customers, customer_id: str) -> str | None:
    found = customers.resolve(DEMO, customer_id)
    return None if found is None else found.customer_id


def assert_notes_agree(tables: Tables) -> None:
    """Whom an id leads to stands with the id and with whom it leads to alike."""
    told, noted = set(), set()
    for item in tables.dump(tables.records):
        pk, sk = item["pk"]["S"], item["sk"]["S"]
        if sk == "CUSTOMER":
            customer_id = pk.rpartition("#")[2]
            told |= {
                (customer_id, name) for name in json.loads(item.get("former", {}).get("S", "[]"))
            }
        elif sk.startswith("FORMER#"):
            noted.add((sk.removeprefix("FORMER#"), pk.split("#", 2)[2]))
    # A note may stay where the account has its old id again.
    assert told <= noted
    for customer_id, account in noted - told:
        stored = tables.records.get(DEMO.customer_pk(customer_id), "CUSTOMER")
        assert stored is not None
        assert account in json.loads(stored["accounts"])


def test_every_id_of_before_leads_to_the_customer_of_now(
    tables: Tables, records: Records, customers: Customers
) -> None:
    first = people.add_customer(records, customers, DEMO, "cus_1")
    ids = [first]
    for turn in range(1, 4):
        becomes(records, "cus_1", f"gz-{turn}", AT + turn)
        customers.reindex(DEMO, "cus_1")
        now = customers.of_account(DEMO, "cus_1")
        assert now is not None
        ids.append(now.customer_id)
        assert {meant(customers, id_) for id_ in ids} == {now.customer_id}
        assert customers.purchase(DEMO, first, "sub_cus_1").purchase.purchase_id == "sub_cus_1"
    assert len(set(ids)) == 4
    assert_right(tables, customers, ["cus_1"])
    assert_notes_agree(tables)
    assert sorted(customers.former_ids(DEMO, "cus_1")) == sorted(ids[:3])


def test_an_id_that_a_customer_gets_again_is_its_own(
    tables: Tables, records: Records, customers: Customers
) -> None:
    one = people.add_customer(records, customers, DEMO, "cus_1", grouptizer_id="gz-1")
    ids = []
    for turn, grouptizer_id in enumerate(("gz-2", "gz-1"), 1):
        becomes(records, "cus_1", grouptizer_id, AT + turn)
        customers.reindex(DEMO, "cus_1")
        now = customers.of_account(DEMO, "cus_1")
        assert now is not None
        ids.append(now.customer_id)
    assert ids[1] == one
    assert (meant(customers, ids[0]), meant(customers, one)) == (one, one)
    assert_notes_agree(tables)


def test_an_id_that_means_several_leads_by_the_purchase_else_to_the_earliest_buyer(
    tables: Tables, records: Records, customers: Customers
) -> None:
    shared = people.add_customer(records, customers, DEMO, "cus_1", grouptizer_id="gz-1", at=AT)
    people.add_customer(records, customers, DEMO, "cus_2", grouptizer_id="gz-1", at=AT - 5000)
    for account in ("cus_1", "cus_2"):
        becomes(records, account, f"gz-of-{account}", AT + 10)
        customers.reindex(DEMO, account)
    one, two = (customers.of_account(DEMO, account) for account in ("cus_1", "cus_2"))
    assert one is not None
    assert two is not None
    assert one.customer_id != two.customer_id
    assert meant(customers, shared) == two.customer_id
    for account in ("cus_1", "cus_2"):
        found = customers.purchase(DEMO, shared, f"sub_{account}")
        assert found.key.pk == DEMO.account_pk(account)
    assert [id_ for id_, _ in customers.everybody(DEMO, shared)] == sorted(
        [one.customer_id, two.customer_id]
    )
    assert_notes_agree(tables)


def test_who_has_an_id_now_comes_before_who_had_it(
    tables: Tables, records: Records, customers: Customers
) -> None:
    shared = people.add_customer(records, customers, DEMO, "cus_1", grouptizer_id="gz-1", at=AT)
    people.add_customer(records, customers, DEMO, "cus_2", grouptizer_id="gz-1", at=AT - 5000)
    becomes(records, "cus_2", "gz-2", AT + 10)
    customers.reindex(DEMO, "cus_2")
    assert meant(customers, shared) == shared
    assert customers.purchase(DEMO, shared, "sub_cus_2").purchase.purchase_id == "sub_cus_2"
    assert_right(tables, customers, ["cus_1", "cus_2"])


def test_the_id_of_a_guest_leads_to_the_customer_it_turned_out_to_be(
    tables: Tables, records: Records, customers: Customers
) -> None:
    guest = "guest:pi_1"
    people.observe_profile(records, DEMO, guest, source="guest", email="a@x.example", at=AT)
    people.observe_subscription(records, DEMO, guest, "sub_1")
    customers.reindex(DEMO, guest)
    first = customers.of_account(DEMO, guest)
    people.observe_profile(records, DEMO, guest, source="guest", email="b@x.example", at=AT + 1)
    customers.reindex(DEMO, guest)
    second = customers.of_account(DEMO, guest)
    assert first is not None
    assert second is not None
    people.add_customer(records, customers, DEMO, "cus_1")
    guests = Guests(records)
    assert guests.belongs_to(DEMO, guest, "cus_1") == "cus_1"
    guests.adopt(DEMO, guest, "cus_1")
    customers.reindex(DEMO, guest)
    customers.reindex(DEMO, "cus_1")
    guests.forget(DEMO, guest)
    now = customers.of_account(DEMO, "cus_1")
    assert now is not None
    assert {first.customer_id, second.customer_id}.isdisjoint({now.customer_id})
    for former in (first, second):
        assert meant(customers, former.customer_id) == now.customer_id
        assert customers.purchase(DEMO, former.customer_id, "sub_1").key.pk.endswith("cus_1")
    assert customers.former_ids(DEMO, guest) == []
    assert_notes_agree(tables)
    assert_right(tables, customers, ["cus_1"])


@pytest.mark.parametrize("step", range(8))
def test_a_change_of_id_that_was_cut_off_anywhere_loses_no_former_id(
    tables: Tables, records: Records, customers: Customers, step: int
) -> None:
    first = people.add_customer(records, customers, DEMO, "cus_1")
    writes = 0

    def crash(operation: str, _: dict[str, Any]) -> None:
        nonlocal writes
        writes += operation in ("put_item", "update_item", "delete_item", "transact_write_items")
        if writes > step:
            raise _Crash

    becomes(records, "cus_1", "gz-1", AT + 1)
    tables.client.hook = crash
    with contextlib.suppress(_Crash):
        customers.reindex(DEMO, "cus_1")
    tables.client.hook = None
    assert meant(customers, first) is not None
    customers.reindex(DEMO, "cus_1")
    now = customers.of_account(DEMO, "cus_1")
    assert now is not None
    assert meant(customers, first) == now.customer_id
    assert_right(tables, customers, ["cus_1"])
    assert_notes_agree(tables)


def test_a_rewrite_of_the_list_keeps_the_ids_of_before(
    tables: Tables, records: Records, customers: Customers
) -> None:
    first = people.add_customer(records, customers, DEMO, "cus_1")
    becomes(records, "cus_1", "gz-1", AT + 1)
    customers.reindex(DEMO, "cus_1")
    customers.reindex(DEMO, "cus_1", rewrite=True)
    customers.reindex(DEMO, "cus_1", was=first, rewrite=True)
    now = customers.of_account(DEMO, "cus_1")
    assert now is not None
    assert meant(customers, first) == now.customer_id
    assert_notes_agree(tables)


def test_no_id_of_before_leads_to_somebody_whose_ids_were_forgotten(
    tables: Tables, records: Records, customers: Customers
) -> None:
    first = people.add_customer(records, customers, DEMO, "cus_1")
    people.add_customer(records, customers, DEMO, "cus_2")
    for account in ("cus_1", "cus_2"):
        becomes(records, account, "gz-1", AT + 1)
        customers.reindex(DEMO, account)
    customers.forget_former(DEMO, "cus_1")
    customers.forget_former(DEMO, "cus_1")
    assert meant(customers, first) is None
    assert customers.former_ids(DEMO, "cus_1") == []
    assert len(customers.former_ids(DEMO, "cus_2")) == 1
    assert_notes_agree(tables)
    with pytest.raises(NotFound):
        customers.purchase(DEMO, first, "sub_cus_1")


def test_an_id_of_another_store_leads_nowhere(records: Records, customers: Customers) -> None:
    first = people.add_customer(records, customers, DEMO, "cus_1")
    becomes(records, "cus_1", "gz-1", AT + 1)
    customers.reindex(DEMO, "cus_1")
    assert customers.resolve(Tenant("other"), first) is None
    assert records.get(profile_key(Tenant("other"), "cus_1")) is None
