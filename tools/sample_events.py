"""``make docs``: writes events/, one event of every type and way, and the schemas of the store's.

Those of Stripe's are the recorded ones of tests/fixtures.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from functions.store_events import messages
from functions.store_events.apply import HANDLERS as STORE_HANDLERS
from shared.stripe_events.events import HANDLERS
from shared.stripe_events.thin import thin_type
from standins.stripe import thin

ROOT = Path(__file__).resolve().parent.parent
EVENTS = ROOT / "events"
RECORDED = ROOT / "tests" / "fixtures" / "stripe" / "2026-10-28"
SOURCE = "aws.partner/stripe.com/ed_test_61Example"
AT = "2026-11-01T10:00:00Z"

OF_THE_STORE: dict[str, dict[str, Any]] = {
    "AccessCodeRedeemed": {
        "grouptizer_id": "gz-1",
        "access_code": "ABCDEF123456",
        "product_id": "prod_1",
        "redeemed_at": AT,
        "expires_at": "2027-03-28",
        "telegram_user_id": "700001",
        "livemode": True,
    },
    "TelegramLinked": {
        "purchase_id": "code_ABCDEF123456",
        "telegram_user_id": "700002",
        "invite_links": {"-1001000000001": "https://t.me/+abc"},
    },
    "ProductChanged": {
        "product_id": "prod_1",
        "name": "Signals",
        "telegram_chat_ids": ["-1001000000001"],
        "deleted": False,
        "livemode": True,
    },
    "CustomerProfileChanged": {
        "grouptizer_id": "gz-1",
        "name": "Jane",
        "email": "jane@example.com",
        "avatar_url": "https://example.com/jane.png",
        "created_at": AT,
    },
}


def files() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every file: its path below ``events/``, and what it holds."""
    for kind in sorted(HANDLERS):
        event = json.loads((RECORDED / f"{kind}.json").read_text())
        yield f"stripe/snapshot/{kind}.json", event
        thin_kind = thin_type(kind)
        if thin_kind is not None:
            yield f"stripe/thin/{thin_kind}.json", _thin(event)
        at = datetime.fromtimestamp(event["created"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        yield f"stripe/eventbridge/{kind}.json", _envelope(SOURCE, kind, at, event)
    for kind in sorted(STORE_HANDLERS):
        detail = {"store_id": "demo", **OF_THE_STORE[kind]}
        yield f"store/{kind}.json", _envelope("grouptizer.store", kind, AT, detail)
        yield f"store/{kind}.schema.json", getattr(messages, kind).model_json_schema()


def _thin(event: dict[str, Any]) -> dict[str, Any]:
    stored = {**event, "account": event.get("account"), "object": event["data"]["object"]}
    return thin.notification(stored)


def _envelope(source: str, kind: str, at: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "6f1c9f9a-0000-0000-0000-000000000001",
        "detail-type": kind,
        "source": source,
        "account": "123456789012",
        "time": at,
        "region": "eu-central-1",
        "resources": [],
        "detail": detail,
    }


def text_of(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    for folder in ("stripe", "store"):
        shutil.rmtree(EVENTS / folder, ignore_errors=True)
    for path, content in files():
        file = EVENTS / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text_of(content))


if __name__ == "__main__":
    main()
