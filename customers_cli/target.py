"""Whose tables and secrets an operator's command works on.

``STACK=name``: a deployed CloudFormation stack, with the AWS credentials of the environment. Else
the local stack that runs in ``DATA_DIR``. Either way a command works in the environment of the
stack's own revoker, so that nothing has to be told twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local.deploy import Aws
from local.running import Running
from local.stack import REVOKER
from shared.settings import Settings
from shared.storage.dynamo import Table
from shared.storage.secrets import Secrets


class NothingRuns(Exception):
    """There is no stack to work on."""


@dataclass(frozen=True)
class Deployment:
    """A stack.

    Attributes:
        client: makes a client of an AWS service.
        settings: as the revoker has them.
    """

    client: Callable[[str], Any]
    settings: Settings

    @property
    def records(self) -> Table:
        return Table(self.client("dynamodb"), self.settings.records_table)

    @property
    def index(self) -> Table:
        return Table(self.client("dynamodb"), self.settings.index_table)

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.client("secretsmanager"))

    def sweep(self) -> Any:
        """Run the sweep once and wait for what it did.

        Raises:
            RuntimeError: it failed.
        """
        answer = self.client("lambda").invoke(FunctionName=self.settings.revoker_arn, Payload=b"{}")
        done = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            raise RuntimeError(f"the sweep failed: {done}")
        return done


def connect(environ: Mapping[str, str] = os.environ) -> Deployment:
    """The stack that ``STACK`` or ``DATA_DIR`` names.

    Raises:
        NothingRuns: neither does.
    """
    stack = environ.get("STACK")
    if stack:
        # A sweep may take as long as its function may.
        patient = Config(read_timeout=310, retries={"mode": "standard"})
        client: Callable[[str], Any] = partial(boto3.session.Session().client, config=patient)
        found = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}
    else:
        running = Running(data_dir(environ)).read()
        if running.aws_url is None or running.dynamodb_url is None or not running.ready:
            raise NothingRuns("Nothing is running: start it with `make run`, or name a STACK.")
        client = Aws(url=running.aws_url, dynamodb_url=running.dynamodb_url).client
        outputs = running.outputs
    configuration = client("lambda").get_function_configuration(FunctionName=outputs[REVOKER])
    variables = {**configuration["Environment"]["Variables"], "REVOKER_ARN": outputs[REVOKER]}
    return Deployment(client, Settings(variables))


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of what a command keeps."""
    return Path(environ.get("DATA_DIR") or ".data")
