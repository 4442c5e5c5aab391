"""Invoices of subscriptions, their lines and their payments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from standins.stripe import customers, payment_intents
from standins.stripe.clock import DAY
from standins.stripe.ledger import Ledger
from standins.stripe.payment_intents import Payment
from standins.stripe.shapes import Object, list_object

RETRY_DAYS = (3, 5, 7)
"""Days between the attempts to collect an invoice (Stripe's default retry rules are alike)."""


def draft(
    ledger: Ledger,
    subscription: Object,
    items: Sequence[Object],
    reason: str,
    once: Sequence[Object] = (),
) -> Object:
    """A new invoice for the present periods of these items. ``reason``: the ``billing_reason``;
    ``once``: one-time prices that it bills too."""
    customer = ledger.get("customer", subscription["customer"])
    id_ = ledger.new_id("in")
    free = subscription["status"] == "trialing"
    lines = [_line(ledger, id_, item, free=free) for item in items]
    lines += [_line_once(ledger, id_, price) for price in once]
    number = customer["next_invoice_sequence"]
    ledger.change(customer, next_invoice_sequence=number + 1)
    invoice = ledger.add(
        _new(ledger, id_, subscription, customer, lines)
        | {"billing_reason": reason, "number": f"{customer['invoice_prefix']}-{number:04d}"}
    )
    ledger.emit("invoice.created", invoice)
    return invoice


def _line(ledger: Ledger, invoice: str, item: Mapping[str, Any], *, free: bool) -> Object:
    price = item["price"]
    amount = 0 if free else price["unit_amount"] * item["quantity"]
    return {
        "id": ledger.new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": f"{item['quantity']} × {price['product']}",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice,
        "livemode": ledger.livemode,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": None,
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subtotal": amount,
        "taxes": [],
        "_price": dict(price),
    }


def _line_once(ledger: Ledger, invoice: str, price: Object) -> Object:
    now = ledger.now()
    item: Object = {
        "id": None,
        "price": price,
        "quantity": 1,
        "subscription": None,
        "current_period_start": now,
        "current_period_end": now,
    }
    parent = {
        "invoice_item_details": {
            "invoice_item": ledger.new_id("ii"),
            "proration": False,
            "proration_details": None,
            "subscription": None,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }
    return _line(ledger, invoice, item, free=False) | {"parent": parent}


def _new(
    ledger: Ledger,
    id_: str,
    subscription: Mapping[str, Any],
    customer: Mapping[str, Any],
    lines: list[Object],
) -> Object:
    """An invoice that is not stored yet, without its reason and number."""
    created = ledger.now()
    total = sum(line["amount"] for line in lines)
    return {
        "id": id_,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Store",
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": total,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None,
        "billing_reason": None,
        "collection_method": "charge_automatically",
        "created": created,
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_tax_exempt": "none",
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "latest_revision": None,
        "lines": list_object(lines, f"/v1/invoices/{id_}/lines"),
        "livemode": subscription["livemode"],
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": created,
        "period_start": created,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "starting_balance": customer["balance"],
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": None,
        "total": total,
        "total_excluding_tax": total,
        "total_taxes": [],
        "webhooks_delivered_at": created,
        "_charge": None,
        "_payment_intent": None,
    }


def finalize(ledger: Ledger, invoice: Object) -> None:
    """Open a draft; what the customer has as credit is taken off."""
    customer = ledger.get("customer", invoice["customer"])
    credit = min(max(-customer["balance"], 0), invoice["total"])
    if credit:
        customers.book_balance(
            ledger,
            customer,
            credit,
            currency=invoice["currency"],
            kind="applied_to_invoice",
            invoice=invoice["id"],
        )
    due = invoice["total"] - credit
    ledger.change(
        invoice,
        status="open",
        amount_due=due,
        amount_remaining=due,
        ending_balance=customer["balance"],
        effective_at=ledger.now(),
        hosted_invoice_url=f"https://invoice.stripe.com/i/{invoice['id']}",
        status_transitions=invoice["status_transitions"] | {"finalized_at": ledger.now()},
    )
    ledger.emit("invoice.finalized", invoice)


def collect(ledger: Ledger, invoice: Object, method: Object | None, *, fails: bool) -> bool:
    """Try to collect an open invoice by this payment method; true when it is paid."""
    if invoice["amount_due"] == 0:
        pay(ledger, invoice)
        return True
    if method is None:
        _note_failure(ledger, invoice)
        return False
    intent = _intent(ledger, invoice, method)
    charge = payment_intents.attempt(ledger, intent, "failed" if fails else "succeeded")
    ledger.change(invoice, _payment_intent=intent["id"], _charge=charge["id"])
    if fails:
        _note_failure(ledger, invoice)
        return False
    pay(ledger, invoice)
    return True


def _intent(ledger: Ledger, invoice: Object, method: Object) -> Object:
    """The payment intent of an invoice, made at the first attempt."""
    if invoice["_payment_intent"]:
        intent = ledger.get("payment_intent", invoice["_payment_intent"])
        ledger.change(intent, payment_method=method["id"])
        return intent
    first = invoice["billing_reason"] == "subscription_create"
    payment = Payment(
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        metadata={},  # a subscription's metadata is not copied to its payments
        description="Subscription creation" if first else "Subscription update",
        invoice=invoice["id"],
    )
    return payment_intents.create(ledger, payment, method)


def pay(ledger: Ledger, invoice: Object) -> None:
    """Mark an invoice as paid; the money has been collected, or there is nothing to collect."""
    ledger.change(
        invoice,
        status="paid",
        attempted=True,
        attempt_count=invoice["attempt_count"] + (1 if invoice["amount_due"] else 0),
        amount_paid=invoice["amount_due"],
        amount_remaining=0,
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions=invoice["status_transitions"] | {"paid_at": ledger.now()},
    )
    ledger.emit("invoice.paid", invoice)
    ledger.emit("invoice.payment_succeeded", invoice)
    if invoice["_payment_intent"]:
        _add_payment(ledger, invoice)


def _add_payment(ledger: Ledger, invoice: Object) -> None:
    created = ledger.now()
    payment = ledger.add(
        {
            "id": ledger.new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": invoice["amount_due"],
            "amount_requested": invoice["amount_due"],
            "created": created,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": invoice["livemode"],
            "payment": {"payment_intent": invoice["_payment_intent"], "type": "payment_intent"},
            "status": "paid",
            "status_transitions": {"canceled_at": None, "paid_at": created},
        }
    )
    ledger.emit("invoice_payment.paid", payment)


def _note_failure(ledger: Ledger, invoice: Object) -> None:
    attempts = invoice["attempt_count"] + 1
    again = None
    if attempts <= len(RETRY_DAYS) and invoice["billing_reason"] != "subscription_create":
        again = ledger.now() + RETRY_DAYS[attempts - 1] * DAY
    ledger.change(invoice, attempted=True, attempt_count=attempts, next_payment_attempt=again)
    ledger.emit("invoice.payment_failed", invoice)


def close(ledger: Ledger, invoice: Object, how: str) -> None:
    """Void an invoice or mark it uncollectible. ``how``: "void" or "uncollectible"."""
    key, event = {
        "void": ("voided_at", "invoice.voided"),
        "uncollectible": ("marked_uncollectible_at", "invoice.marked_uncollectible"),
    }[how]
    ledger.change(
        invoice,
        status=how,
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions=invoice["status_transitions"] | {key: ledger.now()},
    )
    ledger.emit(event, invoice)


def stop_collecting(ledger: Ledger, subscription: str) -> None:
    """Leave the open invoices of an ended subscription open, but collect them no more."""
    for invoice in list(ledger.all("invoice")):
        if subscription_of(invoice) == subscription and invoice["status"] == "open":
            ledger.update("invoice.updated", invoice, auto_advance=False, next_payment_attempt=None)


def subscription_of(invoice: Mapping[str, Any]) -> str | None:
    """The id of the subscription an invoice is for."""
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    id_: str | None = details.get("subscription")
    return id_
