"""What Stripe does by itself: payments, invoices, renewals, dunning, trials, schedules, ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from standins.stripe import objects
from standins.stripe.clock import DAY, HOUR, next_period_end
from standins.stripe.errors import StripeError, invalid
from standins.stripe.ledger import Ledger, merged, operation
from standins.stripe.shapes import Object, clone

RETRY_DAYS = (3, 5, 7)
"""Days between the attempts to collect an invoice (Stripe's default retry rules are alike)."""

ENDED = frozenset(("canceled", "incomplete_expired"))
FEE_PERCENT = 3
DISPUTE_FEE = 1500


def period_end(subscription: Mapping[str, Any]) -> int:
    """The earliest end among the items' periods."""
    return int(min(item["current_period_end"] for item in subscription["items"]["data"]))


class Billing(Ledger):
    """Money and time of one account: the rules that run without anybody asking."""

    # --- payments -------------------------------------------------------------------------

    def balance_entry(
        self,
        source: Object,
        amount: int,
        fee: int,
        kind: str,
        description: str | None = None,
    ) -> Object:
        return self.add(
            objects.balance_transaction(
                id=self.new_id("txn"),
                created=self.now(),
                amount=amount,
                fee=fee,
                currency=source["currency"],
                source=source["id"],
                type=kind,
                description=description,
                fee_description="Dispute fee" if kind == "adjustment" else "Stripe processing fees",
            )
        )

    def new_intent(
        self,
        *,
        amount: int,
        currency: str,
        customer: str | None,
        method: Object,
        metadata: Mapping[str, str],
        description: str | None = None,
        invoice: str | None = None,
        capture: bool = True,
    ) -> Object:
        intent = self.add(
            objects.payment_intent(
                id=self.new_id("pi"),
                created=self.now(),
                livemode=self.livemode,
                amount=amount,
                currency=currency,
                customer=customer,
                payment_method=method["id"],
                method_type=method["type"],
                metadata=metadata,
                description=description,
                capture_method="automatic_async" if capture else "manual",
                invoice=invoice,
            )
        )
        self.emit("payment_intent.created", intent)
        return intent

    def attempt(
        self, intent: Object, outcome: str, *, decline_code: str = "insufficient_funds"
    ) -> Object:
        """Charge an intent. ``outcome``: succeeded, failed, pending or authorized."""
        method = self.get("payment_method", intent["payment_method"])
        status = {"authorized": "succeeded"}.get(outcome, outcome)
        charge = objects.charge(
            id=self.new_id("ch"),
            created=self.now(),
            intent=intent,
            method=method,
            status=status,
            captured=outcome != "authorized",
            balance_transaction=None,
            decline_code=decline_code,
        )
        self.add(charge)
        if outcome == "succeeded":
            self._book(charge)
        self._settle_intent(intent, charge, outcome, decline_code)
        return charge

    def _book(self, charge: Object) -> None:
        fee = charge["amount"] * FEE_PERCENT // 100
        entry = self.balance_entry(charge, charge["amount"], fee, "charge", charge["description"])
        self.change(charge, balance_transaction=entry["id"])

    def _settle_intent(
        self, intent: Object, charge: Object, outcome: str, decline_code: str = ""
    ) -> None:
        """Write what an attempt did to its intent, and the events of both."""
        charges = [*(c for c in intent["_charges"] if c["id"] != charge["id"]), clone(charge)]
        common = {"latest_charge": charge["id"], "_charges": charges}
        if outcome == "failed":
            self.change(
                intent,
                status="requires_payment_method",
                payment_method=None,
                processing=None,
                last_payment_error={
                    "charge": charge["id"],
                    "code": "card_declined",
                    "decline_code": decline_code,
                    "message": "Your card was declined.",
                    "payment_method": shape_of_method(self, charge["payment_method"]),
                    "type": "card_error",
                },
                **common,
            )
            self.emit("charge.failed", charge)
            self.emit("payment_intent.payment_failed", intent)
        elif outcome == "pending":
            self.change(intent, status="processing", **common)
            self.emit("payment_intent.processing", intent)
            self.emit("charge.pending", charge)
        elif outcome == "authorized":
            self.change(
                intent, status="requires_capture", amount_capturable=intent["amount"], **common
            )
            self.emit("charge.succeeded", charge)
            self.emit("payment_intent.amount_capturable_updated", intent)
        else:
            self.change(
                intent,
                status="succeeded",
                amount_received=charge["amount"],
                amount_capturable=0,
                processing=None,
                last_payment_error=None,
                **common,
            )
            self.emit("charge.succeeded", charge)
            self.emit("payment_intent.succeeded", intent)

    def settle_pending(self, intent: Object, *, succeeded: bool) -> Object:
        """The late result of an asynchronous payment method."""
        charge = self.get("charge", intent["latest_charge"])
        if charge["status"] != "pending":
            raise invalid(f"The charge {charge['id']} is not pending.")
        if succeeded:
            self.change(charge, status="succeeded", paid=True, amount_captured=charge["amount"])
            self._book(charge)
            self._settle_intent(intent, charge, "succeeded")
        else:
            self.change(
                charge,
                status="failed",
                captured=False,
                failure_code="payment_method_provider_decline",
                failure_message="The bank refused the debit.",
            )
            self._settle_intent(intent, charge, "failed", "generic_decline")
        return charge

    # --- customer balance -----------------------------------------------------------------

    def book_balance(
        self,
        customer: Object,
        amount: int,
        *,
        currency: str,
        kind: str = "adjustment",
        description: str | None = None,
        credit_note: str | None = None,
        invoice: str | None = None,
    ) -> Object:
        """Change what a customer owes (positive) or is owed (negative)."""
        entry = self.add(
            objects.customer_balance_transaction(
                id=self.new_id("cbtxn"),
                created=self.now(),
                customer=customer,
                amount=amount,
                currency=currency,
                type=kind,
                description=description,
                credit_note=credit_note,
                invoice=invoice,
            )
        )
        self.update(
            "customer.updated",
            customer,
            balance=customer["balance"] + amount,
            currency=customer["currency"] or currency,
        )
        return entry

    # --- invoices -------------------------------------------------------------------------

    def _draft(self, subscription: Object, items: Sequence[Object], reason: str) -> Object:
        customer = self.get("customer", subscription["customer"])
        invoice_id = self.new_id("in")
        free = subscription["status"] == "trialing"
        lines = [
            objects.invoice_line(
                id=self.new_id("il"),
                invoice=invoice_id,
                item=item,
                start=item["current_period_start"],
                end=item["current_period_end"],
                amount=0 if free else item["price"]["unit_amount"] * item["quantity"],
                livemode=self.livemode,
            )
            for item in items
        ]
        number = customer["next_invoice_sequence"]
        self.change(customer, next_invoice_sequence=number + 1)
        invoice = self.add(
            objects.invoice(
                id=invoice_id,
                created=self.now(),
                subscription=subscription,
                customer=customer,
                reason=reason,
                lines=lines,
                number=f"{customer['invoice_prefix']}-{number:04d}",
            )
        )
        self.emit("invoice.created", invoice)
        return invoice

    def _finalize(self, invoice: Object) -> None:
        customer = self.get("customer", invoice["customer"])
        credit = min(max(-customer["balance"], 0), invoice["total"])
        if credit:
            self.book_balance(
                customer,
                credit,
                currency=invoice["currency"],
                kind="applied_to_invoice",
                invoice=invoice["id"],
            )
        due = invoice["total"] - credit
        self.change(
            invoice,
            status="open",
            amount_due=due,
            amount_remaining=due,
            ending_balance=customer["balance"],
            effective_at=self.now(),
            hosted_invoice_url=f"https://invoice.stripe.com/i/{invoice['id']}",
            status_transitions=invoice["status_transitions"] | {"finalized_at": self.now()},
        )
        self.emit("invoice.finalized", invoice)

    def method_for(self, subscription: Mapping[str, Any]) -> Object | None:
        """The payment method a renewal is charged to: the subscription's, else the customer's."""
        customer = self.get("customer", subscription["customer"])
        for id_ in (
            subscription["default_payment_method"],
            customer["invoice_settings"]["default_payment_method"],
        ):
            if id_ and (method := self.objects.get("payment_method", {}).get(id_)):
                return method
        return None

    def _collect(self, subscription: Object, invoice: Object, *, fails: bool) -> bool:
        """Try to collect an open invoice; true when it is paid."""
        method = self.method_for(subscription)
        if invoice["amount_due"] == 0:
            self._paid(invoice)
            return True
        if method is None:
            return self._not_paid(invoice)
        if invoice["_payment_intent"]:
            intent = self.get("payment_intent", invoice["_payment_intent"])
            self.change(intent, payment_method=method["id"])
        else:
            # A subscription's metadata is not copied to its payments.
            intent = self.new_intent(
                amount=invoice["amount_due"],
                currency=invoice["currency"],
                customer=invoice["customer"],
                method=method,
                metadata={},
                description="Subscription update"
                if invoice["billing_reason"] != "subscription_create"
                else "Subscription creation",
                invoice=invoice["id"],
            )
        charge = self.attempt(intent, "failed" if fails else "succeeded")
        self.change(invoice, _payment_intent=intent["id"], _charge=charge["id"])
        if fails:
            return self._not_paid(invoice)
        self._paid(invoice)
        return True

    def _paid(self, invoice: Object) -> None:
        self.change(
            invoice,
            status="paid",
            attempted=True,
            attempt_count=invoice["attempt_count"] + (1 if invoice["amount_due"] else 0),
            amount_paid=invoice["amount_due"],
            amount_remaining=0,
            auto_advance=False,
            next_payment_attempt=None,
            status_transitions=invoice["status_transitions"] | {"paid_at": self.now()},
        )
        self.emit("invoice.paid", invoice)
        self.emit("invoice.payment_succeeded", invoice)
        if invoice["_payment_intent"]:
            payment = self.add(
                objects.invoice_payment(
                    id=self.new_id("inpay"),
                    created=self.now(),
                    invoice=invoice,
                    intent=invoice["_payment_intent"],
                    paid=True,
                )
            )
            self.emit("invoice_payment.paid", payment)

    def _not_paid(self, invoice: Object) -> bool:
        attempts = invoice["attempt_count"] + 1
        again = None
        if attempts <= len(RETRY_DAYS) and invoice["billing_reason"] != "subscription_create":
            again = self.now() + RETRY_DAYS[attempts - 1] * DAY
        self.change(invoice, attempted=True, attempt_count=attempts, next_payment_attempt=again)
        self.emit("invoice.payment_failed", invoice)
        return False

    # --- subscriptions --------------------------------------------------------------------

    def open_subscription(self, subscription: Object, *, fails: bool) -> Object:
        """Store a new subscription and collect its first invoice."""
        if subscription["status"] == "trialing":
            self.add(subscription)
            invoice = self._draft(
                subscription, subscription["items"]["data"], "subscription_create"
            )
            self._finalize(invoice)
            self.change(subscription, latest_invoice=invoice["id"])
            self.emit("customer.subscription.created", subscription)
            self._paid(invoice)
            return invoice
        self.add(subscription)
        invoice = self._draft(subscription, subscription["items"]["data"], "subscription_create")
        self._finalize(invoice)
        self.change(subscription, latest_invoice=invoice["id"])
        self.emit("customer.subscription.created", subscription)
        if self._collect(subscription, invoice, fails=fails):
            self.update("customer.subscription.updated", subscription, status="active")
        return invoice

    def roll(self, subscription: Object, *, fails: bool | None = None) -> Object:
        """Begin the next period of every item whose period has come to its end, and collect."""
        end = period_end(subscription)
        old = clone(subscription["items"])
        items = clone(subscription["items"])
        due = [item for item in items["data"] if item["current_period_end"] == end]
        for item in due:
            recurring = item["price"]["recurring"]
            item["current_period_start"] = end
            item["current_period_end"] = next_period_end(
                subscription["billing_cycle_anchor"],
                recurring["interval"],
                recurring["interval_count"],
                end,
            )
        trial_over = subscription["status"] == "trialing"
        self.change(
            subscription, items=items, status="active" if trial_over else subscription["status"]
        )
        invoice = self._draft(subscription, due, "subscription_cycle")
        previous = {
            "items": {"data": old["data"]},
            "latest_invoice": subscription["latest_invoice"],
        }
        if trial_over:
            previous["status"] = "trialing"
        self.change(subscription, latest_invoice=invoice["id"])
        self.emit("customer.subscription.updated", subscription, previous)
        pause = subscription["pause_collection"]
        if subscription["status"] == "unpaid" or (pause and pause["behavior"] == "keep_as_draft"):
            self.change(invoice, auto_advance=False)
            return invoice
        self._finalize(invoice)
        if pause:
            self.close_invoice(invoice, "void" if pause["behavior"] == "void" else "uncollectible")
            return invoice
        fails = bool(subscription.get("_fails")) if fails is None else fails
        if self._collect(subscription, invoice, fails=fails):
            self._recover(subscription)
        else:
            self.update("customer.subscription.updated", subscription, status="past_due")
        return invoice

    def _recover(self, subscription: Object) -> None:
        if subscription["status"] in ("past_due", "unpaid"):
            self.update("customer.subscription.updated", subscription, status="active")

    def retry(self, subscription: Object, *, fails: bool) -> None:
        """Another attempt to collect the latest invoice; the last failure ends the dunning."""
        invoice = self.get("invoice", subscription["latest_invoice"])
        if self._collect(subscription, invoice, fails=fails):
            self._recover(subscription)
        elif invoice["next_payment_attempt"] is None:
            self.end_dunning(subscription)
        else:
            self.host.saved(self, subscription)  # its next due time lies in the invoice

    def end_dunning(self, subscription: Object) -> None:
        """What follows the last failed attempt: the account's setting decides."""
        how = self.host.settings["dunning_end"]
        if how == "cancel":
            self.end(subscription, reason="payment_failed")
        elif how == "unpaid":
            self.update("customer.subscription.updated", subscription, status="unpaid")

    def close_invoice(self, invoice: Object, how: str) -> None:
        """Void an invoice or mark it uncollectible."""
        key, event = {
            "void": ("voided_at", "invoice.voided"),
            "uncollectible": ("marked_uncollectible_at", "invoice.marked_uncollectible"),
        }[how]
        self.change(
            invoice,
            status=how,
            auto_advance=False,
            next_payment_attempt=None,
            status_transitions=invoice["status_transitions"] | {key: self.now()},
        )
        self.emit(event, invoice)

    def end(
        self, subscription: Object, *, reason: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """End a subscription now; its open invoices stay open but aren't collected any more."""
        if subscription["schedule"]:
            schedule = self.get("subscription_schedule", subscription["schedule"])
            self.change(schedule, status="canceled", canceled_at=self.now(), current_phase=None)
            self.emit("subscription_schedule.canceled", schedule)
        cancellation = (
            subscription["cancellation_details"] | {"reason": reason} | dict(details or {})
        )
        self.change(
            subscription,
            status="canceled",
            ended_at=self.now(),
            canceled_at=subscription["canceled_at"] or self.now(),
            cancellation_details=cancellation,
            pause_collection=None,
        )
        self.emit("customer.subscription.deleted", subscription)
        for invoice in list(self.all("invoice")):
            owner = (invoice["parent"] or {}).get("subscription_details") or {}
            if owner.get("subscription") == subscription["id"] and invoice["status"] == "open":
                self.update(
                    "invoice.updated", invoice, auto_advance=False, next_payment_attempt=None
                )

    def end_trial(self, subscription: Object) -> None:
        """The trial's last second: collect, or do what the trial settings say without a method."""
        if self.method_for(subscription) is None:
            missing = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
            if missing == "cancel":
                self.end(subscription, reason="payment_failed")
                return
            if missing == "pause":
                self.update("customer.subscription.updated", subscription, status="paused")
                self.emit("customer.subscription.paused", subscription)
                return
        self.roll(subscription)

    # --- what the public API may change ---------------------------------------------------

    @operation
    def cancel_subscription(
        self, id_: str, *, cancellation_details: Mapping[str, Any] | None = None
    ) -> Object:
        """``DELETE /v1/subscriptions/{id}``. A cancelled one answers as if it did not exist."""
        subscription = self.get("subscription", id_)
        if subscription["status"] in ENDED:
            raise StripeError(
                404, f"No such subscription: '{id_}'", code="resource_missing", param="id"
            )
        details = {
            k: v for k, v in (cancellation_details or {}).items() if k in ("comment", "feedback")
        }
        self.end(subscription, reason="cancellation_requested", details=details)
        return subscription

    @operation
    def update_subscription(self, id_: str, changes: Mapping[str, Any]) -> Object:
        """``POST /v1/subscriptions/{id}`` with already parsed values."""
        subscription = self.get("subscription", id_)
        status = subscription["status"]
        if status in ENDED and not set(changes) <= {"metadata", "cancellation_details"}:
            raise invalid(
                "A canceled subscription can only update its cancellation_details and metadata."
            )
        timing = {"cancel_at", "cancel_at_period_end"} & set(changes)
        if subscription["schedule"] and timing:
            raise invalid(
                "The subscription is managed by the subscription schedule "
                f"`{subscription['schedule']}`, and updating any cancelation behavior directly "
                "is not allowed. Please update the schedule instead.",
            )
        if status == "incomplete" and set(changes) - {"metadata", "default_payment_method"}:
            raise invalid(
                "This subscription is incomplete: only its metadata and default payment method "
                "can be updated until its first invoice is paid."
            )
        if len(timing) == 2 and changes["cancel_at_period_end"]:
            raise invalid(
                "You may only specify one of these parameters: cancel_at, cancel_at_period_end.",
                param="cancel_at_period_end",
            )
        values: Object = {
            key: changes[key]
            for key in ("default_payment_method", "description", "pause_collection")
            if key in changes
        }
        method = values.get("default_payment_method")
        if method is not None:
            self.get("payment_method", method, param="default_payment_method")
        if "metadata" in changes:
            values["metadata"] = merged(subscription["metadata"], changes["metadata"])
        details = dict(subscription["cancellation_details"])
        details |= {
            k: v
            for k, v in (changes.get("cancellation_details") or {}).items()
            if k in ("comment", "feedback")
        }
        if "cancel_at_period_end" in changes:
            wanted = bool(changes["cancel_at_period_end"])
            if wanted != subscription["cancel_at_period_end"] or (
                not wanted and subscription["cancel_at"]
            ):
                values |= self._scheduled_end(
                    period_end(subscription) if wanted else None, flag=wanted
                )
                details["reason"] = "cancellation_requested" if wanted else None
        elif "cancel_at" in changes and changes["cancel_at"] != subscription["cancel_at"]:
            values |= self._scheduled_end(changes["cancel_at"], flag=False)
            details["reason"] = "cancellation_requested" if changes["cancel_at"] else None
        values["cancellation_details"] = details
        self.update("customer.subscription.updated", subscription, **values)
        return subscription

    def _scheduled_end(self, at: int | None, *, flag: bool) -> Object:
        if at is not None and at < self.now():
            raise invalid("`cancel_at` must be in the future.", param="cancel_at")
        return {
            "cancel_at": at,
            "cancel_at_period_end": flag,
            "canceled_at": None if at is None else self.now(),
        }

    @operation
    def release_schedule(self, id_: str, *, preserve_cancel_date: bool = False) -> Object:
        """``POST /v1/subscription_schedules/{id}/release``."""
        schedule = self.get("subscription_schedule", id_)
        if schedule["status"] not in ("active", "not_started"):
            raise invalid(
                "You cannot release a subscription schedule that is currently in the "
                f"`{schedule['status']}` status. It must be in one of these statuses: "
                "not_started, active."
            )
        subscription = self.get("subscription", schedule["subscription"])
        self.change(
            schedule,
            status="released",
            released_at=self.now(),
            released_subscription=subscription["id"],
            subscription=None,
            current_phase=None,
        )
        self.emit("subscription_schedule.released", schedule)
        values: Object = {"schedule": None}
        if not preserve_cancel_date:
            values |= self._scheduled_end(None, flag=False)
        self.update("customer.subscription.updated", subscription, **values)
        return schedule

    @operation
    def cancel_intent(self, id_: str, *, reason: str | None = None) -> Object:
        """``POST /v1/payment_intents/{id}/cancel``."""
        intent = self.get("payment_intent", id_)
        if intent["status"] in ("succeeded", "canceled", "processing"):
            raise invalid(
                f"You cannot cancel this PaymentIntent because it has a status of "
                f"{intent['status']}. Only a PaymentIntent with one of the following statuses may "
                "be canceled: requires_payment_method, requires_capture, requires_confirmation, "
                "requires_action, processing.",
                code="payment_intent_unexpected_state",
            )
        self.change(
            intent,
            status="canceled",
            canceled_at=self.now(),
            cancellation_reason=reason,
            amount_capturable=0,
        )
        self.emit("payment_intent.canceled", intent)
        return intent

    @operation
    def expire_session(self, id_: str) -> Object:
        """``POST /v1/checkout/sessions/{id}/expire``, and what time does to an open session."""
        session = self.get("checkout.session", id_)
        if session["status"] != "open":
            raise invalid(
                'Only Checkout Sessions with a status in ["open"] can be expired. This Session '
                f"has a status of {session['status']}."
            )
        self.change(session, status="expired", url=None)
        self.emit("checkout.session.expired", session)
        return session

    # --- time -----------------------------------------------------------------------------

    def due_at(self, target: Mapping[str, Any]) -> int | None:
        """When time next does something to this object; a pure function of the object."""
        if target["object"] == "checkout.session":
            return target["expires_at"] if target["status"] == "open" else None
        if target["object"] == "subscription_schedule":
            phase = target["current_phase"]
            return phase["end_date"] if target["status"] == "active" and phase else None
        if target["object"] != "subscription" or target["status"] in ENDED:
            return None
        times = [target["cancel_at"]]
        status = target["status"]
        if status == "incomplete":
            times.append(target["created"] + 23 * HOUR)
        elif status == "paused":
            times = [None if target["cancel_at_period_end"] else target["cancel_at"]]
        else:
            times.append(period_end(target))
            if status == "trialing" and not target.get("_trial_warned"):
                times.append(target["trial_end"] - 3 * DAY)
            if target["pause_collection"]:
                times.append(target["pause_collection"]["resumes_at"])
            if status == "past_due":
                invoice = self.objects["invoice"][target["latest_invoice"]]
                times.append(invoice["next_payment_attempt"])
        known = [time for time in times if time is not None]
        return min(known) if known else None

    def happen(self, target: Object, at: int) -> None:
        """Do what is due for this object at this time (the clock stands there already)."""
        if target["object"] == "checkout.session":
            self.expire_session(target["id"])
        elif target["object"] == "subscription_schedule":
            self._next_phase(target)
        elif target["cancel_at"] is not None and target["cancel_at"] <= at:
            self.end(
                target, reason=target["cancellation_details"]["reason"] or "cancellation_requested"
            )
        elif target["status"] == "incomplete":
            self.expire_incomplete(target)
        elif (
            target["status"] == "trialing"
            and at < period_end(target)
            and not target.get("_trial_warned")
        ):
            self.change(target, _trial_warned=True)
            self.emit("customer.subscription.trial_will_end", target)
        elif (pause := target["pause_collection"]) and (pause["resumes_at"] or at + 1) <= at:
            self.update("customer.subscription.updated", target, pause_collection=None)
        elif period_end(target) <= at:
            if target["status"] == "trialing":
                self.end_trial(target)
            else:
                self.roll(target)
        else:
            self.retry(target, fails=bool(target.get("_fails")))

    def expire_incomplete(self, subscription: Object) -> None:
        """The first invoice was not paid within 23 hours."""
        invoice = self.get("invoice", subscription["latest_invoice"])
        if invoice["status"] == "open":
            self.close_invoice(invoice, "void")
        self.update(
            "customer.subscription.updated",
            subscription,
            status="incomplete_expired",
            ended_at=self.now(),
        )

    def _next_phase(self, schedule: Object) -> None:
        """A phase has ended: begin the next one, or let the schedule end as it was told to."""
        subscription = self.get("subscription", schedule["subscription"])
        ended = schedule["current_phase"]["end_date"]
        following = [phase for phase in schedule["phases"] if phase["start_date"] >= ended]
        if following:
            phase = following[0]
            self.change(
                schedule,
                current_phase={"end_date": phase["end_date"], "start_date": phase["start_date"]},
            )
            self.emit("subscription_schedule.updated", schedule)
            items = clone(subscription["items"])
            items["data"][0]["price"] = clone(self.get("price", phase["items"][0]["price"]))
            self.update("customer.subscription.updated", subscription, items=items)
            return
        if schedule["end_behavior"] == "cancel":
            self.change(schedule, status="completed", completed_at=self.now(), current_phase=None)
            self.emit("subscription_schedule.completed", schedule)
            self.change(subscription, schedule=None)
            self.end(subscription, reason="cancellation_requested")
            return
        self.release_schedule(schedule["id"], preserve_cancel_date=False)


def shape_of_method(account: Billing, id_: str) -> Object:
    """A payment method as it is embedded in a payment's error."""
    method: Object = clone(account.get("payment_method", id_))
    return {key: value for key, value in method.items() if not key.startswith("_")}
