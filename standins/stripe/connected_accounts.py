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


def key_of(account_id: str | None) -> str:
    """What an account is kept under; "" is the platform's own."""
    return "" if account_id in (None, PLATFORM_ACCOUNT) else str(account_id)


class Access:
    """Which accounts the platform's keys don't work for; "" is the platform's own account.

    ``withdrawn``: the store owner has disconnected the platform, or the platform's key expired.
    ``closed``: there is no such account any more. Closing the platform's shuts out all others.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.withdrawn: set[str] = set(store.value("disconnected", []))
        self.closed: set[str] = set(store.value("closed", []))

    def disconnect(self, account_id: str | None = None) -> None:
        """Refuse every call for a connected account (403), or for the platform (401)."""
        self.withdrawn.add(key_of(account_id))
        self._store.set_value("disconnected", sorted(self.withdrawn))

    def reconnect(self, account_id: str | None = None) -> None:
        """Answer the calls for an account again."""
        self.withdrawn.discard(key_of(account_id))
        self._store.set_value("disconnected", sorted(self.withdrawn))

    def close(self, account_id: str | None = None) -> None:
        """Refuse every call for an account (403)."""
        self.closed.add(key_of(account_id))
        self._store.set_value("closed", sorted(self.closed))

    def reopen(self, account_id: str | None = None) -> None:
        """Answer the calls for an account that was closed."""
        self.closed.discard(key_of(account_id))
        self._store.set_value("closed", sorted(self.closed))

    def is_open(self, account_id: str) -> bool:
        """Whether the platform and this account are there, and the account lets the keys work."""
        key = key_of(account_id)
        return not self.closed & {"", key} and key not in self.withdrawn


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
