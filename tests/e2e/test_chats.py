"""Chats and the bot's rights in them, with the roles' policies enforced."""

from __future__ import annotations

from typing import Any

from tests.e2e.store import CHAT, Store, subscribe, until

USER = 7100021


def chat(store: Store) -> dict[str, Any]:
    (found,) = (c for c in store.get("chats")["items"] if c["chat_id"] == str(CHAT))
    return dict(found)


def attention(store: Store) -> list[str]:
    return [item["telegram_user_id"] for item in store.get("attention", limit=100)["items"]]


def removals(store: Store, user: int) -> int:
    """How often Telegram removed somebody."""
    return sum(asked["status"] == 200 for asked in store.asked_telegram("unbanChatMember", user))


def test_a_removal_that_failed_for_lost_rights_is_made_by_the_sweep_after_they_return(
    store: Store, product: str
) -> None:
    subscribe(store, product, name="Radia", user=USER)
    store.telegram("bot", can_restrict_members=False)
    try:
        status, answer = store.cancel(store.customer("radia@example.com"), "immediately")
        assert (status, answer["purchase"]["access"]["state"]) == (202, "failed")
        assert str(USER) in attention(store)
        store.stack.sweep()
        assert chat(store)["bot"] == "lost_rights"
        assert removals(store, USER) == 0
    finally:
        store.telegram("bot", status="administrator", can_restrict_members=True)
    # The scheduled sweep may be under way, and do it before this one.
    store.stack.sweep()

    def out() -> bool:
        (purchase,) = store.customer("radia@example.com")["purchases"]
        return bool(purchase["access"]["state"] == "revoked")

    until(out, 30)
    assert removals(store, USER) == 1
    assert chat(store)["bot"] == "can_remove"
    assert str(USER) not in attention(store)


def test_the_preview_tells_what_the_cancel_then_does(store: Store, product: str) -> None:
    user = USER + 1
    sold = subscribe(store, product, name="Grete", user=user)
    detail = store.customer("grete@example.com")
    path = f"customers/{detail['customer']['customer_id']}/purchases/{sold['id']}/cancel_preview"
    options = {option["when"]: option for option in store.get(path)["options"]}
    assert [(c["chat_id"], c["effect"]) for c in options["immediately"]["chats"]] == [
        (str(CHAT), "leaves")
    ]
    status, answer = store.cancel(detail, "immediately")
    assert (status, answer["purchase"]["access"]["state"]) == (200, "revoked")
    assert store.get(path) == {"options": []}


def test_a_retry_of_everything_is_accepted_and_made(store: Store, product: str) -> None:
    user = USER + 2
    subscribe(store, product, name="Mary", user=user)
    store.telegram("members", user_id=user, status="administrator")
    status, _ = store.cancel(store.customer("mary@example.com"), "immediately")
    assert status == 202
    store.telegram("members", user_id=user, status="member")
    answer = store.session.post(f"{store.stack.url}/v1/attention/retry", timeout=20)
    assert (answer.status_code, answer.json()) == (202, {"accepted": True})
    store.stack.sweep()
    until(lambda: removals(store, user) == 1, 90)
    assert str(user) not in attention(store)


def test_an_end_at_stripe_takes_the_buyer_out_by_its_own_schedule(
    store: Store, product: str
) -> None:
    """A change settles for five seconds in the local run; nobody waits for the sweep."""
    user = USER + 3
    sold = subscribe(store, product, name="Annie", user=user)
    args = {"subscription": sold["id"], "immediately": True}
    store.scenario({"do": "portal_cancel", "args": args})
    until(lambda: removals(store, user) == 1, 55)
    log = store.stack.data_dir / "logs" / "functions.log"
    until(
        lambda: any(
            "schedule fired" in line and sold["id"] in line for line in log.read_text().splitlines()
        ),
        30,
    )
