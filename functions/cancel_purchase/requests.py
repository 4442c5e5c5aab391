"""What a request to change a purchase may say. By pydantic on purpose, see
docs/decisions/0009-libraries-on-the-cold-path.md."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from shared.domain.errors import ConfirmationMismatch, InvalidRequest
from shared.domain.purchase import When

Model = TypeVar("Model", bound=BaseModel)

CONFIRMATION = "CANCEL PURCHASE"
MAX_KEY = 255


class CancelRequest(BaseModel):
    """The body of a cancel. Unknown fields are refused: a misspelt one must not be ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)

    when: When
    confirmation: str
    reason: Annotated[str, StringConstraints(max_length=500)] | None = None


class NoBody(BaseModel):
    """The body of a revocation: none, or an empty object."""

    model_config = ConfigDict(extra="forbid")


def cancel_request(body: str | None) -> CancelRequest:
    """The request of a body.

    Raises:
        InvalidRequest: not JSON, a missing, unknown or bad field; the first one is named.
        ConfirmationMismatch: the phrase isn't the one to type, letter for letter.
    """
    request = _parse(CancelRequest, body or "")
    if request.confirmation != CONFIRMATION:
        raise ConfirmationMismatch(f"Type {CONFIRMATION} to confirm")
    return request


def no_body(body: str | None) -> None:
    """Refuse a body that says anything.

    Raises:
        InvalidRequest: it does.
    """
    if body and body.strip():
        _parse(NoBody, body)


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


def _parse(model: type[Model], body: str) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"]) or "body"
        raise InvalidRequest(f"{where}: {first['msg']}") from None
