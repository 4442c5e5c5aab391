"""One event that is known to be Stripe's: applied to its store's records, or parked.

How it is known is the business of the way it came by: a signature (functions/stripe_webhook), or a
partner event source (functions/stripe_bus).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shared.domain.errors import InvalidEvent, TryAgainLater
from shared.domain.key_parts import is_id
from shared.integrations.stripe_gateway import StripeMissing, StripeRefusal, StripeUnavailable
from shared.observability import log_failure, logger
from shared.storage.dynamo import AWS_ERRORS, is_impossible
from shared.storage.parked import Parked, ParkedEvent, id_of
from shared.stripe_events import events, thin
from shared.stripe_events.context import Services
from shared.stripe_events.event import OBJECTS, Event, Unappliable
from shared.stripe_events.thin import ThinEvents
from shared.tenant import Tenant


@dataclass(frozen=True)
class Receiver:
    """Takes Stripe's events."""

    services: Services
    parked: Parked

    @cached_property
    def thin_events(self) -> ThinEvents:
        return ThinEvents(self.services)

    def take(self, body: bytes) -> str:
        """Apply an event, or park its body.

        Returns:
            ``applied``, ``ignored`` (a type nobody asked for) or ``parked``.

        Raises:
            InvalidEvent: it is no event; nothing was stored.
            TryAgainLater: a fault that may pass; the event has to come again.
        """
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

    def park_unknown(self, body: bytes) -> str:
        """Park what Stripe sent and :meth:`take` refused, where nobody would send it again."""
        return self._park(None, {}, body, "it is no event that this version knows")

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
    if not isinstance(told, dict) or told.get("object") not in OBJECTS:
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
