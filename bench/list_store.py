"""Stores of any size for the list benchmark, written straight into the index table.

**People.** First names and surnames are drawn with Zipf's skew (the k-th most frequent with weight
1/k) from 300 and 20,000; the frequent ones are real, the tail is made of syllables. Half the
addresses are ``first.last`` or a variant of it, often with a number, the rest made otherwise; 78 %
are with five large providers, the rest with one of 5,000 companies, skewed likewise. One in fifty
names is written in another script, one in twelve has an accent.

**Purchases.** A store sells 60 products, with skew; most customers bought one, some up to five.
97 % paid in live mode, 4 % in test mode (some in both), 5 % used an access code. Customers came
over three years, ever more of them, some in the same second.

**Writing.** Through the API, a customer is one transaction, as in operation. Large stores are
written into the database's own SQLite file before it starts, the same rows in the order of their
keys: 38 million rows through the API would take hours and measure nothing of the list.
"""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.domain.customer import CustomerRow, customer_id_of
from shared.domain.search import Entry, entry_of, id_sort_key, normalize
from shared.storage.customers import IDS
from shared.tenant import Tenant

STORE = Tenant("bench")
NOW = 1_763_800_000
SPAN = 3 * 365 * 86_400

FIRST = """
James Mary John Anna Michael Emma David Sophia Daniel Olivia Robert Laura William Julia
Thomas Sarah Joseph Maria Charles Elena Paul Nina Mark Eva George Alice Kevin Clara Brian
Irene Peter Renée José Zoë Łukasz Søren Jürgen François Chloé Agnès Björn Marta Ivan Olga
Dmitri Yuki Mei Ahmed Fatima Omar Leila Chen Wei Priya Arjun Ravi Sofía Mateo Lucía Diego
Bruno Carla Hugo
""".split()  # noqa: SIM905 - readable
LAST = """
Smith Johnson Brown Garcia Miller Davis Martinez Lopez Wilson Anderson Taylor Thomas Moore
Lee Müller Schmidt Schneider Fischer Weber Rossi Russo Ferrari Dubois Bernard Petit Silva
Santos Kowalski Nowak Wójcik Ivanov Petrov Smirnov Yılmaz Kaya Nguyen Tran Kim Park Tanaka
Sato O'Neil O'Brien García-López Núñez Öberg Lindström Hansen Jensen Nielsen Virtanen
Horváth
""".split()  # noqa: SIM905 - readable
OTHER_SCRIPTS = (
    "田中太郎",
    "佐藤花子",
    "محمد علي",
    "فاطمة حسن",
    "Мария Иванова",
    "김민준",
    "Дмитрий 🦊",
)
DOMAINS = ("gmail.com", "yahoo.com", "hotmail.com", "outlook.com", "icloud.com")
SYLLABLES = """
ba be bo ca ce co da de do fa fe ga go ha he hi jo ka ke ki ko la le li lo ma me mi mo na
ne ni no pa pe po ra re ri ro sa se si so ta te ti to va ve vi wa wi ya yo za ze zo
""".split()  # noqa: SIM905 - readable


class Crowd:
    """People in the order they are drawn; the same for the same size."""

    def __init__(self, size: int) -> None:
        self._chance = random.Random(size)
        made = random.Random(1)

        def invented(least: int, most: int) -> str:
            count = made.randrange(least, most + 1)
            tail = made.choice(["", "", "n", "r", "s", "ski", "sen", "wicz"])
            return "".join(made.choice(SYLLABLES) for _ in range(count)) + tail

        self._first = FIRST + [invented(2, 3).title() for _ in range(300 - len(FIRST))]
        self._last = LAST + [invented(2, 4).title() for _ in range(20_000 - len(LAST))]
        self._companies = [
            f"{invented(2, 3)}{made.choice(['', '-media', 'group', 'tech', 'labs'])}"
            f".{made.choice(['com', 'com', 'io', 'net', 'de', 'fr', 'co.uk'])}"
            for _ in range(5000)
        ]
        self._zipf = {
            len(values): list(itertools.accumulate(1 / (k + 1) for k in range(len(values))))
            for values in (self._first, self._last, self._companies, range(60), DOMAINS)
        }

    def _pick(self, values: Sequence[str]) -> str:
        weights = self._zipf[len(values)]
        return self._chance.choices(values, cum_weights=weights)[0]

    def person(self, number: int) -> CustomerRow:
        chance = self._chance
        first, last = self._pick(self._first), self._pick(self._last)
        name = chance.choice(OTHER_SCRIPTS) if chance.random() < 0.02 else f"{first} {last}"
        one, two = normalize(first), normalize(last).replace("'", "")
        digits = str(chance.randrange(1, 2000)) if chance.random() < 0.4 else ""
        local = chance.choice(
            [f"{one}.{two}", f"{one}.{two}", f"{one}{two}", f"{one[0]}{two}", f"{two}{digits or 1}"]
        )
        large = chance.random() < 0.78
        domain = self._pick(DOMAINS) if large else self._pick(self._companies)
        bought = {self._pick(PRODUCTS) for _ in range(chance.choice([1] * 8 + [2, 5]))}
        used_code = chance.random() < 0.05
        paid = [
            p for p, part in (("stripe", 0.97), ("stripe_test", 0.04)) if chance.random() < part
        ]
        return CustomerRow(
            customer_id=customer_id_of(STORE.store_id, f"grouptizer:{number}"),
            grouptizer_id=f"gz{chance.randrange(10**9, 10**10)}",
            name=name,
            email=f"{local}{digits}@{domain}",
            avatar_url=None,
            payment_providers=tuple(paid),
            used_access_code=used_code,
            # Three times as many in the last third as in the first.
            customer_since=NOW - int(SPAN * (1 - chance.random() ** 0.6)),
            product_ids=tuple(sorted(bought)),
            accounts=(f"cus_{chance.getrandbits(80):020x}",),
        )


PRODUCTS = [f"prod_{n:02d}" for n in range(60)]


def people(size: int) -> Iterator[CustomerRow]:
    crowd = Crowd(size)
    return (crowd.person(number) for number in range(size))


def write_file(path: Path, table: str, size: int) -> tuple[int, int]:
    """Write a store into a stopped dynoxide's file; rows and bytes (as DynamoDB counts them)."""
    contents, sort_keys, sizes = [], [], []
    lists: dict[str, array[int]] = {}
    ids: list[tuple[str, int]] = []
    for number, person in enumerate(people(size)):
        entry = entry_of(person)
        contents.append(_content(entry))
        sizes.append(_size(entry))
        sort_keys.append(entry.sort_key)
        for name in entry.lists:
            lists.setdefault(name, array("I")).append(number)
        ids += [(id_sort_key(key, person.customer_id), number) for key in entry.id_keys]
    by_time = array("I", sorted(range(size), key=sort_keys.__getitem__))
    rank = array("I", bytes(4 * size))
    for place, number in enumerate(by_time):
        rank[number] = place
    ids.sort()
    written = total = 0
    with sqlite3.connect(path) as database:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -200000"):
            database.execute(f"PRAGMA {pragma}")

        def rows() -> Iterator[tuple[str, str, str, int]]:
            nonlocal written, total
            for name in sorted([*lists, IDS]):
                pk = STORE.index_pk(name)
                head = f'{{"pk":{{"S":{_text(pk)}}},"sk":{{"S":'
                length = 4 + len(pk.encode())
                if name == IDS:
                    places = ids
                else:
                    numbers = sorted(lists[name], key=rank.__getitem__)
                    places = [(sort_keys[number], number) for number in numbers]
                for sk, number in places:
                    rest = f',"s":{{"S":"{sort_keys[number]}"}}' if name == IDS else ""
                    item = f"{head}{_text(sk)}}}{contents[number]}{rest}}}"
                    size = length + len(sk) + sizes[number] + len(rest) // 2
                    written += 1
                    total += size
                    yield f"S:{pk}", f"S:{sk}", item, size

        database.executemany(
            f'INSERT INTO "{table}" (pk, sk, item_json, item_size) VALUES (?, ?, ?, ?)', rows()
        )
    return written, total


def _content(entry: Entry) -> str:
    parts = {"j": entry.row, "t": entry.text, "i": entry.ids, "f": entry.facets}
    return "".join(f',"{name}":{{"S":{_text(value)}}}' for name, value in parts.items())


def _size(entry: Entry) -> int:
    return sum(1 + len(v.encode()) for v in (entry.row, entry.text, entry.ids, entry.facets))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
