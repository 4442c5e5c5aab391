"""Erases who a customer is.

What money moved stays, without a name: docs/decisions/0007-forgetting.md says what is kept and
why. Every source that named the person is *frozen*: emptied, terminal, and newer than any event
there will be, so that the merge rules themselves drop whatever Stripe says of it later.
It may be stopped at any point and started again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from customers_cli.command import Customer, Run, Store, command, new_app
from customers_cli.exits import Exit, Refused
from customers_cli.export import ids_in, parked_about, person
from shared.compose import Composition
from shared.domain.errors import NotFound
from shared.domain.merge import FOR_EVER, Source
from shared.domain.purchase import Audit, Own, Purchase
from shared.storage.dynamo import ConditionFailed, Table
from shared.storage.items import Record, to_item
from shared.storage.keys import profile_key
from shared.storage.records import LEASE_SECONDS
from shared.tenant import Tenant

app = new_app()

# The sources by which a later event would name the person, by kind of account.
_PROFILE_SOURCES = {
    "cus_": ("customer", "checkout", "money"),
    "guest:": ("guest", "billing"),
    "store:": ("store",),
}
# The sources by which a later event would say whose a purchase was, by its id; else a payment's.
_PAYMENT_SOURCES = ("session", "payment_intent", "charge", "link")
_PURCHASE_SOURCES = {
    "sub_": ("session", "link"),
    "code_": ("link",),
    "cs_": (*_PAYMENT_SOURCES, "beside"),
}
_WHO = ("name", "email", "grouptizer_id", "avatar_url", "telegram_user_id", "access_code")
_FREE_TEXT = ("comment", "description", "failure", "reason")
_METHOD = ("brand", "last4", "exp_month", "exp_year")


class StillNeeded(Refused):
    """Something is under way that can't be finished without knowing who it is for."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was done: records that were emptied, links and parked events that were deleted."""

    records: int
    links: int
    parked: int


def forget(
    parts: Composition, tenant: Tenant, who: str, begin: Callable[[], object] = lambda: None
) -> Forgotten:
    """Erase who a customer is; repeatable.

    Args:
        who: a public id, or Stripe's id of a customer.
        begin: called before the first write.

    Raises:
        NotFound: as :func:`customers_cli.export.person`.
        StillNeeded: a purchase gives access, or something of one is still to be done.
    """
    at = int(parts.leaves.clock())
    records, customers, parked = parts.records_table, parts.customers, parts.parked
    customer_id, kept, every = person(parts, tenant, who)
    for record in every:
        _check(record, at)
    about = parked_about(parked, tenant, tuple(kept), ids_in(every))
    begin()
    links = 0
    for record in every:
        links += _unlink(records, tenant, record, at)
    # The profile last: as long as it names the person, a run that was stopped can be repeated.
    for record in sorted(every, key=lambda one: one.key.kind == "PROFILE"):
        _write(records, record, _without_person(record, at))
    for account in kept:
        if not any(record.key.kind == "PROFILE" for record in kept[account]):
            _write(records, None, _without_person(Record(profile_key(tenant, account)), at))
        customers.forget_former(tenant, account)
        customers.reindex(tenant, account, was=customer_id)
    for event in about:
        parked.remove(tenant, event)
    return Forgotten(len(every), links, len(about))


def _check(record: Record, now: int) -> None:
    if record.lease_owner is not None and record.lease_until > now - LEASE_SECONDS:
        raise StillNeeded("A purchase of this customer is being worked on: try again in a minute.")
    if record.key.kind == "PURCHASE":
        purchase = record.purchase
        if purchase.is_live:
            raise StillNeeded(f"{purchase.purchase_id} gives access: cancel it first.")
        if purchase.due_at is not None:
            raise StillNeeded(f"{purchase.purchase_id} has something outstanding: see it through.")
    elif any(s.data.get("status") == "pending" for s in record.sources.values()):
        raise StillNeeded("A payment of this customer is on its way: wait for it.")


def _unlink(records: Table, tenant: Tenant, record: Record, now: int) -> int:
    """Delete what leads from Telegram users to a purchase, and a lock nobody needs any more."""
    if record.key.kind != "PURCHASE":
        return 0
    for user in record.seen:
        pk = tenant.telegram_user_pk(user)
        records.delete(pk, f"LINK#{record.key.sk}")
        if any(item["sk"] != "LOCK" for item in records.query_all("pk = :pk", pk=pk)):
            continue
        with contextlib.suppress(ConditionFailed):  # a removal is under way: of somebody else
            free = "attribute_not_exists(lease_until) OR lease_until < :now"
            records.delete(pk, "LOCK", free, now=now)
    return len(record.seen)


def _without_person(record: Record, at: int) -> Record:
    kind = record.key.kind
    account = record.key.pk.split("#", 2)[2]
    if kind == "PROFILE":
        names = next(n for start, n in _PROFILE_SOURCES.items() if account.startswith(start))
        # Also those that were not there: a late event would bring them.
        sources = {
            name: _frozen(record.sources.get(name), {"deleted": True, "created_at": None})
            for name in {*names, *record.sources}
        }
        own = {**record.own, "forgotten_at": record.own.get("forgotten_at", at)}
        return replace(record, sources=sources, own=own, reindex_at=at)
    if kind == "METHOD":
        cleared: dict[str, Any] = {**dict.fromkeys(_METHOD), "deleted": True}
        return _with_cleared_sources(record, cleared)
    if kind in ("PURCHASE", "TXN"):
        emptied = _with_cleared_sources(record, {"method": None, "invite_links": {}})
        if kind == "PURCHASE":
            return _own_cleared(_with_all_sources(emptied), at)
        return emptied
    return record  # invoices and links between ids: nobody is named there


def _with_cleared_sources(record: Record, cleared: Mapping[str, Any]) -> Record:
    sources = {
        # A refund's share in its charge is a number, and goes on counting.
        name: source if name.startswith("re_") else _frozen(source, cleared)
        for name, source in record.sources.items()
    }
    return replace(record, sources=sources)


def _with_all_sources(record: Record) -> Record:
    """A purchase with those frozen, too, that were not heard of yet."""
    purchase = record.purchase
    starts = (
        names
        for start, names in _PURCHASE_SOURCES.items()
        if purchase.purchase_id.startswith(start)
    )
    sources = dict(record.sources)
    for name in next(starts, _PAYMENT_SOURCES):
        if name not in sources:
            # What a purchase asks of any of them; it must look as it did.
            outcome = None if purchase.visible else "expired"
            data = {"created_at": purchase.purchased_at, "outcome": outcome}
            sources[name] = _frozen(None, data)
    return replace(record, sources=sources)


def _frozen(source: Source | None, cleared: Mapping[str, Any]) -> Source:
    if source is None:
        return Source(data=dict(cleared), version=FOR_EVER, terminal=True)
    emptied = {
        **source.data,
        **{name: None for name in (*_WHO, *_FREE_TEXT) if name in source.data},
        **{name: value for name, value in cleared.items() if name in source.data},
    }
    return replace(
        source,
        data=emptied if "deleted" not in cleared else {**emptied, **cleared},
        version=FOR_EVER,
        event_ids=(),
        previous_digest=None,
        fetched_at=None,
        terminal=True,
    )


def _own_cleared(record: Record, at: int) -> Record:
    """What was done stays; who asked, why, and whom it was done to does not."""
    own = record.purchase.own
    intent = own.intent and replace(own.intent, actor="", actor_name=None, reason=None)
    audit = tuple(Audit(entry.at, "", entry.event) for entry in own.audit)
    cleared = Own(intent=intent, end=own.end, audit=audit)
    emptied = replace(record, seen=frozenset(), timelines={}, own=cleared.to_json(), reindex_at=at)
    # The removals are done: planning them anew would find nobody, and is not due.
    planned = Purchase(emptied.purchase.purchase_id, emptied.sources, cleared).plan_key
    return replace(emptied, own=replace(cleared, planned=planned).to_json())


def _write(records: Table, before: Record | None, after: Record) -> None:
    """Raises: StillNeeded: somebody else wrote it meanwhile."""
    item = to_item(replace(after, rev=after.rev + 1))
    try:
        if before is None:
            records.put(item, "attribute_not_exists(pk)")
        else:
            records.put(item, "rev = :rev", rev=before.rev)
    except ConditionFailed:
        raise StillNeeded("A record changed meanwhile: run it again.") from None


@command(app, "forget", again="run it again to finish it")
def forget_(run: Run, store: Store, customer: Customer) -> Exit:
    """Erase who a customer is; what money moved stays, without a name.

    It is refused while a purchase gives access or something is outstanding: cancel first. Delete
    the customer at Stripe afterwards.
    """
    tenant = Tenant(store)
    run.target.require(tenant)
    try:
        done = forget(run.target.parts, tenant, customer, run.begin)
    except NotFound:
        raise Refused(f"The store {store} has no customer with this id") from None
    print(
        f"{customer} is forgotten: {done.records} records emptied, {done.links} Telegram links "
        f"and {done.parked} parked events deleted. Delete the customer at Stripe too."
    )
    return Exit.DONE
