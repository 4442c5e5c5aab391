"""Each function's calls while it does all it can do, against what its role in the template allows:
nothing is missing, and nothing is over."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import pytest

from shared import compose
from shared.domain.clock import iso
from shared.ending.removal import AccessRemover
from shared.settings import SETTLE_SECONDS
from shared.storage.keys import purchase_key
from shared.tenant import Tenant
from tests.functions.shop import (
    CHAT,
    OTHER_CHAT,
    USER,
    MovableClock,
    Shop,
    SlowContext,
    forget_what_was_made,
    queue_message,
)
from tests.functions.test_webhook_convergence import guest_who_became_a_customer
from tests.functions.webhook_world import signed
from tests.guards import Breach, breaches, made, running
from tests.policies import ROLES, granted
from tests.template.expanded import as_list, of_type, statements


@pytest.fixture
def cold(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose functions start anew each time: processes of their own, which have read nothing
    before."""
    invoke = shop.invoke

    def start(function: str, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        forget_what_was_made()
        return invoke(function, event, context)

    monkeypatch.setattr(shop, "invoke", start)
    return shop


def bus(shop: Shop, number: int, detail_type: str, **detail: Any) -> None:
    event = {
        "id": f"bus-{number}",
        "detail-type": detail_type,
        "time": iso(1_780_000_000 + number),
        "detail": {"store_id": "demo", **detail},
    }
    shop.invoke("store_events", event, SlowContext())


def a_life_of_a_store(shop: Shop, clock: MovableClock) -> None:
    """All that the functions can do, once."""
    live, chats = shop.stripe.live, shop.telegram.bot_api
    product = live.create_product(name="Signals", telegram_chat_ids=f"{CHAT},{OTHER_CHAT}")["id"]
    chats.add_chat(OTHER_CHAT)
    names = iter(range(700100, 700200))

    def subscribe(**more: Any) -> str:
        user = next(names)
        made = live.subscribe(
            product=product,
            name=f"Nina {user}",
            email=f"n{user}@example.com",
            telegram_user_id=user,
            **more,
        )
        shop.deliver()
        chats.join(CHAT, user)
        chats.join(OTHER_CHAT, user)
        return str(made["id"])

    def path_of(purchase: str, action: str) -> str:
        for row in shop.get("/v1/customers", [("limit", "100")])[1]["items"]:
            detail = shop.get(f"/v1/customers/{row['customer_id']}")[1]
            if purchase in [p["purchase_id"] for p in detail["purchases"]]:
                return f"/v1/customers/{row['customer_id']}/purchases/{purchase}/{action}"
        raise AssertionError(purchase)

    def cancel(purchase: str, when: str, key: str | None = None) -> None:
        body = {"when": when, "confirmation": "CANCEL PURCHASE"}
        shop.post(path_of(purchase, "cancel"), body, key=key)

    now, later, taken_back, fails, portal = (subscribe() for _ in range(5))
    # Webhook: guests that become customers, refunds, disputes, balances, foreign and parked events.
    live.guest_checkout(product=product, telegram_user_id=next(names))
    shop.deliver()
    for event in guest_who_became_a_customer(live):
        body = json.dumps(event).encode()
        assert shop.receive(body, {"Stripe-Signature": signed(body)}) == 200
    bought = live.buy_one_off(product=product, telegram_user_id=next(names))
    live.refund(live.charge_of(bought["id"])["id"])
    live.dispute(live.charge_of(bought["id"])["id"])
    customer = live.create_customer(name="Old", email="old@example.com", grouptizer_id="g1")["id"]
    live.adjust_balance(customer, amount=-500)
    live.update_customer(customer, grouptizer_id="g2", name="New")
    live.redeem_access_code(product=product, telegram_user_id=next(names))
    shop.stripe.account("acct_nobody").create_customer()
    shop.deliver()
    # Lists.
    _, page = shop.get("/v1/customers", [("limit", "1"), ("search", "nina")])
    shop.get("/v1/customers", [("limit", "1"), ("search", "nina"), ("cursor", page["next_cursor"])])
    shop.get("/v1/customers", [("product_id", product), ("used_access_code", "true")])
    shop.get("/v1/products")
    path = path_of(now, "cancel").split("/purchases/")[0]
    transaction = shop.get(path)[1]["transactions"]["items"][0]["transaction_id"]
    shop.get("/v1/customers", [("transaction_id", transaction)])
    shop.get(f"{path}/transactions", [("limit", "1")])
    for _ in range(3):
        live.renew(now)
    shop.deliver()
    _, page = shop.get(f"{path}/transactions", [("limit", "1")])
    shop.get(f"{path}/transactions", [("cursor", page["next_cursor"])])
    # Cancels.
    for _ in range(2):
        cancel(now, "immediately", key="once")
    cancel(now, "period_end", key="too late")
    cancel(later, "period_end")
    cancel(later, "immediately")
    cancel(taken_back, "period_end")
    left = dict(shop.scheduler.schedules)
    live.portal_uncancel(taken_back)
    chats.set_bot(CHAT, can_restrict_members=False)
    cancel(fails, "immediately")
    shop.get("/v1/attention")
    shop.get("/v1/chats")
    shop.get(path_of(later, "cancel_preview"))
    shop.post("/v1/attention/retry")
    shop.sweep()
    chats.set_bot(CHAT, can_restrict_members=True)
    shop.post(path_of(fails, "revocation"))
    shop.deliver()
    live.portal_cancel(portal, immediately=True)
    shop.deliver()
    shop.sweep()
    shop.scheduler.schedules.update(left)  # as if its deletion had been lost
    cancel(taken_back, "period_end")
    shop.fire()
    # The bus.
    bus(shop, 1, "ProductChanged", product_id="own", name="Own", telegram_chat_ids="-1001000000009")
    end = iso(1_780_000_000)
    bus(
        shop,
        2,
        "AccessCodeRedeemed",
        grouptizer_id="g9",
        access_code="ABCDEFGHJKLM",
        product_id="own",
        redeemed_at=iso(1_770_000_000),
        expires_at=end,
        telegram_user_id=str(USER),
    )
    bus(shop, 3, "CustomerProfileChanged", grouptizer_id="g9", name="Bus", email="bus@example.com")
    bus(shop, 4, "TelegramLinked", purchase_id=taken_back, telegram_user_id=str(USER))
    bus(shop, 5, "TelegramLinked", purchase_id="sub_unknown", telegram_user_id=str(USER))
    # Whoever acts may be the first to see what was lost on the way.
    other = live.create_product(name="More", telegram_chat_ids=str(OTHER_CHAT))["id"]
    theirs, mine, kept, again, moved, moved_too = (subscribe() for _ in range(6))

    def changes_without_our_knowing(purchase: str) -> None:
        live.change_plan(purchase, product=other)
        live.link_telegram(purchase, next(names))

    changes_without_our_knowing(theirs)
    cancel(theirs, "period_end")
    shop.deliver()
    # The webhook sets schedules, finds one already there, and is in time to drop one.
    live.portal_cancel(kept)
    shop.deliver()
    left = dict(shop.scheduler.schedules)
    live.portal_uncancel(kept)
    shop.deliver()
    shop.scheduler.schedules.update(left)
    live.portal_cancel(kept)
    shop.deliver()
    # The platform's events too.
    unknown = live.create_product(name="Not heard of", telegram_chat_ids=str(CHAT))["id"]
    later_end, ended = iso(int(time.time()) + 9 * 86400), iso(1_790_000_000)
    for number, end in enumerate((later_end, iso(int(time.time()) + 5 * 86400), None, ended), 10):
        if number == 11:
            shop.scheduler.schedules.update(dict(left))
        bus(
            shop,
            number,
            "AccessCodeRedeemed",
            grouptizer_id="g10",
            access_code="MNPQRSTUVWXY",
            product_id=unknown,
            redeemed_at=iso(1_770_000_000),
            expires_at=end,
            telegram_user_id=str(next(names)),
        )
        left = dict(shop.scheduler.schedules)
    bus(shop, 20, "CustomerProfileChanged", grouptizer_id="g9", name="Otto", email="o@example.com")
    # The revoker finds that a period has moved, that nothing ends any more, or another product.
    for purchase in (mine, again, moved, moved_too):
        cancel(purchase, "period_end")
    shop.deliver()
    shop.scheduler.down = True
    live.portal_uncancel(again)
    shop.deliver()
    shop.scheduler.down = False
    left = dict(shop.scheduler.schedules)
    for purchase in (mine, moved, moved_too):
        live.portal_uncancel(purchase)
    changes_without_our_knowing(mine)
    clock.later(3600)
    shop.sweep()
    for purchase in (moved, moved_too):
        live.renew(purchase)
        live.portal_cancel(purchase)
    clock.later(30 * 86400)
    del shop.scheduler.schedules[next(name for name in shop.scheduler.schedules if name in left)]
    shop.sweep()
    shop.fire()
    # A look at Stripe finds the session of a guest who is a customer: its event never arrived.
    sold = live.subscribe(product=product, telegram_user_id=700001)["id"]
    shop.deliver()
    told = [e for e in guest_who_became_a_customer(live) if "checkout" not in e["type"]]
    live.portal_cancel(sold, immediately=True)
    told += [e for e in live.events() if e["type"] == "customer.subscription.deleted"][-1:]
    for event in told:
        body = json.dumps(event).encode()
        assert shop.receive(body, {"Stripe-Signature": signed(body)}) == 200
    clock.later(SETTLE_SECONDS + 1)
    shop.sweep()
    shop.deliver()
    # The sweep: what is due, and what schedules left behind.
    clock.later(40 * 86400)
    shop.sweep()
    shop.fire()
    shop.sweep()


@pytest.mark.parametrize("role", ROLES.values())
def test_nothing_is_allowed_on_everything(role: str) -> None:
    for statement in statements(role):
        for action in as_list(statement["Action"]):
            assert "*" not in action
        for resource in as_list(statement["Resource"]):
            assert resource != "*"


def test_no_function_is_left_out() -> None:
    """The login's trigger asks AWS for nothing, so its role allows it to log and no more."""
    others = {
        function["Properties"]["Role"]["Fn::GetAtt"][0]
        for function in of_type("AWS::Lambda::Function").values()
    } - set(ROLES.values())
    for role in others:
        allowed = {a for statement in statements(role) for a in as_list(statement["Action"])}
        assert allowed <= {"logs:CreateLogStream", "logs:PutLogEvents"}, role


def let_events_come_by_the_bus(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe's events come by EventBridge in place of the webhook."""
    invoke = shop.invoke

    def by_bus(function: str, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        if function != "stripe_webhook":
            return invoke(function, event, context)
        invoke("stripe_bus", queue_message(json.loads(event["body"])), SlowContext())
        return {"statusCode": 200}

    monkeypatch.setattr(shop, "invoke", by_bus)


WAYS_OF_EVENTS = {"stripe_webhook", "stripe_bus"}


@pytest.mark.parametrize("way", sorted(WAYS_OF_EVENTS))
def test_everything_that_is_allowed_is_needed_and_everything_needed_is_allowed(
    cold: Shop, clock: MovableClock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The second half holds in every test: tests/guards.py."""
    if way == "stripe_bus":
        let_events_come_by_the_bus(cold, monkeypatch)
    # Removals from one chat are a second apart: the clock moves in place of the test's waiting.
    monkeypatch.setitem(
        cast("dict[str, Any]", AccessRemover.__init__.__kwdefaults__), "sleep", clock.later
    )
    a_life_of_a_store(cold, clock)
    ran = ROLES.keys() - (WAYS_OF_EVENTS - {way})
    needless = {name: sorted(granted(name) - made[name]) for name in ran}
    missing = {name: sorted(made[name] - granted(name)) for name in ran}
    assert not any(needless.values()), needless
    assert not any(missing.values()), missing


@pytest.mark.parametrize(
    "call",
    [
        lambda shop: shop.tables.records.delete("REGISTRY", "STORE#x"),
        lambda shop: shop.tables.index.put({"pk": Tenant("demo").index_pk("I"), "sk": "x"}),
        lambda shop: compose.function("cancel_purchase").secrets.get("STRIPE_API_SECRET_ARN"),
        lambda shop: compose.function("cancel_purchase").schedules.delete(
            purchase_key(Tenant("demo"), "cus_1", "sub_1")
        ),
    ],
    ids=["record", "index", "secret", "schedule"],
)
def test_a_call_that_a_functions_role_does_not_allow_fails_its_test(shop: Shop, call: Any) -> None:
    with running("get_customer"), pytest.raises(Breach):
        call(shop)
    breaches.clear()
