"""Charges: each attempt to collect a payment intent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from standins.stripe import balance_transactions
from standins.stripe.errors import missing
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object, clone

FEE_PERCENT = 3


def create(
    ledger: Ledger,
    intent: Mapping[str, Any],
    method: Mapping[str, Any],
    outcome: str,
    decline_code: str,
) -> Object:
    """A new charge. ``outcome``: succeeded, failed, pending or authorized."""
    status = {"authorized": "succeeded"}.get(outcome, outcome)
    captured = outcome != "authorized"
    failed = status == "failed"
    id_ = ledger.new_id("ch")
    charge = ledger.add(
        {
            "id": id_,
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": intent["amount"] if captured and status == "succeeded" else 0,
            "amount_refunded": 0,
            "application": None,
            "application_fee": None,
            "application_fee_amount": None,
            "balance_transaction": None,
            "billing_details": dict(method["billing_details"]),
            "calculated_statement_descriptor": "STORE",
            "captured": captured and not failed,
            "created": ledger.now(),
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_balance_transaction": None,
            "failure_code": "card_declined" if failed else None,
            "failure_message": "Your card was declined." if failed else None,
            "fraud_details": {},
            "livemode": intent["livemode"],
            "metadata": dict(intent["metadata"]),
            "on_behalf_of": None,
            "outcome": {
                "advice_code": "try_again_later" if failed else None,
                "network_advice_code": None,
                "network_decline_code": None,
                "network_status": "declined_by_network" if failed else "approved_by_network",
                "reason": decline_code if failed else None,
                "risk_level": "normal",
                "seller_message": "The bank declined." if failed else "Payment complete.",
                "type": "issuer_declined" if failed else "authorized",
            },
            "paid": status == "succeeded",
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": _payment_details(method),
            "receipt_email": None,
            "receipt_number": None,
            "receipt_url": None if failed else f"https://pay.stripe.com/receipts/payment/{id_}",
            "refunded": False,
            "review": None,
            "shipping": None,
            "source": None,
            "source_transfer": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": status,
            "transfer_data": None,
            "transfer_group": None,
            "_invoice": intent["_invoice"],
            "_refunds": [],
        }
    )
    if outcome == "succeeded":
        book(ledger, charge)
    return charge


def _payment_details(method: Mapping[str, Any]) -> Object:
    """``payment_method_details`` of a charge made with this payment method."""
    kind = method["type"]
    details = dict(method.get(kind) or {})
    if kind == "card":
        details = {
            key: details[key]
            for key in (
                "brand",
                "checks",
                "country",
                "exp_month",
                "exp_year",
                "fingerprint",
                "funding",
                "last4",
                "wallet",
            )
        }
        details |= {"network": details["brand"], "three_d_secure": None, "installments": None}
    else:
        for key in ("generated_from", "networks", "status_details"):
            details.pop(key, None)
    return {"type": kind, kind: details}


def book(ledger: Ledger, charge: Object) -> None:
    """The money of a charge comes into the balance, less Stripe's fee."""
    fee = charge["amount"] * FEE_PERCENT // 100
    entry = balance_transactions.create(
        ledger,
        charge,
        charge["amount"],
        type_="charge",
        fee=fee,
        description=charge["description"],
    )
    ledger.change(charge, balance_transaction=entry["id"])


def settle(ledger: Ledger, charge: Object, *, succeeded: bool) -> None:
    """Give a pending charge its late result. The payment intent writes the events."""
    if succeeded:
        ledger.change(charge, status="succeeded", paid=True, amount_captured=charge["amount"])
        book(ledger, charge)
    else:
        ledger.change(
            charge,
            status="failed",
            captured=False,
            failure_code="payment_method_provider_decline",
            failure_message="The bank refused the debit.",
        )


def release(ledger: Ledger, charge: Object) -> None:
    """An authorization ends uncollected: API versions before 2025-03-31 call it refunded."""
    ledger.change(charge, _released=True)


def count_refund(ledger: Ledger, charge: Object, refund: Object, delta: int, event: str) -> None:
    """Add a refund's amount to its charge (or take it off), and write this event of the charge."""
    total = charge["amount_refunded"] + delta
    others = [r for r in charge["_refunds"] if r["id"] != refund["id"]]
    ledger.update(
        event,
        charge,
        amount_refunded=total,
        refunded=total == charge["amount"],
        _refunds=[clone(refund), *others],
    )


def charge_of(ledger: Ledger, payment: str) -> Object:
    """The latest charge of a charge, payment intent, session, invoice or subscription id."""
    found = ledger.find(payment)
    while found is not None and found["object"] != "charge":
        following = {
            "payment_intent": "latest_charge",
            "checkout.session": "payment_intent",
            "invoice": "_charge",
            "subscription": "latest_invoice",
        }.get(found["object"])
        id_ = found.get(following) if following else None
        if id_ is None and found["object"] == "checkout.session":
            id_ = found["subscription"]
        found = ledger.find(id_) if id_ else None
    if found is None:
        raise missing("charge", payment)
    return found
