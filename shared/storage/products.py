"""A store's products: their names, and the Telegram chats they open.

A product opens only chats of its own store (see :mod:`shared.storage.chats`): one bot serves all
stores, and a foreign id in a product's metadata must not get another store's members removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.domain import stripe_objects, well_formed
from shared.domain.clock import Clock, system_clock
from shared.domain.merge import Fetched, Observation
from shared.integrations.stripe_gateway import Mode, StripeGateway, StripeMissing
from shared.storage.chats import Chats
from shared.storage.items import Record, from_item
from shared.storage.keys import product_key
from shared.storage.records import Records
from shared.storage.registry import Registry
from shared.tenant import Tenant


@dataclass(frozen=True)
class Products:
    """Reads and writes of products; those not known yet are fetched from Stripe."""

    records: Records
    chats: Chats
    registry: Registry
    stripe: StripeGateway
    clock: Clock = system_clock

    def known(self, tenant: Tenant, product_ids: Iterable[str]) -> dict[str, Record]:
        """The products there are, by id."""
        keys = {product_id: product_key(tenant, product_id) for product_id in product_ids}
        items = self.records.table.batch_get((key.pk, key.sk) for key in keys.values())
        return {
            product_id: from_item(items[key.pk, key.sk])
            for product_id, key in keys.items()
            if (key.pk, key.sk) in items
        }

    def names(self, tenant: Tenant, product_ids: Iterable[str]) -> dict[str, str | None]:
        """What the products are called; ``None`` where we weren't told."""
        found = self.known(tenant, product_ids)
        return {product_id: name_of(record) for product_id, record in found.items()}

    def chats_ever(
        self,
        tenant: Tenant,
        product_ids: Iterable[str],
        livemode: bool,
        *,
        before_asking: Callable[[], None] = lambda: None,
    ) -> frozenset[str]:
        """Every chat the products open or ever opened.

        Args:
            before_asking: called before Stripe is asked for one that is unknown; what it raises
                passes through.

        Raises:
            StripeUnavailable, StripeRefusal: one of them is unknown and couldn't be fetched.
        """
        wanted = tuple(product_ids)
        found = self.known(tenant, wanted)
        for product_id in wanted:
            if product_id not in found:
                before_asking()
                record = self.fetch(tenant, product_id, livemode)
                if record is not None:
                    found[product_id] = record
        return frozenset(chat for record in found.values() for chat in record.seen)

    def fetch(self, tenant: Tenant, product_id: str, livemode: bool) -> Record | None:
        """Store a product as Stripe has it now; ``None`` where Stripe has none.

        Raises:
            StripeUnavailable, StripeRefusal: as the gateway does.
        """
        fetched = self.look_up(tenant, product_id, livemode)
        if fetched is None:
            return None
        return self.records.refresh(
            product_key(tenant, product_id),
            fetched,
            frozenset(fetched.data["chats"]),
            again=lambda: self.look_up(tenant, product_id, livemode),
        ).record

    def look_up(self, tenant: Tenant, product_id: str, livemode: bool) -> Fetched | None:
        """A product as Stripe has it now, with the chats that are this store's."""
        asked_at = int(self.clock())
        mode = Mode(livemode, self.registry.of_store(tenant).account)
        try:
            raw = self.stripe.retrieve("products", product_id, mode)
        except StripeMissing:
            return None
        data, _ = self.owned(tenant, stripe_objects.product(raw))
        return Fetched("product", data, asked_at, terminal=data["deleted"])

    def observe(self, tenant: Tenant, product_id: str, seen: Observation, livemode: bool) -> int:
        """Store what an event says of a product.

        Returns:
            How many of its chats are not this store's, and were left out.
        """
        well_formed.check(seen.data)
        data, foreign = self.owned(tenant, seen.data)
        previous = None if seen.previous is None else self.owned(tenant, seen.previous)[0]
        self.records.observe(
            product_key(tenant, product_id),
            replace(seen, data=data, previous=previous),
            fetch=lambda: self.look_up(tenant, product_id, livemode),
            ids=frozenset(data["chats"]),
        )
        return foreign

    def owned(self, tenant: Tenant, data: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """A product's data with the chats that are this store's, and how many are not."""
        chats = [chat for chat in data["chats"] if self.chats.claim(tenant, chat)]
        return {**data, "chats": chats}, len(data["chats"]) - len(chats)


def name_of(record: Record) -> str | None:
    """A product's name: what was said last, by Stripe or by the store."""
    named = [s for s in record.sources.values() if s.data.get("name")]
    return max(named, key=lambda s: s.version).data["name"] if named else None
