"""The memory database answers as dynoxide does, for thousands of random calls.

The calls are those of :mod:`shared.storage.dynamo`, with the kinds of expressions used there, on
few keys, so that most of them meet something.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.dynamo import Tables, table_definition
from tests.memory_dynamo import expressions
from tests.memory_dynamo.database import MemoryDynamo
from tests.telling import Tell

OPERATIONS = 2000
TABLE = "records"

PKS = ["demo#ACCOUNT#cus_1", "demo#ACCOUNT#cus_2", "demo#TELEGRAM#7", "BOT"]
SKS = ["PROFILE", "PURCHASE#sub_1", "PURCHASE#sub_2", "LOCK", "LINK#PURCHASE#sub_1", "PURCHASE~"]
NUMBERS = ["v", "rev", "lease_until", "next_at", "reindex_at"]
STRINGS = ["own", "k", "owner", "lease_owner", "row"]
TEXTS = ["a", "b", "anna", "banana", "é", "Z"]

Request = dict[str, Any]


@pytest.fixture
def tables(dynoxide_tables: Tables) -> Tables:
    """The database that the one in memory is compared with."""
    return dynoxide_tables


class Chance:
    """Random requests, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def key(self) -> dict[str, Any]:
        return {"pk": {"S": self.random.choice(PKS)}, "sk": {"S": self.random.choice(SKS)}}

    def text(self) -> dict[str, str]:
        return {"S": self.random.choice(TEXTS)}

    def number(self) -> dict[str, str]:
        return {"N": str(self.random.randint(-2, 6))}

    def item(self) -> dict[str, Any]:
        item: dict[str, Any] = self.key()
        for name in NUMBERS:
            if self.random.random() < 0.4:
                item[name] = self.number()
        for name in STRINGS:
            if self.random.random() < 0.4:
                item[name] = self.text()
        if self.random.random() < 0.4:
            item["due_shard"] = {"S": self.random.choice("01")}
            item["due_at"] = self.number()
        if self.random.random() < 0.4:
            item["ref"] = {"S": f"demo#{self.random.choice('xy')}"}
        if self.random.random() < 0.3:
            item["seen"] = {"SS": sorted(self.random.sample(TEXTS, self.random.randint(1, 3)))}
        if self.random.random() < 0.2:
            item["enabled"] = {"BOOL": self.random.random() < 0.5}
        return item

    # -- expressions, with the placeholders they use ---------------------------------------------

    def condition(self, request: Request, depth: int = 2) -> str:
        draw = self.random.random()
        if depth and draw < 0.35:
            sign = self.random.choice(["AND", "OR"])
            one, other = self.condition(request, depth - 1), self.condition(request, depth - 1)
            return f"({one} {sign} {other})" if draw < 0.2 else f"{one} {sign} {other}"
        if depth and draw < 0.4:
            return f"NOT ({self.condition(request, depth - 1)})"
        if draw < 0.55:
            function = self.random.choice(["attribute_exists", "attribute_not_exists"])
            return f"{function}({self.attribute(request, ['pk', *NUMBERS, *STRINGS])})"
        if draw < 0.62:
            value = self.value(request, self.text())
            name = self.attribute(request, [*STRINGS, "seen"])
            return f"{self.random.choice(['contains', 'begins_with'])}({name}, {value})"
        if draw < 0.68:
            low, high = sorted((self.random.randint(-2, 6), self.random.randint(-2, 6)))
            one = self.value(request, {"N": str(low)})
            other = self.value(request, {"N": str(high)})
            return f"{self.attribute(request, NUMBERS)} BETWEEN {one} AND {other}"
        if draw < 0.85:
            sign = self.random.choice(["=", "<>", "<", "<=", ">", ">="])
            value = self.value(request, self.number())
            return f"{self.attribute(request, NUMBERS)} {sign} {value}"
        sign = self.random.choice(["=", "<>", "<"])
        return f"{self.attribute(request, STRINGS)} {sign} {self.value(request, self.text())}"

    def attribute(self, request: Request, among: list[str]) -> str:
        name = self.random.choice(among)
        if self.random.random() < 0.5 or name in ("owner", "row", "ref"):
            names = request.setdefault("ExpressionAttributeNames", {})
            names[f"#{name}"] = name
            return f"#{name}"
        return name

    def value(self, request: Request, typed: dict[str, Any]) -> str:
        values = request.setdefault("ExpressionAttributeValues", {})
        name = f":v{len(values)}"
        values[name] = typed
        return name

    def update(self, request: Request) -> str:
        free = [*NUMBERS, *STRINGS, "seen", "due_at", "ref"]
        self.random.shuffle(free)
        sets, removes, adds = [], [], []
        for _ in range(self.random.randint(1, 4)):
            name = free.pop()
            shown = self.attribute(request, [name])
            draw = self.random.random()
            if name == "seen":
                if draw < 0.7:
                    adds.append(f"seen {self.value(request, {'SS': [self.text()['S']]})}")
                    self._forget(request, shown)
                else:
                    removes.append(shown)
            elif draw < 0.2:
                removes.append(shown)
            elif name in NUMBERS or name == "due_at":
                value = self.value(request, self.number())
                if draw < 0.4:
                    adds.append(f"{shown} {value}")
                elif draw < 0.5 and name in NUMBERS:
                    sets.append(f"{shown} = {shown} + {value}")
                else:
                    sets.append(f"{shown} = {value}")
            else:
                sets.append(f"{shown} = {self.value(request, self.text())}")
        clauses = [("SET", sets), ("REMOVE", removes), ("ADD", adds)]
        return " ".join(f"{word} {', '.join(parts)}" for word, parts in clauses if parts)

    def _forget(self, request: Request, shown: str) -> None:
        if shown.startswith("#"):
            del request["ExpressionAttributeNames"][shown]
            if not request["ExpressionAttributeNames"]:
                del request["ExpressionAttributeNames"]

    def conditional(self, request: Request, *, chance: float = 0.7) -> Request:
        if self.random.random() < chance:
            request["ConditionExpression"] = self.condition(request)
            if self.random.random() < 0.8:
                request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return request

    # -- calls ----------------------------------------------------------------------------------

    def call(self) -> tuple[str, Request]:
        kinds: dict[Callable[[], tuple[str, Request]], int] = {
            self.get: 2,
            self.put: 4,
            self.update_call: 6,
            self.delete: 2,
            self.query: 3,
            self.query_index: 3,
            self.transact: 4,
            self.batch_get: 1,
            self.batch_write: 1,
            self.wrong: 1,
        }
        return self.random.choices(list(kinds), weights=list(kinds.values()))[0]()

    def get(self) -> tuple[str, Request]:
        return "get_item", {"TableName": TABLE, "Key": self.key(), "ConsistentRead": True}

    def put(self) -> tuple[str, Request]:
        return "put_item", self.conditional({"TableName": TABLE, "Item": self.item()})

    def update_call(self) -> tuple[str, Request]:
        request: Request = {"TableName": TABLE, "Key": self.key()}
        request["UpdateExpression"] = self.update(request)
        if self.random.random() < 0.7:
            request["ReturnValues"] = "ALL_NEW"
        return "update_item", self.conditional(request)

    def delete(self) -> tuple[str, Request]:
        return "delete_item", self.conditional({"TableName": TABLE, "Key": self.key()})

    def query(self) -> tuple[str, Request]:
        request: Request = {"TableName": TABLE, "ConsistentRead": True}
        condition = f"pk = {self.value(request, {'S': self.random.choice(PKS)})}"
        draw = self.random.random()
        if draw < 0.4:
            low, high = sorted(self.random.choices(SKS, k=2))
            one, other = self.value(request, {"S": low}), self.value(request, {"S": high})
            condition += f" AND sk BETWEEN {one} AND {other}"
        elif draw < 0.6:
            sign = self.random.choice(["=", "<", "<=", ">", ">="])
            condition += f" AND sk {sign} {self.value(request, {'S': self.random.choice(SKS)})}"
        elif draw < 0.7:
            condition += f" AND begins_with(sk, {self.value(request, {'S': 'PURCHASE'})})"
        request["KeyConditionExpression"] = condition
        if self.random.random() < 0.4:
            request["FilterExpression"] = self.condition(request, 1)
        if self.random.random() < 0.2:
            request["Select"] = "COUNT"
        elif self.random.random() < 0.3:
            request["ProjectionExpression"] = "pk, sk, rev"
        return "query", self.paged(request)

    def query_index(self) -> tuple[str, Request]:
        request: Request = {"TableName": TABLE}
        if self.random.random() < 0.5:
            request["IndexName"] = "due"
            shard = self.value(request, {"S": self.random.choice("01")})
            sign = self.random.choice(["<=", "<", ">", ">="])
            condition = f"due_shard = {shard} AND due_at {sign} "
            condition += self.value(request, self.number())
        else:
            request["IndexName"] = "by_ref"
            request["ExpressionAttributeNames"] = {"#ref": "ref"}
            condition = "#ref = "
            condition += self.value(request, {"S": f"demo#{self.random.choice('xy')}"})
        request["KeyConditionExpression"] = condition
        return "query", self.paged(request)

    def paged(self, request: Request) -> Request:
        if self.random.random() < 0.5:
            request["ScanIndexForward"] = self.random.random() < 0.5
        if self.random.random() < 0.4:
            request["Limit"] = self.random.randint(1, 4)
        return request

    def transact(self) -> tuple[str, Request]:
        actions: list[Request] = []
        for _ in range(self.random.randint(1, 3)):
            kind = self.random.choice(["Put", "Update", "Delete", "ConditionCheck"])
            if kind == "Put":
                body = self.put()[1]
            elif kind == "Update":
                body = self.update_call()[1]
                body.pop("ReturnValues", None)
            elif kind == "Delete":
                body = self.delete()[1]
            else:
                body = self.conditional({"TableName": TABLE, "Key": self.key()}, chance=1)
            actions.append({kind: body})
        return "transact_write_items", {"TransactItems": actions}

    def batch_get(self) -> tuple[str, Request]:
        keys = [self.key() for _ in range(self.random.randint(1, 5))]
        return "batch_get_item", {"RequestItems": {TABLE: {"Keys": keys, "ConsistentRead": True}}}

    def batch_write(self) -> tuple[str, Request]:
        writes: list[Request] = [
            {"PutRequest": {"Item": self.item()}}
            if self.random.random() < 0.6
            else {"DeleteRequest": {"Key": self.key()}}
            for _ in range(self.random.randint(1, 3))
        ]
        return "batch_write_item", {"RequestItems": {TABLE: writes}}

    def wrong(self) -> tuple[str, Request]:
        """A request that DynamoDB refuses whatever is stored."""
        name, request = self.update_call()
        draw = self.random.random()
        if draw < 0.3:
            request.setdefault("ExpressionAttributeValues", {})[":unused"] = {"N": "1"}
        elif draw < 0.6:
            request["Key"] = {"pk": {"S": "BOT"}, "sk": {"S": ""}}
        elif draw < 0.8:
            request["ConditionExpression"] = "attribute_not_exists(owner)"
        else:
            request["TableName"] = "no-such-table"
        return name, request


def outcome(client: Any, operation: str, request: Request, table: str) -> tuple[Any, ...]:
    """What a call brings, in a form that can be compared."""
    try:
        answer = getattr(client, operation)(**_renamed(request, table))
    except ClientError as error:
        response = error.response
        reasons = [
            (reason["Code"], _item(reason.get("Item")))
            for reason in response.get("CancellationReasons", ())
        ]
        return ("error", response["Error"]["Code"], _item(response.get("Item")), reasons)
    if operation == "batch_get_item":
        return ("items", sorted(str(_item(item)) for item in answer["Responses"].get(table, [])))
    if operation == "query":
        items = [_item(item) for item in answer.get("Items", ())]
        return ("page", items, answer["Count"], answer["ScannedCount"], _more(answer))
    return ("answer", _item(answer.get("Item")), _item(answer.get("Attributes")))


def _more(answer: Mapping[str, Any]) -> Any:
    return _item(answer.get("LastEvaluatedKey"))


def _item(item: Any) -> Any:
    if item is None:
        return None
    return {
        name: {"SS": sorted(value["SS"])} if "SS" in value else value
        for name, value in sorted(item.items())
    }


def _renamed(value: Any, table: str) -> Any:
    """A request with the test's own table name in place of ``records``."""
    if isinstance(value, dict):
        return {
            (table if name == TABLE else name): (
                table if name == "TableName" and inner == TABLE else _renamed(inner, table)
            )
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_renamed(inner, table) for inner in value]
    return value


def memory_tables() -> MemoryDynamo:
    memory = MemoryDynamo()
    memory.create_table(TABLE, **table_definition("RecordsTable"))
    return memory


@pytest.mark.parametrize("seed", [1, 2])
def test_answers_errors_and_contents_are_those_of_dynoxide(
    tables: Tables, seed: int, tell: Tell
) -> None:
    chance = Chance(seed)
    memory = memory_tables()
    seen: Counter[str] = Counter()
    for number in range(OPERATIONS):
        operation, request = chance.call()
        real = outcome(tables.client, operation, request, tables.records.name)
        ours = outcome(memory, operation, request, TABLE)
        assert ours == real, (number, operation, request)
        seen[f"{operation} {real[1] if real[0] == 'error' else 'ok'}"] += 1
        if number % 100 == 99:
            stored = [_item(item) for item in memory.dump(TABLE)]
            assert stored == [_item(item) for item in tables.dump(tables.records)]
    tell(f"{OPERATIONS} calls compared: {dict(sorted(seen.items()))}")
    assert seen["update_item ConditionalCheckFailedException"] > 50
    assert seen["transact_write_items TransactionCanceledException"] > 50
    assert seen["transact_write_items ok"] > 50


def test_refusals_have_the_classes_and_parts_of_botocores(
    memory_tables: Tables, dynoxide_tables: Tables
) -> None:
    def refused(tables: Tables, operation: str, request: Request) -> tuple[Any, ...]:
        client, name = tables.client, tables.records.name
        client.put_item(TableName=name, Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
        with pytest.raises(ClientError) as raised:
            getattr(client, operation)(**_renamed(request, name))
        error = raised.value
        metadata = error.response["ResponseMetadata"]
        parts = sorted(part for part in error.response if part.casefold() != "message")
        return (type(error).__name__, error.operation_name, parts, metadata["HTTPStatusCode"])

    item = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    new: Request = {
        "TableName": TABLE,
        "Item": item,
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    calls: list[tuple[str, Request]] = [
        ("put_item", new),
        ("put_item", {**new, "ReturnValuesOnConditionCheckFailure": "NONE"}),
        ("put_item", {"TableName": TABLE, "Item": {"pk": {"S": "a"}}}),
        ("get_item", {"TableName": "no-such-table", "Key": item}),
        ("transact_write_items", {"TransactItems": [{"Put": new}]}),
    ]
    for operation, request in calls:
        ours = refused(memory_tables, operation, request)
        assert ours == refused(dynoxide_tables, operation, request), operation


A_KEY: Request = {"pk": {"S": "a"}, "sk": {"S": "b"}}


def _query(pk: str, condition: str, **values: str) -> Request:
    typed = {f":{name}": {"S": value} for name, value in {"pk": pk, **values}.items()}
    condition = f"pk = :pk AND sk {condition}" if condition else "pk = :pk"
    return {"KeyConditionExpression": condition, "ExpressionAttributeValues": typed}


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("get_item", {"Key": {"pk": {"S": "é" * 1025}, "sk": {"S": "b"}}}),
        ("get_item", {"Key": {"pk": {"S": "a"}, "sk": {"S": "é" * 513}}}),
        ("put_item", {"Item": {"pk": {"S": "a"}, "sk": {"S": "b" * 1025}}}),
        ("put_item", {"Item": {**A_KEY, "ref": {"S": "r" * 2049}}}),
        ("put_item", {"Item": {**A_KEY, "own": {"S": "o" * 409_600}}}),
        ("put_item", {"Item": {**A_KEY, "own": {"S": "half \ud800"}}}),
        ("put_item", {"Item": {**A_KEY, "rev": {"N": "9" * 39}}}),
        ("delete_item", {"Key": {"pk": {"S": "a" * 2049}, "sk": {"S": "b"}}}),
        (
            "update_item",
            {
                "Key": A_KEY,
                "UpdateExpression": "SET own = :own",
                "ExpressionAttributeValues": {":own": {"S": "o" * 409_600}},
            },
        ),
        ("query", _query("a" * 2049, "")),
        ("query", _query("a", "> :sk", sk="b" * 1025)),
        ("query", _query("a", "BETWEEN :first AND :last", first="b" * 600, last="c" * 600)),
        (
            "query",
            {
                "IndexName": "by_ref",
                "KeyConditionExpression": "#ref = :ref",
                "ExpressionAttributeNames": {"#ref": "ref"},
                "ExpressionAttributeValues": {":ref": {"S": "r" * 2049}},
            },
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_too_large_for_dynamodb_is_refused(operation: str, request_: Request) -> None:
    memory = memory_tables()
    with pytest.raises(ClientError) as refused:
        getattr(memory, operation)(TableName=TABLE, **request_)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert memory.dump(TABLE) == []


def test_a_batch_and_a_transaction_have_the_same_limits() -> None:
    memory = memory_tables()
    long: Request = {"pk": {"S": "a"}, "sk": {"S": "b" * 1025}}
    with pytest.raises(ClientError, match="ValidationException"):
        memory.batch_get_item(RequestItems={TABLE: {"Keys": [long]}})
    with pytest.raises(ClientError, match="ValidationException"):
        memory.transact_write_items(
            TransactItems=[{"Put": {"TableName": TABLE, "Item": {**A_KEY, **long}}}]
        )
    large = [
        {
            "Put": {
                "TableName": TABLE,
                "Item": {"pk": {"S": "a"}, "sk": {"S": f"{n}"}, "own": {"S": "o" * 400_000}},
            }
        }
        for n in range(11)
    ]
    with pytest.raises(ClientError, match="4 MB"):
        memory.transact_write_items(TransactItems=large)
    memory.transact_write_items(TransactItems=large[:10])
    assert len(memory.dump(TABLE)) == 10


def test_what_just_fits_is_taken() -> None:
    memory = memory_tables()
    item = {"pk": {"S": "p" * 2048}, "sk": {"S": "é" * 512}, "rev": {"N": "9" * 38}}
    memory.put_item(TableName=TABLE, Item={**item, "own": {"S": "o" * 400_000}})
    assert len(memory.dump(TABLE)) == 1


def test_pages_of_an_index_lead_on_where_they_ended(tables: Tables) -> None:
    memory = memory_tables()
    for client, table in ((tables.client, tables.records.name), (memory, TABLE)):
        for number in range(7):
            item = {
                "pk": {"S": f"demo#ACCOUNT#cus_{number}"},
                "sk": {"S": "PROFILE"},
                "due_shard": {"S": "1"},
                "due_at": {"N": str(number)},
            }
            client.put_item(TableName=table, Item=item)
    found: list[list[str]] = []
    for client, table in ((tables.client, tables.records.name), (memory, TABLE)):
        keys: list[str] = []
        start: dict[str, Any] = {}
        while True:
            page = client.query(
                TableName=table,
                IndexName="due",
                KeyConditionExpression="due_shard = :s AND due_at <= :n",
                ExpressionAttributeValues={":s": {"S": "1"}, ":n": {"N": "5"}},
                Limit=2,
                **start,
            )
            keys += [item["pk"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        found.append(keys)
    assert found[0] == found[1] == [f"demo#ACCOUNT#cus_{number}" for number in range(6)]


@pytest.mark.parametrize(
    "text",
    [
        "size(own) > :v",
        "attribute_type(own, :v)",
        "own IN (:v)",
        "own.part = :v",
        "list[0] = :v",
        "own = :v AND",
        "own = :v rev = :v",
    ],
)
def test_expressions_it_does_not_know_are_refused_loudly(text: str) -> None:
    with pytest.raises(NotImplementedError):
        expressions.condition(text)


def test_a_call_takes_microseconds(tell: Tell) -> None:
    memory = memory_tables()
    chance = Chance(3)
    calls = [chance.call() for _ in range(2000)]
    for operation, request in calls:
        outcome(memory, operation, request, TABLE)  # expressions parsed and kept
    before = time.process_time()
    for operation, request in calls:
        try:
            getattr(memory, operation)(**request)
        except ClientError:
            continue
    each = (time.process_time() - before) / len(calls)
    tell(f"{each * 1e6:.1f} µs a call")
    assert each < 0.0005  # ten times what it takes on an idle machine


def test_the_reserved_words_are_reserved(tables: Tables) -> None:
    item = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    allowed = []
    for word in sorted(expressions.RESERVED):
        try:
            tables.client.put_item(
                TableName=tables.records.name,
                Item=item,
                ConditionExpression=f"attribute_not_exists({word})",
            )
        except ClientError:
            continue
        allowed.append(word)
    assert allowed == []
