"""A purchase: what Stripe and the store said of it, what the owner asked, and what follows.

A purchase is kept as the Stripe objects that describe it (its *sources*, see
:mod:`shared.domain.merge`) and as our own part: the owner's intent, the removals from Telegram
chats and the schedule that wakes us. Everything a caller sees, and everything that must still
happen, is computed from these two by the functions here, so the same facts in any order give the
same purchase.

Sources and their fields (times are seconds since the epoch, ``None`` where unknown):

``subscription``
    ``id, status, products [ids], created_at, current_period_end, trial_end, cancel_at (the time
    it is scheduled to end, from either of Stripe's two ways to say so), cancel_at_period_end,
    canceled_at, ended_at, end_reason, feedback, comment (of Stripe's ``cancellation_details``),
    collection_paused, payment_method (id), schedule (id), latest_invoice (id), product_id,
    telegram_user_id, livemode``
``session``
    ``id, mode, outcome (completed, failed, expired), payment_status, created_at,
    product_id, products [ids of its one-time line items, empty where metadata names the product],
    telegram_user_id, access_code, access_expires_at, livemode``; of a subscription's session also
    ``sold_once``: whether one-time items were sold with it, a purchase of their own;
    ``expiry_not_understood``: what was told as a code's date of expiry, where that is no date
``beside``
    the subscription that was sold in the same checkout: ``id, telegram_user_id``
``payment_intent``
    ``id, status, failed, created_at, product_id, telegram_user_id, livemode``
``charge``
    ``id, status, created_at, product_id, telegram_user_id, livemode, method {type, brand, last4}``
``released``
    ``id`` of the charge, whose authorisation ended without a capture
``redemption``
    ``access_code, product_id, redeemed_at, expires_at, telegram_user_id, livemode``, and
    ``expiry_not_understood`` as above
``link``
    ``telegram_user_id, invite_links {chat_id: link}``
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Literal

from shared.domain.merge import CLOCK_SKEW_SECONDS, Data, Source
from shared.domain.telegram import MAY_END
from shared.domain.timeline import Point, Span, Timeline, of_source

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
    "beside",
    "session",
)
_PRODUCT_PRECEDENCE = ("redemption", "session", "payment_intent", "charge")
_OF_STRIPE = ("subscription", "session", "payment_intent", "charge")
_PAID = frozenset({"paid", "no_payment_required"})

# A look at Stripe counts for this long: longer than the removals of one purchase mostly take.
LOOK_LASTS_SECONDS = 60
# Entries of a purchase's log; past this the oldest attempts in vain are dropped first.
MOST_LOG_ENTRIES = 300


@dataclass(frozen=True, slots=True)
class Intent:
    """What the owner asked for, recorded before anything is done about it.

    Attributes:
        generation: 1 for the first request of a purchase, one more for each later one.
        phase: ``requested`` until Stripe has done it, then ``done``; ``superseded`` when it was
            taken back in Stripe; ``refused`` when Stripe will never do it.
        actor, actor_name: the token's subject, and its display name.
        without_stripe: where Stripe has nothing to end, it ends on our side.
        can_end_without_stripe: Stripe refused because it has nothing to end; that is proven.
        charges_may_continue: the account is closed or disconnected: nobody knows what it charges.
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
    actor_name: str | None = None
    without_stripe: bool = False
    can_end_without_stripe: bool = False
    charges_may_continue: bool = False


END: Final = "end"
"""When somebody lost a chat with the end of the purchase; else it is a time."""

Lost = int | Literal["end"] | None
RemovalState = Literal["revoking", "revoked", "kept", "failed"]


@dataclass(frozen=True, slots=True)
class Removal:
    """Taking one Telegram user out of one chat.

    Attributes:
        chat_id: as the product names it; one that can't be used is ``failed`` from the start.
        reason: a stable code (:class:`shared.domain.telegram.Reason`).
        detail: a sentence for the owner.
        next_attempt_at: when it is tried (again), while ``revoking``.
        wait: seconds it was told to wait; long waits get a schedule of their own.
        lost: when the user lost the chat. A removal that is finished is never planned again for
            the same loss.
        since: when it was planned.
        restarts: how often it was tried again by itself because the bot could remove people again.
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
    reason: str | None = None
    lost: Lost = None
    since: int | None = None
    restarts: int = 0

    @property
    def key(self) -> str:
        return f"{self.chat_id}:{self.telegram_user_id}"

    @property
    def overdue_since(self) -> int | None:
        """Since when the user should be out."""
        return self.since or self.finished_at


@dataclass(frozen=True, slots=True)
class Overdue:
    """Somebody should be out of a chat and is not.

    Attributes:
        since: the oldest such time of a purchase.
        state: ``failed`` where any removal failed, else ``revoking``.
        chats: where a removal failed for what may end by itself: the bot has no rights, or it is
            not proven whose the chat is.
    """

    since: int
    state: Literal["failed", "revoking"]
    chats: frozenset[str] = frozenset()


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
    """An entry of a purchase's log: something somebody asked for, or something that was done.

    What Stripe and the store told is not among them: it follows from the timelines
    (:mod:`shared.domain.history`).

    Attributes:
        actor: ``owner``, ``customer``, ``stripe``, ``system`` or ``store``.
        actor_id, actor_name: who of the staff.
        reason: in the words of who asked.
        chat_id, telegram_user_id: of a removal.
    """

    at: int
    actor: str
    event: str
    detail: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    reason: str | None = None
    chat_id: str | None = None
    telegram_user_id: str | None = None


@dataclass(frozen=True, slots=True)
class EndChange:
    """A change of a subscription's scheduled end at Stripe.

    Attributes:
        point: what told it.
        was, now: the end before and after it, seconds since the epoch; ``None``: there was none.
        feedback, comment: what the buyer told Stripe while this end stood.
        asked_by: the owner's request that it carried out.
    """

    point: Point
    was: int | None
    now: int | None
    feedback: str | None = None
    comment: str | None = None
    asked_by: Audit | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """Our own part of a purchase; only the holder of its lease writes it.

    Attributes:
        planned: the :attr:`Purchase.plan_key` the removals were last planned for.
        schedule_at: the time the one-time schedule fires, where one was made.
        retries: steps that failed for now, by step (``stripe``, ``look``, ``plan``, ``buyer``,
            ``schedule``).
        looked_at: when Stripe was last asked what else the buyers have.
        waived: the plan for which the owner decided that what is known is enough.
    """

    intent: Intent | None = None
    end: End | None = None
    removals: Mapping[str, Removal] = field(default_factory=dict)
    planned: str | None = None
    schedule_at: int | None = None
    retries: Mapping[str, Retry] = field(default_factory=dict)
    audit: tuple[Audit, ...] = ()
    looked_at: int | None = None
    waived: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the parts that say something."""
        parts: dict[str, Any] = {
            "intent": None if self.intent is None else _saying(self.intent),
            "end": None if self.end is None else asdict(self.end),
            "removals": [_saying(removal) for removal in self.removals.values()],
            "planned": self.planned,
            "schedule_at": self.schedule_at,
            "retries": {step: asdict(retry) for step, retry in self.retries.items()},
            "audit": [_saying(entry) for entry in self.audit],
            "looked_at": self.looked_at,
            "waived": self.waived,
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
            looked_at=parts.get("looked_at"),
            waived=parts.get("waived"),
        )

    def retry_at(self, step: str, otherwise: int) -> int:
        """When a step may be tried: after its last failure's wait, else ``otherwise``."""
        retry = self.retries.get(step)
        return otherwise if retry is None else retry.next_attempt_at

    def without_retry(self, step: str) -> Own:
        return replace(self, retries={s: r for s, r in self.retries.items() if s != step})

    def logged(self, *entries: Audit) -> Own:
        """With further entries of the log. Nothing in it is ever changed; past its bound the
        oldest attempts in vain go first."""
        audit = [*self.audit, *entries]
        if len(audit) > MOST_LOG_ENTRIES:
            in_vain = [n for n, entry in enumerate(audit) if entry.event == "removal_postponed"]
            dropped = set((in_vain or list(range(len(audit))))[: len(audit) - MOST_LOG_ENTRIES])
            audit = [entry for n, entry in enumerate(audit) if n not in dropped]
        return replace(self, audit=tuple(audit))


def _saying(part: Intent | Removal | Audit) -> dict[str, Any]:
    """The fields that differ from their defaults, and those that have none."""
    return {
        name: value
        for name, value in asdict(part).items()
        if name not in type(part).__dataclass_fields__
        or value != type(part).__dataclass_fields__[name].default
    }


_WORDS = {"reason": "end_reason", "feedback": "feedback", "comment": "comment"}


def said(source: str, data: Data) -> Data:
    """What a source says that has a time in it: while these are the same, its timeline needs no
    point.

    ``live`` (it gives access), ``over``, ``user``, ``items`` (products of a subscription's items,
    or of a session's line items), ``product`` (of the metadata), ``cancel_at``,
    ``cancellation`` ``{reason, feedback, comment}``, ``expiry_not_understood``; what is not said is
    left out.
    """
    live = over = None
    if source == "subscription":
        live, over = data["status"] in LIVE_SUBSCRIPTION, data["status"] in ENDED_SUBSCRIPTION
    elif source != "link":
        live = source == "redemption" or _is_paid(data)
    cancellation = {name: data[key] for name, key in _WORDS.items() if data.get(key) is not None}
    parts = {
        "live": live or None,
        "over": over or None,
        "user": data.get("telegram_user_id"),
        "items": list(data.get("products") or ()) or None,
        "product": data.get("product_id"),
        "cancel_at": data.get("cancel_at"),
        "cancellation": cancellation or None,
        "expiry_not_understood": data.get("expiry_not_understood"),
    }
    return {name: value for name, value in parts.items() if value is not None}


def _is_paid(data: Data) -> bool:
    return data.get("status") == "succeeded" or data.get("payment_status") in _PAID


@dataclass(frozen=True)
class Purchase:
    """One product bought once. See the module's text for its sources.

    Attributes:
        seen_users: every Telegram user that was ever linked to this purchase.
        seen_products: every product this subscription ever was of; plans can be switched.
        timelines: what each source said over time, where that ever changed.
        settle_until: nobody is removed before, for a change that an event told.
    """

    purchase_id: str
    sources: Mapping[str, Source]
    own: Own = field(default_factory=Own)
    seen_users: frozenset[str] = frozenset()
    seen_products: frozenset[str] = frozenset()
    timelines: Mapping[str, Timeline] = field(default_factory=dict)
    settle_until: int | None = None

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
    def item_products(self) -> tuple[str, ...]:
        """The products of a subscription's items, or of a payment's line items."""
        source = "subscription" if self.kind == "subscription" else "session"
        return tuple(self.data(source).get("products") or ())

    @cached_property
    def named_product(self) -> str | None:
        """The product that metadata or the store names."""
        return None if self.names_product is None else self.data(self.names_product)["product_id"]

    @cached_property
    def names_product(self) -> str | None:
        """The source whose word on :attr:`named_product` counts."""
        sources = ("subscription", *_PRODUCT_PRECEDENCE)
        return next((s for s in sources if self.data(s).get("product_id")), None)

    @cached_property
    def product_ids(self) -> tuple[str, ...]:
        """The products bought, as far as this record says; the first is the one shown.

        Of a subscription its items; which of them and of :attr:`named_product` count is said by
        the products' chats (:func:`shared.domain.access.products_of`). Of a payment what is named,
        else its line items.
        """
        if self.kind != "subscription" and self.named_product is not None:
            return (self.named_product,)
        if self.item_products:
            return self.item_products
        return () if self.named_product is None else (self.named_product,)

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Every product that may count now."""
        named = () if self.named_product is None else (self.named_product,)
        return tuple(dict.fromkeys((*self.product_ids, *named)))

    @cached_property
    def products_ever(self) -> frozenset[str]:
        """Every product that it was ever of, or may have been."""
        over_time = {product for _, product in self._products_over_time}
        return self.seen_products.union(self.candidates, over_time)

    @cached_property
    def payment_provider(self) -> str | None:
        """``stripe``, ``stripe_test``; ``None`` for an access code, which is not a payment."""
        if self.kind == "access_code" or self._first("livemode", _OF_STRIPE) is None:
            return None
        return "stripe" if self.livemode else "stripe_test"

    @cached_property
    def livemode(self) -> bool:
        """The mode in which Stripe knows it, also where it is not a payment."""
        return self._first("livemode", (*_OF_STRIPE, "redemption")) is not False

    @cached_property
    def access_code(self) -> str | None:
        if self.kind != "access_code":
            return None
        code: str | None = self._first("access_code", ("redemption", "session"))
        return code

    @cached_property
    def telegram_user_id(self) -> str | None:
        """The Telegram account that is linked now. A source that named one and names none any more
        has taken it off, whatever sources of lower precedence still say."""
        for source in _USER_PRECEDENCE:
            user: str | None = self.data(source).get("telegram_user_id")
            if user is not None or self._named_user_from(source) is not None:
                return user
        return None

    def _named_user_from(self, source: str) -> float | None:
        """Since when a source has a say in who is linked: since it first named somebody."""
        return min((span.start for span in self._over_time("user", source)), default=None)

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
        return any(
            _is_paid(self.data(source)) for source in ("session", "payment_intent", "charge")
        )

    @cached_property
    def is_over(self) -> bool:
        """Ended for good. A purchase that has ended is never reopened."""
        return self.stripe_status in ENDED_SUBSCRIPTION or self.own.end is not None

    @cached_property
    def was_live(self) -> bool:
        """Whether it ever gave access: only then is there any to take away."""
        if self.kind == "subscription":
            # Of a status that Stripe adds later nobody knows: it takes nothing from anybody.
            return self.stripe_status not in (None, "incomplete", "incomplete_expired")
        if self.kind == "access_code":
            return True
        return self.visible and self._paid

    @cached_property
    def came_about(self) -> bool:
        """Whether it makes its buyer a customer: a subscription that is or was more than
        incomplete, a payment that is made or on its way, a redeemed code."""
        if self.kind != "one_off" or self.was_live:
            return self.was_live
        on_its_way = "session" in self.sources or (
            self.data("payment_intent").get("status") in ("processing", "requires_capture")
            or self.data("charge").get("status") == "pending"
        )
        return self.visible and on_its_way and self.status == "pending"

    @cached_property
    def is_live(self) -> bool:
        """Whether it gives access now."""
        return self.was_live and not self.is_over

    def gives_access_at(self, now: float) -> bool:
        """Whether it is live, and its set end has not passed."""
        return self.is_live and (self.ends_at is None or self.ends_at > now)

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
    def end_changes(self) -> tuple[EndChange, ...]:
        """Every change of the scheduled end at Stripe, as they happened."""
        timeline = self.timeline("subscription")
        ends: list[EndChange] = []
        was_before = {point.place: before.get("cancel_at") for point, before in timeline.changes()}
        for point in timeline.points:
            was, now = was_before.get(point.place), point.value.get("cancel_at")
            if point.value.get("over"):
                continue
            if point.place in was_before and was != now:
                ends.append(EndChange(point, was, now))
            if ends:
                ends[-1] = self._with_words(ends[-1], point)
        asked_by = _asked_for(ends, self.own.audit)
        return tuple(replace(end, asked_by=asked_by.get(n)) for n, end in enumerate(ends))

    def _with_words(self, end: EndChange, point: Point) -> EndChange:
        """With what the buyer told Stripe about it: the portal asks after the cancel, so it may
        come with an event of its own."""
        told = point.value.get("cancellation") or {}
        feedback, comment = told.get("feedback"), self._not_ours(told.get("comment"), point.at)
        if end.now is None or feedback is comment is None:
            return end
        return replace(end, feedback=feedback, comment=comment)

    @cached_property
    def cancelled_by_owner(self) -> bool:
        """Whether the owner's request is, or was, what ends it."""
        intent = self.own.intent
        if intent is None or intent.phase not in ("requested", "done"):
            return False
        return not (self.is_over and intent.mode == "period_end" and self._end_was_taken_back)

    @cached_property
    def _end_was_taken_back(self) -> bool:
        """Whether the end that the owner asked for last did not stand until the end: it was taken
        back or put off at Stripe."""
        asked = [n for n, end in enumerate(self.end_changes) if end.asked_by is not None]
        if not asked:
            return False
        set_end, later = self.end_changes[asked[-1]], self.end_changes[asked[-1] + 1 :]
        return any(end.now is None or end.now > (set_end.now or 0) for end in later)

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
        if stripe_reason == "payment_failed":
            return "payment_failed"
        if stripe_reason == "payment_disputed":
            return "disputed"
        by_buyer = any(self.buyers_words)
        return "cancelled_by_customer" if by_buyer else "cancelled_in_stripe"

    @cached_property
    def buyers_words(self) -> tuple[str | None, str | None]:
        """The buyer's feedback (a code of Stripe's) and comment. An owner's reason that we wrote to
        Stripe comes back as a comment, and is not the buyer's."""
        told = self.data("subscription")
        comment = told.get("comment")
        said = (
            point.at
            for point in self.timeline("subscription").points
            if (point.value.get("cancellation") or {}).get("comment") == comment
        )
        return told.get("feedback"), self._not_ours(comment, next(said, math.inf))

    def _not_ours(self, comment: str | None, at: float) -> str | None:
        """A comment that Stripe told at some time, where no earlier request of the owner says the
        same."""
        ours = (e for e in self.own.audit if e.at <= at + CLOCK_SKEW_SECONDS)
        return None if any(entry.reason == comment for entry in ours) else comment

    @cached_property
    def status(self) -> str:
        """The billing status as the owner reads it."""
        if self.kind == "subscription":
            if self.stripe_status == "incomplete_expired":
                return "expired"
            if self.is_over:
                return "cancelled"
            status = self.stripe_status or "incomplete"
            return status if status in (*LIVE_SUBSCRIPTION, "incomplete") else "unknown"
        if self.own.end is not None:
            return "expired" if self.own.end.reason == "expired" else "cancelled"
        if self.kind == "access_code" or self._paid:
            return "active"
        failed = (
            self.data("session").get("outcome") in ("failed", "expired")
            or self.data("payment_intent").get("status") == "canceled"
            or self.data("payment_intent").get("failed")
            or self.data("charge").get("status") == "failed"
            or "released" in self.sources
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

    def timeline(self, source: str) -> Timeline:
        """What a source said over time; what it says now is part of it."""
        stored = self.sources.get(source)
        if stored is None:
            return Timeline()
        return of_source(source, stored, self.timelines.get(source), said(source, stored.data))

    @cached_property
    def _timelines(self) -> Mapping[str, Timeline]:
        return {source: self.timeline(source) for source in self.sources}

    def _over_time(self, name: str, *sources: str) -> Iterator[Span]:
        """What sources say of one thing, and when; where they say nothing, there is no span."""
        for source in sources:
            for span in self._timelines.get(source, Timeline()).spans():
                value = span.value.get(name)
                if value is not None:
                    yield Span(span.start, span.end, value)

    @cached_property
    def life(self) -> tuple[float, float] | None:
        """From its first live status to its end; ``None``: it never gave access."""
        if not self.was_live:
            return None
        began = [span.start for span in self._over_time("live", *self.sources)]
        start = max(min(began, default=-math.inf), float(self.purchased_at))
        end = math.inf if not self.is_over or self.ended_at is None else float(self.ended_at)
        return (start, max(start, end))

    @cached_property
    def _users_over_time(self) -> tuple[tuple[Span, str], ...]:
        """Who it was linked to, and when: of several sources the first in precedence counts.

        A link that the store made begins with its event. What Stripe's objects say before their
        first event is what they say then.
        """
        told: list[Span] = []
        covered: list[Span] = []
        for source in _USER_PRECEDENCE:
            spans = list(self._over_time("user", source))
            if source == "link" and spans:
                begin = self._timelines[source].points[0].at
                spans = [replace(s, start=max(s.start, begin)) for s in spans if s.end > begin]
            told += [part for span in spans for part in _without(span, covered)]
            if spans:
                covered.append(Span(min(span.start for span in spans), math.inf, None))
        known = {span.value for span in told}
        named = ((span, span.value) for span in told)
        return (*named, *self._from_older_records(self.seen_users - known))

    @cached_property
    def _products_over_time(self) -> tuple[tuple[Span, str], ...]:
        named = [(span, span.value) for span in self._over_time("product", *self.sources)]
        told = list(named)
        if self.kind == "subscription" or not named:
            source = "subscription" if self.kind == "subscription" else "session"
            told += [
                (span, item) for span in self._over_time("items", source) for item in span.value
            ]
        return (*told, *self._from_older_records(self.seen_products - {p for _, p in told}))

    @cached_property
    def items_ever(self) -> frozenset[str]:
        """Every product that ever was an item of this subscription."""
        spans = self._over_time("items", "subscription")
        return self.seen_products.union(item for span in spans for item in span.value)

    def _from_older_records(self, values: frozenset[str]) -> Iterator[tuple[Span, str]]:
        """What records from before the timelines say was linked or sold at some time."""
        until = max((source.version for source in self.sources.values()), default=0)
        for value in sorted(values):
            yield Span(-math.inf, until, value), value

    @cached_property
    def holdings(self) -> Mapping[tuple[str, str], tuple[Span, ...]]:
        """For which user it was of which product, and when, during its life."""
        if self.life is None:
            return {}
        start, end = self.life
        found: dict[tuple[str, str], list[Span]] = {}
        for users, user in self._users_over_time:
            for products, product in self._products_over_time:
                first = max(start, users.start, products.start)
                last = min(end, users.end, products.end)
                if first <= last:
                    found.setdefault((user, product), []).append(Span(first, last, product))
        return {holding: tuple(spans) for holding, spans in found.items()}

    @cached_property
    def lost(self) -> Mapping[tuple[str, str], Lost]:
        """What it doesn't hold any more for a user, and since when; see :attr:`holdings`."""
        held_now: frozenset[tuple[str, str]] = frozenset()
        if self.is_live and self.telegram_user_id is not None:
            held_now = frozenset((self.telegram_user_id, product) for product in self.candidates)
        end = math.inf if self.life is None else self.life[1]
        return {
            holding: lost_at(spans, end)
            for holding, spans in self.holdings.items()
            if holding not in held_now
        }

    @cached_property
    def plan_key(self) -> str:
        """What the removals depend on: planned anew when this differs from ``own.planned``."""
        if not self.lost:
            return ""
        told = ",".join(
            sorted(f"{user}/{product}@{at}" for (user, product), at in self.lost.items())
        )
        digest = hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
        return f"{'over' if self.is_over else 'live'}.{digest}"

    @cached_property
    def plan_is_stale(self) -> bool:
        planned = self.own.planned or ""
        if ":" in planned:  # of a record from before the timelines
            state, _, rest = planned.partition(":")
            users = set(rest.partition("+")[0].partition("#")[0].split(","))
            now = {user for user, _ in self.lost}
            return (state == "over") != self.is_over or not now <= users
        return self.plan_key != planned

    @cached_property
    def settles(self) -> bool:
        """Whether a change that an event told waits before anybody is removed for it: other events
        may be on their way. What the owner asked for doesn't, and an end at its set time neither.
        """
        if not self.is_over:
            return True
        intent = self.own.intent
        if self.own.end is not None or (
            intent is not None and intent.mode == "immediately" and self.cancelled_by_owner
        ):
            return False
        set_time = self.data("subscription").get("cancel_at")
        return set_time is None or self.ended_at is None or self.ended_at < set_time

    @cached_property
    def plan_at(self) -> int:
        """When removals are planned, where the plan is stale."""
        settled = self.settle_until or 0
        return max(self.own.retry_at("plan", 0), settled if self.settles else 0)

    def has_kept(self, chat_id: str, user: str) -> bool:
        """Whether its buyer was left in a chat because of another purchase."""
        removal = self.own.removals.get(f"{chat_id}:{user}")
        return removal is not None and removal.state == "kept"

    @property
    def open_removals(self) -> tuple[Removal, ...]:
        """Removals still to be done, the earliest first."""
        waiting = [r for r in self.own.removals.values() if r.state == "revoking"]
        return tuple(sorted(waiting, key=lambda r: (r.next_attempt_at or 0, r.key)))

    def invite_link(self, chat_id: str) -> str | None:
        """The invite link this purchase let its buyer in by, where the store told us."""
        links: Mapping[str, str] = self.data("link").get("invite_links") or {}
        return links.get(chat_id)

    @cached_property
    def overdue(self) -> Overdue | None:
        """Since when somebody is in a chat who should be out; ``None``: nobody is, as far as is
        known.

        A removal that is planned counts from its plan. One that is not planned yet counts from the
        end, or from when we were told of it if that is later.
        """
        removals = [r for r in self.own.removals.values() if r.state in ("failed", "revoking")]
        since = [r.overdue_since or self.ended_at or 0 for r in removals]
        if self.plan_is_stale and self.lost:
            since.append(max(self.settle_until or 0, self.ended_at or 0))
        if not since:
            return None
        failed = any(removal.state == "failed" for removal in removals)
        return Overdue(
            min(since),
            "failed" if failed else "revoking",
            frozenset(r.chat_id for r in removals if r.state == "failed" and r.reason in MAY_END),
        )

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
            due.append(self.plan_at)
        else:
            look_at = own.retry_at("buyer", 0)
            due.extend(max(r.next_attempt_at or 0, look_at) for r in self.open_removals)
        if self.wanted_schedule_at != own.schedule_at:
            due.append(own.retry_at("schedule", 0))
        return min(due, default=None)

    @property
    def ends_with_period(self) -> bool:
        """Whether no further period is charged: it is scheduled to end with this one, or before."""
        subscription = self.data("subscription")
        if subscription.get("cancel_at_period_end"):
            return True
        period_end = subscription.get("current_period_end")
        return (
            self.cancel_at is not None and period_end is not None and self.cancel_at <= period_end
        )

    @property
    def intent_was_taken_back(self) -> bool:
        """A period-end cancel that Stripe had accepted and that is not there any more: the end was
        taken back, or put off to a later period."""
        intent = self.own.intent
        return (
            intent is not None
            and intent.mode == "period_end"
            and intent.phase == "done"
            and not self.is_over
            and not self.ends_with_period
        )


def _asked_for(ends: list[EndChange], audit: tuple[Audit, ...]) -> dict[int, Audit]:
    """Which of these changes carried out which of the owner's requests, by the change's number.

    A request sets an end once: what is set after that was taken back is somebody else's. A change
    with the buyer's words is the buyer's.
    """
    found: dict[int, Audit] = {}
    for request, done_at in _period_end_requests(audit):
        free = [
            n
            for n, end in enumerate(ends)
            if n not in found
            and end.now is not None
            and end.feedback is end.comment is None
            and request.at - CLOCK_SKEW_SECONDS <= end.point.at <= done_at + CLOCK_SKEW_SECONDS
        ]
        after = [n for n in free if ends[n].point.at >= request.at]
        if free:
            found[after[0] if after else free[-1]] = request
    return found


def _period_end_requests(audit: tuple[Audit, ...]) -> Iterator[tuple[Audit, float]]:
    """The owner's requests that Stripe did not refuse, each with when it was carried out, or
    another one took its place."""
    for number, request in enumerate(audit):
        if request.event != "cancel_requested" or request.detail != "period_end":
            continue
        outcomes = ("cancel_confirmed", "cancel_refused", "cancel_requested")
        outcome = next((e for e in audit[number + 1 :] if e.event in outcomes), None)
        if outcome is None:
            yield request, math.inf
        elif outcome.event != "cancel_refused":
            yield request, outcome.at


def _without(span: Span, covered: list[Span]) -> list[Span]:
    """What is left of a stretch of time, to the second, without others."""
    parts = [span]
    for cover in covered:
        before = (replace(p, end=min(p.end, cover.start - 1)) for p in parts)
        after = (replace(p, start=max(p.start, cover.end + 1)) for p in parts)
        parts = [p for p in (*before, *after) if p.start <= p.end and abs(p.start) != p.end]
    return parts


def lost_at(spans: tuple[Span, ...], end: float) -> Lost:
    """When what held for these spans was lost, of a purchase that ended, or ends, at ``end``."""
    last = max(span.end for span in spans)
    return "end" if last >= end else int(last)


def facts(purchase: Purchase) -> list[Any]:
    """The part of a purchase on which anything but display depends.

    While an event leaves this unchanged, nothing follows from it: neither the customer list, nor
    the links, nor ``due_at`` can change.
    """
    return [
        purchase.kind,
        purchase.visible,
        purchase.was_live,
        purchase.came_about,
        purchase.is_over,
        purchase.ends_at,
        purchase.telegram_user_id,
        purchase.product_ids,
        purchase.named_product,
        purchase.payment_provider,
        purchase.purchased_at,
        purchase.data("link").get("invite_links"),
    ]


def source_facts(source: str, data: Data) -> Any:
    """What a source adds to them. While an event leaves this unchanged, it leaves them unchanged,
    whatever the other sources are, and it is stored with one conditional write."""
    lone = Purchase("sub_" if source == "subscription" else "", {source: Source(data, 0)})
    return [*facts(lone), said(source, data)]
