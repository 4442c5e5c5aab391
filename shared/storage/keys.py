"""Where records are kept: the keys of their items.

Every function raises :class:`shared.domain.key_parts.NotAKey` (a ``ValueError``) for an id that
can't be part of a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.key_parts import moment, part
from shared.tenant import Tenant, store_of

DUE_INDEX = "due"
REF_INDEX = "by_ref"
ATTENTION_INDEX = "attention"
DUE_SHARDS = tuple(str(shard) for shard in range(8))


@dataclass(frozen=True, slots=True)
class Key:
    """Where a record is kept.

    Attributes:
        ref: the Stripe or public id by which the ``by_ref`` index finds it.
        subscription: an invoice's subscription, projected into that index.
    """

    pk: str
    sk: str
    ref: str | None = None
    subscription: str | None = None

    @property
    def kind(self) -> str:
        return self.sk.split("#", 1)[0]

    @property
    def is_guests(self) -> bool:
        """Whether it is kept under an account that stands for one payment, see
        :func:`shared.domain.customer.is_guest`."""
        return "#ACCOUNT#guest:" in self.pk


def profile_key(tenant: Tenant, account: str) -> Key:
    return Key(tenant.account_pk(account), "PROFILE")


def former_key(tenant: Tenant, account: str, customer_id: str) -> Key:
    """A note that an account was filed under a customer before, whose id still leads to it."""
    return Key(tenant.account_pk(account), f"FORMER#{part(customer_id)}")


def moved_key(tenant: Tenant, guest: str) -> Key:
    """A note of the customer's account that a guest's records belong to."""
    return Key(tenant.account_pk(guest), "MOVED")


def purchase_key(tenant: Tenant, account: str, purchase_id: str) -> Key:
    return Key(tenant.account_pk(account), f"PURCHASE#{part(purchase_id)}", tenant.ref(purchase_id))


def method_key(tenant: Tenant, account: str, payment_method_id: str) -> Key:
    return Key(tenant.account_pk(account), f"METHOD#{part(payment_method_id)}")


def transaction_key(tenant: Tenant, account: str, created_at: int, transaction_id: str) -> Key:
    return Key(
        tenant.account_pk(account),
        f"TXN#{moment(created_at)}#{part(transaction_id)}",
        tenant.ref(transaction_id),
    )


def invoice_key(
    tenant: Tenant, account: str, invoice_id: str, subscription: str | None = None
) -> Key:
    return Key(
        tenant.account_pk(account),
        f"INVOICE#{part(invoice_id)}",
        tenant.ref(invoice_id),
        subscription,
    )


def payment_link_key(tenant: Tenant, account: str, payment: str) -> Key:
    """Which invoice a PaymentIntent, or a charge without one, paid, and with it which
    subscription."""
    return Key(tenant.account_pk(account), f"LINK#{part(payment)}")


def product_key(tenant: Tenant, product_id: str, livemode: bool) -> Key:
    """The same id in live and in test mode is two products."""
    return Key(tenant.products_pk(), f"PRODUCT#{_mode(livemode)}#{part(product_id)}")


def product_key_without_mode(tenant: Tenant, product_id: str) -> Key:
    """Where products were kept before their keys had a mode: it stands for both."""
    return Key(tenant.products_pk(), f"PRODUCT#{part(product_id)}")


def product_keys(
    tenant: Tenant, wanted: Iterable[tuple[bool, str]]
) -> dict[tuple[bool, str], tuple[Key, Key]]:
    """Where each product (whether it is live, and its id) may be kept."""
    return {
        (livemode, product_id): (
            product_key(tenant, product_id, livemode),
            product_key_without_mode(tenant, product_id),
        )
        for livemode, product_id in wanted
    }


def replan_key(tenant: Tenant, product_id: str, livemode: bool) -> Key:
    """A note that the past of a product turned out to be another: purchases of it that are over
    must be looked at again."""
    return Key(tenant.products_pk(), f"REPLAN#{_mode(livemode)}#{part(product_id)}")


def sold_key(tenant: Tenant, product_id: str, livemode: bool, purchase_id: str) -> Key:
    """A note that a purchase is, or was, of a product."""
    return Key(tenant.sold_pk(_mode(livemode), product_id), f"SOLD#{part(purchase_id)}")


def chat_key(tenant: Tenant, chat_id: str) -> Key:
    """That a store names a chat, and what the bot found there."""
    return Key(tenant.chats_pk(), f"CHAT#{part(chat_id)}")


def retry_key(tenant: Tenant) -> Key:
    """A note that every overdue removal of a store is to be tried again."""
    return Key(tenant.attention_pk(), "RETRY")


def due_key(item: Mapping[str, Any]) -> Key:
    """The key of what a row of the ``due`` index stands for."""
    key = Key(item["pk"], item["sk"])
    if key.kind == "RETRY":
        return retry_key(store_of(key.pk))
    if key.kind == "CHAT":
        return chat_key(store_of(key.pk), key.sk.removeprefix("CHAT#"))
    if key.kind != "REPLAN":
        return key
    _, mode, product_id = key.sk.split("#", 2)
    return replan_key(store_of(key.pk), product_id, mode == "live")


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"
