"""What went wrong, as one sentence: AWS, Stripe, Telegram, the machine's files, or a fault of ours.

Nothing of an error's own text is repeated unless it is known to hold no secret and no personal
data.
"""

from __future__ import annotations

import traceback

from botocore import exceptions as aws

from shared.domain.errors import TryAgainLater
from shared.integrations.stripe_gateway import StripeError
from shared.integrations.telegram_gateway import BotUnauthorized

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_UNKNOWN = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NO_CREDENTIALS = (
    "There are no AWS credentials: log in, name a --profile, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)
_NO_LOGIN = (
    aws.SSOError,
    aws.TokenRetrievalError,
    aws.RefreshWithMFAUnsupportedError,
    aws.CredentialRetrievalError,
)


def explain(error: Exception, *, is_local: bool, target: str) -> str:
    """The sentence for an error.

    Args:
        is_local: whether the command works on the local run.
        target: "local run in .data", "stack customers in eu-central-1".
    """
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError):
        return _NO_CREDENTIALS
    if isinstance(error, aws.NoRegionError):
        return "There is no AWS region: name a --region, or set AWS_REGION"
    if isinstance(error, aws.ProfileNotFound):
        return "There is no such AWS profile: see `aws configure list-profiles`"
    if isinstance(error, _NO_LOGIN):
        return "The AWS login has expired, or was never made: log in again"
    if isinstance(error, aws.ClientError):
        return _refused(error, target)
    if isinstance(error, aws.ConnectionError | aws.HTTPClientError):
        if is_local:
            return f"The {target} does not answer: start it with `make run`"
        return f"AWS does not answer ({type(error).__name__}): see the network and the region"
    if isinstance(error, aws.BotoCoreError):
        return f"AWS could not be asked ({type(error).__name__})"
    if isinstance(error, StripeError):
        return error.reason
    if isinstance(error, BotUnauthorized):
        return "Telegram does not accept the bot's token"
    if isinstance(error, TryAgainLater):
        return error.detail
    if isinstance(error, OSError):
        name = "" if error.filename is None else f"{error.filename}: "
        return f"{name}{error.strerror or type(error).__name__}"
    if type(error) is RuntimeError:  # of shared/: a variable that is not set, an unreadable secret
        return f"The {target} is not complete: {error}"
    return f"The command has a fault: {type(error).__name__} at {_place(error)}"


def _refused(error: aws.ClientError, target: str) -> str:
    code, operation = error.response["Error"]["Code"], error.operation_name
    if code in _EXPIRED:
        return "The AWS credentials have expired: log in again"
    if code in _DENIED:
        return f"AWS does not allow these credentials to call {operation} on the {target}"
    if code in _UNKNOWN:
        return f"AWS does not accept these credentials ({code})"
    return f"AWS answers {operation} on the {target} with {code}"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
