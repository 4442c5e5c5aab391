"""A purchase as the API shows it. Pure: everything it needs is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.domain.clock import iso
from shared.domain.merge import Data
from shared.domain.purchase import Purchase, Removal


@dataclass(frozen=True, slots=True)
class Context:
    """What a purchase refers to.

    Attributes:
        product_names: by product id.
        chats: the chats a product opens, by product id.
        methods: payment methods on file, by id: ``{type, brand, last4}``.
        charge_methods: how a PaymentIntent was paid, by its id: ``{type, brand, last4}``.
        default_method: the id Stripe charges where a subscription names none.
    """

    product_names: Mapping[str, str | None] = field(default_factory=dict)
    chats: Mapping[str, frozenset[str]] = field(default_factory=dict)
    methods: Mapping[str, Data] = field(default_factory=dict)
    charge_methods: Mapping[str, Data] = field(default_factory=dict)
    default_method: str | None = None


def purchase_json(purchase: Purchase, context: Context) -> dict[str, Any]:
    """A purchase as the API answers it."""
    return {
        "purchase_id": purchase.purchase_id,
        "product": _product(purchase, context),
        "kind": purchase.kind,
        "status": purchase.status,
        "payment_provider": purchase.payment_provider,
        "access_code": purchase.access_code,
        "payment_method": _payment_method(purchase, context),
        "purchased_at": iso(purchase.purchased_at),
        "current_period_end": iso(purchase.data("subscription").get("current_period_end")),
        "trial_end": iso(purchase.data("subscription").get("trial_end")),
        "cancel_at": iso(purchase.cancel_at),
        "expires_at": iso(purchase.expires_at),
        "ended_at": iso(purchase.ended_at),
        "end_reason": purchase.end_reason,
        "access": {
            "state": purchase.access_state,
            "telegram_user_id": purchase.telegram_user_id,
            "chats": _chats(purchase, context),
        },
        "cancel_options": list(purchase.cancel_options),
        "history": _history(purchase),
    }


def _product(purchase: Purchase, context: Context) -> dict[str, Any] | None:
    if not purchase.product_ids:
        return None
    product_id = purchase.product_ids[0]
    return {
        "product_id": product_id,
        "name": context.product_names.get(product_id) or product_id,
    }


def _payment_method(purchase: Purchase, context: Context) -> dict[str, Any] | None:
    method: Data | None
    if purchase.kind == "access_code":
        return None
    if purchase.kind == "subscription":
        # The subscription's own method, else the customer's default:
        # https://docs.stripe.com/api/subscriptions/object#subscription_object-default_payment_method
        own = purchase.data("subscription").get("payment_method")
        method = context.methods.get(own or context.default_method or "")
    else:
        method = purchase.data("charge").get("method") or context.charge_methods.get(
            purchase.purchase_id
        )
    if method is None:
        return None
    return {name: method.get(name) for name in ("type", "brand", "last4")}


def _chats(purchase: Purchase, context: Context) -> list[dict[str, Any]]:
    removals = sorted(purchase.own.removals.values(), key=lambda r: r.key)
    if purchase.is_over:
        return [_removal(removal) for removal in removals]
    # Somebody linked before, who is still being taken out.
    unfinished = [_removal(r) for r in removals if r.state in ("revoking", "failed")]
    if purchase.access_state != "granted":
        return unfinished
    opened = sorted(
        {chat for product in purchase.product_ids for chat in context.chats.get(product, ())}
    )
    granted = [
        {"chat_id": chat, "state": "granted", "detail": None, "next_attempt_at": None}
        for chat in opened
    ]
    return granted + unfinished


def _removal(removal: Removal) -> dict[str, Any]:
    return {
        "chat_id": removal.chat_id,
        "state": removal.state,
        "detail": removal.detail,
        "next_attempt_at": iso(removal.next_attempt_at or None),
    }


def _history(purchase: Purchase) -> list[dict[str, Any]]:
    """What happened, newest first; computed from what is known, not from what was seen."""
    events: list[tuple[int, int, str, str, str | None]] = []

    def add(at: int | None, actor: str, event: str, detail: str | None = None) -> None:
        if at:
            events.append((at, len(events), actor, event, detail))

    subscription = purchase.data("subscription")
    add(purchase.purchased_at, "customer", "purchased")
    for entry in purchase.own.audit:
        add(entry.at, entry.actor, entry.event, entry.detail)
    if subscription.get("canceled_at") and not purchase.cancelled_by_owner:
        add(int(subscription["canceled_at"]), "stripe", "cancel_requested")
    by_system = purchase.end_reason == "expired"
    if purchase.is_over:
        actor = "owner" if purchase.cancelled_by_owner else "system" if by_system else "stripe"
        add(purchase.ended_at, actor, "ended", purchase.end_reason)
    for removal in sorted(purchase.own.removals.values(), key=lambda r: r.key):
        if removal.finished_at is not None:
            event = f"access_{removal.state}"
            add(removal.finished_at, "system", event, removal.detail or removal.chat_id)
    return [
        {"at": iso(at), "actor": actor, "event": event, "detail": detail}
        for at, _, actor, event, detail in sorted(events, reverse=True)
    ]
