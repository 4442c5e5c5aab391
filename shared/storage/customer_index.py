"""The customer list's pages, read from the index alone.

Every list of the index is sorted the same way, and each of its rows can be told to match or not by
itself. So one list that holds every match (or several lists that do together) is enough for a
page: its *driver*. Without search text that is the facet list, and no row is read in vain. With
search text there is a choice: any three characters of a word, the beginning of a short one, the
facet list. The driver that is sparsest costs least, and which one that is shows itself when all
begin at the same place: whichever gets furthest with the same number of rows. Nothing read for
this is lost, for no match lies between where they began and where it is now.

A page evaluates at most :data:`MAX_EVALUATED` rows. Past it, it ends early and has a cursor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.domain.search import ListQuery, Term
from shared.storage.customers import IDS
from shared.storage.dynamo import Item, Table, marshal
from shared.storage.keys import profile_key
from shared.storage.records import Records
from shared.tenant import Tenant, account_of

MAX_EVALUATED = 3000
# A word that more ids than this begin with is looked for in the other lists.
MAX_IDS = 200
# And an address that ends like more than these.
MAX_ADDRESSES = 60
# Lists that are tried against each other, and how many rows each is given.
CONTENDERS = 6
PROBE_ROWS = 6
CHUNK = (8, 500)
# DynamoDB takes at most 300 operators and 4 KB in an expression; further words are compared here.
TERMS_IN_FILTER = 30
WINNER_SECONDS = 60.0
MAX_WINNERS = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list.

    Attributes:
        rows: the rows as JSON texts.
        position: the sort key to go on after; ``None`` at the end. A page may be short and still
            have one.
        evaluated: rows that were read from the index.
        calls: calls of the database.
    """

    rows: tuple[str, ...]
    position: str | None
    evaluated: int
    calls: int


class CustomerIndex:
    """Pages of the customer list."""

    def __init__(
        self,
        index_table: Table,
        records: Records,
        monotonic: Callable[[], float] = time.monotonic,
        max_evaluated: int = MAX_EVALUATED,
    ) -> None:
        self._table = index_table
        self._records = records
        self._max_evaluated = max_evaluated
        self._winners = _Winners(monotonic)

    def page(self, tenant: Tenant, query: ListQuery, limit: int, after: str | None = None) -> Page:
        """A page of the customers that match.

        Args:
            after: the ``position`` of the page before.
        """
        search = _Search(self._table, tenant, query, after, self._max_evaluated)
        if query.hopeless:
            search.frontier = _END
            return search.page(limit)
        if query.transaction_id is not None:
            self._find_by_transaction(search, tenant, query.transaction_id)
            return search.page(limit)
        if any(map(search.take_by_address, search.terms)):
            search.frontier = _END
            return search.page(limit)
        drivers = search.drivers()
        contest = (tenant.store_id, query.sort, *(driver.name for driver in drivers))
        winner = self._winners.get(contest)
        drivers.sort(key=lambda driver: driver.name != winner)
        winner = search.run(drivers, limit, race=winner is None)
        if winner is not None:
            self._winners.put(contest, winner)
        return search.page(limit)

    def _find_by_transaction(self, search: _Search, tenant: Tenant, transaction_id: str) -> None:
        found = self._records.find(tenant, transaction_id)
        search.calls += 1
        accounts = {account_of(item["pk"]) for item in found if item["sk"].startswith("TXN#")}
        for account in sorted(accounts):
            profile = self._records.get(profile_key(tenant, account))
            search.calls += 1
            customer_id = None if profile is None else profile.own.get("customer_id")
            if customer_id is not None:
                search.take_by_id(customer_id, f"{customer_id}\x1e")
        search.frontier = _END


# -- how far a list was read ---------------------------------------------------------------------

# A position is a sort key; these come before and after all of them, whatever the direction.
_START = ""
_END = "\U0010ffff"


class _Search:
    """One page's work: what was found, how far, and what it cost.

    Attributes:
        found: sort key → row, of every match seen so far.
        frontier: up to here (in the list's direction) nothing is missing from ``found``.
    """

    def __init__(
        self, table: Table, tenant: Tenant, query: ListQuery, after: str | None, budget: int
    ) -> None:
        self.table = table
        self.tenant = tenant
        self.query = query
        self.forward = query.sort == "oldest"
        self.after = _START if after is None else after
        self.frontier = self.after
        self.found: dict[str, str] = {}
        self.budget = budget
        self.evaluated = 0
        self.calls = 0
        self.terms = query.terms
        self.filter = _Filter(query, self.terms)

    # -- positions ------------------------------------------------------------------------------

    def further(self, one: str, other: str) -> bool:
        """Whether position ``one`` lies beyond ``other``."""
        if _END in (one, other) or _START in (one, other):
            return one != other and (one == _END or other == _START)
        return one > other if self.forward else one < other

    def furthest(self, one: str, other: str) -> str:
        return one if self.further(one, other) else other

    def complete(self) -> list[str]:
        """Sort keys of the matches before the frontier, in the list's order."""
        keys = [key for key in self.found if not self.further(key, self.frontier)]
        return sorted(keys, reverse=not self.forward)

    def page(self, limit: int) -> Page:
        keys = self.complete()
        position = None if self.frontier == _END else self.frontier
        if len(keys) > limit:
            position = keys[limit - 1]
        rows = tuple(self.found[key] for key in keys[:limit])
        return Page(rows, position, self.evaluated, self.calls)

    # -- reading --------------------------------------------------------------------------------

    @property
    def left(self) -> int:
        """How many rows may still be evaluated."""
        return self.budget - self.evaluated

    def read(self, name: str, after: str, rows: int) -> tuple[int, str]:
        """Evaluate some rows of a list; how many matched, and how far it was read."""
        condition, values = "pk = :pk", {"pk": self.tenant.index_pk(name)}
        if after != _START:
            condition += f" AND sk {'>' if self.forward else '<'} :after"
            values["after"] = after
        items, last = self._query(condition, values, rows)
        matches = 0
        for item in items:
            if self.filter.confirms(item):
                self.found[item["sk"]] = item["j"]
                matches += 1
        return matches, _END if last is None else last["sk"]["S"]

    def take_by_address(self, term: Term) -> bool:
        """Take the matches of an address, if it is one; whether nobody else can match the word.

        Who has the word as an id stands in another part of the list of ids.
        """
        if term.address is None:
            return False
        last = term.address + _END
        return self.take_by_id(term.address, last, MAX_ADDRESSES) and self.take_by_id(
            term.first_id, term.last_id
        )

    def take_by_id(self, first: str, last: str, rows: int = MAX_IDS) -> bool:
        """Take the matches of a part of the list of ids; whether that was all of them."""
        condition = "pk = :pk AND sk BETWEEN :first AND :last"
        values = {"pk": self.tenant.index_pk(IDS), "first": first, "last": last}
        # A quarter of what is left: however many words, enough stays for the page itself.
        items, more = self._query(condition, values, min(rows, self.left // 4), "s")
        if more is not None:
            return False
        for item in items:
            if self.further(item["s"], self.after) and self.filter.confirms(item):
                self.found[item["s"]] = item["j"]
        return True

    def _query(
        self, condition: str, values: dict[str, str], rows: int, *more: str
    ) -> tuple[list[Item], dict[str, Any] | None]:
        request: dict[str, Any] = {
            "TableName": self.table.name,
            "ConsistentRead": True,
            "KeyConditionExpression": condition,
            "ProjectionExpression": ", ".join(("sk", "j", *more, *self.filter.attributes)),
            "ScanIndexForward": self.forward,
            "Limit": max(1, min(rows, self.left)),
        }
        values = {**values, **self.filter.values}
        request["ExpressionAttributeValues"] = marshal({f":{n}": v for n, v in values.items()})
        if self.filter.expression:
            request["FilterExpression"] = self.filter.expression
        answer = self.table.client.query(**request)
        self.calls += 1
        self.evaluated += answer["ScannedCount"]
        items = [{name: value["S"] for name, value in raw.items()} for raw in answer["Items"]]
        return items, answer.get("LastEvaluatedKey")

    # -- drivers --------------------------------------------------------------------------------

    def drivers(self) -> list[_Driver]:
        """What could drive the page, the likely sparsest first."""
        lists = [
            _Driver(self, (name,), word)
            for word in map(_Word, self.terms)
            for name in word.term.lists[: CONTENDERS - 1]
        ]
        facets = _Driver(self, self.query.facet_lists)
        if not lists:
            return [facets]
        # Nobody stands in a word's list and not in the list of all.
        return [*lists[:CONTENDERS], facets]

    def run(self, drivers: list[_Driver], limit: int, *, race: bool) -> str | None:
        """Read until the page is full, the list ends or the budget is spent.

        Returns:
            The name of the driver that won the race, where there was one.
        """
        want = limit + 1
        candidates = iter(drivers)
        driver = next(candidates)
        while not driver.usable():
            driver = next(candidates)
        others = [other for other in candidates if race and other.worth_trying()]
        winner = None
        chunk = want
        while self.left > 0:
            driver.advance(chunk)
            self.frontier = self.furthest(driver.frontier, self.frontier)
            missing = want - len(self.complete())
            if missing <= 0 or self.frontier == _END:
                break
            if others and driver.rows_for(missing) > 2 * PROBE_ROWS * len(others):
                driver = self._race([driver, *others])
                winner, others = driver.name, []
                missing = want - len(self.complete())
                if missing <= 0 or self.frontier == _END:
                    break
            if driver.started:
                chunk = min(max(CHUNK[0], int(driver.rows_for(missing) * 1.1)), CHUNK[1])
        return winner

    def _race(self, drivers: list[_Driver]) -> _Driver:
        """Let all go on from the frontier with the same number of rows; who gets furthest."""
        start = self.frontier
        best = drivers[0]
        for driver in drivers:
            if self.left <= 0:
                break
            if driver.usable():
                driver.go_to(start)
                driver.probe()
                if self.further(driver.frontier, best.frontier):
                    best = driver
        self.frontier = self.furthest(best.frontier, self.frontier)
        return best


class _Word:
    """A word of the search, with what it finds among the ids.

    A word's list holds whoever has it in the name or address; who has it as an id comes beside.
    """

    def __init__(self, term: Term) -> None:
        self.term = term
        self._few: bool | None = None

    def taken(self, search: _Search) -> bool:
        """Whether everybody with such an id is among the found; ``False``: too many."""
        if self._few is None:
            self._few = search.take_by_id(self.term.first_id, self.term.last_id)
        return self._few


@dataclass(slots=True)
class _List:
    """One list, read up to ``at``."""

    name: str
    at: str


@dataclass(slots=True)
class _Driver:
    """Lists that together hold every match."""

    search: _Search
    names: tuple[str, ...]
    word: _Word | None = None
    lists: list[_List] = field(init=False)
    unread: int = field(init=False)
    evaluated: int = 0
    matches: int = 0

    def __post_init__(self) -> None:
        self.go_to(self.search.after)

    @property
    def name(self) -> str:
        return " ".join(self.names)

    @property
    def started(self) -> bool:
        """Whether every list was read from at least once."""
        return self.unread == 0

    def go_to(self, position: str) -> None:
        self.lists = [_List(name, position) for name in self.names]
        self.unread = len(self.names)

    def usable(self) -> bool:
        """Whether it holds every match: also those that only their ids tell."""
        return self.word is None or self.word.taken(self.search)

    def worth_trying(self) -> bool:
        if self.word is not None:
            return True
        return self.search.query.has_facets and len(self.names) <= CONTENDERS

    @property
    def frontier(self) -> str:
        """How far all of its lists were read."""
        return self._least().at

    def _least(self) -> _List:
        if self.unread:
            return self.lists[len(self.lists) - self.unread]
        least = self.lists[0]
        for other in self.lists[1:]:
            if self.search.further(least.at, other.at):
                least = other
        return least

    def advance(self, rows: int) -> None:
        """Read on in the list that is furthest behind."""
        least = self._least()
        before = self.search.evaluated
        # However many lists there are, each gets its turn within the budget.
        rows = min(rows, max(1, self.search.budget // (2 * len(self.lists))))
        matches, least.at = self.search.read(least.name, least.at, rows)
        self.evaluated += self.search.evaluated - before
        self.matches += matches
        self.unread = max(0, self.unread - 1)

    def probe(self) -> None:
        """Read a few rows from each list."""
        while self.unread and self.search.left > 0:
            self.advance(PROBE_ROWS)

    def rows_for(self, matches: int) -> float:
        """How many rows it should take to find so many more matches."""
        return matches * (self.evaluated + 1) / (self.matches + 0.5)


class _Filter:
    """The query as a condition on each row."""

    def __init__(self, query: ListQuery, terms: tuple[Term, ...]) -> None:
        self.values: dict[str, str] = {}
        self._late = terms[TERMS_IN_FILTER:]
        parts = [
            " OR ".join(f"contains(f, :{self._value('f', text)})" for text in group)
            for group in query.facet_conditions
        ]
        for term in terms[:TERMS_IN_FILTER]:
            texts = [f"contains(t, :{self._value('t', text)})" for text in term.all_in_text]
            parts.append(f"{' AND '.join(texts)} OR contains(i, :{self._value('i', term.in_ids)})")
        self.expression = " AND ".join(f"({part})" for part in parts)
        self.attributes = ("t", "i") if self._late else ()

    def _value(self, kind: str, text: str) -> str:
        name = f"{kind}{len(self.values)}"
        self.values[name] = text
        return name

    def confirms(self, item: Item) -> bool:
        """Whether a row that DynamoDB let through also has the words it wasn't told of."""
        return all(term.matches(item["t"], item["i"]) for term in self._late)


class _Winners:
    """Which driver won, for a minute: the next page needn't find out again."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._kept: dict[tuple[str, ...], tuple[str, float]] = {}

    def get(self, contest: tuple[str, ...]) -> str | None:
        winner, until = self._kept.get(contest, ("", 0.0))
        return winner if self._monotonic() < until else None

    def put(self, contest: tuple[str, ...], winner: str) -> None:
        if len(self._kept) >= MAX_WINNERS:
            self._kept.clear()
        self._kept[contest] = (winner, self._monotonic() + WINNER_SECONDS)
