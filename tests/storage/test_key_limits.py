"""Every key that the code builds is one that DynamoDB takes, and an unchecked text is in none."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.domain.customer import CustomerRow
from shared.domain.key_parts import MOST_PARTITION_KEY_BYTES, MOST_SORT_KEY_BYTES, NotAKey
from shared.domain.search import MAX_SEARCH, entry_of, make_query
from shared.storage import keys
from shared.storage.customer_index import CustomerIndex
from shared.storage.customers import _rows
from shared.storage.keys import Key
from shared.storage.parked import Parked, ParkedEvent
from shared.storage.records import Records
from shared.tenant import Tenant
from tests.dynamo import Tables, write_all

LONGEST_STORE = Tenant("s" * 64)
LONGEST_IDS = ["i" * 255, "é" * 240, "😀" * 120]
UNUSABLE: list[Any] = ["x" * 3000, "", "a\0b", "\ud800", None, ["x"]]
BUILDERS = [
    getattr(keys, name)
    for name in dir(keys)
    if name.endswith(("_key", "_key_without_mode")) and name != "due_key"
]


def built(build: Any, id_: Any) -> Key:
    """A key with the same id in every place that takes one."""
    given: dict[str, Any] = {"tenant": LONGEST_STORE, "livemode": False, "created_at": 1}
    return build(  # type: ignore[no-any-return]
        **{name: given.get(name, id_) for name in inspect.signature(build).parameters}
    )


def assert_taken(pk: str, sk: str) -> None:
    assert 0 < len(pk.encode()) <= MOST_PARTITION_KEY_BYTES
    assert 0 < len(sk.encode()) <= MOST_SORT_KEY_BYTES


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_a_key_of_the_longest_ids_is_taken(build: Any) -> None:
    for id_ in LONGEST_IDS:
        key = built(build, id_)
        assert_taken(key.pk, key.sk)
        assert_taken(key.ref or key.pk, f"LINK#{key.sk}")


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_a_key_is_not_built_of_what_is_no_id(build: Any) -> None:
    if build is keys.retry_key:
        return  # of no id
    for value in UNUSABLE:
        with pytest.raises(NotAKey):
            built(build, value)


@pytest.mark.parametrize(
    "method",
    [
        method
        for name, method in inspect.getmembers(Tenant, inspect.isfunction)
        if name.endswith("_pk") or name == "ref"
    ],
    ids=lambda method: method.__name__,
)
def test_a_partition_key_is_not_built_of_what_is_no_id(method: Any) -> None:
    takes = list(inspect.signature(inspect.unwrap(method)).parameters)[1:]
    for value in UNUSABLE if takes else ():
        if method.__name__ == "index_pk" and value in ("", "a\0b", None, ["x"]):
            continue  # lists of the index are named by the rules of the search
        with pytest.raises(NotAKey):
            method(LONGEST_STORE, *(value for _ in takes))


ROW = CustomerRow(
    customer_id="cust_" + "a" * 24,
    grouptizer_id="\ufdfa" * 200,
    name="\ufdfa" * 500,
    email="\U0001d165" * 250 + "@" + "\ufdfa" * 200,
    avatar_url="é" * 5000,
    payment_providers=("stripe", "stripe_test"),
    used_access_code=True,
    customer_since=1_790_000_000,
    product_ids=tuple(LONGEST_IDS),
    accounts=("cus_" + "😀" * 110, f"store:{'é' * 230}"),
)


@pytest.mark.parametrize("char", ["\ufdfa", "\U0001d165", "😀", "\u0390", "ß", "e\u0301", "\u3300"])
def test_the_rows_of_a_customer_are_taken_however_long_their_names_become(
    tables: Tables, char: str
) -> None:
    row = replace(
        ROW, name=char * 500, email=f"{char * 200}@{char * 200}", grouptizer_id=char * 250
    )
    rows = _rows(LONGEST_STORE, entry_of(row))
    for item in rows.values():
        assert_taken(item["pk"], item["sk"])
    write_all(tables.index, puts=list(rows.values()))


@pytest.mark.parametrize("char", ["\ufdfa", "\U0001d165", "😀", "\u0390", "ß", "\u3300", "a@", "@"])
@pytest.mark.parametrize("times", [1, 3, 50, 254, 255, MAX_SEARCH])
def test_a_searched_word_is_asked_for_however_long_it_becomes(
    tables: Tables, char: str, times: int
) -> None:
    text = (char * times)[:MAX_SEARCH]
    row = replace(ROW, name=text, email=None, grouptizer_id=None)
    write_all(tables.index, puts=list(_rows(LONGEST_STORE, entry_of(row)).values()))
    index = CustomerIndex(tables.index, Records(tables.records))
    for sort in ("newest", "oldest"):
        page = index.page(LONGEST_STORE, make_query(search=text, sort=sort), 10)
        assert len(page.rows) <= 1
    if times == 1 and char not in "@a@":
        assert len(index.page(LONGEST_STORE, make_query(search=text), 10).rows) == 1


def test_a_word_that_is_longer_than_any_name_finds_nobody_and_asks_nothing(tables: Tables) -> None:
    index = CustomerIndex(tables.index, Records(tables.records))
    page = index.page(LONGEST_STORE, make_query(search="\ufdfa" * 15 + " a"), 10)
    assert (page.rows, page.position) == ((), None)
    query = make_query(search="\u3300" * 200)
    page = index.page(LONGEST_STORE, query, 10)
    assert query.hopeless
    assert (page.rows, page.position, page.calls) == ((), None, 0)


def test_the_longest_filters_are_asked_for(tables: Tables) -> None:
    index = CustomerIndex(tables.index, Records(tables.records))
    products = [f"{number:02}" + "😀" * 100 for number in range(25)]
    words = " ".join(f"{chr(97 + number % 26)}{number % 10}" for number in range(66))
    query = make_query(
        search=words[:MAX_SEARCH],
        products=products,
        providers=["stripe", "stripe_test"],
        used_access_code="true",
    )
    assert index.page(LONGEST_STORE, query, 100).rows == ()


def test_a_parked_event_is_kept_and_removed_by_the_longest_id(tables: Tables) -> None:
    parked = Parked(tables.records)
    event = ParkedEvent("😀" * 120, 1, "stripe", "odd", b"{}")
    parked.park(LONGEST_STORE, event)
    assert [one.event_id for one in parked.all(LONGEST_STORE)] == [event.event_id]
    parked.remove(LONGEST_STORE, event)
    assert list(parked.all(LONGEST_STORE)) == []


# -- nothing else builds keys ----------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]
CHECKS = {"part", "moment", "sort_key", "partition_key", "_mode"}


def key_texts(path: Path) -> Iterator[ast.JoinedStr]:
    """f-strings that begin or go on with a word in capitals and ``#``, as the keys do."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr) and any(
            isinstance(piece, ast.Constant) and str(piece.value).rpartition("#")[0].isupper()
            for piece in node.values
        ):
            yield node


def test_whatever_builds_a_key_checks_its_parts() -> None:
    unchecked = []
    for path in sorted((ROOT / "shared").rglob("*.py")):
        for text in key_texts(path):
            for piece in text.values:
                if not isinstance(piece, ast.FormattedValue):
                    continue
                told = ast.unparse(piece.value)
                called = isinstance(piece.value, ast.Call) and ast.unparse(piece.value.func)
                if called not in CHECKS and told not in KNOWN:
                    unchecked.append(f"{path.relative_to(ROOT)}:{text.lineno} {told}")
    assert unchecked == []


# Ids of stores, which only a Tenant has; our own words; and keys that were checked before.
KNOWN = {
    "self.store_id",
    "tenant.store_id",
    "NO_STORE if tenant is None else tenant.store_id",
    "mode",
    "after",
    "after.key.sk",
    "merged.key.sk",
}
