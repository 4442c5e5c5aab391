"""Stripe's signature over the raw bytes of an event.

By hand, and not with the SDK's ``WebhookSignature``: importing the SDK costs a cold start more
than everything else in this function, and most invocations need nothing else of it. The scheme is
https://docs.stripe.com/webhooks#verify-manually: HMAC-SHA256 over ``{timestamp}.{body}``, any
number of ``v1`` signatures, one per secret that is valid while secrets are rotated.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

TOLERANCE_SECONDS = 300


def is_signed(body: bytes, header: str | None, secrets: Sequence[str], now: float) -> bool:
    """Whether one of the secrets signed this body, at most 300 s before or after ``now``.

    An empty secret verifies nothing: everybody knows it.
    """
    stamp, signatures = _parsed(header)
    if stamp is None or abs(now - int(stamp)) > TOLERANCE_SECONDS:
        return False
    signed = stamp.encode() + b"." + body
    matches = False
    for secret in secrets:
        if not secret:
            continue
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
        for signature in signatures:
            matches |= hmac.compare_digest(expected, signature)
    return matches


def has_form(header: str | None) -> bool:
    """Whether a header has the form of a signature of Stripe's, whoever made it."""
    stamp, signatures = _parsed(header)
    return stamp is not None and bool(signatures)


def _parsed(header: str | None) -> tuple[str | None, list[bytes]]:
    """The timestamp and the ``v1`` signatures of ``t=...,v1=...,v1=...``."""
    stamp: str | None = None
    signatures: list[bytes] = []
    for part in (header or "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "t" and stamp is None and value.isascii() and value.isdecimal():
            # 19 digits are more seconds than there will be, and less than int() refuses.
            stamp = value if len(value) < 20 else None
        elif name == "v1":
            signatures.append(value.encode("utf-8", "surrogatepass"))
    return stamp, signatures
