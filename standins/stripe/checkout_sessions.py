"""Checkout sessions and their line items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from standins.stripe.clock import DAY
from standins.stripe.customers import NO_ADDRESS, Buyer
from standins.stripe.errors import invalid
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a session. ``name``: the product's; ``amount``: what is charged for it now."""

    price: Object
    name: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a session offers. ``mode``: payment or subscription."""

    mode: str
    lines: Sequence[Line]
    metadata: Mapping[str, str]
    method_type: str = "card"


def create(ledger: Ledger, buyer: Buyer, terms: Terms) -> Object:
    """A new session; opening it writes no event."""
    prefix = "cs_live_a1" if ledger.livemode else "cs_test_a1"
    id_ = prefix + ledger.new_id("cs", length=56).removeprefix("cs_")
    created, payment = ledger.now(), terms.mode == "payment"
    amount, currency = sum(line.amount for line in terms.lines), terms.lines[0].price["currency"]
    return ledger.add(
        {
            "id": id_,
            "object": "checkout.session",
            "adaptive_pricing": {"enabled": False},
            "after_expiration": None,
            "allow_promotion_codes": None,
            "amount_subtotal": amount,
            "amount_total": amount,
            "automatic_tax": {
                "enabled": False,
                "liability": None,
                "provider": None,
                "status": None,
            },
            "billing_address_collection": None,
            "cancel_url": "https://example.com/cancel",
            "client_reference_id": None,
            "client_secret": None,
            "collected_information": None,
            "consent": None,
            "consent_collection": None,
            "created": created,
            "currency": currency,
            "currency_conversion": None,
            "custom_fields": [],
            "custom_text": {"after_submit": None, "submit": None},
            "customer": buyer.customer,
            "customer_creation": "if_required" if payment else None,
            "customer_details": {
                "address": dict(NO_ADDRESS),
                "email": buyer.email,
                "name": buyer.name,
                "phone": None,
                "tax_exempt": "none",
                "tax_ids": [],
            },
            "customer_email": None,
            "discounts": [],
            "expires_at": created + DAY,
            "invoice": None,
            "livemode": ledger.livemode,
            "locale": None,
            "metadata": dict(terms.metadata),
            "mode": terms.mode,
            "payment_intent": None,
            "payment_link": None,
            "payment_method_collection": "if_required" if payment else "always",
            "payment_method_options": {},
            "payment_method_types": [terms.method_type],
            "payment_status": "unpaid",
            "permissions": None,
            "recovered_from": None,
            "setup_intent": None,
            "shipping_cost": None,
            "shipping_options": [],
            "status": "open",
            "submit_type": None,
            "subscription": None,
            "success_url": "https://example.com/success",
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": "hosted",
            "url": f"https://checkout.stripe.com/c/pay/{id_}",
            "_lines": [_item(ledger, line) for line in terms.lines],
        }
    )


def _item(ledger: Ledger, line: Line) -> Object:
    return {
        "id": ledger.new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": line.amount,
        "amount_tax": 0,
        "amount_total": line.amount,
        "currency": line.price["currency"],
        "description": line.name,
        "price": dict(line.price),
        "quantity": 1,
    }


def complete(ledger: Ledger, session: Object, event: str = "completed", **values: Any) -> None:
    """Complete a session with these fields, and write this event of it."""
    ledger.change(session, status="complete", url=None, **values)
    ledger.emit(f"checkout.session.{event}", session)


def expire(ledger: Ledger, id_: str) -> Object:
    """``POST /v1/checkout/sessions/{id}/expire``, and what time does to an open session."""
    session = ledger.get("checkout.session", id_)
    if session["status"] != "open":
        raise invalid(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Session '
            f"has a status of {session['status']}."
        )
    ledger.change(session, status="expired", url=None)
    ledger.emit("checkout.session.expired", session)
    return session


def due_at(session: Mapping[str, Any]) -> int | None:
    """When an open session expires."""
    return session["expires_at"] if session["status"] == "open" else None
