"""How texts are compared, and which rows a customer has."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.customer import CustomerRow
from shared.domain.errors import InvalidRequest
from shared.domain.search import (
    GRAM,
    Entry,
    entry_of,
    facet_list,
    make_query,
    normalize,
    word_starts,
)


def row(**values: object) -> CustomerRow:
    given_ = {
        "customer_id": "cust_aaaaaaaaaaaaaaaaaaaaaaaa",
        "grouptizer_id": "Gr-1001",
        "name": "Renée Smith",
        "email": "renee.smith@gmail.com",
        "avatar_url": None,
        "payment_providers": ("stripe",),
        "used_access_code": False,
        "customer_since": 1_763_800_000,
        "product_ids": ("prod_1",),
        "accounts": ("cus_Abc123",),
    }
    return CustomerRow(**{**given_, **values})  # type: ignore[arg-type]


def found(entry: Entry, search: str) -> bool:
    return all(term.matches(entry.text, entry.ids) for term in make_query(search=search).terms)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Renée", "renee"),
        ("RENE\u0301E", "renee"),
        ("Straße", "STRASSE"),
        ("Łukasz Żółć", "lukasz zolc"),
        ("İSTANBUL", "istanbul"),
        ("Ｆｕｌｌ　Ｗｉｄｔｈ", "full width"),
        ("ﬁlm", "film"),
        ("Νίκος", "νικοσ"),
        ("أَحْمَد", "احمد"),
        ("❤\ufe0f", "❤"),
        ("a\u200bb\tc\x00d", "ab c d"),
    ],
)
def test_texts_that_read_the_same_are_the_same(text: str, same: str) -> None:
    assert normalize(text) == normalize(same) == same.casefold()


def test_the_marks_that_make_another_letter_stay() -> None:
    assert normalize("が") != normalize("か")
    assert normalize("각") != normalize("가")


# What one keyboard, phone or word processor writes where another writes something else.
EXCHANGED = {
    "apostrophes": "'\u2018\u2019\u02bc\u0060\u00b4",
    "other apostrophes": "'\u201b\u2032\u02b9\u02bb\u02bd\u055a\u05f3\ua78c\uff07\uff40",
    "hyphens": "-\u2010\u2011\u2013",
    "dashes": "-\u2012\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d\u05be",
    "quotation marks": '"\u201c\u201d\u201e\u201f\u2033\u05f4\u00ab\u00bb\uff02',
    "kaf": "\u0643\u06a9",
    "yeh": "\u064a\u0649\u06cc",
}


@pytest.mark.parametrize("kind", EXCHANGED)
def test_characters_that_keyboards_exchange_are_found_by_each_other(kind: str) -> None:
    for stored in EXCHANGED[kind]:
        entry = entry_of(row(name=f"Oda{stored}Quick", email=None))
        for typed in EXCHANGED[kind]:
            for search in (f"Oda{typed}Quick", f"da{typed}qu"):
                assert found(entry, search), (kind, stored, typed, search)


@pytest.mark.parametrize("blank", "\u00a0\u2009\u202f\u3000\t")
def test_a_blank_of_any_width_separates_words(blank: str) -> None:
    entry = entry_of(row(name=f"Oda{blank}Quick", email=None))
    assert found(entry, "oda quick")
    assert found(entry, f"quick{blank}oda")


def test_a_joint_that_has_no_width_makes_no_difference() -> None:
    entry = entry_of(row(name="\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"))
    assert found(entry, "\u0639\u0644\u064a\u0631\u0636\u0627")


def test_a_word_begins_after_any_apostrophe_and_hyphen() -> None:
    for sign in EXCHANGED["apostrophes"] + EXCHANGED["hyphens"]:
        assert found(entry_of(row(name=f"O{sign}Zulu", email=None)), "zu")


# Whole names of scripts that put no blanks into them.
WITHOUT_BLANKS = {
    "Han": "\u738b\u5c0f\u660e",
    "Han beyond the first plane": "\U00020bb7\u91ce\u5bb6",
    "Hangul": "\uae40\ubbfc\uc218",
    "kana": "\u3055\u304f\u3089\u3053",
    "half width kana": "\uff7b\uff78\uff97\uff7a",
    "Thai": "\u0e2a\u0e21\u0e0a\u0e32\u0e22",
    "Khmer": "\u179f\u17bb\u1781\u17b6",
    "Lao": "\u0eaa\u0ebb\u0ea1\u0e9e\u0ead\u0e99",
    "Myanmar": "\u1021\u1031\u102c\u1004\u103a",
}


@pytest.mark.parametrize("script", WITHOUT_BLANKS)
def test_two_characters_of_a_script_without_blanks_are_found_anywhere(script: str) -> None:
    name = WITHOUT_BLANKS[script]
    entry = entry_of(row(name=name, email=None))
    for at in range(len(name) - 1):
        assert found(entry, name[at : at + 2]), name[at : at + 2]
        # Whatever list drives the search, the customer stands in it.
        for term in make_query(search=name[at : at + 2]).terms:
            assert term.lists
            assert set(term.lists) <= set(entry.lists)


def test_two_characters_of_a_script_with_blanks_are_found_at_the_beginning_of_a_word_only() -> None:
    for name in (
        "Michael",
        "\u041c\u0438\u0445\u0430\u0438\u043b",
        "\u039d\u03af\u03ba\u03bf\u03c2",
    ):
        entry = entry_of(row(name=name, email=None))
        assert found(entry, name[:2])
        assert not found(entry, name[2:4])


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_normalised_text_is_left_as_it_is(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once


@given(st.text(max_size=30), st.data())
@settings(max_examples=200, deadline=None)
def test_every_part_of_a_name_finds_it(name: str, data: st.DataObject) -> None:
    entry = entry_of(row(name=name))
    for word in normalize(name).split():
        first = data.draw(st.integers(0, len(word) - 1))
        part = word[first : data.draw(st.integers(first + 1, len(word)))]
        if len(part) >= GRAM:
            assert found(entry, part)
            # Whatever drives the search, the customer stands in it.
            for term in make_query(search=part).terms:
                assert set(term.lists) <= set(entry.lists)
    for start in word_starts(normalize(name)):
        assert found(entry, start)
        for term in make_query(search=start).terms:
            assert set(term.lists) <= set(entry.lists)


@pytest.mark.parametrize(
    "search",
    ["RENÉE", "nee", "smith renee", "@gmail", "e.s", "re", "r s", "gm", "gr-1001", "GR-1",
     "cus_abc123", "CUS_A", "cust_aaa", "Smith Gr-1001", "s. renee", "@g"],
)  # fmt: skip
def test_a_customer_is_found_by(search: str) -> None:
    assert found(entry_of(row()), search)


@pytest.mark.parametrize(
    "search",
    ["ee", "th", "mi", "smithe", "renee jones", "r-1001", "bc123", "us_abc", "renee smith x",
     "cus_", "cust_b", "reneesmith", "gr-1002", "1001"],
)  # fmt: skip
def test_a_customer_is_not_found_by(search: str) -> None:
    assert not found(entry_of(row()), search)


@given(st.text(max_size=20), st.text(min_size=4, max_size=20), st.text(max_size=10))
@settings(max_examples=300, deadline=None)
def test_whoever_has_an_address_within_a_text_has_a_key_that_begins_like_it(
    before: str, local: str, after: str
) -> None:
    entry = entry_of(row(email=f"{before}{local}@{after}"))
    for word in normalize(f"{local}@{after}").split():
        for term in make_query(search=word).terms:
            if term.address is not None and found(entry, word):
                assert any(key.startswith(term.address) for key in entry.id_keys)


def test_a_two_letter_id_is_found_whole_only() -> None:
    entry = entry_of(row(name="Bo", email=None, grouptizer_id="x7", accounts=()))
    assert found(entry, "X7")
    assert not found(entry, "x")


def test_punctuation_alone_matches_nobody_and_beside_words_nothing_less() -> None:
    assert make_query(search=" - ").hopeless
    assert make_query(search="renee - &").search == ("renee",)
    assert not make_query(search="  ").hopeless


def test_a_usual_customer_has_at_most_forty_rows() -> None:
    entry = entry_of(row())
    assert len(entry.lists) + len(entry.id_keys) == 35


def test_an_absurd_name_has_a_bounded_number_of_rows_and_is_found_by_its_beginning() -> None:
    letters = "".join(chr(0x4E00 + n) for n in range(5000))
    entry = entry_of(row(name=letters, email=letters + "@x", grouptizer_id="y" * 5000))
    assert len(entry.lists) + len(entry.id_keys) < 600
    assert found(entry, letters[:100])
    assert letters in entry.row


def test_facets_are_told_apart_whatever_a_product_is_called() -> None:
    odd = row(product_ids=("*", "a|stripe", "prod_1"))
    lists = entry_of(odd).lists
    assert facet_list("*", None, None) in lists
    assert facet_list("a", "stripe", None) not in lists
    assert len({facet_list(p, None, None) for p in (None, "*", "%2A")}) == 3
    (group,) = make_query(products=["prod_"]).facet_conditions
    assert not any(text in entry_of(odd).facets for text in group)


def test_a_query_is_the_same_however_it_is_spelled() -> None:
    one = make_query(search="Smith  RENÉE", products=["b", "a", "b"], sort="newest")
    other = make_query(search="renee smith smith", products=["a", "b"])
    assert one.binding == other.binding


def test_two_hundred_characters_may_be_searched_and_not_one_more() -> None:
    make_query(search="x" * 200)
    with pytest.raises(InvalidRequest, match="search"):
        make_query(search="x" * 201)
