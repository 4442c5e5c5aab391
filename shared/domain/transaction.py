"""Money moved for a customer: one row per charge, refund, dispute, fee and adjustment.

Rows are the sources of ``TXN`` records (see :mod:`shared.domain.merge`; times are seconds since
the epoch, amounts integers in the currency's minor unit, as Stripe gives them):

``charge``
    ``id, amount, currency, status, captured, released (an authorisation that ended without a
    capture), created_at, description, failure, payment_intent, method {type, brand, last4},
    livemode``; beside it one source per refund, named by its id: ``amount, counted``; and one per
    sum that the charge said was given back so far, ``total_500``: ``amount``
``refund``
    ``id, amount, currency, status, created_at, reason, charge, payment_intent``
``dispute``
    ``id, amount, currency, status, created_at, reason, charge, payment_intent, withdrawn,
    livemode``
``fee``
    ``id, amount, currency, created_at, dispute, charge, payment_intent``
``credit_note``
    ``id, amount, currency, status, created_at, reason, description, invoice, livemode``
``balance``
    ``id, amount, currency, type, created_at, description, invoice, livemode``

Which purchase a row belongs to is looked up when it is shown: its PaymentIntent is a one-off
purchase, or paid an invoice of a subscription.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.domain.clock import iso
from shared.domain.merge import Data, Source

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_LENGTH = 12

Kind = Literal["charge", "refund", "dispute", "adjustment"]
KIND_OF_SOURCE: Mapping[str, Kind] = {
    "charge": "charge",
    "refund": "refund",
    "dispute": "dispute",
    "fee": "dispute",
    "credit_note": "adjustment",
    "balance": "adjustment",
}
_LOST = frozenset({"lost"})
_WON = frozenset({"won", "warning_closed", "prevented"})


def transaction_id_of(provider_id: str) -> str:
    """The public id of a Stripe object: 12 upper-case letters and digits (62 bits of its hash)."""
    number = int.from_bytes(hashlib.sha256(provider_id.encode()).digest())
    characters = []
    for _ in range(_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[index])
    return "".join(characters)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A row as it is shown.

    Attributes:
        amount: signed: below zero where money left the store, or would have.
        payment_intent, invoice: what leads to its purchase; ``None`` where nothing does.
        related_transaction_id: the charge of a refund or dispute, the dispute of a fee.
        refunded: ``no``, ``partly`` or ``fully``; of a charge.
    """

    transaction_id: str
    type: Kind
    status: str
    amount: int
    currency: str
    created_at: int
    provider_id: str
    payment_intent: str | None = None
    invoice: str | None = None
    related_transaction_id: str | None = None
    refunded: str = "no"
    description: str | None = None

    def to_json(self, purchase_id: str | None) -> dict[str, Any]:
        """The row as the API answers it."""
        return {
            "transaction_id": self.transaction_id,
            "type": self.type,
            "status": self.status,
            "amount": self.amount,
            "currency": self.currency,
            "created_at": iso(self.created_at),
            "purchase_id": purchase_id,
            "related_transaction_id": self.related_transaction_id,
            "refunded": self.refunded,
            "description": self.description,
            "provider_id": self.provider_id,
        }


def view(sources: Mapping[str, Source]) -> Transaction | None:
    """The row of a ``TXN`` record; ``None`` while only a charge's refunds are known of it."""
    for name, kind in KIND_OF_SOURCE.items():
        if name in sources:
            data = sources[name].data
            return Transaction(
                transaction_id=transaction_id_of(data["id"]),
                type=kind,
                status=_status(name, data),
                amount=_amount(name, data),
                currency=data["currency"],
                created_at=data["created_at"],
                provider_id=data["id"],
                payment_intent=data.get("payment_intent"),
                invoice=data.get("invoice"),
                related_transaction_id=_related(name, data),
                refunded=refunded(sources) if name == "charge" else "no",
                description=_description(name, data),
            )
    return None


def refunded(sources: Mapping[str, Source]) -> str:
    """How much of a charge was given back; refunds that failed or were cancelled don't count.

    The refunds we know of say it, and the charge itself: an endpoint may be told of the charge
    only. What the charge says may be from before a refund failed.
    """
    refunds = [s.data for name, s in sources.items() if name.startswith(("re_", "pyr_"))]
    totals = [s.data["amount"] for name, s in sources.items() if name.startswith("total_")]
    counted = sum(refund["amount"] for refund in refunds if refund["counted"])
    not_counted = sum(refund["amount"] for refund in refunds if not refund["counted"])
    given_back = max(counted, max(totals, default=0) - not_counted)
    if given_back <= 0:
        return "no"
    return "fully" if given_back >= sources["charge"].data["amount"] else "partly"


def _amount(source: str, data: Data) -> int:
    amount = int(data["amount"])
    if source in ("refund", "fee"):
        return -amount
    if source == "credit_note":
        return -amount
    if source == "dispute":
        if data["status"] in _WON:
            return amount
        return -amount if data["status"] in _LOST or data["withdrawn"] else amount
    return amount


def _status(source: str, data: Data) -> str:
    if source == "fee":
        return "fee"
    if source == "balance":
        return "applied"
    if source == "charge" and data["status"] == "succeeded" and not data["captured"]:
        return "released" if data["released"] else "uncaptured"
    return str(data["status"])


def _related(source: str, data: Data) -> str | None:
    related = data.get("dispute") if source == "fee" else data.get("charge")
    return None if related is None else transaction_id_of(related)


def _description(source: str, data: Data) -> str | None:
    text: str | None = data.get("description")
    if source == "charge":
        return text or data.get("failure")
    if source == "refund":
        return _words(data["reason"])
    if source == "dispute":
        outcome = {"lost": "Lost dispute", "won": "Won dispute"}.get(data["status"], "Dispute")
        reason = _words(data["reason"])
        return f"{outcome}: {reason}" if reason else outcome
    if source == "fee":
        return "Dispute fee" if data["amount"] > 0 else "Dispute fee returned"
    if source == "credit_note":
        return text or _words(data["reason"]) or "Credit note"
    return text or _words(data["type"])


def _words(code: str | None) -> str | None:
    """``requested_by_customer`` → ``requested by customer``."""
    return code.replace("_", " ") if code else None
