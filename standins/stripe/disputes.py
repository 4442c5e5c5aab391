"""Disputes: a buyer's bank takes a payment back, or asks about it."""

from __future__ import annotations

from standins.stripe import balance_transactions, charges
from standins.stripe.clock import DAY
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object, clone

DISPUTE_FEE = 1500


def create(
    ledger: Ledger,
    payment: str,
    *,
    amount: int | None = None,
    reason: str = "fraudulent",
    fee: int = DISPUTE_FEE,
    inquiry: bool = False,
) -> Object:
    """The buyer's bank disputes a payment; funds are withdrawn unless it is an inquiry."""
    charge = charges.charge_of(ledger, payment)
    details = charge["payment_method_details"]
    created = ledger.now()
    dispute = ledger.add(
        {
            "id": ledger.new_id("du"),
            "object": "dispute",
            "amount": charge["amount"] if amount is None else amount,
            "balance_transactions": [],
            "charge": charge["id"],
            "created": created,
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {
                "customer_name": None,
                "product_description": None,
                "uncategorized_text": None,
            },
            "evidence_details": {
                "due_by": created + 9 * DAY,
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
            },
            "is_charge_refundable": inquiry,
            "livemode": charge["livemode"],
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "payment_method_details": {
                "type": "card",
                "card": {
                    "brand": details.get("card", {}).get("brand", "visa"),
                    "case_type": "inquiry" if inquiry else "chargeback",
                    "network_reason_code": "10.4",
                },
            },
            "reason": reason,
            "status": "warning_needs_response" if inquiry else "needs_response",
        }
    )
    ledger.emit("charge.dispute.created", dispute)
    ledger.update("charge.updated", charge, disputed=True)
    if not inquiry:
        _book(ledger, dispute, -dispute["amount"], fee, "funds_withdrawn")
    return dispute


def _book(ledger: Ledger, dispute: Object, amount: int, fee: int, event: str) -> None:
    """Move the disputed money out of the balance or back into it."""
    text = f"Chargeback withdrawal for {dispute['charge']}"
    entry = balance_transactions.create(
        ledger, dispute, amount, type_="adjustment", fee=fee, description=text
    )
    plain = {key: clone(value) for key, value in entry.items() if not key.startswith("_")}
    entries = [*dispute["balance_transactions"], plain]
    ledger.update(f"charge.dispute.{event}", dispute, balance_transactions=entries)


def update(ledger: Ledger, dispute: str) -> Object:
    """Evidence is submitted: the dispute is under review."""
    target = ledger.get("dispute", dispute)
    inquiry = target["status"].startswith("warning")
    evidence = target["evidence_details"] | {"has_evidence": True, "submission_count": 1}
    ledger.update(
        "charge.dispute.updated",
        target,
        evidence_details=evidence,
        status="warning_under_review" if inquiry else "under_review",
    )
    return target


def close(ledger: Ledger, dispute: str, *, won: bool = True) -> Object:
    """The bank decides; a won dispute brings the funds back."""
    target = ledger.get("dispute", dispute)
    if target["status"].startswith("warning"):
        ledger.update("charge.dispute.closed", target, status="warning_closed")
        return target
    previous = ledger.change(target, status="won" if won else "lost")
    ledger.emit("charge.dispute.closed", target, previous)
    if won:
        _book(ledger, target, target["amount"], 0, "funds_reinstated")
    return target
