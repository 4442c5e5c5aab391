"""Stories of money, a few events each, and what the API must tell of them in the end.

They are more of each kind of the recorded cases of ``tests/fixtures/cases``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.domain.transaction import transaction_id_of

AT = 1_790_000_000
OLDEST, ACACIA, BASIL = "2020-08-27", "2024-12-18.acacia", "2026-10-28.endive"
PRODUCT = {"product_id": "prod_1", "telegram_user_id": "700001"}


@dataclass
class Story:
    """Events of one customer, a second apart."""

    version: str = BASIL
    events: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, type_: str, /, **about: Any) -> Story:
        at = AT + len(self.events)
        about = {"created": AT, "livemode": True, "metadata": {}, "currency": "eur", **about}
        told = {
            "id": f"evt_{len(self.events)}",
            "object": "event",
            "api_version": self.version,
            "created": at,
            "livemode": True,
            "type": type_,
            "data": {"object": about},
        }
        self.events.append(told)
        return self

    def upgraded(self) -> Story:
        """From here on the events are of the newest API version."""
        self.version = BASIL
        return self

    def customer(self) -> Story:
        return self.tell("customer.created", id="cus_1", object="customer", name="Ann")

    def charge(self, type_: str = "succeeded", **more: Any) -> Story:
        charge = {
            "id": "ch_1",
            "object": "charge",
            "customer": "cus_1",
            "amount": 1000,
            "amount_captured": 1000,
            "amount_refunded": 0,
            "captured": True,
            "refunded": False,
            "status": "succeeded",
            "payment_intent": "pi_1",
            "payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": "4242"}},
        }
        return self.tell(f"charge.{type_}", **charge | more)

    def bought_before(self, **more: Any) -> Story:
        """A payment that came about: without any, nobody is a customer."""
        return self.charge(id="ch_0", payment_intent="pi_0", metadata=PRODUCT, **more)

    def authorised(self, **more: Any) -> Story:
        return self.charge(captured=False, amount_captured=0, **more)

    def intent(self, type_: str, **more: Any) -> Story:
        intent = {
            "id": "pi_1",
            "object": "payment_intent",
            "customer": "cus_1",
            "amount": 1000,
            "latest_charge": "ch_1",
            "last_payment_error": None,
        }
        return self.tell(f"payment_intent.{type_}", **intent | {"status": type_} | more)

    def refund(self, id_: str, amount: int, type_: str = "created", **more: Any) -> Story:
        return self.tell(f"refund.{type_}", **refund(id_, amount, **more))

    def session(self, **more: Any) -> Story:
        session = {
            "id": "cs_1",
            "object": "checkout.session",
            "mode": "payment",
            "status": "complete",
            "payment_status": "unpaid",
            "payment_intent": "pi_1",
            "subscription": None,
            "customer": "cus_1",
            "customer_details": {"name": "Ann", "email": "ann@shop.example"},
            "metadata": PRODUCT,
        }
        return self.tell("checkout.session.completed", **session | more)

    def dispute(
        self,
        status: str,
        moved: list[int],
        type_: str = "created",
        fee_returned: int = 0,
        **more: Any,
    ) -> Story:
        dispute = {
            "id": "dp_1",
            "object": "dispute",
            "amount": 1000,
            "status": status,
            "reason": "fraudulent",
            "charge": "ch_1",
            "payment_intent": "pi_1",
            "balance_transactions": [
                {
                    "id": f"txn_{number}",
                    "amount": amount,
                    "fee": 1500 if amount < 0 else -fee_returned,
                    "currency": "eur",
                    "created": AT,
                }
                for number, amount in enumerate(moved)
            ],
        }
        return self.tell(f"charge.dispute.{type_}", **dispute | more)

    def credit_note(self, **more: Any) -> Story:
        note = {
            "id": "cn_1",
            "object": "credit_note",
            "customer": "cus_1",
            "invoice": "in_1",
            "amount": 500,
            "status": "issued",
            "reason": None,
            "memo": None,
            "type": "post_payment",
            "refunds": [],
        }
        return self.tell("credit_note.created", **note | more)

    def invoice(self, **more: Any) -> Story:
        """A subscription, and its first invoice, which is paid."""
        price = {"id": "price_1", "object": "price", "product": "prod_1"}
        item = {"id": "si_1", "price": price, "current_period_end": AT + 2_592_000}
        self.tell(
            "customer.subscription.created",
            id="sub_1",
            object="subscription",
            customer="cus_1",
            status="active",
            items={"object": "list", "data": [item], "has_more": False},
        )
        invoice = {
            "id": "in_1",
            "object": "invoice",
            "customer": "cus_1",
            "status": "paid",
            "amount_remaining": 0,
        }
        return self.tell("invoice.paid", **invoice | more)

    def invoice_paid_by(self, **payment: str) -> Story:
        return self.tell(
            "invoice_payment.paid",
            id="inpay_1",
            object="invoice_payment",
            invoice="in_1",
            payment=payment,
            status="paid",
        )


def refund(id_: str, amount: int, **more: Any) -> dict[str, Any]:
    told = {
        "id": id_,
        "object": "refund",
        "amount": amount,
        "currency": "eur",
        "created": AT,
        "status": "succeeded",
        "reason": None,
        "charge": "ch_1",
        "payment_intent": "pi_1",
    }
    return {**told, **more}


def listing(*held: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": [*held], "has_more": False}


PARENT = {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}}
COLLECTED = {"captured": True, "amount_captured": 600, "metadata": PRODUCT}
GIVEN_UP = {
    "captured": False,
    "amount_captured": 0,
    "amount_refunded": 1000,
    "refunded": True,
    "metadata": PRODUCT,
}
ALONE: dict[str, Any] = {"payment_intent": None, "metadata": PRODUCT}
GUEST: dict[str, Any] = {
    "customer": None,
    "billing_details": {"name": "Gus", "email": "gus@x.example"},
}


def rows(**expected: Any) -> dict[str, Any]:
    return {"transaction": expected}


STORIES: dict[str, tuple[Story, dict[str, Any]]] = {
    # -- collected by hand, the metadata on the session only -----------------------------------
    "by hand, metadata on the session, given up": (
        Story().customer().authorised().session().intent("canceled"),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "refunded": "no", "purchase_id": "pi_1"}),
        },
    ),
    "by hand, metadata on the session, still open": (
        Story().customer().authorised().session(),
        {
            "purchase": {"pi_1": {"status": "pending"}},
            **rows(ch_1={"status": "uncaptured", "purchase_id": "pi_1"}),
        },
    ),
    "by hand, metadata on the session, collected in part": (
        Story()
        .customer()
        .authorised()
        .session()
        .charge("captured", captured=True, amount_captured=600)
        .intent("succeeded"),
        {
            "purchase": {"pi_1": {"status": "active", "access_state": "granted"}},
            **rows(ch_1={"amount": 600, "refunded": "no", "purchase_id": "pi_1"}),
        },
    ),
    "by hand, a guest's": (
        Story()
        .authorised(**GUEST)
        .session(customer=None, customer_details=GUEST["billing_details"])
        .charge("captured", **GUEST)
        .intent("succeeded", customer=None),
        {
            "purchase": {"pi_1": {"status": "active", "access_state": "granted"}},
            **rows(ch_1={"amount": 1000, "purchase_id": "pi_1"}),
        },
    ),
    "by hand, by a guest whom the session calls a customer": (
        Story()
        .customer()
        .authorised(**GUEST)
        .session()
        .charge("captured", **GUEST)
        .intent("succeeded", customer=None)
        .refund("re_1", 400)
        .charge("refunded", amount_refunded=400, **GUEST),
        {
            "purchase": {"pi_1": {"status": "active", "access_state": "granted"}},
            **rows(
                ch_1={"amount": 1000, "refunded": "partly", "purchase_id": "pi_1"},
                re_1={"amount": -400, "purchase_id": "pi_1"},
            ),
            "sums": {"ch_1": 600},
        },
    ),
    "a bank debit, metadata on the session, told by its payment": (
        Story().customer().session().intent("succeeded").charge(),
        {"purchase": {"pi_1": {"status": "active", "access_state": "granted"}}},
    ),
    "a bank debit that fails, metadata on the session, told by its payment": (
        Story()
        .customer()
        .bought_before()
        .charge("pending", status="pending", amount_captured=0)
        .session()
        .charge("failed", status="failed", captured=False, amount_captured=0)
        .intent(
            "payment_failed",
            status="requires_payment_method",
            last_payment_error={"type": "card_error"},
        ),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "failed", "purchase_id": "pi_1"}),
        },
    ),
    # -- an authorisation that was given up, before 2025-03-31 and since -------------------------
    "given up, told by the charge alone": (
        Story(ACACIA).customer().authorised(metadata=PRODUCT).charge("refunded", **GIVEN_UP),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "refunded": "no"}),
        },
    ),
    "given up, told by its refund and its payment": (
        Story(ACACIA)
        .customer()
        .authorised(metadata=PRODUCT)
        .refund("re_1", 1000)
        .intent("canceled", metadata=PRODUCT),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "refunded": "no"}, re_1=None),
        },
    ),
    "given up, the refund within the charge": (
        Story(OLDEST)
        .customer()
        .authorised(metadata=PRODUCT, refunds=listing())
        .charge("refunded", **GIVEN_UP, refunds=listing(refund("re_1", 1000)))
        .intent("canceled", metadata=PRODUCT),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "refunded": "no"}, re_1=None),
        },
    ),
    "given up, a charge without a payment": (
        Story(ACACIA)
        .customer()
        .authorised(**ALONE)
        .refund("re_1", 1000, payment_intent=None)
        .charge("refunded", **GIVEN_UP, payment_intent=None),
        {
            "purchase": {"ch_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "refunded": "no", "purchase_id": "ch_1"}, re_1=None),
        },
    ),
    **{
        f"run out, {age}": (
            Story(version)
            .customer()
            .authorised(metadata=PRODUCT)
            .charge("expired", **gone)
            .intent("canceled", metadata=PRODUCT),
            {
                "purchase": {"pi_1": {"status": "failed"}},
                **rows(ch_1={"status": "released", "refunded": "no"}),
            },
        )
        for age, version, gone in [
            ("as older versions tell it", ACACIA, GIVEN_UP),
            ("as newer versions tell it", BASIL, {"captured": False, "metadata": PRODUCT}),
        ]
    },
    "run out, told by the charge alone": (
        Story()
        .customer()
        .authorised(metadata=PRODUCT)
        .authorised(type_="expired", metadata=PRODUCT),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "refunded": "no"}),
        },
    ),
    "given up, metadata on the charge only": (
        Story().customer().authorised(metadata=PRODUCT).intent("canceled"),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "purchase_id": "pi_1"}),
        },
    ),
    "given up, a guest's": (
        Story()
        .bought_before(**GUEST)
        .authorised(**GUEST, metadata=PRODUCT)
        .intent("canceled", customer=None, metadata=PRODUCT),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "purchase_id": "pi_1"}),
        },
    ),
    # -- collected in part -----------------------------------------------------------------------
    "the rest that was never collected, and a refund of the same amount": (
        Story(ACACIA)
        .customer()
        .refund("re_rest", 400)
        .charge("captured", amount_captured=600, amount_refunded=400)
        .refund("re_given", 400, created=AT + 60)
        .charge("refunded", amount_captured=600, amount_refunded=800),
        rows(
            ch_1={"amount": 600, "refunded": "partly"},
            re_rest=None,
            re_given={"amount": -400, "related_transaction_id": transaction_id_of("ch_1")},
        ),
    ),
    "the same, and the refund fails": (
        Story(ACACIA)
        .customer()
        .refund("re_rest", 400)
        .charge("captured", amount_captured=600, amount_refunded=400)
        .refund("re_given", 400, status="pending", created=AT + 60)
        .charge("refunded", amount_captured=600, amount_refunded=800)
        .refund("re_given", 400, "failed", status="failed", created=AT + 60)
        .charge("updated", amount_captured=600, amount_refunded=400),
        {
            **rows(
                ch_1={"amount": 600, "refunded": "no"},
                re_rest=None,
                re_given={"amount": -400, "status": "failed"},
            ),
            "sums": {"ch_1": 600},
        },
    ),
    "the rest within the charge": (
        Story(OLDEST)
        .customer()
        .authorised(refunds=listing())
        .charge(
            "captured",
            amount_captured=600,
            amount_refunded=400,
            refunds=listing(refund("re_rest", 400)),
        )
        .charge(
            "refunded",
            amount_captured=600,
            amount_refunded=500,
            refunds=listing(
                refund("re_given", 100, created=AT + 60),
                refund("re_rest", 400),
            ),
        ),
        {
            **rows(
                ch_1={"amount": 600, "refunded": "partly"},
                re_rest=None,
                re_given={"amount": -100},
            ),
            "sums": {"ch_1": 500},
        },
    ),
    "all that was collected goes back": (
        Story(ACACIA)
        .customer()
        .refund("re_rest", 400)
        .charge("captured", amount_captured=600, amount_refunded=400)
        .refund("re_given", 600, created=AT + 60)
        .charge("refunded", amount_captured=600, amount_refunded=1000, refunded=True),
        {
            **rows(
                ch_1={"amount": 600, "refunded": "fully"},
                re_rest=None,
                re_given={"amount": -600},
            ),
            "sums": {"ch_1": 0},
        },
    ),
    "the account is upgraded before the refund": (
        Story(ACACIA)
        .customer()
        .refund("re_rest", 400)
        .charge("captured", amount_captured=600, amount_refunded=400)
        .upgraded()
        .refund("re_given", 300, created=AT + 60)
        .charge("refunded", amount_captured=600, amount_refunded=300),
        {
            **rows(
                ch_1={"amount": 600, "refunded": "partly"},
                re_rest=None,
                re_given={"amount": -300},
            ),
            "sums": {"ch_1": 300},
        },
    ),
    "the same capture, as newer versions tell it": (
        Story().customer().charge("captured", amount_captured=600).refund("re_given", 600),
        rows(ch_1={"amount": 600, "refunded": "fully"}, re_given={"amount": -600}),
    ),
    # -- told of the charge only -----------------------------------------------------------------
    "all that was collected goes back, told by the charge alone": (
        Story()
        .customer()
        .charge("captured", **COLLECTED)
        .charge("refunded", **COLLECTED, amount_refunded=600, refunded=True),
        rows(ch_1={"amount": 600, "refunded": "fully"}),
    ),
    "a refund in parts, told by the charge alone": (
        Story()
        .customer()
        .charge()
        .charge("refunded", amount_refunded=300)
        .charge("refunded", amount_refunded=1000, refunded=True),
        rows(ch_1={"amount": 1000, "refunded": "fully"}),
    ),
    # -- a charge without a payment ----------------------------------------------------------------
    "a payment of an older kind, with its refund and its dispute": (
        Story(ACACIA)
        .customer()
        .charge(id="py_1", payment_intent=None, metadata=PRODUCT)
        .refund("pyr_1", 100, charge="py_1", payment_intent=None)
        .dispute("lost", [-1000], charge="py_1", payment_intent=None),
        {
            "purchase": {"py_1": {"status": "active"}},
            **rows(
                py_1={"purchase_id": "py_1", "refunded": "partly", "product": "prod_1"},
                pyr_1={"purchase_id": "py_1", "amount": -100},
                dp_1={"purchase_id": "py_1", "amount": -1000},
                txn_0={"purchase_id": "py_1", "amount": -1500},
            ),
        },
    ),
    "a guest's charge without a payment, given back": (
        Story(ACACIA)
        .charge(**ALONE, **GUEST)
        .refund("re_1", 1000, payment_intent=None)
        .charge("refunded", **ALONE, **GUEST, amount_refunded=1000, refunded=True),
        {
            "purchase": {"ch_1": {"status": "active"}},
            **rows(
                ch_1={"purchase_id": "ch_1", "refunded": "fully"},
                re_1={"purchase_id": "ch_1", "amount": -1000},
            ),
            "sums": {"ch_1": 0},
        },
    ),
    # -- an invoice that a charge without a payment paid -------------------------------------------
    **{
        f"an invoice paid by {id_}, with its refund, its dispute and its credit": (
            Story()
            .customer()
            .invoice(parent=PARENT)
            .charge(id=id_, payment_intent=None)
            .invoice_paid_by(type="charge", charge=id_)
            .refund("re_1", 300, charge=id_, payment_intent=None)
            .dispute("needs_response", [-700], charge=id_, payment_intent=None, amount=700)
            .credit_note(amount=300, refunds=[{"refund": "re_1", "amount_refunded": 300}]),
            {
                **rows(
                    **{id_: {"purchase_id": "sub_1", "refunded": "partly"}},
                    re_1={"purchase_id": "sub_1", "amount": -300},
                    dp_1={"purchase_id": "sub_1", "amount": -700},
                    txn_0={"purchase_id": "sub_1", "amount": -1500},
                    cn_1={"purchase_id": "sub_1", "amount": 0},
                )
            },
        )
        for id_ in ("ch_1", "py_1")
    },
    "an invoice paid by a charge, as older versions tell it": (
        Story(ACACIA)
        .customer()
        .charge(payment_intent=None, invoice="in_1")
        .invoice(subscription="sub_1", payment_intent=None, charge="ch_1"),
        rows(ch_1={"purchase_id": "sub_1", "product": "prod_1"}),
    ),
    # -- a refund without a charge -----------------------------------------------------------------
    "a refund of a cash balance": (
        Story().customer().refund("re_1", 700, charge=None, payment_intent=None, customer="cus_1"),
        rows(
            re_1={
                "amount": -700,
                "purchase_id": None,
                "provider_url": "https://dashboard.stripe.com/customers/cus_1",
            }
        ),
    ),
    "a refund of a cash balance that fails": (
        Story()
        .customer()
        .refund("re_1", 700, charge=None, payment_intent=None, customer="cus_1", status="pending")
        .refund(
            "re_1",
            700,
            "failed",
            charge=None,
            payment_intent=None,
            customer="cus_1",
            status="failed",
        ),
        {**rows(re_1={"amount": -700, "status": "failed"}), "sums": {"re_1": 0}},
    ),
    "a refund that names its payment only": (
        Story().customer().charge().intent("succeeded").refund("re_1", 400, charge=None),
        {
            **rows(ch_1={"refunded": "partly"}, re_1={"amount": -400}),
            "sums": {"re_1": 600},
        },
    ),
    # -- credit notes ------------------------------------------------------------------------------
    "a credit to the balance": (
        Story().customer().credit_note(customer_balance_transaction="cbtxn_1"),
        rows(cn_1={"type": "adjustment", "amount": 0}),
    ),
    "a credit before the invoice is paid": (
        Story().customer().credit_note(type="pre_payment"),
        rows(cn_1={"type": "adjustment", "amount": 0}),
    ),
    "a credit outside of Stripe": (
        Story().customer().credit_note(out_of_band_amount=200),
        rows(cn_1={"type": "adjustment", "amount": -200}),
    ),
    "a credit by an older kind of refund": (
        Story(ACACIA).customer().charge().refund("re_1", 500).credit_note(refund="re_1"),
        {**rows(cn_1={"amount": 0}, re_1={"amount": -500}), "sums": {"re_1": 500}},
    ),
    "a credit in three ways at once": (
        Story()
        .customer()
        .charge()
        .refund("re_1", 200)
        .credit_note(
            amount=500,
            refunds=[{"refund": "re_1", "amount_refunded": 200}],
            customer_balance_transaction="cbtxn_1",
            out_of_band_amount=100,
        ),
        rows(cn_1={"amount": -100}, re_1={"amount": -200}),
    ),
    "a credit by two refunds": (
        Story()
        .customer()
        .charge()
        .refund("re_1", 200)
        .refund("re_2", 300)
        .credit_note(
            refunds=[
                {"refund": "re_1", "amount_refunded": 200},
                {"refund": "re_2", "amount_refunded": 300},
            ]
        ),
        {
            **rows(ch_1={"refunded": "partly"}, cn_1={"amount": 0}),
            "sums": {"cn_1": 500},
        },
    ),
    "a credit by a refund that fails": (
        Story()
        .customer()
        .charge()
        .refund("re_1", 500)
        .credit_note(refunds=[{"refund": "re_1", "amount_refunded": 500}])
        .refund("re_1", 500, "failed", status="failed"),
        {
            **rows(ch_1={"refunded": "no"}, cn_1={"amount": 0}),
            "sums": {"cn_1": 1000},
        },
    ),
    "a credit that is taken back": (
        Story()
        .customer()
        .charge()
        .credit_note(type="pre_payment")
        .tell(
            "credit_note.voided",
            id="cn_1",
            object="credit_note",
            customer="cus_1",
            invoice="in_1",
            amount=500,
            status="void",
            type="pre_payment",
        ),
        {**rows(cn_1={"status": "void", "amount": 0}), "sums": {"cn_1": 1000}},
    ),
    # -- disputes ----------------------------------------------------------------------------------
    **{
        f"a dispute that is {status}, of which {len(moved)} movements are told": (
            Story().customer().charge().dispute(status, moved),
            rows(dp_1={"status": status, "amount": amount}),
        )
        for status, moved, amount in [
            ("warning_needs_response", [], 0),
            ("warning_under_review", [], 0),
            ("warning_closed", [], 0),
            ("needs_response", [], 0),
            ("needs_response", [-1000], -1000),
            ("under_review", [-1000], -1000),
            ("prevented", [], 0),
            ("won", [-1000, 1000], 0),
            ("lost", [-1000], -1000),
        ]
    },
    "an inquiry that becomes a dispute and is lost": (
        Story()
        .customer()
        .charge()
        .dispute("warning_needs_response", [])
        .dispute("needs_response", [-1000], "funds_withdrawn")
        .dispute("lost", [-1000], "closed"),
        {
            **rows(dp_1={"status": "lost", "amount": -1000}, txn_0={"amount": -1500}),
            "sums": {"dp_1": -1500},
        },
    ),
    "a dispute that is won, and its fee returned": (
        Story()
        .customer()
        .charge()
        .dispute("needs_response", [-1000])
        .dispute("won", [-1000], "closed")
        .dispute("won", [-1000, 1000], "funds_reinstated", fee_returned=1500),
        {
            **rows(
                dp_1={"status": "won", "amount": 0},
                txn_0={"amount": -1500},
                txn_1={"amount": 1500},
            ),
            "sums": {"dp_1": 1000},
        },
    ),
    "a dispute of what a refund left": (
        Story()
        .customer()
        .charge()
        .refund("re_1", 300)
        .dispute("needs_response", [-700], amount=700)
        .dispute("lost", [-700], "closed", amount=700),
        {
            **rows(ch_1={"refunded": "partly"}, dp_1={"amount": -700}),
            "sums": {"dp_1": -1500},
        },
    ),
    "two disputes of one charge": (
        Story()
        .customer()
        .charge()
        .dispute("won", [-1000, 1000])
        .dispute(
            "lost",
            [],
            id="dp_2",
            balance_transactions=[
                {"id": "txn_x", "amount": -1000, "fee": 1500, "currency": "eur", "created": AT}
            ],
        ),
        {
            **rows(dp_1={"amount": 0}, dp_2={"amount": -1000}, txn_x={"amount": -1500}),
            "sums": {"dp_1": -3000},
        },
    ),
}
