"""Ids like Stripe's: how they are made, and the kind of object a prefix tells."""

from __future__ import annotations

import hashlib

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

KINDS = {
    "card": "card",
    "cbtxn": "customer_balance_transaction",
    "ch": "charge",
    "cn": "credit_note",
    "cs": "checkout.session",
    "cus": "customer",
    "du": "dispute",
    "in": "invoice",
    "inpay": "invoice_payment",
    "pi": "payment_intent",
    "pm": "payment_method",
    "price": "price",
    "prod": "product",
    "re": "refund",
    "si": "subscription_item",
    "sub": "subscription",
    "txn": "balance_transaction",
}
"""Kind of object by the prefix of its id."""


def kind_of(id_: str) -> str | None:
    """The kind of object that has this id; ``None`` for an unknown prefix."""
    if id_.startswith("sub_sched_"):
        return "subscription_schedule"
    return KINDS.get(id_.split("_", 1)[0])


def make_id(prefix: str, seed: str, number: int, *, length: int = 24) -> str:
    """An id like Stripe's: not ordered, the same for the same seed and number."""
    digest = int.from_bytes(hashlib.sha256(f"{seed}/{prefix}/{number}".encode()).digest())
    characters = []
    for _ in range(length - 1):
        digest, index = divmod(digest, 62)
        characters.append(_BASE62[index])
    return f"{prefix}_1{''.join(characters)}"
