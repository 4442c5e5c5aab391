"""Queries of Search: the language, the fields, and whether an object matches.

As https://docs.stripe.com/search#search-query-language tells.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from standins.stripe.errors import StripeError, invalid
from standins.stripe.shapes import Object, clone

_TOKEN, _NUMERIC = "token", "numeric"

FIELDS: Mapping[str, Mapping[str, str]] = {
    "payment_intent": {
        "amount": _NUMERIC,
        "created": _NUMERIC,
        "currency": _TOKEN,
        "customer": _TOKEN,
        "metadata": _TOKEN,
        "status": _TOKEN,
    },
    "subscription": {"created": _NUMERIC, "metadata": _TOKEN, "status": _TOKEN},
}
"""What can be searched for, by kind of object."""

_QUOTED = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_CLAUSE = re.compile(
    rf"(?P<negated>-?)(?P<field>[A-Za-z_][\w.]*)(?:\[(?P<key>{_QUOTED})\])?"
    rf"(?P<operator>:|~|>=|<=|>|<)(?P<value>{_QUOTED}|-?\d+(?!\w)|null\b)",
    re.IGNORECASE | re.DOTALL,
)
_JOINT = re.compile(r"\s+(?:(and|or)\s+)?", re.IGNORECASE)

_COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    ":": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class _Clause:
    """``key``: of the metadata. ``value``: ``None`` matches where there is nothing."""

    negated: bool
    field: str
    key: str | None
    compare: Callable[[int, int], bool] | None
    value: str | None

    def matches(self, fields: Mapping[str, Any]) -> bool:
        own = fields[self.field] if self.key is None else fields["metadata"].get(self.key)
        return self._is(own) != self.negated

    def _is(self, own: Any) -> bool:
        if own is None or self.value is None:
            return own is self.value
        if self.compare is not None:
            return self.compare(own, int(self.value))
        return str(own).casefold() == self.value.casefold()


@dataclass(frozen=True)
class Query:
    """Clauses of which all must match, or any (``one_is_enough``)."""

    clauses: tuple[_Clause, ...]
    one_is_enough: bool

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Whether an object with these fields (see :func:`searchable`) is found."""
        found = (clause.matches(fields) for clause in self.clauses)
        return any(found) if self.one_is_enough else all(found)


def searchable(target: Mapping[str, Any]) -> Object | None:
    """The fields of an object that Search looks at; ``None``: its kind is not searched for."""
    names = FIELDS.get(target["object"])
    return None if names is None else {name: clone(target[name]) for name in names}


def parsed(text: str, kind: str) -> Query:
    """The query a text means.

    Raises ``StripeError`` (400): it cannot be read, or asks a field of this kind of object that
    cannot be searched for, or not in this way.
    """
    clauses: list[_Clause] = []
    joints: set[str] = set()
    text, at = text.strip(), 0
    while True:
        match = _CLAUSE.match(text, at)
        if match is None:
            raise _unreadable()
        clauses.append(_clause(match, kind))
        at = match.end()
        if at == len(text):
            break
        joint = _JOINT.match(text, at)
        if joint is None:
            raise _unreadable()
        joints.add((joint[1] or "and").lower())
        at = joint.end()
    if len(joints) > 1:  # there are no brackets either that would say what comes first
        raise _unreadable()
    return Query(tuple(clauses), joints == {"or"})


def _clause(match: re.Match[str], kind: str) -> _Clause:
    field, key, sign = match["field"], match["key"], match["operator"]
    type_ = FIELDS[kind].get(field)
    if type_ is None:
        resource = f"{kind}s"
        raise invalid(
            f"Field `{field}` is an unsupported search field for resource `{resource}`. See "
            f"http://stripe.com/docs/search#query-fields-for-{resource.replace('_', '-')} for a "
            "list of supported fields."
        )
    if (key is not None) != (field == "metadata"):
        raise _unreadable()
    value = _unquoted(match["value"])
    compare = _COMPARISONS.get(sign) if type_ == _NUMERIC else None
    if sign != ":" and (compare is None or value is None):
        raise invalid(f"Operator `{sign}` is not supported for field `{field}` and this value.")
    if compare is not None and value is not None and not re.fullmatch(r"-?\d+", value):
        raise invalid(f"Field `{field}` is numeric, and `{value}` is not a number.")
    return _Clause(
        negated=match["negated"] == "-",
        field=field,
        key=None if key is None else _unquoted(key),
        compare=compare,
        value=value,
    )


def _unquoted(text: str) -> str | None:
    if text.lower() == "null":
        return None
    if text[0] not in "\"'":
        return text
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _unreadable() -> StripeError:
    return invalid(
        'We were unable to parse your search query. Try using the format `metadata["key"]:"value"` '
        'to query for metadata or key:"value" to query for other fields.'
    )
