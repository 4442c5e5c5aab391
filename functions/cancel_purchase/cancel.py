"""Cancel a purchase, or try again to take its buyer out of the chats.

The owner's intent is recorded before anything is done about it; from there on the purchase is
driven like any other, by :class:`shared.ending.drive.Driver`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from shared.domain import steps
from shared.domain.errors import OperationInProgress, StripeRefused
from shared.domain.purchase import Own, Purchase, When
from shared.domain.steps import Who
from shared.ending.drive import Driver
from shared.observability import log_failure
from shared.storage.items import Record
from shared.storage.keys import Key, retry_key
from shared.storage.records import LeaseLost
from shared.storage.schedules import SchedulerUnavailable
from shared.tenant import Tenant

# How long a request waits for another change of the same purchase before it is refused.
LEASE_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What came of a request.

    Attributes:
        changed: whether the request asked for anything new.
        outstanding: whether something is still to be done.
    """

    key: Key
    purchase: Purchase
    changed: bool
    outstanding: bool


@dataclass(frozen=True)
class Canceller:
    """The two changes an owner can make to a purchase."""

    driver: Driver

    def cancel(
        self,
        tenant: Tenant,
        customer_id: str,
        purchase_id: str,
        *,
        when: When,
        who: Who,
        reason: str | None,
        without_stripe: bool,
        deadline: float,
    ) -> Cancelled:
        """End a purchase now or at the end of its paid period.

        Args:
            without_stripe: where Stripe has nothing to end, it ends on our side.
            deadline: on the driver's ``monotonic`` clock; what isn't done by then stays due.

        Raises:
            NotFound, PurchaseAlreadyEnded, PeriodEndNotAvailable, OperationInProgress,
            StripeRefused: as the API answers them.
        """
        now = int(self.driver.clock())
        return self._change(
            tenant,
            customer_id,
            purchase_id,
            lambda p: steps.request_cancel(
                p, when, who=who, reason=reason, now=now, without_stripe=without_stripe
            ),
            deadline,
        )

    def revoke_again(
        self,
        tenant: Tenant,
        customer_id: str,
        purchase_id: str,
        *,
        who: Who,
        leave: bool,
        deadline: float,
    ) -> Cancelled:
        """Try the failed or waiting removals of a purchase now.

        Args:
            leave: leave everybody in instead who should be out and is not.

        Raises:
            NotFound, OperationInProgress: as the API answers them.
        """
        now = int(self.driver.clock())
        ask = steps.request_leaving_in if leave else steps.request_revocation
        return self._change(
            tenant,
            customer_id,
            purchase_id,
            lambda p: ask(p, who=who, now=now),
            deadline,
        )

    def retry_all(self, tenant: Tenant, *, who: Who) -> None:
        """Have the sweep try every removal of the store that failed or waits for long."""
        key = retry_key(tenant)
        self.driver.records.mark(key, actor=who.id, actor_name=who.name)
        try:
            # A time that is not far enough ahead may never come.
            at = int(self.driver.clock()) + steps.SCHEDULE_LEAD_SECONDS + 1
            self.driver.schedules.put(key, at)
        except SchedulerUnavailable as error:
            log_failure("left to the next sweep", error)

    def _change(
        self,
        tenant: Tenant,
        customer_id: str,
        purchase_id: str,
        request: Callable[[Purchase], Own | None],
        deadline: float,
    ) -> Cancelled:
        records = self.driver.records
        key = self.driver.customers.purchase(tenant, customer_id, purchase_id).key
        owner = uuid.uuid4().hex
        record = self._lease(key, owner)
        try:
            own = request(record.purchase)
            changed = steps.changes_more_than_the_log(record.purchase.own, own)
            if own is not None:
                record = records.save_own(record, owner, lambda p: request(p) or p.own)
            pending = record.purchase.cancel_pending
            purchase = self.driver.drive_leased(record, owner, deadline=deadline, interactive=True)
        except LeaseLost:
            raise OperationInProgress from None
        finally:
            records.release(key, owner)
        intent = purchase.own.intent
        # What was refused before this request is told in the history, not in its answer.
        if pending is not None and intent is not None and intent.phase == "refused":
            raise StripeRefused(intent.error, can_end_without_stripe=intent.can_end_without_stripe)
        return Cancelled(key, purchase, changed, steps.outstanding(purchase))

    def _lease(self, key: Key, owner: str) -> Record:
        deadline = self.driver.records.table.deadline
        patience = deadline.monotonic() + LEASE_PATIENCE_SECONDS
        while True:
            record = self.driver.records.lease(key, owner)
            if record is not None:
                return record
            if deadline.monotonic() > patience:
                raise OperationInProgress
            deadline.sleep(0.1)
