"""Settings of the functions, from their environment (template.yaml), read when they are used."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Stripe's events of one change come within a minute of each other, most of the time.
SETTLE_SECONDS = 90


class Settings:
    """The environment as typed values.

    Raises (from every property without a default): ``RuntimeError`` naming the variable that the
    template did not give this function.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def _required(self, name: str) -> str:
        value = self._environ.get(name)
        if not value:
            raise RuntimeError(f"the environment variable {name} is not set")
        return value

    @property
    def store_claim(self) -> str:
        """The claim of the token that names the store."""
        return self._environ.get("STORE_CLAIM") or "store_id"

    @property
    def default_store(self) -> str:
        """The store of Stripe events that carry no connected account."""
        return self._environ.get("DEFAULT_STORE") or "demo"

    @property
    def settle_seconds(self) -> int:
        """How long an end that an event told waits before anybody is removed."""
        return int(self._environ.get("SETTLE_SECONDS") or SETTLE_SECONDS)

    @property
    def only_products_with_chats(self) -> bool:
        """Whether only purchases of products that name a chat make a customer."""
        return self._environ.get("PRODUCT_SCOPE") == "with_chats"

    @property
    def records_table(self) -> str:
        return self._required("RECORDS_TABLE")

    @property
    def index_table(self) -> str:
        return self._required("INDEX_TABLE")

    @property
    def has_index(self) -> bool:
        """Whether this function was given the index table."""
        return bool(self._environ.get("INDEX_TABLE"))

    @property
    def schedule_group(self) -> str:
        return self._required("SCHEDULE_GROUP")

    @property
    def schedule_role_arn(self) -> str:
        return self._required("SCHEDULE_ROLE_ARN")

    @property
    def revoker_arn(self) -> str:
        return self._required("REVOKER_ARN")

    @property
    def validates_requests(self) -> bool:
        """Whether requests to AWS are checked against its models first: where the code is tried."""
        return bool(self._environ.get("VALIDATE_REQUESTS"))

    @property
    def stripe_api_base(self) -> str:
        return self._environ.get("STRIPE_API_BASE") or "https://api.stripe.com"

    @property
    def telegram_api_base(self) -> str:
        return self._environ.get("TELEGRAM_API_BASE") or "https://api.telegram.org"

    @property
    def stripe_api_secret_arn(self) -> str:
        """``{"live": "sk_live_...", "test": "sk_test_..."}``; a missing mode is not connected."""
        return self._required("STRIPE_API_SECRET_ARN")

    @property
    def stripe_webhook_secret_arn(self) -> str:
        """``{"secrets": ["whsec_new", "whsec_old"]}``."""
        return self._required("STRIPE_WEBHOOK_SECRET_ARN")

    @property
    def stripe_event_source(self) -> str:
        """The partner event source of Stripe's events, ``aws.partner/stripe.com/ed_...``."""
        return self._required("STRIPE_EVENT_SOURCE")

    @property
    def telegram_secret_arn(self) -> str:
        """``{"token": "123:abc"}``."""
        return self._required("TELEGRAM_SECRET_ARN")

    @property
    def cursor_secret_arn(self) -> str:
        """``{"key": "<random>"}``."""
        return self._required("CURSOR_SECRET_ARN")
