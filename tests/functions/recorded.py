"""Every history of events there is, and a Stripe that has the objects which they tell of.

* the recorded cases of ``tests/fixtures/cases``;
* the events of ``tests/fixtures/stripe``, a folder at a time;
* what these were taken from, whole: the scenarios of ``tests/fixtures/stripe/generate.py``;
* the stories of :mod:`tests.functions.stories`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from shared.stripe_events.events import HANDLERS
from standins.stripe import NEWEST, OLDEST, StripeStandin
from tests.fixtures.stripe import generate
from tests.functions.shop import CHAT
from tests.functions.stories import GUEST, STORIES, Story, listing

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = sorted((FIXTURES / "cases").glob("*.json"))
BASIL = "2025-03-31"
NOBODY_BUYS = (generate.customers, generate.products, generate.payment_methods)

Raw = dict[str, Any]


@dataclass(frozen=True)
class History:
    """Events in their order, and Stripe as it is after the last.

    Attributes:
        expect: what must be told of them, as :func:`tests.functions.answers.differences` takes it.
        has_gaps: whether events are left out that change what others tell.
    """

    events: list[Raw]
    standin: StripeStandin
    expect: Raw = field(default_factory=dict)
    has_gaps: bool = False


def histories() -> dict[str, Callable[[], History]]:
    """What makes each history, by its name."""
    cases = {f"case {case.stem}": partial(_of_case, case) for case in CASES}
    stories = {f"story: {name}": partial(_of_story, name) for name in STORIES}
    folders = {f"fixtures of {name}": partial(_of_folder, name) for name in (NEWEST[:10], OLDEST)}
    lived = {
        f"{scenario.__name__}, {version}": partial(_lived, scenario, version)
        for scenario in generate.SCENARIOS
        for version in (NEWEST, OLDEST)
        if scenario is not generate.accounts
    }
    return {**cases, **folders, **lived, **stories}


def _of_case(case: Path) -> History:
    told, expect = events_of(case)
    return History(told, holding(told), expect)


def _of_story(name: str) -> History:
    story, expect = STORIES[name]
    told = [*products_of(story.events), *story.events]
    return History(told, holding(told), expect)


def _of_folder(name: str) -> History:
    told = [json.loads(file.read_text()) for file in (FIXTURES / "stripe" / name).glob("*.json")]
    told = [e for e in told if not e["type"].startswith("account.")]
    lived = [generate.lived_through(scenario).events() for scenario in generate.SCENARIOS]
    order = [event["id"] for events in lived for event in events]
    told.sort(key=lambda e: (e["created"], order.index(e["id"])))
    known: dict[str, Raw] = json.loads((FIXTURES / "stripe" / "objects.json").read_text())
    standin = holding(told, {raw["id"]: raw for raw in known.values()})
    named = {e["data"]["object"]["id"] for e in told}
    people = [raw for raw in standin.live.all("customer") if raw["id"] not in named]
    told = [*(_event("customer.created", raw, told[0]) for raw in people), *told]
    return History(told, standin, has_gaps=True)


def _lived(scenario: Callable[[StripeStandin], None], version: str) -> History:
    standin = generate.lived_through(scenario)
    told = standin.events(api_version=version)
    if scenario in NOBODY_BUYS:
        told += _bought(standin, version)
    return History([e for e in told if e["type"] in HANDLERS], standin)


def _bought(standin: StripeStandin, version: str) -> list[Raw]:
    """The last product is bought: by the customer, else by a guest. Nobody else is shown."""
    *_, product = standin.live.all("product")
    people = [raw["id"] for raw in standin.live.all("customer")]
    payer = {"customer": people[0]} if people else GUEST
    metadata = {"product_id": product["id"]}
    story = Story(version).charge(**payer, payment_intent=None, metadata=metadata)
    (event,) = story.events
    standin.live.ledger.load({**event["data"]["object"], "_seq": 10**6, "_lines": []})
    return [event]


# -- the recorded cases ----------------------------------------------------------------------------


def events_of(case: Path) -> tuple[list[Raw], Raw]:
    """A case's events, those of the products that are named first, and what must be told."""
    told = json.loads(case.read_text())
    return [*products_of(told["events"]), *told["events"]], told["expect"]


def products_of(events: list[Raw]) -> list[Raw]:
    """Events of the products that are named: each opens a chat."""
    told = ((e["data"]["object"].get("metadata") or {}).get("product_id") for e in events)
    return [
        _event(
            "product.created",
            {
                "id": id_,
                "object": "product",
                "name": id_,
                "livemode": events[0]["livemode"],
                "metadata": {"telegram_chat_ids": str(CHAT)},
            },
            events[0],
        )
        for id_ in sorted({id_ for id_ in told if id_ is not None})
    ]


def _event(type_: str, about: Raw, like: Raw) -> Raw:
    """An event that comes with another."""
    common = {name: like[name] for name in ("object", "api_version", "livemode", "created")}
    return {**common, "id": f"evt_{about['id']}", "type": type_, "data": {"object": about}}


# -- a Stripe that has them ------------------------------------------------------------------------


def holding(events: Iterable[Raw], known: Mapping[str, Raw] | None = None) -> StripeStandin:
    """A Stripe whose objects are as the last event of each tells them, in the newest shape.

    Args:
        known: what else there may be, by id: taken where it is named and needed.
    """
    objects: dict[str, tuple[str | None, Raw]] = {}
    for event in sorted(events, key=lambda e: e["created"]):
        if event["type"] == "customer.source.deleted":
            objects.pop(event["data"]["object"]["id"], None)
            continue
        notes = {
            "livemode": event["livemode"],
            "_deleted": event["type"] in ("customer.deleted", "product.deleted"),
            "_given_up": event["type"] == "charge.expired",
        }
        for raw in _newest(event["data"]["object"], event["api_version"]):
            objects[raw["id"]] = _account(event), {**notes, **raw}
    for id_ in _never_collected(events):
        del objects[id_]
    # Charges are looked at first: they say more of their payment than a session does.
    missing = sorted(objects.values(), key=lambda each: each[1]["object"] == "charge")
    while missing:
        account, raw = missing.pop()
        for made in _needed(raw, known or {}):
            if made["id"] not in objects:
                objects[made["id"]] = account, made
                missing.append((account, made))
    return serving(objects.values())


def serving(objects: Iterable[tuple[str | None, Raw]]) -> StripeStandin:
    """A Stripe that has objects, each in its account: in the newest shape, the oldest first."""
    standin = StripeStandin()
    for number, (account, raw) in enumerate(objects):
        ledger = standin.account(account, livemode=raw["livemode"]).ledger
        ledger.load({"created": 0, **raw, "_seq": number, "_lines": []})
    return standin


def _account(event: Mapping[str, Any]) -> str | None:
    return event.get("account") or event.get("user_id")


def _newest(raw: Raw, version: str) -> Iterator[Raw]:
    """An event's object in the shape of the newest API version, and what only older ones tell
    within it."""
    told = dict(raw)
    if version >= BASIL:
        yield told
        return
    if raw["object"] == "charge":
        if raw["status"] == "succeeded" and not _is_refunded_uncollected(raw):
            told["amount_refunded"] = raw["amount_refunded"] - _rest(raw)
            told["refunded"] = told["amount_refunded"] >= raw["amount_captured"] > 0
            told["_given_up"] = raw["refunded"] and not raw["captured"]
        told.pop("invoice", None)
        yield from told.pop("refunds", {"data": []})["data"]
    elif raw["object"] == "payment_intent":
        told["payment_details"] = {"order_reference": told.pop("invoice", None)}
        if "charges" in raw:
            tried = told.pop("charges")["data"]
            told["latest_charge"] = tried[-1]["id"] if tried else None
    elif raw["object"] == "subscription" and "current_period_end" in raw:
        ends = {"current_period_end": told.pop("current_period_end")}
        items = [item | ends for item in raw["items"]["data"]]
        told["items"] = raw["items"] | {"data": items}
    elif raw["object"] == "invoice" and "subscription" in raw:
        details = {"subscription": told.pop("subscription")}
        told["parent"] = {"type": "subscription_details", "subscription_details": details}
        kind = "payment_intent" if raw["payment_intent"] else "charge"
        if raw["status"] == "paid" and raw[kind]:
            yield {
                "id": raw["id"].replace("in_", "inpay_"),
                "object": "invoice_payment",
                "invoice": raw["id"],
                "payment": {"type": kind, kind: raw[kind]},
                "status": "paid",
                "created": raw["created"],
            }
    elif raw["object"] == "credit_note" and "refund" in raw:
        refund = told.pop("refund")
        told["refunds"] = [] if refund is None else [{"refund": refund}]
    yield told


def _is_refunded_uncollected(charge: Raw) -> bool:
    """Whether an authorisation was given up by a refund that somebody asked for, as is done where
    there is no PaymentIntent to cancel. Since 2025-03-31 Stripe makes none by itself; this one is
    listed."""
    return charge["payment_intent"] is None and charge["refunded"] and not charge["captured"]


def _rest(charge: Raw) -> int:
    """What of an authorisation Stripe made a refund of, once that is decided."""
    if _is_refunded_uncollected(charge):
        return 0
    decided = charge["captured"] or charge["refunded"]
    return int(charge["amount"] - charge["amount_captured"]) if decided else 0


def _never_collected(events: Iterable[Raw]) -> set[str]:
    """Refunds of what was never collected: API versions since 2025-03-31 know none of these."""
    told = [e for e in events if e["api_version"] < BASIL]
    objects = [e["data"]["object"] for e in told]
    refunds = {raw["id"]: raw for raw in objects if raw["object"] == "refund"}
    charges = [raw for raw in objects if raw["object"] == "charge"]
    refunds |= {r["id"]: r for raw in charges for r in (raw.get("refunds") or listing())["data"]}
    rests = {raw["id"]: _rest(raw) for raw in charges}
    return {
        min(same, key=lambda raw: raw["created"])["id"]
        for charge, rest in rests.items()
        if (same := [r for r in refunds.values() if (r["charge"], r["amount"]) == (charge, rest)])
    }


def _needed(raw: Raw, known: Mapping[str, Raw]) -> Iterator[Raw]:
    """What must be at Stripe where this is, whether or not an event tells of it."""
    common = {"created": raw.get("created", 0), "livemode": raw["livemode"], "metadata": {}}
    customer, intent, kind = raw.get("customer"), raw.get("payment_intent"), raw["object"]
    if isinstance(customer, str):
        yield known.get(customer, {"id": customer, "object": "customer", **common})
    if kind in ("refund", "dispute") and raw["charge"] in known:
        yield known[raw["charge"]]
    if isinstance(intent, str) and kind in ("charge", "checkout.session"):
        status = _status_of_payment(raw)
        failed = status == "requires_payment_method"
        yield {
            "id": intent,
            "object": "payment_intent",
            "customer": customer,
            "status": status,
            "latest_charge": raw["id"] if kind == "charge" else None,
            "last_payment_error": {"type": "card_error"} if failed else None,
            **common,
        }
    for product in _products(raw):
        if product in known:
            yield known[product]


def _products(raw: Raw) -> Iterator[str]:
    named = (raw.get("metadata") or {}).get("product_id")
    items = raw["items"]["data"] if raw["object"] == "subscription" else []
    yield from [item["price"]["product"] for item in items]
    if named is not None:
        yield named


def _status_of_payment(raw: Raw) -> str:
    if raw["object"] == "checkout.session":
        return "succeeded" if raw["payment_status"] == "paid" else "requires_payment_method"
    if raw["status"] == "succeeded" and not raw["captured"]:
        return "canceled" if raw["_given_up"] else "requires_capture"
    if raw["status"] == "succeeded":
        return "succeeded"
    return "requires_payment_method" if raw["status"] == "failed" else "processing"
