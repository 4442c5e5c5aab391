"""What is read from Stripe's lists adds up to what was moved, too."""

from __future__ import annotations

import logging

import pytest

from customers_cli.backfill import Backfill
from shared.integrations.stripe_gateway import Mode
from standins.stripe import StripeStandin
from tests.functions.movements import Told
from tests.functions.test_sums import HISTORIES, check
from tests.functions.webhook_world import STORE, World


def from_lists(_: Told, standin: StripeStandin) -> World:
    """Read by the backfill, without any event."""
    world = World(standin)
    assert Backfill(STORE, world.services, [Mode(True)], workers=1).run().left_out == {}
    return world


def test_rows_that_were_read_from_lists_add_up_to_what_was_moved(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="tests")
    check(range(HISTORIES), [from_lists])
