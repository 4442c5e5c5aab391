"""The history of a purchase: who did what, with which words, whatever happens later.

Kinds, with their variants:

* an end that is set after an earlier one was taken back: by the owner or the buyer, each of the
  two, in any order of the events, with and without a sweep in between; refused; put off; a fixed
  term; by the owner twice;
* words: the buyer's code, comment or both, with the cancel or after it; of two cancels; the
  owner's reason for each way to cancel, for one that changes nothing, and for one that failed;
* an end at once after an end of the period that was taken back;
* a link that is taken off: at each place where it can stand;
* attempts to remove somebody: in vain, and again.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.functions.http import api_event, json_of
from tests.functions.shop import CHAT, USER, MovableClock, Shop
from tests.functions.test_who_leaves import Events, is_in, join, product, settle, tell

PHRASE = "CANCEL PURCHASE"
WORDS: dict[str, Any] = {"feedback": "switched_service", "comment": "Found another"}


@pytest.fixture
def sold(shop: Shop, clock: MovableClock) -> str:
    """A live subscription."""
    id_ = shop.sell()
    clock.later(100)
    return id_


def ask(
    shop: Shop,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    sub: str = "u-1",
    name: str = "Ann",
) -> tuple[int, Any]:
    """A change by one of the staff."""
    claims = {"store_id": "demo", "sub": sub, "name": name}
    text = None if body is None else json.dumps(body)
    event = api_event("POST", shop.path_of(shop.purchase(), path), body=text, claims=claims)
    answer = shop.invoke("cancel_purchase", event)
    return int(answer["statusCode"]), json_of(answer)


def cancel(shop: Shop, when: str, **more: Any) -> tuple[int, Any]:
    who = {name: more.pop(name) for name in ("sub", "name") if name in more}
    return ask(shop, "cancel", {"when": when, "confirmation": PHRASE, **more}, **who)


def told(shop: Shop, *events: str) -> list[tuple[Any, ...]]:
    """Actor, event, detail and reason of the entries, the oldest first."""
    entries = shop.purchase()["history"][::-1]
    return [
        (e["actor"], e["event"], e["detail"], e["reason"])
        for e in entries
        if not events or e["event"] in events
    ]


ASKED = ("cancel_requested", "cancel_withdrawn", "cancel_rescheduled")

# -- an end that is set after an earlier one was taken back ----------------------------------------


@pytest.mark.parametrize("gap", [0, 1, 10, 3600])
@pytest.mark.parametrize("sweeps", [False, True])
@pytest.mark.parametrize("order", ["as it happens", "forwards", "backwards", "twice"])
def test_a_buyer_who_cancels_after_taking_back_the_owners_cancel_is_told_as_such(
    shop: Shop, clock: MovableClock, sold: str, gap: int, sweeps: bool, order: str
) -> None:
    since = Events(shop)

    def happened() -> None:
        if order == "as it happens":
            shop.deliver()
        if sweeps:
            shop.sweep()
        clock.later(gap)

    cancel(shop, "period_end", reason="Shared the link")
    happened()
    shop.stripe.live.portal_uncancel(sold)
    happened()
    shop.stripe.live.portal_cancel(sold, **WORDS)
    happened()
    if order != "as it happens":
        tell(shop, {"backwards": since.new[::-1], "twice": since.new * 2}.get(order, since.new))
    shop.deliver()
    shop.sweep()
    # Within one second, too, they stand in the order in which they follow from each other.
    assert told(shop, *ASKED) == [
        ("owner", "cancel_requested", "period_end", "Shared the link"),
        ("stripe", "cancel_withdrawn", None, None),
        ("customer", "cancel_requested", "period_end", "switched_service: Found another"),
    ]


def test_a_cancel_in_the_dashboard_after_the_owners_was_taken_back_is_told(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    """Nobody's words say who it was."""
    cancel(shop, "period_end")
    shop.deliver()
    shop.stripe.live.portal_uncancel(sold)
    shop.deliver()
    clock.later(3600)
    shop.stripe.live.update_subscription(sold, {"cancel_at_period_end": True})
    shop.deliver()
    shop.sweep()
    assert [(actor, event) for actor, event, *_ in told(shop, *ASKED)] == [
        ("owner", "cancel_requested"),
        ("stripe", "cancel_withdrawn"),
        ("stripe", "cancel_requested"),
    ]


def test_the_owner_who_asks_again_after_it_was_taken_back_is_told_twice_and_stripe_never(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    for reason in ("Owes a fee", "Left the group"):
        cancel(shop, "period_end", reason=reason)
        shop.deliver()
        clock.later(100)
        shop.stripe.live.portal_uncancel(sold)
        shop.deliver()
        shop.sweep()
        clock.later(100)
    assert told(shop, *ASKED) == [
        ("owner", "cancel_requested", "period_end", "Owes a fee"),
        ("stripe", "cancel_withdrawn", None, None),
        ("owner", "cancel_requested", "period_end", "Left the group"),
        ("stripe", "cancel_withdrawn", None, None),
    ]


def test_the_buyers_cancel_that_was_taken_back_stays_after_the_owners(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    shop.stripe.live.portal_cancel(sold, **WORDS)
    shop.deliver()
    clock.later(100)
    shop.stripe.live.portal_uncancel(sold)
    shop.deliver()
    clock.later(100)
    cancel(shop, "period_end", reason="No payment")
    shop.deliver()
    assert told(shop, *ASKED) == [
        ("customer", "cancel_requested", "period_end", "switched_service: Found another"),
        ("stripe", "cancel_withdrawn", None, None),
        ("owner", "cancel_requested", "period_end", "No payment"),
    ]


def test_a_cancel_in_the_dashboard_after_the_owners_was_refused_is_not_the_owners(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    shop.stripe.disconnect()
    assert cancel(shop, "period_end")[0] == 502
    shop.stripe.reconnect()
    clock.later(10)
    shop.stripe.live.update_subscription(sold, {"cancel_at_period_end": True})
    shop.deliver()
    assert [(actor, event) for actor, event, *_ in told(shop, *ASKED)] == [
        ("owner", "cancel_requested"),
        ("stripe", "cancel_requested"),
    ]


def test_an_end_that_is_put_off_is_told_after_the_owners_request(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    cancel(shop, "period_end")
    shop.deliver()
    clock.later(100)
    later = shop.stripe.live.get("subscription", sold)["cancel_at"] + 86_400
    shop.stripe.live.update_subscription(sold, {"cancel_at": later})
    shop.deliver()
    assert [(actor, event) for actor, event, *_ in told(shop, *ASKED)] == [
        ("owner", "cancel_requested"),
        ("stripe", "cancel_rescheduled"),
    ]


def test_a_fixed_term_that_the_owner_ends_with_its_period_was_not_moved_by_stripe(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    live = shop.stripe.live
    period_end = live.get("subscription", sold)["items"]["data"][0]["current_period_end"]
    live.update_subscription(sold, {"cancel_at": period_end + 330 * 86_400})
    shop.deliver()
    clock.later(100)
    cancel(shop, "period_end")
    shop.deliver()
    assert [(actor, event) for actor, event, *_ in told(shop, *ASKED)] == [
        ("stripe", "cancel_requested"),
        ("owner", "cancel_requested"),
    ]


@pytest.mark.parametrize("sweeps", [False, True])
def test_a_buyer_who_cancels_at_once_after_taking_back_the_owners_cancel_ended_it(
    shop: Shop, clock: MovableClock, sold: str, sweeps: bool
) -> None:
    cancel(shop, "period_end", reason="No payment")
    shop.deliver()
    clock.later(100)
    shop.stripe.live.portal_uncancel(sold)
    shop.deliver()
    if sweeps:
        shop.sweep()
    clock.later(100)
    shop.stripe.live.portal_cancel(sold, immediately=True, **WORDS)
    shop.deliver()
    settle(shop, clock)
    assert shop.purchase()["end_reason"] == "cancelled_by_customer"
    words = "switched_service: Found another"
    assert told(shop, *ASKED, "ended") == [
        ("owner", "cancel_requested", "period_end", "No payment"),
        ("stripe", "cancel_withdrawn", None, None),
        ("customer", "cancel_requested", None, words),
        ("customer", "ended", "cancelled_by_customer", words),
    ]
    assert shop.purchase()["cancellation"] == {**WORDS, "reason": None}


def test_an_end_that_the_owner_asked_for_and_that_came_is_the_owners(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    cancel(shop, "period_end", reason="No payment")
    shop.deliver()
    clock(shop.stripe.live.get("subscription", sold)["cancel_at"] + 60)
    shop.stripe.run_due()
    shop.deliver()
    shop.sweep()
    assert told(shop, *ASKED, "ended") == [
        ("owner", "cancel_requested", "period_end", "No payment"),
        ("owner", "ended", "cancelled_by_owner", "No payment"),
    ]


def test_nobody_asked_for_an_end_that_came_of_a_payment_that_failed(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    shop.stripe.live.cancel_subscription(sold)
    ended = shop.stripe.live.get("subscription", sold)
    ended["cancellation_details"]["reason"] = "payment_failed"
    (event,) = Events(shop).shop.stripe.events()[-1:]
    event["data"]["object"]["cancellation_details"]["reason"] = "payment_failed"
    tell(shop, [event])
    assert told(shop, *ASKED) == []
    assert told(shop, "ended") == [("stripe", "ended", "payment_failed", None)]


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("immediately", [False, True])
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"feedback": "too_expensive", "comment": "Too dear"}, "too_expensive: Too dear"),
        ({"feedback": "too_expensive"}, "too_expensive"),
        ({"feedback": None, "comment": "Too dear"}, "Too dear"),
    ],
)
def test_the_buyers_code_and_comment_are_both_in_the_history(
    shop: Shop, sold: str, words: dict[str, Any], reason: str, immediately: bool
) -> None:
    shop.stripe.live.portal_cancel(sold, immediately=immediately, **words)
    shop.deliver()
    (entry,) = told(shop, "cancel_requested")
    assert entry == ("customer", "cancel_requested", None if immediately else "period_end", reason)
    shown = {"feedback": None, "comment": None, "reason": None, **words}
    assert shop.purchase()["cancellation"] == shown


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_words_that_the_portal_asks_for_after_the_cancel_are_the_buyers(
    shop: Shop, clock: MovableClock, sold: str, order: str
) -> None:
    since = Events(shop)
    shop.stripe.live.portal_cancel(sold, feedback=None)
    clock.later(5)
    shop.stripe.live.update_subscription(sold, {"cancellation_details": WORDS})
    events = since.of("customer.subscription.updated")
    assert len(events) == 2
    tell(shop, events if order == "forwards" else events[::-1])
    assert told(shop, *ASKED) == [
        ("customer", "cancel_requested", "period_end", "switched_service: Found another")
    ]


def test_the_words_of_each_cancel_stay(shop: Shop, clock: MovableClock, sold: str) -> None:
    live = shop.stripe.live
    for comment in ("Too dear", "Too loud"):
        live.portal_cancel(sold, feedback="other", comment=comment)
        clock.later(100)
        live.portal_uncancel(sold)
        clock.later(100)
    shop.deliver()
    assert [reason for *_, reason in told(shop, "cancel_requested")] == [
        "other: Too dear",
        "other: Too loud",
    ]
    assert shop.purchase()["cancellation"] is None


def test_the_owners_reason_that_says_what_the_buyer_said_leaves_it_the_buyers(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    shop.stripe.live.portal_cancel(sold, feedback=None, comment="Too dear")
    shop.deliver()
    clock.later(3600)
    cancel(shop, "immediately", reason="Too dear")
    shop.deliver()
    assert shop.purchase()["cancellation"] == {
        "feedback": None,
        "comment": "Too dear",
        "reason": "Too dear",
    }
    assert [(actor, reason) for actor, _, _, reason in told(shop, "cancel_requested")] == [
        ("customer", "Too dear"),
        ("owner", "Too dear"),
    ]


REASON = "Shared the invite link"


def owners(shop: Shop, reason: str = REASON) -> list[tuple[str, str, str]]:
    """The entries with a reason, and who of the staff gave it."""
    return [
        (e["event"], e["actor_id"], e["actor_name"])
        for e in shop.purchase()["history"]
        if e["reason"] == reason
    ]


@pytest.mark.parametrize("when", ["immediately", "period_end"])
def test_the_reason_and_who_gave_it_are_in_the_history(shop: Shop, sold: str, when: str) -> None:
    _, answer = cancel(shop, when, reason=REASON)
    assert REASON in json.dumps(answer["purchase"]["history"])
    ended = [("ended", "u-1", "Ann")] if when == "immediately" else []
    assert owners(shop) == [*ended, ("cancel_requested", "u-1", "Ann")]
    shop.deliver()
    assert owners(shop)[-1] == ("cancel_requested", "u-1", "Ann")


@pytest.mark.parametrize("kind", ["one_off", "access_code"])
def test_the_reason_to_end_what_was_sold_once_is_in_the_history(shop: Shop, kind: str) -> None:
    made = shop.stripe.live.create_product(name="Once", telegram_chat_ids=str(CHAT))["id"]
    if kind == "one_off":
        shop.stripe.live.buy_one_off(product=made, telegram_user_id=USER)
    else:
        shop.stripe.live.redeem_access_code(product=made, telegram_user_id=USER)
    shop.deliver()
    cancel(shop, "immediately", reason=REASON)
    assert owners(shop) == [("ended", "u-1", "Ann"), ("cancel_requested", "u-1", "Ann")]


def test_the_reason_of_a_cancel_that_stripe_refused_stays(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    shop.stripe.disconnect()
    assert cancel(shop, "immediately", reason=REASON)[0] == 502
    shop.stripe.reconnect()
    assert cancel(shop, "immediately", reason="Again", sub="u-2", name="Bob")[0] == 200
    assert ("cancel_requested", "u-1", "Ann") in owners(shop)
    assert ("cancel_requested", "u-2", "Bob") in owners(shop, "Again")
    assert [event for _, event, *_ in told(shop, "cancel_refused")] == ["cancel_refused"]


def test_the_reason_of_an_end_without_stripe_stays(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    shop.stripe.close_account()
    assert cancel(shop, "immediately")[0] == 502
    assert cancel(shop, "immediately", reason=REASON, without_stripe=True)[0] == 200
    assert owners(shop) == [("ended", "u-1", "Ann"), ("cancel_requested", "u-1", "Ann")]
    assert told(shop, "ended_without_stripe") == [
        ("system", "ended_without_stripe", "charges_may_continue", None)
    ]


@pytest.mark.parametrize("before", ["the buyer's", "the owner's", "an end"])
def test_a_reason_given_with_a_cancel_that_changes_nothing_is_in_the_history_once(
    shop: Shop, clock: MovableClock, sold: str, before: str
) -> None:
    when = "period_end"
    if before == "the buyer's":
        shop.stripe.live.portal_cancel(sold)
    elif before == "the owner's":
        cancel(shop, "period_end")
    else:
        when = "immediately"
        cancel(shop, "immediately")
    shop.deliver()
    shown = shop.purchase()
    for _ in range(2):
        status, answer = cancel(shop, when, reason=REASON, sub="u-2", name="Bob")
        assert (status, answer["changed"]) == (200, False)
    assert owners(shop) == [("reason_given", "u-2", "Bob")]
    rest = shop.purchase()
    rest["history"] = [e for e in rest["history"] if e["event"] != "reason_given"]
    assert rest == shown


def test_a_reason_that_changed_nothing_hides_no_later_cancel_of_the_buyer(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    shop.stripe.live.portal_cancel(sold, feedback=None)
    shop.deliver()
    clock.later(100)
    cancel(shop, "period_end", reason=REASON)
    clock.later(100)
    shop.stripe.live.portal_uncancel(sold)
    clock.later(100)
    shop.stripe.live.portal_cancel(sold, feedback=None)
    shop.deliver()
    assert [actor for actor, *_ in told(shop, "cancel_requested")] == ["stripe", "stripe"]


# -- links -----------------------------------------------------------------------------------------


def test_metadata_that_is_cleared_takes_the_account_off_and_says_so_for_good(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    since = Events(shop)
    shop.stripe.live.update_subscription(sold, {"metadata": {"telegram_user_id": ""}})
    (cleared,) = since.of("customer.subscription.updated")
    shop.deliver()
    settle(shop, clock)
    assert is_in(shop) == set()
    purchase = shop.purchase()
    assert (purchase["status"], purchase["access"]["telegram_user_id"]) == ("active", None)
    assert purchase["access"]["state"] == "revoked"
    assert [(c["telegram_user_id"], c["state"]) for c in purchase["access"]["chats"]] == [
        (str(USER), "revoked")
    ]
    detail = f"Telegram account {USER} was taken off ({cleared['id']})"
    where = f"chat {CHAT}, Telegram account {USER}"
    assert told(shop) == [
        ("customer", "purchased", None, None),
        ("stripe", "unlinked", detail, None),
        ("system", "access_revoked", where, None),
    ]
    clock.later(100)
    shop.stripe.live.cancel_subscription(sold)
    shop.deliver()
    settle(shop, clock)
    assert shop.purchase()["access"]["state"] == "revoked"
    assert ("stripe", "unlinked", detail, None) in told(shop)


CHANGES: dict[str, list[int | None]] = {
    "off": [None],
    "another": [USER + 1],
    "off and on": [None, USER],
}


@pytest.mark.parametrize("place", ["subscription", "charge"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_link_that_changes_is_in_the_history_wherever_it_stands(
    shop: Shop, clock: MovableClock, place: str, change: str
) -> None:
    live = shop.stripe.live
    made = product(shop, "Signals", CHAT)
    if place == "subscription":
        purchase_id = live.subscribe(product=made, telegram_user_id=USER)["id"]
    else:
        purchase_id = live.buy_one_off(product=made, telegram_user_id=USER)["id"]
    shop.deliver()
    join(shop, USER, CHAT)
    for user in CHANGES[change]:
        clock.later(60)
        live.link_telegram(purchase_id, user)
        shop.deliver()
    settle(shop, clock)
    events = [event for _, event, *_ in told(shop, "linked", "unlinked", "relinked")]
    wanted = {"off": ["unlinked"], "another": ["relinked"], "off and on": ["unlinked", "linked"]}
    assert events == wanted[change]
    assert shop.purchase()["access"]["state"] != "not_linked"


def test_a_link_that_the_store_makes_and_replaces_is_in_the_history(
    shop: Shop, clock: MovableClock
) -> None:
    sold = shop.stripe.live.subscribe(product=product(shop, "Signals", CHAT))
    shop.deliver()
    for number, user in enumerate((USER, USER + 1)):
        detail = {"store_id": "demo", "purchase_id": sold["id"], "telegram_user_id": str(user)}
        event = {"id": f"bus-{number}", "detail-type": "TelegramLinked", "detail": detail}
        shop.invoke("store_events", {**event, "time": f"2026-11-26T12:00:0{number}Z"})
    assert told(shop, "linked", "relinked") == [
        ("store", "linked", f"Telegram account {USER}", None),
        (
            "store",
            "relinked",
            f"Telegram account {USER} was replaced by {USER + 1} (bus-1)",
            None,
        ),
    ]


def test_a_product_that_metadata_names_anew_is_a_switch(shop: Shop, clock: MovableClock) -> None:
    live = shop.stripe.live
    one, two = product(shop, "One", CHAT), product(shop, "Two", CHAT)
    sold = live.subscribe(product=live.create_product(name="Inline")["id"], telegram_user_id=USER)
    live.update_subscription(sold["id"], {"metadata": {"product_id": one}})
    shop.deliver()
    clock.later(60)
    live.update_subscription(sold["id"], {"metadata": {"product_id": two}})
    shop.deliver()
    assert told(shop, "switched") == [("stripe", "switched", f"product_id: {one} → {two}", None)]


# -- attempts --------------------------------------------------------------------------------------


def test_every_attempt_stays_with_chat_and_account_and_who_asked_for_it(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    bot = shop.telegram.bot_api
    bot.set_member(CHAT, USER, status="administrator")
    assert cancel(shop, "immediately")[0] == 202
    clock.later(60)
    assert ask(shop, "revocation", sub="u-2", name="Bob")[0] == 202
    clock.later(60)
    shop.telegram.fail("server_error", times=1)
    bot.set_member(CHAT, USER, status="member")
    ask(shop, "revocation", sub="u-3", name="Cy")
    clock.later(600)
    shop.sweep()
    clock.later(600)
    shop.sweep()
    kinds = ("access_failed", "access_revoked", "removal_postponed", "revocation_requested")
    entries = [e for e in shop.purchase()["history"][::-1] if e["event"] in kinds]
    assert [(e["event"], e["actor_name"]) for e in entries] == [
        ("access_failed", None),
        ("revocation_requested", "Bob"),
        ("access_failed", None),
        ("revocation_requested", "Cy"),
        ("removal_postponed", None),
        ("access_revoked", None),
    ]
    attempts = [e["detail"] for e in entries if e["event"] != "revocation_requested"]
    assert all(d.startswith(f"chat {CHAT}, Telegram account {USER}") for d in attempts)


def test_a_retry_of_what_only_waits_says_who_asked(
    shop: Shop, clock: MovableClock, sold: str
) -> None:
    shop.telegram.fail("server_error", times=2)
    assert cancel(shop, "immediately")[0] == 202
    clock.later(5)
    ask(shop, "revocation", sub="u-2", name="Bob")
    (entry,) = (e for e in shop.purchase()["history"] if e["event"] == "revocation_requested")
    assert (entry["actor"], entry["actor_id"], entry["actor_name"]) == ("owner", "u-2", "Bob")
