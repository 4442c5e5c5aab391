"""A customer: the billing accounts that are one person, and the row the owner's list shows.

An *account* is where one payer's records are kept: a Stripe customer (``cus_...``), a guest
checkout (``guest:pi_...``; Stripe has no customer for it) or somebody only the store knows
(``store:<grouptizer id>``). Accounts with the same Grouptizer ID are one customer, in live and
test mode alike; guests are one customer by e-mail address. A customer's id is computed from that
identity, so it is the same whatever arrived first.

Profile sources (see :mod:`shared.domain.merge`):

``customer``
    ``id, name, email, grouptizer_id, avatar_url, created_at, deleted, livemode,
    default_payment_method, default_source``
``guest``, ``billing``
    ``name, email, created_at`` (a checkout's ``customer_details``, a charge's ``billing_details``)
``checkout``
    the same of a Stripe customer's checkout: it counts where the customer itself has none
``money``
    ``has_paid``: a Stripe customer paid for something that is no purchase here, or a payment was
    authorised and released: there are transactions to show
``store``
    ``name, email, grouptizer_id, avatar_url, created_at`` (an event of the store itself)
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.domain.clock import iso
from shared.domain.merge import Data, Source
from shared.domain.purchase import Purchase

# A customer's page lists every purchase that came about, and of attempts that came to nothing the
# newest of this many. Somebody who tries stolen cards makes thousands of them.
MOST_ATTEMPTS = 50
# More than this of one customer are not listed, the oldest first: they must fit into one item.
MOST_PURCHASES = 3000

_SHOWN = ("name", "email", "grouptizer_id", "avatar_url", "created_at", "has_paid")
_OLDER = "older/"
# What a checkout was told counts only where the customer itself says nothing.
_FALLBACK = "checkout"


@dataclass(frozen=True, slots=True)
class Bought:
    """What the customer list and a customer's page need to know of one visible purchase.

    Attributes:
        purchased_at: seconds since the epoch.
        came_about: it makes its buyer a customer, see :attr:`Purchase.came_about`.
        products: ids of every product it is of; empty where it never gave access.
    """

    purchased_at: int
    came_about: bool
    is_code: bool
    provider: str | None
    products: tuple[str, ...]

    @classmethod
    def of(cls, purchase: Purchase) -> Bought | None:
        """``None``: it is no purchase that is shown."""
        if not purchase.visible:
            return None
        return cls(
            purchase.purchased_at,
            purchase.came_about,
            purchase.kind == "access_code",
            purchase.payment_provider,
            purchase.product_ids if purchase.was_live else (),
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of one billing account.

    Attributes:
        bought: its visible purchases, by id.
        rows: where a guest's transactions are kept; of other accounts they are not listed here.
    """

    account: str
    profile: Mapping[str, Source] = field(default_factory=dict)
    bought: Mapping[str, Bought] = field(default_factory=dict)
    rows: frozenset[str] = frozenset()

    @property
    def listed(self) -> dict[str, Bought]:
        """The purchases that a customer's page lists."""
        return {i: b for i, b in self.bought.items() if not i.startswith(_OLDER)}

    def without(self, purchase_id: str) -> Account:
        return replace(self, bought={i: b for i, b in self.bought.items() if i != purchase_id})

    def with_older(self, bought: Bought) -> Account:
        """With a purchase that is not listed any more among those that are summed up."""
        name = f"{_OLDER}{bought.provider}/{int(bought.is_code)}"
        summed = self.bought.get(name, bought)
        summed = replace(
            summed,
            purchased_at=min(summed.purchased_at, bought.purchased_at),
            products=tuple(sorted({*summed.products, *bought.products})),
        )
        return replace(self, bought={**self.bought, name: summed})

    def to_json(self) -> list[Any]:
        """The account as :meth:`from_json` reads it: short, a customer may have hundreds."""
        profile = {
            kind: {name: source.data[name] for name in _SHOWN if source.data.get(name)}
            for kind, source in that_count(self.profile).items()
        }
        bought = {
            purchase_id: [b.purchased_at, int(b.came_about), int(b.is_code), b.provider, b.products]
            for purchase_id, b in self.bought.items()
        }
        return [profile, bought, sorted(self.rows)]

    @classmethod
    def from_json(cls, account: str, value: list[Any]) -> Account:
        profile, bought, rows = value
        return cls(
            account,
            {kind: Source(data, 0) for kind, data in profile.items()},
            {
                purchase_id: Bought(at, bool(came), bool(code), provider, tuple(products))
                for purchase_id, (at, came, code, provider, products) in bought.items()
            },
            frozenset(rows),
        )


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer as the list shows it, with what the list is filtered by.

    Attributes:
        customer_since: seconds since the epoch of the first purchase of any kind.
        product_ids: products ever bought, ended purchases too.
        accounts: the billing accounts that are this customer.
    """

    customer_id: str
    grouptizer_id: str | None
    name: str | None
    email: str | None
    avatar_url: str | None
    payment_providers: tuple[str, ...]
    used_access_code: bool
    customer_since: int
    product_ids: tuple[str, ...]
    accounts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The row as the API answers it."""
        return {
            "customer_id": self.customer_id,
            "grouptizer_id": self.grouptizer_id,
            "name": self.name,
            "email": self.email,
            "avatar_url": self.avatar_url,
            "payment_providers": list(self.payment_providers),
            "used_access_code": self.used_access_code,
            "customer_since": iso(self.customer_since),
        }


def _newest(profiles: Iterable[tuple[str, Mapping[str, Source]]], name: str) -> Any:
    """What the store itself says of somebody, else the account that was made last.

    It must not depend on when something was last said: an event that changes nothing here is
    stored without a look at the customer.
    """
    candidates = [
        (
            kind == "store",
            kind != _FALLBACK,
            source.data.get("created_at") or 0,
            account,
            kind,
            source.data[name],
        )
        for account, profile in profiles
        for kind, source in profile.items()
        if source.data.get(name)
    ]
    return max(candidates, key=lambda c: c[:5])[5] if candidates else None


def is_guest(account: str) -> bool:
    """Whether an account stands for one payment whose payer is not known yet. Its records move to
    the customer that the payer turns out to be."""
    return account.startswith("guest:")


def identity(account: str, profile: Mapping[str, Source]) -> str:
    """Who an account is: by Grouptizer ID, else (guests) by e-mail address, else by itself."""
    if account.startswith("store:"):
        return f"grouptizer:{account.removeprefix('store:')}"
    grouptizer_id = _newest([(account, profile)], "grouptizer_id")
    if grouptizer_id:
        return f"grouptizer:{grouptizer_id}"
    if is_guest(account):
        email = _newest([(account, profile)], "email")
        if email:
            return f"email:{email.strip().casefold()}"
    return f"account:{account}"


def customer_id_of(store_id: str, identity_: str) -> str:
    """The public id of an identity within a store."""
    digest = hashlib.sha256(f"{store_id}\0{identity_}".encode()).digest()
    return "cust_" + base64.b32encode(digest[:15]).decode().lower()


def within_bounds(accounts: Iterable[Account]) -> dict[str, Account]:
    """The accounts of a customer with at most :data:`MOST_PURCHASES` purchases between them, and
    :data:`MOST_ATTEMPTS` attempts that came to nothing, the newest ones.

    Older purchases are summed up, so that the customer's row stays as it is. A guest of whose
    attempts none is left goes.
    """
    known = {account.account: account for account in accounts}
    listed = sorted(
        (
            (bought.purchased_at, purchase_id, name, bought)
            for name, account in known.items()
            for purchase_id, bought in account.listed.items()
        ),
        key=lambda one: one[:3],
        reverse=True,
    )
    attempts = [one for one in listed if not one[3].came_about]
    purchases = [one for one in listed if one[3].came_about]
    for _, purchase_id, name, _ in attempts[MOST_ATTEMPTS:]:
        known[name] = known[name].without(purchase_id)
        if is_guest(name) and not known[name].bought:
            del known[name]
    for _, purchase_id, name, bought in purchases[MOST_PURCHASES:]:
        known[name] = known[name].without(purchase_id).with_older(bought)
    return known


def summarize(
    customer_id: str, accounts: Iterable[Account], *, only_purchases: bool = False
) -> CustomerRow | None:
    """The list's row of a customer, or ``None`` where nobody bought anything.

    Somebody who left an address, or whose every attempt to pay failed, is no customer.

    Args:
        only_purchases: who paid for something that is no purchase here is no customer either.
    """
    known = sorted(accounts, key=lambda a: a.account)
    profiles = [(a.account, a.profile) for a in known]
    bought = [b for a in known for b in a.bought.values() if b.came_about]
    since = [b.purchased_at for b in bought] or [
        int(source.data["created_at"])
        for _, profile in profiles
        for source in profile.values()
        if "money" in profile and not only_purchases and source.data.get("created_at")
    ]
    if not since:
        return None
    grouptizer_id = _newest(profiles, "grouptizer_id") or next(
        (a.account.removeprefix("store:") for a in known if a.account.startswith("store:")), None
    )
    return CustomerRow(
        customer_id=customer_id,
        grouptizer_id=grouptizer_id,
        name=_newest(profiles, "name"),
        email=_newest(profiles, "email"),
        avatar_url=_newest(profiles, "avatar_url"),
        payment_providers=tuple(sorted({b.provider for b in bought if b.provider is not None})),
        used_access_code=any(b.is_code for b in bought),
        customer_since=min(since),
        product_ids=tuple(sorted({product for b in bought for product in b.products})),
        accounts=tuple(a.account for a in known),
    )


def that_count(profile: Mapping[str, Source]) -> Mapping[str, Source]:
    """The sources of a profile without the checkout's, where the customer itself says all of it.

    Nothing follows from a checkout then.
    """
    customer = profile.get("customer")
    if customer is None or not (customer.data.get("name") and customer.data.get("email")):
        return profile
    return {kind: source for kind, source in profile.items() if kind != _FALLBACK}


def source_facts(source: str, data: Data) -> Any:
    """The part of a profile's source that the customer list depends on."""
    del source
    return [
        data.get("name"),
        data.get("email"),
        data.get("grouptizer_id"),
        data.get("avatar_url"),
        bool(data.get("deleted")),
        data.get("created_at"),
        bool(data.get("has_paid")),
    ]
