"""One account in one mode: its objects, and the writing of its events.

The modules of the objects (``charges``, ``invoices``, …) are functions over a ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from standins.stripe.clock import Clock
from standins.stripe.errors import missing
from standins.stripe.events import EventLog
from standins.stripe.ids import kind_of
from standins.stripe.search_index import SearchIndex
from standins.stripe.shapes import Object, clone, difference
from standins.stripe.store import Store

TIMED = ("subscription_schedule", "subscription", "checkout.session")
"""Kinds of object that change by the passing of time alone; see ``timers``."""


class Ledger:
    """The objects of one account in one mode, by kind and id.

    ``account_id``: ``None`` for the platform's own account. ``settings``: how Stripe is set up in
    the dashboard, the same for all accounts.
    """

    def __init__(
        self,
        account_id: str | None,
        *,
        livemode: bool,
        store: Store,
        clock: Clock,
        event_log: EventLog,
        search_index: SearchIndex,
        settings: Mapping[str, Any],
    ) -> None:
        self.account_id = account_id
        self.livemode = livemode
        self.clock = clock
        self.settings = settings
        self.objects: dict[str, dict[str, Object]] = {}
        self.timed: dict[str, list[Object]] = {}
        """What time acts upon, by customer (sessions without one under "")."""
        self._store = store
        self._event_log = event_log
        self._search_index = search_index
        self._touched: dict[str, Object] = {}

    @property
    def space(self) -> str:
        """The name of this account and mode in the stored state."""
        return f"{self.account_id or ''}/{'live' if self.livemode else 'test'}"

    def now(self) -> int:
        """The time an object made at this moment is stamped with."""
        return self.clock.now()

    @contextmanager
    def at(self, at: int | None) -> Iterator[None]:
        """Let what is done inside happen at another time (epoch seconds), usually a past one."""
        with self._store.lock, self.clock.at(at):
            yield

    def new_id(self, prefix: str, *, length: int = 24) -> str:
        """An id that nothing has yet."""
        return self._store.new_id(prefix, length=length)

    # --- objects --------------------------------------------------------------------------

    def all(self, kind: str) -> Iterable[Object]:
        """The stored objects of a kind, oldest first."""
        return self.objects.get(kind, {}).values()

    def get(self, kind: str, id_: str, *, param: str = "id") -> Object:
        """The stored object itself. Raises ``StripeError`` (404, resource_missing)."""
        found = self.objects.get(kind, {}).get(id_)
        if found is None:
            raise missing(kind, id_, param=param)
        return found

    def find(self, id_: str) -> Object | None:
        """Any object by its id alone."""
        kind = kind_of(id_)
        return self.objects.get(kind, {}).get(id_) if kind else None

    def transaction(self) -> AbstractContextManager[None]:
        """Everything changed inside is stored together when the outermost transaction ends."""
        return self._store.transaction()

    def add(self, created: Object) -> Object:
        """Store a new object; returns it."""
        created["_seq"] = self._store.next_number()
        self.load(created)
        self.save(created)
        return created

    def load(self, stored: Object) -> None:
        """Take in an object that is stored already."""
        self.objects.setdefault(stored["object"], {})[stored["id"]] = stored
        if stored["object"] in TIMED:
            self.timed.setdefault(stored["customer"] or "", []).append(stored)
            self._touched[stored["id"]] = stored

    def save(self, target: Object) -> None:
        """Note that an object, or what its next time depends on, has changed."""
        self._store.put_object(self.space, target)
        self._search_index.note(self.space, target)
        if target["object"] in TIMED:
            self._touched[target["id"]] = target

    def take_touched(self) -> list[Object]:
        """The timed objects that were changed since this was asked the last time."""
        touched, self._touched = self._touched, {}
        return list(touched.values())

    def change(self, target: Object, **values: Any) -> Object:
        """Set fields and return ``previous_attributes`` (empty when nothing changed)."""
        old = {key: clone(target.get(key)) for key in values}
        target.update(values)
        self.save(target)
        return difference(old, {key: target[key] for key in values})

    # --- events ---------------------------------------------------------------------------

    def emit(self, type_: str, about: Object, previous: Mapping[str, Any] | None = None) -> Object:
        """Write an event about an object as it is now."""
        origin = {"account": self.account_id, "livemode": self.livemode, "space": self.space}
        return self._event_log.record(origin, type_, clone(about), previous)

    def update(self, type_: str, target: Object, **values: Any) -> Object | None:
        """Change fields and write the event, where there is a change; Stripe is silent else."""
        previous = self.change(target, **values)
        return self.emit(type_, target, previous) if previous else None

    def events(
        self, *, types: Iterable[str] | None = None, api_version: str | None = None
    ) -> list[Object]:
        """This account's events in the order they happened, as they are delivered."""
        return self._event_log.rendered(types=types, api_version=api_version, space=self.space)


def merged(metadata: Mapping[str, Any], changes: Mapping[str, Any]) -> Object:
    """Stripe's metadata update: keys are merged, an empty or null value removes its key."""
    result = {
        **metadata,
        **{key: value for key, value in changes.items() if value not in ("", None)},
    }
    for key, value in changes.items():
        if value in ("", None):
            result.pop(key, None)
    return {key: str(value) for key, value in result.items()}
