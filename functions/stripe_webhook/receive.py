"""One delivery: verified, understood, applied to its store's records, or parked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from functions.stripe_webhook.signature import is_signed
from shared.domain.clock import Clock, system_clock
from shared.domain.errors import (
    InvalidEvent,
    InvalidSignature,
    PayloadTooLarge,
    TryAgainLater,
)
from shared.domain.key_parts import is_id
from shared.integrations.stripe_gateway import StripeMissing, StripeRefusal, StripeUnavailable
from shared.observability import log_failure, logger
from shared.storage.dynamo import AWS_ERRORS, is_impossible
from shared.storage.parked import Parked, ParkedEvent, id_of
from shared.stripe_events import events, thin
from shared.stripe_events.context import Services
from shared.stripe_events.event import Event, Unappliable
from shared.stripe_events.thin import ThinEvents
from shared.tenant import Tenant

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Receiver:
    """Takes what Stripe sends.

    Attributes:
        secrets: the webhook's secrets; called with ``True`` to read them again, after a signature
            that none of them made.
    """

    secrets: Callable[[bool], Sequence[str]]
    services: Services
    parked: Parked
    clock: Clock = system_clock

    @cached_property
    def thin_events(self) -> ThinEvents:
        return ThinEvents(self.services)

    def receive(self, body: bytes, signature: str | None) -> str:
        """Take one delivery.

        Returns:
            ``applied``, ``ignored`` (a type nobody asked for) or ``parked``.

        Raises:
            PayloadTooLarge, InvalidSignature, InvalidEvent: nothing was stored.
            TryAgainLater: a fault that may pass; Stripe sends it again.
        """
        if len(body) > MAX_BYTES:
            raise PayloadTooLarge
        if not self._is_signed(body, signature):
            raise InvalidSignature
        return self.take(body)

    def take(self, body: bytes) -> str:
        """Apply an event that is known to be Stripe's, or park its body; otherwise as above."""
        told = parse(body)
        if isinstance(told.get("type"), str) and thin.type_of(told) not in events.HANDLERS:
            return "ignored"
        try:
            return self._apply(told, body)
        except StripeUnavailable as error:
            raise TryAgainLater(error.reason) from None
        except AWS_ERRORS as error:
            log_failure("database", error, **_named(told))
            raise TryAgainLater from None

    def _is_signed(self, body: bytes, signature: str | None) -> bool:
        now = self.clock()
        return is_signed(body, signature, self.secrets(False), now) or is_signed(
            body, signature, self.secrets(True), now
        )

    def _apply(self, told: Mapping[str, Any], body: bytes) -> str:
        connection = self.services.registry.of_account(thin.account_of_event(told))
        if connection is None:
            return self._park(None, told, body, "no store has registered this account")
        tenant = connection.tenant
        try:
            if thin.is_thin(told):
                self.thin_events.apply(told, tenant)
            else:
                events.apply(Event.parse(told), tenant, self.services)
        except Unappliable as error:
            return self._park(tenant, told, body, str(error))
        except (StripeRefusal, StripeMissing) as error:
            return self._park(tenant, told, body, f"Stripe refuses: {error.reason}")
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            log_failure("malformed event", error, **_named(told))
            return self._park(tenant, told, body, f"malformed: {type(error).__name__}")
        except AWS_ERRORS as error:
            if not is_impossible(error):
                raise
            log_failure("impossible write", error, **_named(told))
            return self._park(tenant, told, body, "it can't be stored")
        logger.info("applied", **_named(told))
        return "applied"

    def _park(
        self, tenant: Tenant | None, told: Mapping[str, Any], body: bytes, reason: str
    ) -> str:
        """Keep an event that can't be applied, so that it can be once the reason is gone."""
        at = thin.created_at(told) or 0
        event_id = id_of(told.get("id"), body)
        self.parked.park(tenant, ParkedEvent(event_id, at, "stripe", reason, body))
        self.services.count("EventParked")
        logger.warning("parked", **_named(told), reason=reason)
        return "parked"


def parse(body: bytes) -> dict[str, Any]:
    """The JSON of an event.

    Raises:
        InvalidEvent: it is not UTF-8, not JSON or not an event.
    """
    try:
        told = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise InvalidEvent from None
    if not isinstance(told, dict) or told.get("object") not in ("event", thin.OBJECT):
        raise InvalidEvent
    return told


def _named(told: Mapping[str, Any]) -> dict[str, Any]:
    """Which event it is, for the log: nothing that is no id may get there."""
    kind, event_id = told.get("type"), told.get("id")
    known = thin.type_of(told) in events.HANDLERS
    return {
        "event_id": event_id if is_id(event_id) else "malformed",
        "type": kind if known else "malformed",
    }
