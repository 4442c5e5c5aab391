"""A guest's record that moves to its customer and comes again is another record.

A writer that read the first one must not take the second one for it: what only the second one says
would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.merge import Fetched, Observation
from shared.domain.purchase import Audit, End, Own, Purchase
from shared.storage.dynamo import Table
from shared.storage.items import Record
from shared.storage.keys import Key, profile_key, purchase_key, transaction_key
from shared.storage.records import Records
from shared.stripe_events.guests import Guests
from shared.tenant import Tenant
from tests.builders import NOW
from tests.dynamo import Tables

DEMO = Tenant("demo")
GUEST = "guest:pi_1"
CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "status": "succeeded",
    "created_at": NOW,
    "livemode": True,
    "product_id": "prod_1",
    "telegram_user_id": "700001",
    "method": None,
}
INTENT = {key: value for key, value in CHARGE.items() if key != "method"} | {
    "id": "pi_1",
    "failed": False,
}
TRANSACTION = {"id": "ch_1", "status": "succeeded", "created_at": NOW, "livemode": True}
NOTE = {"name": "Guest", "email": "guest@shop.example", "created_at": NOW}


def keys(account: str) -> dict[str, Key]:
    return {
        "purchase": purchase_key(DEMO, account, "pi_1"),
        "transaction": transaction_key(DEMO, account, NOW, "306QADXJKVR3"),
        "profile": profile_key(DEMO, account),
    }


def never() -> Fetched | None:
    raise AssertionError("Stripe was asked")


def say(records: Records, kind: str, source: str, data: dict[str, Any]) -> None:
    seen = Observation(source, data, NOW, f"evt_{source}", rank=1)
    records.observe(keys(GUEST)[kind], seen, fetch=never)


FIRST = {
    "purchase": ("charge", CHARGE),
    "transaction": ("charge", TRANSACTION),
    "profile": ("billing", NOTE),
}
SECOND = {
    "purchase": ("payment_intent", INTENT),
    "transaction": ("re_1", {"amount": 500, "counted": True}),
    "profile": ("guest", NOTE),
}


class BeforeGet:
    """A client that runs something else once, before it reads an item."""

    def __init__(self, client: Any, then: Callable[[], None]) -> None:
        self._client = client
        self._then: Callable[[], None] | None = then

    def __getattr__(self, name: str) -> Any:
        if name == "get_item":
            then, self._then = self._then, None
            if then is not None:
                then()
        return getattr(self._client, name)


def read(records: Records, kind: str, account: str) -> Record:
    record = records.get(keys(account)[kind])
    assert record is not None
    return record


def moves_and_comes_again(records: Records, kind: str) -> Callable[[], None]:
    def happen() -> None:
        guests = Guests(records)
        assert guests.adopt(DEMO, GUEST, "cus_1")
        guests.forget(DEMO, GUEST)
        say(records, kind, *SECOND[kind])

    return happen


@pytest.mark.parametrize("kind", FIRST)
def test_two_records_of_one_guest_never_have_the_same_revision(tables: Tables, kind: str) -> None:
    records = Records(tables.records)
    say(records, kind, *FIRST[kind])
    before = read(records, kind, GUEST).rev
    moves_and_comes_again(records, kind)()
    assert read(records, kind, GUEST).rev != before


@pytest.mark.parametrize("kind", ["purchase", "profile"])
def test_a_writer_that_read_the_first_record_leaves_the_second_alone(
    tables: Tables, kind: str
) -> None:
    records = Records(tables.records)
    say(records, kind, *FIRST[kind])
    first = read(records, kind, GUEST)
    moves_and_comes_again(records, kind)()
    records.indexed(first)
    second = read(records, kind, GUEST)
    assert set(second.sources) == {SECOND[kind][0]}
    assert second.reindex_at is not None


@pytest.mark.parametrize("kind", ["purchase", "transaction"])
def test_what_came_while_another_moved_the_first_record_is_moved_too(
    tables: Tables, kind: str
) -> None:
    records = Records(tables.records)
    say(records, kind, *FIRST[kind])
    interrupted = BeforeGet(tables.records.client, moves_and_comes_again(records, kind))
    Guests(Records(Table(interrupted, tables.records.name))).adopt(DEMO, GUEST, "cus_1")
    Guests(records).adopt(DEMO, GUEST, "cus_1")
    assert set(read(records, kind, "cus_1").sources) == {FIRST[kind][0], SECOND[kind][0]}


def test_what_was_asked_and_done_before_a_purchase_moved_stays_in_its_history(
    tables: Tables,
) -> None:
    records = Records(tables.records)
    for account, source, data in ((GUEST, "charge", CHARGE), ("cus_1", "payment_intent", INTENT)):
        key = keys(account)["purchase"]
        records.observe(key, Observation(source, data, NOW, f"evt_{source}"), fetch=never)
        leased = records.lease(key, "me")
        assert leased is not None
        entry = Audit(NOW, "owner", "cancel_requested", "immediately", reason=account)
        end = End(NOW, "cancelled_by_owner") if account == GUEST else None

        def change(p: Purchase, end: End | None = end, entry: Audit = entry) -> Own:
            return replace(p.own, end=end).logged(entry)

        records.save_own(leased, "me", change)
        records.release(key, "me")
    Guests(records).adopt(DEMO, GUEST, "cus_1")
    merged = read(records, "purchase", "cus_1").purchase
    assert merged.is_over
    assert {entry.reason for entry in merged.own.audit} == {GUEST, "cus_1"}
