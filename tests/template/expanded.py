"""template.yaml as CloudFormation gets it: expanded by the SAM transform, as on AWS."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent.parent
TEMPLATE = ROOT / "template.yaml"
CONSOLE = "https://console.example"

Resources = dict[str, dict[str, Any]]


class _NoManagedPolicies:
    """What the transform asks for the names of AWS's managed policies; the template uses none."""

    def load(self) -> dict[str, str]:
        return {}


@cache
def resources() -> Resources:
    """All resources, with code locations as after packaging."""
    source = yaml_parse(TEMPLATE.read_text())
    source["Globals"]["Function"]["CodeUri"] = "s3://bucket/functions.zip"
    source["Resources"]["PackagesLayer"]["Properties"]["ContentUri"] = "s3://bucket/layer.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        parameters = {"ConsoleOrigin": CONSOLE}
        expanded: Resources = transform(source, parameters, _NoManagedPolicies())["Resources"]
    return expanded


def of_type(kind: str) -> Resources:
    return {name: r for name, r in resources().items() if r["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = resources()[name]["Properties"]
    return found


def functions() -> dict[str, dict[str, Any]]:
    """Properties of the functions by their name without the stack's."""
    return {
        r["Properties"]["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): r[
            "Properties"
        ]
        for r in of_type("AWS::Lambda::Function").values()
    }


def statements(role: str) -> Iterator[dict[str, Any]]:
    """Every statement of a role's policies."""
    for policy in properties(role)["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
