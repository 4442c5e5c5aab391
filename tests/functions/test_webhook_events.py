"""Every row of the dispatch table, in every shape: what each event leaves behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shared.domain import stripe_objects as of
from shared.integrations.stripe_gateway import Raw
from shared.stripe_events.event import Event
from shared.stripe_events.events import HANDLERS
from standins.stripe import OLDEST, StripeStandin
from tests.functions.webhook_world import STORE, InProcessStripe, World

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "stripe"
NEW, OLD = FIXTURES / "2026-10-28", FIXTURES / "2020-08-27"

# What an event leaves: the record's key begins with, the source's name (`re_`: a refund's id),
# and what the source says.
LEAVES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "customer.created": ("PROFILE", "customer", {"name": "Jane Doe", "grouptizer_id": "gz-1"}),
    "customer.updated": ("PROFILE", "customer", {"name": "Jane Roe", "deleted": False}),
    "customer.deleted": ("PROFILE", "customer", {"name": "Jane Roe", "deleted": True}),
    "customer.subscription.created": ("PURCHASE#sub_", "subscription", {"status": "incomplete"}),
    "customer.subscription.updated": ("PURCHASE#sub_", "subscription", {"status": "active"}),
    "customer.subscription.paused": ("PURCHASE#sub_", "subscription", {"status": "paused"}),
    "customer.subscription.resumed": ("PURCHASE#sub_", "subscription", {"status": "active"}),
    "customer.subscription.trial_will_end": (
        "PURCHASE#sub_",
        "subscription",
        {"status": "trialing", "trial_end": 1790345600},
    ),
    "customer.subscription.pending_update_applied": (
        "PURCHASE#sub_",
        "subscription",
        {"telegram_user_id": "700002"},
    ),
    "customer.subscription.pending_update_expired": (
        "PURCHASE#sub_",
        "subscription",
        {"telegram_user_id": "700002"},
    ),
    "customer.subscription.deleted": ("PURCHASE#sub_", "subscription", {"status": "canceled"}),
    "checkout.session.completed": (
        "PURCHASE#pi_",
        "session",
        {"outcome": "completed", "payment_status": "paid", "telegram_user_id": "700001"},
    ),
    "checkout.session.async_payment_succeeded": (
        "PURCHASE#pi_",
        "session",
        {"payment_status": "paid"},
    ),
    "checkout.session.async_payment_failed": (
        "PURCHASE#pi_",
        "session",
        {"outcome": "failed", "payment_status": "unpaid"},
    ),
    "checkout.session.expired": ("PURCHASE#pi_", "session", {"outcome": "expired"}),
    "payment_intent.processing": ("PURCHASE#pi_", "payment_intent", {"status": "processing"}),
    "payment_intent.payment_failed": ("PURCHASE#pi_", "payment_intent", {"failed": True}),
    "payment_intent.succeeded": ("PURCHASE#pi_", "payment_intent", {"status": "succeeded"}),
    "payment_intent.canceled": ("PURCHASE#pi_", "payment_intent", {"status": "canceled"}),
    "charge.pending": ("TXN#", "charge", {"status": "pending"}),
    "charge.failed": ("TXN#", "charge", {"status": "failed"}),
    "charge.succeeded": ("TXN#", "charge", {"status": "succeeded"}),
    "charge.captured": ("TXN#", "charge", {"captured": True}),
    "charge.expired": ("TXN#", "released", {}),
    "charge.updated": ("PURCHASE#pi_", "charge", {"telegram_user_id": "700002"}),
    "charge.refunded": ("TXN#", "charge", {"amount": 1500}),
    "refund.created": ("TXN#", "re_", {"amount": 500, "counted": True}),
    "refund.updated": ("TXN#", "refund", {"status": "succeeded"}),
    "refund.failed": ("TXN#", "re_", {"counted": False}),
    "charge.refund.updated": ("TXN#", "refund", {"status": "succeeded"}),
    "charge.dispute.created": ("TXN#", "dispute", {"withdrawn": False}),
    "charge.dispute.updated": ("TXN#", "dispute", {"status": "under_review", "withdrawn": True}),
    "charge.dispute.funds_withdrawn": ("TXN#", "fee", {"amount": 1500}),
    "charge.dispute.funds_reinstated": ("TXN#", "dispute", {"withdrawn": False, "status": "won"}),
    "charge.dispute.closed": ("TXN#", "dispute", {"status": "won"}),
    "credit_note.created": ("TXN#", "credit_note", {"status": "issued", "amount": 300}),
    "credit_note.updated": ("TXN#", "credit_note", {"description": "Goodwill"}),
    "credit_note.voided": ("TXN#", "credit_note", {"status": "void"}),
    "invoice.finalized": ("INVOICE#", "invoice", {"status": "open"}),
    "invoice.payment_failed": ("INVOICE#", "invoice", {"status": "open"}),
    "invoice.paid": ("INVOICE#", "invoice", {"status": "paid"}),
    "invoice.voided": ("INVOICE#", "invoice", {"status": "void"}),
    "invoice.marked_uncollectible": ("INVOICE#", "invoice", {"status": "uncollectible"}),
    "invoice_payment.paid": ("LINK#pi_", "payment", {}),
    "payment_method.attached": ("METHOD#pm_", "method", {"brand": "visa", "last4": "4242"}),
    "payment_method.updated": ("METHOD#pm_", "method", {"exp_year": 2032}),
    "payment_method.automatically_updated": ("METHOD#pm_", "method", {"last4": "1881"}),
    "payment_method.detached": ("METHOD#pm_", "method", {"deleted": True}),
    "customer.source.created": ("METHOD#card_", "method", {"brand": "visa", "type": "card"}),
    "customer.source.updated": ("METHOD#card_", "method", {"exp_year": 2032}),
    "customer.source.expiring": ("METHOD#card_", "method", {"last4": "4242"}),
    "customer.source.deleted": ("METHOD#card_", "method", {"deleted": True}),
    "product.created": ("PRODUCT#", "product", {"name": "Access"}),
    "product.updated": ("PRODUCT#", "product", {"name": "Signals Pro"}),
    "product.deleted": ("PRODUCT#", "product", {"deleted": True}),
}
CONNECTION = {"account.application.deauthorized", "account.application.authorized"}


class FixtureStripe(InProcessStripe):
    """Stripe as far as the fixtures know it."""

    def answer(
        self, method: str, path: str, pairs: list[tuple[str, str]], headers: Mapping[str, str]
    ) -> tuple[int, str]:
        answer = _answers().get(path)
        if answer is None:
            return 404, json.dumps({"error": {"code": "resource_missing", "message": "no fixture"}})
        return 200, json.dumps(answer)


@cache
def _answers() -> dict[str, Raw]:
    answers: dict[str, Raw] = json.loads((FIXTURES / "objects.json").read_text())
    return answers


@pytest.fixture
def world() -> World:
    standin = StripeStandin()
    return World(standin, stripe=FixtureStripe(standin))


def fixture(folder: Path, kind: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((folder / f"{kind}.json").read_text())
    if kind == "charge.refund.updated" and event["data"]["object"]["object"] != "refund":
        raise AssertionError("this event carries a refund")
    return event


def source_of(world: World, kind: str) -> dict[str, Any]:
    prefix, name, _ = LEAVES[kind]
    found: list[dict[str, Any]] = [
        data
        for sources in world.sources(prefix).values()
        for source, data in sources.items()
        if source == name or (name == "re_" and source.startswith("re_"))
    ]
    assert len(found) == 1, f"{kind} leaves one source {name}"
    left: dict[str, Any] = found[0]
    return left


def test_every_row_of_the_table_has_a_fixture_and_an_expectation() -> None:
    assert set(LEAVES) | CONNECTION == set(HANDLERS)
    assert {path.stem for path in NEW.glob("*.json")} == set(HANDLERS)
    assert all(row.why for row in HANDLERS.values())


@pytest.mark.parametrize("kind", sorted(LEAVES))
def test_an_event_leaves_what_it_says(world: World, kind: str) -> None:
    assert world.receive(fixture(NEW, kind)) == "applied"
    left = source_of(world, kind)
    assert {name: left[name] for name in LEAVES[kind][2]} == LEAVES[kind][2]
    assert world.marked() == []


@pytest.mark.parametrize("kind", sorted(path.stem for path in OLD.glob("*.json")))
def test_an_event_says_the_same_in_the_old_shape(world: World, kind: str) -> None:
    new = World(world.standin, stripe=FixtureStripe(world.standin))
    assert new.receive(fixture(NEW, kind)) == "applied"
    old = fixture(OLD, kind)
    assert old["api_version"] == OLDEST
    assert world.receive(old) == "applied"
    assert source_of(world, kind) == source_of(new, kind)


@pytest.mark.parametrize("kind", sorted(LEAVES))
def test_a_duplicate_changes_nothing(world: World, kind: str) -> None:
    world.receive(fixture(NEW, kind))
    once = world.state()
    assert world.receive(fixture(NEW, kind)) == "applied"
    assert world.state() == once


def test_the_old_shapes_differ_from_the_new_ones_where_they_moved() -> None:
    old = fixture(OLD, "customer.subscription.updated")["data"]["object"]
    assert "current_period_end" in old
    assert "current_period_end" not in old["items"]["data"][0]
    paid = fixture(OLD, "invoice.paid")["data"]["object"]
    assert paid["payment_intent"]
    assert paid["subscription"]
    assert "parent" not in paid


def test_an_old_invoice_links_its_payment_by_itself(world: World) -> None:
    old = fixture(OLD, "invoice.paid")
    world.receive(old)
    (link,) = world.sources("LINK#").values()
    invoice = old["data"]["object"]
    assert link["payment"] == {"invoice": invoice["id"], "subscription": invoice["subscription"]}


def test_an_account_that_was_disconnected_is_marked_until_it_comes_back(world: World) -> None:
    world.registry.register(STORE, "acct_1Connected")
    gone = fixture(NEW, "account.application.deauthorized")
    back = fixture(NEW, "account.application.authorized")
    gone["created"] = back["created"] + 1
    for event in (gone, back):  # the older one comes later, and is dropped
        assert world.receive(event) == "applied"
    assert world.registry.of_store(STORE).disconnected_at == gone["created"]
    back["created"] = gone["created"] + 1
    world.receive(back)
    assert world.registry.of_store(STORE).disconnected_at is None


def test_an_event_before_its_product_and_customer_fetches_both_once(world: World) -> None:
    event = fixture(NEW, "customer.subscription.updated")
    world.receive(event)
    world.receive(event)
    asked = [path.rsplit("/", 1)[0] for _, path in world.stripe.asked]
    assert sorted(asked) == ["/v1/customers", "/v1/products"]
    (profile,) = world.sources("PROFILE").values()
    assert profile["customer"]["email"] == "jane@example.com"


def test_previous_attributes_are_laid_over_hash_by_hash() -> None:
    event = Event.parse(fixture(NEW, "customer.subscription.updated"))
    assert event.before is not None
    assert of.subscription(event.before) != of.subscription(event.object)
    assert event.before["items"] == event.object["items"]


@pytest.mark.parametrize(
    ("kind", "details", "shown"),
    [
        ("card", {"brand": "visa", "last4": "4242"}, ("card", "visa", "4242")),
        ("link", {"email": "jane@example.com"}, ("link", None, None)),
        ("sepa_debit", {"last4": "3000"}, ("sepa_debit", None, "3000")),
        ("paypal", {"payer_email": "jane@example.com"}, ("paypal", None, None)),
        ("us_bank_account", {"last4": "6789"}, ("us_bank_account", None, "6789")),
        ("quantum_wallet", {}, ("quantum_wallet", None, None)),
    ],
)
def test_payment_methods_of_every_type_are_kept_by_name(
    world: World, kind: str, details: Mapping[str, Any], shown: tuple[str, str | None, str | None]
) -> None:
    event = fixture(NEW, "payment_method.attached")
    del event["data"]["object"]["card"]
    event["data"]["object"] |= {"type": kind, kind: details}
    world.receive(event)
    method = source_of(world, "payment_method.attached")
    assert (method["type"], method["brand"], method["last4"]) == shown
