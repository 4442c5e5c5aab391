"""What must hold whatever went wrong, once everything has come to rest."""

from __future__ import annotations

import json
from typing import Any

from shared.domain import history, stripe_objects
from shared.domain.customer import Account, customer_id_of, identity, summarize
from shared.domain.search import entry_of
from shared.storage.customers import _account, _rows, _Stored, _unpack
from shared.storage.dynamo import Item, unmarshal
from shared.storage.items import Record, from_item
from standins.telegram.bot_api import KICKED, MEMBER
from tests.faults.world import INDEX, RECORDS, STORE, World

# Times that are later after a crash, and nothing else.
_WHEN = ("ended_at", "canceled_at")


def check(world: World) -> list[str]:
    """Every invariant that is broken, as sentences; none where all is well."""
    known = records(world)
    _make_sure(world, known)
    found = list(world.truth.violations)
    found += [f"undelivered: {d.event['type']}" for d in world.deliveries]
    found += [f"still due: {sk} since {at}" for at, _, sk in world.due()]
    found += _members(world)
    found += _purchases(world, known)
    found += _list(world, known)
    return found


def _make_sure(world: World, known: list[Record]) -> None:
    """Where nobody knows whether a request was recorded, the record says so."""
    for record in known:
        if record.key.kind == "PURCHASE" and record.purchase.purchase_id in world.truth.unsure:
            intent = record.purchase.own.intent
            if intent is None or intent.mode != "immediately":
                world.truth.asked.discard(record.purchase.purchase_id)


def records(world: World) -> list[Record]:
    """Every record of an account."""
    items = (unmarshal(item) for item in world.dynamo.dump(RECORDS))
    return [
        from_item(item)
        for item in items
        if "#ACCOUNT#" in item["pk"] and any(name.startswith("s_") for name in item)
    ]


def _members(world: World) -> list[str]:
    """Everybody is where a purchase admits them, and nowhere else; nobody is left banned."""
    found = []
    truth = world.truth
    buyers = {int(user) for users in truth.ever.values() for user in users}
    for chat_id, chat in world.telegram.chats.items():
        for user in sorted(buyers):
            is_in = world.telegram.status_of(chat_id, user) == MEMBER
            admitted = world.admitted_by(chat_id, user)
            may_join = any((name, str(user), chat_id) in truth.joined for name in admitted)
            if is_in and not world.admitting(chat_id, user):
                found.append(f"{user} is still in {chat_id}")
            elif may_join and not is_in:
                found.append(f"{user} is not in {chat_id}, though {admitted} opens it")
        for user, member in chat.members.items():
            wanted = truth.guests_of_chats.get((chat_id, user))
            if wanted is not None and member.status != wanted:
                found.append(f"{user} was {wanted} in {chat_id} and is {member.status}")
            elif wanted is None and member.status == KICKED:
                found.append(f"{user} is left banned in {chat_id}")
    return found


def unlike_stripe(world: World) -> list[str]:
    """Purchases that are not as Stripe has them, although all of it was told."""
    if world.deliveries:
        return []
    return [
        f"{record.key.sk}: {source} differs from Stripe: {_difference(said, kept.data)}"
        for record in records(world)
        if record.key.kind == "PURCHASE"
        for source, kept in record.sources.items()
        if (said := _at_stripe(world, source, kept.data["id"])) not in (None, dict(kept.data))
    ]


def _purchases(world: World, known: list[Record]) -> list[str]:
    found = []
    for record in known:
        if record.key.kind != "PURCHASE":
            continue
        purchase = record.purchase
        name = purchase.purchase_id
        for source, kept in record.sources.items():
            said = _at_stripe(world, source, kept.data["id"])
            if said is not None and dict(kept.data) != said:
                found.append(
                    f"{name}: {source} differs from Stripe: {_difference(said, kept.data)}"
                )
        if name not in world.truth.purchases:
            found.append(f"{name}: nobody bought it")
            continue
        if purchase.is_live != world.is_live(name):
            found.append(f"{name}: live is {purchase.is_live}")
        intent = purchase.own.intent
        asked = [entry.detail for entry in purchase.own.audit if entry.event == "cancel_requested"]
        if intent is not None:
            if intent.phase == "requested":
                found.append(f"{name}: the intent is stuck")
            if intent.phase == "done" and intent.mode == "immediately" and world.is_live(name):
                found.append(f"{name}: cancelled for us, and goes on")
            if intent.generation != len(asked):
                found.append(f"{name}: {intent.generation} intents, {len(asked)} audit entries")
        found += _changes(world, name, asked.count("period_end"))
    return found


def _changes(world: World, name: str, asked: int) -> list[str]:
    """One effective change at Stripe for each time the owner asked for one."""
    changes = [c for c in world.stripe.changes if c.subscription == name]
    ours = [c.what for c in changes if c.by == "api"]
    taken_back = sum(c.what == "uncancelled" for c in changes)
    if ours.count("scheduled") > asked + taken_back or ours.count("ended") > 1:
        return [f"{name}: changed more often than asked: {ours}"]
    return []


def _at_stripe(world: World, source: str, id_: str) -> Any:
    found = world.stripe.objects.get(
        ({"session": "session", "charge": "charge"}.get(source, source), id_)
    )
    if found is None:
        return None
    if source == "subscription":
        return stripe_objects.subscription(found)
    if source == "session":
        return {**stripe_objects.session(found), "products": found.get("cart", [])}
    return stripe_objects.charge_of_purchase(found)


def _difference(one: Any, other: Any) -> str:
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    return ", ".join(f"{name} {one.get(name)!r}/{other.get(name)!r}" for name in names)


def _list(world: World, known: list[Record]) -> list[str]:
    """The customer list shows what the records say: these rows and no others. Every customer's
    item knows its accounts and its rows, and every account knows its customer."""
    items = [unmarshal(item) for item in world.dynamo.dump(RECORDS)]
    filed = {item["pk"]: _unpack(item) for item in items if item["sk"] == "CUSTOMER"}
    profiles = [record for record in known if record.key.kind == "PROFILE"]
    rows: list[Item] = []
    found = []
    for customer_id, accounts in _customers(known).items():
        summary = summarize(customer_id, accounts)
        wanted = {} if summary is None else _rows(STORE, entry_of(summary))
        rows += wanted.values()
        stored = filed.pop(STORE.customer_pk(customer_id), _Stored())
        names = tuple(sorted(account.account for account in accounts))
        if (stored.accounts, stored.keys, stored.dirty) != (names, frozenset(wanted), False):
            found.append(f"{customer_id} does not know its accounts and rows")
        for account in names:
            pk = STORE.account_pk(account)
            if any(r.key.pk == pk and r.own.get("customer_id") != customer_id for r in profiles):
                found.append(f"{account} does not know that it is {customer_id}")
    found += [f"{pk} is of nobody" for pk, stored in filed.items() if stored.row is not None]
    rows.sort(key=lambda row: (row["pk"], row["sk"]))
    if [unmarshal(item) for item in world.dynamo.dump(INDEX)] != rows:
        found.append("the customer list is out of date")
    return found


def _customers(known: list[Record]) -> dict[str, list[Account]]:
    """The accounts of each customer, as they say themselves who they are."""
    accounts: dict[str, list[Record]] = {}
    for record in known:
        if record.key.kind in ("PROFILE", "PURCHASE"):
            accounts.setdefault(record.key.pk.split("#", 2)[2], []).append(record)
    found: dict[str, list[Account]] = {}
    for name, parts in accounts.items():
        account = _account(name, parts)
        customer_id = customer_id_of(STORE.store_id, identity(name, account.profile))
        found.setdefault(customer_id, []).append(account)
    return found


def final_state(world: World) -> dict[str, Any]:
    """What a run without any fault must have led to as well: everything but bookkeeping."""
    state: dict[str, Any] = {}
    for record in records(world):
        sources = {
            name: {field: value for field, value in source.data.items() if field not in _WHEN}
            for name, source in record.sources.items()
        }
        entry: dict[str, Any] = {"sources": sources, "seen": sorted(record.seen)}
        if record.key.kind == "PURCHASE":
            entry |= _own_part(record)
        state[f"{record.key.pk} {record.key.sk}"] = entry
    state["chats"] = {
        str(chat_id): {
            str(user): member.status
            for user, member in sorted(chat.members.items())
            if member.status != "left"
        }
        for chat_id, chat in sorted(world.telegram.chats.items())
    }
    state["owners"] = {
        item["pk"]: (item.get("store"), item.get("migrated_to"))
        for item in map(unmarshal, world.dynamo.dump(RECORDS))
        if item["sk"] == "OWNER"
    }
    state["stripe"] = {
        id_: (object_["status"], object_["cancel_at"])
        for (kind, id_), object_ in world.stripe.objects.items()
        if kind == "subscription"
    }
    state["list"] = [
        (item["pk"]["S"], item["sk"]["S"], item["j"]["S"]) for item in world.dynamo.dump(INDEX)
    ]
    return json.loads(json.dumps(state))  # type: ignore[no-any-return]


def _own_part(record: Record) -> dict[str, Any]:
    purchase = record.purchase
    own = purchase.own
    intent = own.intent
    return {
        "status": purchase.status,
        "end_reason": purchase.end_reason,
        "options": purchase.cancel_options,
        "intent": None if intent is None else (intent.mode, intent.phase, intent.generation),
        # What was done for it, and how often, differs with the faults.
        "facts": [(entry.actor, entry.event, entry.detail) for entry in history.facts(purchase)],
        "audit": [
            (entry.actor, entry.event, entry.detail) for entry in own.audit if entry.chat_id is None
        ],
        "removals": {key: removal.state for key, removal in sorted(own.removals.items())},
        "planned": own.planned,
        "schedule_at": own.schedule_at,
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Where two final states differ."""
    return [
        f"{name}: {one.get(name)} / {other.get(name)}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]
