"""One account in one mode: its objects and events. The part every operation builds on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from standins.stripe import objects
from standins.stripe.errors import missing
from standins.stripe.shapes import Object, clone, difference

if TYPE_CHECKING:
    from standins.stripe.standin import StripeStandin

P = ParamSpec("P")
R = TypeVar("R")
L = TypeVar("L", bound="Ledger")

KINDS = {
    "card": "card",
    "cbtxn": "customer_balance_transaction",
    "ch": "charge",
    "cn": "credit_note",
    "cs": "checkout.session",
    "cus": "customer",
    "du": "dispute",
    "in": "invoice",
    "inpay": "invoice_payment",
    "pi": "payment_intent",
    "pm": "payment_method",
    "price": "price",
    "prod": "product",
    "re": "refund",
    "si": "subscription_item",
    "sub": "subscription",
    "txn": "balance_transaction",
}
"""Kind of object by the prefix of its id."""


TIMED = ("subscription_schedule", "subscription", "checkout.session")
"""Kinds of object that change by the passing of time alone."""


def kind_of(id_: str) -> str | None:
    if id_.startswith("sub_sched_"):
        return "subscription_schedule"
    return KINDS.get(id_.split("_", 1)[0])


def operation(method: Callable[Concatenate[L, P], R]) -> Callable[Concatenate[L, P], R]:
    """Run a change under the stand-in's lock; what it changed is stored in one transaction."""

    @functools.wraps(method)
    def wrapper(self: L, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.host.transaction():
            return method(self, *args, **kwargs)

    return cast("Callable[Concatenate[L, P], R]", wrapper)


class Ledger:
    """The objects of one account in one mode, by kind and id, and the writing of events."""

    def __init__(self, host: StripeStandin, account_id: str | None, livemode: bool) -> None:
        self.host = host
        self.account_id = account_id
        self.livemode = livemode
        self.objects: dict[str, dict[str, Object]] = {}
        self.timed: dict[str, list[Object]] = {}
        """What time acts upon, by customer (sessions without one under "")."""

    @property
    def space(self) -> str:
        """Key of this account and mode in the stored state."""
        return f"{self.account_id or ''}/{'live' if self.livemode else 'test'}"

    def now(self) -> int:
        return self.host.clock.now()

    def new_id(self, prefix: str, *, length: int = 24) -> str:
        return objects.make_id(prefix, self.host.seed, self.host.next_number(), length=length)

    def all(self, kind: str) -> Iterable[Object]:
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

    def add(self, created: Object) -> Object:
        created["_seq"] = self.host.next_number()
        self.load(created)
        self.host.saved(self, created)
        return created

    def load(self, stored: Object) -> None:
        self.objects.setdefault(stored["object"], {})[stored["id"]] = stored
        if stored["object"] in TIMED:
            self.timed.setdefault(stored["customer"] or "", []).append(stored)

    def change(self, target: Object, **values: Any) -> Object:
        """Set fields and return ``previous_attributes`` (empty when nothing changed)."""
        old = {key: clone(target.get(key)) for key in values}
        target.update(values)
        self.host.saved(self, target)
        return difference(old, {key: target[key] for key in values})

    def emit(self, type_: str, about: Object, previous: Mapping[str, Any] | None = None) -> Object:
        """Write an event about an object as it is now."""
        return self.host.record_event(self, type_, clone(about), previous)

    def update(self, type_: str, target: Object, **values: Any) -> Object | None:
        """Change fields and write the event, where there is a change; Stripe is silent else."""
        previous = self.change(target, **values)
        return self.emit(type_, target, previous) if previous else None


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
