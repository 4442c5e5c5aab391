"""Bringing the list up to date: exact differences, accounts that move, crashes, races."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.search import make_query
from shared.storage import customers as customers_module
from shared.storage.customer_index import CustomerIndex
from shared.storage.customers import Customers
from shared.storage.dynamo import Table
from shared.storage.keys import profile_key
from shared.storage.records import Records
from shared.tenant import Tenant
from tests.dynamo import CountingClient, Tables
from tests.storage import people

DEMO = Tenant("demo")
ACCOUNT = "cus_A1"


@pytest.fixture
def records(tables: Tables) -> Records:
    return Records(tables.records)


@pytest.fixture
def customers(tables: Tables) -> Customers:
    return Customers(tables.records, tables.index)


def listed(tables: Tables, search: str = "", tenant: Tenant = DEMO) -> list[str]:
    """The rows the list shows, as JSON texts."""
    index = CustomerIndex(tables.index, Records(tables.records))
    return list(index.page(tenant, make_query(search=search), 100).rows)


def index_writes(tables: Tables, action: Callable[[], None]) -> int:
    """How many rows of the index an action writes or deletes."""
    written = 0

    def count(operation: str, request: dict[str, Any]) -> None:
        nonlocal written
        for part in request.get("TransactItems", ()):
            (body,) = part.values()
            written += body["TableName"] == tables.index.name and "ConditionCheck" not in part
        assert operation not in ("batch_write_item", "put_item") or (
            request.get("TableName") == tables.records.name
        )

    tables.client.hook = count
    action()
    tables.client.hook = None
    return written


def assert_right(tables: Tables, customers: Customers, accounts: list[str]) -> None:
    """The list holds exactly what the records say, nothing is missing, nothing is left over."""
    for account in accounts:
        assert customers.is_shown(DEMO, account)
    rows = [(i["pk"]["S"].split("#", 1)[1], i["sk"]["S"]) for i in tables.dump(tables.index)]
    assert customers.strays(DEMO, rows) == []
    pending = [i for i in tables.dump(tables.records) if "reindex_at" in i]
    assert pending == []


class TestWrites:
    def test_a_new_customer_takes_at_most_forty_writes(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        people.observe_profile(
            records,
            DEMO,
            ACCOUNT,
            email="renee.smith@gmail.com",
            grouptizer_id="Gr-1001",
            first=True,
        )
        people.observe_subscription(records, DEMO, ACCOUNT, "sub_1")
        written = index_writes(tables, lambda: customers.reindex(DEMO, ACCOUNT))
        assert written == len(tables.dump(tables.index)) <= 40
        assert_right(tables, customers, [ACCOUNT])

    def test_an_event_that_changes_nothing_visible_writes_nothing(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        people.add_customer(records, customers, DEMO, ACCOUNT)
        before = tables.dump(tables.index)
        later = people.observe_subscription(
            records, DEMO, f"{ACCOUNT}", f"sub_{ACCOUNT}", at=1_763_900_000,
            created_at=1_763_800_000, current_period_end=1_769_000_000,
        )  # fmt: skip
        assert not later
        tables.client.calls.clear()
        assert index_writes(tables, lambda: customers.reindex(DEMO, ACCOUNT)) == 0
        assert "transact_write_items" not in tables.client.calls
        assert tables.dump(tables.index) == before

    def test_a_rename_replaces_every_row_and_leaves_none_behind(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        people.add_customer(records, customers, DEMO, ACCOUNT, name="Renée Smith")
        people.observe_profile(records, DEMO, ACCOUNT, name="Zoë Kwak", at=1_763_900_000)
        customers.reindex(DEMO, ACCOUNT)
        assert (len(listed(tables, "kwak")), len(listed(tables, "smith"))) == (1, 0)
        assert_right(tables, customers, [ACCOUNT])

    def test_more_rows_than_a_transaction_takes_are_written_too(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        products = [f"prod_{n}" for n in range(120)]
        people.add_customer(records, customers, DEMO, ACCOUNT, products=products)
        assert len(tables.dump(tables.index)) > 480
        assert_right(tables, customers, [ACCOUNT])
        people.observe_profile(records, DEMO, ACCOUNT, name="Other", at=1_763_900_000)
        customers.reindex(DEMO, ACCOUNT)
        assert_right(tables, customers, [ACCOUNT])

    def test_a_function_without_the_index_may_read_and_not_write(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        customer_id = people.add_customer(records, customers, DEMO, ACCOUNT)
        reader = Customers(tables.records)
        found = reader.get(DEMO, customer_id)
        assert found is not None
        assert found == reader.of_account(DEMO, ACCOUNT)
        assert ([*found.accounts], found.row["name"]) == ([ACCOUNT], "Renée Smith")
        people.observe_profile(records, DEMO, ACCOUNT, name="Other", at=1_763_900_000)
        with pytest.raises(RuntimeError):
            reader.reindex(DEMO, ACCOUNT)


class TestIdentity:
    def test_a_purchase_before_its_customer_is_listed_and_filed(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        people.observe_subscription(records, DEMO, ACCOUNT, "sub_1")
        customers.reindex(DEMO, ACCOUNT)
        assert len(listed(tables)) == 1
        people.observe_profile(records, DEMO, ACCOUNT, grouptizer_id="Gr-1", first=True)
        customers.reindex(DEMO, ACCOUNT)
        assert len(listed(tables)) == len(listed(tables, "renee")) == 1
        assert_right(tables, customers, [ACCOUNT])

    def test_accounts_of_one_grouptizer_id_are_one_customer(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        one = people.add_customer(records, customers, DEMO, "cus_1", grouptizer_id="Gr-1")
        other = people.add_customer(
            records, customers, DEMO, "cus_2", grouptizer_id="Gr-1", livemode=False
        )
        assert one == other
        found = customers.get(DEMO, one)
        assert found is not None
        assert [*found.accounts] == ["cus_1", "cus_2"]
        assert found.row["payment_providers"] == ["stripe", "stripe_test"]
        assert len(listed(tables)) == len(listed(tables, "cus_2")) == 1
        assert_right(tables, customers, ["cus_1", "cus_2"])

    def test_an_account_moves_when_its_grouptizer_id_changes(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        shared = people.add_customer(records, customers, DEMO, "cus_1", grouptizer_id="Gr-1")
        people.add_customer(records, customers, DEMO, "cus_2", name="Bo", grouptizer_id="Gr-1")
        people.observe_profile(
            records, DEMO, "cus_2", name="Bo", grouptizer_id="Gr-2", at=1_763_900_000
        )
        customers.reindex(DEMO, "cus_2")
        left, moved = customers.get(DEMO, shared), customers.of_account(DEMO, "cus_2")
        assert left is not None
        assert moved is not None
        assert ([*left.accounts], [*moved.accounts]) == (["cus_1"], ["cus_2"])
        assert len(listed(tables)) == 2
        assert_right(tables, customers, ["cus_1", "cus_2"])

    def test_a_customer_without_accounts_is_in_no_list_and_leaves_no_name(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        customer_id = people.add_customer(records, customers, DEMO, ACCOUNT)
        for item in tables.dump(tables.records):
            if "#ACCOUNT#" in item["pk"]["S"]:
                tables.records.delete(item["pk"]["S"], item["sk"]["S"])
        customers.reindex(DEMO, ACCOUNT, was=customer_id)
        assert customers.get(DEMO, customer_id) is None
        assert tables.dump(tables.index) == []
        assert "Smith" not in str(tables.dump(tables.records))

    def test_the_same_ids_in_two_stores_are_two_customers(
        self, tables: Tables, records: Records, customers: Customers
    ) -> None:
        other = Tenant("other")
        one = people.add_customer(records, customers, DEMO, ACCOUNT, grouptizer_id="Gr-1")
        two = people.add_customer(records, customers, other, ACCOUNT, grouptizer_id="Gr-1")
        assert one != two
        assert customers.get(other, one) is None
        assert len(listed(tables)) == len(listed(tables, tenant=other)) == 1


class _Crash(Exception):
    pass


@pytest.mark.parametrize("rows_per_transaction", [99, 5])
def test_a_crash_before_any_write_heals_when_it_is_done_again(
    tables: Tables,
    records: Records,
    customers: Customers,
    monkeypatch: pytest.MonkeyPatch,
    rows_per_transaction: int,
) -> None:
    monkeypatch.setattr(customers_module, "ROWS_PER_TRANSACTION", rows_per_transaction)
    people.add_customer(records, customers, DEMO, "cus_1", grouptizer_id="Gr-1")
    crashes = 0
    for step in range(100):
        writes = 0

        def crash(operation: str, _: dict[str, Any], step: int = step) -> None:
            nonlocal writes
            if operation in ("put_item", "update_item", "transact_write_items"):
                writes += 1
                if writes > step:
                    raise _Crash

        people.observe_profile(
            records,
            DEMO,
            "cus_1",
            name=f"Name {step}",
            grouptizer_id=f"Gr-{step}",
            at=1_763_900_000 + step,
        )
        tables.client.hook = crash
        try:
            customers.reindex(DEMO, "cus_1")
        except _Crash:
            crashes += 1
        tables.client.hook = None
        profile = records.get(profile_key(DEMO, "cus_1"))
        assert profile is not None
        # What the sweep goes by: it stays marked until the list shows it.
        assert (profile.reindex_at is not None) or writes <= step
        customers.reindex(DEMO, "cus_1")
        assert_right(tables, customers, ["cus_1"])
        if writes <= step:
            break
    assert crashes >= 3


@pytest.mark.parametrize("known_before", [False, True])
def test_an_account_that_becomes_another_after_a_crash_leaves_nothing_behind(
    tables: Tables, records: Records, customers: Customers, known_before: bool
) -> None:
    for step in range(8):
        account = f"cus_{step}"
        if known_before:
            people.add_customer(records, customers, DEMO, account, grouptizer_id=f"Gr-0-{step}")
        else:
            people.observe_subscription(records, DEMO, account, f"sub_{step}")
        for turn, at in (("1", 1_763_900_001), ("2", 1_763_900_002)):
            people.observe_profile(records, DEMO, account, grouptizer_id=f"Gr-{turn}-{step}", at=at)
            writes = 0

            def crash(operation: str, _: dict[str, Any], step: int = step) -> None:
                nonlocal writes
                writes += operation in ("put_item", "update_item", "transact_write_items")
                if writes > step:
                    raise _Crash

            tables.client.hook = crash if turn == "1" else None
            with contextlib.suppress(_Crash):
                customers.reindex(DEMO, account)
            tables.client.hook = None
        assert_right(tables, customers, [account])
        assert len(listed(tables)) == step + 1


def test_a_writer_that_was_overtaken_changes_nothing(
    tables: Tables, records: Records, customers: Customers
) -> None:
    """Another writer finishes at every moment of the first one's work."""
    for moment in range(12):
        account = f"cus_{moment}"
        people.add_customer(records, customers, DEMO, account, name="Old", grouptizer_id="Gr-1")
        late = CountingClient(tables.client)
        calls = 0

        def overtake(
            operation: str, _: dict[str, Any], moment: int = moment, account: str = account
        ) -> None:
            nonlocal calls
            calls += 1
            if calls == moment + 1:
                people.observe_profile(
                    records,
                    DEMO,
                    account,
                    name="New",
                    grouptizer_id=f"Gr-new-{moment}",
                    at=1_763_900_002,
                )
                customers.reindex(DEMO, account)

        people.observe_profile(
            records, DEMO, account, name="Middle", grouptizer_id="Gr-mid", at=1_763_900_001
        )
        late.hook = overtake
        Customers(Table(late, tables.records.name), Table(late, tables.index.name)).reindex(
            DEMO, account
        )
        found = customers.of_account(DEMO, account)
        assert found is not None
        if calls > moment:
            assert found.row["name"] == "New"
        assert_right(tables, customers, [account])


def test_many_writers_at_once_end_right(tables: Tables, records: Records) -> None:
    accounts = [f"cus_{n}" for n in range(3)]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        customers = Customers(tables.records, tables.index)
        try:
            for turn in range(8):
                account = chance.choice(accounts)
                people.observe_profile(
                    records,
                    DEMO,
                    account,
                    name=chance.choice(["Anna", "Bo", "Carla"]),
                    grouptizer_id=chance.choice(["Gr-1", "Gr-2"]),
                    at=1_763_900_000 + turn * 10 + seed,
                )
                people.observe_subscription(
                    records,
                    DEMO,
                    account,
                    f"sub_{chance.randrange(3)}",
                    products=[chance.choice(["prod_1", "prod_2"])],
                    at=1_763_900_000 + turn * 10 + seed,
                    created_at=1_763_800_000,
                )
                customers.reindex(DEMO, account)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_right(tables, Customers(tables.records, tables.index), accounts)


def test_a_row_that_nobody_owns_is_found_and_dropped(
    tables: Tables, records: Records, customers: Customers
) -> None:
    people.add_customer(records, customers, DEMO, ACCOUNT)
    rows = tables.dump(tables.index)
    stray = {
        "pk": DEMO.index_pk("G|zzz"),
        "sk": rows[0]["sk"]["S"],
        "j": "{}",
        "t": "",
        "i": "",
        "f": "",
    }
    tables.index.put(stray)
    keys = [(row["pk"]["S"].split("#", 1)[1], row["sk"]["S"]) for row in tables.dump(tables.index)]
    assert customers.strays(DEMO, keys) == [("G|zzz", stray["sk"])]
    assert customers.drop_stray(DEMO, ("G|zzz", stray["sk"]))
    assert not customers.drop_stray(DEMO, keys[0])
    assert tables.dump(tables.index) == rows


def test_a_list_that_is_behind_is_no_divergence_but_a_wrong_row_is(
    tables: Tables, records: Records, customers: Customers
) -> None:
    people.add_customer(records, customers, DEMO, ACCOUNT)
    people.observe_profile(records, DEMO, ACCOUNT, name="Behind", at=1_763_900_000)
    assert customers.is_shown(DEMO, ACCOUNT)
    customers.reindex(DEMO, ACCOUNT)
    row = tables.dump(tables.index)[3]
    tables.index.delete(row["pk"]["S"], row["sk"]["S"])
    assert not customers.is_shown(DEMO, ACCOUNT)
    profile = records.get(profile_key(DEMO, ACCOUNT))
    assert profile is not None
    assert replace(profile, rev=0).reindex_at is None
    customers.reindex(DEMO, ACCOUNT, rewrite=True)
    assert_right(tables, customers, [ACCOUNT])
