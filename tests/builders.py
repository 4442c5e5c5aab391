"""Purchases and observations for tests: keyword-only, with defaults."""

from __future__ import annotations

from typing import Any

from shared.domain.merge import Observation, Source
from shared.domain.purchase import Own, Purchase

NOW = 1_790_000_000
DAY = 86_400


def subscription_data(**changes: Any) -> dict[str, Any]:
    """A live monthly subscription, linked to a Telegram user."""
    return {
        "id": "sub_1",
        "status": "active",
        "products": ["prod_1"],
        "created_at": NOW - 10 * DAY,
        "current_period_end": NOW + 20 * DAY,
        "trial_end": None,
        "cancel_at": None,
        "canceled_at": None,
        "ended_at": None,
        "end_reason": None,
        "payment_method": "pm_1",
        "schedule": None,
        "telegram_user_id": "700001",
        "livemode": True,
    } | changes


def session_data(**changes: Any) -> dict[str, Any]:
    """A paid payment-mode Checkout Session."""
    return {
        "id": "cs_1",
        "mode": "payment",
        "outcome": "completed",
        "payment_status": "paid",
        "created_at": NOW - DAY,
        "product_id": "prod_1",
        "telegram_user_id": "700001",
        "access_code": None,
        "access_expires_at": None,
        "livemode": True,
    } | changes


def source(data: dict[str, Any], *, version: int = NOW - DAY, **more: Any) -> Source:
    return Source(data, version, **more)


def a_subscription(*, own: Own | None = None, **changes: Any) -> Purchase:
    data = subscription_data(**changes)
    users = frozenset({data["telegram_user_id"]} - {None})
    return Purchase(data["id"], {"subscription": source(data)}, own or Own(), users)


def a_one_off(*, own: Own | None = None, **changes: Any) -> Purchase:
    data = session_data(**changes)
    users = frozenset({data["telegram_user_id"]} - {None})
    return Purchase("pi_1", {"session": source(data)}, own or Own(), users)


def an_access_code(*, own: Own | None = None, **changes: Any) -> Purchase:
    data = session_data(
        payment_status="no_payment_required", access_code="ABCD2345EFGH", id="cs_code"
    )
    data |= changes
    users = frozenset({data["telegram_user_id"]} - {None})
    return Purchase("cs_code", {"session": source(data)}, own or Own(), users)


def observation(data: dict[str, Any] | None = None, **changes: Any) -> Observation:
    given: dict[str, Any] = {
        "source": "subscription",
        "data": data or subscription_data(),
        "created_at": NOW,
        "event_id": "evt_1",
    }
    return Observation(**(given | changes))
