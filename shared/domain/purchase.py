"""A purchase: what Stripe and the store said of it, what the owner asked, and what follows.

A purchase is kept as the Stripe objects that describe it (its *sources*, see
:mod:`shared.domain.merge`) and as our own part: the owner's intent, the removals from Telegram
chats and the schedule that wakes us. Everything a caller sees, and everything that must still
happen, is computed from these two by the functions here, so the same facts in any order give the
same purchase.

Sources and their fields (times are seconds since the epoch, ``None`` where unknown):

``subscription``
    ``id, status, products [ids], created_at, current_period_end, trial_end, cancel_at (the time
    it is scheduled to end, from either of Stripe's two ways to say so), canceled_at, ended_at,
    end_reason (Stripe's ``cancellation_details.reason``), payment_method (id), schedule (id),
    telegram_user_id, livemode``
``session``
    ``id, mode, outcome (completed, failed, expired), payment_status, created_at,
    product_id, telegram_user_id, access_code, access_expires_at, livemode``
``payment_intent``
    ``id, status, failed, created_at, product_id, telegram_user_id, livemode``
``charge``
    ``id, status, created_at, product_id, telegram_user_id, livemode, method {type, brand, last4}``
``redemption``
    ``access_code, product_id, redeemed_at, expires_at, telegram_user_id``
``link``
    ``telegram_user_id, invite_links {chat_id: link}``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from shared.domain.merge import Data, Source

When = Literal["immediately", "period_end"]
Kind = Literal["one_off", "subscription", "access_code"]

LIVE_SUBSCRIPTION = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})
ENDED_SUBSCRIPTION = frozenset({"canceled", "incomplete_expired"})
PERIOD_END_POSSIBLE = frozenset({"active", "trialing", "past_due"})

# A link made by the store itself outranks metadata; a charge's metadata can be changed after the
# payment, a PaymentIntent's and a session's can't.
_USER_PRECEDENCE = (
    "link",
    "redemption",
    "subscription",
    "charge",
    "payment_intent",
    "session",
)
_PRODUCT_PRECEDENCE = ("redemption", "session", "payment_intent", "charge")
_OF_STRIPE = ("subscription", "session", "payment_intent", "charge")
_PAID = frozenset({"paid", "no_payment_required"})


@dataclass(frozen=True, slots=True)
class Intent:
    """What the owner asked for, recorded before anything is done about it.

    Attributes:
        generation: 1 for the first request of a purchase, one more for each later one.
        phase: ``requested`` until Stripe has done it, then ``done``; ``superseded`` when it was
            taken back in Stripe; ``refused`` when Stripe will never do it.
        attempt: how often Stripe was asked; part of the idempotency key, so that an answer
            Stripe has saved is never taken for the answer to a new attempt.
    """

    generation: int
    mode: When
    actor: str
    requested_at: int
    phase: Literal["requested", "done", "superseded", "refused"] = "requested"
    attempt: int = 0
    error: str | None = None
    reason: str | None = None


RemovalState = Literal["revoking", "revoked", "kept", "failed"]


@dataclass(frozen=True, slots=True)
class Removal:
    """Taking one Telegram user out of one chat.

    Attributes:
        detail: a sentence for the owner.
        next_attempt_at: when it is tried (again), while ``revoking``.
        wait: seconds it was told to wait; long waits get a schedule of their own.
    """

    chat_id: str
    telegram_user_id: str
    state: RemovalState = "revoking"
    detail: str | None = None
    attempts: int = 0
    next_attempt_at: int | None = 0
    wait: int = 0
    finished_at: int | None = None
    link_revoked: bool = False

    @property
    def key(self) -> str:
        return f"{self.chat_id}:{self.telegram_user_id}"


@dataclass(frozen=True, slots=True)
class Retry:
    """A step that failed for now."""

    attempts: int
    next_attempt_at: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """An end that is ours to declare: a one-off's, a code's expiry, a period that ran out."""

    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Audit:
    """One thing somebody asked for, or what became of it."""

    at: int
    actor: str
    event: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """Our own part of a purchase; only the holder of its lease writes it.

    Attributes:
        planned: for which users and state the removals were last planned.
        schedule_at: the time the one-time schedule fires, where one was made.
        retries: steps that failed for now, by step (``stripe``, ``look``, ``plan``,
            ``schedule``).
    """

    intent: Intent | None = None
    end: End | None = None
    removals: Mapping[str, Removal] = field(default_factory=dict)
    planned: str | None = None
    schedule_at: int | None = None
    retries: Mapping[str, Retry] = field(default_factory=dict)
    audit: tuple[Audit, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the parts that say something."""
        parts: dict[str, Any] = {
            "intent": None if self.intent is None else asdict(self.intent),
            "end": None if self.end is None else asdict(self.end),
            "removals": [asdict(removal) for removal in self.removals.values()],
            "planned": self.planned,
            "schedule_at": self.schedule_at,
            "retries": {step: asdict(retry) for step, retry in self.retries.items()},
            "audit": [asdict(entry) for entry in self.audit],
        }
        return {name: part for name, part in parts.items() if part not in (None, [], {})}

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> Own:
        removals = [Removal(**removal) for removal in parts.get("removals", ())]
        intent, end = parts.get("intent"), parts.get("end")
        return cls(
            intent=None if intent is None else Intent(**intent),
            end=None if end is None else End(**end),
            removals={removal.key: removal for removal in removals},
            planned=parts.get("planned"),
            schedule_at=parts.get("schedule_at"),
            retries={step: Retry(**retry) for step, retry in parts.get("retries", {}).items()},
            audit=tuple(Audit(**entry) for entry in parts.get("audit", ())),
        )

    def retry_at(self, step: str, otherwise: int) -> int:
        """When a step may be tried: after its last failure's wait, else ``otherwise``."""
        retry = self.retries.get(step)
        return otherwise if retry is None else retry.next_attempt_at

    def without_retry(self, step: str) -> Own:
        return replace(self, retries={s: r for s, r in self.retries.items() if s != step})


@dataclass(frozen=True)
class Purchase:
    """One product bought once. See the module's text for its sources.

    Attributes:
        seen_users: every Telegram user that was ever linked to this purchase.
        turns: how often somebody was let in again who had to leave before.
        seen_products: every product this subscription ever was of; plans can be switched.
    """

    purchase_id: str
    sources: Mapping[str, Source]
    own: Own = field(default_factory=Own)
    seen_users: frozenset[str] = frozenset()
    turns: int = 0
    seen_products: frozenset[str] = frozenset()

    # -- what it is ---------------------------------------------------------------------------

    def data(self, source: str) -> Data:
        """A source's object, empty where we have none."""
        stored = self.sources.get(source)
        return {} if stored is None else stored.data

    def _first(self, name: str, precedence: tuple[str, ...]) -> Any:
        for source in precedence:
            value = self.data(source).get(name)
            if value is not None:
                return value
        return None

    @cached_property
    def kind(self) -> Kind:
        if "subscription" in self.sources or self.purchase_id.startswith("sub_"):
            return "subscription"
        if "redemption" in self.sources or (
            self.data("session").get("access_code")
            and self.data("session").get("payment_status") == "no_payment_required"
        ):
            return "access_code"
        return "one_off"

    @cached_property
    def visible(self) -> bool:
        """Whether this is a purchase at all, and not just a payment we hold something of.

        A subscription's invoice is paid with a PaymentIntent too: one is a purchase of its own
        only where a payment-mode session or our metadata says so. An abandoned session is none.
        """
        if self.kind == "subscription":
            return "subscription" in self.sources
        if "redemption" in self.sources:
            return True
        session = self.data("session")
        if session and session["outcome"] != "expired":
            return True
        return any(self.data(s).get("product_id") for s in ("payment_intent", "charge"))

    @cached_property
    def product_ids(self) -> tuple[str, ...]:
        """The products bought; the first is the one shown. Items say it before metadata does."""
        items = self.data("subscription").get("products")
        if items:
            return tuple(items)
        product_id = self._first("product_id", ("subscription", *_PRODUCT_PRECEDENCE))
        return () if product_id is None else (product_id,)

    @cached_property
    def products_ever(self) -> frozenset[str]:
        """What its buyer was ever let in for, and has to leave when it is over."""
        return self.seen_products.union(self.product_ids)

    @cached_property
    def payment_provider(self) -> str | None:
        """``stripe``, ``stripe_test``; ``None`` for an access code, which is not a payment."""
        if self.kind == "access_code" or self._first("livemode", _OF_STRIPE) is None:
            return None
        return "stripe" if self.livemode else "stripe_test"

    @cached_property
    def livemode(self) -> bool:
        """The mode in which Stripe knows it, also where it is not a payment."""
        return self._first("livemode", _OF_STRIPE) is not False

    @cached_property
    def access_code(self) -> str | None:
        if self.kind != "access_code":
            return None
        code: str | None = self._first("access_code", ("redemption", "session"))
        return code

    @cached_property
    def telegram_user_id(self) -> str | None:
        user: str | None = self._first("telegram_user_id", _USER_PRECEDENCE)
        return user

    @cached_property
    def purchased_at(self) -> int:
        if "subscription" in self.sources:
            return int(self.data("subscription")["created_at"])
        if "redemption" in self.sources:
            return int(self.data("redemption")["redeemed_at"])
        times = [
            self.data(source)["created_at"]
            for source in ("session", "payment_intent", "charge")
            if source in self.sources
        ]
        return int(min(times, default=0))

    # -- where it stands ----------------------------------------------------------------------

    @cached_property
    def stripe_status(self) -> str | None:
        status: str | None = self.data("subscription").get("status")
        return status

    @cached_property
    def _paid(self) -> bool:
        return (
            self.data("session").get("payment_status") in _PAID
            or self.data("payment_intent").get("status") == "succeeded"
            or self.data("charge").get("status") == "succeeded"
        )

    @cached_property
    def is_over(self) -> bool:
        """Ended for good. A purchase that has ended is never reopened."""
        return self.stripe_status in ENDED_SUBSCRIPTION or self.own.end is not None

    @cached_property
    def was_live(self) -> bool:
        """Whether it ever gave access: only then is there any to take away."""
        if self.kind == "subscription":
            return self.stripe_status in LIVE_SUBSCRIPTION or self.stripe_status == "canceled"
        if self.kind == "access_code":
            return True
        return self.visible and self._paid

    @cached_property
    def is_live(self) -> bool:
        """Whether it gives access now."""
        return self.was_live and not self.is_over

    @cached_property
    def expires_at(self) -> int | None:
        if self.kind != "access_code":
            return None
        if "redemption" in self.sources:
            at = self.data("redemption").get("expires_at")
        else:
            at = self.data("session").get("access_expires_at")
        return None if at is None else int(at)

    @cached_property
    def cancel_at(self) -> int | None:
        """When a live subscription is scheduled to end."""
        if self.is_over:
            return None
        at = self.data("subscription").get("cancel_at")
        return None if at is None else int(at)

    @cached_property
    def ends_at(self) -> int | None:
        """When a live purchase ends if nothing changes: scheduled cancel, or a code's term."""
        if self.is_over:
            return None
        return self.expires_at if self.kind == "access_code" else self.cancel_at

    @cached_property
    def ended_at(self) -> int | None:
        if not self.is_over:
            return None
        subscription = self.data("subscription")
        if self.stripe_status in ENDED_SUBSCRIPTION:
            at = subscription.get("ended_at") or subscription.get("canceled_at")
            if at is not None:
                return int(at)
        return None if self.own.end is None else self.own.end.at

    @cached_property
    def cancelled_by_owner(self) -> bool:
        intent = self.own.intent
        return intent is not None and intent.phase in ("requested", "done")

    @cached_property
    def end_reason(self) -> str | None:
        if not self.is_over:
            return None
        if self.kind != "subscription":
            return None if self.own.end is None else self.own.end.reason
        stripe_reason = self.data("subscription").get("end_reason")
        if self.cancelled_by_owner:
            return "cancelled_by_owner"
        if self.stripe_status == "incomplete_expired":
            return "payment_failed"
        if stripe_reason in ("payment_failed", "payment_disputed"):
            return str(stripe_reason)
        return "cancelled_in_stripe"

    @cached_property
    def status(self) -> str:
        """The billing status as the owner reads it."""
        if self.kind == "subscription":
            if self.stripe_status == "incomplete_expired":
                return "expired"
            if self.is_over:
                return "cancelled"
            return self.stripe_status or "incomplete"
        if self.own.end is not None:
            return "expired" if self.own.end.reason == "expired" else "cancelled"
        if self.kind == "access_code" or self._paid:
            return "active"
        failed = (
            self.data("session").get("outcome") in ("failed", "expired")
            or self.data("payment_intent").get("status") == "canceled"
            or self.data("payment_intent").get("failed")
            or self.data("charge").get("status") == "failed"
        )
        return "failed" if failed else "pending"

    @cached_property
    def cancel_pending(self) -> When | None:
        """The owner's request that Stripe has not carried out yet."""
        intent = self.own.intent
        return intent.mode if intent is not None and intent.phase == "requested" else None

    @cached_property
    def cancel_options(self) -> tuple[When, ...]:
        """What the owner may choose now. A scheduled purchase keeps both: the first still works,
        the second changes nothing."""
        if self.is_over or not self.visible or self.cancel_pending == "immediately":
            return ()
        if self.kind != "subscription":
            return ("immediately",) if self.is_live else ()
        if self.stripe_status in PERIOD_END_POSSIBLE:
            return ("immediately", "period_end")
        return ("immediately",)

    # -- access -------------------------------------------------------------------------------

    @cached_property
    def users_to_remove(self) -> frozenset[str]:
        """Telegram users that must not be in the product's chats through this purchase."""
        if not self.was_live:
            return frozenset()
        if self.is_over:
            return self.seen_users
        return self.seen_users - {self.telegram_user_id or ""}

    @cached_property
    def plan_key(self) -> str:
        """What the removals depend on: planned anew when this differs from ``own.planned``."""
        users = ",".join(sorted(self.users_to_remove))
        switched = len(self.products_ever) > len(self.product_ids)
        products = f"+{len(self.products_ever)}" if switched else ""
        turn = f"#{self.turns}" if self.turns else ""
        return f"{'over' if self.is_over else 'live'}:{users}{products}{turn}" if users else ""

    @cached_property
    def plan_is_stale(self) -> bool:
        return self.plan_key != (self.own.planned or "")

    @property
    def planned_in_this_turn(self) -> bool:
        """Whether nobody was let in again since the removals were planned.

        Somebody linked, replaced, linked again and replaced again has to leave twice; the second
        time, what became of the first removal says nothing any more.
        """
        return (self.own.planned or "").partition("#")[2] == (str(self.turns) if self.turns else "")

    def has_removal_of(self, user: str) -> bool:
        return any(removal.telegram_user_id == user for removal in self.own.removals.values())

    def has_kept(self, chat_id: str, user: str) -> bool:
        """Whether its buyer was left in a chat because of another purchase."""
        removal = self.own.removals.get(f"{chat_id}:{user}")
        return removal is not None and removal.state == "kept"

    @property
    def open_removals(self) -> tuple[Removal, ...]:
        """Removals still to be done, the earliest first."""
        waiting = [r for r in self.own.removals.values() if r.state == "revoking"]
        return tuple(sorted(waiting, key=lambda r: (r.next_attempt_at or 0, r.key)))

    @cached_property
    def access_state(self) -> str:
        """``granted``, ``not_linked``, ``revoking``, ``revoked``, ``kept`` or ``failed``."""
        if not self.seen_users or not self.was_live:
            return "not_linked"
        if not self.is_over:
            return "granted" if self.telegram_user_id else "not_linked"
        if self.plan_is_stale:
            return "revoking"
        states = {removal.state for removal in self.own.removals.values()}
        for state in ("failed", "revoking", "kept"):
            if state in states:
                return state
        return "revoked"

    def invite_link(self, chat_id: str) -> str | None:
        """The invite link this purchase let its buyer in by, where the store told us."""
        links: Mapping[str, str] = self.data("link").get("invite_links") or {}
        return links.get(chat_id)

    # -- what must still happen -----------------------------------------------------------------

    @cached_property
    def wanted_schedule_at(self) -> int | None:
        """When a one-time schedule should wake us: the end, or the next far-off attempt."""
        if self.ends_at is not None:
            return self.ends_at
        far = [r.next_attempt_at for r in self.open_removals if r.wait >= 60 and r.next_attempt_at]
        return min(far, default=None)

    @cached_property
    def due_at(self) -> int | None:
        """When something must next be done about this purchase; ``None``: nothing ever.

        A function of the whole record and of nothing else: it is recomputed at every write, so
        that the sweep finds whatever a crash left undone.
        """
        due: list[int] = []
        own = self.own
        if own.intent is not None and own.intent.phase == "requested":
            due.append(own.retry_at("stripe", own.intent.requested_at))
        if self.intent_was_taken_back:
            due.append(0)
        if self.ends_at is not None:
            due.append(max(self.ends_at, own.retry_at("look", 0)))
        if self.plan_is_stale:
            due.append(own.retry_at("plan", 0))
        else:
            due.extend(removal.next_attempt_at or 0 for removal in self.open_removals)
        if self.wanted_schedule_at != own.schedule_at:
            due.append(own.retry_at("schedule", 0))
        return min(due, default=None)

    @property
    def intent_was_taken_back(self) -> bool:
        """A period-end cancel that Stripe had accepted and that is not there any more."""
        intent = self.own.intent
        return (
            intent is not None
            and intent.mode == "period_end"
            and intent.phase == "done"
            and not self.is_over
            and self.cancel_at is None
        )


def facts(purchase: Purchase) -> list[Any]:
    """The part of a purchase on which anything but display depends.

    While an event leaves this unchanged, nothing follows from it: neither the customer list, nor
    the links, nor ``due_at`` can change.
    """
    return [
        purchase.kind,
        purchase.visible,
        purchase.was_live,
        purchase.is_over,
        purchase.ends_at,
        purchase.telegram_user_id,
        purchase.product_ids,
        purchase.payment_provider,
        purchase.purchased_at,
        purchase.data("link").get("invite_links"),
    ]


def source_facts(source: str, data: Data) -> Any:
    """What a source adds to them. While an event leaves this unchanged, it leaves them unchanged,
    whatever the other sources are, and it is stored with one conditional write."""
    lone = Purchase("sub_" if source == "subscription" else "", {source: Source(data, 0)})
    return [
        *facts(lone),
        data.get("status") == "succeeded" or data.get("payment_status") in _PAID,
    ]
