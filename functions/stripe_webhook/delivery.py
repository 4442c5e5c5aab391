"""One delivery to the webhook: verified, then taken as every event of Stripe's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.stripe_webhook.signature import is_signed
from shared.domain.clock import Clock, system_clock
from shared.domain.errors import InvalidSignature, PayloadTooLarge
from shared.stripe_events.receive import Receiver

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Deliveries:
    """Takes what is sent to the webhook.

    Attributes:
        secrets: the webhook's secrets; called with ``True`` to read them again, after a signature
            that none of them made.
    """

    secrets: Callable[[bool], Sequence[str]]
    receiver: Receiver
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
        return self.receiver.take(body)

    def _is_signed(self, body: bytes, signature: str | None) -> bool:
        now = self.clock()
        return is_signed(body, signature, self.secrets(False), now) or is_signed(
            body, signature, self.secrets(True), now
        )
