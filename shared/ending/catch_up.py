"""One buyer, brought up to date with Stripe before anybody is removed.

An end may be known before what follows it: a new subscription under another customer, a checkout
whose event was not delivered. So Stripe is asked, by reads alone, what else this Telegram user has,
and what is found is stored by the same code as an event or the backfill. That something is absent
from a list proves nothing: what is found counts, and what is not found changes nothing.

Asked for, for each Telegram user, newest first and :data:`MOST_PAGES` pages in all:

- Search on subscriptions and PaymentIntents by the metadata's ``telegram_user_id``; it lags by up
  to a minute, and some accounts have none (https://docs.stripe.com/search);
- events that were not delivered (``delivery_success=false``);
- the subscriptions, and the sessions and payments of the last :data:`DAYS` days, of each Stripe
  customer that is known for this user, or was just found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from shared.domain import stripe_objects as of
from shared.domain.clock import Clock, system_clock
from shared.domain.errors import TryAgainLater
from shared.integrations.stripe_gateway import (
    NO_TIME,
    Mode,
    Raw,
    StripeGateway,
    StripeMissing,
    StripeRefusal,
    StripeUnavailable,
)
from shared.observability import log_failure
from shared.storage.items import Record
from shared.storage.telegram_users import TelegramUsers
from shared.stripe_events import events, listed
from shared.stripe_events.context import Services
from shared.stripe_events.event import Event, Unappliable
from shared.tenant import Tenant, account_of, store_of

MOST_PAGES = 10
# Stripe goes on delivering an event for three days (https://docs.stripe.com/webhooks#retries).
DAYS = 4
# A person waits: what isn't answered by then is left to the revoker.
INTERACTIVE_SECONDS = 2.0
# Requests under way at once.
AT_ONCE = 6

# Events that may say that somebody has access.
_TELLING = ("customer.subscription.", "checkout.session.", "payment_intent.", "charge.", "product.")


class StoreDisconnected(StripeRefusal):
    """The store has disconnected its Stripe account from this deployment: that is an answer."""

    def __init__(self) -> None:
        super().__init__("The store has disconnected its Stripe account")


@dataclass(frozen=True, slots=True)
class _List:
    """One of Stripe's lists, from its beginning.

    Attributes:
        path: below ``/v1/``.
        store: stores an object of it; ``None``: it holds events.
        may_be_missing: a refusal of it counts as an empty list.
    """

    path: str
    filters: tuple[tuple[str, Any], ...]
    store: Callable[[listed.Listed], None] | None
    may_be_missing: bool = False


@dataclass
class _Look:
    """One look under way: one user, one mode.

    Attributes:
        accounts: the Stripe customers that are, or may be, this user.
        left: pages that may still be read.
    """

    tenant: Tenant
    mode: Mode
    user: str
    purchase_id: str
    accounts: dict[str, None] = field(default_factory=dict)
    left: int = MOST_PAGES


@dataclass(frozen=True)
class CatchUp:
    """Asks Stripe what Telegram users have, and stores it.

    Attributes:
        services: what is found is stored with these.
        stripe: is asked; with a person waiting its answers must be short in coming.
        at_once: requests under way at once; 1: no threads.
    """

    services: Services
    users: TelegramUsers
    stripe: StripeGateway
    at_once: int = AT_ONCE
    clock: Clock = system_clock
    monotonic: Callable[[], float] = time.monotonic

    def look(
        self,
        record: Record,
        users: Iterable[str],
        *,
        deadline: float,
        interactive: bool,
        before_asking: Callable[[], None] = lambda: None,
    ) -> None:
        """Bring Telegram users up to date.

        Args:
            record: the purchase that somebody is to be removed for. A live purchase keeps against
                any end, so for the end of a test purchase both modes are asked.
            deadline: on the ``monotonic`` clock.
            interactive: a person waits: :data:`INTERACTIVE_SECONDS` at most.
            before_asking: called before each question; what it raises passes through.

        Raises:
            StoreDisconnected, StripeAccountClosed: that is the answer.
            StripeUnavailable, StripeRefusal: there was no answer; nobody may be removed.
        """
        if interactive:
            deadline = min(deadline, self.monotonic() + INTERACTIVE_SECONDS)
        tenant, purchase = store_of(record.key.pk), record.purchase
        connection = self.services.registry.of_store(tenant)
        if connection.disconnected_at is not None:
            raise StoreDisconnected
        for livemode in (True,) if purchase.livemode else (False, True):
            mode = Mode(livemode, connection.account)
            is_own = livemode == purchase.livemode and purchase.payment_provider is not None
            if not is_own and not self.stripe.is_connected(mode):
                continue
            for user in users:
                look = _Look(tenant, mode, user, purchase.purchase_id)
                look.accounts.update(dict.fromkeys(self._accounts(record, user)))
                self._look(look, deadline, before_asking)

    def _accounts(self, record: Record, user: str) -> Iterator[str]:
        """The Stripe customers known for a user, this purchase's first, then the newest."""
        accounts = [account_of(record.key.pk)]
        accounts += self.users.accounts(store_of(record.key.pk), user)
        yield from (account for account in accounts if account.startswith("cus_"))

    def _look(self, look: _Look, deadline: float, before_asking: Callable[[], None]) -> None:
        since = int(self.clock()) - DAYS * 86400
        known = tuple(look.accounts)
        lists = [one for account in known for one in _by_customer(account, since)]
        self._read(look, [*_by_user(look.user), *lists][: look.left], deadline, before_asking)
        found = [account for account in look.accounts if account not in known]
        lists = [one for account in found for one in _by_customer(account, since)]
        self._read(look, lists[: look.left], deadline, before_asking)

    def _read(
        self,
        look: _Look,
        lists: list[_List],
        deadline: float,
        before_asking: Callable[[], None],
    ) -> None:
        """Read the first page of each list, then further pages as long as there are pages left."""
        if not lists:
            return
        before_asking()
        self._leave_time(deadline)
        look.left -= len(lists)
        asked_at = int(self.clock())
        for one, page in zip(lists, self._first_pages(look.mode, lists), strict=True):
            found, after = list(page["data"]), _next_page(one, page)
            while after is not None and look.left > 0:
                before_asking()
                self._leave_time(deadline)
                look.left -= 1
                further = self._page(look.mode, one, after)
                found += further["data"]
                after = _next_page(one, further)
            # The oldest first, as they happened.
            for raw in reversed(found):
                self._store(look, one, raw, asked_at)

    def _first_pages(self, mode: Mode, lists: list[_List]) -> list[Raw]:
        if self.at_once == 1:
            return [self._page(mode, one, {}) for one in lists]
        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(lambda one: self._page(mode, one, {}), lists))

    def _page(self, mode: Mode, one: _List, after: dict[str, str]) -> Raw:
        empty: Raw = {"data": [], "has_more": False}
        try:
            return self.stripe.list_page(one.path, mode, **dict(one.filters), **after)
        except StripeMissing:
            return empty  # of a customer who was deleted, or an account without Search
        except StripeRefusal as refusal:
            if one.may_be_missing and refusal.status == 400:
                return empty
            raise

    def _leave_time(self, deadline: float) -> None:
        if self.monotonic() + self.stripe.longest_seconds > deadline:
            raise StripeUnavailable(NO_TIME)

    # -- storing ----------------------------------------------------------------------------------

    def _store(self, look: _Look, one: _List, raw: Raw, asked_at: int) -> None:
        """Store what was found; what can't be stored for what it is, is left to its event."""
        try:
            if one.store is None:
                self._store_event(look, raw)
                return
            self._remember_customer(look, raw)
            one.store(self._listed(look, raw, asked_at))
        except TryAgainLater:
            # The purchase itself is being driven, by us: it can't keep anybody.
            if look.purchase_id not in (raw.get("id"), of.id_of(raw.get("payment_intent"))):
                raise StripeUnavailable("what Stripe answered could not be stored now") from None
        except (Unappliable, KeyError, TypeError, ValueError, AttributeError) as error:
            log_failure("left to its event", error, object=str(raw.get("id")))

    def _listed(self, look: _Look, raw: Raw, asked_at: int) -> listed.Listed:
        event = Event(
            id="",
            type="",
            created_at=asked_at,
            livemode=look.mode.livemode,
            account=look.mode.stripe_account,
            object=raw,
            before=None,
            previous={},
        )
        return listed.Listed(event, look.tenant, self.services, stage=1, asked_at=asked_at)

    def _store_event(self, look: _Look, raw: Raw) -> None:
        event = replace(Event.parse(raw), account=look.mode.stripe_account)
        if event.type not in events.HANDLERS or not event.type.startswith(_TELLING):
            return
        if event.object.get("object") != "product":
            customer = of.id_of(event.object.get("customer"))
            if customer not in look.accounts and look.user not in _users_named(event):
                return
            self._remember_customer(look, event.object)
        events.apply(event, look.tenant, self.services)

    def _remember_customer(self, look: _Look, raw: Raw) -> None:
        customer = of.id_of(raw.get("customer"))
        if customer is not None:
            look.accounts[customer] = None


def _by_user(user: str) -> list[_List]:
    query = (("query", f"metadata['telegram_user_id']:'{user}'"),)
    return [
        _List("subscriptions/search", query, events.on_subscription, may_be_missing=True),
        _List("payment_intents/search", query, _on_payment, may_be_missing=True),
        _List("events", (("delivery_success", False),), None),
    ]


def _by_customer(customer: str, since: int) -> list[_List]:
    theirs = ("customer", customer)
    lately = (theirs, ("created[gte]", since))
    return [
        _List("subscriptions", (theirs,), events.on_subscription),
        _List(
            "checkout/sessions",
            (*lately, ("expand[0]", "data.payment_intent")),
            listed.on_session,
        ),
        _List("payment_intents", lately, _on_payment),
    ]


def _on_payment(found: listed.Listed) -> None:
    """A payment that is a purchase by itself; that of a subscription's invoice opens nothing."""
    if of.names_product_or_user(found.raw) and not of.pays_invoice(found.raw):
        listed.on_payment_intent(found)


def _next_page(one: _List, page: Raw) -> dict[str, str] | None:
    if not page["has_more"] or not page["data"]:
        return None
    if one.path.endswith("/search"):
        token = page.get("next_page")
        return {"page": token} if isinstance(token, str) else None
    return {"starting_after": page["data"][-1]["id"]}


def _users_named(event: Event) -> set[str]:
    """The Telegram users an event's object names, or named before."""
    return {
        str((raw.get("metadata") or {}).get("telegram_user_id") or "").strip()
        for raw in (event.object, event.before or {})
    }
