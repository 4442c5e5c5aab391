"""The list made anew from the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from customers_cli import reindex
from customers_cli.reindex import Progress, Reindexing
from shared.compose import COMMAND, Composition, Leaves
from shared.domain import search
from shared.settings import Settings
from shared.storage.customer_index import CustomerIndex
from shared.storage.customers import Customers
from shared.storage.records import Records
from shared.tenant import Tenant
from tests.dynamo import Tables, write_all
from tests.storage import people

DEMO = Tenant("demo")


@pytest.fixture
def tables(dynoxide_tables: Tables) -> Tables:
    """A database that can be scanned, as an operator's command does."""
    return dynoxide_tables


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "PAGE", 20)


@pytest.fixture
def shop(tables: Tables) -> None:
    records, customers = Records(tables.records), Customers(tables.records, tables.index)
    for number in range(5):
        people.add_customer(records, customers, DEMO, f"cus_{number}", name=f"Name {number}")
    people.add_customer(records, customers, Tenant("other"), "cus_0")


def reindexing(tables: Tables, **options: Any) -> Reindexing:
    settings = Settings({"RECORDS_TABLE": tables.records.name, "INDEX_TABLE": tables.index.name})
    parts = Composition(COMMAND, settings, Leaves(aws=lambda _: tables.client))
    return Reindexing(DEMO, parts, tables.client, **options)


@pytest.mark.usefixtures("shop")
def test_a_list_that_is_right_has_no_differences(tables: Tables) -> None:
    before = tables.dump(tables.index)
    progress = reindexing(tables).run()
    assert (progress.accounts, progress.diverged) == (5, 0)
    assert tables.dump(tables.index) == before


@pytest.mark.usefixtures("shop")
def test_a_lost_a_wrong_and_a_stray_row_are_told_and_repaired(tables: Tables) -> None:
    before = tables.dump(tables.index)
    own = [row for row in before if row["pk"]["S"].startswith("demo#")]
    client = tables.client
    client.delete_item(
        TableName=tables.index.name, Key={name: own[0][name] for name in ("pk", "sk")}
    )
    other = next(r for r in own if r["sk"] != own[0]["sk"] and r["pk"]["S"].startswith("demo#F"))
    client.put_item(TableName=tables.index.name, Item={**other, "t": {"S": "something else"}})
    stray: dict[str, Any] = {**other, "pk": {"S": DEMO.index_pk("G|zzz")}}
    client.put_item(TableName=tables.index.name, Item=stray)
    progress = reindexing(tables).run()
    assert (progress.wrong, progress.orphans) == (2, 1)
    assert tables.dump(tables.index) == before
    assert reindexing(tables).run().diverged == 0


@pytest.mark.usefixtures("shop")
def test_a_list_that_was_lost_is_made_again(tables: Tables) -> None:
    before = tables.dump(tables.index)
    write_all(
        tables.index,
        deletes=[(r["pk"]["S"], r["sk"]["S"]) for r in before if r["pk"]["S"].startswith("demo#")],
    )
    assert reindexing(tables).run().wrong == 5
    assert tables.dump(tables.index) == before


def test_rows_of_an_older_form_of_texts_are_found_once_they_were_made_again(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, customers = Records(tables.records), Customers(tables.records, tables.index)
    with monkeypatch.context() as older:
        older.setattr(search, "_EXCHANGED", {})
        people.add_customer(records, customers, DEMO, "cus_1", name="O\u2019Quirk")

    def found() -> list[str]:
        index = CustomerIndex(tables.index, records)
        query = search.make_query(search="o'quirk")
        return [json.loads(row)["name"] for row in index.page(DEMO, query, 25, None).rows]

    assert found() == []
    assert reindexing(tables).run().wrong == 1
    assert found() == ["O\u2019Quirk"]
    assert reindexing(tables).run().diverged == 0


@pytest.mark.usefixtures("shop")
def test_a_run_that_was_stopped_goes_on_where_it_was(tables: Tables, tmp_path: Path) -> None:
    kept = tmp_path / "progress.json"
    pages: list[int] = []

    def stop(progress: Progress) -> None:
        pages.append(progress.scanned)
        if len(pages) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindexing(tables, kept=kept, tell=stop).run()
    assert kept.exists()
    again = reindexing(tables, kept=kept)
    assert again.progress.scanned in pages[:2]  # the last page of a table is not noted
    whole = reindexing(tables).run()
    progress = again.run()
    assert (progress.diverged, progress.rows) == (0, whole.rows)
    assert not kept.exists()
