"""Which store a Telegram chat belongs to, which id it has now, and what the bot may do there.

One bot serves all stores: a store that names another's chat must not get its members removed.
While there is one store, a chat is that store's as soon as it names it. From the moment there is a
second one, and for good, a chat that nobody has is *unverified* until its creator turns out to be
a registered owner of the store that names it, or until the operator approves it
(:meth:`Chats.approve`). What a store has stays its own.

Items:

* ``CHAT#{chat_id}`` / ``OWNER``: ``store``, ``migrated_to`` (a group that became a supergroup has a
  new id), ``title`` and ``type``, as Telegram last told them;
* ``{store}#CHATS`` / ``CHAT#{chat_id}``: that a store names the chat, and what the last look at it
  found (``own``: ``bot``, ``detail``, ``checked_at``). ``due_at`` says when the sweep looks again.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shared.domain.clock import Clock, system_clock
from shared.domain.key_parts import part
from shared.domain.telegram import NOT_NUMERIC, OTHER_STORE, POSITIVE, UNVERIFIED, is_chat_id
from shared.storage.dynamo import ConditionFailed, Contention, Item, Table
from shared.storage.items import due_shard, dumps, from_item
from shared.storage.keys import Key, chat_key
from shared.storage.registry import Registry
from shared.tenant import Tenant

_OWNER = "OWNER"
# A group migrates once in its life. Two more hops are allowed before the record counts as broken.
_MAX_HOPS = 3
MAX_CONFLICTS = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a store's purchases may act on a chat.

    Attributes:
        usable: somebody can be removed from it for this store.
        current_id: the id it has now.
        reason, detail: why not, as a stable code and as a sentence for the owner.
        title, type: as Telegram last told them.
    """

    usable: bool
    current_id: str
    reason: str | None = None
    detail: str | None = None
    title: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What the bot found in a chat.

    Attributes:
        bot: ``can_remove``, ``lost_rights``, ``not_member``, ``unreachable`` or ``unverified``.
        detail: a sentence for the owner; ``None`` where the bot can remove people.
        checked_at: seconds since the epoch.
    """

    bot: str
    detail: str | None
    checked_at: int

    def to_json(self) -> dict[str, Any]:
        return {"bot": self.bot, "detail": self.detail, "checked_at": self.checked_at}


class Chats:
    """The chats of all stores."""

    def __init__(self, table: Table, registry: Registry, clock: Clock = system_clock) -> None:
        self.table = table
        self.registry = registry
        self.clock = clock

    # -- whose it is ------------------------------------------------------------------------------

    def name(self, tenant: Tenant, chat_ids: Iterable[str]) -> int:
        """Note that a store names chats; they become the store's where that needs no proof.

        Returns:
            How many of them are not this store's.
        """
        self.registry.note_store(tenant)
        named = sorted({chat_id for chat_id in chat_ids if is_chat_id(chat_id)})
        keys = {chat_id: chat_key(tenant, chat_id) for chat_id in named}
        noted = self.table.batch_get((key.pk, key.sk) for key in keys.values())
        for key in keys.values():
            if (key.pk, key.sk) not in noted:
                with suppress(ConditionFailed):
                    # Due at once: the sweep looks at it.
                    self._put_look(key, None, int(self.clock()), "attribute_not_exists(pk)")
        standings, owned = self._standings(tenant, named)
        return sum(
            not standing.usable
            or (standing.current_id not in owned and not self._claim(tenant, standing.current_id))
            for standing in standings.values()
        )

    def approve(self, tenant: Tenant, chat_id: str) -> bool:
        """Make a chat this store's, unless it is another's; repeatable.

        Returns:
            Whether it is this store's now.
        """
        try:
            self.table.put(
                {"pk": _pk(chat_id), "sk": _OWNER, "store": tenant.store_id},
                "attribute_not_exists(pk)",
            )
        except ConditionFailed as refused:
            return refused.item is not None and refused.item.get("store") == tenant.store_id
        return True

    def _claim(self, tenant: Tenant, chat_id: str) -> bool:
        """Make a chat the only store's, which needs no proof; whether it is this store's now."""
        owner: Item = {"pk": _pk(chat_id), "sk": _OWNER, "store": tenant.store_id}
        for attempt in range(MAX_CONFLICTS):
            try:
                self.table.transact(
                    [
                        self.table.put_action(owner, "attribute_not_exists(pk)"),
                        self.registry.still_only_store(),
                    ]
                )
            except ConditionFailed as refused:
                taken = refused.item if refused.index == 0 else None
                return taken is not None and taken.get("store") == tenant.store_id
            except Contention:
                self.table.deadline.sleep(min(0.01 * 2**attempt, 0.3))
            else:
                return True
        raise Contention

    def standing(self, tenant: Tenant, chat_id: str) -> Standing:
        """How a chat stands. One that nobody has becomes this store's where that needs no proof."""
        standings, owned = self._standings(tenant, [chat_id])
        standing = standings[chat_id]
        if not standing.usable or standing.current_id in owned:
            return standing
        self._claim(tenant, standing.current_id)
        return self.standings(tenant, [chat_id])[chat_id]

    def standings(self, tenant: Tenant, chat_ids: Iterable[str]) -> dict[str, Standing]:
        """How each chat stands, by its id as it was given."""
        return self._standings(tenant, chat_ids)[0]

    def _standings(
        self, tenant: Tenant, chat_ids: Iterable[str]
    ) -> tuple[dict[str, Standing], frozenset[str]]:
        """:meth:`standings`, and which of their present ids have an owner."""
        named = set(chat_ids)
        current, owners = self._followed({chat for chat in named if is_chat_id(chat)})
        is_only = None
        standings = {}
        for chat_id in named:
            if not is_chat_id(chat_id):
                standings[chat_id] = _unusable(chat_id)
                continue
            item = owners[current[chat_id]]
            reason = detail = None
            if item.get("store", tenant.store_id) != tenant.store_id:
                reason, detail = OTHER_STORE, f"The chat {chat_id} belongs to another store."
            elif not item:
                if is_only is None:
                    is_only = self.registry.is_only_store(tenant)
                if not is_only:
                    reason, detail = UNVERIFIED, f"It is not proven that {chat_id} is your chat."
            usable = reason is None
            standings[chat_id] = Standing(
                usable=usable,
                current_id=current[chat_id],
                reason=reason,
                detail=detail,
                title=item.get("title") if usable else None,
                type=item.get("type") if usable else None,
            )
        return standings, frozenset(chat_id for chat_id, item in owners.items() if item)

    def current_ids(self, chat_ids: Iterable[str]) -> dict[str, str]:
        """The id each chat has now: itself, or where its migrations lead."""
        return self._followed(chat_ids)[0]

    def _followed(self, chat_ids: Iterable[str]) -> tuple[dict[str, str], dict[str, Item]]:
        """:meth:`current_ids`, and the owner's item of every id on the way; empty: it has none."""
        now = {chat_id: chat_id for chat_id in chat_ids}
        owners: dict[str, Item] = {}
        for hop in range(_MAX_HOPS + 1):
            unknown = sorted(set(now.values()) - owners.keys())
            if not unknown:
                break
            found = self.table.batch_get((_pk(chat_id), _OWNER) for chat_id in unknown)
            owners |= {chat_id: found.get((_pk(chat_id), _OWNER), {}) for chat_id in unknown}
            if hop < _MAX_HOPS:
                now = {
                    chat_id: owners[current].get("migrated_to", current)
                    for chat_id, current in now.items()
                }
        return now, owners

    def migrated(self, tenant: Tenant, old_id: str, new_id: str) -> bool:
        """Remember that a chat of this store moved, as Telegram says; repeatable.

        Returns:
            Whether the new id is this store's: another may have it.
        """
        # The new id first: an old one that leads to a chat without an owner could be taken by
        # anybody in between.
        ours = self.approve(tenant, new_id)
        try:
            self.table.update_blind(
                _pk(old_id),
                _OWNER,
                "SET migrated_to = :new",
                "#store = :store",
                names={"#store": "store"},
                new=new_id,
                store=tenant.store_id,
            )
        except ConditionFailed:
            return False
        return ours

    # -- what is known of it ----------------------------------------------------------------------

    def described(self, chat_id: str, title: str | None, kind: str | None) -> None:
        """Remember what a chat that a store has is called, and whether it is a channel."""
        try:
            self.table.update_blind(
                _pk(chat_id),
                _OWNER,
                "SET title = :title, #type = :type",
                "attribute_exists(pk)",
                names={"#type": "type"},
                title=title or "",
                type=kind or "",
            )
        except ConditionFailed:
            return

    def looked_at(self, tenant: Tenant, chat_id: str, look: Look, *, again_at: int) -> None:
        """Remember what the bot found, and when to look again (seconds since the epoch)."""
        self._put_look(chat_key(tenant, chat_id), look, again_at)

    def look_again(self, tenant: Tenant, chat_id: str, at: int) -> None:
        """Have the sweep look at a chat at ``at`` (seconds since the epoch)."""
        key = chat_key(tenant, chat_id)
        item = self.table.get(key.pk, key.sk)
        own = {} if item is None else from_item(item).own
        self._put_look(key, Look(**own) if own else None, at)

    def looks(self, tenant: Tenant) -> dict[str, Look]:
        """What the last look at each of the store's chats found; never looked at: left out."""
        return {
            key.sk.removeprefix("CHAT#"): Look(**own) for key, own in self._named(tenant) if own
        }

    def look_soon(self, tenant: Tenant) -> None:
        """Have the sweep look at all of a store's chats: what proves that they are its own has
        changed."""
        for key, own in self._named(tenant):
            look = Look(**own) if own else None
            self._put_look(key, look, int(self.clock()))

    def _named(self, tenant: Tenant) -> list[tuple[Key, dict[str, Any]]]:
        items = self.table.query_all(
            "pk = :pk AND sk BETWEEN :first AND :last",
            pk=tenant.chats_pk(),
            first="CHAT#",
            last="CHAT#~",
        )
        records = [from_item(item) for item in items]
        return [(record.key, dict(record.own)) for record in records]

    def _put_look(
        self, key: Key, look: Look | None, again_at: int, condition: str | None = None
    ) -> None:
        self.table.put(
            {
                "pk": key.pk,
                "sk": key.sk,
                "own": None if look is None else dumps(look.to_json()),
                "reindex_at": again_at,
                "due_at": again_at,
                "due_shard": due_shard(key),
                "written_at": int(self.clock()),
            },
            condition,
        )


def _unusable(chat_id: str) -> Standing:
    if chat_id.isdigit():
        detail = f"{chat_id} is a person's id: ids of groups and channels are below zero."
        return Standing(False, chat_id, POSITIVE, detail)
    detail = f"{chat_id} is no numeric id of a chat."
    return Standing(False, chat_id, NOT_NUMERIC, detail)


def _pk(chat_id: str) -> str:
    return f"CHAT#{part(chat_id)}"
