"""DynamoDB in memory: the calls of :class:`shared.storage.dynamo.DynamoClient` on dictionaries.

The fault suites run the real code some hundred thousand times; over a socket that would take
hours. ``test_memory_dynamo.py`` does thousands of random calls here and on dynoxide and compares
answers, errors and what is stored: only therefore may the suites trust it.

Every call is atomic. The values of attributes go in and out as they are, and nobody changes one in
place; items are copied. Not modelled: pages of 1 MB, capacity, and ``TransactionConflict``, which
DynamoDB answers instead of letting one of two transactions wait.

What is too large is refused as DynamoDB refuses it (:mod:`tests.memory_dynamo.limits`); dynoxide
takes some of it.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from botocore.exceptions import ClientError

from tests.memory_dynamo import expressions, limits
from tests.memory_dynamo.expressions import Invalid, Typed

Stored = dict[str, Typed]
_MAX = "\U0010ffff"


@dataclass
class _Index:
    """A secondary index: partition value → sorted (sort value, pk, sk)."""

    partition: str
    sort: str | None
    projected: frozenset[str] | None
    rows: dict[Any, list[tuple[Any, str, str]]] = field(default_factory=dict)

    def entry(self, item: Stored) -> tuple[Any, tuple[Any, str, str]] | None:
        if self.partition not in item or (self.sort is not None and self.sort not in item):
            return None
        sort = "" if self.sort is None else _plain(item[self.sort])
        return _plain(item[self.partition]), (sort, item["pk"]["S"], item["sk"]["S"])

    def move(self, old: Stored | None, new: Stored | None) -> None:
        """Let an item's row follow a change of the item."""
        before = None if old is None else self.entry(old)
        after = None if new is None else self.entry(new)
        if before == after:
            return
        if before is not None:
            rows = self.rows[before[0]]
            del rows[bisect_left(rows, before[1])]
            if not rows:
                del self.rows[before[0]]
        if after is not None:
            insort(self.rows.setdefault(after[0], []), after[1])

    def project(self, item: Stored) -> Stored:
        if self.projected is None:
            return item
        return {name: value for name, value in item.items() if name in self.projected}


@dataclass
class _Table:
    items: dict[str, dict[str, Stored]] = field(default_factory=dict)
    order: dict[str, list[str]] = field(default_factory=dict)
    indexes: dict[str, _Index] = field(default_factory=dict)
    index_keys: tuple[tuple[str, str], ...] = ()
    """The attributes that indexes have as keys, and their types."""

    def get(self, pk: str, sk: str) -> Stored | None:
        partition = self.items.get(pk)
        return None if partition is None else partition.get(sk)

    def put(self, item: Stored) -> None:
        pk, sk = item["pk"]["S"], item["sk"]["S"]
        partition = self.items.setdefault(pk, {})
        old = partition.get(sk)
        if old is None:
            insort(self.order.setdefault(pk, []), sk)
        for index in self.indexes.values():
            index.move(old, item)
        partition[sk] = item

    def delete(self, pk: str, sk: str) -> None:
        old = self.items.get(pk, {}).pop(sk, None)
        if old is None:
            return
        order = self.order[pk]
        del order[bisect_left(order, sk)]
        for index in self.indexes.values():
            index.move(old, None)


class MemoryDynamo:
    """Tables in memory. Thread-safe."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._lock = threading.RLock()

    def create_table(self, TableName: str, **definition: Any) -> None:  # noqa: N803
        """A table with ``pk`` and ``sk``, and its indexes, as CloudFormation defines them."""
        keys = [part["AttributeName"] for part in definition["KeySchema"]]
        if keys != ["pk", "sk"]:
            raise NotImplementedError("tables are keyed by pk and sk")
        table = _Table()
        for index in definition.get("GlobalSecondaryIndexes", ()):
            schema = [part["AttributeName"] for part in index["KeySchema"]]
            kind = index["Projection"]["ProjectionType"]
            projected = None
            if kind != "ALL":
                more = index["Projection"].get("NonKeyAttributes", ())
                projected = frozenset({"pk", "sk", *schema, *more})
            sort = schema[1] if len(schema) > 1 else None
            table.indexes[index["IndexName"]] = _Index(schema[0], sort, projected)
            # Here all of them are strings but ``due_at``.
            kinds = tuple((name, "N" if name.endswith("_at") else "S") for name in schema)
            table.index_keys += kinds
        self._tables[TableName] = table

    # -- snapshots -------------------------------------------------------------------------------

    def copy(self) -> MemoryDynamo:
        """Another database with the same contents. Stored items are never changed in place, so
        the copies share them."""
        other = MemoryDynamo()
        with self._lock:
            for name, table in self._tables.items():
                other._tables[name] = _Table(
                    {pk: dict(partition) for pk, partition in table.items.items()},
                    {pk: list(order) for pk, order in table.order.items()},
                    {
                        key: _Index(
                            index.partition,
                            index.sort,
                            index.projected,
                            {value: list(rows) for value, rows in index.rows.items()},
                        )
                        for key, index in table.indexes.items()
                    },
                    table.index_keys,
                )
        return other

    def dump(self, table: str) -> list[Stored]:
        """Every item, by key."""
        with self._lock:
            found = self._tables[table]
            return [
                dict(found.items[pk][sk]) for pk in sorted(found.order) for sk in found.order[pk]
            ]

    def index_rows(self, table: str, index: str) -> dict[Any, list[tuple[Any, str, str]]]:
        """Every row of an index, by its partition, as sorted (sort value, pk, sk)."""
        with self._lock:
            rows = self._tables[table].indexes[index].rows
            return {partition: list(found) for partition, found in rows.items()}

    # -- reads -----------------------------------------------------------------------------------

    def get_item(self, **request: Any) -> dict[str, Any]:
        _only(request, _GET)
        with self._lock:
            pk, sk = _key(request["Key"])
            item = self._table(request).get(pk, sk)
            shown = None if item is None else _projected(item, request)
        return {} if shown is None else {"Item": shown}

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        _only(request, _BATCH)
        responses: dict[str, list[Stored]] = {}
        count = 0
        with self._lock:
            for name, wanted in request["RequestItems"].items():
                _only(wanted, _BATCH_KEYS)
                keys = [_key(key) for key in wanted["Keys"]]
                count += len(keys)
                if not keys:
                    raise _error("ValidationException", "at least one key is needed")
                if len(set(keys)) != len(keys):
                    raise _error("ValidationException", "duplicate keys")
                table = self._table({"TableName": name})
                found = (table.get(pk, sk) for pk, sk in keys)
                responses[name] = [_projected(i, wanted) for i in found if i is not None]
            if count > 100:
                raise _error("ValidationException", "more than 100 keys")
        return {"Responses": responses, "UnprocessedKeys": {}}

    def query(self, **request: Any) -> dict[str, Any]:
        _only(request, _QUERY)
        with self._lock:
            try:
                return self._query(request)
            except Invalid as error:
                raise _error("ValidationException", str(error)) from error

    def _query(self, request: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table(request)
        names, values = request.get(_NAMES, _NOTHING), request.get(_VALUES, _NOTHING)
        wanted = expressions.key_condition(request["KeyConditionExpression"])
        filtered = request.get("FilterExpression")
        keep = None if filtered is None else expressions.condition(filtered)
        used_names = wanted.names | (keep.names if keep else frozenset())
        used_names |= _projection_names(request)
        _all_used(request, used_names, wanted.values | (keep.values if keep else frozenset()))
        index = None
        if "IndexName" in request:
            index = table.indexes.get(request["IndexName"])
            if index is None:
                raise _error("ValidationException", "the table has no such index")
            if request.get("ConsistentRead"):
                raise _error("ValidationException", "no consistent reads of an index")
        partition_name, sort_name = ("pk", "sk") if index is None else (index.partition, index.sort)
        if _name(wanted.partition, names) != partition_name:
            raise _error("ValidationException", "the partition key is missing in the condition")
        if wanted.sort is not None and _name(wanted.sort, names) != sort_name:
            raise _error("ValidationException", "the condition names an attribute that is no key")
        if keep is not None:
            keys = {partition_name, sort_name}
            if keys & {_name(attribute, names) for attribute in keep.attributes}:
                raise _error("ValidationException", "a filter can't name the key")
        partition = _plain(values[wanted.partition_value])
        bounds = [_plain(values[value]) for value in wanted.sort_values]
        limits.check_partition_key(partition)
        limits.check_sort_keys(bounds)
        limits.check_request(request)
        rows = _rows(table, index, partition, wanted.comparator, bounds)
        start = request.get("ExclusiveStartKey")
        forward = request.get("ScanIndexForward", True)
        if not forward:
            rows = rows[::-1]
        if start is not None:
            at = _row_of(index, start)
            rows = [row for row in rows if (row > at if forward else row < at)]
        limit = request.get("Limit")
        more = limit is not None and len(rows) > limit
        evaluated = rows if limit is None else rows[:limit]
        items = [table.items[pk][sk] for _, pk, sk in evaluated]
        shown = items if keep is None else [i for i in items if keep.condition(i, names, values)]
        if index is not None:
            shown = [index.project(item) for item in shown]
        answer: dict[str, Any] = {"Count": len(shown), "ScannedCount": len(evaluated)}
        if "Select" not in request:
            answer["Items"] = [_projected(item, request) for item in shown]
        elif request["Select"] != "COUNT":
            raise NotImplementedError(request["Select"])
        # DynamoDB stops at the limit without looking whether anything follows.
        if limit is not None and (more or len(evaluated) == limit) and evaluated:
            answer["LastEvaluatedKey"] = _start_key(index, items[-1])
        return answer

    def scan(self, **request: Any) -> dict[str, Any]:
        """The rows of a sparse index, all at once."""
        _only(request, frozenset({"TableName", "IndexName", "ExclusiveStartKey"}))
        with self._lock:
            table = self._table(request)
            index = table.indexes[request["IndexName"]]
            rows = [row for partition in index.rows.values() for row in partition]
            items = [index.project(table.items[pk][sk]) for _, pk, sk in rows]
            return {"Items": items, "Count": len(items), "ScannedCount": len(items)}

    # -- writes ----------------------------------------------------------------------------------

    def put_item(self, **request: Any) -> dict[str, Any]:
        _only(request, _PUT)
        with self._lock:
            self._apply(self._checked("Put", request))
        return {}

    def delete_item(self, **request: Any) -> dict[str, Any]:
        _only(request, _DELETE)
        with self._lock:
            self._apply(self._checked("Delete", request))
        return {}

    def update_item(self, **request: Any) -> dict[str, Any]:
        _only(request, _UPDATE)
        with self._lock:
            write = self._checked("Update", request)
            self._apply(write)
            wanted = request.get("ReturnValues", "NONE")
            if wanted == "NONE":
                return {}
            if wanted != "ALL_NEW":
                raise NotImplementedError(f"ReturnValues {wanted}")
            assert write.item is not None
            return {"Attributes": dict(write.item)}

    def batch_write_item(self, **request: Any) -> dict[str, Any]:
        _only(request, _BATCH)
        with self._lock:
            writes: list[_Write] = []
            for name, requests in request["RequestItems"].items():
                if not 1 <= len(requests) <= 25:
                    raise _error("ValidationException", "1 to 25 requests in a batch")
                for each in requests:
                    ((kind, body),) = each.items()
                    body = {**body, "TableName": name}
                    if kind == "PutRequest":
                        _only(body, _PUT)
                        writes.append(self._checked("Put", body))
                    elif kind == "DeleteRequest":
                        _only(body, _DELETE)
                        writes.append(self._checked("Delete", body))
                    else:
                        raise NotImplementedError(kind)
            if len({(w.table_name, w.pk, w.sk) for w in writes}) != len(writes):
                raise _error("ValidationException", "duplicate items in a batch")
            for write in writes:
                self._apply(write)
        return {"UnprocessedItems": {}}

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        _only(request, _TRANSACTION)
        actions = request["TransactItems"]
        if not 1 <= len(actions) <= 100:
            raise _error("ValidationException", "1 to 100 actions in a transaction")
        with self._lock:
            keys = [self._key_of(action) for action in actions]
            if len(set(keys)) != len(keys):
                raise _error("ValidationException", "several actions on one item")
            writes: list[_Write] = []
            reasons: list[dict[str, Any]] = []
            for action in actions:
                ((kind, body),) = action.items()
                try:
                    writes.append(self._checked(kind, body))
                    reasons.append({"Code": "None"})
                except _ConditionFailed as failed:
                    reason: dict[str, Any] = {
                        "Code": "ConditionalCheckFailed",
                        "Message": "The conditional request failed",
                    }
                    if "Item" in failed.response:
                        reason["Item"] = failed.response["Item"]
                    reasons.append(reason)
                except ClientError as error:
                    if error.response["Error"]["Code"] != "ValidationException":
                        raise
                    reasons.append({"Code": "ValidationError", "Message": str(error)})
            if len(writes) != len(actions):
                raise _error(
                    "TransactionCanceledException",
                    "Transaction cancelled",
                    CancellationReasons=reasons,
                )
            if (
                sum(limits.size_of(write.item) for write in writes if write.item)
                > limits.TRANSACTION
            ):
                raise _error("ValidationException", "a transaction of more than 4 MB")
            for write in writes:
                self._apply(write)
        return {}

    # -- one write -------------------------------------------------------------------------------

    def _checked(self, kind: str, body: Mapping[str, Any]) -> _Write:
        """What a write would do; raises where its condition doesn't hold."""
        table = self._table(body)
        pk, sk = _key(body["Item"]) if kind == "Put" else _exact_key(body["Key"])
        old = table.get(pk, sk)
        if kind not in ("Put", "Update", "Delete", "ConditionCheck"):
            raise NotImplementedError(kind)
        text = body.get("ConditionExpression")
        if kind == "ConditionCheck" and text is None:
            raise _error("ValidationException", "a check needs a condition")
        try:
            limits.check_request(body)
            parsed = _parsed(text, body.get("UpdateExpression"))
            _all_used(body, parsed.names, parsed.values)
            names, values = body.get(_NAMES, _NOTHING), body.get(_VALUES, _NOTHING)
            if parsed.holds is not None and not parsed.holds(old or _NOTHING, names, values):
                shown = body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
                raise _ConditionFailed(dict(old) if shown and old is not None else None)
            if kind == "ConditionCheck":
                return _Write(table, body["TableName"], pk, sk, check_only=True)
            new: Stored | None = None
            if kind == "Put":
                new = dict(body["Item"])
            elif kind == "Update":
                assert parsed.change is not None
                new = _updated(old, body["Key"], parsed.change, names, values)
            if new is not None:
                limits.check_item(new)
                _check_index_keys(table, new)
        except Invalid as error:
            raise _error("ValidationException", str(error)) from error
        return _Write(table, body["TableName"], pk, sk, new)

    def _apply(self, write: _Write) -> None:
        if write.check_only:
            return
        if write.item is None:
            write.table.delete(write.pk, write.sk)
        else:
            write.table.put(write.item)

    def _key_of(self, action: Mapping[str, Any]) -> tuple[str, str, str]:
        ((kind, body),) = action.items()
        pk, sk = _key(body["Item"]) if kind == "Put" else _exact_key(body["Key"])
        return body["TableName"], pk, sk

    def _table(self, request: Mapping[str, Any]) -> _Table:
        table = self._tables.get(request["TableName"])
        if table is None:
            raise _error("ResourceNotFoundException", "there is no such table")
        return table


@dataclass(frozen=True)
class _Write:
    table: _Table
    table_name: str
    pk: str
    sk: str
    item: Stored | None = None
    check_only: bool = False


class _ConditionFailed(ClientError):  # type: ignore[misc] # botocore has no types
    def __init__(self, item: Stored | None) -> None:
        code = "ConditionalCheckFailedException"
        body: dict[str, Any] = {
            "Error": {"Code": code, "Message": "The conditional request failed"}
        }
        if item is not None:
            body["Item"] = item
        super().__init__(body, "Write")


_NAMES = "ExpressionAttributeNames"
_VALUES = "ExpressionAttributeValues"
_NOTHING: dict[str, Any] = {}
_CONDITIONAL = (
    "ConditionExpression",
    "ReturnValuesOnConditionCheckFailure",
    _NAMES,
    _VALUES,
)
# The parameters of each call that are understood here.
_GET = frozenset({"TableName", "Key", "ConsistentRead", "ProjectionExpression", _NAMES})
_BATCH = frozenset({"RequestItems"})
_BATCH_KEYS = frozenset({"Keys", "ConsistentRead", "ProjectionExpression", _NAMES})
_PUT = frozenset({"TableName", "Item", *_CONDITIONAL})
_DELETE = frozenset({"TableName", "Key", *_CONDITIONAL})
_UPDATE = frozenset({"TableName", "Key", "UpdateExpression", "ReturnValues", *_CONDITIONAL})
_TRANSACTION = frozenset({"TransactItems", "ClientRequestToken"})
_QUERY = frozenset(
    {
        "TableName",
        "IndexName",
        "KeyConditionExpression",
        "FilterExpression",
        "ProjectionExpression",
        "ScanIndexForward",
        "ConsistentRead",
        "Limit",
        "ExclusiveStartKey",
        "Select",
        _NAMES,
        _VALUES,
    }
)


def _error(code: str, message: str, **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, "Operation")


@dataclass(frozen=True)
class _Parsed:
    """A write's expressions, and the placeholders that both use."""

    holds: expressions.Condition | None
    change: expressions.Update | None
    names: frozenset[str]
    values: frozenset[str]


@lru_cache(maxsize=1024)
def _parsed(condition: str | None, update: str | None) -> _Parsed:
    parsed = None if condition is None else expressions.condition(condition)
    change = None if update is None else expressions.update(update)
    used = [part for part in (parsed, change) if part is not None]
    return _Parsed(
        None if parsed is None else parsed.condition,
        change,
        frozenset(name for part in used for name in part.names),
        frozenset(value for part in used for value in part.values),
    )


def _only(request: Mapping[str, Any], known: frozenset[str]) -> None:
    if not request.keys() <= known:
        raise NotImplementedError(f"parameters {sorted(request.keys() - known)}")


def _all_used(request: Mapping[str, Any], names: frozenset[str], values: frozenset[str]) -> None:
    """DynamoDB refuses placeholders that are unused or missing."""
    given_names = request.get(_NAMES, _NOTHING).keys()
    given_values = request.get(_VALUES, _NOTHING).keys()
    if given_names != names:
        raise _error("ValidationException", f"unused or missing: {sorted(given_names ^ names)}")
    if given_values != values:
        raise _error("ValidationException", f"unused or missing: {sorted(given_values ^ values)}")


def _key(key: Mapping[str, Typed]) -> tuple[str, str]:
    try:
        pk, sk = key["pk"]["S"], key["sk"]["S"]
    except KeyError:
        raise _error("ValidationException", "the key is not pk and sk") from None
    if not pk or not sk:
        raise _error("ValidationException", "the key is not pk and sk, filled")
    try:
        limits.check_partition_key(pk)
        limits.check_sort_keys([sk])
    except Invalid as error:
        raise _error("ValidationException", str(error)) from error
    return pk, sk


def _exact_key(key: Mapping[str, Typed]) -> tuple[str, str]:
    if len(key) != 2:
        raise _error("ValidationException", "the key is not pk and sk")
    return _key(key)


def _name(name: str, names: Mapping[str, str]) -> str:
    return names[name] if name[0] == "#" else name


def _plain(value: Typed) -> Any:
    return expressions.plain(value)[1]


def _projection_names(request: Mapping[str, Any]) -> frozenset[str]:
    text = request.get("ProjectionExpression")
    if text is None:
        return frozenset()
    return frozenset(name for name in expressions.projection(text) if name[0] == "#")


def _projected(item: Stored, request: Mapping[str, Any]) -> Stored:
    text = request.get("ProjectionExpression")
    if text is None:
        return dict(item)
    names = request.get(_NAMES, _NOTHING)
    wanted = {_name(name, names) for name in expressions.projection(text)}
    return {name: value for name, value in item.items() if name in wanted}


def _updated(
    old: Stored | None,
    key: Mapping[str, Typed],
    change: expressions.Update,
    names: Mapping[str, str],
    values: Mapping[str, Typed],
) -> Stored:
    listed = [_name(name, names) for name in change.attributes]
    changed = set(listed)
    if len(changed) != len(listed):
        raise Invalid("two paths overlap")
    if "pk" in changed or "sk" in changed:
        raise Invalid("a part of the key can't be updated")
    before = old or _NOTHING
    new = dict(key if old is None else old)
    for name, operand in change.sets:
        value = operand(before, names, values)
        if value is None:
            raise Invalid("the expression refers to an attribute that does not exist in the item")
        new[_name(name, names)] = value
    for name in change.removes:
        new.pop(_name(name, names), None)
    for name, placeholder in change.adds:
        attribute, value = _name(name, names), values[placeholder]
        new[attribute] = _added(before.get(attribute), value)
    return new


def _added(old: Typed | None, value: Typed) -> Typed:
    ((kind, raw),) = value.items()
    if kind not in ("N", "SS"):
        raise Invalid(f"ADD of type {kind}")
    if old is None:
        return value
    if kind not in old:
        raise Invalid("an operand in the update expression has an incorrect data type")
    if kind == "N":
        return {"N": str(int(old["N"]) + int(raw))}
    return {"SS": sorted({*old["SS"], *raw})}


def _check_index_keys(table: _Table, item: Stored) -> None:
    """An index's key attribute must have its type."""
    for name, wanted in table.index_keys:
        if name in item:
            ((kind, raw),) = item[name].items()
            if kind != wanted or raw == "":
                raise Invalid(f"type mismatch or empty value for the index key {name}")
    for index in table.indexes.values():
        entry = index.entry(item)
        if entry is not None:
            limits.check_partition_key(_plain(item[index.partition]))
            limits.check_sort_keys([entry[1][0]])


def _rows(
    table: _Table, index: _Index | None, partition: Any, comparator: str | None, bounds: list[Any]
) -> list[tuple[Any, str, str]]:
    """The rows of a key condition as (sort value, pk, sk), in order."""
    rows: list[Any]
    if index is None:
        rows = table.order.get(partition, [])
        low, high = _range(rows, comparator, bounds, lambda value: value)
        return [(sk, partition, sk) for sk in rows[low:high]]
    rows = index.rows.get(partition, [])
    low, high = _range(rows, comparator, bounds, lambda value: (value,))
    return rows[low:high]


def _range(
    rows: list[Any], comparator: str | None, bounds: list[Any], at: Callable[[Any], Any]
) -> tuple[int, int]:
    if comparator is None:
        return 0, len(rows)
    after: Callable[[Any], Any] = lambda value: (  # noqa: E731
        (*at(value), _MAX) if isinstance(at(value), tuple) else at(value)
    )
    left = bisect_left(rows, at(bounds[0]))
    right = bisect_right(rows, after(bounds[-1]))
    if comparator == "BETWEEN":
        if bounds[0] > bounds[1]:
            raise Invalid("the BETWEEN operator needs its lower bound first")
        return left, right
    if comparator == "begins_with":
        return left, bisect_left(rows, at(bounds[0] + _MAX))
    return {
        "=": (left, right),
        "<": (0, left),
        "<=": (0, right),
        ">": (right, len(rows)),
        ">=": (left, len(rows)),
    }[comparator]


def _row_of(index: _Index | None, start: Mapping[str, Typed]) -> tuple[Any, str, str]:
    pk, sk = start["pk"]["S"], start["sk"]["S"]
    if index is None:
        return sk, pk, sk
    return ("" if index.sort is None else _plain(start[index.sort])), pk, sk


def _start_key(index: _Index | None, item: Stored) -> Stored:
    names: Iterable[str] = ("pk", "sk")
    if index is not None:
        names = ("pk", "sk", index.partition, *([] if index.sort is None else [index.sort]))
    return {name: item[name] for name in names}
