"""Which store a Stripe account belongs to.

Two items per connection, both under ``REGISTRY``: ``STORE#{account}`` (``store``,
``disconnected_at``) says whose events an account signs, ``ACCOUNT#{store}`` (``account``) through
which account a store is asked. ``SHARED`` is there from the moment there is a store besides the
default one, for good. A store without an entry uses the platform's own account; only the
deployment's default store gets events without an account.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.domain.key_parts import part
from shared.storage.dynamo import ConditionFailed, Item, Table
from shared.tenant import Tenant

_PK = "REGISTRY"
_SHARED = "SHARED"
# How long a process goes on using what it read: a connection is made once and hardly ever ends.
CACHE_SECONDS = 60.0


class AccountTaken(Exception):
    """The Stripe account belongs to another store already."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A store's Stripe account.

    Attributes:
        account: the connected account, ``None`` for the platform's own.
        disconnected_at: since when the store has taken our access away, seconds since the epoch.
    """

    tenant: Tenant
    account: str | None = None
    disconnected_at: int | None = None


class Registry:
    """The connections of all stores. Reads are kept for a minute."""

    def __init__(
        self,
        table: Table,
        default_store: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self.default_store = default_store
        self.monotonic = monotonic
        self._known: dict[str, tuple[float, Connection]] = {}
        self._is_shared = False

    def of_account(self, account: str | None) -> Connection | None:
        """The store whose events carry this account; ``None`` where nobody registered it."""
        if account is None:
            return Connection(Tenant(self.default_store))
        known = self._known.get(account)
        if known is not None and known[0] > self.monotonic():
            return known[1]
        item = self.table.get(_PK, _store_sk(account))
        if item is None:
            return None
        found = Connection(Tenant(item["store"]), account, item.get("disconnected_at"))
        self._known[account] = (self.monotonic() + CACHE_SECONDS, found)
        return found

    def of_store(self, tenant: Tenant) -> Connection:
        """The account through which a store's objects are reached (strongly consistent)."""
        item = self.table.get(_PK, f"ACCOUNT#{tenant.store_id}")
        if item is None:
            return Connection(tenant)
        self._known.pop(item["account"], None)
        return self.of_account(item["account"]) or Connection(tenant, item["account"])

    def register(self, tenant: Tenant, account: str) -> None:
        """Connect an account to a store; repeatable. The newest account of a store is asked.

        Raises:
            AccountTaken: it is another store's.
        """
        self.note_store(tenant)
        try:
            self.table.update_blind(
                _PK,
                _store_sk(account),
                "SET #store = :store REMOVE disconnected_at",
                "attribute_not_exists(pk) OR #store = :store",
                {"#store": "store"},
                store=tenant.store_id,
            )
        except ConditionFailed:
            raise AccountTaken from None
        self.table.put({"pk": _PK, "sk": f"ACCOUNT#{tenant.store_id}", "account": account})
        self._known.pop(account, None)

    def connections(self) -> list[Connection]:
        """The newest connection of every registered store, by the store's name."""
        items = self._items("ACCOUNT#")
        return [self.of_store(Tenant(item["sk"].removeprefix("ACCOUNT#"))) for item in items]

    def remove(self, tenant: Tenant) -> list[str]:
        """Take away all that :meth:`register` wrote for a store; repeatable.

        Returns:
            The accounts that are no store's now.
        """
        taken = []
        for item in self._items("STORE#"):
            account = item["sk"].removeprefix("STORE#")
            if item["store"] != tenant.store_id:
                continue
            self.table.delete(_PK, item["sk"])
            self._known.pop(account, None)
            taken.append(account)
        for user_id in self.telegram_owners(tenant):
            self.remove_telegram_owner(tenant, user_id)
        # Last: as long as it is there, the store is listed, and the removal can be repeated.
        self.table.delete(_PK, f"ACCOUNT#{tenant.store_id}")
        return taken

    # -- whose chats are whose --------------------------------------------------------------------

    def note_store(self, tenant: Tenant) -> None:
        """Remember for good that there is, or was, a store besides the default one. Repeatable; to
        be called before anything of a store is stored by which it could get a chat."""
        if tenant.store_id == self.default_store or self._is_shared:
            return
        self.table.put({"pk": _PK, "sk": _SHARED})
        self._is_shared = True

    def is_only_store(self, tenant: Tenant) -> bool:
        """Whether there is no other store, and never was: the default store is always there.

        Strongly consistent. What is done for being the only one belongs into a transaction with
        :meth:`still_only_store`.
        """
        if tenant.store_id != self.default_store:
            return False
        if self.table.get(_PK, _SHARED) is not None:
            return False
        # Stores may have been registered before there was a note of it.
        return all(item["store"] == tenant.store_id for item in self._items("STORE#"))

    def still_only_store(self) -> Item:
        """The action of a transaction that refuses it where there is a second store by now."""
        return self.table.check_action(_PK, _SHARED, "attribute_not_exists(pk)")

    def telegram_owners(self, tenant: Tenant) -> frozenset[str]:
        """Telegram users whose chats are the store's without further ado."""
        prefix = f"OWNER#{tenant.store_id}#"
        return frozenset(item["sk"].removeprefix(prefix) for item in self._items(prefix))

    def add_telegram_owner(self, tenant: Tenant, user_id: str) -> None:
        """Register a Telegram user as an owner of a store; repeatable."""
        self.table.put({"pk": _PK, "sk": _owner_sk(tenant, user_id)})

    def remove_telegram_owner(self, tenant: Tenant, user_id: str) -> None:
        """Take it back; what the store has by it stays the store's."""
        self.table.delete(_PK, _owner_sk(tenant, user_id))

    def _items(self, kind: str) -> Iterator[Item]:
        condition = "pk = :pk AND sk BETWEEN :first AND :last"
        return self.table.query_all(condition, pk=_PK, first=kind, last=f"{kind}~")

    def disconnected(self, account: str, at: int) -> None:
        """The store took our access away at ``at``. An older event than the last one is dropped."""
        self._changed(account, at, "SET changed_at = :at, disconnected_at = :at")

    def connected_again(self, account: str, at: int) -> None:
        """The store gave us access again at ``at``."""
        self._changed(account, at, "SET changed_at = :at REMOVE disconnected_at")

    def _changed(self, account: str, at: int, expression: str) -> None:
        try:
            self.table.update_blind(
                _PK,
                _store_sk(account),
                expression,
                "attribute_exists(pk) AND (attribute_not_exists(changed_at) OR changed_at < :at)",
                at=at,
            )
        except ConditionFailed:
            return
        self._known.pop(account, None)


def _store_sk(account: str) -> str:
    return f"STORE#{part(account)}"


def _owner_sk(tenant: Tenant, user_id: str) -> str:
    return f"OWNER#{tenant.store_id}#{part(user_id)}"
