"""What the customer list is searched and filtered by, and the rows that make it quick.

A customer matches a query when it matches every part of it:

* ``product_id``, ``payment_provider``: one of the values given; ``used_access_code``: the value;
* every word of ``search``, each by itself, in any order:

  - three characters and more: found anywhere within the name or the e-mail address,
  - one or two characters: the beginning of a word of the name or the e-mail address, or anywhere
    in a run of a script that is written without blanks,
  - or an id (customer, Grouptizer, Stripe customer): the whole of it, or its beginning, given
    three characters and more than just the prefix all of them have (``cus_``).

Texts are compared normalised (:func:`normalize`): upper and lower case, accents, compatibility
forms and the characters that keyboards exchange make no difference. A *word* begins after anything
that is not a letter, digit or symbol; every emoji, and every character of a script that is written
without blanks, begins one of its own.

Every customer has a row in each of these lists, all sorted by customer since:

``F|product|provider|code``
    one per combination of what it bought, how it paid and whether it used a code; ``*`` is any
``G|abc``
    three characters in a row of its name or e-mail address
``W|ab``
    the first two characters of its words, and the first one where few words begin with it

and in the list ``I`` one per id, sorted by id, and one per address, sorted by what stands before
the ``@``, backwards: whoever has a searched ``lovelace@example.com`` within the address has one
that begins with ``ecalevol``.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from shared.domain.customer import CustomerRow
from shared.domain.errors import InvalidRequest
from shared.domain.key_parts import LONGEST_ID, is_id

Sort = Literal["newest", "oldest"]

MAX_SEARCH = 200
MAX_PRODUCTS = 25
MAX_TRANSACTION_ID = 64
PROVIDERS = ("stripe", "stripe_test")

# A customer is found by this much of its name, address and ids, and has at most about 600 rows
# for them, however long somebody makes a name. Addresses can't be longer (RFC 5321, 4.5.3.1.3).
# They bound the keys of the rows, too: one character becomes up to 18 others when it is normalised,
# of four bytes each.
MAX_NAME = 160
MAX_EMAIL = 254
MAX_ID = 200
# So many characters of a script without blanks begin a word each: the longest real names.
MAX_STARTS_WITHOUT_BLANKS = 40
# No customer has a longer word; a searched one may become longer than what was typed.
MAX_WORD = max(MAX_NAME, MAX_EMAIL, MAX_ID)
# So much of a word bounds the part of the list of ids that is read: both bounds fit into the 1,024
# bytes of a sort key together. The condition on the rows compares all of it.
MAX_BOUND = 100

GRAM = 3
# A searched address is looked for by what stands before its "@" from so many characters on.
MIN_LOCAL_PART = 4
ID_PREFIXES = ("cust_", "cus_")
# So many words begin with these that a list of their own would be no shorter than the facet list.
COMMON_INITIALS = frozenset("abcdefghijklmnoprstvwy")

# Separators that no normalised text contains.
_FIELD, _WORD, _ID, _ADDRESS = "\x1e", "\x1f", "\x1d", "\x1c"
ID_END = _ID

# Letters that look like another with a mark, but that Unicode doesn't take apart.
_LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)
# Accents (Latin, Greek, Cyrillic), vowel points (Hebrew, Arabic), and what has no width. The
# marks of other scripts (kana, Devanagari, Thai ...) make other letters, and stay.
_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640"
    "\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20f0\ufe00-\ufe0f\ufe20-\ufe2f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# Keyboards and word processors put one of these where somebody typed another, or where another
# country's keyboard has another. Before NFKC: it makes a blank and an accent of U+00B4.
_TYPED = {
    "'": "\u2018\u2019\u201b\u02b9\u02bb\u02bc\u02bd\u2032\u055a\u05f3\ua78c\u00b4\u0060\uff40",
    '"': "\u201c\u201d\u201e\u201f\u2033\u05f4\u00ab\u00bb",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\u05be",
    # Arabic and Persian keyboards: the same two letters, kaf and yeh.
    "\u0643": "\u06a9",
    "\u064a": "\u0649\u06cc",
    # Persian writes a joint without a gap (U+200C), or nothing, or a blank.
    "": "\u200c",
}
_EXCHANGED = str.maketrans({other: char for char, others in _TYPED.items() for other in others})
# Scripts that put no blanks between words, or between the parts of a name: Thai, Lao, Myanmar,
# Hangul, Khmer, kana, bopomofo, Han, Yi.
_WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3041-\u312f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\U00020000-\U0003ffff]"
)


def normalize(text: str) -> str:
    """The form in which texts are compared: NFKC, case folded, without accents, with one character
    for those that keyboards exchange.

    The rows of the list hold texts in this form: after a change of it, `customers reindex` makes
    them anew.
    """
    folded = unicodedata.normalize("NFKC", text.translate(_EXCHANGED)).casefold()
    apart = unicodedata.normalize("NFKD", folded).casefold()
    bare = _MARKS.sub("", apart).translate(_LETTERS)
    composed = unicodedata.normalize("NFKC", bare).translate(_EXCHANGED)
    return " ".join(_CONTROL.sub(" ", composed).split())


def _separates(char: str) -> bool:
    """Whether a character stands between words: all but letters, digits, marks, symbols."""
    if char.isascii():
        return not char.isalnum()
    return unicodedata.category(char)[0] in "PZC" and char != "\u200d"


def runs(text: str) -> list[str]:
    """The parts of a normalised text between separators."""
    return "".join(" " if _separates(char) else char for char in text).split(" ")


def word_starts(text: str) -> set[str]:
    """The first two characters (or the only one) of every word of a normalised text."""
    starts = set()
    without_blanks = 0
    for run in runs(text):
        for at, char in enumerate(run):
            begins = at == 0 or unicodedata.category(char) == "So"
            if not begins and _WITHOUT_BLANKS.match(char):
                without_blanks += 1
                begins = without_blanks <= MAX_STARTS_WITHOUT_BLANKS
            if begins:
                starts.add(run[at : at + 2])
    return starts


def _grams(text: str) -> set[str]:
    pieces = (text[at : at + GRAM] for at in range(len(text) - GRAM + 1))
    return {piece for piece in pieces if " " not in piece}


def _address_keys(text: str) -> set[str]:
    """For every "@" of a normalised text what stands before it, backwards."""
    before = (word[:at] for word in text.split() for at, char in enumerate(word) if char == "@")
    return {(_ADDRESS + part[::-1])[:MAX_ID] for part in before if len(part) >= MIN_LOCAL_PART}


# -- a customer's rows ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A customer in the index.

    Attributes:
        sort_key: customer since, then the id: ``"01763800000#cust_..."``.
        row: the list's row, JSON.
        text, ids, facets: what conditions look at.
        lists: the lists it stands in.
        id_keys: what it is found by in the list of ids: its ids, and its addresses.
    """

    sort_key: str
    row: str
    text: str
    ids: str
    facets: str
    lists: tuple[str, ...]
    id_keys: tuple[str, ...]


def sort_key(customer_since: int, customer_id: str) -> str:
    """Sorts by time, within one second by id."""
    return f"{max(0, customer_since):011d}#{customer_id}"


def entry_of(row: CustomerRow) -> Entry:
    """What the index holds of a customer."""
    name = normalize(row.name or "")[:MAX_NAME]
    email = normalize(row.email or "")[:MAX_EMAIL]
    starts = word_starts(name) | word_starts(email)
    stripe_ids = [account for account in row.accounts if account.startswith("cus_")]
    ids = sorted(
        {
            piece[:MAX_ID]
            for known in (row.customer_id, row.grouptizer_id or "", *stripe_ids)
            for piece in normalize(known).split()
        }
    )
    lists = {
        facet_list(product, provider, code)
        for product in (None, *row.product_ids)
        for provider in (None, *row.payment_providers)
        for code in (None, row.used_access_code)
    }
    lists.update(f"G|{gram}" for gram in _grams(name) | _grams(email))
    for start in starts:
        lists.update(_word_lists(start))
    facets = [
        *(_product_facet(product) for product in row.product_ids),
        *(_provider_facet(provider) for provider in row.payment_providers),
        _code_facet(row.used_access_code),
    ]
    return Entry(
        sort_key=sort_key(row.customer_since, row.customer_id),
        row=json.dumps(row.to_json(), separators=(",", ":"), ensure_ascii=False),
        text=_FIELD.join(("", name, email, "")) + "".join(_WORD + s for s in sorted(starts)),
        ids="".join(_ID + key for key in ids) + _ID,
        facets="".join(facets) + "|",
        lists=tuple(sorted(lists)),
        id_keys=tuple(sorted({*ids, *_address_keys(name), *_address_keys(email)})),
    )


def id_sort_key(id_key: str, customer_id: str) -> str:
    """Where a customer stands in the list of ids."""
    return f"{id_key}{_ID}{customer_id}"


def facet_list(product: str | None, provider: str | None, code: bool | None) -> str:
    """The list of everybody with these; ``None`` is any."""
    # Quoted, no product's id can contain the separator or be taken for "any".
    product = "*" if product is None else quote(product, safe="")
    return f"F|{product}|{provider or '*'}|{'*' if code is None else int(code)}"


def _word_lists(start: str) -> list[str]:
    lists = [] if start[:1] in COMMON_INITIALS else [f"W|{start[:1]}"]
    return [*lists, f"W|{start}"] if len(start) == 2 else lists


def _product_facet(product: str) -> str:
    return f"|p={quote(product, safe='')}"


def _provider_facet(provider: str) -> str:
    return f"|v={provider}"


def _code_facet(used: bool) -> str:
    return f"|c={int(used)}"


# -- a query -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a search.

    Attributes:
        all_in_text: texts that :attr:`Entry.text` must all contain.
        in_ids: or else the text that :attr:`Entry.ids` must contain.
        first_id, last_id: the part of the list of ids where that is so.
        lists: lists that each hold every customer whose text matches, the likely shortest first.
        address: what every customer whose text matches has a key in the list of ids that begins
            with, where the word holds an address.
    """

    all_in_text: tuple[str, ...]
    in_ids: str
    first_id: str
    last_id: str
    lists: tuple[str, ...]
    address: str | None

    def matches(self, text: str, ids: str) -> bool:
        return all(part in text for part in self.all_in_text) or self.in_ids in ids


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What the owner asked of the list.

    Attributes:
        search: normalised words, sorted.
        products, providers: any of them; empty: all.
        hopeless: nothing can match: the search has only words that mean nothing ("-"), or one that
            is longer than anything there is.
    """

    sort: Sort = "newest"
    search: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    used_access_code: bool | None = None
    transaction_id: str | None = None
    hopeless: bool = False

    @property
    def binding(self) -> tuple[object, ...]:
        """All of it as JSON values, for a cursor to be bound to."""
        return (
            self.sort,
            self.search,
            self.products,
            self.providers,
            self.used_access_code,
            self.transaction_id,
            self.hopeless,
        )

    @property
    def terms(self) -> tuple[Term, ...]:
        """The words of the search, the likely rarest first."""
        return tuple(sorted(map(_term, self.search), key=_rarity_of_term, reverse=True))

    @property
    def facet_lists(self) -> tuple[str, ...]:
        """Lists that together hold exactly the customers that match all but the search."""
        return tuple(
            facet_list(product, provider, self.used_access_code)
            for product in self.products or (None,)
            for provider in self.providers or (None,)
        )

    @property
    def has_facets(self) -> bool:
        return bool(self.products or self.providers or self.used_access_code is not None)

    @property
    def facet_conditions(self) -> tuple[tuple[str, ...], ...]:
        """Texts, of each group of which :attr:`Entry.facets` must contain one."""
        groups = [
            tuple(_product_facet(product) + "|" for product in self.products),
            tuple(_provider_facet(provider) + "|" for provider in self.providers),
        ]
        if self.used_access_code is not None:
            groups.append((_code_facet(self.used_access_code) + "|",))
        return tuple(group for group in groups if group)


def make_query(
    *,
    sort: str | None = None,
    search: str | None = None,
    products: Iterable[str] = (),
    providers: Iterable[str] = (),
    used_access_code: str | None = None,
    transaction_id: str | None = None,
) -> ListQuery:
    """A query from the request's parameters.

    Raises:
        InvalidRequest: a value that isn't allowed; the detail names the parameter.
    """
    if sort not in (None, "newest", "oldest"):
        raise InvalidRequest("sort: must be newest or oldest")
    if used_access_code not in (None, "true", "false"):
        raise InvalidRequest("used_access_code: must be true or false")
    if len(search or "") > MAX_SEARCH:
        raise InvalidRequest(f"search: at most {MAX_SEARCH} characters")
    wanted = tuple(sorted(set(products)))
    if not all(map(is_id, wanted)):
        raise InvalidRequest(f"product_id: must be an id of 1 to {LONGEST_ID} characters")
    if len(wanted) > MAX_PRODUCTS:
        raise InvalidRequest(f"product_id: at most {MAX_PRODUCTS} values")
    paid_by = tuple(sorted(set(providers)))
    if any(provider not in PROVIDERS for provider in paid_by):
        raise InvalidRequest("payment_provider: must be stripe or stripe_test")
    transaction = None if transaction_id is None else transaction_id.strip().upper()
    if transaction is not None and not (
        is_id(transaction) and len(transaction) <= MAX_TRANSACTION_ID
    ):
        raise InvalidRequest(f"transaction_id: must be 1 to {MAX_TRANSACTION_ID} characters")
    words = set(normalize(search or "").split())
    usable = {word for word in words if len(word) >= GRAM or any(runs(word))}
    too_long = any(len(word) > MAX_WORD for word in words)
    return ListQuery(
        sort="oldest" if sort == "oldest" else "newest",
        search=tuple(sorted(usable)),
        products=wanted,
        providers=paid_by,
        used_access_code=None if used_access_code is None else used_access_code == "true",
        transaction_id=transaction,
        hopeless=too_long or (bool(words) and not usable),
    )


def _term(word: str) -> Term:
    is_prefix = len(word) >= GRAM and not any(known.startswith(word) for known in ID_PREFIXES)
    if len(word) >= GRAM:
        in_text: tuple[str, ...] = (word,)
        grams = sorted(_grams(word), key=lambda gram: (-_rarity(gram), gram))
        lists = [f"G|{gram}" for gram in grams]
    else:
        starts = [run for run in runs(word) if run]
        in_text = tuple(_WORD + start for start in starts)
        lists = [f"W|{start}" for start in starts if f"W|{start}" in _word_lists(start)]
    address = max(_address_keys(word), key=len, default=None)
    bound = word[:MAX_BOUND]
    return Term(
        all_in_text=in_text,
        in_ids=_ID + word if is_prefix else _ID + word + _ID,
        first_id=bound if is_prefix else bound + _ID,
        # U+10FFFF is the last character, and the one after _ID ends the whole of an id.
        last_id=bound + ("\U0010ffff" if is_prefix else _FIELD),
        lists=tuple(lists),
        address=None if address is None else address[:MAX_BOUND],
    )


# How often letters are seen in names and addresses, in percent. Only the first guess of a list
# depends on it (see shared/storage/customer_index.py), never an answer.
_PERCENT = {
    **dict(zip("aeinrolstmcdhgu", (11, 10, 8, 7, 7, 8, 6, 5, 4, 5, 4, 3, 3, 3, 3), strict=True)),
    **dict(
        zip(
            "bkpyvfwjzxq.@-0123456789",
            (2, 2, 2, 2, 1.5, 1, 1, 1, 1, 0.4, 0.3, 3, 4, *[0.6] * 11),
            strict=True,
        )
    ),
}
# In nearly every address, however rare their letters are.
_EVERYWHERE = (
    _grams("@gmail.com")
    | _grams("@yahoo.com")
    | _grams("@hotmail.com")
    | (_grams("@outlook.com") | _grams("@icloud.com"))
)


def _rarity(gram: str) -> float:
    rarity = -sum(math.log(_PERCENT.get(char, 0.05) / 100) for char in gram)
    return rarity / 10 if gram in _EVERYWHERE else rarity


def _rarity_of_term(term: Term) -> tuple[float, Term | str]:
    if not term.lists:
        return (-1.0, term.first_id)
    return (_rarity(term.lists[0][2:]), term.first_id)
