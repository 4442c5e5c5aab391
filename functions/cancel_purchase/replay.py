"""The first answer to an Idempotency-Key, again.

Only the answer is replayed from here. That a cancel happens once is the saga's doing, with this
record or without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyValidationError,
)

from shared.domain.errors import IdempotencyKeyReused, OperationInProgress
from shared.storage.dynamo import Table
from shared.tenant import Tenant

# How long an answer is kept, as at Stripe (https://docs.stripe.com/api/idempotent_requests).
KEPT_SECONDS = 86_400

Answer = dict[str, Any]
"""``{"status": int, "body": JSON}``."""


def once(
    table: Table,
    tenant: Tenant,
    key: str,
    *,
    said: list[Any],
    answer: Callable[[], Answer],
    context: Any,
) -> Answer:
    """What ``answer`` made of the first request with this key; an error is not kept, so that it
    can be tried again.

    Args:
        said: the request; a key stands for this one only.
        context: the Lambda context: a request that died is forgotten when its time is over.

    Raises:
        IdempotencyKeyReused: the key came with another request.
        OperationInProgress: the first request with this key is still under way.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()
    store = DynamoDBPersistenceLayer(
        table_name=table.name,
        key_attr="pk",
        sort_key_attr="sk",
        static_pk_value=tenant.requests_pk(digest),
        expiry_attr="expires_ttl",
        boto3_client=table.client,
    )
    config = IdempotencyConfig(
        event_key_jmespath="key",
        payload_validation_jmespath="said",
        expires_after_seconds=KEPT_SECONDS,
        lambda_context=context,
    )

    @idempotent_function(  # type: ignore[untyped-decorator]
        data_keyword_argument="request", persistence_store=store, config=config, key_prefix="answer"
    )
    def replayable(*, request: dict[str, Any]) -> Answer:
        del request
        return answer()

    try:
        made: Answer = replayable(request={"key": digest, "said": json.dumps(said)})
    except IdempotencyValidationError:
        raise IdempotencyKeyReused from None
    except IdempotencyAlreadyInProgressError:
        raise OperationInProgress from None
    return made
