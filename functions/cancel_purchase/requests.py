"""What a request to change a purchase may say: what shared/http/openapi.json, which is served, says
of it. Why it is not a pydantic model: docs/decisions/0009-libraries-on-the-cold-path.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import fastjsonschema

from shared.domain.errors import ConfirmationMismatch, InvalidRequest
from shared.domain.purchase import When
from shared.http.app import OPENAPI

CONFIRMATION = "CANCEL PURCHASE"
MAX_KEY = 255
# An unknown field is named in the answer, however long its name is.
MAX_DETAIL = 200

Schema = Callable[..., Any]
"""A compiled schema: takes a value and what to call it in an error."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The body of a cancel that was confirmed."""

    when: When
    reason: str | None
    without_stripe: bool = False


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """The body of a request to try removals again.

    Attributes:
        leave: leave those in instead who should be out.
    """

    leave: bool = False


def cancel_request(body: str) -> CancelRequest:
    """The request of a body.

    Raises:
        InvalidRequest: not JSON, or a missing, unknown or bad field; the first one is named.
        ConfirmationMismatch: the phrase isn't the one to type, letter for letter.
    """
    request = _checked(body, _schema("CancelRequest"))
    if request["confirmation"] != CONFIRMATION:
        raise ConfirmationMismatch(f"Type {CONFIRMATION} to confirm")
    without_stripe = request.get("without_stripe", False)
    return CancelRequest(request["when"], request.get("reason"), without_stripe)


def revocation_request(body: str) -> RevocationRequest:
    """The request of a body, which may be empty.

    Raises:
        InvalidRequest: not JSON, or an unknown or bad field; the first one is named.
    """
    if not body.strip():
        return RevocationRequest()
    return RevocationRequest(_checked(body, _schema("RevocationRequest")).get("leave", False))


def no_body(body: str) -> None:
    """A request that says nothing.

    Raises:
        InvalidRequest: it does.
    """
    if body.strip():
        _checked(body, _schema("EmptyRequest"))


def idempotency_key(headers: dict[str, str]) -> str | None:
    """The request's Idempotency-Key, ``None`` where it has none.

    Raises:
        InvalidRequest: it is empty, too long or not printable ASCII.
    """
    key = next((v for name, v in headers.items() if name.lower() == "idempotency-key"), None)
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise InvalidRequest(f"Idempotency-Key: must be 1 to {MAX_KEY} printable characters")
    return key


@cache
def _schema(name: str) -> Schema:
    document = json.loads(OPENAPI.read_bytes())
    reference = f"#/components/schemas/{name}"
    return fastjsonschema.compile({"$ref": reference, "components": document["components"]})


def _checked(body: str, schema: Schema) -> dict[str, Any]:
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()  # "\ud800" is JSON, but half a character
    except (ValueError, RecursionError):
        raise InvalidRequest("body must be JSON in UTF-8") from None
    try:
        checked: dict[str, Any] = schema(value, name_prefix="body")
    except fastjsonschema.JsonSchemaValueException as error:
        raise InvalidRequest(error.message[:MAX_DETAIL]) from None
    return checked
