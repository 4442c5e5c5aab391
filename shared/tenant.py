"""The one object that may build a partition key of a store.

A :class:`Tenant` is made from the verified claim of a token, from the registry entry of the Stripe
account that signed an event, from a message of the store's own bus, or from what we stored
ourselves (a schedule's input, a key), and never from what a request carries. Every key of a store's
data starts with its id, so a request can't leave its store by carrying another's ids.

Every method that builds a key raises :class:`shared.domain.key_parts.NotAKey` (a ``ValueError``)
for a text that can't be part of one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.domain.key_parts import part, partition_key

# '#' separates the parts of a key, so it can't be part of a store's id.
_STORE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A store: the owner of every record under its keys.

    Raises:
        ValueError: the id is not 1-64 letters, digits or ``._:@-``.
    """

    store_id: str

    def __post_init__(self) -> None:
        if not _STORE_ID.fullmatch(self.store_id):
            raise ValueError("a store's id is 1-64 letters, digits or ._:@-")

    def account_pk(self, account: str) -> str:
        """Everything known of one billing account: ``cus_...``, ``guest:...`` or ``store:...``."""
        return f"{self.store_id}#ACCOUNT#{part(account)}"

    def customer_pk(self, customer_id: str) -> str:
        """One customer as the owner sees it: the accounts that are this person."""
        return f"{self.store_id}#CUSTOMER#{part(customer_id)}"

    def products_pk(self) -> str:
        """The store's products, one item each."""
        return f"{self.store_id}#PRODUCTS"

    def chats_pk(self) -> str:
        """The chats that the store names, one item each."""
        return f"{self.store_id}#CHATS"

    def sold_pk(self, mode: str, product_id: str) -> str:
        """The purchases of one product, ``mode`` being ``live`` or ``test``."""
        return f"{self.store_id}#SOLD#{mode}#{part(product_id)}"

    def attention_pk(self) -> str:
        """The purchases whose buyers should be out of a chat and are not."""
        return f"{self.store_id}#ATTENTION"

    def telegram_user_pk(self, telegram_user_id: str) -> str:
        """The purchases linked to one Telegram account, and the lock of its removals."""
        return f"{self.store_id}#TELEGRAM#{part(telegram_user_id)}"

    def requests_pk(self, key_digest: str) -> str:
        """A remembered answer, by the digest of its Idempotency-Key."""
        return f"{self.store_id}#REQUEST#{part(key_digest)}"

    def index_pk(self, list_key: str) -> str:
        """A list of the customer index: ``F|...`` (facets), ``G|...`` (grams), ``I`` (ids)."""
        return partition_key(f"{self.store_id}#{list_key}")

    def ref(self, provider_id: str) -> str:
        """The key under which the ``by_ref`` index finds a record by its Stripe or public id."""
        return f"{self.store_id}#{part(provider_id)}"

    def owns(self, pk: str) -> bool:
        """Whether a partition key belongs to this store."""
        return pk.startswith(f"{self.store_id}#")


def store_of(pk: str) -> Tenant:
    """The store that a stored partition key belongs to (for the sweep, which serves all stores)."""
    return Tenant(pk.split("#", 1)[0])


def account_of(pk: str) -> str:
    """The account of an account partition key.

    Raises:
        ValueError: the key is not one of :meth:`Tenant.account_pk`.
    """
    _, kind, account = pk.split("#", 2)
    if kind != "ACCOUNT":
        raise ValueError("not the key of an account")
    return account
