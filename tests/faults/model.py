"""What should come of everything, in plain words: the reference the random runs are held against.

The model is told what buyers, the owner and time do, and what the owner was answered. It knows
nothing of records, leases, schedules, webhooks or faults, and yet must agree with all of them once
everything has come to rest. Where a request went unanswered, nobody can know whether it counts
(:attr:`Expected.unsure`); then either is right, as long as all places agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OWNER, STRIPE, UNPAID, EXPIRED = (
    "cancelled_by_owner",
    "cancelled_in_stripe",
    "payment_failed",
    "expired",
)


@dataclass
class Expected:
    """One purchase.

    Attributes:
        period_ends_at: when what was paid for runs out; ``None`` where it never does.
        scheduled: it ends then, and isn't renewed.
        reasons: every reason that may be told for its end.
        unsure: a request of the owner's was not answered.
        maybe: what that request would have made of it.
    """

    kind: str
    products: tuple[str, ...]
    user: str | None
    period_ends_at: int | None = None
    scheduled: bool = False
    unpaid: bool = False
    over: bool = False
    reasons: set[str] = field(default_factory=set)
    unsure: bool = False
    maybe: set[str] = field(default_factory=set)
    requests: int = 0


@dataclass
class Model:
    """A store's purchases.

    Attributes:
        chats: product → the chats it opens.
    """

    chats: dict[str, list[int]]
    period: int
    purchases: dict[str, Expected] = field(default_factory=dict)

    # -- buyers --------------------------------------------------------------------------------

    def bought(
        self, name: str, kind: str, products: tuple[str, ...], user: str, ends_at: int | None
    ) -> None:
        self.purchases[name] = Expected(kind, products, user, ends_at, scheduled=kind == "code")

    def linked(self, name: str, user: str | None) -> None:
        """Linked to another Telegram user, or to none."""
        self.purchases[name].user = user

    def switched(self, name: str, products: tuple[str, ...]) -> None:
        if not self.purchases[name].over:
            self.purchases[name].products = products

    def cancelled_in_portal(self, name: str) -> None:
        purchase = self.purchases[name]
        if not purchase.over and not purchase.scheduled:
            purchase.scheduled = True
            purchase.reasons |= {STRIPE}

    def taken_back(self, name: str, now: int) -> None:
        purchase = self.purchases[name]
        ends_at = purchase.period_ends_at
        if not purchase.over and purchase.scheduled and ends_at is not None and ends_at > now:
            purchase.scheduled = False

    def cancelled_in_dashboard(self, name: str) -> None:
        self._end(name, STRIPE)

    def payment_failed(self, name: str) -> None:
        if not self.purchases[name].over:
            self.purchases[name].unpaid = True

    def given_up(self, name: str) -> None:
        if self.purchases[name].unpaid:
            self._end(name, UNPAID)

    # -- the owner -----------------------------------------------------------------------------

    def asked(self, name: str, when: str, answer: str) -> None:
        """The owner asked for an end.

        Args:
            answer: ``done``, ``accepted`` (it will be), ``refused`` (nothing changes), or
                ``none``: there was no answer, or one that says to ask again.
        """
        purchase = self.purchases[name]
        if answer == "refused":
            return
        purchase.reasons |= {OWNER}
        if answer == "none" or (answer == "accepted" and purchase.kind == "subscription"):
            # Accepted: Stripe is asked later, and what happens there until then decides.
            purchase.unsure = True
            purchase.maybe |= {when}
        elif when == "immediately":
            purchase.requests += 1
            self._end(name, OWNER)
        else:
            purchase.requests += 1
            purchase.scheduled = True

    # -- time ----------------------------------------------------------------------------------

    def time_is(self, now: int) -> None:
        """Periods run out: what is scheduled to end ends, the rest is renewed."""
        for name, purchase in self.purchases.items():
            while purchase.period_ends_at is not None and purchase.period_ends_at <= now:
                if purchase.over:
                    break
                if purchase.scheduled:
                    self._end(name, EXPIRED if purchase.kind == "code" else STRIPE)
                else:
                    purchase.period_ends_at += self.period

    def renewed(self, name: str, now: int) -> None:
        purchase = self.purchases[name]
        if not purchase.over and not purchase.scheduled:
            purchase.period_ends_at = now + self.period

    # -- what follows --------------------------------------------------------------------------

    def may_be(self, name: str, *, over: bool, reason: str | None) -> str | None:
        """Whether a purchase may stand like this in the end; what is wrong, if not."""
        purchase = self.purchases[name]
        if not purchase.unsure and over != purchase.over:
            return f"{name} is {'over' if over else 'live'}, and should not be"
        if purchase.over and not over:
            return f"{name} is over and began again"
        if over and reason not in purchase.reasons | {OWNER if purchase.maybe else None}:
            return f"{name} ended as {reason}, not as {sorted(purchase.reasons)}"
        return None

    def admitted(self, live: set[str]) -> set[tuple[int, str]]:
        """Who may be where: (chat, user), by the purchases that are live."""
        return {
            (chat, purchase.user)
            for name, purchase in self.purchases.items()
            if name in live and purchase.user is not None
            for product in purchase.products
            for chat in self.chats[product]
        }

    def _end(self, name: str, reason: str) -> None:
        purchase = self.purchases[name]
        if not purchase.over:
            purchase.over = True
            purchase.reasons |= {reason}
