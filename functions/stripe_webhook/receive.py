"""One delivery: verified, understood, applied to its store's records, or parked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.stripe_webhook.signature import is_signed
from shared.domain.clock import Clock, system_clock
from shared.domain.errors import (
    InvalidEvent,
    InvalidSignature,
    PayloadTooLarge,
    TryAgainLater,
)
from shared.integrations.stripe_gateway import StripeMissing, StripeRefusal, StripeUnavailable
from shared.observability import log_failure, logger
from shared.storage.dynamo import AWS_ERRORS, is_impossible
from shared.storage.parked import Parked, ParkedEvent
from shared.stripe_events import events
from shared.stripe_events.context import Services
from shared.stripe_events.event import Event, Unappliable
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
        return self.take(parse(body), body)

    def take(self, event: Event, body: bytes) -> str:
        """Apply an event that is known to be Stripe's, or park its body; otherwise as above."""
        if event.type not in events.HANDLERS:
            return "ignored"
        try:
            return self._apply(event, body)
        except StripeUnavailable as error:
            raise TryAgainLater(error.reason) from None
        except AWS_ERRORS as error:
            log_failure("database", error, event_id=event.id, type=event.type)
            raise TryAgainLater from None

    def _is_signed(self, body: bytes, signature: str | None) -> bool:
        now = self.clock()
        return is_signed(body, signature, self.secrets(False), now) or is_signed(
            body, signature, self.secrets(True), now
        )

    def _apply(self, event: Event, body: bytes) -> str:
        connection = self.services.registry.of_account(event.account)
        if connection is None:
            return self._park(None, event, body, "no store has registered this account")
        try:
            events.apply(event, connection.tenant, self.services)
        except Unappliable as error:
            return self._park(connection.tenant, event, body, str(error))
        except (StripeRefusal, StripeMissing) as error:
            return self._park(connection.tenant, event, body, f"Stripe refuses: {error.reason}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log_failure("malformed event", error, event_id=event.id, type=event.type)
            return self._park(connection.tenant, event, body, f"malformed: {type(error).__name__}")
        except AWS_ERRORS as error:
            if not is_impossible(error):
                raise
            log_failure("impossible write", error, event_id=event.id, type=event.type)
            return self._park(connection.tenant, event, body, "it can't be stored")
        logger.info("applied", event_id=event.id, type=event.type)
        return "applied"

    def _park(self, tenant: Tenant | None, event: Event, body: bytes, reason: str) -> str:
        """Keep an event that can't be applied, so that it can be once the reason is gone."""
        parked = ParkedEvent(event.id, event.created_at, "stripe", reason, body)
        self.parked.park(tenant, parked)
        self.services.count("EventParked")
        logger.warning("parked", event_id=event.id, type=event.type, reason=reason)
        return "parked"


def parse(body: bytes) -> Event:
    """The event of a body.

    Raises:
        InvalidEvent: it is not UTF-8, not JSON or not an event with its object in it (a "thin"
            one has only an address).
    """
    try:
        return Event.parse(json.loads(body.decode("utf-8")))
    except (ValueError, RecursionError):
        raise InvalidEvent from None
