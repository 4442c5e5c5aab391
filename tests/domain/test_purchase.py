from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.domain import steps
from shared.domain.errors import OperationInProgress, PeriodEndNotAvailable, PurchaseAlreadyEnded
from shared.domain.purchase import (
    END,
    Audit,
    End,
    Intent,
    Lost,
    Own,
    Purchase,
    Removal,
    Retry,
    said,
    source_facts,
)
from shared.domain.steps import Who
from shared.domain.timeline import Point, Timeline
from shared.showing.presentation import Context, purchase_json
from tests.builders import (
    DAY,
    NOW,
    a_one_off,
    a_subscription,
    an_access_code,
    session_data,
    source,
    subscription_data,
)


@pytest.mark.parametrize(
    ("stripe", "status", "options"),
    [
        ("active", "active", ("immediately", "period_end")),
        ("trialing", "trialing", ("immediately", "period_end")),
        ("past_due", "past_due", ("immediately", "period_end")),
        ("unpaid", "unpaid", ("immediately",)),
        ("paused", "paused", ("immediately",)),
        ("incomplete", "incomplete", ("immediately",)),
        ("incomplete_expired", "expired", ()),
        ("canceled", "cancelled", ()),
    ],
)
def test_a_subscription_offers_what_its_status_allows(
    stripe: str, status: str, options: tuple[str, ...]
) -> None:
    purchase = a_subscription(status=stripe)
    assert (purchase.status, purchase.cancel_options) == (status, options)


def test_a_scheduled_subscription_keeps_its_cancel_button() -> None:
    purchase = a_subscription(cancel_at=NOW + DAY)
    assert purchase.status == "active"
    assert "immediately" in purchase.cancel_options


def test_one_off_and_access_code_are_immediate_only() -> None:
    assert a_one_off().cancel_options == ("immediately",)
    assert an_access_code().cancel_options == ("immediately",)
    for purchase in (a_one_off(), an_access_code()):
        with pytest.raises(PeriodEndNotAvailable):
            cancel(purchase, "period_end")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "active"),
        ({"payment_status": "unpaid"}, "pending"),
        ({"payment_status": "unpaid", "outcome": "failed"}, "failed"),
        ({"payment_status": "no_payment_required"}, "active"),
    ],
)
def test_a_one_off_is_what_its_session_says(changes: dict[str, Any], status: str) -> None:
    assert a_one_off(**changes).status == status


def test_an_abandoned_session_is_no_purchase() -> None:
    assert not a_one_off(outcome="expired", payment_status="unpaid").visible


def test_a_payment_of_a_subscriptions_invoice_is_no_purchase() -> None:
    intent = {"id": "pi_1", "status": "succeeded", "created_at": NOW, "livemode": True}
    assert not Purchase("pi_1", {"payment_intent": source(intent)}).visible


def test_an_access_code_is_no_payment() -> None:
    purchase = an_access_code()
    assert purchase.kind == "access_code"
    assert purchase.payment_provider is None
    assert purchase.access_code == "ABCD2345EFGH"


def test_no_payment_required_without_a_code_is_a_one_off() -> None:
    purchase = a_one_off(payment_status="no_payment_required")
    assert (purchase.kind, purchase.payment_provider) == ("one_off", "stripe")


def test_a_later_link_of_a_charge_outranks_the_session() -> None:
    charge = {"id": "ch_1", "status": "succeeded", "created_at": NOW, "livemode": True}
    sources = {
        "session": source(session_data()),
        "charge": source(charge | {"telegram_user_id": "700002"}),
    }
    paid, linked = (said("charge", charge | more) for more in ({}, {"telegram_user_id": "700002"}))
    told = Timeline((Point(NOW + 60, 4, "evt_1", linked, paid),))
    purchase = Purchase("pi_1", sources, timelines={"charge": told})
    assert purchase.telegram_user_id == "700002"
    assert purchase.lost == {("700001", "prod_1"): NOW + 59}


def test_a_purchase_that_never_gave_access_has_nobody_to_remove() -> None:
    assert a_subscription(status="incomplete_expired").lost == {}
    assert a_one_off(payment_status="unpaid", outcome="failed").lost == {}


def cancel(purchase: Purchase, when: Any) -> Own | None:
    return steps.request_cancel(purchase, when, who=Who("usr_1", "Ada"), reason=None, now=NOW)


def with_own(purchase: Purchase, own: Own | None) -> Purchase:
    assert own is not None
    return replace(purchase, own=own)


def intent(mode: Any, phase: Any) -> Own:
    return Own(intent=Intent(1, mode, "usr_1", NOW - DAY, phase=phase))


def test_a_cancel_records_one_intent_and_one_audit_entry() -> None:
    own = cancel(a_subscription(), "immediately")
    assert own is not None
    assert own.intent == Intent(1, "immediately", "usr_1", NOW, actor_name="Ada")
    entry = Audit(NOW, "owner", "cancel_requested", "immediately", "usr_1", "Ada")
    assert own.audit == (entry,)


def test_a_repeat_of_a_pending_cancel_changes_nothing() -> None:
    pending = a_subscription(own=intent("immediately", "requested"))
    assert cancel(pending, "immediately") is None


def test_a_repeat_of_our_own_finished_cancel_changes_nothing() -> None:
    ended = a_subscription(status="canceled", own=intent("immediately", "done"))
    assert cancel(ended, "immediately") is None


def test_a_purchase_ended_by_something_else_can_not_be_cancelled() -> None:
    with pytest.raises(PurchaseAlreadyEnded):
        cancel(a_subscription(status="canceled"), "immediately")


def test_scheduling_what_is_scheduled_changes_nothing() -> None:
    scheduled = a_subscription(cancel_at=NOW + DAY, current_period_end=NOW + DAY)
    assert cancel(scheduled, "period_end") is None


def test_a_term_that_ends_after_this_period_is_not_scheduled_to_end_with_it() -> None:
    fixed_term = a_subscription(cancel_at=NOW + 360 * DAY, current_period_end=NOW + 30 * DAY)
    own = cancel(fixed_term, "period_end")
    asked = with_own(fixed_term, own)
    assert isinstance(next_step(asked), steps.AskStripe)
    # Stripe has set the flag; an account may still show the term's own date.
    flagged = a_subscription(
        cancel_at=NOW + 360 * DAY,
        current_period_end=NOW + 30 * DAY,
        cancel_at_period_end=True,
        own=asked.own,
    )
    assert next_step(flagged) == steps.CloseIntent("done")
    assert cancel(flagged, "immediately") is not None


def test_immediately_after_scheduled_is_a_new_generation() -> None:
    own = cancel(
        a_subscription(cancel_at=NOW + DAY, own=intent("period_end", "done")), "immediately"
    )
    assert own is not None
    assert own.intent is not None
    assert (own.intent.generation, own.intent.mode) == (2, "immediately")


def test_period_end_during_an_immediate_cancel_is_refused() -> None:
    with pytest.raises(OperationInProgress):
        cancel(a_subscription(own=intent("immediately", "requested")), "period_end")


def next_step(purchase: Purchase, now: int = NOW) -> Any:
    return steps.next_step(purchase, now)


def test_stripe_comes_first_then_the_plan_then_the_removals() -> None:
    purchase = a_subscription(own=intent("immediately", "requested"))
    assert isinstance(next_step(purchase), steps.AskStripe)
    over = a_subscription(status="canceled", own=purchase.own)
    assert next_step(over) == steps.CloseIntent("done")
    closed = with_own(over, steps.close_intent(over, "done", now=NOW))
    assert next_step(closed) == steps.PlanRemovals()
    leaving: dict[tuple[str, str], Lost] = {("-1001", "700001"): END}
    planned = with_own(closed, steps.plan(closed, leaving, now=NOW))
    assert next_step(planned) == steps.LookAtBuyer(("700001",))
    looked = with_own(planned, replace(planned.own, looked_at=NOW))
    removal = Removal("-1001", "700001", next_attempt_at=NOW, lost=END, since=NOW)
    assert next_step(looked) == steps.Remove(removal)


def test_a_period_end_cancel_is_scheduled_once_stripe_has_accepted_it() -> None:
    purchase = a_subscription(cancel_at=NOW + DAY, own=intent("period_end", "done"))
    assert next_step(purchase) == steps.SetSchedule(NOW + DAY)
    assert steps.outstanding(purchase)
    scheduled = with_own(purchase, replace(purchase.own, schedule_at=NOW + DAY))
    assert next_step(scheduled) is None
    assert not steps.outstanding(scheduled)


def test_the_scheduled_end_is_looked_at_again_before_anything_ends() -> None:
    purchase = a_subscription(cancel_at=NOW, own=Own(schedule_at=NOW))
    assert next_step(purchase) == steps.LookAgain()


def test_a_status_that_stripe_adds_later_is_unknown_and_takes_nothing_away() -> None:
    purchase = a_subscription(status="on_holiday")
    assert purchase.status == "unknown"
    assert purchase.is_live
    assert next_step(purchase) is None
    assert purchase.cancel_options == ("immediately",)


def test_a_cancel_taken_back_in_stripe_clears_intent_and_schedule() -> None:
    purchase = a_subscription(own=replace(intent("period_end", "done"), schedule_at=NOW + DAY))
    assert next_step(purchase) == steps.CloseIntent("superseded")
    cleared = with_own(purchase, steps.close_intent(purchase, "superseded", now=NOW))
    assert next_step(cleared) == steps.SetSchedule(None)
    assert cleared.cancelled_by_owner is False


def test_an_expired_access_code_ends_by_itself() -> None:
    purchase = an_access_code(access_expires_at=NOW)
    step = next_step(purchase)
    assert step == steps.DeclareEnd(End(NOW, "expired"))
    ended = with_own(purchase, steps.declare_end(purchase, step.end, now=NOW))
    assert (ended.status, ended.end_reason) == ("expired", "expired")


def test_an_access_code_redeemed_in_a_test_checkout_is_looked_up_there() -> None:
    assert an_access_code(livemode=False).livemode is False
    assert an_access_code(livemode=False).payment_provider is None
    assert an_access_code().livemode is True


def test_a_removal_of_whoever_was_unlinked_is_shown_until_it_is_done() -> None:
    failed = Removal("-1001", "700001", state="failed", detail="No rights.", next_attempt_at=None)
    unlinked = replace(
        a_subscription(telegram_user_id=None, own=Own(removals={failed.key: failed})),
        seen_users=frozenset({"700001"}),
    )
    access = purchase_json(unlinked, Context())["access"]
    assert access["state"] == "failed"
    assert [chat["state"] for chat in access["chats"]] == ["failed"]


def test_products_that_were_switched_are_planned_for_too() -> None:
    one = replace(a_subscription(status="canceled"), seen_products=frozenset({"prod_1"}))
    planned = with_own(one, steps.plan(one, {("-1001", "700001"): END}, now=NOW))
    assert not planned.plan_is_stale
    late = replace(planned, seen_products=frozenset({"prod_0", "prod_1"}))
    assert late.plan_is_stale
    assert late.products_ever == {"prod_0", "prod_1"}


def test_an_unpaid_first_invoice_ends_by_the_owner_where_the_owner_was_first() -> None:
    expired = a_subscription(status="incomplete_expired")
    assert expired.end_reason == "payment_failed"
    cancelled = with_own(expired, intent("immediately", "done"))
    assert cancelled.end_reason == "cancelled_by_owner"
    assert cancel(cancelled, "immediately") is None


def test_what_became_of_a_request_is_told_once_however_often_it_is_written() -> None:
    asked = a_subscription(own=intent("period_end", "requested"))
    writes: list[Callable[[Purchase], Own]] = [
        lambda p: steps.close_intent(p, "done", now=NOW),
        lambda p: steps.refuse(p, "no", now=NOW),
        lambda p: steps.declare_end(p, End(NOW, "cancelled_by_owner"), now=NOW),
    ]
    for write in writes:
        once = write(asked)
        assert len(once.audit) == 1
        assert write(with_own(asked, once)) == once


def test_a_one_off_ends_when_the_owner_says_so() -> None:
    purchase = a_one_off(own=intent("immediately", "requested"))
    step = next_step(purchase)
    ended = with_own(purchase, steps.declare_end(purchase, step.end, now=NOW))
    assert (ended.status, ended.end_reason) == ("cancelled", "cancelled_by_owner")
    assert ended.own.intent is not None
    assert ended.own.intent.phase == "done"


def test_what_failed_is_tried_later_and_later() -> None:
    purchase = a_subscription(own=intent("immediately", "requested"))
    waits = []
    for _ in range(8):
        own = steps.postpone(purchase, "stripe", "timeout", now=NOW)
        waits.append(own.retries["stripe"].next_attempt_at - NOW)
        purchase = with_own(purchase, own)
    assert waits == [5, 30, 120, 600, 1800, 3600, 3600, 3600]
    assert next_step(purchase) is None


def test_one_waiting_removal_does_not_hold_up_another() -> None:
    own = Own(
        planned="over:700001",
        looked_at=NOW,
        removals={
            "-1:700001": Removal("-1", "700001", next_attempt_at=NOW + 60),
            "-2:700001": Removal("-2", "700001", next_attempt_at=NOW),
        },
    )
    step = next_step(a_subscription(status="canceled", own=own))
    assert step.removal.chat_id == "-2"


DUE = [
    (a_subscription(), None),
    (a_subscription(own=intent("immediately", "requested")), NOW - DAY),
    (
        a_subscription(
            own=replace(intent("immediately", "requested"), retries={"stripe": Retry(1, NOW + 5)})
        ),
        NOW + 5,
    ),
    (a_subscription(cancel_at=NOW + DAY), 0),
    (a_subscription(cancel_at=NOW + DAY, own=Own(schedule_at=NOW + DAY)), NOW + DAY),
    (a_subscription(status="canceled"), 0),
    (a_subscription(status="canceled", telegram_user_id=None), None),
    (a_one_off(), None),
    (an_access_code(access_expires_at=NOW + DAY, own=Own(schedule_at=NOW + DAY)), NOW + DAY),
]


@pytest.mark.parametrize(("purchase", "due_at"), DUE)
def test_due_at_follows_from_the_record(purchase: Purchase, due_at: int | None) -> None:
    assert purchase.due_at == due_at


@pytest.mark.parametrize("purchase", [purchase for purchase, _ in DUE])
def test_whatever_has_a_next_step_is_due_and_the_other_way_round(purchase: Purchase) -> None:
    for now in (NOW, NOW + 10, NOW + 2 * DAY):
        due = purchase.due_at is not None and purchase.due_at <= now
        assert due == (steps.next_step(purchase, now) is not None)


def test_our_own_part_survives_storage() -> None:
    own = Own(
        intent=Intent(2, "period_end", "usr_1", NOW, phase="done", attempt=3),
        end=End(NOW, "expired"),
        removals={"-1:7": Removal("-1", "7", state="kept", detail="Kept.", attempts=2)},
        planned="over:7",
        looked_at=NOW,
        waived="over.1",
        schedule_at=NOW,
        retries={"look": Retry(1, NOW, "timeout")},
        audit=(Audit(NOW, "owner", "cancel_requested", "period_end"),),
    )
    assert Own.from_json(own.to_json()) == own
    assert Own().to_json() == {}


def test_a_renewal_changes_no_facts_and_a_scheduled_end_does() -> None:
    before = source_facts("subscription", subscription_data())
    renewed = subscription_data(current_period_end=NOW + 50 * DAY, status="past_due")
    assert source_facts("subscription", renewed) == before
    assert source_facts("subscription", subscription_data(cancel_at=NOW)) != before
