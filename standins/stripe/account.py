"""What buyers, store owners and banks do at one account: the actions of tests and demo data.

Every action writes the objects and the events Stripe would, in Stripe's order. Amounts are in
minor units, times in epoch seconds; ids of existing objects may be given wherever an id is
asked for, and what is left out is made up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from standins.stripe import (
    charges,
    checkout_sessions,
    credit_notes,
    customers,
    disputes,
    payment_intents,
    payment_methods,
    products,
    refunds,
    renewals,
    subscriptions,
)
from standins.stripe.connected_accounts import PLATFORM_APPLICATION, Access
from standins.stripe.customers import Buyer
from standins.stripe.errors import invalid
from standins.stripe.ledger import Ledger, merged
from standins.stripe.payment_intents import Payment
from standins.stripe.purchases import (
    AccessCode,
    NewSubscription,
    OneOff,
    Purchase,
    storefront_metadata,
)
from standins.stripe.shapes import Object

P = ParamSpec("P")
R = TypeVar("R")
Given = TypeVar("Given")


def _on_ledger(
    run: Callable[Concatenate[Ledger, P], R],
) -> Callable[Concatenate[StripeAccount, P], R]:
    """What a module does to a ledger, as a method of the account; stored in one transaction."""

    @functools.wraps(run)
    def method(self: StripeAccount, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.ledger.transaction():
            return run(self.ledger, *args, **kwargs)

    return method


def _stored(
    run: Callable[Concatenate[StripeAccount, P], R],
) -> Callable[Concatenate[StripeAccount, P], R]:
    """A method whose changes are stored in one transaction."""

    @functools.wraps(run)
    def method(self: StripeAccount, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.ledger.transaction():
            return run(self, *args, **kwargs)

    return method


def _called_with(
    fields_of: Callable[P, Given],
) -> Callable[[Callable[[StripeAccount, Given], R]], Callable[Concatenate[StripeAccount, P], R]]:
    """Let a method that takes a dataclass be called with the fields of this dataclass."""

    def decorate(
        run: Callable[[StripeAccount, Given], R],
    ) -> Callable[Concatenate[StripeAccount, P], R]:
        @functools.wraps(run)
        def method(self: StripeAccount, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return run(self, fields_of(*args, **kwargs))

        return method

    return decorate


class StripeAccount:
    """One account in one mode.

    The methods with a body here concern several kinds of object. The others stand in the module
    of their object, and take what is said there after the ledger.
    """

    def __init__(self, ledger: Ledger, access: Access) -> None:
        self.ledger = ledger
        self.account_id = ledger.account_id
        self.livemode = ledger.livemode
        self._access = access

    get = _on_ledger(Ledger.get)
    all = _on_ledger(Ledger.all)
    now = _on_ledger(Ledger.now)
    events = _on_ledger(Ledger.events)

    # --- what concerns one kind of object -------------------------------------------------

    create_product = _on_ledger(products.create)
    update_product = _on_ledger(products.update)
    delete_product = _on_ledger(products.delete)
    create_price = _on_ledger(products.create_price)

    create_customer = _on_ledger(customers.create)
    update_customer = _on_ledger(customers.update)
    adjust_balance = _on_ledger(customers.adjust_balance)

    attach_payment_method = _on_ledger(payment_methods.add)
    set_default_payment_method = _on_ledger(payment_methods.set_default)
    detach_payment_method = _on_ledger(payment_methods.detach)
    update_payment_method = _on_ledger(payment_methods.update)
    add_source = _on_ledger(payment_methods.add_source)
    update_source = _on_ledger(payment_methods.update_source)
    expire_source = _on_ledger(payment_methods.expire_source)
    remove_source = _on_ledger(payment_methods.remove_source)

    charge_of = _on_ledger(charges.charge_of)
    capture = _on_ledger(payment_intents.capture)
    expire_authorization = _on_ledger(payment_intents.expire_authorization)
    cancel_intent = _on_ledger(payment_intents.cancel)
    expire_session = _on_ledger(checkout_sessions.expire)

    refund = _on_ledger(refunds.create)
    finish_refund = _on_ledger(refunds.finish)
    dispute = _on_ledger(disputes.create)
    update_dispute = _on_ledger(disputes.update)
    close_dispute = _on_ledger(disputes.close)
    credit_note = _on_ledger(credit_notes.create)
    update_credit_note = _on_ledger(credit_notes.update)
    void_credit_note = _on_ledger(credit_notes.void)

    cancel_subscription = _on_ledger(subscriptions.cancel)
    update_subscription = _on_ledger(subscriptions.update)
    portal_cancel = _on_ledger(subscriptions.portal_cancel)
    portal_uncancel = _on_ledger(subscriptions.portal_uncancel)
    change_payment_method = _on_ledger(subscriptions.change_payment_method)
    pause_collection = _on_ledger(subscriptions.pause_collection)
    resume_collection = _on_ledger(subscriptions.resume_collection)
    pause_subscription = _on_ledger(subscriptions.pause)
    resume_subscription = _on_ledger(subscriptions.resume)
    change_plan = _on_ledger(subscriptions.change_plan)
    change_items = _on_ledger(subscriptions.change_items)
    begin_pending_update = _on_ledger(subscriptions.begin_pending_update)
    end_pending_update = _on_ledger(subscriptions.end_pending_update)
    schedule_subscription = _on_ledger(subscriptions.schedule)
    release_schedule = _on_ledger(subscriptions.release_schedule)

    pay_incomplete = _on_ledger(renewals.pay_incomplete)
    renew = _on_ledger(renewals.renew)
    fail_renewal = _on_ledger(renewals.fail_renewal)
    decline_payments = _on_ledger(renewals.decline_payments)
    pay_open_invoice = _on_ledger(renewals.pay_open_invoice)
    void_open_invoice = _on_ledger(renewals.void_open_invoice)
    give_up = _on_ledger(renewals.give_up)
    end_period = _on_ledger(renewals.end_period)

    # --- one-off purchases ----------------------------------------------------------------

    @_called_with(OneOff)
    @_stored
    def buy_one_off(self, sale: OneOff) -> Object:
        """A one-off purchase through Checkout; returns the session."""
        ledger = self.ledger
        buyer = self._buyer(sale)
        product = products.known(ledger, sale.product)
        lines = [
            self._line(id_, sale.amount, sale.currency)
            for id_ in (product["id"], *sale.more_products)
        ]
        amount = sum(line.amount for line in lines)
        noted = storefront_metadata(
            product["id"] if sale.product_in_metadata else None,
            sale.telegram_user_id,
            sale.metadata,
        )
        session = checkout_sessions.create(
            ledger,
            buyer,
            checkout_sessions.Terms(
                mode="payment",
                lines=lines,
                metadata=noted,
                method_type=sale.method_type,
            ),
        )
        method = payment_methods.to_pay_with(ledger, buyer, sale.payment_method, sale.method_type)
        payment = Payment(
            amount=amount,
            currency=sale.currency,
            customer=buyer.customer,
            metadata=noted,
            description=product["name"],
        )
        intent = payment_intents.create(
            ledger, payment, method, capture=sale.outcome != "authorized"
        )
        ledger.change(session, payment_intent=intent["id"])
        payment_intents.attempt(ledger, intent, sale.outcome)
        if sale.outcome != "failed":
            paid = "unpaid" if sale.outcome == "pending" else "paid"
            checkout_sessions.complete(ledger, session, payment_status=paid)
        return session

    def _line(self, product: str, amount: int, currency: str) -> checkout_sessions.Line:
        """A line of a checkout that sells a product once."""
        sold = products.known(self.ledger, product)
        price = products.price_of(self.ledger, sold["id"], amount, currency)
        return checkout_sessions.Line(price=price, name=sold["name"], amount=amount)

    def _customer(self, sale: Purchase) -> Object:
        """The customer who buys; made where none is named."""
        if sale.customer is not None:
            return customers.existing(self.ledger, sale.customer)
        return customers.create(
            self.ledger,
            name=sale.name,
            email=sale.email,
            grouptizer_id=sale.grouptizer_id,
            avatar_url=sale.avatar_url,
        )

    def _buyer(self, sale: OneOff | AccessCode) -> Buyer:
        """Who pays: a guest, or the customer."""
        if sale.guest:
            return Buyer(None, sale.name, sale.email)
        return Buyer.of(self._customer(sale))

    def buy_one_off_async(
        self, *, method_type: str = "sepa_debit", settle: bool | None = None, **details: Any
    ) -> Object:
        """A one-off purchase by an asynchronous method; ``settle``: its result at once, if any."""
        session = self.buy_one_off(method_type=method_type, outcome="pending", **details)
        if settle is not None:
            self.settle(session["id"], succeeded=settle)
        return session

    def guest_checkout(self, **details: Any) -> Object:
        """A one-off purchase without a customer (``customer: null``)."""
        return self.buy_one_off(guest=True, **details)

    @_stored
    def settle(self, session: str, *, succeeded: bool = True) -> Object:
        """The result of an asynchronous payment: ``async_payment_succeeded`` or ``_failed``."""
        target = self.ledger.get("checkout.session", session)
        intent = self.ledger.get("payment_intent", target["payment_intent"])
        payment_intents.settle(self.ledger, intent, succeeded=succeeded)
        if succeeded:
            checkout_sessions.complete(
                self.ledger, target, "async_payment_succeeded", payment_status="paid"
            )
        else:
            checkout_sessions.complete(self.ledger, target, "async_payment_failed")
        return target

    @_stored
    def open_checkout(
        self,
        *,
        customer: str | None = None,
        product: str | None = None,
        amount: int = 1500,
        currency: str = "usd",
        telegram_user_id: int | str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Object:
        """A session somebody opened and left; it expires after a day."""
        ledger = self.ledger
        buyer = Buyer(None, None, None)
        if customer:
            buyer = Buyer.of(ledger.get("customer", customer))
        sold = products.known(ledger, product)
        terms = checkout_sessions.Terms(
            mode="payment",
            lines=[self._line(sold["id"], amount, currency)],
            metadata=storefront_metadata(sold["id"], telegram_user_id, metadata),
        )
        return checkout_sessions.create(ledger, buyer, terms)

    @_called_with(AccessCode)
    @_stored
    def redeem_access_code(self, sale: AccessCode) -> Object:
        """A ``no_payment_required`` session; returns it."""
        ledger = self.ledger
        buyer = self._buyer(sale)
        product = products.known(ledger, sale.product)
        code = sale.access_code or ledger.new_id("x", length=12)[2:14].upper()
        expires_at = sale.access_expires_at
        noted = {"access_code": code, "access_expires_at": expires_at, **(sale.metadata or {})}
        terms = checkout_sessions.Terms(
            mode="payment",
            lines=[self._line(product["id"], 0, sale.currency)],
            metadata=storefront_metadata(product["id"], sale.telegram_user_id, noted),
        )
        session = checkout_sessions.create(ledger, buyer, terms)
        checkout_sessions.complete(ledger, session, payment_status="no_payment_required")
        return session

    # --- subscriptions --------------------------------------------------------------------

    @_called_with(NewSubscription)
    @_stored
    def subscribe(self, sale: NewSubscription) -> Object:
        """A new subscription; returns it."""
        ledger = self.ledger
        owner = self._customer(sale)
        buyer = Buyer.of(owner)
        product = products.known(ledger, sale.product)
        noted = storefront_metadata(
            product["id"] if sale.product_in_metadata else None,
            sale.telegram_user_id,
            sale.metadata,
        )
        sold = [products.known(ledger, id_) for id_ in (product["id"], *sale.more_products)]
        prices = [
            products.price_of(
                ledger,
                each["id"],
                sale.amount,
                sale.currency,
                interval=sale.interval,
                interval_count=sale.interval_count,
            )
            for each in sold
        ]
        session, once = None, []
        if sale.checkout:
            now = 0 if sale.trial_days else sale.amount
            once = [
                self._line(id_, sale.one_time_amount, sale.currency)
                for id_ in sale.one_time_products
            ]
            recurring = [
                checkout_sessions.Line(price=price, name=each["name"], amount=now)
                for price, each in zip(prices, sold, strict=True)
            ]
            terms = checkout_sessions.Terms(
                mode="subscription",
                lines=[*recurring, *once],
                metadata=noted,
                method_type=sale.method_type,
            )
            session = checkout_sessions.create(ledger, buyer, terms)
        method = None
        if not sale.no_payment_method:
            method = payment_methods.to_pay_with(
                ledger, buyer, sale.payment_method, sale.method_type
            )
        subscription = subscriptions.new(
            ledger,
            subscriptions.Terms(
                prices=prices,
                trial_days=sale.trial_days,
                missing_payment_method=sale.missing_payment_method,
                billing_mode=sale.billing_mode,
            ),
            customer=owner["id"],
            payment_method=method["id"] if method else None,
            metadata=noted,
        )
        if owner["currency"] is None:
            ledger.change(owner, currency=sale.currency)
        invoice = renewals.open_subscription(
            ledger, subscription, fails=sale.fails, once=[line.price for line in once]
        )
        if session is not None:
            ledger.change(session, subscription=subscription["id"], invoice=invoice["id"])
            if not sale.fails:
                paid = "paid" if invoice["amount_due"] else "no_payment_required"
                checkout_sessions.complete(ledger, session, payment_status=paid)
        return subscription

    # --- customers, purchases, the account itself -----------------------------------------

    @_stored
    def delete_customer(self, customer: str) -> None:
        """Delete a customer; Stripe cancels its subscriptions at once."""
        target = self.ledger.get("customer", customer)
        subscriptions.end_all_of(self.ledger, customer)
        customers.delete(self.ledger, target)

    @_stored
    def link_telegram(self, purchase: str, telegram_user_id: int | str | None) -> Object:
        """Link (or switch, or with ``None`` unlink) the Telegram account of a purchase.

        ``purchase``: a subscription, charge, payment intent or a paid session's id. A one-off's
        link is told by ``charge.updated``.
        """
        if purchase.startswith("sub_"):
            target, event = self.ledger.get("subscription", purchase), subscriptions.UPDATED
        else:
            target, event = charges.charge_of(self.ledger, purchase), "charge.updated"
        noted = {"telegram_user_id": telegram_user_id}
        self.ledger.update(event, target, metadata=merged(target["metadata"], noted))
        return target

    @_stored
    def deauthorize(self) -> None:
        """The store owner disconnects the platform (Connect): every later call answers 403."""
        if self.account_id is None:
            raise invalid("Only a connected account can be deauthorized.")
        self.ledger.emit("account.application.deauthorized", PLATFORM_APPLICATION)
        self._access.disconnect(self.account_id)

    @_stored
    def authorize_again(self) -> None:
        """The store owner connects the platform once more."""
        if self.account_id is None:
            raise invalid("Only a connected account can be authorized.")
        self._access.reconnect(self.account_id)
        self.ledger.emit("account.application.authorized", PLATFORM_APPLICATION)

    @_stored
    def emit_unknown(
        self, type_: str = "quantum.entanglement.observed", about: Mapping[str, Any] | None = None
    ) -> Object:
        """An event of a type nobody knows."""
        about = dict(about or {"id": "qe_1", "object": "quantum.entanglement"})
        return self.ledger.emit(type_, about)


_READINGS = frozenset(("all", "events", "get", "now"))

ACTIONS = frozenset(
    name for name in vars(StripeAccount) if not name.startswith("_") and name not in _READINGS
)
"""Names of what can be done at an account; a step of the control API names one of them."""
