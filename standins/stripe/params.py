"""Parameters of calls: form fields as a tree, and their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from standins.stripe.errors import invalid
from standins.stripe.shapes import Object


def nested(pairs: Iterable[tuple[str, str]]) -> Object:
    """Form fields as a tree: ``a[b]=1&c[0]=x&c[]=y`` gives ``{"a": {"b": "1"}, "c": [..]}``."""
    tree: Object = {}
    for name, value in pairs:
        keys = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        node: Any = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise invalid(f"Invalid parameter {name}.", param=name)
        last = keys[-1] if keys else name
        node[last or str(len(node))] = value
    result = _lists(tree)
    assert isinstance(result, dict)
    return result


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}


def only(params: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Refuse parameters that the route does not know."""
    for name in params:
        if name not in allowed:
            raise invalid(
                f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )


def integer(value: Any, param: str) -> int:
    """A parameter that is a whole number."""
    try:
        return int(value)
    except (TypeError, ValueError):
        raise invalid(
            f"Invalid integer: {value}", code="parameter_invalid_integer", param=param
        ) from None


def flag(value: Any, param: str) -> bool:
    """A parameter that is true or false."""
    if value in ("true", "1"):
        return True
    if value in ("false", "0"):
        return False
    raise invalid(f"Invalid boolean: {value}", param=param)


def hash_of(params: Mapping[str, Any], name: str) -> Object:
    """A parameter with fields of its own; empty where it is not given."""
    value = params.get(name) or {}
    if not isinstance(value, dict):
        raise invalid("Invalid hash", param=name)
    return value


_RANGES: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}


def in_range(value: int | None, wanted: Any, param: str) -> bool:
    """Whether a time is the wanted one, or within the wanted bounds (``gt``, ``lte``, …)."""
    if value is None:
        return False
    if not isinstance(wanted, dict):
        return value == integer(wanted, param)
    only(wanted, _RANGES)
    return all(_RANGES[k](value, integer(v, f"{param}[{k}]")) for k, v in wanted.items())
