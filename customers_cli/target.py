"""Which stack a command works on, and how it reaches it. This is the one place that decides it.

``--stack NAME`` (or ``STACK``) names a deployed CloudFormation stack, which is reached with the AWS
credentials and the region of the environment. Without it a command works on the local run, which
says in ``--data-dir`` (or ``DATA_DIR``) where it answers. Nothing falls back from one to the other.

Either way a command works with the environment of the stack's own revoker, so that nothing has to
be told twice. boto3 and the gateways are imported when they are needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from customers_cli.exits import Failure, Refused
from local.running import ACCOUNT, REGION, SECRET_KEY, Running, State
from shared.settings import Settings
from shared.tenant import Tenant

if TYPE_CHECKING:
    from shared.compose import Composition, Leaves

DATA_DIR = ".data"
REVOKER = "RevokerFunctionArn"


@dataclass(frozen=True, slots=True)
class Given:
    """The options that name a target, as they were typed; ``None``: not typed."""

    stack: str | None = None
    data_dir: Path | None = None
    region: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The target that was named.

    Attributes:
        stack: the deployed stack; ``None``: the local run.
        data_dir: folder of the local run, and of what a command keeps.
        region, profile: of AWS; ``None``: as boto3 finds them.
    """

    stack: str | None
    data_dir: Path
    region: str | None
    profile: str | None

    @property
    def is_local(self) -> bool:
        return self.stack is None

    @property
    def name(self) -> str:
        """What people call it, as far as it is known before AWS was asked."""
        return f"local run in {self.data_dir}" if self.is_local else f"stack {self.stack}"

    def running(self) -> State:
        """What the local run tells of itself; an empty state where nothing runs."""
        try:
            return Running(self.data_dir).read()
        except (ValueError, TypeError):
            file = self.data_dir / "running.json"
            raise Failure(f"{file} can't be read: start the local run again") from None


def choose(*given: Given, environ: Mapping[str, str] = os.environ) -> Choice:
    """The target that options name (before the command, after it), else the environment.

    Raises:
        Failure: the options contradict each other.
    """
    typed: dict[str, Any] = {}
    for option in (field.name for field in fields(Given)):
        values = [v for v in (getattr(one, option) for one in given) if v is not None]
        if len(set(values)) > 1:
            name = option.replace("_", "-")
            raise Failure(f"--{name} is given twice, as {values[0]} and as {values[1]}")
        typed[option] = next(iter(values), None)
    if typed["stack"] == "":
        raise Failure("--stack names no stack")
    stack = typed["stack"] or environ.get("STACK") or None
    if typed["data_dir"] is not None and typed["stack"] is None and stack is not None:
        # The folder was typed and the stack was not: the local run may be meant.
        raise Failure(f"STACK names the stack {stack}: name --stack too, or unset STACK")
    if stack is None and (typed["region"] or typed["profile"]):
        raise Failure("--region and --profile need --stack: the local run has neither")
    return Choice(
        stack,
        typed["data_dir"] or Path(environ.get("DATA_DIR") or DATA_DIR),
        typed["region"] or environ.get("AWS_REGION") or None,
        typed["profile"],
    )


@dataclass(frozen=True)
class Target:
    """A stack that was found.

    Attributes:
        choice: what was asked for.
        name: for people: "stack prod in eu-central-1", "local run in .data".
        aws: makes a client of an AWS service.
        outputs: of the stack.
    """

    choice: Choice
    name: str
    aws: Callable[[str], Any]
    outputs: Mapping[str, str]

    def output(self, name: str) -> str:
        """An output of the stack.

        Raises:
            Failure: it has none of this name.
        """
        if name not in self.outputs:
            raise Failure(f"The {self.name} has no output {name}: deploy this template first")
        return self.outputs[name]

    def variables_of(self, function: str) -> dict[str, str]:
        """The environment of one of the stack's functions."""
        told = self.aws("lambda").get_function_configuration(FunctionName=function)
        variables: dict[str, str] = told.get("Environment", {}).get("Variables", {})
        return variables

    @cached_property
    def settings(self) -> Settings:
        """The revoker's own settings: it has all that is needed to change anything."""
        revoker = self.output(REVOKER)
        return Settings({**self.variables_of(revoker), "REVOKER_ARN": revoker})

    def composition(self, **leaves: Any) -> Composition:
        """New gateways and records of the target; ``leaves`` replace fields of ``Leaves``."""
        from shared.compose import COMMAND, Composition, Leaves

        made: Leaves = Leaves(aws=self.aws, **leaves)
        return Composition(COMMAND, self.settings, made)

    @cached_property
    def parts(self) -> Composition:
        """Gateways and records of the target."""
        return self.composition()

    def require(self, tenant: Tenant) -> None:
        """Refuse a store that the target does not know.

        A store is known by its registration or, once that was removed, by its data.

        Raises:
            Refused: nothing is known of it.
        """
        parts = self.parts
        is_registered = (
            tenant.store_id == self.settings.default_store
            or parts.registry.of_store(tenant).account is not None
        )
        if is_registered:
            return
        for table, pk in (
            (parts.index_table, tenant.index_pk("I")),
            (parts.records_table, tenant.products_pk()),
        ):
            if table.query("pk = :pk", limit=1, pk=pk)[0]:
                return
        raise Refused(f"There is no store {tenant.store_id} in the {self.name}")

    def sweep(self) -> Any:
        """What the revoker did in a sweep that runs now.

        Raises:
            Failure: it failed.
        """
        answer = self.aws("lambda").invoke(FunctionName=self.output(REVOKER), Payload=b"{}")
        told = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            # Of a failure, the function tells Lambda no more than its type.
            why = ", ".join(
                str(told[name]) for name in ("errorType", "errorMessage") if name in told
            )
            raise Failure(f"The sweep failed ({why}): see the log of period-end-revoker")
        return told

    def kept(self, work: str, tenant: Tenant) -> Path:
        """The file that keeps how far some work on a store got; each target has its own."""
        name = work
        if not self.choice.is_local:
            _, _, _, region, account, *_ = self.output(REVOKER).split(":")
            name = f"{work}-{account}-{region}-{self.choice.stack}"
        self.choice.data_dir.mkdir(parents=True, exist_ok=True)
        return self.choice.data_dir / f"{name}-{tenant.store_id}.json"


def connect(choice: Choice) -> Target:
    """The target that was chosen; nothing is written.

    Raises:
        Failure: it is not there.
        botocore's errors: AWS could not be asked.
    """
    return _local(choice) if choice.stack is None else _deployed(choice, choice.stack)


def _local(choice: Choice) -> Target:
    running = choice.running()
    if running.aws_url is None or running.dynamodb_url is None:
        raise Failure(f"There is no {choice.name}: start one with `make run`, or name a --stack")
    if not running.ready:
        raise Failure(f"The {choice.name} is not ready: try again in a moment")
    urls = {"dynamodb": running.dynamodb_url}
    client = _clients(
        lambda service: {
            "endpoint_url": urls.get(service, running.aws_url),
            "aws_access_key_id": ACCOUNT,
            "aws_secret_access_key": SECRET_KEY,
        },
        region=REGION,
        proxies={},
    )
    target = Target(choice, choice.name, client, running.outputs)
    target.settings  # noqa: B018 - asked for now: the file may be left over from a run that was killed
    return target


def _deployed(choice: Choice, stack: str) -> Target:
    import boto3
    from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError

    session = boto3.session.Session(profile_name=choice.profile, region_name=choice.region)
    region = session.region_name
    if region is None:
        raise NoRegionError
    if session.get_credentials() is None:
        raise NoCredentialsError
    client = _clients(lambda _: {}, session=session, region=region)
    try:
        described = client("cloudformation").describe_stacks(StackName=stack)
    except ClientError as error:
        # CloudFormation has no other code for it.
        if error.response["Error"]["Code"] == "ValidationError":
            raise Failure(f"There is no stack {stack} in {region}") from None
        raise
    found = described["Stacks"][0]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", ())}
    # An ARN names a stack too; files are named by its plain name.
    choice = replace(choice, stack=found["StackName"])
    return Target(choice, f"{choice.name} in {region}", client, outputs)


def _clients(
    where: Callable[[str], dict[str, Any]],
    *,
    region: str,
    session: Any = None,
    proxies: dict[str, str] | None = None,
) -> Callable[[str], Any]:
    """A function that makes the client of a service once, with the times of a command."""
    import boto3
    from botocore.config import Config

    from shared.compose import BUDGETS, COMMAND

    # A sweep may take as long as its function may.
    longest_invocation = BUDGETS["period_end_revoker"].timeout + 10
    made: dict[str, Any] = {}
    session = session or boto3.session.Session()
    calls = COMMAND.aws
    assert calls is not None

    def client(service: str) -> Any:
        if service not in made:
            config = Config(
                connect_timeout=calls.connect,
                read_timeout=longest_invocation if service == "lambda" else calls.read,
                retries={"mode": "standard", "total_max_attempts": calls.attempts},
                max_pool_connections=20,
                proxies=proxies,
            )
            made[service] = session.client(
                service, region_name=region, config=config, **where(service)
            )
        return made[service]

    return client
