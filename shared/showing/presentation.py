"""A purchase as the API shows it. Pure: everything it needs is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.domain import access
from shared.domain.clock import iso
from shared.domain.history import history
from shared.domain.merge import Data
from shared.domain.purchase import Purchase, Removal
from shared.domain.telegram import CANNOT_BE_USED, SETTLING, STRIPE_UNREACHABLE
from shared.storage.chats import Standing


@dataclass(frozen=True, slots=True)
class Context:
    """What a purchase refers to.

    Attributes:
        products: its products, those it had once too, by id.
        standings: of the chats that these name, and of those that removals are about, by the id
            as it was given.
        methods: payment methods on file, by id: ``{type, brand, last4}``.
        charge_methods: how a PaymentIntent was paid, by its id: ``{type, brand, last4}``.
        default_method: the id Stripe charges where a subscription names none.
    """

    products: access.Products = field(default_factory=dict)
    standings: Mapping[str, Standing] = field(default_factory=dict)
    methods: Mapping[str, Data] = field(default_factory=dict)
    charge_methods: Mapping[str, Data] = field(default_factory=dict)
    default_method: str | None = None


def purchase_json(purchase: Purchase, context: Context) -> dict[str, Any]:
    """A purchase as the API answers it."""
    products = products_json(purchase, context.products)
    subscription = purchase.data("subscription")
    return {
        "purchase_id": purchase.purchase_id,
        "product": products[0] if products else None,
        "products": products,
        "kind": purchase.kind,
        "status": purchase.status,
        "collection_paused": bool(subscription.get("collection_paused")),
        "payment_provider": purchase.payment_provider,
        "access_code": purchase.access_code,
        "payment_method": _payment_method(purchase, context),
        "purchased_at": iso(purchase.purchased_at),
        "current_period_end": iso(subscription.get("current_period_end")),
        "trial_end": iso(subscription.get("trial_end")),
        "cancel_at": iso(purchase.cancel_at),
        "expires_at": iso(purchase.expires_at),
        "ended_at": iso(purchase.ended_at),
        "end_reason": purchase.end_reason,
        "cancellation": _cancellation(purchase),
        "access": access_json(purchase, context),
        "cancel_options": list(purchase.cancel_options),
        "history": [entry.to_json() for entry in history(purchase)],
    }


def products_json(purchase: Purchase, products: access.Products) -> list[dict[str, Any]]:
    """All products of a purchase, the one that is shown first."""
    return [
        {"product_id": product_id, "name": _name(product_id, products)}
        for product_id in access.products_of(purchase, products)
    ]


def _name(product_id: str, products: access.Products) -> str:
    product = products.get(product_id)
    return product_id if product is None else product.name or product_id


def _cancellation(purchase: Purchase) -> dict[str, Any] | None:
    """The buyer's words at Stripe, and the owner's reason."""
    feedback, comment = purchase.buyers_words
    intent = purchase.own.intent
    words = {
        "feedback": feedback,
        "comment": comment,
        "reason": intent.reason if intent is not None and purchase.cancelled_by_owner else None,
    }
    return words if any(value is not None for value in words.values()) else None


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


# -- access ----------------------------------------------------------------------------------------


def access_json(purchase: Purchase, context: Context) -> dict[str, Any]:
    """Who is in which chats through a purchase, or should not be any more."""
    chats = chats_json(purchase, context)
    return {
        "state": access_state(purchase, chats),
        "telegram_user_id": purchase.telegram_user_id,
        "chats": chats,
    }


def access_state(purchase: Purchase, chats: list[dict[str, Any]]) -> str:
    """The first that applies, as the API's document lists them. An end that is not planned for yet
    is ``revoking``: what it comes to is not known before."""
    if not purchase.seen_users or not purchase.was_live:
        return "not_linked"
    states = {
        chat["state"]
        for chat in chats
        if not (purchase.is_live and chat["reason"] in CANNOT_BE_USED)
    }
    waits = purchase.plan_is_stale and purchase.own.retry_at("plan", 0) > 0
    if not states:
        return "revoking" if waits else "no_chats"
    return next(s for s in ("failed", "revoking", "granted", "kept", "revoked") if s in states)


def chats_json(purchase: Purchase, context: Context) -> list[dict[str, Any]]:
    """The chats somebody is in through this purchase, and those somebody leaves, or left."""
    user = purchase.telegram_user_id
    removals = sorted(purchase.own.removals.values(), key=lambda r: r.key)
    opened = access.opens(purchase, context.products)
    shown = [_opened(chat, owner, context) for chat, owner in sorted(opened)]
    if purchase.is_live and user is None:
        # Nobody is in yet, but what can't be used is told already.
        shown += [
            _opened(chat, None, context)
            for chat in sorted(access.chats_opened(purchase, context.products))
            if not _is_usable(chat, context)
        ]
    shown += _not_planned(purchase, context)
    for removal in removals:
        if (removal.chat_id, removal.telegram_user_id) in opened:
            continue
        if opened and removal.state in ("revoked", "kept"):
            continue  # of somebody, or something, that was replaced: the history tells
        shown.append(_removal(purchase, removal, context))
    return shown


def overdue_json(purchase: Purchase, context: Context) -> list[tuple[int, dict[str, Any]]]:
    """The chats somebody should be out of and is not, each with the time since when."""
    overdue = purchase.overdue
    if overdue is None:
        return []
    removals = [r for r in purchase.own.removals.values() if r.state in ("failed", "revoking")]
    rows = [
        (removal.overdue_since or overdue.since, _removal(purchase, removal, context))
        for removal in removals
    ]
    rows += [(overdue.since, row) for row in _not_planned(purchase, context)]
    return sorted(rows, key=lambda row: (row[0], row[1]["chat_id"], row[1]["telegram_user_id"]))


def _not_planned(purchase: Purchase, context: Context) -> list[dict[str, Any]]:
    """The chats somebody is about to leave by a change that no removal is planned for yet."""
    if not purchase.plan_is_stale:
        return []
    removals = purchase.own.removals.values()
    planned = {(r.chat_id, r.telegram_user_id) for r in removals if r.state != "kept"}
    reason, detail = SETTLING, "The end is new: events that are on their way are waited for."
    if "plan" in purchase.own.retries:
        reason, detail = STRIPE_UNREACHABLE, "Stripe could not be asked what the product opens."
    return [
        _row(
            chat,
            leaver,
            "revoking",
            context,
            reason=reason,
            detail=detail,
            next_attempt_at=purchase.plan_at or None,
        )
        for chat, leaver in sorted(access.leaving(purchase, context.products))
        if (chat, leaver) not in planned
    ]


def _opened(chat_id: str, user: str | None, context: Context) -> dict[str, Any]:
    standing = context.standings.get(chat_id)
    if standing is None or standing.usable:
        return _row(chat_id, user, "granted", context)
    return _row(chat_id, user, "failed", context, reason=standing.reason, detail=standing.detail)


def _is_usable(chat_id: str, context: Context) -> bool:
    standing = context.standings.get(chat_id)
    return standing is None or standing.usable


def _removal(purchase: Purchase, removal: Removal, context: Context) -> dict[str, Any]:
    reason, detail, at = removal.reason, removal.detail, removal.next_attempt_at
    look = purchase.own.retries.get("buyer")
    if removal.state == "revoking" and look is not None:
        reason, at = STRIPE_UNREACHABLE, max(at or 0, look.next_attempt_at)
        detail = "Nobody is removed before Stripe was asked what else this person bought."
    return _row(
        removal.chat_id,
        removal.telegram_user_id,
        removal.state,
        context,
        reason=reason,
        detail=detail,
        next_attempt_at=at,
    )


def _row(
    chat_id: str,
    user: str | None,
    state: str,
    context: Context,
    *,
    reason: str | None = None,
    detail: str | None = None,
    next_attempt_at: int | None = None,
) -> dict[str, Any]:
    standing = context.standings.get(chat_id)
    return {
        "chat_id": chat_id,
        "title": None if standing is None else standing.title,
        "type": None if standing is None else standing.type,
        "telegram_user_id": user,
        "state": state,
        "reason": reason,
        "detail": detail,
        "next_attempt_at": iso(next_attempt_at or None),
    }
