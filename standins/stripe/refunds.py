"""Refunds of charges."""

from __future__ import annotations

from standins.stripe import balance_transactions, charges
from standins.stripe.errors import StripeError
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object


def create(
    ledger: Ledger,
    payment: str,
    *,
    amount: int | None = None,
    status: str = "succeeded",
    reason: str | None = "requested_by_customer",
) -> Object:
    """The store owner refunds a payment in the dashboard; ``amount``: all that is left.

    ``status``: "succeeded" or "pending" (then :func:`finish`).
    """
    charge = charges.charge_of(ledger, payment)
    left = charge["amount"] - charge["amount_refunded"]
    amount = left if amount is None else amount
    if not 0 < amount <= left:
        raise StripeError(
            400,
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    kind = charge["payment_method_details"]["type"]
    refund = {
        "id": ledger.new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": ledger.now(),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "destination_details": {"type": kind, kind: {"type": "refund"} if kind == "card" else {}},
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    entry = balance_transactions.create(ledger, refund, -amount, type_="refund")
    refund["balance_transaction"] = entry["id"]
    ledger.add(refund)
    ledger.emit("refund.created", refund)
    charges.count_refund(ledger, charge, refund, amount, "charge.refunded")
    return refund


def finish(ledger: Ledger, refund: str, *, status: str = "succeeded") -> Object:
    """A pending (or even a succeeded) refund becomes succeeded, failed or canceled."""
    target = ledger.get("refund", refund)
    charge = ledger.get("charge", target["charge"])
    values: Object = {"status": status}
    undone = status in ("failed", "canceled") and target["status"] in ("pending", "succeeded")
    if status == "failed":
        values["failure_reason"] = "expired_or_canceled_card"
    if undone:
        entry = balance_transactions.create(
            ledger, target, target["amount"], type_="refund_failure"
        )
        values["failure_balance_transaction"] = entry["id"]
    previous = ledger.change(target, **values)
    ledger.emit("refund.updated", target, previous)
    ledger.emit("charge.refund.updated", target, previous)
    if status == "failed":
        ledger.emit("refund.failed", target)
    if undone:
        charges.count_refund(ledger, charge, target, -target["amount"], "charge.updated")
    return target
