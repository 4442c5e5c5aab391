"""Customers, and the transactions of their credit balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from standins.stripe.errors import missing
from standins.stripe.ledger import Ledger, merged
from standins.stripe.shapes import Object

NO_ADDRESS: Object = {
    "city": None,
    "country": None,
    "line1": None,
    "line2": None,
    "postal_code": None,
    "state": None,
}


@dataclass(frozen=True)
class Buyer:
    """Who pays: a customer, or a guest of whom only name and e-mail address are known."""

    customer: str | None
    name: str | None
    email: str | None

    @classmethod
    def of(cls, customer: Object) -> Buyer:
        """This customer as a buyer."""
        return cls(customer["id"], customer["name"], customer["email"])


def create(
    ledger: Ledger,
    *,
    name: str | None = "Jane Doe",
    email: str | None = "jane@example.com",
    grouptizer_id: str | None = None,
    avatar_url: str | None = None,
    currency: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002 - Stripe's own field name
) -> Object:
    """A new customer."""
    noted = {"grouptizer_id": grouptizer_id, "avatar_url": avatar_url, **(metadata or {})}
    id_ = id or ledger.new_id("cus", length=14)
    customer = ledger.add(
        {
            "id": id_,
            "object": "customer",
            "address": None,
            "balance": 0,
            "created": ledger.now(),
            "currency": currency,
            "default_source": None,
            "delinquent": False,
            "description": None,
            "discount": None,
            "email": email,
            "invoice_prefix": id_[-8:].upper(),
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": None,
                "footer": None,
                "rendering_options": None,
            },
            "livemode": ledger.livemode,
            "metadata": merged({}, noted),
            "name": name,
            "next_invoice_sequence": 1,
            "phone": None,
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": None,
        }
    )
    ledger.emit("customer.created", customer)
    return customer


def update(
    ledger: Ledger,
    customer: str,
    *,
    name: str | None = None,
    email: str | None = None,
    grouptizer_id: str | None = None,
    avatar_url: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Object:
    """Change what is given of a customer; an empty text clears it."""
    target = ledger.get("customer", customer)
    values: Object = {}
    if name is not None:
        values["name"] = name or None
    if email is not None:
        values["email"] = email or None
    noted = dict(metadata or {})
    if grouptizer_id is not None:
        noted["grouptizer_id"] = grouptizer_id
    if avatar_url is not None:
        noted["avatar_url"] = avatar_url
    if noted:
        values["metadata"] = merged(target["metadata"], noted)
    ledger.update("customer.updated", target, **values)
    return target


def delete(ledger: Ledger, customer: Object) -> None:
    """Delete the customer alone; its subscriptions have been ended before."""
    ledger.change(customer, _deleted=True)
    ledger.emit("customer.deleted", customer)


def existing(ledger: Ledger, id_: str) -> Object:
    """The customer a purchase names. A deleted one is refused, as Stripe does (400)."""
    found = ledger.get("customer", id_, param="customer")
    if found.get("_deleted"):
        raise missing("customer", id_, param="customer", status=400)
    return found


def adjust_balance(
    ledger: Ledger,
    customer: str,
    *,
    amount: int = -500,
    currency: str = "usd",
    description: str | None = None,
) -> Object:
    """A customer balance transaction; negative amounts are credit for the customer."""
    owner = ledger.get("customer", customer)
    return book_balance(ledger, owner, amount, currency=currency, description=description)


def book_balance(
    ledger: Ledger,
    customer: Object,
    amount: int,
    *,
    currency: str,
    kind: str = "adjustment",
    description: str | None = None,
    credit_note: str | None = None,
    invoice: str | None = None,
) -> Object:
    """Change what a customer owes (positive) or is owed (negative); returns the transaction."""
    entry = ledger.add(
        {
            "id": ledger.new_id("cbtxn"),
            "object": "customer_balance_transaction",
            "amount": amount,
            "checkout_session": None,
            "created": ledger.now(),
            "credit_note": credit_note,
            "currency": currency,
            "customer": customer["id"],
            "description": description,
            "ending_balance": customer["balance"] + amount,
            "invoice": invoice,
            "livemode": customer["livemode"],
            "metadata": {},
            "type": kind,
        }
    )
    ledger.update(
        "customer.updated",
        customer,
        balance=customer["balance"] + amount,
        currency=customer["currency"] or currency,
    )
    return entry
