"""Money moved for a customer: one row per charge, refund, dispute, fee and adjustment.

Rows are the sources of ``TXN`` records (see :mod:`shared.domain.merge`; times are seconds since
the epoch, amounts integers in the currency's minor unit, as Stripe gives them):

``charge``
    ``id, amount, currency, status, captured, created_at, description, failure, payment_intent,
    method {type, brand, last4}, livemode``; beside it one source per refund, named by its id:
    ``amount, counted, created_at``; one per sum that the charge said was given back so far,
    ``total_500``: ``amount``; ``never_collected``: ``amount`` of an authorisation that Stripe made
    a refund of (API versions before 2025-03-31); and ``released``: ``id`` of the charge, whose
    authorisation ended without a capture
``refund``
    ``id, amount, currency, status, created_at, reason, charge, payment_intent, charge_at (the sort
    key of its charge's record), livemode``
``dispute``
    ``id, amount, currency, status, created_at, reason, charge, payment_intent, withdrawn,
    livemode``
``fee``
    ``id, amount, currency, created_at, dispute, charge, payment_intent, livemode``
``credit_note``
    ``id, amount, currency, status, created_at, reason, description, invoice, outside (the part
    given outside of Stripe), told_by (the refund or balance transaction that tells the rest),
    livemode``
``balance``
    ``id, amount, currency, type, created_at, description, invoice, livemode``

Which purchase a row belongs to is looked up when it is shown: its payment (a PaymentIntent, or a
charge that has none) is a one-off purchase, or paid an invoice of a subscription.

All rows of a customer add up to the money that moved: a movement that two objects tell of has its
amount in one row only.
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
# A dispute that was won has given back what it took; an inquiry (``warning_*``) took nothing.
_NOTHING_MOVED = frozenset({"won", "prevented"})
_INQUIRY = "warning_"
_DASHBOARD = "https://dashboard.stripe.com"


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
        payment: the PaymentIntent, else the charge, by which the money came; with ``invoice``, what
            leads to its purchase; ``None`` where nothing does.
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
    payment: str | None = None
    invoice: str | None = None
    livemode: bool = True
    related_transaction_id: str | None = None
    refunded: str = "no"
    description: str | None = None

    def provider_url(self, billing_account: str, connected: str | None) -> str | None:
        """Its page in Stripe's dashboard; ``None`` where it has none.

        Args:
            billing_account: the account it is kept under.
            connected: the Stripe account of the store, where it isn't the platform's own.
        """
        if self.payment is not None:
            page = f"payments/{self.payment}"
        elif self.invoice is not None:
            page = f"invoices/{self.invoice}"
        elif billing_account.startswith("cus_"):
            page = f"customers/{billing_account}"
        else:
            return None
        parts = [_DASHBOARD, connected, None if self.livemode else "test", page]
        return "/".join(part for part in parts if part is not None)

    def to_json(
        self, purchase_id: str | None, product: str | None, provider_url: str | None
    ) -> dict[str, Any]:
        """The row as the API answers it."""
        return {
            "transaction_id": self.transaction_id,
            "type": self.type,
            "status": self.status,
            "amount": self.amount,
            "currency": self.currency,
            "created_at": iso(self.created_at),
            "purchase_id": purchase_id,
            "product": product,
            "related_transaction_id": self.related_transaction_id,
            "refunded": self.refunded,
            "description": self.description,
            "provider_id": self.provider_id,
            "provider_url": provider_url,
        }


def view(
    sources: Mapping[str, Source], charge: Mapping[str, Source] | None = None
) -> Transaction | None:
    """The row of a ``TXN`` record.

    Args:
        charge: the sources of a refund's charge, where they are known.

    Returns:
        ``None`` while only a charge's refunds are known of it, and for a refund of money that was
        never collected.
    """
    if charge and "refund" in sources and _is_of_nothing(sources["refund"].data, charge):
        return None
    for name, kind in KIND_OF_SOURCE.items():
        if name in sources:
            data = sources[name].data
            return Transaction(
                transaction_id=transaction_id_of(data["id"]),
                type=kind,
                status=_status(name, sources),
                amount=_amount(name, data),
                currency=data["currency"],
                created_at=data["created_at"],
                provider_id=data["id"],
                payment=_payment(name, data),
                invoice=data.get("invoice"),
                livemode=data.get("livemode", True),
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
    charge = sources["charge"].data
    if not charge["captured"]:
        return "no"
    rest = _refund_of_the_rest(sources)
    refunds = [data for name, data in _refunds(sources).items() if name != rest]
    totals = [s.data["amount"] for name, s in sources.items() if name.startswith("total_")]
    counted = sum(refund["amount"] for refund in refunds if refund["counted"])
    not_counted = sum(refund["amount"] for refund in refunds if not refund["counted"])
    given_back = max(counted, max(totals, default=0) - not_counted)
    if given_back <= 0:
        return "no"
    return "fully" if given_back >= charge["amount"] else "partly"


def _refunds(sources: Mapping[str, Source]) -> dict[str, Data]:
    return {n: s.data for n, s in sources.items() if n.startswith(("re_", "pyr_"))}


def _refund_of_the_rest(charge: Mapping[str, Source]) -> str | None:
    """Which refund of a charge is the part of its authorisation that was never collected: Stripe
    made it first, when the rest was collected."""
    if "never_collected" not in charge:
        return None
    amount = charge["never_collected"].data["amount"]
    same = [(r.get("created_at", 0), n) for n, r in _refunds(charge).items()]
    return min((at for at in same if charge[at[1]].data["amount"] == amount), default=(0, None))[1]


def _is_of_nothing(refund: Data, charge: Mapping[str, Source]) -> bool:
    """Whether a refund gave nothing back, since nothing had come."""
    if "charge" in charge and not charge["charge"].data["captured"]:
        return True
    return str(refund["id"]) == _refund_of_the_rest(charge)


def _amount(source: str, data: Data) -> int:
    amount = int(data["amount"])
    if source in ("refund", "fee"):
        return -amount
    if source == "credit_note":
        return -int(data.get("outside", amount))
    if source == "dispute":
        status = data["status"]
        if status in _NOTHING_MOVED or status.startswith(_INQUIRY):
            return 0
        return -amount if status == "lost" or data["withdrawn"] else 0
    return amount


def _payment(source: str, data: Data) -> str | None:
    charge = data["id"] if source == "charge" else data.get("charge")
    payment: str | None = data.get("payment_intent") or charge
    return payment


def _status(source: str, sources: Mapping[str, Source]) -> str:
    data = sources[source].data
    if source == "fee":
        return "fee"
    if source == "balance":
        return "applied"
    if source == "charge" and data["status"] == "succeeded" and not data["captured"]:
        return "released" if "released" in sources else "uncaptured"
    return str(data["status"])


def _related(source: str, data: Data) -> str | None:
    related = data.get({"fee": "dispute", "credit_note": "told_by"}.get(source, "charge"))
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
