"""What became of people's money, as a plain list; and the Stripe objects and events that tell it.

The list comes first: :class:`Plan` says what was moved, and what that adds up to, and knows nothing
of Stripe. :func:`told` reads it and says what Stripe has of it, and which events it sent: of every
API version since 2020-08-27, and of accounts that were upgraded in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from standins.stripe.shapes import clone, difference

Raw = dict[str, Any]
Sums = dict[str, int]
"""Minor units by currency."""

AT = 1_790_000_000
DAY = 86_400
BUYER = "ann@shop.example"

REFUNDS_IN_CHARGES = "2022-11-15"
"""Charges of older API versions hold their refunds."""
RESTS_ARE_NO_REFUNDS = "2025-03-31"
"""Of older API versions what was authorised and never collected is a refund; invoices, charges and
payments name each other."""


Payer = Literal["customer", "second account", "guest", "named late"]
Way = Literal["intent", "session", "charge", "old charge", "invoice"]
By = Literal["card", "hand", "bank"]
Outcome = Literal["succeeded", "failed", "canceled", "pending"]
Change = Literal["adjustment", "applied_to_invoice", "initial"]
ACCOUNTS: Mapping[str, str] = {"customer": "cus_1", "second account": "cus_2"}


# -- what was moved --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Payment:
    """Money that came, or was to come.

    Attributes:
        number: by which the other movements name it.
        way: ``intent``, ``session`` (Checkout), ``charge`` (``ch_``) and ``old charge`` (``py_``)
            without a PaymentIntent, ``invoice`` of a subscription.
        payer: the ``customer``; the same by a ``second account``; a ``guest``; or ``named late``: a
            guest of whom the Checkout Session says in the end that it is the customer.
        collected: of what was asked for; 0: given up; ``None``: nobody knows yet.
        by: ``card``; ``hand``: authorised, and collected later; ``bank``: under way for days.
        declined: how often a card was declined before.
    """

    number: int
    way: Way
    payer: Payer
    currency: str
    asked: int
    collected: int | None
    by: By = "card"
    declined: int = 0


@dataclass(frozen=True)
class Refund:
    """Money of a payment that was given back, or was to be.

    Attributes:
        waits: whether it was pending first.
    """

    number: int
    of: int
    amount: int
    outcome: Outcome
    waits: bool = False


@dataclass(frozen=True)
class Dispute:
    """A payment that the buyer's bank asks about, or takes back.

    Attributes:
        path: its statuses.
        fee: what the bank takes for it, in the currency of the store's balance.
        fee_returned: whether it gives that back with the amount.
    """

    number: int
    of: int
    amount: int
    path: tuple[str, ...]
    fee: int
    fee_currency: str
    fee_returned: bool = False


@dataclass(frozen=True)
class Credit:
    """A credit note for a payment's invoice: what was given by a refund, to the balance, outside of
    Stripe, or before the invoice was paid."""

    number: int
    of: int
    refunded: int = 0
    to_balance: int = 0
    outside: int = 0
    before: int = 0


@dataclass(frozen=True)
class Adjustment:
    """A change of the customer's balance; below zero is in the customer's favour.

    Attributes:
        kind: ``initial``: the customer was made with it.
    """

    number: int
    currency: str
    amount: int
    kind: Change = "adjustment"


@dataclass(frozen=True)
class CashRefund:
    """Money of the customer's cash balance, given back: no charge has it."""

    number: int
    currency: str
    amount: int


Movement = Payment | Refund | Dispute | Credit | Adjustment | CashRefund


@dataclass(frozen=True)
class Plan:
    """Movements in their order, and how they were told.

    Attributes:
        versions: the API version of the events, and the one it was upgraded to...
        upgraded_after: ...after that many movements.
        seconds: between an event and the next.
        order: by which its events are shuffled.
    """

    movements: tuple[Movement, ...]
    versions: tuple[str, str]
    upgraded_after: int = 0
    seconds: int = 1
    order: int = 0

    def without(self, movement: Movement) -> Plan:
        """The plan without a movement, and without those that are of it."""
        left = [m for m in self.movements if m is not movement and _of(m) != movement.number]
        return replace(self, movements=tuple(left))

    def payments(self) -> Mapping[int, Payment]:
        return {m.number: m for m in self.movements if isinstance(m, Payment)}

    def whose(self, movement: Movement) -> str:
        """The e-mail address of whose money it is."""
        if isinstance(movement, Payment):
            # Guests with one address are one customer.
            guest = f"guest{movement.number % 2}@x.example"
            return guest if movement.payer == "guest" else BUYER
        if isinstance(movement, Refund | Dispute):
            return self.whose(self.payments()[movement.of])
        return BUYER

    def sums(self) -> dict[str, Sums]:
        """Everybody's money: captured, less refunds that succeeded, lost disputes, and fees."""
        total: dict[str, Counter[str]] = {}
        for movement in self.movements:
            theirs = total.setdefault(self.whose(movement), Counter())
            theirs.update(self._money(movement))
        return {who: _without_zeros(money) for who, money in total.items()}

    def _money(self, movement: Movement) -> Sums:
        if isinstance(movement, Payment):
            return {movement.currency: movement.collected or 0}
        if isinstance(movement, Refund):
            given = movement.amount if movement.outcome == "succeeded" else 0
            return {self.payments()[movement.of].currency: -given}
        if isinstance(movement, CashRefund):
            return {movement.currency: -movement.amount}
        if isinstance(movement, Credit):
            return {self.payments()[movement.of].currency: -movement.refunded}
        if isinstance(movement, Dispute):
            money = Counter[str]()
            if movement.path[-1] == "lost":
                money[self.payments()[movement.of].currency] -= movement.amount
            if _takes_money(movement) and not _gives_fee_back(movement):
                money[movement.fee_currency] -= movement.fee
            return money
        return {}

    def adjustments(self) -> list[tuple[str, int]]:
        """Everything that is no money of the store's own: each change of the customer's balance,
        and what was credited outside of Stripe."""
        found = []
        for movement in self.movements:
            if isinstance(movement, Adjustment):
                found.append((movement.currency, movement.amount))
            elif isinstance(movement, Credit):
                currency = self.payments()[movement.of].currency
                found += [(currency, -movement.to_balance), (currency, -movement.outside)]
        return sorted(each for each in found if each[1])

    def disputed(self) -> dict[int, int]:
        """What each dispute has taken so far, by its number: below zero."""
        return {
            m.number: -m.amount if _takes_money(m) and m.path[-1] != "won" else 0
            for m in self.movements
            if isinstance(m, Dispute)
        }

    def refunded(self) -> dict[int, str]:
        """How much of each payment that was collected went back, by its number."""
        given = Counter[int]()
        for movement in self.movements:
            if isinstance(movement, Refund) and movement.outcome in ("succeeded", "pending"):
                given[movement.of] += movement.amount
            elif isinstance(movement, Credit):
                given[movement.of] += movement.refunded
        return {
            number: ("no" if not given[number] else "partly")
            if given[number] < payment.collected
            else "fully"
            for number, payment in self.payments().items()
            if payment.collected
        }


def _of(movement: Movement) -> int | None:
    return movement.of if isinstance(movement, Refund | Dispute | Credit) else None


def _without_zeros(money: Mapping[str, int]) -> Sums:
    return {currency: amount for currency, amount in money.items() if amount}


def _takes_money(dispute: Dispute) -> bool:
    return any(s in ("needs_response", "under_review", "won", "lost") for s in dispute.path)


def _gives_fee_back(dispute: Dispute) -> bool:
    return dispute.path[-1] == "won" and dispute.fee_returned


# -- what Stripe tells of it -----------------------------------------------------------------------


@dataclass
class Told:
    """Stripe's objects, in the newest shape, and its events, in their order."""

    plan: Plan
    version: str
    objects: dict[str, Raw] = field(default_factory=dict)
    events: list[Raw] = field(default_factory=list)

    @property
    def now(self) -> int:
        return AT + len(self.events) * self.plan.seconds

    @property
    def rests_are_refunds(self) -> bool:
        return self.version < RESTS_ARE_NO_REFUNDS

    def add(self, kind: str, id_: str, **fields: Any) -> Raw:
        common = {"id": id_, "object": kind, "created": self.now, "livemode": True, "metadata": {}}
        self.objects[id_] = {**common, **fields}
        return self.objects[id_]

    def send(self, type_: str, about: Raw, **changes: Any) -> None:
        """Change an object, and send the event that tells it."""
        before = self._shown(clone(about))
        about.update(changes)
        after = self._shown(clone(about))
        data: Raw = {"object": after}
        if not type_.endswith((".created", ".succeeded", ".pending", ".completed")):
            data["previous_attributes"] = difference(before, after)
        self.events.append(
            {
                "id": f"evt_{len(self.events)}",
                "object": "event",
                "api_version": self.version,
                "created": self.now,
                "livemode": True,
                "type": type_,
                "data": data,
            }
        )

    def _shown(self, raw: Raw) -> Raw:
        """An object as the API version of the moment shows it."""
        shown = {name: value for name, value in raw.items() if not name.startswith("_")}
        kind = raw["object"]
        if kind == "charge" and self.version < REFUNDS_IN_CHARGES:
            refunds = [o for o in self.objects.values() if o["object"] == "refund"]
            mine = [clone(r) for r in reversed(refunds) if r["charge"] == raw["id"]]
            shown["refunds"] = {"object": "list", "data": mine, "has_more": False}
        if not self.rests_are_refunds:
            return shown
        if kind in ("charge", "payment_intent"):
            shown["invoice"] = raw.get("_invoice")
        if kind == "charge":
            shown["amount_refunded"] += raw["_rest"]
            shown["refunded"] = shown["amount_refunded"] == raw["amount"]
        elif kind == "invoice":
            details = shown.pop("parent")["subscription_details"]
            shown |= {"subscription": details["subscription"], "payment_intent": raw["_paid_by"]}
        elif kind == "credit_note":
            refunds = shown.pop("refunds")
            shown["refund"] = refunds[0]["refund"] if refunds else None
        elif kind == "subscription":
            (item,) = shown["items"]["data"]
            shown["current_period_end"] = item.pop("current_period_end")
        return shown


def told(plan: Plan) -> Told:
    """The objects and events of a plan."""
    stripe = Told(plan, plan.versions[0])
    _begin(stripe)
    for number, movement in enumerate(plan.movements):
        stripe.version = plan.versions[number >= plan.upgraded_after]
        if isinstance(movement, Payment):
            _pay(stripe, movement)
        elif isinstance(movement, Refund):
            _give_back(stripe, movement)
        elif isinstance(movement, Dispute):
            _dispute(stripe, movement)
        elif isinstance(movement, Credit):
            _credit(stripe, movement)
        elif isinstance(movement, CashRefund):
            refund = _refund(stripe, f"re_{movement.number}", movement.amount, "succeeded")
            stripe.send("refund.created", refund, currency=movement.currency, customer="cus_1")
        elif movement.kind != "initial":
            _change_balance(stripe, movement.number, movement.amount, movement.currency)
    for id_ in [id_ for id_, raw in stripe.objects.items() if raw.get("_of_nothing")]:
        del stripe.objects[id_]
    return stripe


def _begin(stripe: Told) -> None:
    stripe.add("product", "prod_1", name="Signals")
    who = {"name": "Ann", "email": BUYER, "metadata": {"grouptizer_id": "gz_1"}}
    customer = stripe.add("customer", "cus_1", balance=0, **who)
    for movement in stripe.plan.movements:
        if isinstance(movement, Adjustment) and movement.kind == "initial":
            _add_to_balance(stripe, movement.number, movement.amount, movement.currency, "initial")
            customer["balance"] += movement.amount
    stripe.send("customer.created", customer)
    if any(payment.payer == "second account" for payment in stripe.plan.payments().values()):
        stripe.send("customer.created", stripe.add("customer", "cus_2", balance=0, **who))


def _session(stripe: Told, id_: str, customer: str | None, email: str, intent: str) -> Raw:
    return stripe.add(
        "checkout.session",
        id_,
        mode="payment",
        status="complete",
        payment_status="unpaid",
        payment_intent=intent,
        subscription=None,
        customer=customer,
        customer_details={"email": email, "name": "Ann"},
        metadata={"product_id": "prod_1"},
    )


def _pay(stripe: Told, payment: Payment) -> None:
    number, by_hand = payment.number, payment.by == "hand"
    customer = ACCOUNTS.get(payment.payer)
    email = stripe.plan.whose(payment)
    invoice = _bill(stripe, payment) if payment.way == "invoice" else None
    has_intent = payment.way not in ("charge", "old charge")
    metadata = {} if payment.way in ("session", "invoice") else {"product_id": "prod_1"}
    intent = None
    if has_intent:
        intent = stripe.add(
            "payment_intent",
            f"pi_{number}",
            amount=payment.asked,
            currency=payment.currency,
            customer=customer,
            status="requires_payment_method",
            latest_charge=None,
            last_payment_error=None,
            metadata=metadata,
            payment_details={"order_reference": invoice and invoice["id"]},
            _invoice=invoice and invoice["id"],
        )
    for attempt in range(payment.declined):
        if intent is None:
            break  # a declined charge would be another payment
        charge = _charge(stripe, payment, intent, f"ch_{number}x{attempt}", email)
        stripe.send("charge.failed", charge, status="failed", captured=False)
        error = {"type": "card_error"}
        intent |= {"latest_charge": charge["id"], "last_payment_error": error}
        stripe.send("payment_intent.payment_failed", intent)
    charge = _charge(stripe, payment, intent, _charge_id(payment), email)
    if intent is not None:
        intent |= {"latest_charge": charge["id"], "last_payment_error": None}
    if by_hand:
        charge |= {"captured": False, "amount_captured": 0}
        stripe.send("charge.succeeded", charge)
    elif payment.by == "bank":
        charge |= {"status": "pending", "amount_captured": 0}
        stripe.send("charge.pending", charge)
        if intent is not None:
            stripe.send("payment_intent.processing", intent, status="processing")
    session = None
    if payment.way == "session":
        payer = "cus_1" if payment.payer == "named late" else customer
        session = _session(stripe, f"cs_{number}", payer, email, f"pi_{number}")
        if payment.by != "card":
            stripe.send("checkout.session.completed", session)
    if payment.collected:
        _collect(stripe, payment, charge, intent, session)
        if invoice is not None:
            _settle_invoice(stripe, invoice, charge)
    elif payment.collected == 0:
        _give_up(stripe, payment, charge, intent, session)


def _charge_id(payment: Payment) -> str:
    return f"{'py' if payment.way == 'old charge' else 'ch'}_{payment.number}"


def _charge(stripe: Told, payment: Payment, intent: Raw | None, id_: str, email: str) -> Raw:
    return stripe.add(
        "charge",
        id_,
        amount=payment.asked,
        amount_captured=payment.asked,
        amount_refunded=0,
        captured=True,
        refunded=False,
        status="succeeded",
        currency=payment.currency,
        customer=ACCOUNTS.get(payment.payer),
        payment_intent=intent and intent["id"],
        billing_details={"email": email, "name": "Ann"},
        payment_method_details={"type": "card", "card": {"brand": "visa", "last4": "4242"}},
        metadata=intent["metadata"] if intent else {"product_id": "prod_1"},
        _invoice=intent and intent["_invoice"],
        _rest=0,
    )


def _collect(
    stripe: Told, payment: Payment, charge: Raw, intent: Raw | None, session: Raw | None
) -> None:
    if payment.by == "hand":
        charge |= {"captured": True, "amount_captured": payment.collected}
        _leave_rest(stripe, charge, payment.asked - (payment.collected or 0), "charge.captured")
    else:
        charge |= {"amount_captured": payment.asked}
        stripe.send("charge.succeeded", charge, status="succeeded")
    if intent is not None:
        stripe.send("payment_intent.succeeded", intent, status="succeeded")
    if session is not None and payment.by != "hand":
        late = payment.by == "bank"
        name = "async_payment_succeeded" if late else "completed"
        stripe.send(f"checkout.session.{name}", session, payment_status="paid")


def _give_up(
    stripe: Told, payment: Payment, charge: Raw, intent: Raw | None, session: Raw | None
) -> None:
    if payment.by == "hand":
        name = "charge.refunded" if stripe.rests_are_refunds else "charge.expired"
        _leave_rest(stripe, charge, payment.asked, name)
        if intent is not None:
            stripe.send("payment_intent.canceled", intent, status="canceled")
        return
    stripe.send("charge.failed", charge, status="failed", captured=False)
    if intent is not None:
        intent |= {"status": "requires_payment_method"}
        error = {"type": "card_error"}
        stripe.send("payment_intent.payment_failed", intent, last_payment_error=error)
    if session is not None:
        name = "async_payment_failed" if payment.by == "bank" else "expired"
        stripe.send(f"checkout.session.{name}", session)


def _leave_rest(stripe: Told, charge: Raw, rest: int, event: str) -> None:
    """What is not collected of an authorisation: a refund, by API versions before 2025-03-31."""
    if rest and stripe.rests_are_refunds:
        charge["_rest"] = rest
        refund = _refund(stripe, f"re_{charge['id'][3:]}rest", rest, "succeeded", charge)
        refund["_of_nothing"] = True
        stripe.send("refund.created", refund)
    stripe.send(event, charge)


def _bill(stripe: Told, payment: Payment) -> Raw:
    """An invoice of the customer's subscription in this currency."""
    subscription = f"sub_{payment.currency}"
    if subscription not in stripe.objects:
        price = {"id": "price_1", "product": "prod_1"}
        item = {"id": f"si_{subscription}", "price": price, "current_period_end": AT + 30 * DAY}
        made = stripe.add(
            "subscription",
            subscription,
            customer="cus_1",
            status="active",
            items={"object": "list", "data": [item], "has_more": False},
        )
        stripe.send("customer.subscription.created", made)
    invoice = stripe.add(
        "invoice",
        f"in_{payment.number}",
        customer="cus_1",
        currency=payment.currency,
        status="open",
        amount_remaining=payment.asked,
        parent={"subscription_details": {"subscription": subscription}},
        _paid_by=None,
    )
    stripe.send("invoice.finalized", invoice)
    return invoice


def _settle_invoice(stripe: Told, invoice: Raw, charge: Raw) -> None:
    invoice["_paid_by"] = charge["payment_intent"]
    stripe.send("invoice.paid", invoice, status="paid", amount_remaining=0)
    paid_by = {"type": "payment_intent", "payment_intent": charge["payment_intent"]}
    payment = stripe.add(
        "invoice_payment",
        invoice["id"].replace("in_", "inpay_"),
        invoice=invoice["id"],
        payment=paid_by,
        status="paid",
    )
    if not stripe.rests_are_refunds:
        stripe.send("invoice_payment.paid", payment)


def _refund(stripe: Told, id_: str, amount: int, status: str, charge: Raw | None = None) -> Raw:
    return stripe.add(
        "refund",
        id_,
        amount=amount,
        currency=charge and charge["currency"],
        charge=charge and charge["id"],
        payment_intent=charge and charge["payment_intent"],
        customer=charge and charge["customer"],
        status=status,
        reason=None,
    )


def _give_back(stripe: Told, movement: Refund) -> None:
    payment = stripe.plan.payments()[movement.of]
    charge, outcome = stripe.objects[_charge_id(payment)], movement.outcome
    waits = movement.waits or outcome != "succeeded"
    id_ = f"{'pyr' if payment.way == 'old charge' else 're'}_{movement.number}"
    status = "pending" if waits else "succeeded"
    refund = _refund(stripe, id_, movement.amount, status, charge)
    _tell_refund(stripe, refund, charge)
    if not waits or outcome == "pending":
        return
    failed = outcome in ("failed", "canceled")
    name = "refund.updated" if stripe.version >= REFUNDS_IN_CHARGES else "charge.refund.updated"
    stripe.send("refund.failed" if outcome == "failed" else name, refund, status=outcome)
    if failed:
        charge["amount_refunded"] -= movement.amount
        stripe.send("charge.updated", charge, refunded=False)


def _tell_refund(stripe: Told, refund: Raw, charge: Raw) -> None:
    given = charge["amount_refunded"] + refund["amount"]
    if stripe.version >= REFUNDS_IN_CHARGES:
        stripe.send("refund.created", refund)
    fully = given == charge["amount_captured"]
    stripe.send("charge.refunded", charge, amount_refunded=given, refunded=fully)


def _dispute(stripe: Told, movement: Dispute) -> None:
    charge = stripe.objects[_charge_id(stripe.plan.payments()[movement.of])]
    first, *others = movement.path
    dispute = stripe.add(
        "dispute",
        f"du_{movement.number}",
        amount=movement.amount,
        currency=charge["currency"],
        charge=charge["id"],
        payment_intent=charge["payment_intent"],
        status=first,
        reason="fraudulent",
        balance_transactions=[],
    )
    stripe.send("charge.dispute.created", dispute)
    _move(stripe, movement, dispute)
    for status in others:
        closed = status in ("won", "lost", "warning_closed")
        name = "closed" if closed else "updated"
        stripe.send(f"charge.dispute.{name}", dispute, status=status)
        _move(stripe, movement, dispute)


def _move(stripe: Told, movement: Dispute, dispute: Raw) -> None:
    """The bank takes the money with its first word that isn't an inquiry, and gives it back when
    the dispute is won."""
    moved, status = dispute["balance_transactions"], dispute["status"]
    # The store's balance may have another currency than the payment.
    amount = movement.amount if movement.fee_currency == dispute["currency"] else 7
    if not moved and status in ("needs_response", "under_review", "won", "lost"):
        taken = _moved(stripe, movement, 0, -amount, movement.fee)
        stripe.send("charge.dispute.funds_withdrawn", dispute, balance_transactions=[taken])
        moved = [taken]
    if status == "won":
        fee = -movement.fee if movement.fee_returned else 0
        given = _moved(stripe, movement, 1, amount, fee)
        both = [*moved, given]
        stripe.send("charge.dispute.funds_reinstated", dispute, balance_transactions=both)


def _moved(stripe: Told, movement: Dispute, part: int, amount: int, fee: int) -> Raw:
    return {
        "id": f"txn_{movement.number}x{part}",
        "amount": amount,
        "fee": fee,
        "currency": movement.fee_currency,
        "created": stripe.now,
    }


def _credit(stripe: Told, movement: Credit) -> None:
    payment = stripe.plan.payments()[movement.of]
    charge, number = stripe.objects[_charge_id(payment)], movement.number
    note = stripe.add(
        "credit_note",
        f"cn_{number}",
        customer="cus_1",
        currency=payment.currency,
        amount=movement.refunded + movement.to_balance + movement.outside + movement.before,
        invoice=f"in_{payment.number}",
        status="issued",
        reason=None,
        memo=None,
        type="pre_payment" if movement.before else "post_payment",
        customer_balance_transaction=None,
        out_of_band_amount=movement.outside or None,
        refunds=[],
    )
    if movement.refunded:
        refund = _refund(stripe, f"re_{number}", movement.refunded, "succeeded", charge)
        note["refunds"] = [{"refund": refund["id"], "amount_refunded": movement.refunded}]
        _tell_refund(stripe, refund, charge)
    if movement.to_balance:
        note["customer_balance_transaction"] = f"cbtxn_{number}"
        _change_balance(stripe, number, -movement.to_balance, payment.currency)
    stripe.send("credit_note.created", note)


def _change_balance(stripe: Told, number: int, amount: int, currency: str) -> None:
    _add_to_balance(stripe, number, amount, currency, "adjustment")
    customer = stripe.objects["cus_1"]
    stripe.send("customer.updated", customer, balance=customer["balance"] + amount)


def _add_to_balance(stripe: Told, number: int, amount: int, currency: str, kind: str) -> None:
    stripe.add(
        "customer_balance_transaction",
        f"cbtxn_{number}",
        customer="cus_1",
        amount=amount,
        currency=currency,
        type=kind,
    )
