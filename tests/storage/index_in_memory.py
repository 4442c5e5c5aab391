"""The index table in memory: the one Query the list makes, thousands of times a second.

Sorted partitions, ``Limit`` before the filter, ``LastEvaluatedKey`` whenever it was reached. The
same tests run on dynoxide too.
"""

from __future__ import annotations

import bisect
import re
from functools import cache
from types import CodeType
from typing import Any


class IndexInMemory:
    """A client with ``query`` and ``batch_write_item`` for one table."""

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, list[str]] = {}

    def batch_write_item(self, **request: Any) -> dict[str, Any]:
        (writes,) = request["RequestItems"].values()
        for write in writes:
            if "PutRequest" in write:
                item = write["PutRequest"]["Item"]
                partition = self._items.setdefault(item["pk"]["S"], {})
                if item["sk"]["S"] not in partition:
                    bisect.insort(self._keys.setdefault(item["pk"]["S"], []), item["sk"]["S"])
                partition[item["sk"]["S"]] = item
            else:
                key = write["DeleteRequest"]["Key"]
                if self._items.get(key["pk"]["S"], {}).pop(key["sk"]["S"], None) is not None:
                    self._keys[key["pk"]["S"]].remove(key["sk"]["S"])
        return {}

    def query(self, **request: Any) -> dict[str, Any]:
        values = {n[1:]: v["S"] for n, v in request["ExpressionAttributeValues"].items()}
        keys = self._keys.get(values["pk"], [])
        condition = request["KeyConditionExpression"].removeprefix("pk = :pk").removeprefix(" AND ")
        first, last = 0, len(keys)
        if condition == "sk > :after":
            first = bisect.bisect_right(keys, values["after"])
        elif condition == "sk < :after":
            last = bisect.bisect_left(keys, values["after"])
        elif condition:
            assert condition == "sk BETWEEN :first AND :last"
            first = bisect.bisect_left(keys, values["first"])
            last = bisect.bisect_right(keys, values["last"])
        limit = request["Limit"]
        if request["ScanIndexForward"]:
            read = keys[first : min(last, first + limit)]
        else:
            read = keys[max(first, last - limit) : last][::-1]
        items = [self._items[values["pk"]][key] for key in read]
        if "FilterExpression" in request:
            keeps = _compiled(request["FilterExpression"])
            # Made of our own expressions only.
            items = [i for i in items if eval(keeps, {}, {"item": i, "values": values})]
        names = request["ProjectionExpression"].split(", ")
        answer: dict[str, Any] = {
            "Items": [{n: item[n] for n in names if n in item} for item in items],
            "ScannedCount": len(read),
        }
        if len(read) == limit:
            answer["LastEvaluatedKey"] = {"pk": {"S": values["pk"]}, "sk": {"S": read[-1]}}
        return answer


@cache
def _compiled(expression: str) -> CodeType:
    text = re.sub(r"contains\((\w), :(\w+)\)", r"(values['\2'] in item['\1']['S'])", expression)
    return compile(text.replace(" AND ", " and ").replace(" OR ", " or "), "filter", "eval")
