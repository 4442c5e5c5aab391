"""Payment methods, and the card sources that came before them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from standins.stripe.customers import NO_ADDRESS, Buyer
from standins.stripe.errors import invalid
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object


@dataclass(frozen=True)
class Card:
    """What is printed on a card."""

    brand: str = "visa"
    last4: str = "4242"
    exp_month: int = 12
    exp_year: int = 2030


def create(ledger: Ledger, type_: str, holder: Buyer, card: Card | None = None) -> Object:
    """A new payment method of any type, attached to nobody."""
    return ledger.add(
        {
            "id": ledger.new_id("pm"),
            "object": "payment_method",
            "allow_redisplay": "limited",
            "billing_details": {
                "address": dict(NO_ADDRESS),
                "email": holder.email,
                "name": holder.name,
                "phone": None,
                "tax_id": None,
            },
            "created": ledger.now(),
            "customer": None,
            "livemode": ledger.livemode,
            "metadata": {},
            "type": type_,
            type_: _details(type_, holder, card or Card()),
        }
    )


def _details(type_: str, holder: Buyer, card: Card) -> Object:
    """The hash named like the type; empty for a type that Stripe may yet invent."""
    brand, last4 = card.brand, card.last4
    if type_ == "card":
        return {
            "brand": brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": "US",
            "display_brand": brand,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "fingerprint": _fingerprint(f"{brand}{last4}{card.exp_year}"),
            "funding": "credit",
            "generated_from": None,
            "last4": last4,
            "networks": {"available": [brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
    if type_ == "link":
        return {"email": holder.email}
    if type_ == "sepa_debit":
        return {
            "bank_code": "37040044",
            "branch_code": "",
            "country": "DE",
            "fingerprint": _fingerprint(f"sepa{last4}"),
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": last4,
        }
    if type_ == "paypal":
        return {"country": "US", "payer_email": holder.email, "payer_id": f"PAYER{last4}"}
    if type_ == "us_bank_account":
        return {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "financial_connections_account": None,
            "fingerprint": _fingerprint(f"ach{last4}"),
            "last4": last4,
            "networks": {"preferred": "ach", "supported": ["ach"]},
            "routing_number": "110000000",
            "status_details": {},
        }
    return {}


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def add(
    ledger: Ledger,
    customer: str,
    *,
    type: str = "card",  # noqa: A002 - Stripe's own field name
    brand: str = "visa",
    last4: str = "4242",
    exp_month: int = 12,
    exp_year: int = 2030,
    default: bool = False,
) -> Object:
    """A new payment method on file. Any ``type`` is taken, also one nobody knows yet."""
    holder = Buyer.of(ledger.get("customer", customer))
    method = create(ledger, type, holder, Card(brand, last4, exp_month, exp_year))
    _attach(ledger, method, customer)
    if default:
        set_default(ledger, customer, method["id"])
    return method


def _attach(ledger: Ledger, method: Object, customer: str) -> None:
    ledger.change(method, customer=customer)
    ledger.emit("payment_method.attached", method)


def to_pay_with(ledger: Ledger, buyer: Buyer, given: str | None, type_: str) -> Object:
    """The method a buyer pays with: the one given, one on file of this type, or a new one."""
    if given is not None:
        return ledger.get("payment_method", given, param="payment_method")
    if buyer.customer is not None:
        for method in ledger.all("payment_method"):
            if method["customer"] == buyer.customer and method["type"] == type_:
                return method
    method = create(ledger, type_, buyer)
    if buyer.customer is not None:
        _attach(ledger, method, buyer.customer)
    return method


def set_default(ledger: Ledger, customer: str, payment_method: str | None) -> Object:
    """Charge a customer's invoices to this method, or to none; returns the customer."""
    target = ledger.get("customer", customer)
    settings = target["invoice_settings"] | {"default_payment_method": payment_method}
    ledger.update("customer.updated", target, invoice_settings=settings)
    return target


def detach(ledger: Ledger, payment_method: str) -> Object:
    """Remove a payment method; the event tells the customer in ``previous_attributes`` only."""
    method = ledger.get("payment_method", payment_method)
    if method["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer.")
    owner = ledger.get("customer", method["customer"])
    previous = ledger.change(method, customer=None)
    ledger.emit("payment_method.detached", method, previous)
    if owner["invoice_settings"]["default_payment_method"] == payment_method:
        set_default(ledger, owner["id"], None)
    return method


def update(
    ledger: Ledger,
    payment_method: str,
    *,
    exp_month: int | None = None,
    exp_year: int | None = None,
    last4: str | None = None,
    automatically: bool = False,
) -> Object:
    """New card details, by the buyer or by the card network (``automatically``)."""
    method = ledger.get("payment_method", payment_method)
    given = {"exp_month": exp_month, "exp_year": exp_year, "last4": last4}
    details = method[method["type"]] | {k: v for k, v in given.items() if v is not None}
    event = "automatically_updated" if automatically else "updated"
    ledger.update(f"payment_method.{event}", method, **{method["type"]: details})
    return method


# --- legacy card sources ------------------------------------------------------------------


def add_source(
    ledger: Ledger,
    customer: str,
    *,
    brand: str = "Visa",
    last4: str = "4242",
    exp_month: int = 12,
    exp_year: int = 2030,
    default: bool = True,
) -> Object:
    """A legacy card attached as a source (ids ``card_…``)."""
    owner = ledger.get("customer", customer)
    source = ledger.add(
        {
            "id": ledger.new_id("card"),
            "object": "card",
            "brand": brand,
            "country": "US",
            "customer": customer,
            "cvc_check": "pass",
            "dynamic_last4": None,
            "exp_month": exp_month,
            "exp_year": exp_year,
            "fingerprint": _fingerprint(f"{brand}{last4}"),
            "funding": "credit",
            "last4": last4,
            "metadata": {},
            "name": owner["name"],
        }
    )
    ledger.emit("customer.source.created", source)
    if default:
        ledger.update("customer.updated", owner, default_source=source["id"])
    return source


def update_source(
    ledger: Ledger, source: str, *, exp_month: int = 1, exp_year: int = 2032
) -> Object:
    """A card source gets another date of expiry."""
    target = ledger.get("card", source)
    ledger.update("customer.source.updated", target, exp_month=exp_month, exp_year=exp_year)
    return target


def expire_source(ledger: Ledger, source: str) -> Object:
    """Write the event of a card source that expires at the month's end."""
    target = ledger.get("card", source)
    ledger.emit("customer.source.expiring", target)
    return target


def remove_source(ledger: Ledger, source: str) -> None:
    """Delete a card source."""
    target = ledger.get("card", source)
    owner = ledger.get("customer", target["customer"])
    ledger.change(target, _deleted=True)
    ledger.emit("customer.source.deleted", target)
    if owner["default_source"] == source:
        ledger.update("customer.updated", owner, default_source=None)
