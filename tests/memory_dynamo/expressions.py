"""DynamoDB's expressions, as far as this project uses them, compiled to functions.

Anything else raises ``NotImplementedError``: an expression that is silently misread would make
the fault suites prove the wrong thing. Grammar:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

Typed = dict[str, Any]
"""A DynamoDB value: ``{"S": "text"}``, ``{"N": "1"}``, ``{"BOOL": True}``, ``{"SS": [...]}``."""
Stored = Mapping[str, Typed]
Names = Mapping[str, str]
Values = Mapping[str, Typed]
Condition = Callable[[Stored, Names, Values], bool]
Operand = Callable[[Stored, Names, Values], Typed | None]

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[#:]?[A-Za-z_][A-Za-z0-9_]*)|(?P<sign><>|<=|>=|[=<>(),+\-]))", re.ASCII
)
_COMPARATORS = ("=", "<>", "<", "<=", ">", ">=")
_FUNCTIONS = ("attribute_exists", "attribute_not_exists", "contains", "begins_with")
_CLAUSES = ("SET", "REMOVE", "ADD")


# Of DynamoDB's reserved words those that could be names of attributes here:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
_RESERVED_WORDS = """
action add after all and any as asc at backup before begin between bucket by case check column
comment condition connection count counter current cursor data database date day default delete
desc domain else end error exists false file filter first for from function get global group
hash hidden hour in index insert interval into is item items key keys last length level limit
list local lock log map match max member method min minute mode modify month name names new next
no not null number object of old on only or order owner parameter partition path percent plan
position primary prior range raw read ref reference region release remove rename replace request
reset resource response result revoke role row rows rule schema search second session set size
source space start state status store string sum table temporary text then time timestamp to
token total transaction true truncate ttl type undo unique until update url use user users using
uuid value values view views when where while with work write year zone
"""
RESERVED = frozenset(_RESERVED_WORDS.split())


class Invalid(Exception):
    """DynamoDB would answer ``ValidationException``."""


@dataclass(frozen=True)
class Parsed:
    """An expression, the placeholders it uses, and the attributes as written."""

    condition: Condition
    names: frozenset[str]
    values: frozenset[str]
    attributes: frozenset[str]


@dataclass(frozen=True)
class Update:
    """An update expression.

    Attributes:
        sets: (attribute, its new value).
        adds: (attribute, what is added).
        attributes: what it changes, as written (placeholders unresolved).
    """

    sets: tuple[tuple[str, Operand], ...]
    removes: tuple[str, ...]
    adds: tuple[tuple[str, str], ...]
    attributes: tuple[str, ...]
    names: frozenset[str]
    values: frozenset[str]


@dataclass(frozen=True)
class KeyCondition:
    """``partition = :value``, and what the sort key must satisfy (low and high are inclusive
    unless the comparator says otherwise)."""

    partition: str
    partition_value: str
    sort: str | None
    comparator: str | None
    sort_values: tuple[str, ...]
    names: frozenset[str]
    values: frozenset[str]


@dataclass
class _Parser:
    text: str
    tokens: list[str]
    at: int = 0
    names: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, text: str) -> _Parser:
        tokens: list[str] = []
        at = 0
        stripped = text.rstrip()
        while at < len(stripped):
            found = _TOKEN.match(stripped, at)
            if found is None:
                raise NotImplementedError(f"unknown part of an expression: {stripped[at:]!r}")
            tokens.append(found["word"] or found["sign"])
            at = found.end()
        return cls(text, tokens)

    def peek(self, ahead: int = 0) -> str:
        where = self.at + ahead
        return self.tokens[where] if where < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or (expected is not None and token.upper() != expected):
            raise NotImplementedError(f"{expected or 'more'} expected in {self.text!r}")
        self.at += 1
        return token

    def is_word(self, word: str) -> bool:
        return self.peek().upper() == word

    def end(self) -> None:
        if self.peek():
            raise NotImplementedError(f"{self.peek()!r} not expected in {self.text!r}")

    def closing(self, opening: int) -> int | None:
        """Where the parenthesis that opens at a token closes."""
        depth = 0
        for at in range(opening, len(self.tokens)):
            depth += {"(": 1, ")": -1}.get(self.tokens[at], 0)
            if depth == 0:
                return at if at > opening else None
        return None

    # -- parts ---------------------------------------------------------------------------------

    def attribute(self) -> str:
        token = self.take()
        if token.startswith("#"):
            self.names.add(token)
        elif token.startswith(":") or not (token[0].isalpha() or token[0] == "_"):
            raise NotImplementedError(f"an attribute expected in {self.text!r}")
        elif token.casefold() in RESERVED and self.peek() != "(":
            raise Invalid(f"{token} is a reserved word")
        self.attributes.add(token)
        return token

    def value(self) -> str:
        token = self.take()
        if not token.startswith(":"):
            raise NotImplementedError(f"a value expected in {self.text!r}")
        self.values.add(token)
        return token

    def operand(self) -> Operand:
        if self.peek().startswith(":"):
            value = self.value()
            return lambda _, __, values: values[value]
        name = self.attribute()
        return lambda item, names, _: item.get(names[name] if name[0] == "#" else name)

    # -- conditions ----------------------------------------------------------------------------

    def disjunction(self) -> Condition:
        found = self.conjunction()
        while self.is_word("OR"):
            self.take()
            found = _either(found, self.conjunction())
        return found

    def conjunction(self) -> Condition:
        found = self.negation()
        while self.is_word("AND"):
            self.take()
            found = _both(found, self.negation())
        return found

    def negation(self) -> Condition:
        if self.is_word("NOT"):
            self.take()
            inner = self.negation()
            return lambda item, names, values: not inner(item, names, values)
        return self.primary()

    def primary(self) -> Condition:
        if self.peek() == "(":
            self.take()
            wraps = self.closing(self.at)
            found = self.disjunction()
            if wraps == self.at - 1:
                raise Invalid("the expression has redundant parentheses")
            self.take(")")
            return found
        if self.peek() in _FUNCTIONS and self.peek(1) == "(":
            return self.function()
        left = self.operand()
        if self.is_word("BETWEEN"):
            self.take()
            low = self.operand()
            self.take("AND")
            high = self.operand()
            return lambda i, n, v: (
                _compare(">=", left(i, n, v), low(i, n, v))
                and _compare("<=", left(i, n, v), high(i, n, v))
            )
        sign = self.take()
        if sign not in _COMPARATORS:
            raise NotImplementedError(f"unknown comparison {sign!r} in {self.text!r}")
        right = self.operand()
        return lambda i, n, v: _compare(sign, left(i, n, v), right(i, n, v))

    def function(self) -> Condition:
        function = self.take()
        self.take("(")
        subject = self.operand()
        if function in ("attribute_exists", "attribute_not_exists"):
            self.take(")")
            wanted = function == "attribute_exists"
            return lambda i, n, v: (subject(i, n, v) is not None) is wanted
        self.take(",")
        argument = self.operand()
        self.take(")")
        test = _contains if function == "contains" else _begins_with
        return lambda i, n, v: test(subject(i, n, v), argument(i, n, v))


def _either(one: Condition, other: Condition) -> Condition:
    return lambda i, n, v: one(i, n, v) or other(i, n, v)


def _both(one: Condition, other: Condition) -> Condition:
    return lambda i, n, v: one(i, n, v) and other(i, n, v)


def plain(value: Typed) -> tuple[str, Any]:
    """A value's type and the value in a form that compares as DynamoDB does."""
    ((kind, raw),) = value.items()
    if kind == "N":
        return kind, int(raw)
    if kind == "SS":
        return kind, frozenset(raw)
    if kind in ("S", "BOOL"):
        return kind, raw
    raise NotImplementedError(f"values of type {kind}")


def _compare(sign: str, left: Typed | None, right: Typed | None) -> bool:
    if left is None or right is None:
        # An attribute that isn't there equals nothing, and differs from everything.
        return sign == "<>" and (left is not None or right is not None)
    kind, one = plain(left)
    other_kind, other = plain(right)
    if sign == "=":
        return kind == other_kind and bool(one == other)
    if sign == "<>":
        return kind != other_kind or bool(one != other)
    if kind != other_kind:
        return False
    if kind not in ("S", "N"):
        raise Invalid(f"operator {sign} with operand type {kind}")
    if sign == "<":
        return bool(one < other)
    if sign == "<=":
        return bool(one <= other)
    if sign == ">":
        return bool(one > other)
    return bool(one >= other)


def _contains(subject: Typed | None, part: Typed | None) -> bool:
    if subject is None or part is None:
        return False
    kind, whole = plain(subject)
    part_kind, wanted = plain(part)
    return kind in ("S", "SS") and part_kind == "S" and wanted in whole


def _begins_with(subject: Typed | None, part: Typed | None) -> bool:
    if subject is None or part is None:
        return False
    kind, whole = plain(subject)
    part_kind, wanted = plain(part)
    return kind == "S" and part_kind == "S" and whole.startswith(wanted)


@lru_cache(maxsize=1024)
def condition(text: str) -> Parsed:
    """A condition or filter expression."""
    parser = _Parser.of(text)
    found = parser.disjunction()
    parser.end()
    return Parsed(
        found,
        frozenset(parser.names),
        frozenset(parser.values),
        frozenset(parser.attributes),
    )


@lru_cache(maxsize=1024)
def projection(text: str) -> tuple[str, ...]:
    """The attributes a projection expression names."""
    parser = _Parser.of(text)
    found = [parser.attribute()]
    while parser.peek() == ",":
        parser.take()
        found.append(parser.attribute())
    parser.end()
    return tuple(found)


@lru_cache(maxsize=1024)
def key_condition(text: str) -> KeyCondition:
    """A key condition expression."""
    parser = _Parser.of(text)
    partition = parser.attribute()
    parser.take("=")
    partition_value = parser.value()
    sort = comparator = None
    sort_values: tuple[str, ...] = ()
    if parser.is_word("AND"):
        parser.take()
        if parser.peek() == "begins_with":
            parser.take()
            parser.take("(")
            sort = parser.attribute()
            parser.take(",")
            comparator, sort_values = "begins_with", (parser.value(),)
            parser.take(")")
        else:
            sort = parser.attribute()
            comparator = parser.take().upper()
            if comparator == "BETWEEN":
                low = parser.value()
                parser.take("AND")
                sort_values = (low, parser.value())
            elif comparator in ("=", "<", "<=", ">", ">="):
                sort_values = (parser.value(),)
            else:
                raise NotImplementedError(f"{comparator!r} on a sort key")
    parser.end()
    return KeyCondition(
        partition,
        partition_value,
        sort,
        comparator,
        sort_values,
        frozenset(parser.names),
        frozenset(parser.values),
    )


@lru_cache(maxsize=1024)
def update(text: str) -> Update:
    """An update expression."""
    parser = _Parser.of(text)
    sets: list[tuple[str, Operand]] = []
    removes: list[str] = []
    adds: list[tuple[str, str]] = []
    seen: set[str] = set()
    while parser.peek():
        clause = parser.take().upper()
        if clause not in _CLAUSES or clause in seen:
            raise NotImplementedError(f"{clause!r} in {text!r}")
        seen.add(clause)
        while True:
            attribute = parser.attribute()
            if clause == "SET":
                parser.take("=")
                sets.append((attribute, _set_value(parser)))
            elif clause == "REMOVE":
                removes.append(attribute)
            else:
                adds.append((attribute, parser.value()))
            if parser.peek() != ",":
                break
            parser.take()
    attributes = [name for name, _ in sets] + removes + [name for name, _ in adds]
    return Update(
        tuple(sets),
        tuple(removes),
        tuple(adds),
        tuple(attributes),
        frozenset(parser.names),
        frozenset(parser.values),
    )


def _set_value(parser: _Parser) -> Operand:
    left = _set_operand(parser)
    sign = parser.peek()
    if sign not in ("+", "-"):
        return left
    parser.take()
    right = _set_operand(parser)
    factor = 1 if sign == "+" else -1
    return lambda i, n, v: _sum(left(i, n, v), right(i, n, v), factor)


def _set_operand(parser: _Parser) -> Operand:
    if parser.peek() != "if_not_exists":
        return parser.operand()
    parser.take()
    parser.take("(")
    subject = parser.operand()
    parser.take(",")
    otherwise = parser.operand()
    parser.take(")")
    return lambda i, n, v: found if (found := subject(i, n, v)) is not None else otherwise(i, n, v)


def _sum(left: Typed | None, right: Typed | None, factor: int) -> Typed | None:
    if left is None or right is None:
        return None
    if "N" not in left or "N" not in right:
        raise Invalid("an operand in the update expression has an incorrect data type")
    return {"N": str(int(left["N"]) + factor * int(right["N"]))}
