"""Recorded shapes of Stripe's events, and what the API must tell after them.

Each file of ``tests/fixtures/cases`` is one case: its events, why the answer is right, and the
fields that must be so, by Stripe's ids; ``null``: it must not be shown. In every other order they
are told by ``test_every_history.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.functions.answers import differences
from tests.functions.recorded import CASES, events_of
from tests.functions.shop import Shop
from tests.functions.webhook_world import signed


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_recorded_events_are_told_right(shop: Shop, case: Path) -> None:
    events, expect = events_of(case)
    for event in events:
        body = json.dumps(event).encode()
        assert shop.receive(body, {"Stripe-Signature": signed(body)}) == 200, event["type"]
    _, page = shop.get("/v1/customers", "limit=100")
    details = [shop.get(f"/v1/customers/{c['customer_id']}")[1] for c in page["items"]]
    shown = [{**detail, "transactions": detail["transactions"]["items"]} for detail in details]
    assert differences(shown, expect) == []
