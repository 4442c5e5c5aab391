"""What can go wrong, as facts a caller may rely on, each with its HTTP status and code."""

from __future__ import annotations


class CustomersError(Exception):
    """A refusal or failure that is told to the caller.

    Attributes:
        status: the HTTP status it is answered with.
        code: stable, snake_case.
        title: the same sentence for every error of this code.
        more: further fields of the answer.
    """

    status = 500
    code = "internal_error"
    title = "Something went wrong"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.more: dict[str, object] = {}


class InvalidToken(CustomersError):
    status, code, title = 401, "invalid_token", "The token is not a valid access token"


class StoreClaimMissing(CustomersError):
    status, code, title = 403, "forbidden", "The token names no single store"


class NotFound(CustomersError):
    status, code, title = 404, "not_found", "No such customer or purchase"


class InvalidRequest(CustomersError):
    status, code, title = 422, "invalid_request", "The request is not valid"


class ConfirmationMismatch(CustomersError):
    status, code, title = 422, "confirmation_mismatch", "The confirmation phrase does not match"


class PeriodEndNotAvailable(CustomersError):
    status, code = 422, "period_end_not_available"
    title = "This purchase can only be cancelled immediately"


class PurchaseAlreadyEnded(CustomersError):
    status, code, title = 409, "purchase_already_ended", "This purchase is already over"


class OperationInProgress(CustomersError):
    status, code = 409, "operation_in_progress"
    title = "Another change of this purchase is running"


class IdempotencyKeyReused(CustomersError):
    status, code = 422, "idempotency_key_reused"
    title = "This Idempotency-Key was used with another request"


class InvalidCursor(CustomersError):
    status, code, title = 422, "invalid_cursor", "The cursor does not belong to this query"


class StripeRefused(CustomersError):
    """Nothing was done.

    Attributes:
        more: ``can_end_without_stripe`` where it is proven that Stripe has nothing to end.
    """

    status, code, title = 502, "stripe_refused", "Stripe refused the request"

    def __init__(self, detail: str | None = None, *, can_end_without_stripe: bool = False) -> None:
        super().__init__(detail)
        if can_end_without_stripe:
            self.more = {"can_end_without_stripe": True}


class InvalidSignature(CustomersError):
    status, code, title = 400, "invalid_signature", "The webhook's signature is not valid"


class InvalidEvent(CustomersError):
    status, code, title = 400, "invalid_event", "The webhook's body is not a Stripe event"


class PayloadTooLarge(CustomersError):
    status, code, title = 413, "payload_too_large", "The body is larger than 1 MB"


class TryAgainLater(CustomersError):
    status, code, title = 503, "try_again_later", "A service we depend on is unavailable"
