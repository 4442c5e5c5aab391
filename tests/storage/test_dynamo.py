"""The fixtures themselves, and what the code relies on in any DynamoDB."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared.domain.deadline import Deadline
from shared.domain.errors import TryAgainLater
from shared.storage.dynamo import ConditionFailed, Contention
from shared.tenant import Tenant
from tests.dynamo import Tables

DEMO = Tenant("demo")
PK = DEMO.account_pk("cus_1")


@pytest.fixture(params=["memory_tables", "dynoxide_tables"])
def tables(request: pytest.FixtureRequest) -> Tables:
    """The tables in memory, and those of a real database."""
    found: Tables = request.getfixturevalue(request.param)
    return found


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


class Meeting:
    """Refuses the first writes as DynamoDB does while a transaction is under way on their item."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, operation: str, _request: dict[str, Any]) -> None:
        if self.left and operation != "get_item":
            self.left -= 1
            error = {"Code": "TransactionConflictException", "Message": "ongoing"}
            raise ClientError({"Error": error}, operation)


@pytest.fixture
def waited(tables: Tables) -> list[float]:
    waits: list[float] = []
    tables.records.deadline = Deadline(sleep=waits.append)
    return waits


def test_a_write_that_meets_a_transaction_is_tried_again(
    tables: Tables, waited: list[float]
) -> None:
    for write in (
        lambda: tables.records.put({"pk": PK, "sk": "b", "n": 1}, "attribute_not_exists(pk)"),
        lambda: tables.records.update(PK, "b", "SET n = :n", n=2),
        lambda: tables.records.update_blind(PK, "b", "SET n = :n", "n = :old", n=3, old=2),
    ):
        tables.client.hook = Meeting(2)
        write()
    assert tables.records.get(PK, "b") == {"pk": PK, "sk": "b", "n": 3}
    tables.client.hook = Meeting(2)
    tables.records.delete(PK, "b", "n = :n", n=3)
    assert tables.records.get(PK, "b") is None
    assert len(waited) == 8


def test_what_a_condition_says_after_such_a_meeting_counts(
    tables: Tables, waited: list[float]
) -> None:
    tables.records.put({"pk": PK, "sk": "b", "n": 1})
    tables.client.hook = Meeting(1)
    with pytest.raises(ConditionFailed) as refused:
        tables.records.put({"pk": PK, "sk": "b", "n": 2}, "attribute_not_exists(pk)")
    assert refused.value.item == {"pk": PK, "sk": "b", "n": 1}
    assert len(waited) == 1


def test_a_write_that_always_meets_one_is_given_up_for_a_later_try(
    tables: Tables, waited: list[float]
) -> None:
    tables.client.hook = Meeting(10**6)
    with pytest.raises(Contention) as refused:
        tables.records.put({"pk": PK, "sk": "b", "n": 1})
    assert isinstance(refused.value, TryAgainLater)
    assert refused.value.status == 503
    assert 0.2 < sum(waited) < 1.0
    tables.client.hook = None
