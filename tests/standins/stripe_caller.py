"""Who calls the Stripe stand-in in its tests, and who is called by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import stripe

NOW = 1_795_000_000

Json = dict[str, Any]

Client = Callable[..., Any]
"""Makes an SDK client; the first argument is the key."""


class Receiver:
    """A webhook receiver in this process: verifies and keeps what is delivered."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.answers: list[int] = []
        self.secret = "whsec_test"

    def __call__(self, body: bytes, headers: dict[str, str]) -> int:
        stripe.WebhookSignature.verify_header(
            body.decode(), headers["Stripe-Signature"], self.secret, 300
        )
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.events.append(stripe.Event.construct_from(_json(body), None).to_dict())
        return status

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


def _json(body: bytes) -> Json:
    parsed: Json = json.loads(body)
    return parsed
