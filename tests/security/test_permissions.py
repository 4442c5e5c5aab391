"""Each function's calls while it does all it can do, against what its role in the template allows:
nothing is missing, and nothing is over."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from functions.store_events import handler as store_events
from shared.domain.clock import iso
from tests.functions.shop import (
    CHAT,
    OTHER_CHAT,
    USER,
    MovableClock,
    Shop,
    SlowContext,
    forget_what_was_made,
)
from tests.guards import recording
from tests.template.expanded import as_list, statements

# What a function's role must allow that is not asked for through our own clients, and why.
BESIDES = {
    "logs:CreateLogStream": "Lambda itself writes the log",
    "logs:PutLogEvents": "Lambda itself writes the log",
    "iam:PassRole": "asked for by CreateSchedule and UpdateSchedule, which name the role",
    "sqs:SendMessage": "Lambda itself sends what failed to its destination",
}
_ACTIONS = {
    "get_item": "GetItem",
    "put_item": "PutItem",
    "update_item": "UpdateItem",
    "delete_item": "DeleteItem",
    "query": "Query",
    "batch_get_item": "BatchGetItem",
    "batch_write_item": "BatchWriteItem",
}
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
FUNCTIONS = {
    "list_customers": "ListCustomers",
    "get_customer": "GetCustomer",
    "cancel_purchase": "CancelPurchase",
    "stripe_webhook": "StripeWebhook",
    "store_events": "StoreEvents",
    "period_end_revoker": "PeriodEndRevoker",
}
ACTING = ("cancel_purchase", "stripe_webhook", "store_events", "period_end_revoker")
ACTING_SECRETS = ("STRIPE_API_SECRET_ARN", "TELEGRAM_SECRET_ARN")
Calls = dict[str, set[tuple[str, str]]]


def granted(role: str) -> set[tuple[str, str]]:
    """(action, resource) of a role: a table, an index, a secret or a kind."""
    return {
        (action, _resource(resource))
        for statement in statements(f"{role}Role")
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if action not in BESIDES
    }


def _resource(resource: Any) -> str:
    text = json.dumps(resource)
    for name in ("index/by_ref", "index/due"):
        if name in text:
            return f"records/{name}"
    for mark, name in (
        ("RecordsTable", "records"),
        ("CustomerIndexTable", "index"),
        (":schedule/", "schedules"),
        ("StripeApiSecret", "STRIPE_API_SECRET_ARN"),
        ("StripeWebhookSecret", "STRIPE_WEBHOOK_SECRET_ARN"),
        ("TelegramSecret", "TELEGRAM_SECRET_ARN"),
        ("CursorSecret", "CURSOR_SECRET_ARN"),
    ):
        if mark in text:
            return name
    raise AssertionError(f"unknown resource: {text}")


class Recorder:
    """The calls of each function.

    Attributes:
        made: function to (action, resource).
    """

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.made: Calls = defaultdict(set)
        self._invoke = shop.invoke

    def invoke(self, function: str, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        shop = self.shop
        # Each function is a process of its own, and has read nothing before.
        forget_what_was_made()
        store_events.store_events.cache_clear()
        schedules, secrets = len(shop.scheduler.log), len(shop.secrets.reads)
        with recording() as requests:
            answer = self._invoke(function, event, context)
        made = self.made[function]
        for operation, table, request in requests:
            made.update(self._of(operation, table, request))
        for operation, _ in shop.scheduler.log[schedules:]:
            made.add((f"scheduler:{operation.capitalize()}Schedule", "schedules"))
        for secret in shop.secrets.reads[secrets:]:
            made.add(("secretsmanager:GetSecretValue", secret))
        return answer

    def _name(self, table: str) -> str:
        return "records" if table == self.shop.tables.records.name else "index"

    def _of(self, operation: str, table: str, request: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if operation == "transact_write_items":
            for action in request["TransactItems"]:
                ((kind, body),) = action.items()
                yield f"dynamodb:{_TRANSACTION[kind]}", self._name(body["TableName"])
            return
        name = self._name(table)
        if "IndexName" in request:
            name += f"/index/{request['IndexName']}"
        yield f"dynamodb:{_ACTIONS[operation]}", name


@pytest.fixture
def recorder(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder(shop)
    monkeypatch.setattr(shop, "invoke", made.invoke)
    return made


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
    chats.set_bot(CHAT, can_restrict_members=True)
    shop.post(path_of(fails, "revocation"))
    shop.deliver()
    live.portal_cancel(portal, immediately=True)
    shop.deliver()
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
    # The sweep: what is due, and what schedules left behind.
    clock.later(40 * 86400)
    shop.sweep()
    shop.fire()
    shop.sweep()


@pytest.mark.parametrize("role", FUNCTIONS.values())
def test_nothing_is_allowed_on_everything(role: str) -> None:
    for statement in statements(f"{role}Role"):
        for action in as_list(statement["Action"]):
            assert "*" not in action
        for resource in as_list(statement["Resource"]):
            assert resource != "*"


def test_every_call_is_allowed_and_everything_allowed_is_called(
    shop: Shop, recorder: Recorder, clock: MovableClock
) -> None:
    a_life_of_a_store(shop, clock)
    # Ending a purchase is one piece of code, which every function that acts runs through: what it
    # takes in one of them, it may take in all.
    ending = {
        (action, resource)
        for function in ACTING
        for action, resource in recorder.made[function]
        if resource in ("records", "index", "schedules", *ACTING_SECRETS)
    }
    missing, over = {}, {}
    for function, role in FUNCTIONS.items():
        allowed, made = granted(role), recorder.made[function]
        missing[function] = sorted(made - allowed)
        over[function] = sorted(allowed - made - (ending if function in ACTING else set()))
    assert {name: more for name, more in missing.items() if more} == {}
    assert {name: more for name, more in over.items() if more} == {}
