"""Records as the items that are stored, and back.

An item's attributes (all but the JSON strings exist for conditions and indexes):

========================  =========================================================================
``pk``, ``sk``            see :class:`shared.tenant.Tenant` and the ``*_key`` functions here
``s_<source>``            a source's object, JSON
``v_<source>``            ``created`` of the newest event applied to it
``r_<source>``            its stage within that second
``m_<source>``            the rest of its :class:`~shared.domain.merge.Source`, JSON
``k_<source>``            its facts: while these are the same, nothing follows from an event
``x_<source>``            1 while it was fetched or is terminal: events need a closer look
``t_<source>``            its :class:`~shared.domain.timeline.Timeline`, JSON; left out where
                          the source never said anything else
``seen``                  every Telegram user of a purchase, ever
``products``              in older items every product of a subscription, ever
``settle_until``          no removal before this time, for a change that an event told
``own``                   our own part, JSON, written by the holder of the lease only
``rev``                   counts the writes; a write of the whole item is conditional on it
``lease_owner/_until``    who may write ``own`` and act on it
``reindex_at``            set while the customer list doesn't show this record's facts yet
``due_shard``, ``due_at`` what must still happen, see :attr:`Purchase.due_at`
``attention_pk``, ``_at`` since when somebody should be out of a chat and is not, for the index of
                          these, with ``attention``: ``failed`` or ``revoking``, and
                          ``attention_chats``: where it is worth trying again by itself
``ref``, ``subscription`` for the index by Stripe's ids
========================  =========================================================================
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from shared.domain import customer as customer_rules
from shared.domain import merge, purchase
from shared.domain.merge import Source
from shared.domain.purchase import Own, Purchase
from shared.domain.timeline import Timeline, of_source
from shared.storage.dynamo import Item
from shared.storage.keys import DUE_SHARDS, Key
from shared.tenant import store_of

FACTS: Mapping[str, Callable[[str, Mapping[str, Any]], Any]] = {
    "PURCHASE": purchase.source_facts,
    "PROFILE": customer_rules.source_facts,
}


def facts_rule(key: Key) -> Callable[[str, Mapping[str, Any]], Any] | None:
    """What of a record's sources the customer list depends on; ``None``: nothing.

    Of a guest's transaction only that there is one: the customer's item lists them, because a
    customer may have hundreds of guests, which nobody wants to read one by one.
    """
    if key.kind == "TXN" and key.is_guests:
        return lambda *_: True
    return FACTS.get(key.kind)


SAID: Mapping[str, Callable[[str, Mapping[str, Any]], Any]] = {
    "PURCHASE": purchase.said,
    "PRODUCT": lambda _, data: list(data["chats"]),
}
"""Of which records a source's past counts, and what of it."""


@dataclass(frozen=True)
class Record:
    """One stored item, unpacked."""

    key: Key
    sources: Mapping[str, Source] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()
    own: Mapping[str, Any] = field(default_factory=dict)
    rev: int = 0
    reindex_at: int | None = None
    lease_owner: str | None = None
    lease_until: int = 0
    written_at: int = 0
    products: frozenset[str] = frozenset()
    timelines: Mapping[str, Timeline] = field(default_factory=dict)
    settle_until: int | None = None

    @cached_property
    def purchase(self) -> Purchase:
        """The record as a purchase; only for ``PURCHASE`` keys."""
        purchase_id = self.key.sk.split("#", 1)[1]
        own = Own.from_json(self.own)
        return Purchase(
            purchase_id,
            self.sources,
            own,
            self.seen,
            self.products,
            self.timelines,
            self.settle_until,
        )

    def timeline(self, source: str) -> Timeline:
        """What a source said over time, of what has a time; empty where it never said anything."""
        stored, rule = self.sources.get(source), SAID.get(self.key.kind)
        if stored is None or rule is None:
            return Timeline()
        return of_source(source, stored, self.timelines.get(source), rule(source, stored.data))

    @property
    def is_frozen(self) -> bool:
        """Whether whom this was about has been forgotten: nothing names them again."""
        return any(source.version == merge.FOR_EVER for source in self.sources.values())

    @property
    def due_at(self) -> int | None:
        due = [] if self.reindex_at is None else [self.reindex_at]
        if self.key.kind == "PURCHASE":
            at = self.purchase.due_at
            due += [] if at is None else [at]
        return min(due, default=None)


def facts_of(record: Record | None) -> Any:
    if record is None:
        return None
    if record.key.kind == "PURCHASE":
        # Of the whole: a charge tells of a purchase what its session will tell again.
        return (purchase.facts(record.purchase), record.seen, record.products)
    rule = facts_rule(record.key)
    if rule is None:
        return ()
    if record.key.kind == "TXN":
        return True
    sources = customer_rules.that_count(record.sources)
    facts = {name: rule(name, source.data) for name, source in sources.items()}
    return (facts, record.seen)


def dumps(value: Any) -> str:
    """Compact JSON, the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def meta_of(source: Source) -> str:
    meta: dict[str, Any] = {"e": source.event_ids, "r": source.rank}
    if source.previous_digest is not None:
        meta["p"] = source.previous_digest
    if source.fetched_at is not None:
        meta["f"] = source.fetched_at
    if source.terminal:
        meta["t"] = 1
    return dumps(meta)


def to_item(record: Record) -> Item:
    """A record as the item that is stored."""
    rule = facts_rule(record.key)
    item: Item = {
        "pk": record.key.pk,
        "sk": record.key.sk,
        "ref": record.key.ref,
        "subscription": record.key.subscription,
        "seen": record.seen,
        "own": dumps(record.own) if record.own else None,
        "rev": record.rev,
        "reindex_at": record.reindex_at,
        "lease_owner": record.lease_owner,
        "lease_until": record.lease_until if record.lease_owner else None,
        "written_at": record.written_at,
        "settle_until": record.settle_until,
        "products": record.products or None,
    }
    for name, source in record.sources.items():
        item[f"s_{name}"] = dumps(source.data)
        item[f"v_{name}"] = source.version
        item[f"r_{name}"] = source.rank
        item[f"m_{name}"] = meta_of(source)
        if rule is not None:
            item[f"k_{name}"] = dumps(rule(name, source.data))
        if source.terminal or source.fetched_at is not None:
            item[f"x_{name}"] = 1
        if name in record.timelines:
            item[f"t_{name}"] = dumps(record.timelines[name].to_json())
    due_at = record.due_at
    if due_at is not None:
        item["due_at"] = due_at
        item["due_shard"] = due_shard(record.key)
    overdue = record.purchase.overdue if record.key.kind == "PURCHASE" else None
    if overdue is not None:
        item["attention_pk"] = store_of(record.key.pk).attention_pk()
        item["attention_at"] = overdue.since
        item["attention"] = overdue.state
        item["attention_chats"] = overdue.chats or None
    return {name: value for name, value in item.items() if value is not None}


def due_shard(key: Key) -> str:
    """The part of the ``due`` index in which a record is found."""
    return DUE_SHARDS[zlib.crc32(key.pk.encode()) % len(DUE_SHARDS)]


def from_item(item: Item) -> Record:
    """The record of a stored item."""
    sources: dict[str, Source] = {}
    for name, text in item.items():
        if name.startswith("s_"):
            source = name[2:]
            meta = json.loads(item[f"m_{source}"])
            sources[source] = Source(
                data=json.loads(text),
                version=item[f"v_{source}"],
                event_ids=tuple(meta["e"]),
                rank=meta["r"],
                previous_digest=meta.get("p"),
                fetched_at=meta.get("f"),
                terminal=bool(meta.get("t")),
            )
    own = item.get("own")
    return Record(
        key=Key(item["pk"], item["sk"], item.get("ref"), item.get("subscription")),
        sources=sources,
        seen=item.get("seen", frozenset()),
        own={} if own is None else json.loads(own),
        rev=item.get("rev", 0),
        reindex_at=item.get("reindex_at"),
        lease_owner=item.get("lease_owner"),
        lease_until=item.get("lease_until", 0),
        written_at=item.get("written_at", 0),
        products=item.get("products", frozenset()),
        timelines={
            name[2:]: Timeline.from_json(json.loads(text))
            for name, text in item.items()
            if name.startswith("t_")
        },
        settle_until=item.get("settle_until"),
    )
