"""Thin events: they name their object and hold none of it.

What the events of an object tell of the past (who was linked before, which plan it was) is not in
the object any more. Of these the snapshot event is asked for that Stripe made of the same change
(``snapshot_event``): both ways then store the same, in any mixture. Of the others the object is
asked for, and stored as fetched.

https://docs.stripe.com/events/how-events-work.md,
https://docs.stripe.com/changelog/endive/2026-09-30/thin-events-for-api-v1-resources-generally-available
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from shared.domain import stripe_objects as of
from shared.domain.key_parts import is_id
from shared.domain.merge import is_event_time
from shared.domain.purchase import ENDED_SUBSCRIPTION
from shared.domain.stripe_objects import Raw
from shared.integrations.stripe_gateway import Mode, StripeMissing
from shared.stripe_events import events
from shared.stripe_events.context import Services
from shared.stripe_events.event import NO_ACCOUNT, THIN, Event, Unappliable, connected_account
from shared.stripe_events.listed import Listed
from shared.tenant import Tenant

# The types of thin events are those of snapshot events behind this.
PREFIX = "v1."
# The older API's cards and bank accounts have no thin events.
_NEVER_THIN = "customer.source."

# Types that no snapshot has: each tells one change of an object that is told as a whole, too.
# https://docs.stripe.com/api/v2/core/events/event-types
_OF_A_SUBSCRIPTION = (
    "active",
    "cancel_at_changed",
    "default_payment_method_changed",
    "incomplete",
    "incomplete_expired",
    "item_added",
    "item_price_changed",
    "item_quantity_changed",
    "item_removed",
    "item_tax_rates_changed",
    "past_due",
    "trialing",
    "unpaid",
)
SEMANTIC: Mapping[str, str] = {
    **{
        f"customer.subscription.{what}": "customer.subscription.updated"
        for what in _OF_A_SUBSCRIPTION
    },
    "product.activated": "product.updated",
    "product.deactivated": "product.updated",
}

# Objects that tell all that their events do. "customer" stands for these types only: of a customer
# that is deleted, and of a legacy card, the object is gone.
_TOLD_BY_OBJECT = (
    "customer.created",
    "customer.updated",
    "credit_note.",
    "invoice.",
    "invoice_payment.",
    "payment_method.attached",
    "payment_method.updated",
    "payment_method.automatically_updated",
    "refund.",
)

# Of an account that is disconnected, Stripe answers nothing.
_TOLD_BY_ITSELF = "account.application."

# Where the API has the objects of each type.
_PATHS = {
    "charge": "charges",
    "checkout.session": "checkout/sessions",
    "credit_note": "credit_notes",
    "customer": "customers",
    "dispute": "disputes",
    "invoice": "invoices",
    "invoice_payment": "invoice_payments",
    "payment_intent": "payment_intents",
    "payment_method": "payment_methods",
    "product": "products",
    "refund": "refunds",
    "subscription": "subscriptions",
}

# A burst is over after that: an event that comes later is asked for in any case.
_BURST_SECONDS = 60
# How many objects a process remembers to have asked for.
_MOST_REMEMBERED = 2000
_ACCOUNT_OF_CONTEXT = re.compile(r"(?:[^/]+/)*(acct_[A-Za-z0-9_]+)")


def type_of(told: Mapping[str, Any]) -> str | None:
    """The type of the snapshot event that an event is, or that a thin one is handled as; ``None``
    where there is none."""
    kind = told.get("type")
    if not isinstance(kind, str):
        return None
    if not is_thin(told):
        return kind
    if not kind.startswith(PREFIX):
        return None
    name = kind.removeprefix(PREFIX)
    return SEMANTIC.get(name, name)


def thin_type(kind: str) -> str | None:
    """The type of the thin event of a snapshot event; ``None``: there is none."""
    return None if kind.startswith(_NEVER_THIN) else f"{PREFIX}{kind}"


def is_thin(told: Mapping[str, Any]) -> bool:
    return told.get("object") == THIN


def created_at(told: Mapping[str, Any]) -> int | None:
    """When an event was made, in seconds since the epoch; ``None`` where it doesn't say so."""
    created = told.get("created")
    if is_thin(told):
        moment = _moment(created)
        return None if moment is None else int(moment)
    return created if is_event_time(created) else None


def account_of_event(told: Mapping[str, Any]) -> str | None:
    """The account that an event is of, see
    :func:`shared.stripe_events.event.connected_account`; of a thin one its ``context``."""
    if not is_thin(told):
        return connected_account(told)
    context = told.get("context")
    if context is None:
        return None
    found = _ACCOUNT_OF_CONTEXT.fullmatch(context) if isinstance(context, str) else None
    return NO_ACCOUNT if found is None or not is_id(found[1]) else found[1]


@dataclass(frozen=True, slots=True)
class ThinEvent:
    """A thin event.

    Attributes:
        type: of the snapshot event that it is handled as.
        made_at: seconds since the epoch, as exactly as Stripe tells.
        object_type, object_id: what it is about.
    """

    id: str
    type: str
    made_at: float
    livemode: bool
    account: str | None
    object_type: str
    object_id: str

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> ThinEvent:
        """The thin event of a body.

        Raises:
            ValueError: it is malformed.
        """
        kind, made_at = type_of(told), _moment(told.get("created"))
        about = told.get("related_object")
        if not is_id(told.get("id")) or kind is None or made_at is None:
            raise ValueError("a thin event without id, type or time")
        if type(told.get("livemode")) is not bool or not isinstance(about, dict):
            raise ValueError("a thin event without mode or object")
        if not is_id(about.get("id")) or not isinstance(about.get("type"), str):
            raise ValueError("a thin event whose object has no id or type")
        account = account_of_event(told)
        return cls(told["id"], kind, made_at, told["livemode"], account, about["type"], about["id"])

    @property
    def mode(self) -> Mode:
        return Mode(self.livemode, self.account)

    def about(self, raw: Raw, before: Raw | None = None) -> Event:
        """The event with its object."""
        return Event(
            id=self.id,
            type=self.type,
            created_at=int(self.made_at),
            livemode=self.livemode,
            account=self.account,
            object=raw,
            before=before,
            previous={},
        )


@dataclass(frozen=True)
class ThinEvents:
    """Applies thin events.

    Attributes:
        read_at: objects that this process asked for, and a time before which Stripe had not read
            them, by Stripe's clock.
    """

    services: Services
    read_at: dict[tuple[Any, ...], float] = field(default_factory=dict)

    def apply(self, told: Mapping[str, Any], tenant: Tenant) -> None:
        """Apply an event of a known type to a store's records.

        Raises:
            As :func:`shared.stripe_events.events.apply`.
        """
        thin = ThinEvent.parse(told)
        if thin.type.startswith(_TOLD_BY_ITSELF):
            events.apply(thin.about({"id": thin.object_id}), tenant, self.services)
            return
        if thin.type.startswith(_TOLD_BY_OBJECT):
            self._as_fetched(thin, tenant)
            return
        whole = self._whole(thin)
        snapshot = self._snapshot(thin, whole)
        if snapshot is not None:
            events.apply(snapshot, tenant, self.services)
            return
        now = self._as_fetched(thin, tenant)
        changes: Any = whole.get("changes")
        if isinstance(changes, Mapping) and changes:
            # By the snapshot's id, so that it is known where that comes after all.
            snapshot_id: Any = whole.get("snapshot_event")
            told_as = replace(thin, id=snapshot_id) if is_id(snapshot_id) else thin
            self._as_changed(told_as, tenant, changes, now)

    # -- what the event knows ---------------------------------------------------------------------

    def _whole(self, thin: ThinEvent) -> Raw:
        """The event with ``changes`` and ``snapshot_event``; empty: Stripe has it no more, which
        it keeps for 30 days."""
        try:
            return self.services.stripe.retrieve_thin_event(thin.id, thin.mode)
        except StripeMissing:
            return {}

    def _snapshot(self, thin: ThinEvent, whole: Mapping[str, Any]) -> Event | None:
        """The snapshot event of the same change, where there is one."""
        snapshot_id: Any = whole.get("snapshot_event")
        if not is_id(snapshot_id):
            return None
        try:
            told = self.services.stripe.retrieve("events", snapshot_id, thin.mode)
        except StripeMissing:
            return None
        event = replace(Event.parse(told), account=thin.account)
        return event if event.type in events.HANDLERS else None

    # -- what its object knows --------------------------------------------------------------------

    def _as_fetched(self, thin: ThinEvent, tenant: Tenant) -> Raw | None:
        """Store the object as it is now, once for all events of a burst.

        Returns:
            The object, where it was fetched here.
        """
        if thin.object_type == "product":
            self.services.products.fetch(tenant, thin.object_id, thin.livemode)
            return None
        place = (tenant, thin.mode, thin.object_id)
        if self._is_covered(thin, place):
            return None
        asked_at = int(self.services.clock())
        raw, read_at = self._object(thin)
        row = events.HANDLERS[thin.type]
        listed = Listed(thin.about(raw), tenant, self.services, row.stage, asked_at)
        row.handle(listed)
        if thin.object_type == "customer" and not raw.get("deleted"):
            # Somebody who is gone meanwhile has no list.
            with contextlib.suppress(StripeMissing):
                events.store_balance_changes(listed, thin.object_id)
        if len(self.read_at) >= _MOST_REMEMBERED:
            self.read_at.clear()
        if read_at is not None:
            self.read_at[place] = read_at
        return raw

    def _is_covered(self, thin: ThinEvent, place: tuple[Any, ...]) -> bool:
        """Whether the object was read after this event was made.

        Some events tell their time in whole seconds: one more is added.
        """
        is_fresh = abs(self.services.clock() - thin.made_at) < _BURST_SECONDS
        return is_fresh and thin.made_at + 1 <= self.read_at.get(place, 0)

    def _object(self, thin: ThinEvent) -> tuple[Raw, float | None]:
        path = _PATHS.get(thin.object_type)
        if path is None:
            raise Unappliable("nobody knows where Stripe has its object")
        try:
            return self.services.stripe.retrieve_timed(path, thin.object_id, thin.mode)
        except StripeMissing:
            if not thin.type.endswith(".deleted"):
                raise
            gone = {"id": thin.object_id, "object": thin.object_type, "deleted": True}
            return gone, None

    def _as_changed(
        self, thin: ThinEvent, tenant: Tenant, changes: Mapping[str, Any], now: Raw | None
    ) -> None:
        """Store what the event changed, at its time, of an object that may have changed since.

        Args:
            now: the object, where it was fetched already.
        """
        if now is None:
            now, _ = self._object(thin)
        told, before = changes.get("after"), changes.get("before")
        after = told if isinstance(told, Mapping) else {}
        then = of.laid_over(now, after)
        is_over = thin.object_type == "subscription" and now["status"] in ENDED_SUBSCRIPTION
        if is_over and "status" not in after and thin.type != "customer.subscription.deleted":
            # It was not over then: nothing changes a subscription that is.
            then |= {"status": "active", "ended_at": None}
        was = of.before(then, before if isinstance(before, Mapping) else None)
        events.apply(thin.about(then, was), tenant, self.services)


def _moment(told: Any) -> float | None:
    """A time as API v2 writes it, in seconds since the epoch."""
    if not isinstance(told, str) or len(told) > 40:
        return None
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds if is_event_time(int(seconds)) else None
