"""Every command, and everything that may keep it from its work: its exit code, one sentence on
stderr, no traceback, nothing written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stripe

from customers_cli import command, explain
from customers_cli.backfill import Backfill
from customers_cli.exits import Exit, Failure
from customers_cli.stripe_http import PacedClient
from customers_cli.target import Choice, Target
from local.running import Running, State
from local.stack import Stack
from shared.domain.errors import TryAgainLater
from tests.customers_cli.conftest import PLACES
from tests.customers_cli.invoking import CALLS, call, customers, files_in

KEYS = {"AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "none-of-yours"}
DEAD = "http://127.0.0.1:9"

# Commands that take a store, by where an unknown one shows.
OF_STORES = [name for name in CALLS if CALLS[name][:1] in (("nobody",), ("demo",))]
OF_KNOWN_STORES = [name for name in OF_STORES if name not in ("token", "store add")]
OF_CUSTOMERS = ("export", "forget")
# Neither asks AWS anything, wherever it is pointed to.
WITHOUT_AWS = ("token",)


class _Aws(BaseHTTPRequestHandler):
    """An AWS that answers every request with one error."""

    code = ""

    def do_POST(self) -> None:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{self.code}</Code>"
            "<Message>arn:aws:iam::123456789012:user/ada@example.com may not</Message></Error>"
            "</ErrorResponse>"
        ).encode()
        self.send_response(403)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """The address of an AWS that refuses everything; ``_Aws.code`` says how."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's waits between two attempts are not what is tried here."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


@dataclass(frozen=True)
class Kind:
    """A way in which a command can't reach what it is to work on.

    Attributes:
        environment: of the command, from the data folder and the address of the refusing AWS.
        says: part of the sentence; for ``token`` it is about the login where a stack is named.
        code: what the AWS refuses everything with.
        running: what the local run in the data folder tells of itself.
    """

    says: str
    environment: Callable[[str], dict[str, str]]
    code: str = ""
    running: State | str | None = None


def _stack(aws: str, **more: str) -> dict[str, str]:
    return {"STACK": "prod", "AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": aws, **more}


def _refusing(code: str, says: str) -> Kind:
    return Kind(says, lambda aws: _stack(aws, **KEYS), code)


KINDS: dict[str, Kind] = {
    "no local run": Kind("There is no local run in ", lambda _: {}),
    "a local run that starts": Kind(
        "is not ready", lambda _: {}, running=State(aws_url=DEAD, dynamodb_url=DEAD)
    ),
    "a local run that has died": Kind(
        "does not answer: start it",
        lambda _: {},
        running=State(
            port=9,
            ready=True,
            aws_url=DEAD,
            dynamodb_url=DEAD,
            outputs={"RevokerFunctionArn": "arn:aws:lambda:us-east-1:0:function:x"},
        ),
    ),
    "a file that can't be read": Kind("can't be read", lambda _: {}, running="{"),
    "no credentials": Kind("There are no AWS credentials", _stack),
    "half of the credentials": Kind(
        "There are no AWS credentials",
        lambda aws: _stack(aws, AWS_ACCESS_KEY_ID=KEYS["AWS_ACCESS_KEY_ID"]),
    ),
    "no region": Kind("There is no AWS region", lambda _: {"STACK": "prod", **KEYS}),
    "no such profile": Kind(
        "There is no such AWS profile", lambda aws: _stack(aws, AWS_PROFILE="nobody")
    ),
    "no such stack": _refusing("ValidationError", "There is no stack prod in eu-central-1"),
    "expired credentials": _refusing("ExpiredToken", "have expired: log in again"),
    "credentials that AWS does not know": _refusing("InvalidClientTokenId", "does not accept"),
    "access denied": _refusing("AccessDenied", "does not allow these credentials to call Descr"),
    "another refusal": _refusing("Throttled", "answers DescribeStacks on the stack prod with"),
    "AWS unreachable": Kind("AWS does not answer", lambda _: _stack(DEAD, **KEYS)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_a_target_that_cannot_be_reached_ends_every_command(
    name: str, kind: str, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = KINDS[kind]
    monkeypatch.setattr(_Aws, "code", what.code)
    if isinstance(what.running, State):
        Running(tmp_path).write(what.running)
    elif what.running is not None:
        (tmp_path / "running.json").write_text(what.running)
    before = files_in(tmp_path)
    environment = what.environment(aws)
    ran = customers(*call(name), DATA_DIR=str(tmp_path), **environment)
    assert (ran.code, ran.out) == (Exit.COULD_NOT_RUN, "")
    says = what.says
    if name == "token" and "STACK" in environment:
        says = "are made by its login"
    elif name == "token" and isinstance(what.running, State):
        says = "There is no local run"  # it has no key yet, and asks nobody
    elif name == "console deploy" and "STACK" not in environment:
        says = "name a deployed --stack"
    assert says in ran.sentence
    assert ran.target is None
    assert not any(key in ran.sentence for key in KEYS.values())
    assert files_in(tmp_path) == before


# -- arguments -------------------------------------------------------------------------------------

BAD: dict[str, Callable[[str], tuple[str, ...] | None]] = {
    "an unknown option": lambda name: (*call(name), "--nope"),
    "an argument too many": lambda name: (*call(name), "more"),
    "an argument too few": lambda name: call(name)[:-1] if CALLS[name] else None,
    "a store that can't be one": lambda name: (
        (*name.split(), "a#b", *CALLS[name][1:]) if name in OF_STORES else None
    ),
    "an account that can't be one": lambda name: (
        (*name.split(), "demo", "o@example") if name == "store add" else None
    ),
    "a rate that is none": lambda name: (
        (*call(name), "--rate", "0") if name in ("backfill", "replay") else None
    ),
    "an option without its value": lambda name: (*call(name), "--stack"),
    "an empty name of a stack": lambda name: (*call(name), "--stack", ""),
    "two stacks": lambda name: ("--stack", "one", *call(name), "--stack", "two"),
    "a region without a stack": lambda name: (*call(name), "--region", "eu-central-1"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", CALLS)
def test_bad_arguments_end_every_command(name: str, kind: str, tmp_path: Path) -> None:
    arguments = BAD[kind](name)
    if arguments is None:
        return
    ran = customers(*arguments, DATA_DIR=str(tmp_path))
    assert (ran.code, ran.out) == (Exit.COULD_NOT_RUN, "")
    assert ran.sentence
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("arguments", [("swep",), ("store",), ("bot", "sleep"), ("--nope",)])
def test_what_is_no_command_is_told_in_one_sentence(arguments: tuple[str, ...]) -> None:
    ran = customers(*arguments)
    assert (ran.code, ran.out) == (Exit.COULD_NOT_RUN, "")
    assert "--help)" in ran.sentence


@pytest.mark.parametrize("name", ["", "store", "bot", "console", *CALLS])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(name: str, option: str) -> None:
    ran = customers(*name.split(), option)
    assert (ran.code, ran.err) == (Exit.DONE, [])
    assert ran.out.startswith(f"Usage: customers {name}".rstrip())
    assert "--stack NAME" in ran.out


def test_without_a_command_the_help_says_which_there_are() -> None:
    ran = customers()
    assert (ran.code, ran.out) == (Exit.COULD_NOT_RUN, "")
    assert ran.err[0].startswith("Usage: customers")


# -- data ------------------------------------------------------------------------------------------


def _items(stack: Stack, part: str) -> list[str]:
    found = []
    for table in ("RecordsTableName", "CustomerIndexTableName"):
        pages = (
            stack.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=stack.outputs[table], ConsistentRead=True)
        )
        items = (json.dumps(item, default=sorted) for page in pages for item in page["Items"])
        found += [item for item in items if part in item]
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OF_KNOWN_STORES)
def test_an_unknown_store_is_not_worked_on(
    stack: Stack, cli_folder: Path, place: str, name: str
) -> None:
    environment = PLACES[place](stack, cli_folder)
    before = files_in(cli_folder)
    ran = customers(*name.split(), "nobody", *CALLS[name][1:], **environment)
    assert (ran.code, ran.out, ran.target) == (Exit.FOUND, "", None)
    assert "no store nobody" in ran.sentence or "nobody is not registered" in ran.sentence
    assert _items(stack, "nobody") == []
    assert files_in(cli_folder) == before
    assert not list(stack.data_dir.glob(f"{name}-*"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OF_CUSTOMERS)
def test_an_unknown_customer_is_not_named(
    stack: Stack, cli_folder: Path, place: str, name: str
) -> None:
    ran = customers(name, "demo", "ada@example.com", **PLACES[place](stack, cli_folder))
    assert (ran.code, ran.out, ran.target) == (Exit.FOUND, "", None)
    assert ran.sentence == "The store demo has no customer with this id."


# -- stopped, and services that fail on the way ----------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_ends_every_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> Choice:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "choose", stop)
    ran = customers(*call(name), DATA_DIR=str(tmp_path))
    assert (ran.code, ran.out) == (Exit.STOPPED, "")
    assert ran.sentence == "Stopped; nothing was done."
    assert files_in(tmp_path) == {}


def test_ctrl_c_before_a_command_is_loaded_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("customers_cli.app.importlib.import_module", stop)
    ran = customers("sweep")
    assert (ran.code, ran.sentence) == (Exit.STOPPED, "Stopped; nothing was done.")


RESUMED = "it goes on where it stopped when it is run again."


def test_ctrl_c_in_the_middle_says_how_to_go_on(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: Backfill) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Backfill, "run", stop)
    ran = customers("backfill", "demo", DATA_DIR=str(stack.data_dir))
    assert (ran.code, ran.sentence) == (Exit.STOPPED, f"Stopped; {RESUMED}")


@pytest.mark.parametrize("name", ["backfill", "replay"])
def test_a_stripe_that_does_not_answer_is_told(
    stack: Stack, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise stripe.APIConnectionError("sk_live_secret")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(PacedClient, "request", fail)
    ran = customers(name, "demo", DATA_DIR=str(stack.data_dir))
    assert (ran.code, ran.out) == (Exit.COULD_NOT_RUN, "")
    assert ran.sentence.startswith("Stripe could not be reached")
    assert ran.sentence.endswith("it is run again." if name == "backfill" else "what is left.")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Failure("The sweep failed"), "The sweep failed."),
        (TryAgainLater(), "A service we depend on is unavailable."),
        (PermissionError(13, "Permission denied", "/data"), "/data: Permission denied."),
        (RuntimeError("a secret is not a JSON object"), "is not complete: a secret is not a JSON"),
        (KeyError("ada@example.com"), "The command has a fault: KeyError at test_failures.py:"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_sweep_meets_is_one_sentence(
    stack: Stack, error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Target) -> Any:
        raise error

    monkeypatch.setattr(Target, "sweep", fail)
    ran = customers("sweep", DATA_DIR=str(stack.data_dir))
    assert (ran.code, ran.out) == (Exit.COULD_NOT_RUN, "")
    assert says.removesuffix(".") in ran.sentence


def test_a_stack_of_another_template_is_no_target(
    stack: Stack, cli_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customers_cli.target.REVOKER", "AnotherFunctionArn")
    ran = customers("sweep", **PLACES["deployed"](stack, cli_folder))
    assert ran.code == Exit.COULD_NOT_RUN
    assert "has no output AnotherFunctionArn" in ran.sentence
    assert explain.explain(ValueError(), is_local=True, target="x").startswith("The command has")


@pytest.mark.parametrize(
    "told", [{"failed": 1, "finished": True}, {"failed": 0, "finished": False}]
)
def test_a_sweep_that_left_something_found_something_wrong(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    monkeypatch.setattr(Target, "sweep", lambda _: told)
    ran = customers("sweep", DATA_DIR=str(stack.data_dir))
    assert (ran.code, json.loads(ran.out)) == (1, told)
