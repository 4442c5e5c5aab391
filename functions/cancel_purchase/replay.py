"""The first answer to an Idempotency-Key, again.

Only the answer is replayed from here. That a cancel happens once is the saga's doing, with this
record or without it. Why not Powertools' Idempotency:
docs/decisions/0009-libraries-on-the-cold-path.md.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from shared.domain.errors import IdempotencyKeyReused, OperationInProgress
from shared.storage.dynamo import ConditionFailed, Item, Table
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
    seconds: float,
) -> Answer:
    """What ``answer`` made of the first request with this key; an error is not kept, so that it
    can be tried again.

    Args:
        said: the request; a key stands for this one only.
        seconds: how long it may take; one that died is forgotten after that.

    Raises:
        IdempotencyKeyReused: the key came with another request.
        OperationInProgress: the first request with this key is still under way.
    """
    pk, sk = tenant.requests_pk(_digest(key)), "REQUEST"
    now = int(time.time())
    request: Item = {"pk": pk, "sk": sk, "said": _digest(json.dumps(said))}
    request |= {"over_at": now + int(seconds) + 1, "expires_ttl": now + KEPT_SECONDS}
    unknown = "attribute_not_exists(pk) OR expires_ttl < :now"
    died = "attribute_not_exists(answer) AND over_at < :now"
    try:
        table.put(request, f"{unknown} OR ({died})", now=now)
    except ConditionFailed as refused:
        return _first_answer(refused.item or {}, request)
    try:
        made = answer()
    except BaseException:
        with table.giving_back():
            table.delete(pk, sk)
        raise
    table.update_blind(pk, sk, "SET answer = :answer", answer=json.dumps(made))
    return made


def _first_answer(first: Item, request: Item) -> Answer:
    if first.get("said") != request["said"]:
        raise IdempotencyKeyReused
    if "answer" not in first:
        raise OperationInProgress
    made: Answer = json.loads(first["answer"])
    return made


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
