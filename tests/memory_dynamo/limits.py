"""DynamoDB's limits on sizes:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html

Every check raises :class:`tests.memory_dynamo.expressions.Invalid`, which is answered as a
``ValidationException``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.memory_dynamo.expressions import Invalid, Typed

PARTITION_KEY = 2048
SORT_KEY = 1024
ITEM = 400 * 1024
TRANSACTION = 4 * 1024 * 1024
EXPRESSION = 4096
EXPRESSION_VALUES = 2 * 1024 * 1024
NUMBER_DIGITS = 38

_EXPRESSIONS = (
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
    "UpdateExpression",
)


def check_partition_key(value: Any) -> None:
    if isinstance(value, str) and _bytes(value) > PARTITION_KEY:
        raise Invalid("the partition key is larger than 2048 bytes")


def check_sort_keys(values: Iterable[Any]) -> None:
    """Of an item, or of the condition of a query. DynamoDB's error speaks of the "aggregated size
    of all range keys": the two bounds of a condition count together here."""
    if sum(_bytes(value) for value in values if isinstance(value, str)) > SORT_KEY:
        raise Invalid("the sort key is larger than 1024 bytes")


def check_item(item: Mapping[str, Typed]) -> None:
    if size_of(item) > ITEM:
        raise Invalid("the item is larger than 400 KB")


def check_request(request: Mapping[str, Any]) -> None:
    """Its expressions and their values."""
    for name in _EXPRESSIONS:
        if len(request.get(name, "")) > EXPRESSION:
            raise Invalid(f"{name} is larger than 4 KB")
    values = request.get("ExpressionAttributeValues")
    if values is not None and size_of(values) > EXPRESSION_VALUES:
        raise Invalid("the values of the expressions are larger than 2 MB")


def size_of(item: Mapping[str, Typed]) -> int:
    """Bytes of names and values."""
    total = 0
    for name, typed in item.items():
        total += len(name)
        for kind, value in typed.items():
            if kind == "S":
                total += _bytes(value)
            elif kind == "N":
                total += len(value) // 2 + 2
                if len(value.lstrip("-")) > NUMBER_DIGITS:
                    raise Invalid("a number of more than 38 digits")
            elif kind == "SS":
                total += sum(map(_bytes, value))
            else:
                total += 1
    return total


def _bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Invalid("a text that is not UTF-8") from None
