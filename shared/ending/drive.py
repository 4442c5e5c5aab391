"""The one way anything ends.

``cancel_purchase`` after recording what the owner wants, ``period_end_revoker`` when a schedule
fires and when it sweeps: both call :meth:`Driver.drive`. It takes the purchase's lease, asks
:func:`shared.domain.steps.next_step` what is next, does it, records it, and asks again. Every step
may be repeated after a crash.

Stripe is asked first, then access ends, then the schedule is set: a person who was told that
charges stop must not be charged because Telegram was slow, and the schedule depends on what is
still to be done. Before anybody is removed, Stripe is asked what else that person bought
(:mod:`shared.ending.catch_up`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.domain import access, steps, stripe_objects, well_formed
from shared.domain.clock import Clock, system_clock
from shared.domain.merge import Fetched
from shared.domain.purchase import (
    ENDED_SUBSCRIPTION,
    Audit,
    End,
    Intent,
    Lost,
    Own,
    Purchase,
    Removal,
)
from shared.ending.catch_up import CatchUp, StoreDisconnected
from shared.ending.removal import AccessRemover
from shared.integrations.stripe_gateway import (
    NO_TIME,
    Mode,
    StripeAccountClosed,
    StripeError,
    StripeGateway,
    StripeKeyRefused,
    StripeMissing,
    StripeRefusal,
    StripeUnavailable,
    SubscriptionRef,
)
from shared.storage.customers import Customers
from shared.storage.items import Record
from shared.storage.keys import Key
from shared.storage.products import Products
from shared.storage.records import LEASE_SECONDS, LeaseLost, Records
from shared.storage.registry import Registry
from shared.storage.schedules import SchedulerUnavailable, Schedules
from shared.tenant import account_of, store_of

# A purchase of a product with many chats takes a step per chat; more than this is a fault.
MAX_STEPS = 500
# The longest any single call may take; a step is begun only with a lease that outlives it.
LONGEST_CALL_SECONDS = 35


@dataclass(frozen=True)
class Driver:
    """Drives purchases to where they should be.

    Attributes:
        monotonic: the clock deadlines are measured by, in seconds.
    """

    records: Records
    customers: Customers
    products: Products
    registry: Registry
    stripe: StripeGateway
    catch_up: CatchUp
    remover: AccessRemover
    schedules: Schedules
    clock: Clock = system_clock
    monotonic: Callable[[], float] = time.monotonic

    def drive(self, key: Key, *, deadline: float, interactive: bool = False) -> Purchase | None:
        """Do everything that is due for one purchase.

        Args:
            deadline: be done by then, on the ``monotonic`` clock; what is left stays due.
            interactive: a person waits: go before the queue, and don't wait long.

        Returns:
            The purchase as it stands; ``None`` where another drives it now, or it isn't there.
        """
        owner = uuid.uuid4().hex
        record = self.records.lease(key, owner)
        if record is None:
            return None
        try:
            return self.drive_leased(record, owner, deadline=deadline, interactive=interactive)
        except LeaseLost:
            return None
        finally:
            self.records.release(key, owner)

    def replan(self, key: Key, *, deadline: float) -> Purchase | None:
        """:meth:`drive`, after the past of one of its products turned out to be another.

        Returns:
            As :meth:`drive`.
        """
        owner = uuid.uuid4().hex
        record = self.records.lease(key, owner)
        if record is None:
            return None
        try:
            if not record.purchase.plan_is_stale:
                record = self._planned_again(record, owner)
            return self.drive_leased(record, owner, deadline=deadline)
        except LeaseLost:
            return None
        finally:
            self.records.release(key, owner)

    def make_due(self, key: Key, change: Callable[[Purchase], Own | None]) -> bool:
        """Make removals of a purchase due again.

        Args:
            change: our part with it; ``None``: there is none.

        Returns:
            Whether there was one. ``False`` also where another drives the purchase now.
        """
        owner = uuid.uuid4().hex
        record = self.records.lease(key, owner)
        if record is None:
            return False
        try:
            if change(record.purchase) is None:
                return False
            self.records.save_own(record, owner, lambda p: change(p) or p.own)
        except LeaseLost:
            return False
        finally:
            self.records.release(key, owner)
        return True

    def drive_leased(
        self, record: Record, owner: str, *, deadline: float, interactive: bool = False
    ) -> Purchase:
        """Like :meth:`drive`, for a caller that holds the lease and will release it.

        Raises:
            LeaseLost: it took so long that another took over.
        """
        if record.reindex_at is not None:
            self._bring_list_up_to_date(record)
        for _ in range(MAX_STEPS):
            now = int(self.clock())
            step = steps.next_step(record.purchase, now)
            if step is None or not self._has_time_for(step, deadline):
                break
            record = self._renewed(record, owner)
            record = self._do(step, record, owner, deadline, interactive)
        return record.purchase

    def _has_time_for(self, step: steps.Step, deadline: float) -> bool:
        if isinstance(step, steps.AskStripe | steps.LookAgain):
            return self._has_time_for_stripe(deadline)
        return self.monotonic() < deadline

    def _has_time_for_stripe(self, deadline: float) -> bool:
        return self.monotonic() + self.stripe.longest_seconds < deadline

    def _renewed(self, record: Record, owner: str) -> Record:
        """The record with a lease that outlives the next call."""
        if record.lease_until - int(self.clock()) >= LONGEST_CALL_SECONDS:
            return record
        return self.records.save_own(record, owner, lambda p: p.own)

    def _do(
        self, step: steps.Step, record: Record, owner: str, deadline: float, interactive: bool
    ) -> Record:
        now = int(self.clock())

        def save(change: Callable[[Purchase], Own]) -> Record:
            return self.records.save_own(record, owner, change)

        match step:
            case steps.AskStripe(intent):
                return self._ask_stripe(intent, record, owner, deadline)
            case steps.LookAgain():
                return self._look_again(record, owner, deadline)
            case steps.CloseIntent(phase):
                return save(lambda p: steps.close_intent(p, phase, now=now))
            case steps.DeclareEnd(end):
                return save(lambda p: steps.declare_end(p, end, now=now))
            case steps.PlanRemovals():
                return self._plan_removals(record, owner, deadline)
            case steps.LookAtBuyer(users):
                return self._look_at_buyer(users, record, owner, deadline, interactive)
            case steps.Remove(removal):
                outcome = self.remover.remove(
                    record.purchase,
                    record.key,
                    removal,
                    deadline=deadline,
                    interactive=interactive,
                )
                return save(lambda p: _with_outcome(p, removal, outcome, now))
            case steps.SetSchedule(at):
                return self._set_schedule(at, record, owner)

    # -- Stripe -----------------------------------------------------------------------------------

    def _ask_stripe(self, intent: Intent, record: Record, owner: str, deadline: float) -> Record:
        """Have Stripe do what the owner wants, looking first where an answer may have been lost.

        Each attempt has a key of its own: Stripe replays whatever it answered to a key, a 500
        too (https://docs.stripe.com/api/idempotent_requests), so a key that is used again after
        a look could only bring the old answer back.
        """
        attempt = intent.attempt + 1
        record = self.records.save_own(
            record,
            owner,
            lambda p: replace(p.own, intent=replace(intent, attempt=attempt)),
        )
        subscription_id = record.purchase.purchase_id
        key = f"{subscription_id}:{intent.requested_at}:{intent.generation}:{attempt}"
        try:
            ref = self._ref(record)
            if attempt > 1:
                record = self._refresh(record, ref, deadline)
                step = steps.next_step(record.purchase, int(self.clock()))
                if not isinstance(step, steps.AskStripe):
                    return record
                self._leave_time(deadline)
                record = self._renewed(record, owner)
            asked_at = int(self.clock())
            # What the buyer wrote stays as it is.
            told = record.purchase.data("subscription").get("comment")
            comment = None if told else intent.reason
            if intent.mode == "immediately":
                raw = self.stripe.cancel_subscription(ref, idempotency_key=key, comment=comment)
            else:
                # Several calls, if need be: none of them after the lease.
                until = min(deadline, self.monotonic() + record.lease_until - asked_at)
                raw = self.stripe.cancel_at_period_end(
                    ref, idempotency_key=key, until=until, comment=comment
                )
            record = self._store(record, ref, raw, asked_at, deadline)
        except StripeUnavailable as error:
            return self._postpone(record, owner, "stripe", error.reason)
        except StripeMissing:
            return self._after_missing(record, owner, deadline)
        except (StripeAccountClosed, StoreDisconnected) as error:
            return self._end_or_refuse(record, owner, error.reason, charges_may_continue=True)
        except StripeRefusal as error:
            # What was promised with a 202 isn't lost because a key expired meanwhile.
            if attempt > 1 and isinstance(error, StripeKeyRefused):
                return self._postpone(record, owner, "stripe", error.reason)
            return self._refuse(record, owner, error.reason)
        return record

    def _after_missing(self, record: Record, owner: str, deadline: float) -> Record:
        """Stripe knows no such subscription: cancelled already, or of another mode or account.

        A DELETE has no idempotency key, so one whose answer was lost comes back as 404.
        """
        refusal = "no such subscription in this account and mode"
        try:
            record = self._refresh(record, self._ref(record), deadline)
        except StripeUnavailable as error:
            return self._postpone(record, owner, "stripe", error.reason)
        except StripeMissing:
            try:
                proven = self._is_right_account(record, deadline)
            except StripeUnavailable as error:
                return self._postpone(record, owner, "stripe", error.reason)
            if proven:
                return self._end_or_refuse(record, owner, refusal, charges_may_continue=False)
            return self._refuse(record, owner, refusal)
        except StripeRefusal:
            return self._refuse(record, owner, refusal)
        if record.purchase.is_over:
            return record
        return self._postpone(record, owner, "stripe", "Stripe does not find what it shows")

    def _is_right_account(self, record: Record, deadline: float) -> bool:
        """Whether Stripe shows another object that we know of this purchase: then what it doesn't
        show isn't hidden by a wrong key or account.

        Raises:
            StripeUnavailable: it can't be told now.
        """
        ref, purchase = self._ref(record), record.purchase
        mode = Mode(ref.livemode, ref.stripe_account)
        known = [("products", product_id) for product_id in purchase.candidates]
        account = account_of(record.key.pk)
        if account.startswith("cus_"):
            known.insert(0, ("customers", account))
        for kind, object_id in known[:3]:
            self._leave_time(deadline)
            try:
                found = self.stripe.retrieve(kind, object_id, mode)
            except (StripeMissing, StripeRefusal):
                continue
            # Of a deleted customer Stripe keeps the id: the account is the right one.
            return bool(found.get("livemode", purchase.livemode) == purchase.livemode)
        return False

    def _end_or_refuse(
        self, record: Record, owner: str, error: str, *, charges_may_continue: bool
    ) -> Record:
        """Stripe has nothing to end: it ends on our side, where the owner asked for that."""
        now = int(self.clock())

        def change(p: Purchase) -> Own:
            if p.own.intent is not None and p.own.intent.without_stripe:
                return steps.end_without_stripe(
                    p, charges_may_continue=charges_may_continue, now=now
                )
            return steps.refuse(
                p,
                error,
                now=now,
                can_end_without_stripe=True,
                charges_may_continue=charges_may_continue,
            )

        return self.records.save_own(record, owner, change)

    def _look_again(self, record: Record, owner: str, deadline: float) -> Record:
        """The scheduled end has come. Stripe has the last word on whether it still stands."""
        ends_at = record.purchase.ends_at
        try:
            record = self._refresh(record, self._ref(record), deadline)
        except (StripeMissing, StripeAccountClosed, StoreDisconnected):
            # Nobody can say more: what is known counts.
            pass
        except (StripeUnavailable, StripeRefusal) as error:
            return self._postpone(record, owner, "look", error.reason)
        else:
            ends_at = record.purchase.ends_at
        now = int(self.clock())

        def looked(p: Purchase) -> Own:
            # Stripe ends the subscription at this time by itself and tells us soon: what was
            # paid for is over either way.
            if p.ends_at is not None and p.ends_at == ends_at and ends_at <= now:
                reason = "cancelled_by_owner" if p.cancelled_by_owner else "cancelled_in_stripe"
                return steps.declare_end(p, End(ends_at, reason), now=now)
            return p.own.without_retry("look")

        return self.records.save_own(record, owner, looked)

    def _leave_time(self, deadline: float) -> None:
        if not self._has_time_for_stripe(deadline):
            raise StripeUnavailable(NO_TIME)

    def _refresh(self, record: Record, ref: SubscriptionRef, deadline: float) -> Record:
        self._leave_time(deadline)
        asked_at = int(self.clock())
        raw = self.stripe.retrieve_subscription(ref)
        return self._store(record, ref, raw, asked_at, deadline)

    def _store(
        self,
        record: Record,
        ref: SubscriptionRef,
        raw: stripe_objects.Raw,
        asked_at: int,
        deadline: float,
    ) -> Record:
        """Keep what Stripe answered, and the lease with it.

        An event that was stored while Stripe was asked may be newer than the answer, or older:
        Stripe is asked once more then.
        """

        def look() -> Fetched:
            self._leave_time(deadline)
            asked_at = int(self.clock())
            return _fetched(self.stripe.retrieve_subscription(ref), asked_at)

        fetched = _fetched(raw, asked_at)
        users = stripe_objects.users_of(fetched.data)
        outcome = self.records.refresh(record.key, fetched, users, again=look)
        stored = outcome.record or record
        if outcome.facts_changed:
            self._bring_list_up_to_date(stored)
            return self.records.get(record.key) or stored
        return stored

    def _ref(self, record: Record) -> SubscriptionRef:
        purchase = record.purchase
        store = self.registry.of_store(store_of(record.key.pk))
        if store.disconnected_at is not None:
            raise StoreDisconnected
        return SubscriptionRef(
            purchase.purchase_id, livemode=purchase.livemode, stripe_account=store.account
        )

    def _postpone(self, record: Record, owner: str, step: str, error: str) -> Record:
        now = int(self.clock())
        return self.records.save_own(
            record, owner, lambda p: steps.postpone(p, step, error, now=now)
        )

    def _refuse(self, record: Record, owner: str, error: str) -> Record:
        now = int(self.clock())
        return self.records.save_own(record, owner, lambda p: steps.refuse(p, error, now=now))

    # -- access -----------------------------------------------------------------------------------

    def _plan_removals(self, record: Record, owner: str, deadline: float) -> Record:
        purchase, tenant = record.purchase, store_of(record.key.pk)
        try:
            if purchase.own.waived == purchase.plan_key:
                products = self.products.of_purchases(tenant, [purchase])[purchase.purchase_id]
            else:
                products = self.products.complete(
                    tenant,
                    purchase,
                    before_asking=lambda: self._may_ask(record, deadline),
                )
        except (StoreDisconnected, StripeAccountClosed):
            # Nobody can say more: what is known counts.
            products = self.products.of_purchases(tenant, [purchase])[purchase.purchase_id]
        except (StripeUnavailable, StripeRefusal) as error:
            return self._postpone(record, owner, "plan", error.reason)
        return self._planned(record, owner, products)

    def _may_ask(self, record: Record, deadline: float) -> None:
        self._ref(record)
        self._leave_time(deadline)

    def _planned(self, record: Record, owner: str, products: access.Products) -> Record:
        now, planned_for = int(self.clock()), record.purchase.plan_key

        def planned(p: Purchase) -> Own:
            # Facts that changed meanwhile have products of their own.
            same = p.plan_key == planned_for
            return steps.plan(p, access.leaving(p, products), now=now) if same else p.own

        return self.records.save_own(record, owner, planned)

    def is_planned_otherwise(self, record: Record) -> bool:
        """Whether the removals of a purchase were planned on other chats of its products."""
        purchase = record.purchase
        if purchase.plan_is_stale:
            return False  # it will be planned anyway
        planned = steps.plan(purchase, self._leaving(record), now=int(self.clock()))
        return planned.removals != purchase.own.removals

    def _planned_again(self, record: Record, owner: str) -> Record:
        leaving, now = self._leaving(record), int(self.clock())
        return self.records.save_own(record, owner, lambda p: steps.plan(p, leaving, now=now))

    def _leaving(self, record: Record) -> dict[access.Access, Lost]:
        purchase, tenant = record.purchase, store_of(record.key.pk)
        products = self.products.of_purchases(tenant, [purchase])[purchase.purchase_id]
        return access.leaving(purchase, products)

    def _look_at_buyer(
        self,
        users: tuple[str, ...],
        record: Record,
        owner: str,
        deadline: float,
        interactive: bool,
    ) -> Record:
        """Bring those who are about to be removed up to date with Stripe."""

        def keep_lease() -> None:
            nonlocal record
            record = self._renewed(record, owner)

        try:
            self.catch_up.look(
                record, users, deadline=deadline, interactive=interactive, before_asking=keep_lease
            )
        except (StoreDisconnected, StripeAccountClosed):
            pass  # That is an answer: what is known counts.
        except StripeError as error:
            return self._postpone(record, owner, "buyer", error.reason)
        now = int(self.clock())
        record = self.records.save_own(
            record, owner, lambda p: replace(p.own.without_retry("buyer"), looked_at=now)
        )
        # Stripe may have told that a product opened other chats than was known.
        return self._planned_again(record, owner) if self.is_planned_otherwise(record) else record

    def _set_schedule(self, at: int | None, record: Record, owner: str) -> Record:
        """Make the schedule; one that would fire within a minute is left to the sweep."""
        now = int(self.clock())
        try:
            if at is not None and at > now + steps.SCHEDULE_LEAD_SECONDS:
                self.schedules.put(record.key, at)
            elif at is None and (record.purchase.own.schedule_at or 0) > now:
                self.schedules.delete(record.key)
        except SchedulerUnavailable as error:
            return self._postpone(record, owner, "schedule", str(error))
        return self.records.save_own(
            record,
            owner,
            lambda p: replace(p.own.without_retry("schedule"), schedule_at=at),
        )

    def _bring_list_up_to_date(self, record: Record) -> None:
        tenant, account = store_of(record.key.pk), account_of(record.key.pk)
        self.customers.reindex(tenant, account, changed=[record.key])


def _with_outcome(purchase: Purchase, before: Removal, outcome: Removal, now: int) -> Own:
    """Our part with what a removal came to; what was done, or tried in vain, stays in the log."""
    own = replace(purchase.own, removals={**purchase.own.removals, outcome.key: outcome})
    if outcome.attempts == before.attempts and outcome.state == "revoking":
        return own  # it only waits for its turn
    event = "removal_postponed" if outcome.state == "revoking" else f"access_{outcome.state}"
    entry = Audit(
        now,
        "system",
        event,
        outcome.detail,
        reason=None,
        chat_id=outcome.chat_id,
        telegram_user_id=outcome.telegram_user_id,
    )
    return own if entry in own.audit else own.logged(entry)


def _fetched(raw: stripe_objects.Raw, asked_at: int) -> Fetched:
    try:
        data = stripe_objects.subscription(raw)
        well_formed.check(data)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StripeUnavailable("Stripe's answer is no subscription") from None
    return Fetched("subscription", data, asked_at, terminal=data["status"] in ENDED_SUBSCRIPTION)


def restore_schedules(driver: Driver, key: Key) -> None:
    """Make a purchase's schedule again from its record, where schedules were lost."""
    record = driver.records.get(key)
    if record is None:
        return
    at = record.purchase.own.schedule_at
    if at is not None and at > int(driver.clock()) + steps.SCHEDULE_LEAD_SECONDS:
        driver.schedules.put(key, at)


assert LEASE_SECONDS > LONGEST_CALL_SECONDS  # noqa: S101 - a rule of this module, not input
