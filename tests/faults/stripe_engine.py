"""A small Stripe for the fault suites: subscriptions, one-off payments and redeemed codes.

Pure and copyable: no sockets, no clock of its own. :meth:`StripeEngine.request` answers one HTTP
request as Stripe does (saved answers per idempotency key, a 500 too; none for a DELETE; 404 for a
subscription that is cancelled already). Everything that happens makes the events Stripe would
send, in ``outbox``. Any request that could move money is refused loudly.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DAY = 86_400
PERIOD = 30 * DAY
LIVE = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})
# How long after its time Stripe ends or renews a subscription.
LAG_SECONDS = 120

Raw = dict[str, Any]
Answer = tuple[int, Raw]

_PATHS = {
    "subscriptions": "subscription",
    "products": "product",
    "customers": "customer",
    "charges": "charge",
    "payment_intents": "payment_intent",
    "refunds": "refund",
}


_LISTS = {
    "subscriptions": "subscription",
    "subscriptions/search": "subscription",
    "payment_intents": "payment_intent",
    "payment_intents/search": "payment_intent",
    "checkout/sessions": "session",
    "events": "event",
}
# An object is found by Search only this long after it was made.
SEARCH_LAG_SECONDS = 60


def _matches(object_: Raw, params: Mapping[str, str], now: int) -> bool:
    if "query" not in params:
        made = object_["created"] >= int(params.get("created[gte]", 0))
        return made and object_.get("customer") == params["customer"]
    user = _named_in(params)
    is_found = object_["created"] + SEARCH_LAG_SECONDS <= now
    return bool(is_found and object_["metadata"].get("telegram_user_id") == user)


def _named_in(params: Mapping[str, str]) -> str:
    """The customer, or in Search the Telegram user, whose objects are listed."""
    return params["query"].split("'")[3] if "query" in params else params["customer"]


def copied(value: Any) -> Any:
    """A copy of a JSON value, ten times faster than ``copy.deepcopy``."""
    if value.__class__ is dict:
        return {name: copied(part) for name, part in value.items()}
    if value.__class__ is list:
        return [copied(part) for part in value]
    return value


class MoneyMoved(AssertionError):
    """Something was asked of Stripe that this system never may."""


@dataclass(frozen=True)
class Change:
    """An effective change of a subscription's end.

    Attributes:
        by: ``api`` (us), ``portal`` (the buyer) or ``stripe`` (time, failed payments).
    """

    number: int
    subscription: str
    what: str
    by: str


@dataclass
class StripeEngine:
    """See the module's text."""

    objects: dict[tuple[str, str], Raw] = field(default_factory=dict)
    outbox: list[Raw] = field(default_factory=list)
    saved: dict[str, tuple[str, Answer]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    charged: list[tuple[str, int]] = field(default_factory=list)
    timers: list[tuple[int, str]] = field(default_factory=list)
    number: int = 0
    now: int = 0
    undelivered: dict[str, Raw] = field(default_factory=dict)
    livemode: bool = True
    refused: set[str] = field(default_factory=set)
    named: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """The objects that name, or ever named, a customer or a Telegram user."""

    def copy(self) -> StripeEngine:
        """Another engine with the same past. Events and saved answers are never changed, so the
        copies share them."""
        return StripeEngine(
            {key: copied(found) for key, found in self.objects.items()},
            list(self.outbox),
            dict(self.saved),
            list(self.changes),
            list(self.charged),
            list(self.timers),
            self.number,
            self.now,
            dict(self.undelivered),
            named={name: list(places) for name, places in self.named.items()},
        )

    # -- the API ---------------------------------------------------------------------------------

    def request(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        """One request, carried out at once."""
        parts = urlsplit(url)
        params = dict(parse_qsl(parts.query)) | dict(parse_qsl(body or ""))
        key = headers.get("Idempotency-Key") if method == "post" else None
        asked = f"{parts.path} {json.dumps(params, sort_keys=True)}"
        self.livemode = "sk_test" not in headers.get("Authorization", "")
        if key is not None and key in self.saved:
            before, answer = self.saved[key]
            return answer if before == asked else _error(400, "other parameters", "idempotency")
        answer = self._answer(method, parts.path.removeprefix("/v1/").split("/"), params)
        if key is not None:
            self.saved[key] = (asked, answer)
        return answer

    def fail(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        """A 500 without an effect; to a POST it is Stripe's saved answer from now on."""
        answer = _error(500, "An unknown error occurred", "api_error")
        key = headers.get("Idempotency-Key")
        if method == "post" and key is not None and key not in self.saved:
            parts = urlsplit(url)
            params = dict(parse_qsl(parts.query)) | dict(parse_qsl(body or ""))
            self.saved[key] = (f"{parts.path} {json.dumps(params, sort_keys=True)}", answer)
        return answer

    def _answer(self, method: str, path: list[str], params: Mapping[str, str]) -> Answer:
        if method == "get" and path[0] == "checkout" and len(path) == 3:
            return self._found("session", path[2])
        if method == "get" and path[0] == "checkout" and path[3:] == ["line_items"]:
            return 200, {"object": "list", "data": self._line_items(path[2]), "has_more": False}
        if method == "get" and "/".join(path) in _LISTS:
            return self._list("/".join(path), params)
        if method == "get" and len(path) == 2 and path[0] in _PATHS:
            return self._found(_PATHS[path[0]], path[1])
        if path[0] == "subscriptions" and len(path) == 2:
            subscription = self.objects.get(("subscription", path[1]))
            if subscription is None:
                return _missing(path[1])
            if method == "delete":
                return self._delete(subscription, params)
            if method == "post":
                return self._update(subscription, params)
        raise MoneyMoved(f"{method} /{'/'.join(path)} is never asked by this system")

    def _list(self, name: str, params: Mapping[str, str]) -> Answer:
        """A list, the newest object first; Search finds what its metadata names."""
        if name == "events":
            found = [
                event
                for event in reversed(self.undelivered.values())
                if event["livemode"] == self.livemode
            ]
        else:
            kind = _LISTS[name]
            objects = (
                self.objects[place]
                for place in reversed(self.named.get(_named_in(params), []))
                if place[0] == kind
            )
            found = [
                copied(object_)
                for object_ in objects
                if object_["livemode"] == self.livemode
                and _matches(object_, params, self.now)
                and (kind != "subscription" or object_["status"] != "canceled")
            ]
        return 200, {"object": "list", "data": found, "has_more": False}

    def _line_items(self, session_id: str) -> list[Raw]:
        products = self.objects["session", session_id].get("cart", ())
        return [
            {
                "id": f"li_{number}",
                "object": "item",
                "price": {"product": product, "type": "one_time"},
            }
            for number, product in enumerate(products)
        ]

    def _found(self, kind: str, id_: str) -> Answer:
        if kind in self.refused:
            return _error(403, "The key may not read this", "invalid_request_error")
        found = self.objects.get((kind, id_ if self.livemode else f"test {id_}"))
        return _missing(id_) if found is None else (200, copied(found))

    def _delete(self, subscription: Raw, params: Mapping[str, str]) -> Answer:
        if params != {"invoice_now": "false", "prorate": "false"}:
            raise MoneyMoved(f"a cancel with {dict(params)} makes an invoice")
        if subscription["status"] == "canceled":
            return _missing(subscription["id"])
        self._end(subscription, self.now, "cancellation_requested", "api")
        return 200, copied(subscription)

    def _update(self, subscription: Raw, params: Mapping[str, str]) -> Answer:
        if params != {"cancel_at_period_end": "true"}:
            raise MoneyMoved(f"an update with {dict(params)}")
        if subscription["status"] == "canceled":
            text = "A canceled subscription can only update its cancellation_details and metadata."
            return _error(400, text, "invalid_request_error")
        if not subscription["cancel_at_period_end"]:
            self._schedule_end(subscription, "api")
        return 200, copied(subscription)

    # -- what buyers and stores do ----------------------------------------------------------------

    def add_product(self, product_id: str, chats: list[str], *, livemode: bool = True) -> None:
        """A product; the same id in test mode is another one."""
        product: Raw = {
            "id": product_id,
            "object": "product",
            "name": product_id,
            "livemode": livemode,
            "metadata": {"telegram_chat_ids": ",".join(chats)},
        }
        self._create("product", product, "product.created")

    def add_customer(self, customer_id: str) -> None:
        customer: Raw = {
            "id": customer_id,
            "object": "customer",
            "name": f"Name of {customer_id}",
            "email": f"{customer_id}@example.com",
            "created": self.now,
            "livemode": True,
            "metadata": {},
            "invoice_settings": {"default_payment_method": None},
        }
        self._create("customer", customer, "customer.created")

    def subscribe(
        self,
        subscription_id: str,
        customer_id: str,
        product_id: str,
        user: str | None,
        status: str = "active",
        period: int = PERIOD,
        *,
        livemode: bool = True,
    ) -> None:
        end = self.now + period
        item: Raw = {
            "id": f"si_{subscription_id}",
            "current_period_start": self.now,
            "current_period_end": end,
            "price": {"id": f"price_{product_id}", "product": product_id},
        }
        subscription: Raw = {
            "id": subscription_id,
            "object": "subscription",
            "status": status,
            "customer": customer_id,
            "created": self.now,
            "items": {"object": "list", "data": [item]},
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "ended_at": None,
            "trial_end": end if status == "trialing" else None,
            "cancellation_details": {"reason": None},
            "default_payment_method": None,
            "schedule": None,
            "metadata": {} if user is None else {"telegram_user_id": user},
            "livemode": livemode,
            "period_seconds": period,
        }
        self._set_timer(subscription)
        self._create("subscription", subscription, "customer.subscription.created")

    def pay_once(
        self, name: str, customer_id: str, product_id: str, user: str, *more_products: str
    ) -> None:
        """A one-off purchase, ``pi_{name}``: the session and the charge tell of it at once.

        Of a cart no metadata names a product, only the session's line items do.
        """
        metadata = {"telegram_user_id": user}
        if not more_products:
            metadata["product_id"] = product_id
        session: Raw = {
            "id": f"cs_{name}",
            "object": "checkout.session",
            "mode": "payment",
            "status": "complete",
            "payment_status": "paid",
            "payment_intent": f"pi_{name}",
            "customer": customer_id,
            "created": self.now,
            "metadata": dict(metadata),
            "livemode": True,
            "cart": [product_id, *more_products] if more_products else [],
        }
        charge: Raw = {
            "id": f"ch_{name}",
            "object": "charge",
            "amount": 1000,
            "amount_captured": 1000,
            "captured": True,
            "currency": "eur",
            "status": "succeeded",
            "payment_intent": f"pi_{name}",
            "customer": customer_id,
            "created": self.now,
            "metadata": dict(metadata),
            "livemode": True,
        }
        self._create("charge", charge, "charge.succeeded")
        self._create("session", session, "checkout.session.completed")

    def redeem(
        self, name: str, customer_id: str, product_id: str, user: str, expires_at: int | None
    ) -> None:
        """An access code, ``cs_{name}``."""
        metadata = {"product_id": product_id, "telegram_user_id": user, "access_code": "ABCD2345"}
        if expires_at is not None:
            metadata["access_expires_at"] = datetime.fromtimestamp(expires_at, UTC).isoformat()
        session: Raw = {
            "id": f"cs_{name}",
            "object": "checkout.session",
            "mode": "payment",
            "status": "complete",
            "payment_status": "no_payment_required",
            "payment_intent": None,
            "customer": customer_id,
            "created": self.now,
            "metadata": metadata,
            "livemode": True,
        }
        self._create("session", session, "checkout.session.completed")

    def portal_cancel(self, subscription_id: str) -> None:
        subscription = self.objects["subscription", subscription_id]
        if subscription["status"] in LIVE and not subscription["cancel_at_period_end"]:
            self._schedule_end(subscription, "portal")

    def portal_uncancel(self, subscription_id: str) -> None:
        subscription = self.objects["subscription", subscription_id]
        if subscription["status"] not in LIVE or not subscription["cancel_at_period_end"]:
            return
        if self._is_over(subscription):
            return
        changed = {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": None}
        self._changed(subscription, "uncancelled", "portal", **changed)

    def cancel_in_dashboard(self, subscription_id: str) -> None:
        subscription = self.objects["subscription", subscription_id]
        if subscription["status"] in LIVE:
            self._end(subscription, self.now, "cancellation_requested", "portal")

    def fail_payment(self, subscription_id: str) -> None:
        subscription = self.objects["subscription", subscription_id]
        if subscription["status"] == "active" and not self._is_over(subscription):
            self._changed(subscription, "past_due", "stripe", status="past_due")

    def give_up_collecting(self, subscription_id: str) -> None:
        subscription = self.objects["subscription", subscription_id]
        if subscription["status"] == "past_due" and not self._is_over(subscription):
            self._end(subscription, self.now, "payment_failed", "stripe")

    def link(self, kind: str, id_: str, user: str) -> None:
        """Link another Telegram account to a subscription or a charge."""
        target = self.objects[kind, id_]
        before = target["metadata"].get("telegram_user_id")
        if before == user:
            return
        target["metadata"]["telegram_user_id"] = user
        self._note(kind, target)
        type_ = "charge.updated" if kind == "charge" else "customer.subscription.updated"
        self._emit(type_, target, {"metadata": {"telegram_user_id": before}})

    def unlink(self, subscription_id: str) -> None:
        """Take the Telegram account off a subscription."""
        target = self.objects["subscription", subscription_id]
        before = target["metadata"].pop("telegram_user_id")
        self._emit(
            "customer.subscription.updated", target, {"metadata": {"telegram_user_id": before}}
        )

    def switch(self, subscription_id: str, *products: str) -> None:
        """The subscription's items are of these products now."""
        target = self.objects["subscription", subscription_id]
        before = copied(target["items"])
        first = target["items"]["data"][0]
        target["items"]["data"] = [
            {
                **first,
                "id": f"si_{product}",
                "price": {"id": f"price_{product}", "product": product},
            }
            for product in products
        ]
        self._emit("customer.subscription.updated", target, {"items": before})

    def set_chats(self, product_id: str, *chats: str) -> None:
        """The product names these chats now."""
        target = self.objects["product", product_id]
        before = target["metadata"]["telegram_chat_ids"]
        target["metadata"]["telegram_chat_ids"] = ",".join(chats)
        self._emit("product.updated", target, {"metadata": {"telegram_chat_ids": before}})

    def refund(self, name: str) -> None:
        """The owner gives a one-off's money back in Stripe's dashboard."""
        charge = self.objects["charge", f"ch_{name}"]
        if ("refund", f"re_{name}") in self.objects:
            return
        refund: Raw = {
            "id": f"re_{name}",
            "object": "refund",
            "amount": 1000,
            "currency": "eur",
            "status": "succeeded",
            "charge": charge["id"],
            "payment_intent": charge["payment_intent"],
            "created": self.now,
        }
        self._create("refund", refund, "refund.created")

    # -- time ------------------------------------------------------------------------------------

    def next_at(self) -> int | None:
        """When time next brings something."""
        while self.timers:
            at, id_ = self.timers[0]
            subscription = self.objects["subscription", id_]
            if subscription["status"] in LIVE and _period_end(subscription) + LAG_SECONDS == at:
                return at
            heapq.heappop(self.timers)  # of a period that has become another since
        return None

    def run_due(self) -> None:
        """Renew and end what is due, as Stripe does: some time after the period's end."""
        while (at := self.next_at()) is not None and at <= self.now:
            subscription = self.objects["subscription", heapq.heappop(self.timers)[1]]
            end = _period_end(subscription)
            if subscription["cancel_at_period_end"]:
                self._end(subscription, end, "cancellation_requested", "stripe")
            else:
                self._renew(subscription, end)

    def _is_over(self, subscription: Raw) -> bool:
        """Whether its scheduled end has come, even if Stripe has not come to it yet: nothing is
        taken back any more, and nothing more is to be paid."""
        return subscription["cancel_at"] is not None and subscription["cancel_at"] <= self.now

    def _set_timer(self, subscription: Raw) -> None:
        at = _period_end(subscription) + LAG_SECONDS
        heapq.heappush(self.timers, (at, _place(subscription)))

    def renew_now(self, subscription_id: str) -> None:
        """A renewal, whatever the time (a trial that is ended early, a new billing anchor)."""
        subscription = self.objects["subscription", subscription_id]
        if subscription["status"] in LIVE and not subscription["cancel_at_period_end"]:
            self._renew(subscription, self.now)

    # -- parts -----------------------------------------------------------------------------------

    def _renew(self, subscription: Raw, at: int) -> None:
        item = subscription["items"]["data"][0]
        before = {"items": {"data": [dict(item)]}}
        if subscription["status"] == "trialing":
            before["status"] = "trialing"  # type: ignore[assignment]
            subscription["status"] = "active"
        item["current_period_start"], item["current_period_end"] = (
            at,
            at + subscription["period_seconds"],
        )
        self._set_timer(subscription)
        self.charged.append((subscription["id"], self.number))
        self._emit("customer.subscription.updated", subscription, before)

    def _schedule_end(self, subscription: Raw, by: str) -> None:
        while _period_end(subscription) <= self.now:
            # A period that is over can't be what it ends with: it has been renewed before.
            self._renew(subscription, _period_end(subscription))
        changed = {
            "cancel_at": _period_end(subscription),
            "cancel_at_period_end": True,
            "canceled_at": self.now,
        }
        self._changed(subscription, "scheduled", by, **changed)

    def _end(self, subscription: Raw, at: int, reason: str, by: str) -> None:
        subscription |= {"status": "canceled", "ended_at": at}
        subscription["canceled_at"] = subscription["canceled_at"] or at
        subscription["cancellation_details"] = {"reason": reason}
        self.changes.append(Change(self._next(), subscription["id"], "ended", by))
        self._emit("customer.subscription.deleted", subscription, None)

    def _changed(self, subscription: Raw, what: str, by: str, **changed: Any) -> None:
        before = {name: subscription[name] for name in changed}
        subscription |= changed
        self.changes.append(Change(self._next(), subscription["id"], what, by))
        self._emit("customer.subscription.updated", subscription, before)

    def _create(self, kind: str, object_: Raw, type_: str) -> None:
        self.objects[kind, _place(object_)] = object_
        self._note(kind, object_)
        self._emit(type_, object_, None)

    def _note(self, kind: str, object_: Raw) -> None:
        place = (kind, _place(object_))
        user = object_.get("metadata", {}).get("telegram_user_id")
        for name in (object_.get("customer"), user):
            if name is not None and place not in self.named.setdefault(name, []):
                self.named[name].append(place)

    def _emit(self, type_: str, object_: Raw, previous: Raw | None) -> None:
        data: Raw = {"object": copied(object_)}
        if previous is not None:
            data["previous_attributes"] = copied(previous)
        event: Raw = {
            "id": f"evt_{self._next():06d}",
            "object": "event",
            "type": type_,
            "created": self.now,
            "livemode": object_.get("livemode", True),
            "data": data,
        }
        self.outbox.append(event)
        self.undelivered[event["id"]] = event

    def _next(self) -> int:
        self.number += 1
        return self.number


def _place(object_: Raw) -> str:
    """Where an object is kept: the same id in test mode is another one."""
    name: str = object_["id"]
    return name if object_.get("livemode", True) else f"test {name}"


def _period_end(subscription: Raw) -> int:
    return int(subscription["items"]["data"][0]["current_period_end"])


def _error(status: int, message: str, type_: str, code: str | None = None) -> Answer:
    error: Raw = {"message": message, "type": type_}
    if code is not None:
        error["code"] = code
    return status, {"error": error}


def _missing(id_: str) -> Answer:
    return _error(404, f"No such object: '{id_}'", "invalid_request_error", "resource_missing")
