"""What an owner is answered while something else happens at Stripe."""

from __future__ import annotations

import pytest

from tests.faults.stateful import Everything


@pytest.mark.parametrize("boundary", range(20))
def test_an_end_that_the_buyer_takes_back_during_a_cancel_is_no_false_answer(boundary: int) -> None:
    run = Everything()
    name = run.first(product="prod_both", user="700002")
    run.deliver_all()
    run.portal_cancel(name=name)
    run.cancel_and_stop(name=name, number=boundary, when="period_end")
    run.portal_uncancel(name=name)
    run.go_on(dies=False)
    assert run.world.truth.violations == []
    run.teardown()
