"""Stripe's API as plain dictionaries and three errors. The only importer of ``stripe``.

The SDK is imported with the first request: it costs more than the rest of a cold start, and most
events never ask Stripe anything. Requests go through the SDK's raw interface, so answers are
JSON as it came over the wire, without the SDK's objects and their ``Decimal``.

There is no retry in here: whoever asks has a durable way to ask again, and waits first.
Nothing in here can refund.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.domain.deadline import Deadline
from shared.domain.purchase import ENDED_SUBSCRIPTION
from shared.domain.stripe_objects import lacks_items, with_items

if TYPE_CHECKING:
    import stripe

Raw = dict[str, Any]
Keys = Callable[[], Mapping[str, str]]
"""The API key of each connected mode: ``{"live": "sk_live_...", "test": "sk_test_..."}``."""

PAGE = 100
NO_TIME = "there was no time left to ask Stripe"


class StripeError(Exception):
    """A request to Stripe that brought nothing.

    Attributes:
        reason: why, for the owner and the log: no secret, no personal data.
        status: of Stripe's answer; ``None`` where there was none.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class StripeUnavailable(StripeError):
    """No answer, or one that says to come again: network, 409, 429, 5xx."""


class StripeRefusal(StripeError):
    """Stripe won't do it however often it is asked: key, account, mode, or the request itself."""


class StripeAccountClosed(StripeRefusal):
    """The account is closed, or gives us no access any more: that is an answer, too."""


class StripeKeyRefused(StripeRefusal):
    """The deployment's API key is missing or not accepted: its operator can change that."""


class StripeMissing(StripeError):
    """Stripe has no such object in this account and mode."""


@dataclass(frozen=True, slots=True)
class SubscriptionRef:
    """A subscription and where it lives.

    Attributes:
        stripe_account: the connected account, ``None`` for the platform's own.
    """

    subscription_id: str
    livemode: bool
    stripe_account: str | None = None


@dataclass(frozen=True, slots=True)
class Mode:
    """Whose objects are meant: one account, in live or test mode."""

    livemode: bool
    stripe_account: str | None = None


class StripeGateway:
    """What this system asks of Stripe.

    Every method raises :class:`StripeUnavailable`, :class:`StripeRefusal` or
    :class:`StripeMissing`, and nothing else of Stripe's.

    Args:
        keys: read at every request, so that a rotated key is used without a restart.
        refresh_keys: reads the keys from their source again; asked once when Stripe does not
            accept a key.
        api_base: Stripe's address, or a stand-in's.
        connect_timeout, read_timeout: seconds one request may take.
        http_client: makes the SDK's HTTP client; ``None``: the SDK's own with these timeouts.
        deadline: of the invocation; no request is sent that might outlast it.
    """

    def __init__(
        self,
        keys: Keys,
        api_base: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        refresh_keys: Keys | None = None,
        http_client: Callable[[], stripe.HTTPClient] | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self._keys = keys
        self._refresh_keys = refresh_keys
        self._api_base = api_base.rstrip("/")
        self._timeout = (connect_timeout, read_timeout)
        self._http_client = http_client
        self._deadline = deadline or Deadline()
        self._clients: dict[str, stripe.StripeClient] = {}
        self._lock = threading.Lock()

    # -- subscriptions: the only things ever changed -------------------------------------------

    # Every subscription that these return holds all of its items: a list that ends after ten of
    # them would look as if the others had been cancelled.

    def retrieve_subscription(self, ref: SubscriptionRef) -> Raw:
        raw = self.retrieve("subscriptions", ref.subscription_id, _mode(ref))
        return self._with_all_items(raw, _mode(ref))

    def cancel_subscription(
        self, ref: SubscriptionRef, *, idempotency_key: str, comment: str | None = None
    ) -> Raw:
        """End a subscription now, without a final invoice and without proration.

        A DELETE that is repeated after its answer was lost raises :class:`StripeMissing`: Stripe
        keeps no answers to DELETEs. Look at the subscription then.

        Args:
            comment: why, kept with the subscription at Stripe.
        """
        raw = self._ask(
            "delete",
            _path("subscriptions", ref.subscription_id),
            _mode(ref),
            {"invoice_now": False, "prorate": False, **_comment(comment)},
            idempotency_key,
        )
        return self._with_all_items(_named(raw, ref.subscription_id), _mode(ref))

    def cancel_at_period_end(
        self,
        ref: SubscriptionRef,
        *,
        idempotency_key: str,
        until: float = math.inf,
        comment: str | None = None,
    ) -> Raw:
        """Let a subscription run out. One that is over already is returned as it is.

        A subscription that a schedule manages is released from it first; the schedule's own
        ``cancel`` would charge for what was used.

        Args:
            until: by the deadline's clock: no further request is sent that might last longer.
            comment: why, kept with the subscription at Stripe.
        """
        try:
            return self._end_with_period(ref, idempotency_key, comment)
        except StripeRefusal as refusal:
            self._leave_time(until)
            current = self.retrieve_subscription(ref)
            if current["status"] in ENDED_SUBSCRIPTION:
                return current
            schedule = current.get("schedule")
            if "managed by the subscription schedule" not in refusal.reason or schedule is None:
                raise
        schedule_id = schedule if isinstance(schedule, str) else str(schedule["id"])
        self._leave_time(until)
        self._ask(
            "post",
            _path("subscription_schedules", schedule_id, "release"),
            _mode(ref),
            {"preserve_cancel_date": True},
            f"{idempotency_key}:release",
        )
        self._leave_time(until)
        # The refused request's key would bring its refusal back.
        return self._end_with_period(ref, f"{idempotency_key}:released", comment)

    @property
    def longest_seconds(self) -> float:
        """How long one request may take."""
        return sum(self._timeout)

    def _leave_time(self, until: float) -> None:
        if self._deadline.monotonic() + self.longest_seconds > until:
            raise StripeUnavailable(NO_TIME)

    def _end_with_period(
        self, ref: SubscriptionRef, idempotency_key: str, comment: str | None
    ) -> Raw:
        raw = self._ask(
            "post",
            _path("subscriptions", ref.subscription_id),
            _mode(ref),
            {"cancel_at_period_end": True, **_comment(comment)},
            idempotency_key,
        )
        return self._with_all_items(_named(raw, ref.subscription_id), _mode(ref))

    def _with_all_items(self, raw: Raw, mode: Mode) -> Raw:
        return with_items(raw, self.list_items(raw, mode)) if lacks_items(raw) else raw

    # -- looking ---------------------------------------------------------------------------------

    def is_connected(self, mode: Mode) -> bool:
        """Whether there is a key for a mode."""
        return bool(self._keys().get("live" if mode.livemode else "test"))

    def retrieve(self, kind: str, object_id: str, mode: Mode) -> Raw:
        """An object by its API path: ``customers``, ``checkout/sessions``, ``refunds`` ..."""
        return _named(self._ask("get", _path(kind, object_id), mode), object_id)

    def retrieve_timed(self, kind: str, object_id: str, mode: Mode) -> tuple[Raw, float | None]:
        """An object, and a time before which Stripe had not read it, in seconds since the epoch by
        Stripe's own clock; ``None`` where the answer doesn't tell."""
        raw, read_at = self._ask_timed("get", _path(kind, object_id), mode)
        return _named(raw, object_id), read_at

    def retrieve_thin_event(self, event_id: str, mode: Mode) -> Raw:
        """A thin event as a whole: with its ``changes`` and ``snapshot_event``."""
        return _named(
            self._ask("get", f"/v2/core/events/{quote(event_id, safe='')}", mode), event_id
        )

    def retrieve_source(self, customer_id: str, source_id: str, mode: Mode) -> Raw:
        """A legacy card or bank account of a customer."""
        return self._ask("get", _path("customers", customer_id, "sources", source_id), mode)

    def list_items(self, subscription: Raw, mode: Mode) -> list[Raw]:
        """The items of a subscription as they are now.

        Of one that is over, what it holds itself will do: nobody has to be let in by the rest. It
        must count as over even where Stripe shows its items to nobody any more.
        """
        try:
            return [*self.list_all("subscription_items", mode, subscription=subscription["id"])]
        except (StripeMissing, StripeRefusal):
            if subscription["status"] not in ENDED_SUBSCRIPTION:
                raise
            return []

    def list_line_items(self, session_id: str, mode: Mode) -> Iterator[Raw]:
        """What a Checkout Session sold."""
        return self.list_all(f"checkout/sessions/{quote(session_id, safe='')}/line_items", mode)

    def list_balance_transactions(self, customer_id: str, mode: Mode) -> Iterator[Raw]:
        """The changes of a customer's balance, the newest first."""
        return self.list_all(f"customers/{quote(customer_id, safe='')}/balance_transactions", mode)

    def list_all(self, kind: str, mode: Mode, **filters: Any) -> Iterator[Raw]:
        """Every object of a list, page after page, in Stripe's order: the newest first."""
        after: dict[str, str] = {}
        while True:
            page = self.list_page(kind, mode, **filters, **after)
            yield from page["data"]
            if not page["has_more"] or not page["data"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}

    def list_page(self, kind: str, mode: Mode, **filters: Any) -> Raw:
        """One page of a list: ``{"data": [...], "has_more": bool}``."""
        page = self._ask("get", f"/v1/{kind}", mode, {"limit": PAGE, **filters})
        data, has_more = page.get("data"), page.get("has_more")
        if not isinstance(data, list) or not isinstance(has_more, bool):
            raise StripeUnavailable("Stripe's answer is no list")
        for raw in data:
            if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
                raise StripeUnavailable("Stripe's list holds what is no object")
        return page

    def list_event_destinations(self, mode: Mode) -> list[Raw]:
        """Where events are sent, as API v2 tells it; an account has a few.

        https://docs.stripe.com/api/v2/core/event_destinations/list
        """
        params = {"include": ["webhook_endpoint.url"], "limit": PAGE}
        data = self._ask("get", "/v2/core/event_destinations", mode, params).get("data")
        if not isinstance(data, list) or not all(isinstance(raw, dict) for raw in data):
            raise StripeUnavailable("Stripe's answer is no list")
        return data

    # -- the wire ----------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        mode: Mode,
        params: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Raw:
        return self._ask_timed(method, path, mode, params, idempotency_key)[0]

    def _ask_timed(
        self,
        method: str,
        path: str,
        mode: Mode,
        params: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> tuple[Raw, float | None]:
        """An answer, and a time before which Stripe did not begin to make it."""
        options: dict[str, str] = {}
        if mode.stripe_account is not None:
            # https://docs.stripe.com/context
            name = "stripe_context" if path.startswith("/v2/") else "stripe_account"
            options[name] = mode.stripe_account
        if idempotency_key is not None:
            options["idempotency_key"] = idempotency_key
        key = _key_of(self._keys(), mode)
        try:
            return self._send(key, method, path, params, options)
        except StripeKeyRefused as error:
            if self._refresh_keys is not None:
                fresh = _key_of(self._refresh_keys(), mode)
                if fresh != key:
                    return self._send(fresh, method, path, params, options)
            raise StripeKeyRefused(error.reason) from None

    def _send(
        self,
        key: str,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        options: Mapping[str, str],
    ) -> tuple[Raw, float | None]:
        import stripe  # noqa: PLC0415 - see the module's text

        if self._deadline.left() < self.longest_seconds:
            raise StripeUnavailable(NO_TIME)
        began = time.monotonic()
        try:
            answer = self._client(key).raw_request(method, path, **(params or {}), **options)
            took = time.monotonic() - began
            parsed: Any = json.loads(answer.body)
        except stripe.StripeError as error:
            failure = _failure(error)
        except (ValueError, RecursionError):
            failure = StripeUnavailable("Stripe's answer is not JSON")
        else:
            if isinstance(parsed, dict):
                return parsed, _began_at(answer.headers, took)
            failure = StripeUnavailable("Stripe's answer is no object")
        # Outside the except block: the SDK's errors hold the body of the answer, and a chained
        # exception would carry it into the log.
        raise failure

    def _client(self, key: str) -> stripe.StripeClient:
        import stripe  # noqa: PLC0415 - see the module's text

        with self._lock:
            if key not in self._clients:
                http_client: stripe.HTTPClient
                if self._http_client is None:
                    http_client = stripe.RequestsClient(timeout=self._timeout)
                else:
                    http_client = self._http_client()
                self._clients[key] = stripe.StripeClient(
                    key,
                    http_client=http_client,
                    base_addresses={"api": self._api_base},
                    max_network_retries=0,
                )
            return self._clients[key]


def _failure(error: stripe.StripeError) -> StripeError:
    status = error.http_status
    body = error.json_body if isinstance(error.json_body, Mapping) else {}
    told = body.get("error")
    told = told if isinstance(told, Mapping) else {}
    # The SDK leaves its own ``code`` empty for some statuses, a 403 among them.
    code = error.code or str(told.get("code") or "")
    if status is None or status < 300:
        return StripeUnavailable("Stripe could not be reached, or its answer not be read")
    if status == 401:
        return StripeKeyRefused("Stripe does not accept the API key")
    if status == 403:
        reason = "Stripe gives no access to this account; it may be disconnected"
        return StripeAccountClosed(reason) if code == "account_invalid" else StripeRefusal(reason)
    if status == 404 or code == "resource_missing":
        return StripeMissing("Stripe has no such object in this account and mode")
    kind = told.get("type")
    # A key used for something else is ours to avoid: the next attempt has a new one.
    if status in (409, 429) or status >= 500 or code == "rate_limit" or kind == "idempotency_error":
        return StripeUnavailable(f"Stripe answered {status}")
    return StripeRefusal((error.user_message or f"Stripe answered {status}")[:200], status)


def _began_at(headers: Mapping[str, str], took: float) -> float | None:
    """When an answer was begun at the earliest: its ``Date`` is in whole seconds, rounded down."""
    told = next((value for name, value in headers.items() if name.lower() == "date"), None)
    try:
        return None if told is None else parsedate_to_datetime(told).timestamp() - took
    except ValueError:
        return None


def _key_of(keys: Mapping[str, str], mode: Mode) -> str:
    name = "live" if mode.livemode else "test"
    key = keys.get(name)
    if not key:
        raise StripeKeyRefused(f"Stripe's {name} mode is not connected")
    return key


def _named(raw: Raw, object_id: str) -> Raw:
    """An answer, if it is about what was asked for."""
    if raw.get("id") != object_id:
        raise StripeUnavailable("Stripe's answer is about something else")
    return raw


def _mode(ref: SubscriptionRef) -> Mode:
    return Mode(ref.livemode, ref.stripe_account)


def _path(kind: str, *parts: str) -> str:
    # Metadata may name anything as a product; a dot segment would lead to another resource.
    if not all(part.strip(".") for part in parts):
        raise StripeMissing("that is no id")
    return "/".join(["/v1", kind, *(quote(part, safe="") for part in parts)])


def _comment(text: str | None) -> dict[str, Any]:
    return {} if text is None else {"cancellation_details": {"comment": text}}
