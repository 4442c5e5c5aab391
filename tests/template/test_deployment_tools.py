"""The tools that deploy the template accept it, and the artefacts hold what they should."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.template.expanded import ROOT

TOOLS = ROOT / ".venv-deploy" / "bin"

pytestmark = [
    pytest.mark.skipif(not TOOLS.exists(), reason="`make test` installs the deployment tools"),
    pytest.mark.xdist_group("deployment-tools"),
]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "unused",
        "AWS_SECRET_ACCESS_KEY": "unused",
        "SAM_CLI_TELEMETRY": "0",
    }
    return subprocess.run(
        [str(TOOLS / command[0]), *command[1:]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def has_runtime() -> bool:
    found = subprocess.run(
        [ROOT / "tools" / "find-python"], capture_output=True, text=True, check=False
    ).stdout.strip()
    code = "import sys; sys.exit(sys.version_info[:2] != (3, 13))"
    return bool(found) and subprocess.run([found, "-c", code], check=False).returncode == 0


def test_cfn_lint_has_nothing_to_say() -> None:
    linted = run("cfn-lint", "template.yaml")
    assert (linted.returncode, linted.stdout) == (0, "")


def test_sam_finds_the_template_valid() -> None:
    validated = run("sam", "validate", "--lint")
    assert validated.returncode == 0, validated.stdout + validated.stderr


@pytest.mark.skipif(not has_runtime(), reason="sam build needs Python 3.13, which isn't installed")
def test_artefacts_are_exactly_the_code_and_the_layer_its_packages(tmp_path: Path) -> None:
    built = run("sam", "build", "--build-dir", str(tmp_path / "build"))
    assert built.returncode == 0, built.stdout + built.stderr

    function = tmp_path / "build" / "StripeWebhookFunction"
    assert {path.name for path in function.iterdir()} == {"functions", "shared"}
    packed = {
        str(path.relative_to(function))
        for path in function.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    source = {
        str(path.relative_to(ROOT))
        for package in ("functions", "shared")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert packed == source
    modules = [name for name in packed if name.endswith(".py")]
    for name in modules:
        module = function / name
        compiled = module.parent / "__pycache__" / f"{module.stem}.cpython-313.pyc"
        assert_unchecked_hash(compiled)

    layer = tmp_path / "build" / "PackagesLayer" / "python"
    assert {"stripe", "pydantic", "requests", "aws_lambda_powertools", "botocore"} <= {
        path.name for path in layer.iterdir()
    }
    (binary,) = (layer / "pydantic_core").glob("*.so")
    assert "cpython-313-aarch64" in binary.name
    assert_unchecked_hash(layer / "stripe" / "__pycache__" / "__init__.cpython-313.pyc")


def assert_unchecked_hash(compiled: Path) -> None:
    """PEP 552: a set first flag and no second means "by hash, and never compared"."""
    flags = int.from_bytes(compiled.read_bytes()[4:8], "little")
    assert flags == 0b01, compiled
