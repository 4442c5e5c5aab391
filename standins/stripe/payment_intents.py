"""Payment intents: what is to be paid, whatever number of charges it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from standins.stripe import charges
from standins.stripe.errors import invalid
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object, clone


@dataclass(frozen=True, kw_only=True)
class Payment:
    """What is paid, and by whom. ``invoice``: the id of the invoice it pays, if any."""

    amount: int
    currency: str
    customer: str | None
    metadata: Mapping[str, str]
    description: str | None = None
    invoice: str | None = None


def create(ledger: Ledger, payment: Payment, method: Object, *, capture: bool = True) -> Object:
    """A new payment intent; without ``capture`` the payment is only authorized."""
    id_, invoice = ledger.new_id("pi"), payment.invoice
    intent = ledger.add(
        {
            "id": id_,
            "object": "payment_intent",
            "amount": payment.amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic_async" if capture else "manual",
            "client_secret": f"{id_}_secret_standin",
            "confirmation_method": "automatic",
            "created": ledger.now(),
            "currency": payment.currency,
            "customer": payment.customer,
            "description": payment.description,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": ledger.livemode,
            "metadata": dict(payment.metadata),
            "next_action": None,
            "on_behalf_of": None,
            "payment_details": {"customer_reference": None, "order_reference": invoice}
            if invoice
            else None,
            "payment_method": method["id"],
            "payment_method_configuration_details": None,
            "payment_method_options": {},
            "payment_method_types": [method["type"]],
            "processing": None,
            "receipt_email": None,
            "review": None,
            "setup_future_usage": "off_session" if invoice else None,
            "shipping": None,
            "source": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
            "_invoice": invoice,
            "_charges": [],
        }
    )
    ledger.emit("payment_intent.created", intent)
    return intent


def attempt(
    ledger: Ledger, intent: Object, outcome: str, *, decline_code: str = "insufficient_funds"
) -> Object:
    """Charge an intent; returns the charge. ``outcome``: succeeded, failed, pending, authorized."""
    method = ledger.get("payment_method", intent["payment_method"])
    charge = charges.create(ledger, intent, method, outcome, decline_code)
    _take_result(ledger, intent, charge, outcome, decline_code)
    return charge


def _take_result(
    ledger: Ledger, intent: Object, charge: Object, outcome: str, decline_code: str = ""
) -> None:
    """Write what an attempt did to its intent, and the events of both."""
    attempts = [*(c for c in intent["_charges"] if c["id"] != charge["id"]), clone(charge)]
    common = {"latest_charge": charge["id"], "_charges": attempts}
    if outcome == "failed":
        ledger.change(
            intent,
            status="requires_payment_method",
            payment_method=None,
            processing=None,
            last_payment_error={
                "charge": charge["id"],
                "code": "card_declined",
                "decline_code": decline_code,
                "message": "Your card was declined.",
                "payment_method": _embedded(ledger.get("payment_method", charge["payment_method"])),
                "type": "card_error",
            },
            **common,
        )
        ledger.emit("charge.failed", charge)
        ledger.emit("payment_intent.payment_failed", intent)
    elif outcome == "pending":
        ledger.change(intent, status="processing", **common)
        ledger.emit("payment_intent.processing", intent)
        ledger.emit("charge.pending", charge)
    elif outcome == "authorized":
        ledger.change(
            intent, status="requires_capture", amount_capturable=intent["amount"], **common
        )
        ledger.emit("charge.succeeded", charge)
        ledger.emit("payment_intent.amount_capturable_updated", intent)
    else:
        ledger.change(
            intent,
            status="succeeded",
            amount_received=charge["amount"],
            amount_capturable=0,
            processing=None,
            last_payment_error=None,
            **common,
        )
        ledger.emit("charge.succeeded", charge)
        ledger.emit("payment_intent.succeeded", intent)


def _embedded(method: Object) -> Object:
    """A payment method as it is embedded in a payment's error."""
    return {key: clone(value) for key, value in method.items() if not key.startswith("_")}


def settle(ledger: Ledger, intent: Object, *, succeeded: bool) -> Object:
    """The late result of an asynchronous payment method; returns the charge."""
    charge = ledger.get("charge", intent["latest_charge"])
    if charge["status"] != "pending":
        raise invalid(f"The charge {charge['id']} is not pending.")
    charges.settle(ledger, charge, succeeded=succeeded)
    if succeeded:
        _take_result(ledger, intent, charge, "succeeded")
    else:
        _take_result(ledger, intent, charge, "failed", "generic_decline")
    return charge


def capture(ledger: Ledger, payment: str) -> Object:
    """Collect an authorized payment; returns the charge."""
    charge = charges.charge_of(ledger, payment)
    intent = ledger.get("payment_intent", charge["payment_intent"])
    ledger.change(charge, captured=True, amount_captured=charge["amount"])
    charges.book(ledger, charge)
    ledger.change(intent, status="succeeded", amount_received=charge["amount"], amount_capturable=0)
    ledger.emit("charge.captured", charge)
    ledger.emit("payment_intent.succeeded", intent)
    return charge


def expire_authorization(ledger: Ledger, payment: str) -> Object:
    """An authorized payment that nobody captured lapses; returns the charge."""
    charge = charges.charge_of(ledger, payment)
    intent = ledger.get("payment_intent", charge["payment_intent"])
    charges.release(ledger, charge)
    ledger.change(
        intent,
        status="canceled",
        canceled_at=ledger.now(),
        cancellation_reason="expired",
        amount_capturable=0,
    )
    ledger.emit("charge.expired", charge)
    ledger.emit("payment_intent.canceled", intent)
    return charge


def cancel(ledger: Ledger, id_: str, *, reason: str | None = None) -> Object:
    """``POST /v1/payment_intents/{id}/cancel``."""
    intent = ledger.get("payment_intent", id_)
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise invalid(
            f"You cannot cancel this PaymentIntent because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may "
            "be canceled: requires_payment_method, requires_capture, requires_confirmation, "
            "requires_action, processing.",
            code="payment_intent_unexpected_state",
        )
    if intent["status"] == "requires_capture":
        charges.release(ledger, charges.charge_of(ledger, id_))
    ledger.change(
        intent,
        status="canceled",
        canceled_at=ledger.now(),
        cancellation_reason=reason,
        amount_capturable=0,
    )
    ledger.emit("payment_intent.canceled", intent)
    return intent
