from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.merge import Fetched, Observation
from shared.domain.purchase import Own
from shared.storage.items import from_item, to_item
from shared.storage.keys import method_key, purchase_key
from shared.storage.records import LEASE_SECONDS, LeaseLost, Records
from shared.tenant import Tenant
from tests.builders import DAY, NOW, observation, subscription_data
from tests.dynamo import Tables

DEMO = Tenant("demo")
SUB = purchase_key(DEMO, "cus_1", "sub_1")


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(tables: Tables, clock: Clock) -> Records:
    return Records(tables.records, clock)


def never() -> Fetched | None:
    raise AssertionError("Stripe was asked")


def created(**changes: Any) -> Observation:
    return observation(subscription_data(**changes), created_at=NOW - 100, event_id="evt_0", rank=0)


def observe(records: Records, seen: Observation) -> Any:
    users = frozenset({seen.data["telegram_user_id"]} - {None})
    return records.observe(SUB, seen, fetch=never, ids=users)


def test_a_new_purchase_is_stored_with_its_link_and_waits_for_the_list(
    records: Records, tables: Tables
) -> None:
    outcome = observe(records, created())
    assert outcome.facts_changed
    stored = records.get(SUB)
    assert stored is not None
    assert stored.purchase.is_live
    assert stored.due_at == NOW
    link = tables.records.get(DEMO.telegram_user_pk("700001"), f"LINK#{SUB.sk}")
    assert link is not None
    assert link["account"] == SUB.pk


def test_a_renewal_is_one_write_and_no_read(records: Records, tables: Tables) -> None:
    observe(records, created())
    tables.client.calls.clear()
    renewed = subscription_data(current_period_end=NOW + 50 * DAY)
    outcome = observe(records, observation(renewed, event_id="evt_2"))
    assert (outcome.stored, outcome.facts_changed) == (True, False)
    assert tables.client.calls == {"update_item": 1}


def test_a_duplicate_writes_nothing(records: Records, tables: Tables) -> None:
    observe(records, created())
    before = tables.dump(tables.records)
    assert not observe(records, created()).stored
    assert tables.dump(tables.records) == before


def test_an_older_event_is_dropped_but_its_telegram_user_is_remembered(
    records: Records,
) -> None:
    observe(records, observation(subscription_data(telegram_user_id="2"), event_id="evt_9"))
    observe(records, created(telegram_user_id="1"))
    stored = records.get(SUB)
    assert stored is not None
    assert stored.purchase.telegram_user_id == "2"
    assert stored.seen == {"1", "2"}
    assert {user for user, _ in stored.purchase.lost} == {"1"}


def test_facts_that_change_make_the_record_due(records: Records) -> None:
    first = observe(records, created())
    records.indexed(first.record)
    assert records.get(SUB).due_at is None  # type: ignore[union-attr]
    scheduled = subscription_data(cancel_at=NOW + DAY)
    outcome = observe(records, observation(scheduled, event_id="evt_2"))
    assert outcome.facts_changed
    assert records.get(SUB).due_at == 0  # type: ignore[union-attr]


def test_the_due_index_holds_exactly_what_is_due(records: Records, tables: Tables) -> None:
    first = observe(records, created())
    item = tables.records.get(SUB.pk, SUB.sk)
    assert item is not None
    assert item["due_at"] == NOW
    records.indexed(first.record)
    item = tables.records.get(SUB.pk, SUB.sk)
    assert item is not None
    assert "due_at" not in item


def test_a_plain_record_is_one_upsert(records: Records, tables: Tables) -> None:
    key = method_key(DEMO, "cus_1", "pm_1")
    seen = observation({"type": "card"}, source="method")
    records.observe(key, seen, fetch=never)
    assert tables.client.calls == {"update_item": 1}
    stored = records.get(key)
    assert stored is not None
    assert stored.sources["method"].data == {"type": "card"}


def test_a_detached_method_is_not_attached_again_by_a_late_event(records: Records) -> None:
    key = method_key(DEMO, "cus_1", "pm_1")
    gone = observation({"deleted": True}, source="method", event_id="evt_2", terminal=True)
    records.observe(key, gone, fetch=never)
    late = observation({"deleted": False}, source="method", created_at=NOW + 9, event_id="evt_3")
    assert not records.observe(key, late, fetch=never).stored


def test_only_one_holds_the_lease_until_it_is_given_back_or_runs_out(
    records: Records, clock: Clock
) -> None:
    observe(records, created())
    assert records.lease(SUB, "a") is not None
    assert records.lease(SUB, "b") is None
    records.release(SUB, "a")
    assert records.lease(SUB, "b") is not None
    clock.now += LEASE_SECONDS + 1
    assert records.lease(SUB, "c") is not None


def test_an_event_between_lease_and_write_is_not_lost(records: Records) -> None:
    observe(records, created())
    leased = records.lease(SUB, "a")
    assert leased is not None
    observe(records, observation(subscription_data(status="past_due"), event_id="evt_2"))
    saved = records.save_own(leased, "a", lambda p: replace(p.own, schedule_at=1))
    assert saved.purchase.status == "past_due"
    assert saved.purchase.own == Own(schedule_at=1)


def test_who_lost_the_lease_writes_nothing(records: Records, clock: Clock) -> None:
    observe(records, created())
    leased = records.lease(SUB, "a")
    assert leased is not None
    clock.now += LEASE_SECONDS + 1
    assert records.lease(SUB, "b") is not None
    with pytest.raises(LeaseLost):
        records.save_own(leased, "a", lambda p: replace(p.own, schedule_at=1))


def test_no_purchase_becomes_live_while_its_buyer_is_being_removed(
    records: Records, tables: Tables
) -> None:
    user_pk = DEMO.telegram_user_pk("700001")
    tables.records.put({"pk": user_pk, "sk": "LOCK", "owner": "x", "lease_until": NOW + 30})
    done = threading.Event()

    def store() -> None:
        observe(records, created())
        done.set()

    thread = threading.Thread(target=store)
    thread.start()
    assert not done.wait(0.3)
    assert records.get(SUB) is None
    tables.records.delete(user_pk, "LOCK")
    assert done.wait(5)
    thread.join()
    assert records.get(SUB) is not None


def test_parallel_events_of_one_subscription_end_in_the_newest(records: Records) -> None:
    events = [
        observation(subscription_data(current_period_end=i), created_at=NOW + i, event_id=f"e{i}")
        for i in range(12)
    ]
    threads = [threading.Thread(target=observe, args=(records, event)) for event in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = records.get(SUB)
    assert stored is not None
    assert stored.sources["subscription"].data["current_period_end"] == 11


def test_what_stripe_must_decide_is_fetched_once(records: Records) -> None:
    asked = []

    def fetch() -> Fetched:
        asked.append(1)
        return Fetched("subscription", subscription_data(status="unpaid"), NOW + 5)

    observe(records, observation(subscription_data(status="past_due"), event_id="evt_1"))
    same_second = observation(subscription_data(status="active"), event_id="evt_2")
    records.observe(SUB, same_second, fetch=fetch)
    stored = records.get(SUB)
    assert stored is not None
    assert (stored.purchase.status, len(asked)) == ("unpaid", 1)


def test_an_item_and_its_record_are_the_same(records: Records, tables: Tables) -> None:
    observe(records, created())
    item = tables.records.get(SUB.pk, SUB.sk)
    assert item is not None
    assert to_item(from_item(item)) == item


def test_records_are_found_by_stripes_id_within_their_store_only(records: Records) -> None:
    observe(records, created())
    assert [item["pk"] for item in records.find(DEMO, "sub_1")] == [SUB.pk]
    assert records.find(Tenant("other"), "sub_1") == []
