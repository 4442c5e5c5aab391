"""Balance transactions: what comes into and leaves the account's balance."""

from __future__ import annotations

from standins.stripe.clock import DAY
from standins.stripe.ledger import Ledger
from standins.stripe.shapes import Object


def create(
    ledger: Ledger,
    source: Object,
    amount: int,
    *,
    type_: str,
    fee: int = 0,
    description: str | None = None,
) -> Object:
    """A new balance transaction of a charge, refund or dispute (``source``)."""
    id_, created = ledger.new_id("txn"), ledger.now()
    fees = []
    if fee:
        fees.append(
            {
                "amount": fee,
                "application": None,
                "currency": source["currency"],
                "description": "Dispute fee" if type_ == "adjustment" else "Stripe processing fees",
                "type": "stripe_fee",
            }
        )
    return ledger.add(
        {
            "id": id_,
            "object": "balance_transaction",
            "amount": amount,
            "available_on": created + 2 * DAY,
            "balance_type": "payments",
            "created": created,
            "currency": source["currency"],
            "description": description,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": fees,
            "net": amount - fee,
            "reporting_category": "dispute" if type_ == "adjustment" else type_,
            "source": source["id"],
            "status": "pending",
            "type": type_,
        }
    )
