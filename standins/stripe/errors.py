"""The refusals Stripe answers with, as exceptions that carry their status and body."""

from __future__ import annotations

from standins.stripe.shapes import Object

_NAMES = {"checkout.session": "checkout.session", "payment_intent": "payment_intent"}


class StripeError(Exception):
    """An error answer of the API.

    ``type`` is one of Stripe's error types; ``code`` and ``param`` are left out where ``None``.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - Stripe's own field name
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param

    def body(self) -> Object:
        """The JSON of the error answer."""
        error: Object = {"message": self.message, "type": self.type}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param:
            error["param"] = self.param
        return {"error": error}


def missing(kind: str, id_: str, *, param: str = "id", status: int = 404) -> StripeError:
    """The error about an id that nothing of this kind has."""
    name = _NAMES.get(kind, kind.replace("_", " "))
    if kind == "payment_method":
        name = "PaymentMethod"
    return StripeError(status, f"No such {name}: '{id_}'", code="resource_missing", param=param)


def unrecognized(method: str, path: str) -> StripeError:
    """The error about a URL that is no route."""
    return StripeError(
        404,
        f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove "
        "the trailing slash. If you are trying to retrieve an object, make sure you passed a valid "
        "(non-empty) identifier in your code.",
    )


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> StripeError:
    """The error about a request that cannot be carried out (400)."""
    return StripeError(400, message, code=code, param=param)
