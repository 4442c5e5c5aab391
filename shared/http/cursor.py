"""Page cursors: a position in a list, signed and bound to the store and the query.

A cursor holds the sort key to go on from and nothing else. The partition is always rebuilt from
the token's store and the request's own parameters, which the signature covers: a cursor works
with the very query it came from, for the store it came from.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from shared.domain.errors import InvalidCursor
from shared.tenant import Tenant

_SIGNATURE_BYTES = 18
MAX_CURSOR = 2048


def binding(tenant: Tenant, *query: object) -> str:
    """What a cursor is bound to: the store and the normalised query (JSON values)."""
    return json.dumps([tenant.store_id, *query], separators=(",", ":"), sort_keys=True)


def encode(key: bytes, bind: str, position: str) -> str:
    """The cursor of a position."""
    payload = base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")
    return f"{payload}.{_signature(key, bind, payload)}"


def decode(key: bytes, bind: str, cursor: str) -> str:
    """The position of a cursor.

    Raises:
        InvalidCursor: it was altered, or belongs to another store or query.
    """
    payload, dot, signature = cursor.partition(".")
    # The signature is over the text, so another spelling of the same bytes is refused too.
    if (
        not dot
        or len(cursor) > MAX_CURSOR
        or not cursor.isascii()
        or not hmac.compare_digest(signature, _signature(key, bind, payload))
    ):
        raise InvalidCursor
    try:
        return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidCursor from None


def _signature(key: bytes, bind: str, payload: str) -> str:
    digest = hmac.new(key, f"{bind}\0{payload}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).decode()
