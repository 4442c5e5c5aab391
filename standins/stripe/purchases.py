"""What a buyer may agree upon with a store: the arguments of the actions that sell something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def storefront_metadata(
    product: str | None = None,
    telegram_user_id: int | str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """What a storefront notes on a session, payment or subscription, without the empty keys."""
    noted = {"product_id": product, "telegram_user_id": telegram_user_id, **(metadata or {})}
    return {key: str(value) for key, value in noted.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """Who buys which product, and what the storefront notes.

    ``customer``: the id of an existing one. Without it a new customer is made of ``name``,
    ``email``, ``grouptizer_id`` and ``avatar_url``. ``product``: an id, by default a product of
    the stand-in's own.
    """

    customer: str | None = None
    name: str | None = "Jane Doe"
    email: str | None = "jane@example.com"
    grouptizer_id: str | None = None
    avatar_url: str | None = None
    product: str | None = None
    currency: str = "usd"
    telegram_user_id: int | str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class OneOff(Purchase):
    """A one-off purchase. ``more_products``: further lines of the cart, at the same amount each.

    ``outcome``: "succeeded"; "failed" (declined, the session stays open); "authorized" (to be
    captured); "pending" (an asynchronous method: the session completes unpaid, and ``settle``
    brings the result). ``guest``: no customer, only ``customer_details``.
    """

    amount: int = 1500
    more_products: Sequence[str] = ()
    payment_method: str | None = None
    method_type: str = "card"
    guest: bool = False
    outcome: str = "succeeded"
    product_in_metadata: bool = True


@dataclass(frozen=True, kw_only=True)
class AccessCode(Purchase):
    """An access code that is redeemed. ``access_expires_at``: ISO 8601, ``None``: for life."""

    access_code: str | None = None
    access_expires_at: str | None = None
    guest: bool = False


@dataclass(frozen=True, kw_only=True)
class NewSubscription(Purchase):
    """A new subscription.

    ``fails``: the first payment is declined, it stays ``incomplete``. ``more_products``: further
    items of the same interval. ``one_time_products``: sold in the same checkout, once, at
    ``one_time_amount`` each; the first invoice bills them. ``no_payment_method`` goes with a
    trial, and ``missing_payment_method`` (create_invoice, pause, cancel) says what its end does.
    ``checkout``: through a Checkout session, else by the API.
    """

    more_products: Sequence[str] = ()
    one_time_products: Sequence[str] = ()
    one_time_amount: int = 500
    amount: int = 900
    interval: str = "month"
    interval_count: int = 1
    trial_days: int = 0
    payment_method: str | None = None
    method_type: str = "card"
    no_payment_method: bool = False
    missing_payment_method: str = "create_invoice"
    billing_mode: str = "flexible"
    fails: bool = False
    checkout: bool = True
    product_in_metadata: bool = False
