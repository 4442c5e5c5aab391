"""What follows from each event of the store's own platform."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from functions.store_events.messages import (
    AccessCodeRedeemed,
    CustomerProfileChanged,
    Message,
    ProductChanged,
    TelegramLinked,
)
from shared.domain import merge
from shared.domain.clock import Clock, parse_iso, system_clock
from shared.domain.customer import is_guest
from shared.domain.errors import TryAgainLater
from shared.domain.key_parts import is_id
from shared.domain.merge import Data, Fetched, Observation
from shared.domain.stripe_objects import term
from shared.integrations.stripe_gateway import StripeRefusal
from shared.observability import log_failure, logger
from shared.storage.dynamo import AWS_ERRORS, is_impossible
from shared.storage.items import Record
from shared.storage.keys import Key, profile_key, purchase_key
from shared.storage.parked import Parked, ParkedEvent, id_of
from shared.storage.products import Products
from shared.storage.records import Records
from shared.tenant import Tenant, account_of, store_of

# A link may overtake the purchase it is for; Lambda tries again after one minute and after two.
PATIENCE_SECONDS = 150


class ReindexCustomers(Protocol):
    """Brings the customer list up to date (:class:`shared.storage.customers.Customers`)."""

    def reindex(
        self, tenant: Tenant, account: str, *, changed: Iterable[Key] | None = None
    ) -> None: ...


@dataclass(frozen=True)
class BusEvent:
    """An event as EventBridge delivers it.

    Attributes:
        at: when it was sent, seconds since the epoch.
    """

    id: str
    type: str
    at: int

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> BusEvent:
        """The event without its detail.

        Raises:
            ValueError: it is malformed.
        """
        event_id: Any = raw.get("id")
        kind, at = raw.get("detail-type"), _time_of(raw)
        if not is_id(event_id) or not isinstance(kind, str) or at is None:
            raise ValueError("not an event")
        return cls(event_id, kind, at)

    def says(self, source: str, data: Data) -> Observation:
        """The platform can't be asked which of two events of one second was the later one. The
        event's id decides, so that it is the same in whatever order they arrive."""
        stage = 1 + zlib.crc32(self.id.encode())
        seen = Observation(source, data, self.at, self.id, rank=stage)
        return merge.provisional(seen) if "expiry_not_understood" in data else seen


@dataclass(frozen=True)
class StoreEvents:
    """Applies the bus's events.

    Attributes:
        wake: sets the schedules that a purchase now needs; never fails.
        count: counts something an operator should know of.
    """

    records: Records
    customers: ReindexCustomers
    products: Products
    parked: Parked
    wake: Callable[[Record], None]
    count: Callable[[str], None]
    clock: Clock = system_clock

    def handle(self, raw: Mapping[str, Any]) -> str:
        """Apply an event; ``applied``, or ``parked`` where it never can be.

        Raises:
            TryAgainLater, StripeError, botocore's errors: it may be applied later.
        """
        try:
            event = BusEvent.parse(raw)
            model, apply = HANDLERS[event.type]
            message = model.model_validate(raw["detail"])
        except (KeyError, TypeError, ValidationError, ValueError) as error:
            return self._park(raw, f"malformed: {type(error).__name__}")
        try:
            reason = apply(self, event, message)
        except ValueError as error:  # what may be stored is stricter than what may be said
            reason = f"malformed: {type(error).__name__}"
        except AWS_ERRORS as error:
            if not is_impossible(error):
                raise
            log_failure("impossible write", error, event_id=event.id)
            reason = "it can't be stored"
        return "applied" if reason is None else self._park(raw, reason)

    # Each function returns why the event is parked, and ``None`` where it was applied whole.

    def on_access_code_redeemed(self, event: BusEvent, message: AccessCodeRedeemed) -> str | None:
        account = f"store:{message.grouptizer_id}"
        key = purchase_key(message.tenant, account, f"code_{message.access_code}")
        redemption = {
            "access_code": message.access_code,
            "product_id": message.product_id,
            "redeemed_at": message.redeemed_at,
            **term("expires_at", message.expires_at),
            "telegram_user_id": message.telegram_user_id,
            "livemode": message.livemode is not False,
        }
        self._store_purchase(key, event.says("redemption", redemption))
        understood = "expiry_not_understood" not in redemption
        return None if understood else "its date of expiry is not understood"

    def on_telegram_linked(self, event: BusEvent, message: TelegramLinked) -> str | None:
        found = [
            item
            for item in self.records.find(message.tenant, message.purchase_id)
            if item["sk"].startswith("PURCHASE#")
        ]
        if not found:
            if self.clock() - event.at < PATIENCE_SECONDS:
                raise TryAgainLater("the purchase is not known yet")
            return "no such purchase"
        link = {
            "telegram_user_id": message.telegram_user_id,
            "invite_links": dict(message.invite_links),
        }
        # A guest's purchase that has just become a customer's may still be found at both places.
        item = min(found, key=lambda item: is_guest(account_of(item["pk"])))
        key = Key(item["pk"], item["sk"], item["ref"])
        self._store_purchase(key, event.says("link", link))
        return None

    def on_product_changed(self, event: BusEvent, message: ProductChanged) -> None:
        product = {
            "name": message.name,
            "chats": list(message.telegram_chat_ids),
            "deleted": message.deleted,
        }
        seen = event.says("store", product)
        livemode = self._mode_of(message)
        for _ in range(self.products.observe(message.tenant, message.product_id, seen, livemode)):
            self.count("ChatOfAnotherStore")

    def _mode_of(self, message: ProductChanged) -> bool:
        """The mode of a product that the store changed: the one in which there is such a product,
        live where both or neither have it."""
        if message.livemode is not None:
            return message.livemode
        wanted = [(livemode, message.product_id) for livemode in (True, False)]
        known = {
            livemode
            for (livemode, _), record in self.products.known(message.tenant, wanted).items()
            if "product" in record.sources
        }
        if not known:
            known = set(self._modes_at_stripe(message))
        return known != {False}

    def _modes_at_stripe(self, message: ProductChanged) -> Iterator[bool]:
        for livemode in (True, False):
            try:
                if self.products.fetch(message.tenant, message.product_id, livemode) is not None:
                    yield livemode
            except StripeRefusal:
                continue  # a mode that is not connected

    def on_customer_profile_changed(self, event: BusEvent, message: CustomerProfileChanged) -> None:
        account = f"store:{message.grouptizer_id}"
        profile = {
            "name": message.name,
            "email": message.email,
            "grouptizer_id": message.grouptizer_id,
            "avatar_url": message.avatar_url,
            "created_at": message.created_at,
        }
        self._store(profile_key(message.tenant, account), event.says("store", profile))

    def _store_purchase(self, key: Key, seen: Observation) -> None:
        user = seen.data["telegram_user_id"]
        record = self._store(key, seen, frozenset() if user is None else frozenset({user}))
        if record is not None:
            self.wake(record)

    def _store(
        self, key: Key, seen: Observation, ids: frozenset[str] = frozenset()
    ) -> Record | None:
        def nobody_to_ask() -> Fetched | None:
            return None

        outcome = self.records.observe(key, seen, fetch=nobody_to_ask, ids=ids)
        record = outcome.record
        if outcome.facts_changed or (record is not None and record.reindex_at is not None):
            tenant = store_of(key.pk)
            self.customers.reindex(tenant, account_of(key.pk), changed=[key])
        return record

    def _park(self, raw: Mapping[str, Any], reason: str) -> str:
        """Keep an event that can't be applied: trying again would go on for ever."""
        detail = raw.get("detail")
        try:
            tenant = Tenant(detail["store_id"]) if isinstance(detail, dict) else None
        except (KeyError, TypeError, ValueError):
            tenant = None
        body = json.dumps(raw, default=str).encode()
        event_id = id_of(raw.get("id"), body)
        event = ParkedEvent(event_id, _time_of(raw) or 0, "store", reason, body)
        self.parked.park(tenant, event)
        self.count("EventParked")
        logger.warning("parked", event_id=event_id, reason=reason)
        return "parked"


def _time_of(raw: Mapping[str, Any]) -> int | None:
    """When an event was sent; ``None`` where it doesn't say that."""
    try:
        at = parse_iso(raw["time"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return at if merge.is_event_time(at) else None


HANDLERS: Mapping[str, tuple[type[Message], Callable[..., str | None]]] = {
    "AccessCodeRedeemed": (AccessCodeRedeemed, StoreEvents.on_access_code_redeemed),
    "TelegramLinked": (TelegramLinked, StoreEvents.on_telegram_linked),
    "ProductChanged": (ProductChanged, StoreEvents.on_product_changed),
    "CustomerProfileChanged": (CustomerProfileChanged, StoreEvents.on_customer_profile_changed),
}
