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
``guest``
    ``name, email, created_at`` (a checkout's ``customer_details`` or a charge's
    ``billing_details``)
``store``
    ``name, email, grouptizer_id, avatar_url, created_at`` (an event of the store itself)
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.clock import iso
from shared.domain.merge import Data, Source
from shared.domain.purchase import Purchase


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of one billing account: its profile and its purchases."""

    account: str
    profile: Mapping[str, Source]
    purchases: tuple[Purchase, ...] = ()


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
    """The value of the newest source that has one; the account's name decides a tie."""
    candidates = [
        (source.version, account, kind, source.data[name])
        for account, profile in profiles
        for kind, source in profile.items()
        if source.data.get(name)
    ]
    return max(candidates, key=lambda c: c[:3])[3] if candidates else None


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


def summarize(customer_id: str, accounts: Iterable[Account]) -> CustomerRow | None:
    """The list's row of a customer, or ``None`` where there is nobody to show.

    Customer since is the date of the first purchase that ever gave access; before there is one,
    that of the first attempt, or of the account itself.
    """
    known = sorted(accounts, key=lambda a: a.account)
    profiles = [(a.account, a.profile) for a in known]
    purchases = [p for a in known for p in a.purchases if p.visible]
    bought = [p for p in purchases if p.was_live]
    created = [
        int(source.data["created_at"])
        for _, profile in profiles
        for source in profile.values()
        if source.data.get("created_at") is not None and not source.data.get("deleted")
    ]
    since = [p.purchased_at for p in bought] or [p.purchased_at for p in purchases] or created
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
        payment_providers=tuple(
            sorted({p.payment_provider for p in purchases if p.payment_provider is not None})
        ),
        used_access_code=any(p.kind == "access_code" for p in purchases),
        customer_since=min(since),
        product_ids=tuple(sorted({product for p in bought for product in p.product_ids})),
        accounts=tuple(a.account for a in known),
    )


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
    ]
