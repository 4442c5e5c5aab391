"""Exporting and forgetting, for every kind of item that the tables hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from customers_cli.export import export
from customers_cli.forget import forget
from shared.storage.parked import Parked, ParkedEvent
from tests.customers_cli.test_forgetting import (
    EMAIL,
    GROUPTIZER_ID,
    NAME,
    STORE,
    WHO,
    customer_id,
    parts,
)
from tests.functions.shop import CHAT, USER, Shop

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"

# Kinds by the beginning of their sort key, and that of the store's part of their partition.
OF_A_PERSON = {
    "ACCOUNT PROFILE",
    "ACCOUNT PURCHASE",
    "ACCOUNT METHOD",
    "ACCOUNT TXN",
    "ACCOUNT INVOICE",
    "ACCOUNT LINK",
    "ACCOUNT MOVED",
    "ACCOUNT FORMER",
    "CUSTOMER CUSTOMER",
    "TELEGRAM LINK",
    "TELEGRAM LOCK",
    "REQUEST REQUEST",
    "PARKED event",
}
# These name no buyer.
OF_NOBODY = {
    "PRODUCTS PRODUCT",
    "PRODUCTS REPLAN",
    "SOLD SOLD",
    "CHATS CHAT",
    "ATTENTION RETRY",
    "REGISTRY STORE",
    "REGISTRY ACCOUNT",
    "REGISTRY OWNER",
    "CHAT OWNER",
    "BOT STATE",
    "BOT SLOT",
    "BOT CHAT",
    "BOT QUEUE",
    "STRIPE REFUSED",
    "STRIPE SILENCE",
}
# What an export shows as a record of an account. Invoices and links between ids name nobody, but
# they are the person's.
RECORDS = {"PROFILE", "PURCHASE", "METHOD", "TXN", "INVOICE", "LINK"}
# Gone after a day, whoever asks: docs/decisions/0007-forgetting.md.
EXPIRES = "REQUEST REQUEST"


def kind_of(pk: str, sk: str) -> str:
    """Which of the kinds above an item is."""
    if pk.startswith("PARKED#"):
        return "PARKED event"
    within = pk.split("#")
    place = within[0] if within[0] in ("REGISTRY", "CHAT", "BOT", "STRIPE") else within[1]
    return f"{place} {re.split('[#{]', sk)[0]}"


def items(shop: Shop) -> list[dict[str, Any]]:
    dumped: list[dict[str, Any]] = shop.tables.dump(shop.tables.records)
    return dumped


def kinds_in(shop: Shop) -> set[str]:
    return {kind_of(item["pk"]["S"], item["sk"]["S"]) for item in items(shop)}


def kinds_of_the_page() -> set[str]:
    """The kinds that the page of the architecture lists."""
    table = PAGE.read_text().split("`records` (pk, sk):", 1)[1].split("Indexes:", 1)[0]
    kinds, pk = set(), ""
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| |"):
            cells = ["", line.split("|")[2].strip()]
        if not line.startswith("|") or "`" not in line:
            continue
        pk = (re.findall("`([^`]+)`", cells[0]) or [pk])[0].replace("{store}", "store")
        kinds |= {kind_of(pk, sk) for sk in re.findall("`([^`]+)`", cells[1])}
    return kinds


@pytest.fixture
def everything_happened(shop: Shop) -> str:
    """Somebody of whom there is an item of every kind; all is over. Stripe's id of the customer."""
    live = shop.stripe.live
    product = live.create_product(name="Signals", telegram_chat_ids=str(CHAT))["id"]
    made = str(live.create_customer(name=NAME, email=EMAIL)["id"])
    sold = live.subscribe(product=product, customer=made, telegram_user_id=USER)["id"]
    shop.deliver()
    shop.telegram.bot_api.join(CHAT, USER)
    live.update_customer(made, metadata={"grouptizer_id": GROUPTIZER_ID})
    live.renew(sold)
    shop.deliver()
    # A guest, whose customer the session names in the end.
    bought = live.buy_one_off(product=product, customer=made, telegram_user_id=USER)
    payment = bought["payment_intent"]
    charge = live.get("payment_intent", payment)["latest_charge"]
    for event in shop.stripe.events():
        told = event["data"]["object"]
        if told["id"] in (charge, payment):
            shop.post_signed({**event, "data": {"object": {**told, "customer": None}}})
    shop.deliver()
    for purchase in shop.customer()["purchases"]:
        status, answer = shop.cancel(
            purchase_id=purchase["purchase_id"],
            reason="asked to leave",
            key=f"key-{purchase['purchase_id']}",
        )
        assert status == 200, answer
    shop.deliver()
    Parked(shop.tables.records).park(
        STORE,
        ParkedEvent("evt_p", 1, "stripe", "odd", json.dumps({"c": made, "n": NAME}).encode()),
    )
    return made


def test_every_kind_of_item_is_known_to_be_of_a_person_or_not(
    shop: Shop, everything_happened: str
) -> None:
    """Whoever adds a kind has to say what becomes of it."""
    assert kinds_of_the_page() == OF_A_PERSON | OF_NOBODY
    assert kinds_in(shop) <= OF_A_PERSON | OF_NOBODY
    assert kinds_in(shop) >= OF_A_PERSON


def test_an_export_holds_every_kind_of_item_of_a_person(
    shop: Shop, everything_happened: str
) -> None:
    exported = export(parts(shop), STORE, customer_id(shop))
    shown = {f"{account} {sk}" for account, part in exported["accounts"].items() for sk in part}
    kept = {
        f"{item['pk']['S'].split('#', 2)[2]} {item['sk']['S']}"
        for item in items(shop)
        if "#ACCOUNT#" in item["pk"]["S"] and item["sk"]["S"].split("#")[0] in RECORDS
    }
    assert shown == kept
    assert {name.split(" ")[1].split("#")[0] for name in shown} == RECORDS
    assert exported["telegram_users"] == [str(USER)]
    assert [event["event_id"] for event in exported["parked_events"]] == ["evt_p"]
    # That of the account without a Grouptizer ID, and the guest's.
    assert len(exported["former_ids"]) == 2
    assert exported["customer"]["name"] == NAME


def test_forgetting_leaves_no_kind_of_item_that_names_the_person(
    shop: Shop, everything_happened: str
) -> None:
    forget(parts(shop), STORE, customer_id(shop))
    naming = {
        kind_of(item["pk"]["S"], item["sk"]["S"])
        for item in items(shop)
        if any(part in json.dumps(item, ensure_ascii=False) for part in WHO)
    }
    assert naming <= {EXPIRES}
    left = kinds_in(shop)
    assert left.isdisjoint({"PARKED event", "TELEGRAM LINK", "TELEGRAM LOCK", "ACCOUNT FORMER"})
    answers = [i for i in items(shop) if kind_of(i["pk"]["S"], i["sk"]["S"]) == EXPIRES]
    assert answers
    assert all("expires_ttl" in answer for answer in answers)
    rows = json.dumps(shop.tables.dump(shop.tables.index), ensure_ascii=False)
    assert not [part for part in WHO if part in rows]
