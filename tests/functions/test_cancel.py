"""Cancelling, from the request to what Stripe and Telegram were asked."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from functions.cancel_purchase.replay import KEPT_SECONDS, once
from shared import compose
from shared.domain.clock import parse_iso
from shared.domain.errors import OperationInProgress
from shared.integrations.stripe_gateway import StripeGateway
from shared.settings import SETTLE_SECONDS
from shared.storage.registry import Registry
from shared.tenant import Tenant
from tests.functions.shop import CHAT, OTHER_CHAT, USER, Shop

PHRASE = "CANCEL PURCHASE"
DAY = 86_400


@pytest.fixture
def product(shop: Shop) -> str:
    return str(shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"])


@pytest.fixture
def subscription(shop: Shop, product: str) -> str:
    """A live subscription of a linked buyer."""
    return shop.sell(product)


def statuses(shop: Shop) -> tuple[str, str]:
    purchase = shop.purchase()
    return purchase["status"], purchase["access"]["state"]


def test_a_live_subscription_is_shown_as_granted(shop: Shop, subscription: str) -> None:
    purchase = shop.purchase()
    assert purchase["purchase_id"] == subscription
    assert (purchase["status"], purchase["kind"]) == ("active", "subscription")
    assert purchase["access"] == {
        "state": "granted",
        "telegram_user_id": str(USER),
        "chats": [
            {
                "chat_id": str(CHAT),
                "title": None,
                "type": None,
                "telegram_user_id": str(USER),
                "state": "granted",
                "reason": None,
                "detail": None,
                "next_attempt_at": None,
            }
        ],
    }
    assert purchase["cancel_options"] == ["immediately", "period_end"]


def test_immediately_ends_the_charges_and_takes_the_buyer_out(
    shop: Shop, subscription: str
) -> None:
    status, answer = shop.cancel()
    assert (status, answer["changed"]) == (200, True)
    purchase = answer["purchase"]
    assert (purchase["status"], purchase["end_reason"]) == ("cancelled", "cancelled_by_owner")
    assert purchase["access"]["state"] == "revoked"
    assert purchase["cancel_options"] == []
    assert shop.stripe.live.get("subscription", subscription)["status"] == "canceled"
    assert shop.kicks() == [(CHAT, USER)]
    assert shop.telegram.bot_api.status_of(CHAT, USER) == "left"
    assert answer["purchase"] == shop.purchase()


def test_the_event_of_our_own_cancel_changes_nothing(shop: Shop, subscription: str) -> None:
    shop.cancel()
    before = shop.customer()
    shop.deliver()
    assert shop.customer() == before
    assert shop.kicks() == [(CHAT, USER)]


def test_cancelling_never_refunds(shop: Shop, subscription: str) -> None:
    shop.cancel()
    assert [path for _, path in shop.asked_stripe("POST", "DELETE")] == [
        f"/v1/subscriptions/{subscription}"
    ]


def test_a_repeat_changes_nothing_and_asks_nobody(shop: Shop, subscription: str) -> None:
    _, first = shop.cancel()
    shop.stripe.clear_requests()
    shop.telegram.forget_requests()
    status, again = shop.cancel()
    assert (status, again["changed"]) == (200, False)
    assert again["purchase"] == first["purchase"]
    assert (shop.asked_stripe(), shop.telegram.requests()) == ([], [])


def test_at_the_period_end_only_a_schedule_is_set(shop: Shop, subscription: str) -> None:
    status, answer = shop.cancel("period_end")
    assert (status, answer["changed"]) == (200, True)
    purchase = answer["purchase"]
    assert purchase["status"] == "active"
    assert purchase["cancel_at"] == purchase["current_period_end"]
    assert purchase["access"]["state"] == "granted"
    assert shop.stripe.live.get("subscription", subscription)["cancel_at_period_end"]
    (schedule,) = shop.scheduler.schedules.values()
    assert schedule["ScheduleExpression"] == f"at({purchase['cancel_at'].removesuffix('Z')})"
    assert schedule["ActionAfterCompletion"] == "DELETE"
    assert shop.kicks() == []


def test_scheduling_twice_is_one_schedule_and_one_request(shop: Shop, subscription: str) -> None:
    shop.cancel("period_end")
    shop.stripe.clear_requests()
    log = list(shop.scheduler.log)
    status, again = shop.cancel("period_end")
    assert (status, again["changed"]) == (200, False)
    assert (shop.asked_stripe(), shop.scheduler.log) == ([], log)


def test_the_schedule_takes_the_buyer_out_once_the_period_is_over(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.cancel("period_end")
    end = shop.stripe.live.get("subscription", subscription)["cancel_at"]
    clock(end + 1)
    shop.fire()
    assert statuses(shop) == ("cancelled", "revoked")
    assert shop.kicks() == [(CHAT, USER)]
    assert shop.purchase()["end_reason"] == "cancelled_by_owner"


def test_a_schedule_that_fires_early_ends_nothing(shop: Shop, subscription: str) -> None:
    shop.cancel("period_end")
    shop.fire()
    assert statuses(shop) == ("active", "granted")


def test_the_sweep_does_it_where_the_schedule_was_lost(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.cancel("period_end")
    shop.scheduler.schedules.clear()
    clock(shop.stripe.live.get("subscription", subscription)["cancel_at"] + 1)
    assert shop.sweep()["purchases"] == 1
    assert statuses(shop) == ("cancelled", "revoked")


def test_a_cancel_taken_back_in_the_portal_is_cleared(shop: Shop, subscription: str) -> None:
    shop.cancel("period_end")
    shop.deliver()
    shop.stripe.live.portal_uncancel(subscription)
    shop.deliver()
    assert shop.purchase()["cancel_at"] is None
    shop.sweep()
    assert shop.scheduler.schedules == {}
    assert statuses(shop) == ("active", "granted")


@pytest.mark.parametrize("when", ["immediately", "period_end"])
def test_the_owners_reason_is_kept_at_stripe_too(shop: Shop, subscription: str, when: str) -> None:
    shop.cancel(when, reason="Shared the invite link")
    shop.deliver()
    kept = shop.stripe.live.get("subscription", subscription)["cancellation_details"]
    assert kept["comment"] == "Shared the invite link"
    told = shop.purchase()["cancellation"]
    assert told == {"feedback": None, "comment": None, "reason": "Shared the invite link"}


def test_what_the_buyer_wrote_is_not_overwritten_by_the_owners_reason(
    shop: Shop, subscription: str
) -> None:
    shop.stripe.live.portal_cancel(subscription, feedback="too_expensive", comment="Too dear")
    shop.deliver()
    shop.cancel("immediately", reason="Asked by mail")
    kept = shop.stripe.live.get("subscription", subscription)["cancellation_details"]
    assert kept["comment"] == "Too dear"
    assert shop.purchase()["cancellation"] == {
        "feedback": "too_expensive",
        "comment": "Too dear",
        "reason": "Asked by mail",
    }


def test_an_owners_reason_is_never_taken_for_the_buyers(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.cancel("period_end", reason="Shared the invite link")
    shop.deliver()
    shop.stripe.live.portal_uncancel(subscription)
    shop.deliver()
    shop.sweep()
    shop.stripe.live.update_subscription(
        subscription, {"cancellation_details": {"comment": "Shared the invite link"}}
    )
    shop.stripe.live.cancel_subscription(subscription)
    shop.deliver()
    assert shop.purchase()["end_reason"] == "cancelled_in_stripe"


def test_an_end_that_is_put_off_is_the_owners_request_no_more(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.cancel("period_end")
    shop.deliver()
    asked_for = shop.stripe.live.get("subscription", subscription)["cancel_at"]
    put_off = asked_for + 90 * DAY
    shop.stripe.live.update_subscription(subscription, {"cancel_at": put_off})
    shop.deliver()
    shop.sweep()
    assert parse_iso(shop.purchase()["cancel_at"]) == put_off
    clock(asked_for + DAY)
    shop.stripe.run_due()
    shop.deliver()
    shop.sweep()
    assert statuses(shop) == ("active", "granted")
    status, answer = shop.cancel("period_end")
    assert (status, answer["changed"]) == (200, True)
    shop.deliver()
    assert parse_iso(shop.purchase()["cancel_at"]) < put_off


def test_an_end_that_was_put_off_is_not_the_owners(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.cancel("period_end")
    shop.deliver()
    asked_for = shop.stripe.live.get("subscription", subscription)["cancel_at"]
    shop.stripe.live.update_subscription(subscription, {"cancel_at": asked_for + 10 * DAY})
    shop.deliver()
    shop.sweep()
    clock(asked_for + 10 * DAY + 60)
    shop.deliver()
    shop.sweep()
    clock.later(60)
    shop.sweep()
    assert statuses(shop) == ("cancelled", "revoked")
    assert shop.purchase()["end_reason"] == "cancelled_in_stripe"


def test_a_cancel_in_the_portal_is_scheduled_too(shop: Shop, subscription: str, clock: Any) -> None:
    shop.stripe.live.portal_cancel(subscription)
    shop.deliver()
    assert shop.purchase()["cancel_at"] is not None
    assert len(shop.scheduler.schedules) == 1
    clock(shop.stripe.live.get("subscription", subscription)["cancel_at"] + 1)
    shop.fire()
    assert statuses(shop) == ("cancelled", "revoked")
    assert shop.purchase()["end_reason"] == "cancelled_by_customer"


def test_immediately_wins_over_scheduled(shop: Shop, subscription: str, clock: Any) -> None:
    shop.cancel("period_end")
    fired = dict(shop.scheduler.schedules)
    status, answer = shop.cancel()
    assert (status, answer["changed"]) == (200, True)
    assert statuses(shop) == ("cancelled", "revoked")
    assert shop.scheduler.schedules == {}
    before = shop.customer()
    shop.scheduler.schedules = fired
    shop.fire()
    assert shop.customer() == before


def test_a_one_off_is_ended_without_asking_stripe(shop: Shop, product: str) -> None:
    shop.stripe.live.buy_one_off(product=product, telegram_user_id=USER)
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    shop.stripe.clear_requests()
    status, answer = shop.cancel()
    assert (status, answer["purchase"]["status"]) == (200, "cancelled")
    assert {method for method, _ in shop.asked_stripe()} == {"GET"}
    assert shop.kicks() == [(CHAT, USER)]


def test_an_access_code_is_ended_too(shop: Shop, product: str) -> None:
    shop.stripe.live.redeem_access_code(product=product, telegram_user_id=USER)
    shop.deliver()
    assert shop.purchase()["kind"] == "access_code"
    status, answer = shop.cancel()
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")


def test_an_access_code_expires_by_itself(shop: Shop, product: str, clock: Any) -> None:
    shop.stripe.live.redeem_access_code(
        product=product, telegram_user_id=USER, access_expires_at="2099-01-01T00:00:00Z"
    )
    shop.deliver()
    assert shop.purchase()["expires_at"] == "2099-01-01T00:00:00Z"
    clock(4_070_908_801)
    shop.sweep()
    assert statuses(shop) == ("expired", "revoked")
    assert shop.purchase()["end_reason"] == "expired"


@pytest.mark.parametrize("kind", ["one_off", "access_code"])
def test_period_end_is_refused_where_there_is_none(shop: Shop, product: str, kind: str) -> None:
    if kind == "one_off":
        shop.stripe.live.buy_one_off(product=product)
    else:
        shop.stripe.live.redeem_access_code(product=product)
    shop.deliver()
    status, problem = shop.cancel("period_end")
    assert (status, problem["code"]) == (422, "period_end_not_available")


def test_an_incomplete_subscription_can_be_cancelled_immediately_only(
    shop: Shop, product: str
) -> None:
    buyer = shop.stripe.live.buy_one_off(product=product)["customer"]
    attempt = shop.stripe.live.subscribe(product=product, customer=buyer, fails=True)["id"]
    shop.deliver()
    assert shop.purchase(attempt)["cancel_options"] == ["immediately"]
    status, problem = shop.cancel("period_end", purchase_id=attempt)
    assert (status, problem["code"]) == (422, "period_end_not_available")
    assert shop.cancel(purchase_id=attempt)[0] == 200


def test_what_stripe_ended_can_not_be_cancelled(shop: Shop, subscription: str) -> None:
    shop.stripe.live.portal_cancel(subscription, immediately=True)
    shop.deliver()
    assert statuses(shop) == ("cancelled", "revoking")
    status, problem = shop.cancel()
    assert (status, problem["code"]) == (409, "purchase_already_ended")


def test_while_an_immediate_cancel_is_under_way_nothing_else_can_be_asked(
    shop: Shop, subscription: str
) -> None:
    shop.stripe.fail("DELETE", "/v1/subscriptions/.*", status=500, after_effect=False)
    assert shop.cancel()[0] == 202
    status, problem = shop.cancel("period_end")
    assert (status, problem["code"]) == (409, "operation_in_progress")


def test_an_answer_that_is_no_subscription_is_not_taken_for_done(
    shop: Shop, subscription: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = {"id": subscription, "object": "subscription", "status": "canceled"}
    with monkeypatch.context() as patched:
        patched.setattr(StripeGateway, "cancel_subscription", lambda *_, **__: unreadable)
        status, answer = shop.cancel()
    assert (status, answer["purchase"]["status"]) == (202, "active")
    assert shop.kicks() == []
    clock.later(10)
    shop.sweep()
    assert statuses(shop) == ("cancelled", "revoked")


def test_a_subscription_managed_by_a_schedule_is_released_first(
    shop: Shop, subscription: str
) -> None:
    shop.stripe.live.schedule_subscription(subscription, end_behavior="release")
    shop.deliver()
    status, answer = shop.cancel("period_end")
    assert (status, answer["changed"]) == (200, True)
    assert any(path.endswith("/release") for _, path in shop.asked_stripe("POST"))
    assert answer["purchase"]["cancel_at"] is not None


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("phrase", ["cancel purchase", "CANCEL PURCHASE ", "", "CANCEL  PURCHASE"])
def test_the_phrase_is_compared_letter_for_letter(
    shop: Shop, subscription: str, phrase: str
) -> None:
    status, problem = shop.cancel(confirmation=phrase)
    assert (status, problem["code"]) == (422, "confirmation_mismatch")
    assert statuses(shop) == ("active", "granted")


CONFIRMED = {"when": "immediately", "confirmation": PHRASE}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (None, "body"),
        ("", "body"),
        ("{", "body"),
        ("null", "body"),
        ([], "body"),
        ("[" * 100_000, "body"),
        ("9" * 5000, "body"),
        (b'{"when": "\xff"}', "body"),
        ({"confirmation": PHRASE}, "when"),
        ({"when": "later", "confirmation": PHRASE}, "when"),
        ({"when": None, "confirmation": PHRASE}, "when"),
        ({"when": ["immediately"], "confirmation": PHRASE}, "when"),
        ('{"when": NaN, "confirmation": "CANCEL PURCHASE"}', "when"),
        ('{"when": "immediately", "when": 1e999, "confirmation": "CANCEL PURCHASE"}', "when"),
        ({"when": "immediately"}, "confirmation"),
        ({"when": "immediately", "confirmation": True}, "confirmation"),
        ({**CONFIRMED, "refund": True}, "refund"),
        ({**CONFIRMED, "Reason": "x"}, "Reason"),
        ({**CONFIRMED, "reason": "x" * 501}, "reason"),
        ({**CONFIRMED, "reason": 5}, "reason"),
        ({**CONFIRMED, "reason": "\ud800"}, "body"),
    ],
)
def test_a_bad_body_is_refused_and_its_field_named(
    shop: Shop, subscription: str, body: Any, named: str
) -> None:
    path = shop.path_of(shop.purchase(), "cancel")
    status, problem = shop.post(path, body)
    assert (status, problem["code"]) == (422, "invalid_request")
    assert re.search(rf"\b{named}\b", problem["detail"])
    assert statuses(shop) == ("active", "granted")


def test_an_unknown_field_is_named_however_long_its_name_is(shop: Shop, subscription: str) -> None:
    path = shop.path_of(shop.purchase(), "cancel")
    status, problem = shop.post(path, {**CONFIRMED, "x" * 100_000: 1})
    assert (status, problem["code"]) == (422, "invalid_request")
    assert "xxx" in problem["detail"]
    assert len(problem["detail"]) <= 200


@pytest.mark.parametrize("reason", ["x" * 500, "\U0001f680" * 500, "", None])
def test_a_reason_has_up_to_500_characters(shop: Shop, subscription: str, reason: Any) -> None:
    path = shop.path_of(shop.purchase(), "cancel")
    status, answer = shop.post(path, {**CONFIRMED, "reason": reason})
    assert (status, answer["changed"]) == (200, True)


@pytest.mark.parametrize("body", [None, "", "  ", "{}", b"{}"])
def test_a_revocation_says_nothing(shop: Shop, subscription: str, body: Any) -> None:
    status, answer = shop.post(shop.path_of(shop.purchase(), "revocation"), body)
    assert (status, answer["changed"]) == (200, False)


@pytest.mark.parametrize(
    ("body", "named"), [("{", "body"), ("[]", "body"), ({"when": "now"}, "when"), (b"\xff", "body")]
)
def test_a_revocation_that_says_something_is_refused(
    shop: Shop, subscription: str, body: Any, named: str
) -> None:
    status, problem = shop.post(shop.path_of(shop.purchase(), "revocation"), body)
    assert (status, problem["code"]) == (422, "invalid_request")
    assert named in problem["detail"]


def test_foreign_and_unknown_ids_are_answered_alike(shop: Shop, subscription: str) -> None:
    purchase = shop.purchase()
    body = {"when": "immediately", "confirmation": PHRASE}
    own = shop.path_of(purchase, "cancel")
    answers = [
        shop.post(own, body, store="other"),
        shop.post("/v1/customers/cust_none/purchases/sub_none/cancel", body),
        shop.post(own.replace(subscription, "sub_none"), body),
    ]
    for status, problem in answers:
        assert status == 404
        del problem["request_id"]
    assert answers[0] == answers[1] == answers[2]
    assert statuses(shop) == ("active", "granted")


def test_another_change_under_way_is_a_conflict(shop: Shop, subscription: str) -> None:
    records = shop.tables.records
    item = next(
        i
        for i in records.query_all(
            "pk = :pk",
            pk=f"demo#ACCOUNT#{shop.stripe.live.get('subscription', subscription)['customer']}",
        )
        if i["sk"].startswith("PURCHASE#")
    )
    records.update_blind(
        item["pk"],
        item["sk"],
        "SET lease_owner = :o, lease_until = :u ADD rev :one",
        o="x",
        u=4_000_000_000,
        one=1,
    )
    status, problem = shop.cancel()
    assert (status, problem["code"]) == (409, "operation_in_progress")


# -- Idempotency-Key ------------------------------------------------------------------------------


def test_the_same_key_and_body_replay_the_first_answer(shop: Shop, subscription: str) -> None:
    first = shop.cancel(key="abc")
    assert shop.cancel(key="abc") == first
    assert first[1]["changed"] is True


def test_the_same_key_with_another_body_is_refused(shop: Shop, subscription: str) -> None:
    shop.cancel("period_end", key="abc")
    status, problem = shop.cancel(key="abc")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


def test_an_error_is_not_replayed(shop: Shop, subscription: str) -> None:
    shop.stripe.disconnect()
    assert shop.cancel(key="abc")[0] == 502
    shop.stripe.reconnect()
    assert shop.cancel(key="abc")[0] == 200


def test_keys_of_two_stores_are_two_keys(shop: Shop, subscription: str) -> None:
    path = shop.path_of(shop.purchase(), "cancel")
    body = {"when": "immediately", "confirmation": PHRASE}
    assert shop.post(path, body, key="abc", store="other")[0] == 404
    assert shop.post(path, body, key="abc")[0] == 200


def answered(shop: Shop, answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """An answer to the same request with the same key, which may take ten seconds."""
    said = ["cancel", "cust_1", "sub_1", "immediately", None]
    table = shop.tables.records
    return once(table, Tenant("demo"), "abc", said=said, answer=answer, seconds=10)


def test_while_the_first_request_is_under_way_its_key_is_refused(shop: Shop) -> None:
    def while_answering() -> dict[str, Any]:
        with pytest.raises(OperationInProgress):
            answered(shop, lambda: {"status": 200, "body": "the second"})
        return {"status": 200, "body": "the first"}

    assert answered(shop, while_answering)["body"] == "the first"
    assert answered(shop, while_answering)["body"] == "the first"


def test_a_request_that_died_is_answered_anew_once_its_time_is_over(shop: Shop, clock: Any) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any) -> dict[str, Any]:
        shop.tables.client.hook = die
        raise Killed

    with pytest.raises(Killed):
        answered(shop, die)
    shop.tables.client.hook = None
    again = {"status": 200, "body": "again"}
    with pytest.raises(OperationInProgress):
        answered(shop, lambda: again)
    clock.later(12)
    assert answered(shop, lambda: again) == again


def test_an_answer_is_kept_for_a_day(shop: Shop, clock: Any) -> None:
    first, second = ({"status": 200, "body": body} for body in ("first", "second"))
    answered(shop, lambda: first)
    clock.later(KEPT_SECONDS)
    assert answered(shop, lambda: second) == first
    clock.later(2)
    assert answered(shop, lambda: second) == second


# -- Stripe failing -------------------------------------------------------------------------------


def test_while_stripe_is_down_nothing_is_said_to_be_done(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.stripe.outage = True
    status, answer = shop.cancel()
    assert (status, answer["changed"]) == (202, True)
    assert answer["purchase"]["status"] == "active"
    assert answer["purchase"]["access"]["state"] == "granted"
    assert shop.kicks() == []
    shop.stripe.outage = False
    clock.later(10)
    shop.sweep()
    assert statuses(shop) == ("cancelled", "revoked")


@pytest.mark.parametrize("when", ["immediately", "period_end"])
def test_an_answer_of_stripe_that_was_lost_is_looked_up(
    shop: Shop, subscription: str, when: str, clock: Any
) -> None:
    shop.stripe.fail(path="/v1/subscriptions/.*", after_effect=True, drop=True)
    assert shop.cancel(when)[0] == 202
    clock.later(10)
    shop.sweep()
    effective = [r for r in shop.stripe.requests if r.method in ("POST", "DELETE")]
    assert len(effective) == 1
    if when == "immediately":
        assert statuses(shop) == ("cancelled", "revoked")
    else:
        assert shop.purchase()["cancel_at"] is not None
        assert len(shop.scheduler.schedules) == 1


def test_a_saved_failure_of_stripe_is_not_replayed_for_ever(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.stripe.fail("POST", "/v1/subscriptions/.*", status=500, after_effect=False)
    assert shop.cancel("period_end")[0] == 202
    clock.later(10)
    shop.sweep()
    assert shop.purchase()["cancel_at"] is not None
    keys = [r.idempotency_key for r in shop.stripe.requests if r.method == "POST"]
    assert len(set(keys)) == len(keys) == 2


def test_a_disconnected_account_is_refused_and_nothing_is_said_to_be_done(
    shop: Shop, subscription: str
) -> None:
    shop.stripe.disconnect()
    status, problem = shop.cancel()
    assert (status, problem["code"]) == (502, "stripe_refused")
    assert "Stripe" in problem["detail"]
    assert statuses(shop) == ("active", "granted")
    refused, *_ = shop.purchase()["history"]
    assert (refused["event"], refused["detail"]) == ("cancel_refused", problem["detail"])
    shop.stripe.reconnect()
    assert shop.cancel()[0] == 200


def test_a_key_that_expires_while_a_cancel_is_outstanding_only_delays_it(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.stripe.fail("DELETE", "/v1/subscriptions/.*", status=500, after_effect=False)
    assert shop.cancel()[0] == 202
    shop.stripe.disconnect()
    clock.later(60)
    shop.sweep()
    assert statuses(shop) == ("active", "granted")
    shop.stripe.reconnect()
    clock.later(3600)
    shop.sweep()
    assert statuses(shop) == ("cancelled", "revoked")


def test_the_end_of_a_period_comes_though_the_store_disconnected_meanwhile(
    shop: Shop, clock: Any
) -> None:
    Registry(shop.tables.records, "demo").register(Tenant("demo"), "acct_1Shop")
    account = shop.stripe.account("acct_1Shop")
    product = account.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    account.subscribe(product=product, telegram_user_id=USER)
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    assert shop.cancel("period_end")[0] == 200
    shop.deliver()
    account.deauthorize()
    shop.deliver()
    clock(datetime.fromisoformat(shop.purchase()["cancel_at"]).timestamp() - 60)
    shop.sweep()
    assert statuses(shop) == ("active", "granted")
    clock.later(120)
    shop.sweep()
    assert statuses(shop) == ("cancelled", "revoked")


def test_a_refusal_of_long_ago_is_not_the_answer_to_a_retried_removal(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.stripe.disconnect()
    assert shop.cancel()[0] == 502
    shop.stripe.reconnect()
    shop.telegram.bot_api.set_bot(CHAT, status="member")
    shop.stripe.live.portal_cancel(subscription, immediately=True)
    shop.deliver()
    clock.later(SETTLE_SECONDS + 1)
    shop.fire()
    shop.telegram.bot_api.set_bot(CHAT, status="administrator", can_restrict_members=True)
    status, answer = shop.post(shop.path_of(shop.purchase(), "revocation"))
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")


def test_a_refusal_of_long_ago_is_not_the_answer_to_what_is_scheduled_already(
    shop: Shop, subscription: str
) -> None:
    shop.stripe.disconnect()
    assert shop.cancel("period_end")[0] == 502
    shop.stripe.reconnect()
    shop.stripe.live.portal_cancel(subscription)
    shop.deliver()
    status, answer = shop.cancel("period_end")
    assert (status, answer["changed"]) == (200, False)


def test_the_history_tells_every_request_and_what_became_of_it(
    shop: Shop, subscription: str, clock: Any
) -> None:
    clock.later(10)
    shop.cancel("period_end")
    shop.deliver()
    clock.later(10)
    shop.stripe.live.portal_uncancel(subscription)
    shop.deliver()
    shop.sweep()
    clock.later(10)
    shop.cancel("period_end")
    clock.later(10)
    shop.cancel()
    told = [(entry["event"], entry["detail"]) for entry in shop.purchase()["history"]]
    assert told[::-1] == [
        ("purchased", None),
        ("cancel_requested", "period_end"),
        ("cancel_confirmed", "period_end"),
        ("cancel_withdrawn", None),
        ("cancel_requested", "period_end"),
        ("cancel_confirmed", "period_end"),
        ("cancel_requested", "immediately"),
        ("cancel_confirmed", "immediately"),
        ("ended", "cancelled_by_owner"),
        ("access_revoked", f"chat {CHAT}, Telegram account {USER}"),
    ]


def test_without_a_schedule_the_end_is_still_outstanding(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.scheduler.down = True
    status, answer = shop.cancel("period_end")
    assert (status, answer["purchase"]["cancel_at"] is None) == (202, False)
    shop.scheduler.down = False
    clock.later(10)
    shop.sweep()
    assert len(shop.scheduler.schedules) == 1


# -- Telegram -------------------------------------------------------------------------------------


def test_a_buyer_with_another_live_purchase_of_the_chat_is_kept(
    shop: Shop, subscription: str, product: str
) -> None:
    customer = shop.stripe.live.get("subscription", subscription)["customer"]
    both = shop.stripe.live.create_product(name="Bundle", telegram_chat_ids=f"{CHAT},{OTHER_CHAT}")
    second = shop.stripe.live.buy_one_off(
        customer=customer, product=both["id"], telegram_user_id=USER
    )
    shop.deliver()
    path = f"{shop.path_of({'purchase_id': subscription}, 'cancel')}"
    status, answer = shop.post(path, {"when": "immediately", "confirmation": PHRASE})
    access = answer["purchase"]["access"]
    assert (status, access["state"]) == (200, "kept")
    assert second["payment_intent"] in access["chats"][0]["detail"]
    assert shop.kicks() == []
    path = path.replace(subscription, second["payment_intent"])
    status, answer = shop.post(path, {"when": "immediately", "confirmation": PHRASE})
    assert answer["purchase"]["access"]["state"] == "revoked"
    assert sorted(shop.kicks()) == sorted([(CHAT, USER), (OTHER_CHAT, USER)])


def test_a_bot_without_rights_fails_and_says_why_and_can_be_retried(
    shop: Shop, subscription: str
) -> None:
    shop.telegram.bot_api.set_bot(CHAT, status="member")
    status, answer = shop.cancel()
    access = answer["purchase"]["access"]
    assert (status, answer["purchase"]["status"], access["state"]) == (202, "cancelled", "failed")
    assert access["chats"][0]["reason"] == "bot_not_administrator"
    assert "no longer an administrator" in access["chats"][0]["detail"]
    shop.telegram.bot_api.set_bot(CHAT, status="administrator", can_restrict_members=True)
    path = shop.path_of(answer["purchase"], "revocation")
    status, answer = shop.post(path)
    assert (status, answer["changed"]) == (200, True)
    assert answer["purchase"]["access"]["state"] == "revoked"
    status, answer = shop.post(path)
    assert (status, answer["changed"]) == (200, False)


def test_too_many_requests_pause_the_bot_and_are_outstanding(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.telegram.fail("too_many_requests", retry_after=30, times=1)
    status, answer = shop.cancel()
    access = answer["purchase"]["access"]
    assert (status, access["state"]) == (202, "revoking")
    assert access["chats"][0]["next_attempt_at"] is not None
    clock.later(32)
    shop.sweep()
    assert statuses(shop) == ("cancelled", "revoked")


def test_never_linked_means_nobody_to_remove(shop: Shop, product: str) -> None:
    shop.stripe.live.subscribe(product=product)
    shop.deliver()
    status, answer = shop.cancel()
    assert (status, answer["purchase"]["access"]["state"]) == (200, "not_linked")
    assert shop.telegram.requests() == []


def test_a_switched_account_takes_the_former_one_out_once_it_has_settled(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.stripe.live.link_telegram(subscription, USER + 1)
    shop.deliver()
    shop.sweep()
    assert shop.kicks() == []
    clock.later(SETTLE_SECONDS + 1)
    shop.fire()
    assert shop.kicks() == [(CHAT, USER)]
    assert statuses(shop) == ("active", "granted")


def test_a_former_account_that_is_still_in_the_chat_is_outstanding_and_shown(
    shop: Shop, subscription: str, clock: Any
) -> None:
    shop.telegram.bot_api.set_bot(CHAT, status="member")
    shop.stripe.live.link_telegram(subscription, USER + 1)
    shop.deliver()
    clock.later(SETTLE_SECONDS + 1)
    shop.sweep()
    assert shop.purchase()["access"]["state"] == "failed"
    shop.telegram.fail("server_error", times=1)
    status, answer = shop.post(shop.path_of(shop.purchase(), "revocation"))
    access = answer["purchase"]["access"]
    assert (status, access["state"]) == (202, "revoking")
    assert [chat["state"] for chat in access["chats"]] == ["granted", "revoking"]


def test_one_chat_that_failed_does_not_hide_that_another_is_outstanding(shop: Shop) -> None:
    chats = f"{CHAT},{OTHER_CHAT}"
    both = str(shop.stripe.live.create_product(name="Both", telegram_chat_ids=chats)["id"])
    shop.stripe.live.subscribe(product=both, telegram_user_id=USER)
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    shop.telegram.bot_api.set_bot(CHAT, status="member")
    shop.telegram.fail("server_error", chat_id=OTHER_CHAT)
    status, answer = shop.cancel()
    assert {chat["state"] for chat in answer["purchase"]["access"]["chats"]} == {
        "failed",
        "revoking",
    }
    assert status == 202


def test_whoever_switched_to_another_product_leaves_the_chats_of_both(
    shop: Shop, subscription: str
) -> None:
    other = shop.stripe.live.create_product(name="Pro", telegram_chat_ids=str(OTHER_CHAT))["id"]
    shop.stripe.live.change_plan(subscription, product=other)
    shop.deliver()
    shop.telegram.bot_api.join(OTHER_CHAT, USER)
    status, answer = shop.cancel()
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    assert sorted(shop.kicks()) == sorted([(CHAT, USER), (OTHER_CHAT, USER)])


# -- together -------------------------------------------------------------------------------------


def test_many_cancels_at_once_are_one(shop: Shop, subscription: str) -> None:
    path = shop.path_of(shop.purchase(), "cancel")
    body = {"when": "immediately", "confirmation": PHRASE}
    answers: list[tuple[int, Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(shop.post(path, body))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} <= {200, 202, 409}
    assert sum(1 for _, answer in answers if answer.get("changed")) == 1
    requested = [e for e in shop.purchase()["history"] if e["event"] == "cancel_requested"]
    assert len(requested) == 1
    assert len(shop.asked_stripe("DELETE")) == 1


def test_nothing_personal_or_secret_is_logged(
    shop: Shop, subscription: str, log: io.StringIO
) -> None:
    shop.cancel(reason="canary-reason")
    text = log.getvalue()
    assert subscription in text
    for secret in ("canary-reason", "jane@example.com", "Jane Doe", "123:local", "sk_live_local"):
        assert secret not in text


# -- time ---------------------------------------------------------------------------------------


def test_stripe_is_not_asked_for_a_product_once_the_time_is_up(
    shop: Shop, product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stripe.live.buy_one_off(product=product, telegram_user_id=USER)
    shop.deliver()
    shop.tables.records.delete("demo#PRODUCTS", f"PRODUCT#live#{product}")
    shop.stripe.clear_requests()
    hasty = replace(compose.BUDGETS["cancel_purchase"], act_within=3.0)
    monkeypatch.setitem(compose.BUDGETS, "cancel_purchase", hasty)
    compose.function.cache_clear()
    status, answer = shop.cancel()
    assert (status, answer["purchase"]["access"]["state"]) == (202, "revoking")
    assert shop.asked_stripe() == []


def test_stripe_is_asked_under_a_lease_that_outlives_its_answer(
    shop: Shop, subscription: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.stripe.fail(path="/v1/subscriptions/.*", after_effect=False, drop=True)
    assert shop.cancel()[0] == 202
    clock.later(10)
    look, cancel = StripeGateway.retrieve_subscription, StripeGateway.cancel_subscription
    left: list[float] = []

    def slowly(self: StripeGateway, ref: Any) -> Any:
        clock.later(23)
        return look(self, ref)

    def watched(self: StripeGateway, ref: Any, **more: Any) -> Any:
        (until,) = (
            int(item["lease_until"]["N"])
            for item in shop.tables.dump(shop.tables.records)
            if item["sk"]["S"] == f"PURCHASE#{subscription}"
        )
        left.append(until - time.time())
        return cancel(self, ref, **more)

    monkeypatch.setattr(StripeGateway, "retrieve_subscription", slowly)
    monkeypatch.setattr(StripeGateway, "cancel_subscription", watched)
    shop.sweep()
    assert statuses(shop) == ("cancelled", "revoked")
    assert left[0] > 23
