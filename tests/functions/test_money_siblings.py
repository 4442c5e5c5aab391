"""More of each kind of the recorded cases: told in any order, and in both ages of Stripe's API."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.domain.transaction import transaction_id_of
from standins.stripe import StripeStandin
from tests.functions.test_money_cases import LastTold, differences, pages, products_of
from tests.functions.webhook_world import World

AT = 1_790_000_000
ACACIA, BASIL = "2024-12-18.acacia", "2026-10-28.endive"
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

    def authorised(self, **more: Any) -> Story:
        return self.charge(captured=False, amount_captured=0, **more)

    def intent(self, status: str, **more: Any) -> Story:
        intent = {
            "id": "pi_1",
            "object": "payment_intent",
            "customer": "cus_1",
            "amount": 1000,
            "latest_charge": "ch_1",
            "last_payment_error": None,
        }
        return self.tell(f"payment_intent.{status}", **intent | {"status": status} | more)

    def refund(self, id_: str, amount: int, **more: Any) -> Story:
        refund = {"object": "refund", "charge": "ch_1", "payment_intent": "pi_1"}
        told = {"id": id_, "amount": amount, "status": "succeeded", "reason": None}
        return self.tell("refund.created", **refund | told | more)

    def session(self, **more: Any) -> Story:
        session = {
            "id": "cs_1",
            "object": "checkout.session",
            "mode": "payment",
            "status": "complete",
            "payment_status": "unpaid",
            "payment_intent": "pi_1",
            "customer": "cus_1",
            "customer_details": {"name": "Ann", "email": "ann@shop.example"},
            "metadata": PRODUCT,
        }
        return self.tell("checkout.session.completed", **session | more)

    def dispute(self, status: str, moved: list[int], **more: Any) -> Story:
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
                    "fee": 1500 if amount < 0 else 0,
                    "currency": "eur",
                    "created": AT,
                }
                for number, amount in enumerate(moved)
            ],
        }
        return self.tell("charge.dispute.created", **dispute | more)

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


def rows(**expected: Any) -> dict[str, Any]:
    return {"transaction": expected}


SIBLINGS: dict[str, tuple[Story, dict[str, Any]]] = {
    "manual capture, metadata on the session, given up": (
        Story().customer().authorised().session().intent("canceled"),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "refunded": "no", "purchase_id": "pi_1"}),
        },
    ),
    "manual capture, metadata on the session, still open": (
        Story().customer().authorised().session(),
        {
            "purchase": {"pi_1": {"status": "pending"}},
            **rows(ch_1={"status": "uncaptured", "purchase_id": "pi_1"}),
        },
    ),
    "a bank debit, metadata on the session, told by its payment": (
        Story().customer().session().intent("succeeded").charge(),
        {"purchase": {"pi_1": {"status": "active", "access_state": "granted"}}},
    ),
    "a released authorisation, told by the charge alone": (
        Story(ACACIA)
        .customer()
        .authorised(metadata=PRODUCT)
        .charge(
            "refunded",
            captured=False,
            amount_captured=0,
            amount_refunded=1000,
            refunded=True,
            metadata=PRODUCT,
        ),
        {
            "purchase": {"pi_1": {"status": "failed"}},
            **rows(ch_1={"status": "released", "refunded": "no"}),
        },
    ),
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
    "the same capture, as newer versions tell it": (
        Story().customer().charge("captured", amount_captured=600).refund("re_given", 600),
        rows(ch_1={"amount": 600, "refunded": "fully"}, re_given={"amount": -600}),
    ),
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
    **{
        f"a dispute that is {status}": (
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
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_money_is_told_right_in_any_order_and_twice(name: str) -> None:
    story, expect = SIBLINGS[name]
    events = [*products_of(story.events), *story.events]
    dice = random.Random(name)
    for turn in range(20):
        standin = StripeStandin(now=AT)
        world = World(standin, stripe=LastTold(standin, events))
        order = [*events, *dice.sample(events, 2)]
        if turn:
            dice.shuffle(order)
        for event in order:
            assert world.receive(event) == "applied", event["type"]
        assert differences(pages(world), expect) == [], [event["type"] for event in order]


@pytest.mark.parametrize("field_", ["amount", "amount_captured", "amount_refunded", "status"])
@pytest.mark.parametrize("wrong", ["x", [], {}, True, None])
def test_a_malformed_charge_of_an_older_version_is_applied_or_parked(
    field_: str, wrong: Any
) -> None:
    story = Story(ACACIA).charge("captured", amount_captured=600)
    story.events[0]["data"]["object"][field_] = wrong
    assert World(StripeStandin(now=AT)).receive(story.events[0]) in ("applied", "parked")


@pytest.mark.parametrize("name", ["account", "user_id"])
@pytest.mark.parametrize(
    "told",
    [["acct_1"], True, 7, {"id": "acct_1"}, "a" * 3000, "acct_" + "1" * 3000, "acct_\ud800", ""],
    ids=["list", "true", "number", "object", "long", "long account", "half a surrogate", "empty"],
)
def test_what_can_be_no_account_is_never_the_default_store(name: str, told: Any) -> None:
    story = Story().customer()
    event = {**story.events[0], name: told}
    world = World(StripeStandin(now=AT))
    assert world.receive(event) == "parked"
    assert world.sources("PROFILE") == {}
    (parked,) = world.parked.all(None)
    assert json.loads(parked.body) == event
    assert parked.reason == "no store has registered this account"
