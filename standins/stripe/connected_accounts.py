"""The accounts the platform's keys may work for, and how an account looks in the API."""

from __future__ import annotations

from standins.stripe.shapes import Object
from standins.stripe.store import Store

PLATFORM_ACCOUNT = "acct_1StandInPlatform"

PLATFORM_APPLICATION: Object = {
    "id": "ca_StandInPlatform",
    "object": "application",
    "name": "The stand-in platform",
}


class Access:
    """Which accounts have withdrawn the platform's access; "" is the platform's own account."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.withdrawn: set[str] = set(store.value("disconnected", []))

    def disconnect(self, account_id: str | None = None) -> None:
        """Refuse every call for a connected account (403), or for the platform (401)."""
        self.withdrawn.add(account_id or "")
        self._store.set_value("disconnected", sorted(self.withdrawn))

    def reconnect(self, account_id: str | None = None) -> None:
        """Answer the calls for an account again."""
        self.withdrawn.discard(account_id or "")
        self._store.set_value("disconnected", sorted(self.withdrawn))


def shown(id_: str) -> Object:
    """An account as the API answers it."""
    return {
        "id": id_,
        "object": "account",
        "business_profile": {"name": "Store", "url": "https://example.com"},
        "business_type": "individual",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "created": 1_700_000_000,
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": True,
        "settings": {"dashboard": {"display_name": "Store", "timezone": "Etc/UTC"}},
        "type": "standard",
    }
