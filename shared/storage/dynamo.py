"""The DynamoDB table as plain values: strings, integers, booleans and sets of strings.

Rows keep what conditions and indexes need as attributes of their own and everything else packed
as one JSON string: botocore walks attribute values one by one, and parsing one packed string is
about six times cheaper than a row of separate attributes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    ReadTimeoutError,
)

from shared.domain.deadline import Deadline
from shared.domain.errors import TryAgainLater
from shared.observability import log_failure

AWS_ERRORS = (BotoCoreError, ClientError)
"""What a call to AWS raises: a refusal, a timeout, no connection."""

# What DynamoDB answers to an item that is too large or otherwise impossible.
_IMPOSSIBLE = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException"})

# What AWS answers when it may answer otherwise a moment later.
_PASSING = frozenset(
    {
        "InternalServerError",
        "InternalServerException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Throttling",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)
_TIMED_OUT = (ConnectTimeoutError, ReadTimeoutError)

# Why a transaction may be cancelled that succeeds a moment later.
_BUSY = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})

# How often a write is tried that meets a transaction: those take milliseconds.
_MEETINGS = 6
# How often a batch is asked again for keys that it left out, with up to a second in between.
_ROUNDS = 8

Item = dict[str, Any]
"""An item as plain values: str, int, bool, frozenset[str]."""


class DynamoClient(Protocol):
    """The calls of botocore's DynamoDB client that are used here."""

    def get_item(self, **kwargs: Any) -> dict[str, Any]: ...
    def put_item(self, **kwargs: Any) -> dict[str, Any]: ...
    def update_item(self, **kwargs: Any) -> dict[str, Any]: ...
    def delete_item(self, **kwargs: Any) -> dict[str, Any]: ...
    def query(self, **kwargs: Any) -> dict[str, Any]: ...
    def batch_get_item(self, **kwargs: Any) -> dict[str, Any]: ...
    def scan(self, **kwargs: Any) -> dict[str, Any]: ...
    def transact_write_items(self, **kwargs: Any) -> dict[str, Any]: ...


class ConditionFailed(Exception):
    """A conditional write was refused.

    Attributes:
        item: what is stored, ``None`` where there is no item.
        index: which action of a transaction was refused.
    """

    def __init__(self, item: Item | None, index: int = 0) -> None:
        super().__init__("the condition of a write did not hold")
        self.item = item
        self.index = index


class Contention(TryAgainLater):
    """A write met another one too often; the caller, or the caller's caller, should try again."""


def may_pass(error: BaseException) -> bool:
    """Whether a call to AWS failed for a reason that may be gone a moment later."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error.response["Error"]["Code"] in _PASSING or status >= 500
    return isinstance(error, BotoCoreError)


def is_impossible(error: BaseException) -> bool:
    """Whether a write was refused for what it is, and will be however often it is tried."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _IMPOSSIBLE


def marshal(item: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values to DynamoDB's; ``None`` and empty sets are left out."""
    out: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, str):
            out[name] = {"S": value}
        elif isinstance(value, bool):
            out[name] = {"BOOL": value}
        elif isinstance(value, int):
            out[name] = {"N": str(value)}
        elif isinstance(value, (set, frozenset)):
            if value:
                out[name] = {"SS": sorted(value)}
        elif value is not None:
            raise TypeError(f"{name}: {type(value).__name__} can't be stored")
    return out


def unmarshal(item: Mapping[str, Mapping[str, Any]]) -> Item:
    """DynamoDB's values to plain ones."""
    out: Item = {}
    for name, typed in item.items():
        ((kind, value),) = typed.items()
        if kind == "N":
            out[name] = int(value)
        elif kind == "SS":
            out[name] = frozenset(value)
        else:
            out[name] = value
    return out


class Table:
    """One table: reads are strongly consistent, writes may carry a condition.

    Args:
        deadline: of the invocation; ``None``: there is none.

    Raises (from every method): ``OutOfTime``; from every write also :class:`ConditionFailed` and
    :class:`Contention`. botocore's ``ClientError`` and connection errors pass through, for a caller
    that may try again.
    """

    def __init__(self, client: DynamoClient, name: str, deadline: Deadline | None = None) -> None:
        self.client = client
        self.name = name
        self.deadline = deadline or Deadline()

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Make a call of DynamoDB; every call goes through here.

        None begins after the deadline, or after a call that timed out.
        """
        self.deadline.check()
        call: Callable[..., dict[str, Any]] = getattr(self.client, operation)
        try:
            return call(**request)
        except _TIMED_OUT as error:
            self.deadline.give_up()
            log_failure("DynamoDB timed out", error, operation=operation)
            raise

    @contextmanager
    def giving_back(self) -> Iterator[None]:
        """Around the write that gives back a lease, a lock or the like.

        It is tried once more after a call that timed out. A failure is let pass: what was done
        under a lease is done, and the lease ends by itself.
        """
        try:
            with self.deadline.giving_back():
                yield
        except (ConditionFailed, TryAgainLater, *AWS_ERRORS):
            return

    def get(self, pk: str, sk: str) -> Item | None:
        answer = self._call("get_item", TableName=self.name, Key=_key(pk, sk), ConsistentRead=True)
        found = answer.get("Item")
        return None if found is None else unmarshal(found)

    def batch_get(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        """Items by key, in as many calls of 100 as it takes.

        Raises:
            Contention: DynamoDB left keys unprocessed too often.
        """
        todo = [_key(pk, sk) for pk, sk in dict.fromkeys(keys)]
        found: dict[tuple[str, str], Item] = {}
        left_out = 0
        while todo:
            chunk, todo = todo[:100], todo[100:]
            answer = self._call(
                "batch_get_item",
                RequestItems={self.name: {"Keys": chunk, "ConsistentRead": True}},
            )
            for raw in answer["Responses"].get(self.name, ()):
                item = unmarshal(raw)
                found[item["pk"], item["sk"]] = item
            left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            if left:
                if left_out == _ROUNDS:
                    raise Contention("DynamoDB left keys unprocessed")
                self.deadline.sleep(min(0.02 * 2**left_out, 1.0))
                left_out += 1
                todo = [*left, *todo]
        return found

    def put(self, item: Item, condition: str | None = None, **values: Any) -> None:
        request: dict[str, Any] = {"TableName": self.name, "Item": marshal(item)}
        self._conditional("put_item", request, condition, values)

    def update(
        self,
        pk: str,
        sk: str,
        expression: str,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Item:
        """The whole item after the update."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "Key": _key(pk, sk),
            "UpdateExpression": expression,
            "ReturnValues": "ALL_NEW",
        }
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        answer = self._conditional("update_item", request, condition, values)
        return unmarshal(answer["Attributes"])

    def update_blind(
        self,
        pk: str,
        sk: str,
        expression: str,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        **values: Any,
    ) -> None:
        """Like :meth:`update`, without the answer: cheaper where nobody looks at it."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "Key": _key(pk, sk),
            "UpdateExpression": expression,
        }
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        self._conditional("update_item", request, condition, values)

    def delete(self, pk: str, sk: str, condition: str | None = None, **values: Any) -> None:
        request: dict[str, Any] = {"TableName": self.name, "Key": _key(pk, sk)}
        self._conditional("delete_item", request, condition, values)

    def query(
        self,
        condition: str,
        *,
        index: str | None = None,
        forward: bool = True,
        limit: int | None = None,
        start: Mapping[str, Any] | None = None,
        consistent: bool = True,
        names: Mapping[str, str] | None = None,
        **values: Any,
    ) -> tuple[list[Item], dict[str, Any] | None]:
        """One page: items and DynamoDB's key to go on from (``None`` at the end)."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": _values(values),
            "ScanIndexForward": forward,
        }
        if names:
            request["ExpressionAttributeNames"] = dict(names)
        if index is not None:
            request["IndexName"] = index
        else:
            request["ConsistentRead"] = consistent
        if limit is not None:
            request["Limit"] = limit
        if start is not None:
            request["ExclusiveStartKey"] = dict(start)
        answer = self._call("query", **request)
        return [unmarshal(raw) for raw in answer["Items"]], answer.get("LastEvaluatedKey")

    def query_all(
        self,
        condition: str,
        *,
        index: str | None = None,
        forward: bool = True,
        page: int | None = None,
        **values: Any,
    ) -> Iterator[Item]:
        """Every item of a key condition, page after page."""
        start: dict[str, Any] | None = None
        while True:
            items, start = self.query(
                condition, index=index, forward=forward, limit=page, start=start, **values
            )
            yield from items
            if start is None:
                return

    def scan_all(self, condition: str, **values: Any) -> Iterator[Item]:
        """Every item of the whole table for which a condition holds: for operators only."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "ConsistentRead": True,
            "FilterExpression": condition,
            "ExpressionAttributeValues": _values(values),
        }
        while True:
            answer = self._call("scan", **request)
            yield from map(unmarshal, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def rows_of_index(self, index: str, most_pages: int) -> Iterator[Item]:
        """The rows of a sparse index, of all partitions; at most so many pages of 1 MB."""
        request: dict[str, Any] = {"TableName": self.name, "IndexName": index}
        for _ in range(most_pages):
            answer = self._call("scan", **request)
            yield from map(unmarshal, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    # -- parts of a transaction ----------------------------------------------------------------

    def put_action(self, item: Item, condition: str | None = None, **values: Any) -> Item:
        return {"Put": self._action({"Item": marshal(item)}, condition, values)}

    def delete_action(self, pk: str, sk: str, condition: str | None = None, **values: Any) -> Item:
        return {"Delete": self._action({"Key": _key(pk, sk)}, condition, values)}

    def check_action(self, pk: str, sk: str, condition: str, **values: Any) -> Item:
        return {"ConditionCheck": self._action({"Key": _key(pk, sk)}, condition, values)}

    def transact(self, actions: Sequence[Item]) -> None:
        """All of it or nothing.

        Raises:
            ConditionFailed: with the first refused action's index and stored item.
            Contention: another transaction was under way on one of the items, or DynamoDB throttled
                the table.
        """
        try:
            self._call("transact_write_items", TransactItems=list(actions))
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            reasons = error.response.get("CancellationReasons", [])
            for index, reason in enumerate(reasons):
                if reason.get("Code") == "ConditionalCheckFailed":
                    stored = reason.get("Item")
                    raise ConditionFailed(unmarshal(stored) if stored else None, index) from None
            if any(reason.get("Code") in _BUSY for reason in reasons):
                raise Contention from None
            raise

    def _action(
        self, body: dict[str, Any], condition: str | None, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        body["TableName"] = self.name
        if condition is not None:
            body["ConditionExpression"] = condition
            body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if values:
            body["ExpressionAttributeValues"] = _values(values)
        return body

    def _conditional(
        self,
        operation: str,
        request: dict[str, Any],
        condition: str | None,
        values: Mapping[str, Any],
    ) -> dict[str, Any]:
        self._action(request, condition, values)
        for attempt in range(_MEETINGS):
            try:
                return self._call(operation, **request)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    stored = error.response.get("Item")
                    raise ConditionFailed(unmarshal(stored) if stored else None) from None
                # A transaction is under way on the item, and nothing was written. botocore doesn't
                # try this one again by itself.
                if code != "TransactionConflictException":
                    raise
            # Jitter of a retry, not a secret.
            self.deadline.sleep(0.01 * 2**attempt * (0.5 + random.random()))  # noqa: S311
        raise Contention("a transaction was always in the way")


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    return marshal({f":{name}": value for name, value in values.items()})
