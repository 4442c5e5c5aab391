"""What buyers, store owners and banks do: the scenarios of tests and demo data.

Every scenario writes the objects and the events Stripe would, in Stripe's order. Amounts are in
minor units, times in epoch seconds; ids of existing objects may be given wherever an id is
asked for, and what is left out is made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from standins.stripe import objects
from standins.stripe.billing import DISPUTE_FEE, Billing, period_end
from standins.stripe.clock import DAY, next_period_end
from standins.stripe.errors import StripeError, invalid, missing
from standins.stripe.ledger import merged, operation
from standins.stripe.shapes import Object, clone

Metadata = Mapping[str, Any]

DEFAULT_PRODUCT = "prod_StandInChannel"


def storefront_metadata(
    product: str | None = None,
    telegram_user_id: int | str | None = None,
    metadata: Metadata | None = None,
) -> Object:
    """What a storefront notes on a session, payment or subscription, without the empty keys."""
    noted = {"product_id": product, "telegram_user_id": telegram_user_id, **(metadata or {})}
    return {key: str(value) for key, value in noted.items() if value is not None}


class StripeAccount(Billing):
    """One account in one mode."""

    # --- catalogue ------------------------------------------------------------------------

    @operation
    def create_product(
        self,
        *,
        name: str = "Channel access",
        telegram_chat_ids: Sequence[int | str] | str = (),
        description: str | None = None,
        metadata: Metadata | None = None,
        id: str | None = None,  # noqa: A002
    ) -> Object:
        """A product; ``telegram_chat_ids`` are the chats it opens."""
        noted = dict(metadata or {})
        if telegram_chat_ids:
            given = telegram_chat_ids
            noted["telegram_chat_ids"] = (
                given if isinstance(given, str) else ",".join(str(chat) for chat in given)
            )
        product = self.add(
            objects.product(
                id=id or self.new_id("prod", length=14),
                created=self.now(),
                livemode=self.livemode,
                name=name,
                description=description,
                metadata=merged({}, noted),
            )
        )
        self.emit("product.created", product)
        return product

    @operation
    def update_product(
        self,
        product: str,
        *,
        name: str | None = None,
        active: bool | None = None,
        metadata: Metadata | None = None,
    ) -> Object:
        target = self.get("product", product)
        values: Object = {"updated": self.now()}
        if name is not None:
            values["name"] = name
        if active is not None:
            values["active"] = active
        if metadata is not None:
            values["metadata"] = merged(target["metadata"], metadata)
        self.update("product.updated", target, **values)
        return target

    @operation
    def delete_product(self, product: str) -> None:
        target = self.get("product", product)
        self.change(target, active=False, _deleted=True)
        self.emit("product.deleted", target)

    @operation
    def create_price(
        self,
        *,
        product: str | None = None,
        amount: int = 1500,
        currency: str = "usd",
        interval: str | None = None,
        interval_count: int = 1,
        id: str | None = None,  # noqa: A002
    ) -> Object:
        """A price; with ``interval`` (day, week, month, year) a recurring one."""
        price = self.add(
            objects.price(
                id=id or self.new_id("price"),
                created=self.now(),
                livemode=self.livemode,
                product=self._product(product)["id"],
                amount=amount,
                currency=currency,
                interval=interval,
                interval_count=interval_count,
            )
        )
        self.emit("price.created", price)
        return price

    def _product(self, id_: str | None) -> Object:
        if id_ is not None:
            return self.get("product", id_, param="product")
        known = self.objects.get("product", {}).get(DEFAULT_PRODUCT)
        return known or self.create_product(
            id=DEFAULT_PRODUCT, name="Channel access", telegram_chat_ids=[-1001000000001]
        )

    def _price(
        self, product: str, amount: int, currency: str, interval: str | None, count: int = 1
    ) -> Object:
        """The product's price of this amount; made where it is new."""
        for price in self.all("price"):
            recurring = price["recurring"] or {"interval": None, "interval_count": count}
            if (price["product"], price["unit_amount"], price["currency"]) == (
                product,
                amount,
                currency,
            ) and (recurring["interval"], recurring["interval_count"]) == (interval, count):
                return price
        return self.create_price(
            product=product,
            amount=amount,
            currency=currency,
            interval=interval,
            interval_count=count,
        )

    # --- customers ------------------------------------------------------------------------

    @operation
    def create_customer(
        self,
        *,
        name: str | None = "Jane Doe",
        email: str | None = "jane@example.com",
        grouptizer_id: str | None = None,
        avatar_url: str | None = None,
        currency: str | None = None,
        metadata: Metadata | None = None,
        id: str | None = None,  # noqa: A002
    ) -> Object:
        noted = {"grouptizer_id": grouptizer_id, "avatar_url": avatar_url, **(metadata or {})}
        customer = self.add(
            objects.customer(
                id=id or self.new_id("cus", length=14),
                created=self.now(),
                livemode=self.livemode,
                name=name,
                email=email,
                currency=currency,
                balance=0,
                metadata=merged({}, noted),
            )
        )
        self.emit("customer.created", customer)
        return customer

    @operation
    def update_customer(
        self,
        customer: str,
        *,
        name: str | None = None,
        email: str | None = None,
        grouptizer_id: str | None = None,
        avatar_url: str | None = None,
        metadata: Metadata | None = None,
    ) -> Object:
        """Change what is given; an empty text clears it."""
        target = self.get("customer", customer)
        values: Object = {}
        if name is not None:
            values["name"] = name or None
        if email is not None:
            values["email"] = email or None
        noted = dict(metadata or {})
        if grouptizer_id is not None:
            noted["grouptizer_id"] = grouptizer_id
        if avatar_url is not None:
            noted["avatar_url"] = avatar_url
        if noted:
            values["metadata"] = merged(target["metadata"], noted)
        self.update("customer.updated", target, **values)
        return target

    @operation
    def delete_customer(self, customer: str) -> None:
        """Delete a customer; Stripe cancels its subscriptions at once."""
        target = self.get("customer", customer)
        for subscription in list(self.all("subscription")):
            live = subscription["status"] not in ("canceled", "incomplete_expired")
            if subscription["customer"] == customer and live:
                self.end(subscription, reason="cancellation_requested")
        self.change(target, _deleted=True)
        self.emit("customer.deleted", target)

    @operation
    def adjust_balance(
        self,
        customer: str,
        *,
        amount: int = -500,
        currency: str = "usd",
        description: str | None = None,
    ) -> Object:
        """A customer balance transaction; negative amounts are credit for the customer."""
        return self.book_balance(
            self.get("customer", customer),
            amount,
            currency=currency,
            description=description,
        )

    # --- payment methods ------------------------------------------------------------------

    @operation
    def attach_payment_method(
        self,
        customer: str,
        *,
        type: str = "card",  # noqa: A002
        brand: str = "visa",
        last4: str = "4242",
        exp_month: int = 12,
        exp_year: int = 2030,
        default: bool = False,
    ) -> Object:
        """A payment method on file. Any ``type`` is taken, also one nobody knows yet."""
        owner = self.get("customer", customer)
        method = self._new_method(
            type=type,
            brand=brand,
            last4=last4,
            exp_month=exp_month,
            exp_year=exp_year,
            name=owner["name"],
            email=owner["email"],
        )
        return self._attach(method, owner, default=default)

    def _new_method(
        self,
        *,
        type: str,  # noqa: A002
        name: str | None,
        email: str | None,
        brand: str = "visa",
        last4: str = "4242",
        exp_month: int = 12,
        exp_year: int = 2030,
    ) -> Object:
        return self.add(
            objects.payment_method(
                id=self.new_id("pm"),
                created=self.now(),
                livemode=self.livemode,
                type=type,
                brand=brand,
                last4=last4,
                exp_month=exp_month,
                exp_year=exp_year,
                name=name,
                email=email,
            )
        )

    def _attach(self, method: Object, owner: Object, *, default: bool) -> Object:
        self.change(method, customer=owner["id"])
        self.emit("payment_method.attached", method)
        if default:
            self.set_default_payment_method(owner["id"], method["id"])
        return method

    @operation
    def set_default_payment_method(self, customer: str, payment_method: str | None) -> Object:
        target = self.get("customer", customer)
        settings = target["invoice_settings"] | {"default_payment_method": payment_method}
        self.update("customer.updated", target, invoice_settings=settings)
        return target

    @operation
    def detach_payment_method(self, payment_method: str) -> Object:
        """Remove a payment method; the event tells the customer in ``previous_attributes`` only."""
        method = self.get("payment_method", payment_method)
        if method["customer"] is None:
            raise invalid("The payment method you provided is not attached to a customer.")
        owner = self.get("customer", method["customer"])
        previous = self.change(method, customer=None)
        self.emit("payment_method.detached", method, previous)
        if owner["invoice_settings"]["default_payment_method"] == payment_method:
            self.set_default_payment_method(owner["id"], None)
        return method

    @operation
    def update_payment_method(
        self,
        payment_method: str,
        *,
        exp_month: int | None = None,
        exp_year: int | None = None,
        last4: str | None = None,
        automatically: bool = False,
    ) -> Object:
        """New card details, by the buyer or by the card network (``automatically``)."""
        method = self.get("payment_method", payment_method)
        given = {"exp_month": exp_month, "exp_year": exp_year, "last4": last4}
        details = method[method["type"]] | {k: v for k, v in given.items() if v is not None}
        event = "automatically_updated" if automatically else "updated"
        self.update(f"payment_method.{event}", method, **{method["type"]: details})
        return method

    @operation
    def add_source(
        self,
        customer: str,
        *,
        brand: str = "Visa",
        last4: str = "4242",
        exp_month: int = 12,
        exp_year: int = 2030,
        default: bool = True,
    ) -> Object:
        """A legacy card source."""
        owner = self.get("customer", customer)
        source = self.add(
            objects.card_source(
                id=self.new_id("card"),
                customer=customer,
                brand=brand,
                last4=last4,
                exp_month=exp_month,
                exp_year=exp_year,
                name=owner["name"],
            )
        )
        self.emit("customer.source.created", source)
        if default:
            self.update("customer.updated", owner, default_source=source["id"])
        return source

    @operation
    def update_source(self, source: str, *, exp_month: int = 1, exp_year: int = 2032) -> Object:
        target = self.get("card", source)
        self.update("customer.source.updated", target, exp_month=exp_month, exp_year=exp_year)
        return target

    @operation
    def expire_source(self, source: str) -> Object:
        """The event of a card source that expires at the month's end."""
        target = self.get("card", source)
        self.emit("customer.source.expiring", target)
        return target

    @operation
    def remove_source(self, source: str) -> None:
        target = self.get("card", source)
        owner = self.get("customer", target["customer"])
        self.change(target, _deleted=True)
        self.emit("customer.source.deleted", target)
        if owner["default_source"] == source:
            self.update("customer.updated", owner, default_source=None)

    # --- checkout -------------------------------------------------------------------------

    def _customer(
        self,
        id_: str | None,
        *,
        name: str | None,
        email: str | None,
        grouptizer_id: str | None,
        avatar_url: str | None,
    ) -> Object:
        if id_ is not None:
            owner = self.get("customer", id_, param="customer")
            if owner.get("_deleted"):
                raise missing("customer", id_, param="customer", status=400)
            return owner
        return self.create_customer(
            name=name, email=email, grouptizer_id=grouptizer_id, avatar_url=avatar_url
        )

    def _method(
        self, owner: Object | None, given: str | None, type_: str, name: Any, email: Any
    ) -> Object:
        """The method to pay with: the one given, one on file of this type, or a new one."""
        if given is not None:
            return self.get("payment_method", given, param="payment_method")
        for method in self.all("payment_method") if owner else ():
            if owner and method["customer"] == owner["id"] and method["type"] == type_:
                return method
        method = self._new_method(type=type_, name=name, email=email)
        return self._attach(method, owner, default=False) if owner else method

    def _session(
        self,
        *,
        mode: str,
        price: Object,
        product: Object,
        amount: int,
        owner: Object | None,
        name: str | None,
        email: str | None,
        metadata: Metadata,
        method_type: str,
    ) -> Object:
        prefix = "cs_live_a1" if self.livemode else "cs_test_a1"
        id_ = prefix + self.new_id("cs", length=56).removeprefix("cs_")
        line = objects.session_line(
            id=self.new_id("li"), price=price, description=product["name"], amount=amount
        )
        return self.add(
            objects.checkout_session(
                id=id_,
                created=self.now(),
                livemode=self.livemode,
                mode=mode,
                amount=amount,
                currency=price["currency"],
                customer=owner["id"] if owner else None,
                name=name,
                email=email,
                metadata=metadata,
                method_types=[method_type],
                lines=[line],
                client_reference_id=None,
            )
        )

    def _complete(self, session: Object, event: str = "completed", **values: Any) -> None:
        self.change(session, status="complete", url=None, **values)
        self.emit(f"checkout.session.{event}", session)

    @operation
    def buy_one_off(
        self,
        *,
        customer: str | None = None,
        name: str | None = "Jane Doe",
        email: str | None = "jane@example.com",
        grouptizer_id: str | None = None,
        avatar_url: str | None = None,
        product: str | None = None,
        amount: int = 1500,
        currency: str = "usd",
        telegram_user_id: int | str | None = None,
        payment_method: str | None = None,
        method_type: str = "card",
        guest: bool = False,
        outcome: str = "succeeded",
        product_in_metadata: bool = True,
        metadata: Metadata | None = None,
    ) -> Object:
        """A one-off purchase through Checkout; returns the session.

        ``outcome``: "succeeded"; "failed" (declined, the session stays open); "authorized" (to be
        captured); "pending" (an asynchronous method: the session completes unpaid, and
        :meth:`settle` brings the result). ``guest``: no customer, only ``customer_details``.
        """
        owner = None
        if not guest:
            owner = self._customer(
                customer, name=name, email=email, grouptizer_id=grouptizer_id, avatar_url=avatar_url
            )
            name, email = owner["name"], owner["email"]
        sold = self._product(product)
        price = self._price(sold["id"], amount, currency, None)
        noted = storefront_metadata(
            sold["id"] if product_in_metadata else None, telegram_user_id, metadata
        )
        session = self._session(
            mode="payment",
            price=price,
            product=sold,
            amount=amount,
            owner=owner,
            name=name,
            email=email,
            metadata=noted,
            method_type=method_type,
        )
        method = self._method(owner, payment_method, method_type, name, email)
        intent = self.new_intent(
            amount=amount,
            currency=currency,
            customer=owner["id"] if owner else None,
            method=method,
            metadata=noted,
            description=sold["name"],
            capture=outcome != "authorized",
        )
        self.change(session, payment_intent=intent["id"])
        self.attempt(intent, outcome)
        if outcome != "failed":
            paid = "unpaid" if outcome == "pending" else "paid"
            self._complete(session, payment_status=paid)
        return session

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

    @operation
    def settle(self, session: str, *, succeeded: bool = True) -> Object:
        """The result of an asynchronous payment: ``async_payment_succeeded`` or ``_failed``."""
        target = self.get("checkout.session", session)
        self.settle_pending(
            self.get("payment_intent", target["payment_intent"]), succeeded=succeeded
        )
        if succeeded:
            self._complete(target, "async_payment_succeeded", payment_status="paid")
        else:
            self._complete(target, "async_payment_failed")
        return target

    @operation
    def open_checkout(
        self,
        *,
        customer: str | None = None,
        product: str | None = None,
        amount: int = 1500,
        currency: str = "usd",
        telegram_user_id: int | str | None = None,
        metadata: Metadata | None = None,
    ) -> Object:
        """A session somebody opened and left; it expires after a day."""
        owner = self.get("customer", customer) if customer else None
        sold = self._product(product)
        return self._session(
            mode="payment",
            price=self._price(sold["id"], amount, currency, None),
            product=sold,
            amount=amount,
            owner=owner,
            name=owner["name"] if owner else None,
            email=owner["email"] if owner else None,
            metadata=storefront_metadata(sold["id"], telegram_user_id, metadata),
            method_type="card",
        )

    @operation
    def redeem_access_code(
        self,
        *,
        access_code: str | None = None,
        access_expires_at: str | None = None,
        customer: str | None = None,
        name: str | None = "Jane Doe",
        email: str | None = "jane@example.com",
        grouptizer_id: str | None = None,
        avatar_url: str | None = None,
        product: str | None = None,
        currency: str = "usd",
        telegram_user_id: int | str | None = None,
        guest: bool = False,
        metadata: Metadata | None = None,
    ) -> Object:
        """A ``no_payment_required`` session. ``access_expires_at``: ISO 8601, none = for life."""
        owner = None
        if not guest:
            owner = self._customer(
                customer, name=name, email=email, grouptizer_id=grouptizer_id, avatar_url=avatar_url
            )
            name, email = owner["name"], owner["email"]
        sold = self._product(product)
        code = access_code or self.new_id("x", length=12)[2:14].upper()
        noted = storefront_metadata(
            sold["id"],
            telegram_user_id,
            {"access_code": code, "access_expires_at": access_expires_at, **(metadata or {})},
        )
        session = self._session(
            mode="payment",
            price=self._price(sold["id"], 0, currency, None),
            product=sold,
            amount=0,
            owner=owner,
            name=name,
            email=email,
            metadata=noted,
            method_type="card",
        )
        self._complete(session, payment_status="no_payment_required")
        return session

    # --- subscriptions --------------------------------------------------------------------

    @operation
    def subscribe(
        self,
        *,
        customer: str | None = None,
        name: str | None = "Jane Doe",
        email: str | None = "jane@example.com",
        grouptizer_id: str | None = None,
        avatar_url: str | None = None,
        product: str | None = None,
        more_products: Sequence[str] = (),
        amount: int = 900,
        currency: str = "usd",
        interval: str = "month",
        interval_count: int = 1,
        trial_days: int = 0,
        telegram_user_id: int | str | None = None,
        payment_method: str | None = None,
        method_type: str = "card",
        no_payment_method: bool = False,
        missing_payment_method: str = "create_invoice",
        billing_mode: str = "flexible",
        fails: bool = False,
        checkout: bool = True,
        product_in_metadata: bool = False,
        metadata: Metadata | None = None,
    ) -> Object:
        """A new subscription; returns it.

        ``fails``: the first payment is declined, it stays ``incomplete``. ``more_products``:
        further items of the same interval. ``no_payment_method`` goes with a trial, and
        ``missing_payment_method`` (create_invoice, pause, cancel) says what its end does.
        ``checkout``: through a Checkout session, else by the API.
        """
        owner = self._customer(
            customer, name=name, email=email, grouptizer_id=grouptizer_id, avatar_url=avatar_url
        )
        sold = self._product(product)
        noted = storefront_metadata(
            sold["id"] if product_in_metadata else None, telegram_user_id, metadata
        )
        prices = [
            self._price(self._product(id_)["id"], amount, currency, interval, interval_count)
            for id_ in (sold["id"], *more_products)
        ]
        session = None
        if checkout:
            session = self._session(
                mode="subscription",
                price=prices[0],
                product=sold,
                amount=0 if trial_days else amount * len(prices),
                owner=owner,
                name=owner["name"],
                email=owner["email"],
                metadata=noted,
                method_type=method_type,
            )
        method = None
        if not no_payment_method:
            method = self._method(owner, payment_method, method_type, owner["name"], owner["email"])
        start = self.now()
        trial_end = start + trial_days * DAY if trial_days else None
        end = trial_end or next_period_end(start, interval, interval_count, start)
        id_ = self.new_id("sub")
        subscription = objects.subscription(
            id=id_,
            created=start,
            livemode=self.livemode,
            customer=owner["id"],
            currency=currency,
            items=[
                objects.subscription_item(
                    id=self.new_id("si", length=14),
                    created=start,
                    subscription=id_,
                    price=price,
                    quantity=1,
                    period_start=start,
                    period_end=end,
                )
                for price in prices
            ],
            status="trialing" if trial_days else "incomplete",
            payment_method=method["id"] if method else None,
            metadata=noted,
            billing_mode=billing_mode,
            trial_start=start if trial_days else None,
            trial_end=trial_end,
            missing_payment_method=missing_payment_method,
            anchor=trial_end or start,
        )
        if owner["currency"] is None:
            self.change(owner, currency=currency)
        invoice = self.open_subscription(subscription, fails=fails)
        if session is not None:
            self.change(session, subscription=id_, invoice=invoice["id"])
            if not fails:
                paid = "paid" if invoice["amount_due"] else "no_payment_required"
                self._complete(session, payment_status=paid)
        return subscription

    @operation
    def pay_incomplete(self, subscription: str) -> Object:
        """The buyer completes the first payment after all."""
        target = self.get("subscription", subscription)
        if target["status"] != "incomplete":
            raise invalid(f"The subscription is {target['status']}.")
        invoice = self.get("invoice", target["latest_invoice"])
        if self._collect(target, invoice, fails=False):
            self.update("customer.subscription.updated", target, status="active")
        return target

    @operation
    def renew(self, subscription: str, *, fails: bool = False) -> Object:
        """The next period begins now, whatever the clock says; its payment may fail."""
        target = self.get("subscription", subscription)
        if target["status"] not in ("active", "trialing", "past_due", "unpaid"):
            raise invalid(f"A subscription that is {target['status']} does not renew.")
        self.roll(target, fails=fails)
        return target

    @operation
    def fail_renewal(self, subscription: str, *, keep_failing: bool = True) -> Object:
        """The next period begins and its payment is declined: ``past_due``.

        ``keep_failing``: the coming retries fail as well, until dunning ends.
        """
        target = self.renew(subscription, fails=True)
        self.change(target, _fails=keep_failing)
        return target

    @operation
    def decline_payments(self, subscription: str, *, on: bool = True) -> Object:
        """Let all coming payments of a subscription fail, or succeed again."""
        target = self.get("subscription", subscription)
        self.change(target, _fails=on)
        return target

    @operation
    def pay_open_invoice(self, subscription: str) -> Object:
        """A retry succeeds: the subscription is active again."""
        target = self.get("subscription", subscription)
        self.change(target, _fails=False)
        self.retry(target, fails=False)
        return target

    @operation
    def give_up(self, subscription: str, *, how: str = "cancel") -> Object:
        """The retries are used up: "cancel", "unpaid" or "uncollectible" (and active again)."""
        target = self.get("subscription", subscription)
        if how == "cancel":
            self.end(target, reason="payment_failed")
        elif how == "unpaid":
            self.update("customer.subscription.updated", target, status="unpaid")
        elif how == "uncollectible":
            self.close_invoice(self.get("invoice", target["latest_invoice"]), "uncollectible")
            self._recover(target)
        else:
            raise invalid(f"Unknown end of dunning: {how}")
        return target

    @operation
    def portal_cancel(
        self,
        subscription: str,
        *,
        immediately: bool = False,
        feedback: str | None = "too_expensive",
        comment: str | None = None,
    ) -> Object:
        """The buyer cancels in the customer portal.

        With flexible billing the end shows as ``cancel_at`` alone, without the flag.
        """
        target = self.get("subscription", subscription)
        details = {"feedback": feedback, "comment": comment}
        if immediately:
            self.end(target, reason="cancellation_requested", details=details)
            return target
        self.update(
            "customer.subscription.updated",
            target,
            cancel_at=period_end(target),
            cancel_at_period_end=target["billing_mode"]["type"] != "flexible",
            canceled_at=self.now(),
            cancellation_details={"reason": "cancellation_requested", **details},
        )
        return target

    @operation
    def portal_uncancel(self, subscription: str) -> Object:
        """The buyer keeps the subscription after all."""
        target = self.get("subscription", subscription)
        if target["status"] in ("canceled", "incomplete_expired"):
            raise invalid("A canceled subscription cannot be renewed.")
        self.update(
            "customer.subscription.updated",
            target,
            cancel_at=None,
            cancel_at_period_end=False,
            canceled_at=None,
            cancellation_details={"comment": None, "feedback": None, "reason": None},
        )
        return target

    @operation
    def end_period(self, subscription: str) -> Object:
        """What the period's end does, now: the scheduled end, the trial's end or a renewal."""
        target = self.get("subscription", subscription)
        at = target["cancel_at"] or period_end(target)
        self.happen(target, max(at, self.now()))
        return target

    @operation
    def pause_collection(
        self, subscription: str, *, behavior: str = "void", resumes_at: int | None = None
    ) -> Object:
        target = self.get("subscription", subscription)
        paused = {"behavior": behavior, "resumes_at": resumes_at}
        self.update("customer.subscription.updated", target, pause_collection=paused)
        return target

    @operation
    def resume_collection(self, subscription: str) -> Object:
        target = self.get("subscription", subscription)
        self.update("customer.subscription.updated", target, pause_collection=None)
        return target

    @operation
    def pause_subscription(self, subscription: str) -> Object:
        """The status ``paused``: a trial ended without a payment method."""
        target = self.get("subscription", subscription)
        self.update("customer.subscription.updated", target, status="paused")
        self.emit("customer.subscription.paused", target)
        return target

    @operation
    def resume_subscription(self, subscription: str) -> Object:
        """A paused subscription goes on: its period begins anew."""
        target = self.get("subscription", subscription)
        if target["status"] != "paused":
            raise invalid("Only a paused subscription can be resumed.")
        items = clone(target["items"])
        for item in items["data"]:
            recurring = item["price"]["recurring"]
            item["current_period_start"] = self.now()
            item["current_period_end"] = next_period_end(
                self.now(), recurring["interval"], recurring["interval_count"], self.now()
            )
        self.update(
            "customer.subscription.updated",
            target,
            status="active",
            items=items,
            billing_cycle_anchor=self.now(),
        )
        self.emit("customer.subscription.resumed", target)
        return target

    @operation
    def change_plan(
        self, subscription: str, *, product: str, amount: int = 1900, currency: str | None = None
    ) -> Object:
        """Another product in the first item's place, in the same period."""
        target = self.get("subscription", subscription)
        items = self._items_with(target, product, amount, currency)
        self.update("customer.subscription.updated", target, items=items)
        return target

    def _items_with(
        self, target: Object, product: str, amount: int, currency: str | None
    ) -> Object:
        items: Object = clone(target["items"])
        recurring = items["data"][0]["price"]["recurring"]
        price = self._price(
            self._product(product)["id"],
            amount,
            currency or target["currency"],
            recurring["interval"],
            recurring["interval_count"],
        )
        items["data"][0]["price"] = clone(price)
        return items

    @operation
    def begin_pending_update(
        self, subscription: str, *, product: str, amount: int = 1900
    ) -> Object:
        """A change of plan that waits for its payment."""
        target = self.get("subscription", subscription)
        items = self._items_with(target, product, amount, None)
        pending = {
            "billing_cycle_anchor": None,
            "expires_at": self.now() + DAY,
            "subscription_items": items["data"],
            "trial_end": None,
            "trial_from_plan": None,
        }
        self.update("customer.subscription.updated", target, pending_update=pending)
        return target

    @operation
    def end_pending_update(self, subscription: str, *, applied: bool = True) -> Object:
        target = self.get("subscription", subscription)
        pending = target["pending_update"]
        if pending is None:
            raise invalid("The subscription has no pending update.")
        values: Object = {"pending_update": None}
        if applied:
            values["items"] = clone(target["items"]) | {"data": pending["subscription_items"]}
        previous = self.change(target, **values)
        kind = "applied" if applied else "expired"
        self.emit(f"customer.subscription.pending_update_{kind}", target)
        if applied:
            self.emit("customer.subscription.updated", target, previous)
        return target

    @operation
    def schedule_subscription(
        self,
        subscription: str,
        *,
        end_behavior: str = "cancel",
        ends_at: int | None = None,
        next_product: str | None = None,
        next_amount: int = 1900,
    ) -> Object:
        """Put a subscription under a schedule; returns the schedule.

        One phase to ``ends_at`` (default: the period's end), and with ``next_product`` a second
        one of equal length. ``end_behavior``: "cancel" or "release".
        """
        target = self.get("subscription", subscription)
        start = target["items"]["data"][0]["current_period_start"]
        end = ends_at or period_end(target)
        phases: list[Object] = [
            self._phase(start, end, target["items"]["data"][0]["price"]["id"], target["currency"])
        ]
        if next_product is not None:
            items = self._items_with(target, next_product, next_amount, None)
            price = items["data"][0]["price"]["id"]
            phases.append(self._phase(end, end + (end - start), price, target["currency"]))
        schedule = self.add(
            objects.subscription_schedule(
                id=self.new_id("sub_sched"),
                created=self.now(),
                subscription=target,
                phases=phases,
                end_behavior=end_behavior,
            )
        )
        self.emit("subscription_schedule.created", schedule)
        values: Object = {"schedule": schedule["id"]}
        if end_behavior == "cancel":
            values |= {"cancel_at": phases[-1]["end_date"], "canceled_at": self.now()}
        self.update("customer.subscription.updated", target, **values)
        return schedule

    @staticmethod
    def _phase(start: int, end: int, price: str, currency: str) -> Object:
        return {
            "currency": currency,
            "end_date": end,
            "items": [{"metadata": {}, "price": price, "quantity": 1}],
            "metadata": {},
            "proration_behavior": "create_prorations",
            "start_date": start,
            "trial_end": None,
        }

    @operation
    def change_payment_method(self, subscription: str, payment_method: str) -> Object:
        target = self.get("subscription", subscription)
        self.update("customer.subscription.updated", target, default_payment_method=payment_method)
        return target

    @operation
    def void_open_invoice(self, subscription: str) -> Object:
        target = self.get("subscription", subscription)
        invoice = self.get("invoice", target["latest_invoice"])
        self.close_invoice(invoice, "void")
        return invoice

    # --- Telegram links -------------------------------------------------------------------

    @operation
    def link_telegram(self, purchase: str, telegram_user_id: int | str | None) -> Object:
        """Link (or switch, or with ``None`` unlink) the Telegram account of a purchase.

        ``purchase``: a subscription, charge, payment intent or a paid session's id. A one-off's
        link is told by ``charge.updated``.
        """
        noted = {"telegram_user_id": telegram_user_id}
        if purchase.startswith("sub_"):
            target = self.get("subscription", purchase)
            self.update(
                "customer.subscription.updated", target, metadata=merged(target["metadata"], noted)
            )
            return target
        charge = self.charge_of(purchase)
        self.update("charge.updated", charge, metadata=merged(charge["metadata"], noted))
        return charge

    def charge_of(self, payment: str) -> Object:
        """The latest charge of a charge, payment intent, session, invoice or subscription id."""
        found = self.find(payment)
        while found is not None and found["object"] != "charge":
            following = {
                "payment_intent": "latest_charge",
                "checkout.session": "payment_intent",
                "invoice": "_charge",
                "subscription": "latest_invoice",
            }.get(found["object"])
            id_ = found.get(following) if following else None
            if id_ is None and found["object"] == "checkout.session":
                id_ = found["subscription"]
            found = self.find(id_) if id_ else None
        if found is None:
            raise missing("charge", payment)
        return found

    # --- captures, refunds, disputes, credit notes ----------------------------------------

    @operation
    def capture(self, payment: str) -> Object:
        charge = self.charge_of(payment)
        intent = self.get("payment_intent", charge["payment_intent"])
        self.change(charge, captured=True, amount_captured=charge["amount"])
        self._book(charge)
        self.change(
            intent, status="succeeded", amount_received=charge["amount"], amount_capturable=0
        )
        self.emit("charge.captured", charge)
        self.emit("payment_intent.succeeded", intent)
        return charge

    @operation
    def expire_authorization(self, payment: str) -> Object:
        """An authorized payment that nobody captured lapses."""
        charge = self.charge_of(payment)
        intent = self.get("payment_intent", charge["payment_intent"])
        self.change(charge, refunded=True, amount_refunded=charge["amount"])
        self.change(
            intent,
            status="canceled",
            canceled_at=self.now(),
            cancellation_reason="automatic",
            amount_capturable=0,
        )
        self.emit("charge.expired", charge)
        self.emit("payment_intent.canceled", intent)
        return charge

    @operation
    def refund(
        self,
        payment: str,
        *,
        amount: int | None = None,
        status: str = "succeeded",
        reason: str | None = "requested_by_customer",
    ) -> Object:
        """The store owner refunds a payment in the dashboard; ``amount``: all that is left.

        ``status``: "succeeded" or "pending" (then :meth:`finish_refund`).
        """
        charge = self.charge_of(payment)
        left = charge["amount"] - charge["amount_refunded"]
        amount = left if amount is None else amount
        if not 0 < amount <= left:
            raise StripeError(
                400,
                f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
                param="amount",
            )
        refund = objects.refund(
            id=self.new_id("re"),
            created=self.now(),
            charge=charge,
            amount=amount,
            status=status,
            reason=reason,
            balance_transaction=None,
        )
        entry = self.balance_entry(refund, -amount, 0, "refund")
        refund["balance_transaction"] = entry["id"]
        self.add(refund)
        self.emit("refund.created", refund)
        self._count_refund(charge, refund, amount, "charge.refunded")
        return refund

    def _count_refund(self, charge: Object, refund: Object, delta: int, event: str) -> None:
        total = charge["amount_refunded"] + delta
        others = [r for r in charge["_refunds"] if r["id"] != refund["id"]]
        self.update(
            event,
            charge,
            amount_refunded=total,
            refunded=total == charge["amount"],
            _refunds=[clone(refund), *others],
        )

    @operation
    def finish_refund(self, refund: str, *, status: str = "succeeded") -> Object:
        """A pending (or even a succeeded) refund becomes succeeded, failed or canceled."""
        target = self.get("refund", refund)
        charge = self.get("charge", target["charge"])
        values: Object = {"status": status}
        undone = status in ("failed", "canceled") and target["status"] in ("pending", "succeeded")
        if status == "failed":
            values["failure_reason"] = "expired_or_canceled_card"
        if undone:
            entry = self.balance_entry(target, target["amount"], 0, "refund_failure")
            values["failure_balance_transaction"] = entry["id"]
        previous = self.change(target, **values)
        self.emit("refund.updated", target, previous)
        self.emit("charge.refund.updated", target, previous)
        if status == "failed":
            self.emit("refund.failed", target)
        if undone:
            self._count_refund(charge, target, -target["amount"], "charge.updated")
        return target

    @operation
    def dispute(
        self,
        payment: str,
        *,
        amount: int | None = None,
        reason: str = "fraudulent",
        fee: int = DISPUTE_FEE,
        inquiry: bool = False,
    ) -> Object:
        """The buyer's bank disputes a payment; funds are withdrawn unless it is an inquiry."""
        charge = self.charge_of(payment)
        target = self.add(
            objects.dispute(
                id=self.new_id("du"),
                created=self.now(),
                charge=charge,
                amount=charge["amount"] if amount is None else amount,
                reason=reason,
                inquiry=inquiry,
            )
        )
        self.emit("charge.dispute.created", target)
        self.update("charge.updated", charge, disputed=True)
        if not inquiry:
            self._book_dispute(target, -target["amount"], fee, "funds_withdrawn")
        return target

    def _book_dispute(self, target: Object, amount: int, fee: int, event: str) -> None:
        entry = self.balance_entry(
            target, amount, fee, "adjustment", f"Chargeback withdrawal for {target['charge']}"
        )
        entries = [*target["balance_transactions"], self._plain(entry)]
        self.update(f"charge.dispute.{event}", target, balance_transactions=entries)

    @staticmethod
    def _plain(entry: Object) -> Object:
        return {key: clone(value) for key, value in entry.items() if not key.startswith("_")}

    @operation
    def update_dispute(self, dispute: str) -> Object:
        """Evidence is submitted: the dispute is under review."""
        target = self.get("dispute", dispute)
        inquiry = target["status"].startswith("warning")
        evidence = target["evidence_details"] | {"has_evidence": True, "submission_count": 1}
        self.update(
            "charge.dispute.updated",
            target,
            evidence_details=evidence,
            status="warning_under_review" if inquiry else "under_review",
        )
        return target

    @operation
    def close_dispute(self, dispute: str, *, won: bool = True) -> Object:
        """The bank decides; a won dispute brings the funds back."""
        target = self.get("dispute", dispute)
        if target["status"].startswith("warning"):
            self.update("charge.dispute.closed", target, status="warning_closed")
            return target
        previous = self.change(target, status="won" if won else "lost")
        self.emit("charge.dispute.closed", target, previous)
        if won:
            self._book_dispute(target, target["amount"], 0, "funds_reinstated")
        return target

    @operation
    def credit_note(
        self,
        payment: str,
        *,
        amount: int = 300,
        to: str = "customer_balance",
        reason: str | None = "order_change",
        memo: str | None = None,
    ) -> Object:
        """A credit note for a subscription's latest invoice (or a given invoice).

        ``to``, for a paid invoice: "customer_balance", "refund" or "out_of_band".
        """
        invoice = self.get("invoice", self._invoice_id(payment))
        paid = invoice["status"] == "paid"
        number = 1 + sum(1 for note in self.all("credit_note") if note["invoice"] == invoice["id"])
        note = objects.credit_note(
            id=self.new_id("cn"),
            created=self.now(),
            invoice=invoice,
            amount=amount,
            number=f"{invoice['number']}-CN-{number:02d}",
            reason=reason,
            memo=memo,
        )
        if paid and to == "customer_balance":
            owner = self.get("customer", invoice["customer"])
            entry = self.book_balance(
                owner,
                -amount,
                currency=invoice["currency"],
                kind="credit_note",
                credit_note=note["id"],
                invoice=invoice["id"],
            )
            note["customer_balance_transaction"] = entry["id"]
        elif paid and to == "refund":
            refund = self.refund(invoice["_charge"], amount=amount)
            note["refunds"] = [
                {"amount_refunded": amount, "refund": refund["id"], "type": "refund"}
            ]
        elif paid:
            note["out_of_band_amount"] = amount
        self.add(note)
        self.emit("credit_note.created", note)
        key = "post_payment_credit_notes_amount" if paid else "pre_payment_credit_notes_amount"
        values: Object = {key: invoice[key] + amount}
        if not paid:
            values["amount_remaining"] = invoice["amount_remaining"] - amount
            values["amount_due"] = invoice["amount_due"] - amount
        self.update("invoice.updated", invoice, **values)
        return note

    def _invoice_id(self, payment: str) -> str:
        found = self.find(payment)
        if found is not None and found["object"] == "subscription":
            return str(found["latest_invoice"])
        if found is not None and found["object"] == "charge":
            return str(found["_invoice"])
        return payment

    @operation
    def update_credit_note(self, credit_note: str, *, memo: str) -> Object:
        note = self.get("credit_note", credit_note)
        self.update("credit_note.updated", note, memo=memo)
        return note

    @operation
    def void_credit_note(self, credit_note: str) -> Object:
        note = self.get("credit_note", credit_note)
        previous = self.change(note, status="void", voided_at=self.now())
        self.emit("credit_note.voided", note, previous)
        return note

    # --- the account itself ---------------------------------------------------------------

    @operation
    def deauthorize(self) -> None:
        """The store owner disconnects the platform (Connect): every later call answers 403."""
        if self.account_id is None:
            raise invalid("Only a connected account can be deauthorized.")
        application = {
            "id": "ca_StandInPlatform",
            "object": "application",
            "name": "The stand-in platform",
        }
        self.emit("account.application.deauthorized", application)
        self.host.disconnect(self.account_id)

    @operation
    def authorize_again(self) -> None:
        """The store owner connects the platform once more."""
        if self.account_id is None:
            raise invalid("Only a connected account can be authorized.")
        self.host.reconnect(self.account_id)
        application = {
            "id": "ca_StandInPlatform",
            "object": "application",
            "name": "The stand-in platform",
        }
        self.emit("account.application.authorized", application)

    @operation
    def emit_unknown(
        self, type_: str = "quantum.entanglement.observed", about: Metadata | None = None
    ) -> Object:
        """An event of a type nobody knows."""
        return self.emit(type_, dict(about or {"id": "qe_1", "object": "quantum.entanglement"}))
