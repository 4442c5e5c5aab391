"""Events that are not as Stripe makes them: applied or parked, never an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from standins.stripe import StripeStandin
from tests.functions.stories import ACACIA, AT, Story
from tests.functions.webhook_world import World


@pytest.mark.parametrize("field_", ["amount", "amount_captured", "amount_refunded", "status"])
@pytest.mark.parametrize("wrong", ["x", [], {}, True, None])
def test_a_malformed_charge_of_an_older_version_is_applied_or_parked(
    field_: str, wrong: Any
) -> None:
    story = Story(ACACIA).charge("captured", amount_captured=600)
    story.events[0]["data"]["object"][field_] = wrong
    assert World(StripeStandin(now=AT)).receive(story.events[0]) in ("applied", "parked")


@pytest.mark.parametrize("name", ["account", "user_id"])
@pytest.mark.parametrize(
    "told",
    [["acct_1"], True, 7, {"id": "acct_1"}, "a" * 3000, "acct_" + "1" * 3000, "acct_\ud800", ""],
    ids=["list", "true", "number", "object", "long", "long account", "half a surrogate", "empty"],
)
def test_what_can_be_no_account_is_never_the_default_store(name: str, told: Any) -> None:
    story = Story().customer()
    event = {**story.events[0], name: told}
    world = World(StripeStandin(now=AT))
    assert world.receive(event) == "parked"
    assert world.sources("PROFILE") == {}
    (parked,) = world.parked.all(None)
    assert json.loads(parked.body) == event
    assert parked.reason == "no store has registered this account"
