"""Credit notes for invoices."""

from __future__ import annotations

from standins.stripe import customers, refunds
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object, list_object


def create(
    ledger: Ledger,
    payment: str,
    *,
    amount: int = 300,
    to: str = "customer_balance",
    reason: str | None = "order_change",
    memo: str | None = None,
) -> Object:
    """A credit note for a subscription's latest invoice (or a given invoice).

    ``to``, for a paid invoice: "customer_balance", "refund" or "out_of_band".
    """
    invoice = ledger.get("invoice", _invoice_id(ledger, payment))
    paid = invoice["status"] == "paid"
    note = _new(ledger, invoice, amount, reason, memo)
    if paid and to == "customer_balance":
        entry = customers.book_balance(
            ledger,
            ledger.get("customer", invoice["customer"]),
            -amount,
            currency=invoice["currency"],
            kind="credit_note",
            credit_note=note["id"],
            invoice=invoice["id"],
        )
        note["customer_balance_transaction"] = entry["id"]
    elif paid and to == "refund":
        refund = refunds.create(ledger, invoice["_charge"], amount=amount)
        note["refunds"] = [{"amount_refunded": amount, "refund": refund["id"], "type": "refund"}]
    elif paid:
        note["out_of_band_amount"] = amount
    ledger.add(note)
    ledger.emit("credit_note.created", note)
    key = "post_payment_credit_notes_amount" if paid else "pre_payment_credit_notes_amount"
    values: Object = {key: invoice[key] + amount}
    if not paid:
        values["amount_remaining"] = invoice["amount_remaining"] - amount
        values["amount_due"] = invoice["amount_due"] - amount
    ledger.update("invoice.updated", invoice, **values)
    return note


def _invoice_id(ledger: Ledger, payment: str) -> str:
    found = ledger.find(payment)
    if found is not None and found["object"] == "subscription":
        return str(found["latest_invoice"])
    if found is not None and found["object"] == "charge":
        return str(found["_invoice"])
    return payment


def _new(
    ledger: Ledger, invoice: Object, amount: int, reason: str | None, memo: str | None
) -> Object:
    """A credit note that is not stored yet."""
    number = 1 + sum(1 for note in ledger.all("credit_note") if note["invoice"] == invoice["id"])
    paid = invoice["status"] == "paid"
    id_, created = ledger.new_id("cn"), ledger.now()
    line = {
        "id": f"cnli_{id_[3:]}",
        "object": "credit_note_line_item",
        "amount": amount,
        "description": memo or "Credit",
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": None,
        "livemode": invoice["livemode"],
        "quantity": 1,
        "tax_rates": [],
        "taxes": [],
        "type": "custom_line_item",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }
    return {
        "id": id_,
        "object": "credit_note",
        "amount": amount,
        "amount_shipping": 0,
        "created": created,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": created,
        "invoice": invoice["id"],
        "lines": list_object([line], f"/v1/credit_notes/{id_}/lines"),
        "livemode": invoice["livemode"],
        "memo": memo,
        "metadata": {},
        "number": f"{invoice['number']}-CN-{number:02d}",
        "out_of_band_amount": None,
        "pretax_credit_amounts": [],
        "pdf": f"https://pay.stripe.com/credit_notes/{id_}/pdf",
        "post_payment_amount": amount if paid else 0,
        "pre_payment_amount": 0 if paid else amount,
        "reason": reason,
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "total_taxes": [],
        "type": "post_payment" if paid else "pre_payment",
        "voided_at": None,
    }


def update(ledger: Ledger, credit_note: str, *, memo: str) -> Object:
    """Another memo on a credit note."""
    note = ledger.get("credit_note", credit_note)
    ledger.update("credit_note.updated", note, memo=memo)
    return note


def void(ledger: Ledger, credit_note: str) -> Object:
    """Void a credit note."""
    note = ledger.get("credit_note", credit_note)
    previous = ledger.change(note, status="void", voided_at=ledger.now())
    ledger.emit("credit_note.voided", note, previous)
    return note
