"""Which target is meant, and what is asked of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from customers_cli.exits import Failure
from customers_cli.target import REVOKER, Choice, Given, Target, choose
from shared.tenant import Tenant

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:prod-period-end-revoker"


def test_without_a_name_it_is_the_local_run_in_the_usual_folder() -> None:
    choice = choose(Given(), Given(), environ={"STACK": "", "DATA_DIR": ""})
    assert choice == Choice(None, Path(".data"), None, None)
    assert choice.name == "local run in .data"


def test_the_environment_names_what_no_option_names() -> None:
    environ = {"STACK": "prod", "DATA_DIR": "/kept", "AWS_REGION": "eu-central-1"}
    assert choose(Given(), environ=environ) == Choice("prod", Path("/kept"), "eu-central-1", None)
    given = Given("staging", Path("/mine"), "eu-west-1", "me")
    assert choose(Given(), given, environ=environ) == Choice(
        "staging", Path("/mine"), "eu-west-1", "me"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Given(stack="one"), Given(stack="two")),
        (Given(data_dir=Path("/one")), Given(data_dir=Path("/two"))),
        (Given(stack=""), Given()),
        (Given(), Given(region="eu-central-1")),
        (Given(profile="me"), Given()),
    ],
)
def test_options_that_contradict_each_other_are_refused(before: Given, after: Given) -> None:
    with pytest.raises(Failure):
        choose(before, after, environ={})


class Lambda:
    """A Lambda whose function fails."""

    def invoke(self, **_: Any) -> dict[str, Any]:
        told = {"errorType": "InvocationFailed", "errorMessage": "ClientError", "stackTrace": ["?"]}
        return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(told).encode())}


def target(stack: str | None, folder: Path) -> Target:
    choice = Choice(stack, folder, None, None)
    return Target(choice, choice.name, lambda _: Lambda(), {REVOKER: ARN})


def test_a_typed_folder_does_not_lead_to_a_stack_of_the_environment() -> None:
    """Whoever types the folder of the local run must not change a deployment."""
    typed = Given(data_dir=Path("/run"))
    with pytest.raises(Failure, match="STACK names the stack prod"):
        choose(typed, environ={"STACK": "prod"})
    named = Given(stack="prod", data_dir=Path("/run"))
    assert choose(named, environ={"STACK": "staging"}).stack == "prod"
    assert choose(typed, environ={}).is_local


def test_a_sweep_that_fails_is_told_with_its_kind(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"The sweep failed \(InvocationFailed, ClientError\)"):
        target("prod", tmp_path).sweep()


def test_unfinished_work_of_every_target_has_a_file_of_its_own(tmp_path: Path) -> None:
    demo, other = Tenant("demo"), Tenant("other")
    made = {
        target(stack, tmp_path).kept(work, tenant).name
        for stack in (None, "prod", "staging")
        for work in ("backfill", "reindex")
        for tenant in (demo, other)
    }
    assert len(made) == 12
    assert "backfill-demo.json" in made
    assert "reindex-123456789012-eu-central-1-prod-demo.json" in made
