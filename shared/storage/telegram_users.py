"""The purchases linked to a Telegram user, and the lock of that user's removals.

``{store}#TELEGRAM#{user}`` holds a ``LINK#PURCHASE#{id}`` for every purchase that was ever live
while it was linked to the user (written with the purchase, see
:class:`shared.storage.records.Records`), and ``LOCK`` while a removal is under way. A purchase
does not begin to admit the user while the lock is held, so what a removal reads under it stays
true until it is given back.
"""

from __future__ import annotations

from typing import Any

from shared.domain.purchase import Purchase
from shared.storage.dynamo import ConditionFailed, Item, Table
from shared.storage.items import from_item
from shared.storage.keys import Key
from shared.tenant import Tenant, account_of

_LINK = "LINK#"
_LOCK = "LOCK"


class TelegramUsers:
    """Telegram users as buyers of a store."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def purchases(self, tenant: Tenant, user_id: str) -> list[Purchase]:
        """Every purchase that was ever live for this user, as stored now, by id."""
        return [purchase for _, purchase in self.purchases_with_accounts(tenant, user_id)]

    def purchases_with_accounts(self, tenant: Tenant, user_id: str) -> list[tuple[str, Purchase]]:
        """The same, each with the account it is kept under."""
        keys = [
            Key(link["account"], link["sk"].removeprefix(_LINK))
            for link in self._links(tenant, user_id)
        ]
        items = self.table.batch_get((key.pk, key.sk) for key in keys)
        found = ((account_of(pk), from_item(item).purchase) for (pk, _), item in items.items())
        return sorted(found, key=lambda pair: pair[1].purchase_id)

    def accounts(self, tenant: Tenant, user_id: str) -> list[str]:
        """The accounts of this user's purchases, the one of the newest purchase first."""
        newest_first = sorted(
            self.purchases_with_accounts(tenant, user_id),
            key=lambda found: found[1].purchased_at,
            reverse=True,
        )
        return list(dict.fromkeys(account for account, _ in newest_first))

    def _links(self, tenant: Tenant, user_id: str) -> list[Item]:
        links = self.table.query_all(
            "pk = :pk AND sk BETWEEN :first AND :last",
            pk=tenant.telegram_user_pk(user_id),
            first=_LINK,
            last=f"{_LINK}~",
        )
        return [link for link in links if tenant.owns(link["account"])]

    def lock(
        self, tenant: Tenant, user_id: str, owner: str, *, now: float, until: float
    ) -> float | None:
        """Take the user's lock, or keep it longer.

        Args:
            owner: who takes it, unique to one removal.
            until: when it ends by itself, should its owner die.

        Returns:
            ``None`` while another holds it; else until when an earlier removal, whose answer was
            not heard, may still take effect (0: there is none).
        """
        try:
            item = self.table.update(
                tenant.telegram_user_pk(user_id),
                _LOCK,
                "SET #owner = :owner, lease_until = :until",
                "attribute_not_exists(#owner) OR lease_until < :now OR #owner = :owner",
                {"#owner": "owner"},
                owner=owner,
                until=int(until) + 1,
                now=int(now),
            )
        except ConditionFailed:
            return None
        return float(item.get("settles_at", 0))

    def unlock(
        self, tenant: Tenant, user_id: str, owner: str, *, now: float, at: float = 0.0
    ) -> None:
        """Give the lock back; harmless when it is another's by now.

        Args:
            at: purchases go on waiting until then, removals don't.
        """
        change, values = "REMOVE #owner, lease_until, settles_at", dict[str, Any]()
        if at > now:
            change = "SET lease_until = :at, settles_at = :at REMOVE #owner"
            values = {"at": int(at) + 1}
        pk = tenant.telegram_user_pk(user_id)
        with self.table.giving_back():
            self.table.update_blind(
                pk, _LOCK, change, "#owner = :owner", {"#owner": "owner"}, owner=owner, **values
            )
