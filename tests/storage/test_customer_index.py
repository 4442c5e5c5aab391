"""Pages of the list: against brute force, while customers come, change and go."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.domain.customer import CustomerRow, customer_id_of
from shared.domain.search import ListQuery, entry_of, make_query, normalize
from shared.storage import customer_index
from shared.storage.customer_index import CustomerIndex, Page
from shared.storage.customers import Customers, _rows
from shared.storage.dynamo import Table
from shared.storage.records import Records
from shared.tenant import Tenant
from tests.dynamo import Tables, write_all
from tests.storage import people
from tests.storage.index_in_memory import IndexInMemory

DEMO = Tenant("demo")
OTHER = Tenant("other")

FIRST = ["Renée", "Anna", "Łukasz", "José", "Bo", "Mei", "Zoë", "Ann-Marie", "Ёлка", "محمد", "田中"]
LAST = ["Smith", "O'Neil", "Kowalczyk", "Müller", "Annand", "García", "太郎", "🦊", "Re", "علي", ""]
DOMAINS = ["gmail.com", "acme.io", "yahoo.com", "example.org", "renee.fr"]
PRODUCTS = ["prod_1", "prod_2", "prod_3", "prod_rare"]


@dataclass(frozen=True)
class Person:
    """A customer as the brute force knows it."""

    row: CustomerRow

    @property
    def key(self) -> tuple[int, str]:
        return (self.row.customer_since, self.row.customer_id)

    def matches(self, asked: dict[str, Any]) -> bool:
        row = self.row
        if asked["products"] and not set(asked["products"]) & set(row.product_ids):
            return False
        if asked["providers"] and not set(asked["providers"]) & set(row.payment_providers):
            return False
        if asked["used_access_code"] not in (None, str(row.used_access_code).lower()):
            return False
        return all(self._has(word) for word in normalize(asked["search"] or "").split())

    def _has(self, word: str) -> bool:
        texts = [normalize(self.row.name or ""), normalize(self.row.email or "")]
        known = [self.row.customer_id, self.row.grouptizer_id or "", *self.row.accounts]
        ids = [id_.casefold() for id_ in known if id_]
        if word in ids:
            return True
        if len(word) < 3:
            # In a run of Chinese characters a word begins at each of them.
            runs = [w for text in texts for w in re.findall(r"[^\W_]+|🦊", text)]
            words = [w[at:] for w in runs for at in range(len(w)) if at == 0 or w[at] >= "\u4e00"]
            return all(
                any(w.startswith(part) for w in words) for part in re.findall(r"[^\W_]+|🦊", word)
            )
        by_id = not ("cust_".startswith(word) or "cus_".startswith(word))
        return any(word in text for text in texts) or (
            by_id and any(id_.startswith(word) for id_ in ids)
        )


def make_person(chance: random.Random, number: int, tenant: Tenant = DEMO) -> Person:
    first, last = chance.choice(FIRST), chance.choice(LAST)
    local = normalize(f"{first}.{last}").replace(" ", "").replace("🦊", "fox")
    return Person(
        CustomerRow(
            customer_id=customer_id_of(tenant.store_id, f"grouptizer:{number}"),
            grouptizer_id=f"Gr-{number}" if chance.random() < 0.8 else None,
            name=f"{first} {last}".strip() if chance.random() < 0.95 else None,
            email=f"{local}@{chance.choice(DOMAINS)}" if chance.random() < 0.95 else None,
            avatar_url=None,
            payment_providers=tuple(p for p in ("stripe", "stripe_test") if chance.random() < 0.6),
            used_access_code=chance.random() < 0.15,
            # Many in one second: the id decides.
            customer_since=1_700_000_000 + chance.randrange(200),
            product_ids=tuple(
                p for p in PRODUCTS if chance.random() < (0.03 if p == "prod_rare" else 0.4)
            ),
            accounts=(f"cus_{number:04d}X",),
        )
    )


def put(table: Table, person: Person, tenant: Tenant = DEMO) -> None:
    write_all(table, puts=list(_rows(tenant, entry_of(person.row)).values()))


def drop(table: Table, person: Person) -> None:
    rows = _rows(DEMO, entry_of(person.row)).values()
    write_all(table, deletes=[(row["pk"], row["sk"]) for row in rows])


def ask_anything(chance: random.Random, folk: list[Person]) -> dict[str, Any]:
    """A random query: mostly of things that are there."""
    words: list[str] = []
    for _ in range(chance.choice([0, 0, 1, 1, 1, 1, 2, 2, 3])):
        row = chance.choice(folk).row
        kind = chance.randrange(10)
        if kind < 4:
            text = chance.choice([row.name, row.email]) or "renee"
            at = chance.randrange(len(text))
            words.append(text[at : at + chance.randrange(1, 9)])
        elif kind < 6:
            words.append((row.name or "anna").split()[0])
        elif kind == 6:
            words.append((chance.choice(LAST) or "x")[: chance.randrange(1, 3)])
        elif kind == 7:
            known = chance.choice([row.customer_id, row.grouptizer_id or "Gr-1", *row.accounts])
            words.append(known[: chance.randrange(3, len(known) + 1)])
        elif kind == 8:
            words.append(chance.choice(["zzz", "qx", "cus_", "cus", "@", "xanna", "gr-99999"]))
        else:
            words.append(f"@{chance.choice(DOMAINS)}"[: chance.randrange(4, 12)])
        if row.email is not None and chance.random() < 0.15:
            words.append(row.email[chance.randrange(6) :])
    search = " ".join(words)
    if chance.random() < 0.3:
        search = search.upper()
    return {
        "search": search or None,
        "products": chance.sample([*PRODUCTS, "prod_none"], chance.choice([0, 0, 0, 1, 1, 2, 3])),
        "providers": chance.sample(["stripe", "stripe_test"], chance.choice([0, 0, 0, 1, 1, 2])),
        "used_access_code": chance.choice([None, None, None, "true", "false"]),
        "sort": chance.choice(["newest", "oldest"]),
    }


def expected(folk: Iterable[Person], asked: dict[str, Any]) -> list[str]:
    hopeless = make_query(**asked).hopeless
    found = sorted((p for p in folk if not hopeless and p.matches(asked)), key=lambda p: p.key)
    return [p.row.customer_id for p in (found if asked["sort"] == "oldest" else found[::-1])]


def pages(
    index: CustomerIndex, query: ListQuery, limit: int, tenant: Tenant = DEMO
) -> Iterator[Page]:
    after = None
    for _ in range(5000):
        page = index.page(tenant, query, limit, after)
        yield page
        after = page.position
        if after is None:
            return
    raise AssertionError("no end of pages")


def ids_of(page: Page) -> list[str]:
    return [row.split('"', 4)[3] for row in page.rows]


Store = tuple[Table, list[Person]]


def fill(table: Table) -> list[Person]:
    """A store of 300 customers, beside another of 40."""
    chance = random.Random(7)
    folk = [make_person(chance, number) for number in range(300)]
    for person in folk:
        put(table, person)
    for number in range(40):
        put(table, make_person(chance, number, OTHER), OTHER)
    return folk


@pytest.fixture(scope="module")
def in_memory() -> Store:
    table = Table(IndexInMemory(), "index")  # type: ignore[arg-type]
    return table, fill(table)


@pytest.fixture
def populated(dynoxide_tables: Tables) -> Store:
    return dynoxide_tables.index, fill(dynoxide_tables.index)


def compare_with_brute_force(store: Store, seed: int, bound: int, queries: int) -> None:
    table, folk = store
    chance = random.Random(seed)
    index = CustomerIndex(table, Records(table), max_evaluated=bound)
    capped = 0
    for _ in range(queries):
        asked = ask_anything(chance, folk)
        limit = chance.choice([1, 3, 10, 25, 100])
        shown: list[str] = []
        for page in pages(index, make_query(**asked), limit):
            assert len(page.rows) <= limit
            assert page.evaluated <= bound
            capped += page.position is not None and len(page.rows) < limit
            shown += ids_of(page)
        assert shown == expected(folk, asked), asked
    assert bool(capped) == (bound < 3000)


@pytest.fixture
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small enough for all of it to happen in a small store."""
    monkeypatch.setattr(customer_index, "MAX_IDS", 20)
    monkeypatch.setattr(customer_index, "CHUNK", (8, 30))
    monkeypatch.setattr(customer_index, "PROBE_ROWS", 4)


@pytest.mark.usefixtures("_small_steps")
@pytest.mark.parametrize(("seed", "bound"), [(1, 3000), (2, 3000), (3, 120), (4, 45)])
def test_every_page_of_every_query_is_what_brute_force_finds(
    in_memory: Store, seed: int, bound: int
) -> None:
    compare_with_brute_force(in_memory, seed, bound, queries=600)


@pytest.mark.usefixtures("_small_steps")
def test_the_database_itself_finds_the_same(populated: Store) -> None:
    compare_with_brute_force(populated, 5, 120, queries=60)


def test_an_address_is_found_without_going_through_those_that_look_like_it(
    in_memory: Store,
) -> None:
    table, folk = in_memory
    index = CustomerIndex(table, Records(table))
    emails = [person.row.email for person in folk if person.row.email]
    address = next(email for email in emails if "fox" in email)
    asked: dict[str, Any] = {"search": address, "products": [], "providers": []}
    asked |= {"used_access_code": None, "sort": "newest"}
    page = index.page(DEMO, make_query(**asked), 25)
    assert ids_of(page) == expected(folk, asked)
    ending_alike = [e for e in emails if e.split("@")[0].endswith(address.split("@")[0])]
    assert (page.evaluated, page.calls, page.position) == (len(ending_alike), 2, None)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nobody_who_stays_is_skipped_or_shown_twice_while_others_come_and_go(
    seed: int,
) -> None:
    table = Table(IndexInMemory(), "index")  # type: ignore[arg-type]
    chance = random.Random(seed)
    folk = {number: make_person(chance, number) for number in range(120)}
    for person in folk.values():
        put(table, person)
    index = CustomerIndex(table, Records(table), max_evaluated=60)
    number = 1000
    for _ in range(200):
        asked = ask_anything(chance, list(folk.values()))
        limit = chance.choice([1, 5, 20])
        before = dict(folk)
        touched: set[str] = set()
        shown: list[str] = []
        versions: dict[str, list[Person]] = {p.row.customer_id: [p] for p in folk.values()}
        for page in pages(index, make_query(**asked), limit):
            shown += ids_of(page)
            for _ in range(chance.choice([0, 1, 2])):
                what = chance.randrange(3)
                if what == 0:
                    number += 1
                    folk[number] = make_person(chance, number)
                    put(table, folk[number])
                    changed = folk[number]
                else:
                    victim = chance.choice(list(folk))
                    changed = folk.pop(victim)
                    drop(table, changed)
                    if what == 1:
                        name = f"{chance.choice(FIRST)} {chance.choice(LAST)}"
                        changed = Person(replace(changed.row, name=name))
                        folk[victim] = changed
                        put(table, changed)
                touched.add(changed.row.customer_id)
                versions.setdefault(changed.row.customer_id, []).append(changed)
        assert len(shown) == len(set(shown)), asked
        stayed = [p for p in before.values() if p.row.customer_id not in touched]
        assert [c for c in shown if c not in touched] == expected(stayed, asked), asked
        for customer_id in shown:
            assert any(p.matches(asked) for p in versions[customer_id])


def test_without_search_a_page_reads_its_rows_and_one_from_every_list(
    in_memory: Store,
) -> None:
    table, _ = in_memory
    index = CustomerIndex(table, Records(table))
    for asked, lists in (
        ({}, 1),
        ({"products": ["prod_1"], "providers": ["stripe"], "used_access_code": "false"}, 1),
        ({"products": ["prod_1", "prod_2"]}, 2),
        ({"products": ["prod_1", "prod_2"], "providers": ["stripe", "stripe_test"]}, 4),
    ):
        for sort in ("newest", "oldest"):
            page = index.page(DEMO, make_query(sort=sort, **asked), 25)
            assert (len(page.rows), page.calls) == (25, lists)
            assert page.evaluated <= 26 * lists
            assert lists > 1 or page.evaluated == 26


def test_a_list_of_one_store_never_reads_another(in_memory: Store) -> None:
    table, folk = in_memory
    index = CustomerIndex(table, Records(table))
    chance = random.Random(5)
    own = {person.row.customer_id for person in folk}
    for _ in range(50):
        asked = ask_anything(chance, folk)
        for page in pages(index, make_query(**asked), 100, OTHER):
            assert not own & set(ids_of(page))


def test_two_hundred_one_letter_words_are_one_query(
    tables: Tables,
) -> None:
    index = CustomerIndex(tables.index, Records(tables.records))
    many = " ".join(chr(0x4E00 + n) for n in range(100))
    assert index.page(DEMO, make_query(search=many), 25).rows == ()
    most = " ".join("abcdefghijklmnopqrstuvwxyz0123456789")
    assert index.page(DEMO, make_query(search=most), 25).rows == ()


def test_a_transaction_leads_to_its_customer(tables: Tables) -> None:
    records = Records(tables.records)
    customers = Customers(tables.records, tables.index)
    people.add_customer(records, customers, DEMO, "cus_1", name="Anna", products=["prod_1"])
    people.observe_charge(records, DEMO, "cus_1", "ABCDEF123456")
    index = CustomerIndex(tables.index, records)
    page = index.page(DEMO, make_query(transaction_id="ABCDEF123456"), 25)
    assert (len(page.rows), page.position, page.evaluated) == (1, None, 1)
    assert not index.page(OTHER, make_query(transaction_id="ABCDEF123456"), 25).rows
    wrong = make_query(transaction_id="ABCDEF123456", products=["prod_2"])
    assert not index.page(DEMO, wrong, 25).rows
