"""A store's products: their names, and the Telegram chats they open.

The same id in live and in test mode is two products. A record holds the chats' ids as they were
given; whether one can be used, and whose it is, is asked when it is (:mod:`shared.storage.chats`).

Products that were stored before their keys had a mode are read as either; the first write of a
mode begins with what is stored there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.domain import access, stripe_objects, well_formed
from shared.domain.clock import Clock, system_clock
from shared.domain.merge import Fetched, Observation
from shared.domain.purchase import Purchase
from shared.domain.timeline import UNTOLD, Point, Timeline
from shared.integrations.stripe_gateway import Mode, StripeGateway, StripeMissing
from shared.storage.chats import Chats
from shared.storage.dynamo import ConditionFailed, Table
from shared.storage.items import Record, from_item, to_item
from shared.storage.keys import product_key, product_keys, replan_key
from shared.storage.records import Records
from shared.storage.registry import Registry
from shared.tenant import Tenant

Wanted = tuple[bool, str]
"""The mode (whether it is live) and the id of a product."""


@dataclass(frozen=True)
class Products:
    """Reads and writes of products; those not known yet are fetched from Stripe."""

    records: Records
    chats: Chats
    registry: Registry
    stripe: StripeGateway
    clock: Clock = system_clock

    def known(self, tenant: Tenant, wanted: Iterable[Wanted]) -> dict[Wanted, Record]:
        """The products there are."""
        return known_products(self.records.table, tenant, wanted)

    def of_purchases(
        self, tenant: Tenant, purchases: Iterable[Purchase]
    ) -> dict[str, dict[str, access.Product]]:
        """Every product that these purchases are or were of, as far as known, by purchase and by
        id."""
        return products_of(self.records.table, tenant, purchases)

    def complete(
        self,
        tenant: Tenant,
        purchase: Purchase,
        *,
        before_asking: Callable[[], None] = lambda: None,
    ) -> dict[str, access.Product]:
        """Every product the purchase is or was of; those nobody told us of are fetched.

        What Stripe doesn't have is left out.

        Args:
            before_asking: called before Stripe is asked; what it raises passes through.

        Raises:
            StripeUnavailable, StripeRefusal: one of them is unknown and couldn't be fetched.
        """
        found = self.of_purchases(tenant, [purchase])[purchase.purchase_id]
        for product_id in sorted(purchase.products_ever - found.keys()):
            before_asking()
            record = self.fetch(tenant, product_id, purchase.livemode)
            if record is not None:
                found[product_id] = product_of(record)
        return found

    def fetch(self, tenant: Tenant, product_id: str, livemode: bool) -> Record | None:
        """Store a product as Stripe has it now; ``None`` where Stripe has none.

        Raises:
            StripeUnavailable, StripeRefusal: as the gateway does.
        """
        fetched = self.look_up(tenant, product_id, livemode)
        if fetched is None:
            return None
        self._carry_over(tenant, product_id, livemode)
        self._claim(tenant, fetched.data)
        said = Point(fetched.fetched_at, 0, "", list(fetched.data["chats"]))
        self._mark_if_past_changes(tenant, product_id, livemode, fetched.source, said)
        return self.records.refresh(
            product_key(tenant, product_id, livemode),
            fetched,
            again=lambda: self.look_up(tenant, product_id, livemode),
        ).record

    def look_up(self, tenant: Tenant, product_id: str, livemode: bool) -> Fetched | None:
        """A product as Stripe has it now; ``None`` where Stripe has none.

        Of a deleted one Stripe has only the id: what it opened last still counts for those who
        bought it. One that is not known yet is left to its events: they hold its name and chats,
        and what was fetched would hide them.
        """
        asked_at = int(self.clock())
        mode = Mode(livemode, self.registry.of_store(tenant).account)
        try:
            raw = self.stripe.retrieve("products", product_id, mode)
        except StripeMissing:
            return None
        data = stripe_objects.product(raw)
        if data["deleted"]:
            record = self.known(tenant, [(livemode, product_id)]).get((livemode, product_id))
            if record is None or "product" not in record.sources:
                return None
            data = {**record.sources["product"].data, "deleted": True}
        return Fetched("product", data, asked_at, terminal=data["deleted"])

    def observe(self, tenant: Tenant, product_id: str, seen: Observation, livemode: bool) -> int:
        """Store what an event says of a product.

        Returns:
            How many of its chats are not the store's, or not proven to be: nobody is removed from
            those.
        """
        well_formed.check_observation(seen)
        self._carry_over(tenant, product_id, livemode)
        foreign = self._claim(tenant, seen.data)
        before = UNTOLD if seen.previous is None else list(seen.previous["chats"])
        said = Point(seen.created_at, seen.rank, seen.event_id, list(seen.data["chats"]), before)
        self._mark_if_past_changes(tenant, product_id, livemode, seen.source, said)
        self.records.observe(
            product_key(tenant, product_id, livemode),
            seen,
            fetch=lambda: self.look_up(tenant, product_id, livemode),
        )
        return foreign

    def _mark_if_past_changes(
        self, tenant: Tenant, product_id: str, livemode: bool, source: str, said: Point
    ) -> None:
        """Have those purchases looked at again that ended before this was known.

        The mark is set before the word is stored: whoever is stopped in between is told again.
        """
        record = self.known(tenant, [(livemode, product_id)]).get((livemode, product_id))
        timeline = Timeline() if record is None else record.timeline(source)
        if timeline.with_points(said) == timeline or not (said.value or timeline.points):
            return
        mode = "live" if livemode else "test"
        if self.records.sold(tenant, mode, product_id, "", 1):
            self.records.mark(replan_key(tenant, product_id, livemode))

    def _claim(self, tenant: Tenant, data: Mapping[str, Any]) -> int:
        """Note that the store names the chats; how many are not its own."""
        return self.chats.name(tenant, data["chats"])

    def _carry_over(self, tenant: Tenant, product_id: str, livemode: bool) -> None:
        """Begin a product of one mode with what is stored of both."""
        key = product_key(tenant, product_id, livemode)
        record = self.known(tenant, [(livemode, product_id)]).get((livemode, product_id))
        if record is None or record.key.sk == key.sk:
            return
        timelines = {name: past_of(record, name) for name in record.sources}
        begun = replace(record, key=key, timelines=timelines, rev=1, seen=frozenset())
        try:
            self.records.table.put(to_item(begun), "attribute_not_exists(pk)")
        except ConditionFailed:
            return


def all_products(table: Table, tenant: Tenant) -> list[Record]:
    """Every product of a store, deleted ones too."""
    found = table.query_all(
        "pk = :pk AND sk BETWEEN :first AND :last",
        pk=tenant.products_pk(),
        first="PRODUCT#",
        last="PRODUCT#~",
    )
    # A product from before the keys had a mode comes last, and gives way.
    products: dict[Wanted, Record] = {}
    for record in map(from_item, found):
        products.setdefault((mode_of(record), id_of(record)), record)
    return list(products.values())


def known_products(table: Table, tenant: Tenant, wanted: Iterable[Wanted]) -> dict[Wanted, Record]:
    """The products there are, read in one batch."""
    keys = product_keys(tenant, dict.fromkeys(wanted))
    found = table.batch_get((key.pk, key.sk) for both in keys.values() for key in both)
    return {
        product: from_item(next(found[key.pk, key.sk] for key in both if (key.pk, key.sk) in found))
        for product, both in keys.items()
        if any((key.pk, key.sk) in found for key in both)
    }


def products_of(
    table: Table, tenant: Tenant, purchases: Iterable[Purchase]
) -> dict[str, dict[str, access.Product]]:
    """Every product that these purchases are or were of, as far as known."""
    purchases = tuple(purchases)
    found = known_products(
        table,
        tenant,
        ((p.livemode, product_id) for p in purchases for product_id in sorted(p.products_ever)),
    )
    products = {wanted: product_of(record) for wanted, record in found.items()}
    return {
        purchase.purchase_id: {
            product_id: products[purchase.livemode, product_id]
            for product_id in purchase.products_ever
            if (purchase.livemode, product_id) in products
        }
        for purchase in purchases
    }


def product_of(record: Record) -> access.Product:
    """A record as a product."""
    return access.Product(
        id_of(record),
        name_of(record),
        frozenset(chat for source in record.sources.values() for chat in source.data["chats"]),
        tuple(past_of(record, name) for name in record.sources),
    )


def past_of(record: Record, source: str) -> Timeline:
    """The chats that a source named over time.

    Records from before the timelines only say which chats there ever were: all of them count for
    the time before the last word.
    """
    timeline = record.timeline(source)
    first = timeline.points[0]
    ever = sorted(record.seen.union(first.value))
    if source in record.timelines or ever == sorted(first.value):
        return timeline
    told = Point(first.at, first.stage, first.event_id, first.value, ever)
    return Timeline.of((told, *timeline.points[1:]))


def id_of(record: Record) -> str:
    """The product's id at Stripe."""
    _, _, rest = record.key.sk.partition("#")
    mode, _, product_id = rest.partition("#")
    return product_id if mode in ("live", "test") and product_id else rest


def mode_of(record: Record) -> bool:
    """Whether it is a product of live mode; those without a mode are taken for live."""
    return not record.key.sk.startswith("PRODUCT#test#")


def name_of(record: Record) -> str | None:
    """A product's name: what was said last, by Stripe or by the store."""
    named = [s for s in record.sources.values() if s.data.get("name")]
    return max(named, key=lambda s: s.version).data["name"] if named else None
