"""The table of time budgets (shared/compose.py): it agrees with the template, and its sums hold."""

from __future__ import annotations

from typing import Any

import pytest

from shared.compose import BUDGETS, Budget, Composition
from shared.ending import removal
from shared.settings import Settings
from shared.storage.records import LEASE_SECONDS
from tests.policies import ROLES, granted
from tests.template.expanded import of_type

# API Gateway waits this long for a function:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
GATEWAY_SECONDS = 30
# A person gets an answer of a cancel within this time, whatever Stripe and Telegram do.
ANSWER_SECONDS = 10
OF_THE_API = ("list_customers", "get_customer", "cancel_purchase", "stripe_webhook")
CALLING = {name: budget for name, budget in BUDGETS.items() if budget.aws is not None}
# A cold start imports Stripe's SDK before the first request to Stripe.
COLD_START_SECONDS = 2.5
ASKING_STRIPE = {name: budget for name, budget in BUDGETS.items() if budget.stripe is not None}
ACTING = {name: budget for name, budget in BUDGETS.items() if budget.telegram is not None}


def functions() -> dict[str, dict[str, Any]]:
    """The properties of every function of the template, by the name of its folder."""
    found = [resource["Properties"] for resource in of_type("AWS::Lambda::Function").values()]
    return {properties["Handler"].split(".")[1]: properties for properties in found}


def test_every_function_of_the_template_has_a_budget_and_its_timeout() -> None:
    assert {name: f["Timeout"] for name, f in functions().items()} == {
        name: budget.timeout for name, budget in BUDGETS.items()
    }


@pytest.mark.parametrize("name", ROLES)
def test_a_function_may_call_the_services_its_role_allows_and_no_others(name: str) -> None:
    services = {action.split(":")[0] for action, _ in granted(name)}
    assert services == set(BUDGETS[name].services)


@pytest.mark.parametrize("name", BUDGETS)
def test_a_function_that_asks_stripe_or_telegram_has_their_secret_and_no_other_has(
    name: str,
) -> None:
    variables = functions()[name]["Environment"]["Variables"]
    assert ("STRIPE_API_SECRET_ARN" in variables) == (BUDGETS[name].stripe is not None)
    assert ("TELEGRAM_SECRET_ARN" in variables) == (BUDGETS[name].telegram is not None)


@pytest.mark.parametrize("name", CALLING)
def test_the_last_call_that_may_begin_ends_before_the_timeout(name: str) -> None:
    budget = CALLING[name]
    assert budget.aws is not None
    assert budget.act_within <= budget.begin_within
    assert budget.begin_within + budget.aws.longest_seconds < budget.timeout


@pytest.mark.parametrize("name", OF_THE_API)
def test_a_function_behind_the_api_ends_while_the_gateway_still_waits(name: str) -> None:
    assert BUDGETS[name].timeout <= GATEWAY_SECONDS


@pytest.mark.parametrize("name", ACTING)
def test_a_removal_that_began_in_time_is_recorded_in_time(name: str) -> None:
    budget = ACTING[name]
    overtime = 0.0 if name == "cancel_purchase" else removal.OVERTIME_SECONDS
    assert budget.aws is not None
    assert budget.act_within + overtime < budget.begin_within


def test_a_cancel_is_answered_within_ten_seconds_whatever_stripe_and_telegram_do() -> None:
    budget = BUDGETS["cancel_purchase"]
    assert budget.act_within < ANSWER_SECONDS - 1
    assert budget.telegram == removal.INTERACTIVE_CALL_SECONDS
    assert budget.stripe is not None
    assert budget.stripe.longest_seconds + budget.telegram <= budget.act_within


@pytest.mark.parametrize("name", ACTING)
def test_a_call_outside_ends_before_the_lease_it_is_made_under(name: str) -> None:
    budget = ACTING[name]
    assert budget.stripe is not None
    assert budget.telegram is not None
    assert max(budget.stripe.longest_seconds, budget.telegram) < LEASE_SECONDS
    assert budget.telegram in (removal.CALL_SECONDS, removal.INTERACTIVE_CALL_SECONDS)


@pytest.mark.parametrize("part", ["schedules", "stripe", "telegram"])
def test_a_function_gets_no_client_that_its_budget_does_not_allow(part: str) -> None:
    reading = Composition(BUDGETS["get_customer"], Settings({"RECORDS_TABLE": "records"}))
    with pytest.raises(RuntimeError):
        getattr(reading, part)


def test_a_call_takes_its_attempts_and_the_waits_between_them() -> None:
    budget = Budget(timeout=1, aws=BUDGETS["list_customers"].aws)
    assert budget.aws is not None
    assert budget.aws.longest_seconds == 2 * (1.0 + 1.5) + 1


@pytest.mark.parametrize("name", ASKING_STRIPE)
def test_a_cold_start_leaves_time_to_ask_stripe(name: str) -> None:
    budget = ASKING_STRIPE[name]
    assert budget.stripe is not None
    assert budget.begin_within - budget.stripe.longest_seconds > COLD_START_SECONDS


def test_the_webhook_answers_within_ten_seconds_whatever_stripe_does() -> None:
    # No request to Stripe lasts longer than until then, and nothing begins after it.
    assert BUDGETS["stripe_webhook"].begin_within < ANSWER_SECONDS
