"""What every event's function works with: the event, its store, and the way into the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.domain import merge, well_formed
from shared.domain import stripe_objects as of
from shared.domain.clock import Clock, system_clock
from shared.domain.customer import is_guest
from shared.domain.errors import TryAgainLater
from shared.domain.merge import Data, Fetched, Observation
from shared.domain.stripe_objects import Raw
from shared.domain.transaction import transaction_id_of
from shared.integrations.stripe_gateway import (
    Mode,
    StripeGateway,
    StripeMissing,
    StripeRefusal,
)
from shared.storage.items import Record, from_item
from shared.storage.keys import Key, product_keys, profile_key, purchase_key, transaction_key
from shared.storage.products import Products
from shared.storage.records import MAX_CONFLICTS, Outcome, Records
from shared.storage.registry import Registry
from shared.stripe_events.event import Event, Unappliable
from shared.stripe_events.guests import Guests
from shared.tenant import Tenant, account_of

# A process remembers so many.
MOST_PAYERS = 2000

Normalise = Callable[[Mapping[str, Any]], Raw]


def payer_of(payment: Raw) -> str:
    """The account of a charge, a PaymentIntent or a payment-mode session."""
    customer = of.id_of(payment.get("customer"))
    if customer is not None:
        return customer
    return f"guest:{of.id_of(payment.get('payment_intent')) or payment['id']}"


def customer_of(raw: Raw) -> str:
    """The customer of an object that always has one."""
    customer = of.id_of(raw.get("customer"))
    if customer is None:
        raise Unappliable("it names no customer")
    return customer


def charge_key(tenant: Tenant, account: str, raw: Raw) -> Key:
    return transaction_key(tenant, account, raw["created"], transaction_id_of(raw["id"]))


def purchase_of(tenant: Tenant, account: str, payment: Raw) -> Key:
    """The one-off purchase a payment pays: its PaymentIntent, or itself where it has none."""
    return purchase_key(tenant, account, of.id_of(payment.get("payment_intent")) or payment["id"])


class ReindexCustomers(Protocol):
    """Brings the customer list up to date (:class:`shared.storage.customers.Customers`)."""

    def reindex(
        self,
        tenant: Tenant,
        account: str,
        *,
        changed: Iterable[Key] | None = None,
        profile: Record | None = None,
    ) -> None: ...


class RecentInvoices:
    """Whose the invoices are that this process was told of: customer and subscription.

    An invoice's payment names neither, and mostly comes within seconds of the invoice. Both never
    change, so what was once said may be used for ever; what isn't here is looked up.
    """

    MOST = 2000

    def __init__(self) -> None:
        self._known: dict[tuple[Tenant, str], tuple[str, str | None]] = {}

    def add(self, tenant: Tenant, invoice_id: str, account: str, subscription: str | None) -> None:
        if len(self._known) >= self.MOST:
            self._known.clear()
        self._known[tenant, invoice_id] = account, subscription

    def get(self, tenant: Tenant, invoice_id: str) -> tuple[str, str | None] | None:
        """Account and subscription of an invoice."""
        return self._known.get((tenant, invoice_id))


@dataclass(frozen=True)
class Services:
    """What events are applied with.

    Attributes:
        wake: sets the schedules that a purchase now needs; never fails.
        count: counts something an operator should know of.
        payers: profiles that say, as this process knows, that their customer has paid.
    """

    records: Records
    customers: ReindexCustomers
    products: Products
    registry: Registry
    stripe: StripeGateway
    wake: Callable[[Record], None]
    count: Callable[[str], None]
    clock: Clock = system_clock
    invoices: RecentInvoices = field(default_factory=RecentInvoices)
    payers: set[Key] = field(default_factory=set)

    @property
    def guests(self) -> Guests:
        return Guests(self.records)


@dataclass(frozen=True)
class Context:
    """One event on its way into one store's records.

    Attributes:
        stage: orders events of one object within one second; 0 is the first of its life.
    """

    event: Event
    tenant: Tenant
    services: Services
    stage: int

    @property
    def raw(self) -> Raw:
        return self.event.object

    @property
    def mode(self) -> Mode:
        return Mode(self.event.livemode, self.event.account)

    # -- writing ----------------------------------------------------------------------------------

    def observe(
        self,
        key: Key,
        source: str,
        normalise: Normalise,
        *,
        fetch: Callable[[], Raw],
        terminal: Callable[[Data], bool] = lambda _: False,
    ) -> Outcome:
        """Store what the event says of its object.

        Args:
            normalise: from Stripe's object, of the event or fetched, to what we keep.
            fetch: asks Stripe for the object, where the payload can't decide.
            terminal: whether the object can't change any more.
        """
        data = normalise(self.raw)
        before = self.event.before
        seen = Observation(
            source=source,
            data=data,
            created_at=self.event.created_at,
            event_id=self.event.id,
            previous=None if before is None else normalise(before),
            rank=self.stage,
            terminal=terminal(data),
        )
        if "expiry_not_understood" in data:
            seen = merge.provisional(seen)
        return self._observe(key, seen, self._fetching(source, normalise, fetch, terminal))

    def check(self, *normalise: Normalise) -> None:
        """Refuse an event that is malformed before anything is written or fetched for it.

        Raises:
            ValueError and the like: it is.
        """
        for each in normalise:
            well_formed.check(each(self.raw))
            if self.event.before is not None:
                well_formed.check(each(self.event.before))

    def mention(
        self,
        key: Key,
        source: str,
        normalise: Normalise,
        raw: Raw,
        *,
        fetch: Callable[[], Raw],
    ) -> Outcome:
        """Store what the event says of an object that its own object only contains.

        Within one second the object's own events say more: they come after what they tell.
        """
        seen = Observation(
            source, normalise(raw), self.event.created_at, self.event.id, previous=None, rank=0
        )
        return self._observe(key, seen, self._fetching(source, normalise, fetch, lambda _: False))

    def state(self, key: Key, source: str, data: Data, stage: int = 1) -> Outcome:
        """Store something the event says in passing that never changes again."""
        seen = Observation(source, data, self.event.created_at, self.event.id, rank=stage)
        return self._observe(key, seen, lambda: self._fetched(source, data))

    def state_once(self, key: Key, source: str, data: Data, *, at: int, by: str) -> Outcome:
        """Store what an object says of one moment: the same, whatever tells it and whenever.

        Args:
            by: the object's id.
        """
        seen = Observation(source, data, at, by)
        return self.services.records.observe(key, seen, fetch=lambda: self._fetched(source, data))

    def paid(self, account: str) -> list[Outcome]:
        """Note that a Stripe customer has paid, where no purchase says so: its transactions are
        shown."""
        key, known = profile_key(self.tenant, account), self.services.payers
        if is_guest(account) or key in known:
            return []
        profile = self.services.records.get(key)
        outcomes = []
        if profile is None or "money" not in profile.sources:
            # Every event says the same, so the first one that comes must store the same.
            outcomes.append(self.state_once(key, "money", {"has_paid": True}, at=0, by=""))
        if len(known) >= MOST_PAYERS:
            known.clear()
        known.add(key)
        return outcomes

    def _observe(self, key: Key, seen: Observation, fetch: Callable[[], Fetched | None]) -> Outcome:
        ids = of.users_of(seen.data) if key.kind == "PURCHASE" else frozenset[str]()
        return self.services.records.observe(key, seen, fetch=fetch, ids=ids)

    def _fetching(
        self,
        source: str,
        normalise: Normalise,
        fetch: Callable[[], Raw],
        terminal: Callable[[Data], bool],
    ) -> Callable[[], Fetched | None]:
        def ask() -> Fetched | None:
            asked_at = int(self.services.clock())
            try:
                data = normalise(fetch())
            except StripeMissing:
                return None
            return Fetched(source, data, asked_at, terminal=terminal(data))

        return ask

    def _fetched(self, source: str, data: Data) -> Fetched:
        return Fetched(source, data, int(self.services.clock()))

    def retrieve(self, kind: str, object_id: str) -> Raw:
        return self.services.stripe.retrieve(kind, object_id, self.mode)

    # -- what follows -----------------------------------------------------------------------------

    def settle(self, account: str, *outcomes: Outcome) -> None:
        """Let follow what follows from what was stored for an account.

        An outcome without a record changed nothing that anything depends on. One with a record
        is looked at even when the event was a duplicate: the first delivery may have been
        stopped before what follows here.
        """
        looked_at = [outcome for outcome in outcomes if outcome.record is not None]
        purchases = [outcome for outcome in looked_at if _kind(outcome) == "PURCHASE"]
        guests = self.services.guests
        unsettled = [outcome for outcome in purchases if not _is_settled(outcome)]
        if is_guest(account):
            customer = guests.moved_to(self.tenant, account)
            if customer is not None:
                # To the customer's own events, what is moved is known already.
                if unsettled:
                    self._complete(customer, unsettled)
                self._adopt(account, customer)
                return
        for guest in self._guests_of(unsettled) if not is_guest(account) else ():
            if guests.belongs_to(self.tenant, guest, account) == account:
                self._adopt(guest, account)
        profile = self._complete(account, unsettled) if unsettled else None
        if profile is None:
            profile = next((o.record for o in looked_at if _kind(o) == "PROFILE"), None)
        if any(map(_is_pending, looked_at)) or (profile and profile.reindex_at is not None):
            changed = [outcome.record.key for outcome in looked_at if outcome.record is not None]
            self.services.customers.reindex(self.tenant, account, changed=changed, profile=profile)
            if is_guest(account):
                # The list may have been told of what was moved meanwhile: it is a write like
                # any other, and whoever writes looks for the note afterwards.
                customer = guests.moved_to(self.tenant, account)
                if customer is not None:
                    self._adopt(account, customer)
                    return
        for outcome in purchases:
            if outcome.record is not None:
                self.services.wake(outcome.record)

    def _guests_of(self, purchases: Iterable[Outcome]) -> list[str]:
        """The guests that the payments of these purchases may have been kept under."""
        ids = [o.record.key.sk.split("#", 1)[1] for o in purchases if o.record is not None]
        return [f"guest:{id_}" for id_ in ids if id_.startswith(("pi_", "cs_", "ch_"))]

    def _adopt(self, guest: str, account: str) -> None:
        """Move a guest's records until none is left, whoever else writes some meanwhile.

        Raises:
            TryAgainLater: they keep coming.
        """
        guests, customers = self.services.guests, self.services.customers
        for _ in range(MAX_CONFLICTS):
            moved = guests.adopt(self.tenant, guest, account)
            if not moved:
                return
            customers.reindex(self.tenant, account, changed=moved)
            customers.reindex(self.tenant, guest)
            guests.forget(self.tenant, guest)
        raise TryAgainLater("a guest's records keep coming")

    def _complete(self, account: str, purchases: Iterable[Outcome]) -> Record | None:
        """Fetch the customer and the products of these purchases where nobody told us of them.

        An ordered history tells of both before anything is bought. What Stripe won't show is
        left out: a purchase counts without a name.

        Returns:
            The customer's profile as it is now.
        """
        records, products = self.services.records, self.services.products
        livemode = self.event.livemode
        wanted = dict.fromkeys(
            (livemode, product_id)
            for outcome in purchases
            if outcome.record is not None
            for product_id in outcome.record.purchase.candidates
        )
        profile = profile_key(self.tenant, account)
        keys = product_keys(self.tenant, wanted)
        stored = records.table.batch_get(
            (key.pk, key.sk) for key in (profile, *(k for both in keys.values() for k in both))
        )
        for (_, product_id), both in keys.items():
            if not any((key.pk, key.sk) in stored for key in both):
                try:
                    products.fetch(self.tenant, product_id, livemode)
                except StripeRefusal:
                    self.services.count("ProductNotReadable")
        item = stored.get((profile.pk, profile.sk))
        known = None if item is None else from_item(item)
        if not account.startswith("cus_") or (known is not None and "customer" in known.sources):
            return known
        return self._fetch_customer(profile, account) or known

    def _fetch_customer(self, profile: Key, account: str) -> Record | None:
        asked_at = int(self.services.clock())
        try:
            data = of.customer(self.retrieve("customers", account))
        except StripeMissing:
            return None
        except StripeRefusal:
            self.services.count("CustomerNotReadable")
            return None
        if data["deleted"]:
            # All that Stripe still has is the id. Its events say who it was.
            return None
        fetched = Fetched("customer", data, asked_at)
        return self.services.records.refresh(profile, fetched).record

    # -- finding ----------------------------------------------------------------------------------

    def charge_key(self, charge_id: str) -> Key:
        """Where a charge is kept, which alone says whose it is; fetched where we have none.

        Raises:
            Unappliable: Stripe has none either.
        """
        records = self.services.records
        found = records.find(self.tenant, transaction_id_of(charge_id))
        # A guest's charge that has just been moved may still be found at its old place too.
        found.sort(key=lambda item: is_guest(account_of(item["pk"])))
        if found:
            return Key(found[0]["pk"], found[0]["sk"], found[0]["ref"])
        asked_at = int(self.services.clock())
        try:
            raw = self.retrieve("charges", charge_id)
        except StripeMissing:
            raise Unappliable("its charge is not in this account") from None
        account = payer_of(raw)
        key = charge_key(self.tenant, account, raw)
        outcomes = [records.refresh(key, Fetched("charge", of.charge(raw), asked_at))]
        if of.names_product_or_user(raw) and not of.pays_invoice(raw):
            data = of.charge_of_purchase(raw)
            fetched = Fetched("charge", data, asked_at)
            purchase = purchase_of(self.tenant, account, raw)
            outcomes.append(records.refresh(purchase, fetched, of.users_of(data)))
        self.settle(account, *outcomes)
        return key


def _kind(outcome: Outcome) -> str | None:
    return None if outcome.record is None else outcome.record.key.kind


def _is_pending(outcome: Outcome) -> bool:
    """Whether the customer list doesn't show yet what was stored."""
    record = outcome.record
    return outcome.facts_changed or (record is not None and record.reindex_at is not None)


def _is_settled(outcome: Outcome) -> bool:
    """Whether all that follows from a purchase's facts has been seen to, or is being seen to by
    whoever changed them: they are as they were, in a record that nobody has marked.

    Never so of an event that changed nothing. It may have been here before, and stopped before
    what follows, and the sweep may have taken the mark off.
    """
    before = outcome.before
    is_marked = before is None or before.reindex_at is not None
    return outcome.stored and not outcome.facts_changed and not is_marked
