"""DynamoDB in memory: the calls of :class:`shared.storage.dynamo.DynamoClient` on dictionaries.

The fault suites run the real code some hundred thousand times; over a socket that would take
hours. ``test_memory_dynamo.py`` does thousands of random calls here and on dynoxide and compares
answers, errors and what is stored: only therefore may the suites trust it.

Every call is atomic. Not modelled: sizes (pages of 1 MB, items of 400 KB), capacity, and
``TransactionConflict``, which DynamoDB answers instead of letting one of two transactions wait.
"""

from __future__ import annotations

import copy
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tests.memory_dynamo import expressions
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

    def add(self, item: Stored) -> None:
        entry = self.entry(item)
        if entry is not None:
            insort(self.rows.setdefault(entry[0], []), entry[1])

    def discard(self, item: Stored) -> None:
        entry = self.entry(item)
        if entry is not None:
            rows = self.rows[entry[0]]
            del rows[bisect_left(rows, entry[1])]
            if not rows:
                del self.rows[entry[0]]

    def project(self, item: Stored) -> Stored:
        if self.projected is None:
            return item
        return {name: value for name, value in item.items() if name in self.projected}


@dataclass
class _Table:
    items: dict[str, dict[str, Stored]] = field(default_factory=dict)
    order: dict[str, list[str]] = field(default_factory=dict)
    indexes: dict[str, _Index] = field(default_factory=dict)

    def get(self, pk: str, sk: str) -> Stored | None:
        return self.items.get(pk, {}).get(sk)

    def put(self, item: Stored) -> None:
        pk, sk = item["pk"]["S"], item["sk"]["S"]
        partition = self.items.setdefault(pk, {})
        old = partition.get(sk)
        if old is None:
            insort(self.order.setdefault(pk, []), sk)
        for index in self.indexes.values():
            if old is not None:
                index.discard(old)
            index.add(item)
        partition[sk] = item

    def delete(self, pk: str, sk: str) -> None:
        old = self.items.get(pk, {}).pop(sk, None)
        if old is None:
            return
        order = self.order[pk]
        del order[bisect_left(order, sk)]
        for index in self.indexes.values():
            index.discard(old)


class MemoryDynamo:
    """Tables in memory. Thread-safe; values in and out are copies."""

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
                )
        return other

    def dump(self, table: str) -> list[Stored]:
        """Every item, by key."""
        with self._lock:
            found = self._tables[table]
            return [
                _copy(found.items[pk][sk]) for pk in sorted(found.order) for sk in found.order[pk]
            ]

    # -- reads -----------------------------------------------------------------------------------

    def get_item(self, **request: Any) -> dict[str, Any]:
        _only(request, "TableName", "Key", "ConsistentRead", "ProjectionExpression", _NAMES)
        with self._lock:
            pk, sk = _key(request["Key"])
            item = self._table(request).get(pk, sk)
            shown = None if item is None else _projected(item, request)
        return {} if shown is None else {"Item": shown}

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        _only(request, "RequestItems")
        responses: dict[str, list[Stored]] = {}
        count = 0
        with self._lock:
            for name, wanted in request["RequestItems"].items():
                _only(wanted, "Keys", "ConsistentRead", "ProjectionExpression", _NAMES)
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
        _only(
            request,
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
        )
        with self._lock, _validated():
            return self._query(request)

    def _query(self, request: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table(request)
        names, values = request.get(_NAMES, {}), request.get(_VALUES, {})
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

    # -- writes ----------------------------------------------------------------------------------

    def put_item(self, **request: Any) -> dict[str, Any]:
        _only(request, "TableName", "Item", *_CONDITIONAL)
        with self._lock:
            self._apply(self._checked("Put", request, _ConditionFailed))
        return {}

    def delete_item(self, **request: Any) -> dict[str, Any]:
        _only(request, "TableName", "Key", *_CONDITIONAL)
        with self._lock:
            self._apply(self._checked("Delete", request, _ConditionFailed))
        return {}

    def update_item(self, **request: Any) -> dict[str, Any]:
        _only(request, "TableName", "Key", "UpdateExpression", "ReturnValues", *_CONDITIONAL)
        with self._lock:
            write = self._checked("Update", request, _ConditionFailed)
            self._apply(write)
            wanted = request.get("ReturnValues", "NONE")
            if wanted == "NONE":
                return {}
            if wanted != "ALL_NEW":
                raise NotImplementedError(f"ReturnValues {wanted}")
            assert write.item is not None
            return {"Attributes": _copy(write.item)}

    def batch_write_item(self, **request: Any) -> dict[str, Any]:
        _only(request, "RequestItems")
        with self._lock:
            writes: list[_Write] = []
            for name, requests in request["RequestItems"].items():
                if not 1 <= len(requests) <= 25:
                    raise _error("ValidationException", "1 to 25 requests in a batch")
                for each in requests:
                    ((kind, body),) = each.items()
                    body = {**body, "TableName": name}
                    if kind == "PutRequest":
                        _only(body, "TableName", "Item")
                        writes.append(self._checked("Put", body, _ConditionFailed))
                    elif kind == "DeleteRequest":
                        _only(body, "TableName", "Key")
                        writes.append(self._checked("Delete", body, _ConditionFailed))
                    else:
                        raise NotImplementedError(kind)
            if len({(w.table_name, w.pk, w.sk) for w in writes}) != len(writes):
                raise _error("ValidationException", "duplicate items in a batch")
            for write in writes:
                self._apply(write)
        return {"UnprocessedItems": {}}

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        _only(request, "TransactItems", "ClientRequestToken")
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
                    writes.append(self._checked(kind, body, _ConditionFailed))
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
            for write in writes:
                self._apply(write)
        return {}

    # -- one write -------------------------------------------------------------------------------

    def _checked(
        self, kind: str, body: Mapping[str, Any], failure: type[_ConditionFailed]
    ) -> _Write:
        """What a write would do; raises where its condition doesn't hold."""
        table = self._table(body)
        pk, sk = _key(body["Item"] if kind == "Put" else body["Key"], exact=kind != "Put")
        old = table.get(pk, sk)
        with _validated():
            text = body.get("ConditionExpression")
            parsed = None if text is None else expressions.condition(text)
            change = None
            if kind == "Update":
                change = expressions.update(body["UpdateExpression"])
            elif kind == "ConditionCheck" and parsed is None:
                raise _error("ValidationException", "a check needs a condition")
            elif kind not in ("Put", "Delete", "ConditionCheck"):
                raise NotImplementedError(kind)
            used: list[expressions.Parsed | expressions.Update] = [
                part for part in (parsed, change) if part is not None
            ]
            _all_used(
                body,
                frozenset(name for part in used for name in part.names),
                frozenset(value for part in used for value in part.values),
            )
            names, values = body.get(_NAMES, {}), body.get(_VALUES, {})
            if parsed is not None and not parsed.condition(old or {}, names, values):
                shown = body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
                raise failure(_copy(old) if shown and old is not None else None)
            if kind == "ConditionCheck":
                return _Write(table, body["TableName"], pk, sk, check_only=True)
            new: Stored | None = None
            if kind == "Put":
                new = _copy(body["Item"])
                _check_index_keys(table, new)
            elif change is not None:
                new = _updated(old, body["Key"], change, names, values)
                _check_index_keys(table, new)
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
        pk, sk = _key(body["Item"] if kind == "Put" else body["Key"], exact=kind != "Put")
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
_CONDITIONAL = (
    "ConditionExpression",
    "ReturnValuesOnConditionCheckFailure",
    _NAMES,
    _VALUES,
)


def _error(code: str, message: str, **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, "Operation")


class _validated:  # noqa: N801 - reads as a statement
    """Turns :class:`Invalid` into DynamoDB's answer."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Invalid):
            raise _error("ValidationException", str(error)) from error


def _only(request: Mapping[str, Any], *known: str) -> None:
    unknown = request.keys() - set(known)
    if unknown:
        raise NotImplementedError(f"parameters {sorted(unknown)}")


def _all_used(request: Mapping[str, Any], names: frozenset[str], values: frozenset[str]) -> None:
    """DynamoDB refuses placeholders that are unused or missing."""
    given_names = request.get(_NAMES, {}).keys()
    given_values = request.get(_VALUES, {}).keys()
    if given_names != names:
        raise _error("ValidationException", f"unused or missing: {sorted(given_names ^ names)}")
    if given_values != values:
        raise _error("ValidationException", f"unused or missing: {sorted(given_values ^ values)}")


def _key(key: Mapping[str, Typed], *, exact: bool = True) -> tuple[str, str]:
    try:
        pk, sk = key["pk"]["S"], key["sk"]["S"]
    except KeyError:
        raise _error("ValidationException", "the key is not pk and sk") from None
    if not pk or not sk or (exact and len(key) != 2):
        raise _error("ValidationException", "the key is not pk and sk, filled")
    return pk, sk


def _name(name: str, names: Mapping[str, str]) -> str:
    return names[name] if name[0] == "#" else name


def _plain(value: Typed) -> Any:
    return expressions.plain(value)[1]


def _copy(item: Mapping[str, Typed]) -> Stored:
    return {
        name: {"SS": list(value["SS"])} if "SS" in value else dict(value)
        for name, value in item.items()
    }


def _projection_names(request: Mapping[str, Any]) -> frozenset[str]:
    text = request.get("ProjectionExpression")
    if text is None:
        return frozenset()
    return frozenset(name for name in expressions.projection(text) if name[0] == "#")


def _projected(item: Stored, request: Mapping[str, Any]) -> Stored:
    text = request.get("ProjectionExpression")
    if text is None:
        return _copy(item)
    names = request.get(_NAMES, {})
    wanted = {_name(name, names) for name in expressions.projection(text)}
    return _copy({name: value for name, value in item.items() if name in wanted})


def _updated(
    old: Stored | None,
    key: Mapping[str, Typed],
    change: expressions.Update,
    names: Mapping[str, str],
    values: Mapping[str, Typed],
) -> Stored:
    changed = [_name(name, names) for name in change.attributes]
    if len(set(changed)) != len(changed):
        raise Invalid("two paths overlap")
    if {"pk", "sk"} & set(changed):
        raise Invalid("a part of the key can't be updated")
    before = old or {}
    new = dict(old) if old is not None else _copy(key)
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
    return _copy(new)


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
    """An index's key attribute must have its type; here all are strings but ``due_at``."""
    for index in table.indexes.values():
        for name in (index.partition, index.sort):
            if name is None or name not in item:
                continue
            ((kind, raw),) = item[name].items()
            if kind != ("N" if name.endswith("_at") else "S") or raw == "":
                raise Invalid(f"type mismatch or empty value for the index key {name}")


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
    return copy.deepcopy({name: item[name] for name in names})
