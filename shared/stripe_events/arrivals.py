"""Whether Stripe's events have arrived: Stripe's list of events, compared with the records.

Stripe itself knows only of deliveries: an endpoint that was deleted or disabled fails none. But an
event that was applied left its time in the record of its object
(:class:`shared.domain.merge.Source`), so the records tell which events arrived, and no event costs
a write more for it. Everything here only reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain import stripe_objects as of
from shared.domain.merge import CLOCK_SKEW_SECONDS
from shared.domain.stripe_objects import Raw
from shared.domain.transaction import transaction_id_of
from shared.integrations.stripe_gateway import Mode, StripeGateway
from shared.storage.keys import (
    Key,
    invoice_key,
    method_key,
    product_key,
    profile_key,
    purchase_key,
)
from shared.storage.parked import Parked
from shared.storage.records import Records
from shared.stripe_events.context import customer_of
from shared.stripe_events.event import Event, Unappliable
from shared.stripe_events.events import HANDLERS
from shared.tenant import Tenant

# Records read for one comparison at most. Where events arrive, the first one says so.
MOST_READ = 25


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison of Stripe's newest events with the records found; times are the events'
    ``created``.

    Attributes:
        arrived: the newest event that is stored; ``None``: none of them is.
        missing: the oldest event that is not stored though it is newer than that; ``None``: none.
    """

    arrived: int | None
    missing: int | None


@dataclass(frozen=True)
class Arrivals:
    """Compares."""

    records: Records
    parked: Parked
    stripe: StripeGateway

    def compare(self, tenant: Tenant, mode: Mode, *, before: int) -> Comparison:
        """Compare a store's newest events from before a time; one request to Stripe.

        Raises:
            StripeError: Stripe did not answer, or refused.
        """
        page = self.stripe.list_page("events", mode, **{"created[lt]": before})
        missing, read = None, 0
        for raw in page["data"]:
            arrived = self.has_arrived(tenant, raw)
            if arrived is None:
                continue
            if arrived:
                return Comparison(raw["created"], missing)
            missing, read = raw["created"], read + 1
            if read == MOST_READ:
                break
        return Comparison(None, missing)

    def has_arrived(self, tenant: Tenant, raw: Raw) -> bool | None:
        """Whether an event as Stripe lists it has arrived.

        Returns:
            ``None`` where the records cannot tell: the event stores nothing of its own, or its
            object was fetched from Stripe since.
        """
        if raw.get("type") not in HANDLERS:
            return None
        try:
            event = Event.parse(raw)
            place = self._place_of(tenant, event)
        except (Unappliable, KeyError, TypeError, ValueError, AttributeError):
            return None
        if place is None:
            return None
        source_name, keys = place
        for key in keys:
            record = self.records.get(key)
            source = None if record is None else record.sources.get(source_name)
            if source is None:
                continue
            if source.version >= event.created_at:
                return True
            fetched_at = source.fetched_at or 0
            if source.terminal or fetched_at + CLOCK_SKEW_SECONDS >= event.created_at:
                return None  # it would have been dropped
        return self.parked.holds(tenant, event.id, event.created_at)

    def _place_of(self, tenant: Tenant, event: Event) -> tuple[str, Iterator[Key]] | None:
        """The source that an event's function stores its object as, and the keys of the records
        where that may be."""
        raw, kind = event.object, event.object.get("object")
        match kind:
            case "customer":
                return "customer", iter([profile_key(tenant, raw["id"])])
            case "subscription":
                return kind, iter([purchase_key(tenant, customer_of(raw), raw["id"])])
            case "product":
                return kind, iter([product_key(tenant, raw["id"], event.livemode)])
            case "invoice":
                return kind, iter([invoice_key(tenant, customer_of(raw), raw["id"])])
            case "payment_method":
                customer = of.id_of(raw.get("customer") or (event.before or {}).get("customer"))
                if customer is None:
                    return None
                return "method", iter([method_key(tenant, customer, raw["id"])])
            case "checkout.session" if raw["mode"] == "payment" and raw["status"] != "expired":
                purchase = of.id_of(raw.get("payment_intent")) or raw["id"]
                return "session", self._found(tenant, purchase)
            case "charge" | "refund" | "dispute" | "credit_note":
                return kind, self._found(tenant, transaction_id_of(raw["id"]))
        return None

    def _found(self, tenant: Tenant, reference: str) -> Iterator[Key]:
        """The records of a reference: a guest's may have moved to its customer."""
        yield from (Key(item["pk"], item["sk"]) for item in self.records.find(tenant, reference))
