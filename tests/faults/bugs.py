"""The eighteen mistakes this system must not make, as patches of the real code.

Each of them breaks a rule of the design. They are used by ``test_seeded_bugs.py`` alone: a fault
suite that does not notice one of them proves nothing.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from functions.cancel_purchase.cancel import Canceller
from shared.domain import access, merge, steps
from shared.domain.errors import CustomersError
from shared.domain.merge import Fetched, Observation, Source, Verdict
from shared.domain.purchase import End, Own, Purchase, Removal
from shared.domain.timeline import Point, Span
from shared.ending.catch_up import CatchUp
from shared.ending.drive import Driver
from shared.ending.removal import AccessRemover
from shared.integrations.stripe_gateway import StripeError, StripeGateway
from shared.storage import keys, products, records
from shared.storage.dynamo import ConditionFailed
from shared.storage.items import Record, from_item
from shared.storage.keys import Key
from shared.storage.products import Products
from shared.storage.records import LEASE_SECONDS, Outcome, Records
from shared.storage.telegram_users import TelegramUsers
from shared.tenant import Tenant
from tests.faults.world import World

CRASHES, INTERLEAVINGS, ORDERS = "crashes", "interleavings", "orders"


@dataclass(frozen=True)
class Bug:
    """One mistake.

    Attributes:
        shows_in: the operation (see :mod:`tests.faults.operations`) or the story (see
            :mod:`tests.faults.orders`) in which it should show.
        noticed_by: the suites that notice it there.
    """

    name: str
    seeded: Callable[[], Any]
    shows_in: str
    noticed_by: tuple[str, ...] = (CRASHES, INTERLEAVINGS)


@contextmanager
def no_sweep() -> Iterator[None]:
    """Nothing walks the ``due`` index: webhooks and schedules are all there is."""
    with patch.object(World, "sweep", lambda _self, _process: None):
        yield


@contextmanager
def removal_ignores_other_purchases() -> Iterator[None]:
    with patch.object(AccessRemover, "_kept", lambda _self, _step: None):
        yield


@contextmanager
def marked_before_its_write() -> Iterator[None]:
    """An event is remembered as processed first, and applied after."""
    observe = Records.observe

    def marking(self: Records, key: Key, seen: Observation, **more: Any) -> Outcome:
        mark = {"pk": key.pk, "sk": f"EVENT#{seen.event_id}#{key.sk}#{seen.source}"}
        try:
            self.table.put(mark, "attribute_not_exists(pk)")
        except ConditionFailed:
            return Outcome(stored=False)
        return observe(self, key, seen, **more)

    with patch.object(Records, "observe", marking):
        yield


@contextmanager
def due_at_set_ad_hoc() -> Iterator[None]:
    """``due_at`` is thought of where an intent is recorded, and forgotten where access ends."""

    def due_at(self: Purchase) -> int | None:
        if self.own.intent is not None and self.own.intent.phase == "requested":
            return self.own.retry_at("stripe", self.own.intent.requested_at)
        return None if self.ends_at is None else max(self.ends_at, self.own.retry_at("look", 0))

    with patch.object(Purchase, "due_at", property(due_at)):
        yield


@contextmanager
def no_lock_on_a_grant() -> Iterator[None]:
    with (
        patch.object(TelegramUsers, "lock", lambda *_, **__: 0.0),
        patch.object(TelegramUsers, "unlock", lambda *_, **__: None),
    ):
        yield


@contextmanager
def revoker_does_not_look_again() -> Iterator[None]:
    def look(self: Driver, record: Record, owner: str, deadline: float) -> Record:
        del deadline
        now = int(self.clock())

        def over(purchase: Purchase) -> Own:
            end = End(purchase.ends_at or now, "cancelled_in_stripe")
            return steps.declare_end(purchase, end, now=now)

        return self.records.save_own(record, owner, over)

    with patch.object(Driver, "_look_again", look):
        yield


@contextmanager
def effect_before_the_intent() -> Iterator[None]:
    """Stripe is asked first, and what was wanted is recorded when it has answered."""
    cancel = Canceller.cancel

    def hasty(self: Canceller, tenant: Any, customer_id: str, purchase_id: str, **more: Any) -> Any:
        record = self.driver.customers.purchase(tenant, customer_id, purchase_id)
        purchase = record.purchase
        if purchase.kind == "subscription" and purchase.is_live:
            ref, key = self.driver._ref(record), uuid.uuid4().hex
            try:
                if more["when"] == "immediately":
                    self.driver.stripe.cancel_subscription(ref, idempotency_key=key)
                else:
                    self.driver.stripe.cancel_at_period_end(ref, idempotency_key=key)
            except StripeError as error:
                raise CustomersError(error.reason) from None
        return cancel(self, tenant, customer_id, purchase_id, **more)

    with patch.object(Canceller, "cancel", hasty):
        yield


@contextmanager
def one_idempotency_key_per_purchase() -> Iterator[None]:
    end_with_period = StripeGateway._end_with_period

    def fixed(
        self: StripeGateway, ref: Any, idempotency_key: str, comment: str | None = None
    ) -> Any:
        del idempotency_key
        return end_with_period(self, ref, f"{ref.subscription_id}:cancel", comment)

    with patch.object(StripeGateway, "_end_with_period", fixed):
        yield


@contextmanager
def older_payload_trusted() -> Iterator[None]:
    def decide(stored: Source | None, seen: Observation) -> Verdict:
        if stored is not None and (stored.terminal or seen.event_id in stored.event_ids):
            return Verdict.APPLY if seen.terminal else Verdict.DROP
        return Verdict.APPLY

    with patch.object(merge, "decide", decide):
        yield


@contextmanager
def fetched_written_without_comparing() -> Iterator[None]:
    """What Stripe answered is written over whatever was stored meanwhile."""

    def refreshed(stored: Source | None, fetched: Fetched) -> Source:
        version = 0 if stored is None else stored.version
        return Source(fetched.data, version, fetched_at=fetched.fetched_at)

    with (
        patch.object(merge, "refreshed", refreshed),
        patch.object(merge, "may_be_newer", lambda _stored, _fetched: False),
    ):
        yield


@contextmanager
def no_lease() -> Iterator[None]:
    """Whoever comes drives the purchase, and the last one writes."""

    def lease(self: Records, key: Key, owner: str) -> Record | None:
        item = self.table.get(key.pk, key.sk)
        until = int(self.clock()) + LEASE_SECONDS
        if item is None:
            return None
        return replace(from_item(item), lease_owner=owner, lease_until=until)

    def save_own(
        self: Records, record: Record, owner: str, change: Callable[[Purchase], Own]
    ) -> Record:
        while True:
            after = replace(record, own=change(record.purchase).to_json())
            try:
                stored = self._put(record, replace(after, lease_owner=None))
            except ConditionFailed as refused:
                record = from_item(refused.item or {})
            else:
                return replace(stored, lease_owner=owner, lease_until=after.lease_until)

    with (
        patch.object(Records, "lease", lease),
        patch.object(Records, "save_own", save_own),
        patch.object(Records, "release", lambda *_: None),
    ):
        yield


@contextmanager
def no_settling() -> Iterator[None]:
    """People are removed as soon as the first event says that they lost something."""
    with patch.object(Records, "_settling", lambda _self, _before, after: after):
        yield


@contextmanager
def no_catching_up() -> Iterator[None]:
    """Stripe is not asked what else somebody bought."""
    with patch.object(CatchUp, "look", lambda *_, **__: None):
        yield


@contextmanager
def chats_without_their_time() -> Iterator[None]:
    """Every chat a product ever opened counts."""

    def ever(held: Iterable[Span], product: access.Product) -> dict[str, list[Span]]:
        spans = list(held)
        chats = {c for line in product.timelines for told in line.spans() for c in told.value}
        return dict.fromkeys(chats, spans) if spans else {}

    with patch.object(access, "_opened_while", ever):
        yield


@contextmanager
def product_key_without_its_mode() -> Iterator[None]:
    def key(tenant: Tenant, product_id: str, _livemode: bool) -> Key:
        return keys.product_key_without_mode(tenant, product_id)

    with patch.object(keys, "product_key", key), patch.object(products, "product_key", key):
        yield


@contextmanager
def unknown_product_taken_for_done() -> Iterator[None]:
    """Who must leave which chats is planned on the products that happen to be known."""

    def known(self: Products, tenant: Tenant, purchase: Purchase, **_: Any) -> Any:
        return self.of_purchases(tenant, [purchase])[purchase.purchase_id]

    with patch.object(Products, "complete", known):
        yield


@contextmanager
def failed_removal_counted_as_done() -> Iterator[None]:
    def failed(self: AccessRemover, step: Any, _reason: str, _detail: str) -> Removal:
        return self._finished(step, "revoked", None, None)

    with patch.object(AccessRemover, "_failed", failed):
        yield


@contextmanager
def log_keyed_by_arrival() -> Iterator[None]:
    """An entry of the history is known by the number of its arrival, not by its event."""
    point_of, arrived = records._point_of, itertools.count()

    def numbered(key: Key, seen: Observation) -> Point | None:
        point = point_of(key, seen)
        return None if point is None else replace(point, event_id=f"arrival {next(arrived)}")

    with patch.object(records, "_point_of", numbered):
        yield


BUGS = (
    Bug("no sweep", no_sweep, "cancel now, one_off"),
    Bug(
        "a removal ignores other purchases",
        removal_ignores_other_purchases,
        "cancel now, two",
    ),
    Bug(
        "an event is marked before its write",
        marked_before_its_write,
        "webhook, ended",
    ),
    Bug("due_at set ad hoc", due_at_set_ad_hoc, "cancel now, one_off"),
    Bug("no lock on a grant", no_lock_on_a_grant, "cancel now, one_off", (INTERLEAVINGS,)),
    Bug(
        "the revoker does not look again",
        revoker_does_not_look_again,
        "sweep at the end, taken_back",
    ),
    Bug("the effect before the intent", effect_before_the_intent, "cancel now, active", (CRASHES,)),
    Bug(
        "one idempotency key per purchase",
        one_idempotency_key_per_purchase,
        "cancel at period end, active",
    ),
    Bug("an older payload is trusted", older_payload_trusted, "webhook, reordered", (CRASHES,)),
    Bug(
        "what was fetched is written without comparing",
        fetched_written_without_comparing,
        "cancel at period end, active",
        (INTERLEAVINGS,),
    ),
    Bug("no lease on the purchase", no_lease, "cancel at period end, active", (INTERLEAVINGS,)),
    Bug("no settling", no_settling, "the old one ends before the new one begins", (ORDERS,)),
    Bug("no catching up", no_catching_up, "swap", (ORDERS,)),
    Bug(
        "a chat without its time span",
        chats_without_their_time,
        "a chat named by mistake before",
        (ORDERS,),
    ),
    Bug(
        "a product key without its mode",
        product_key_without_its_mode,
        "one product id in both modes",
        (ORDERS,),
    ),
    Bug(
        "a plan on an unknown product taken for done",
        unknown_product_taken_for_done,
        "a product nobody told of",
        (ORDERS,),
    ),
    Bug(
        "a failed removal counted as done",
        failed_removal_counted_as_done,
        "the bot gets its rights back",
        (ORDERS,),
    ),
    Bug("a log entry keyed by arrival", log_keyed_by_arrival, "downgrade", (ORDERS,)),
)
