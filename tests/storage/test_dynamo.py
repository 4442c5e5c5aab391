"""The fixture itself, and what the code relies on in any DynamoDB."""

from __future__ import annotations

import pytest

from shared.storage.dynamo import ConditionFailed
from shared.tenant import Tenant
from tests.dynamo import Tables

DEMO = Tenant("demo")
PK = DEMO.account_pk("cus_1")


def test_a_refused_write_returns_what_is_stored(tables: Tables) -> None:
    tables.records.put({"pk": PK, "sk": "b", "n": 1})
    with pytest.raises(ConditionFailed) as refused:
        tables.records.put({"pk": PK, "sk": "b", "n": 2}, "attribute_not_exists(pk)")
    assert refused.value.item == {"pk": PK, "sk": "b", "n": 1}
    assert tables.client.calls == {"put_item": 2}


def test_every_test_has_empty_tables(tables: Tables) -> None:
    assert tables.dump(tables.records) == []


def test_both_indexes_answer(tables: Tables) -> None:
    tables.records.put({"pk": PK, "sk": "b", "ref": DEMO.ref("x"), "due_shard": "1", "due_at": 5})
    items, _ = tables.records.query(
        "#ref = :ref", index="by_ref", names={"#ref": "ref"}, ref=DEMO.ref("x")
    )
    assert [item["pk"] for item in items] == [PK]
    due, _ = tables.records.query(
        "due_shard = :shard AND due_at <= :now", index="due", shard="1", now=5
    )
    assert [item["sk"] for item in due] == ["b"]
