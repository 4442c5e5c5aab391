"""Deploys template.yaml to the local AWS (ministack), as ``sam deploy`` does to the real one.

What ministack 1.5.33 leaves out of a deployment is added here, always from the processed
template, so that what runs is what the template says:

- the routes and the authorizer of an HTTP API given as an OpenAPI body (CORS stays away: console
  and API have one origin here);
- tables in the local DynamoDB that keeps its data (ministack makes them in its own memory).
"""

from __future__ import annotations

import compileall
import io
import json
import py_compile
import re
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse

from local.running import ACCOUNT, REGION, SECRET_KEY

STACK = "customers"

_BUCKET = "artefacts"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


@dataclass(frozen=True)
class Aws:
    """Clients of the local AWS.

    Attributes:
        url: of ministack.
        dynamodb_url: of dynoxide.
    """

    url: str
    dynamodb_url: str

    def client(self, service: str, *, url: str | None = None) -> Any:
        """A boto3 client; DynamoDB's speaks to the one that keeps the data."""
        if url is None:
            url = self.dynamodb_url if service == "dynamodb" else self.url
        with _session_lock:
            return _session().client(
                service,
                region_name=REGION,
                endpoint_url=url,
                aws_access_key_id=ACCOUNT,
                aws_secret_access_key=SECRET_KEY,
                config=Config(retries={"max_attempts": 1}, proxies={}, read_timeout=310),
            )


_session_lock = threading.Lock()


@cache
def _session() -> Any:
    """One for all clients: it keeps the models of the services, which take long to read. It is no
    session to make clients of in several threads at once."""
    return boto3.session.Session()


@dataclass(frozen=True)
class Deployed:
    api_id: str
    outputs: dict[str, str]


def deploy(
    aws: Aws, *, root: Path, parameters: Mapping[str, str], secrets: Mapping[str, Any]
) -> Deployed:
    """Deploy the template of a checkout to an empty local AWS.

    Args:
        aws: where to.
        root: folder with template.yaml, functions/ and shared/.
        parameters: of the template.
        secrets: output name of a secret's ARN to the JSON to put there.

    Raises:
        RuntimeError: the deployment failed; the message says at which resource.
    """
    # By way of S3, as every deployment of more than 51,200 bytes of template.
    body = json.dumps(_packaged(aws, root))
    aws.client("s3").put_object(Bucket=_BUCKET, Key="template.json", Body=body.encode())
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK,
        TemplateURL=f"{aws.url}/{_BUCKET}/template.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
    )
    stack = _wait(cloudformation)
    physical = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    }
    processed = cloudformation.get_template(StackName=STACK, TemplateStage="Processed")
    body = processed["TemplateBody"]
    resources = (json.loads(body) if isinstance(body, str) else body)["Resources"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    api_id = _complete_api(aws, resources, physical, parameters)
    for name, resource in resources.items():
        if resource["Type"] == "AWS::DynamoDB::Table":
            _copy_table(aws, physical[name])
    secretsmanager = aws.client("secretsmanager")
    for output, value in secrets.items():
        secretsmanager.put_secret_value(SecretId=outputs[output], SecretString=json.dumps(value))
    return Deployed(api_id, outputs)


def _packaged(aws: Aws, root: Path) -> dict[str, Any]:
    """The template with the code in the local S3, as ``aws cloudformation package`` leaves it.

    The layer is left out: it holds ARM packages, and the functions run on this environment's. What
    they send to AWS is checked first: the local one takes more than the real one does.
    """
    template: dict[str, Any] = yaml_parse((root / "template.yaml").read_text())
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=_BUCKET)
    s3.put_object(Bucket=_BUCKET, Key="functions.zip", Body=_artefact(root))
    defaults = template["Globals"]["Function"]
    defaults["CodeUri"] = {"Bucket": _BUCKET, "Key": "functions.zip"}
    del defaults["Layers"]
    defaults["Environment"]["Variables"]["VALIDATE_REQUESTS"] = "true"
    # Locally an end settles for seconds, so that somebody who tries it can watch.
    template["Parameters"]["SettleSeconds"].pop("MinValue")
    template["Resources"] = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] != "AWS::Serverless::LayerVersion"
    }
    # ministack takes every schedule for one of the default group when it looks at policies.
    group = ":schedule/${ScheduleGroup}/*"
    adapted: dict[str, Any] = json.loads(json.dumps(template).replace(group, ":schedule/default/*"))
    return adapted


def _artefact(root: Path) -> bytes:
    """functions/ and shared/ as a zip, compiled: each worker starts from a fresh copy."""
    with tempfile.TemporaryDirectory() as directory:
        for package in ("functions", "shared"):
            shutil.copytree(
                root / package,
                Path(directory) / package,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        compileall.compile_dir(
            directory,
            quiet=2,
            stripdir=directory,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(Path(directory).rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(directory))
        return packed.getvalue()


def _wait(cloudformation: Any, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        status = stack["StackStatus"]
        if status == "CREATE_COMPLETE":
            return stack
        if not status.endswith("IN_PROGRESS") or time.monotonic() > deadline:
            events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
            reasons = [
                f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
                for event in events
                if event["ResourceStatus"].endswith("FAILED") and event.get("ResourceStatusReason")
            ]
            raise RuntimeError(f"the deployment is {status}: {'; '.join(reasons) or 'no reason'}")
        time.sleep(0.1)


# -- the HTTP API ----------------------------------------------------------------------------------


def _complete_api(
    aws: Aws,
    resources: Mapping[str, Any],
    physical: Mapping[str, str],
    parameters: Mapping[str, str],
) -> str:
    """Add to the API what its OpenAPI body says; the API's id is returned."""
    name = next(n for n, r in resources.items() if r["Type"] == "AWS::ApiGatewayV2::Api")
    api_id = physical[name]
    body = resources[name]["Properties"]["Body"]
    gateway = aws.client("apigatewayv2")
    authorizers = {
        scheme: gateway.create_authorizer(
            ApiId=api_id,
            Name=scheme,
            AuthorizerType="JWT",
            IdentitySource=[definition["x-amazon-apigateway-authorizer"]["identitySource"]],
            JwtConfiguration=_jwt_configuration(definition, parameters),
        )["AuthorizerId"]
        for scheme, definition in body["components"]["securitySchemes"].items()
    }
    integrations: dict[str, str] = {}
    for path, method, operation in _operations(body):
        function = _function_of(operation)
        if function not in integrations:
            integrations[function] = gateway.create_integration(
                ApiId=api_id,
                IntegrationType="AWS_PROXY",
                IntegrationUri=(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{physical[function]}"),
                PayloadFormatVersion="2.0",
            )["IntegrationId"]
        route: dict[str, Any] = {
            "ApiId": api_id,
            "RouteKey": f"{method.upper()} {path}",
            "Target": f"integrations/{integrations[function]}",
        }
        schemes = [scheme for entry in operation.get("security", []) for scheme in entry]
        schemes = [scheme for scheme in schemes if scheme != "NONE"]
        if schemes:
            route |= {"AuthorizationType": "JWT", "AuthorizerId": authorizers[schemes[0]]}
        gateway.create_route(**route)
    return api_id


def _operations(body: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            if method in _METHODS:
                yield path, method, operation


def _function_of(operation: Mapping[str, Any]) -> str:
    """Logical id of the function that an operation is integrated with."""
    uri = operation["x-amazon-apigateway-integration"]["uri"]
    found = re.search(r"\$\{(\w+)\.Arn\}", json.dumps(uri))
    if found is None:
        raise RuntimeError(f"an integration of the API names no function: {uri}")
    return found.group(1)


def _jwt_configuration(
    definition: Mapping[str, Any], parameters: Mapping[str, str]
) -> dict[str, Any]:
    configuration = definition["x-amazon-apigateway-authorizer"]["jwtConfiguration"]

    def value(given: Any) -> str:
        if isinstance(given, dict) and "Fn::If" in given:
            given = given["Fn::If"][2]  # no user pool: here an issuer is always given
        return parameters[given["Ref"]] if isinstance(given, dict) else str(given)

    return {
        "Issuer": value(configuration["issuer"]),
        "Audience": [value(audience) for audience in configuration["audience"]],
    }


# -- the tables ------------------------------------------------------------------------------------


def _copy_table(aws: Aws, name: str) -> None:
    """Make a table that CloudFormation made in the DynamoDB that keeps its data, if it is new."""
    wanted = aws.client("dynamodb", url=aws.url).describe_table(TableName=name)["Table"]
    dynamodb = aws.client("dynamodb")
    indexes = [
        {key: index[key] for key in ("IndexName", "KeySchema", "Projection")}
        for index in wanted.get("GlobalSecondaryIndexes", [])
    ]
    definition: dict[str, Any] = {
        "TableName": name,
        "AttributeDefinitions": wanted["AttributeDefinitions"],
        "KeySchema": wanted["KeySchema"],
        "BillingMode": "PAY_PER_REQUEST",
    }
    if indexes:
        definition["GlobalSecondaryIndexes"] = indexes
    try:
        dynamodb.create_table(**definition)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":
            raise
        kept = dynamodb.describe_table(TableName=name)["Table"]
        have = {index["IndexName"] for index in kept.get("GlobalSecondaryIndexes", [])}
        for index in indexes:
            if index["IndexName"] not in have:
                dynamodb.update_table(
                    TableName=name,
                    AttributeDefinitions=wanted["AttributeDefinitions"],
                    GlobalSecondaryIndexUpdates=[{"Create": index}],
                )
