"""Who may import whom."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.py")
)
FUNCTIONS = sorted(path.name for path in (ROOT / "functions").iterdir() if path.is_dir())


@cache
def imports(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def importers(package: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name == package or name.startswith(f"{package}.") for name in imports(path))
    }


def test_the_rules_know_nothing_of_aws_http_stripe_or_telegram() -> None:
    foreign = ("boto3", "botocore", "aws_lambda_powertools", "stripe", "requests", "pydantic")
    for package in (*foreign, "shared.storage", "shared.integrations", "shared.http", "functions"):
        assert not {path for path in importers(package) if path.startswith("shared/domain/")}


def test_only_the_gateway_imports_stripe() -> None:
    known = {"functions/stripe_webhook/signature.py"}
    assert importers("stripe") - known <= {"shared/integrations/stripe_gateway.py"}


def test_only_the_gateway_imports_requests() -> None:
    assert importers("requests") == {"shared/integrations/telegram_gateway.py"}


@pytest.mark.parametrize("package", ["boto3", "botocore"])
def test_only_storage_speaks_to_aws(package: str) -> None:
    assert {path for path in importers(package) if not path.startswith("shared/storage/")} == set()


def test_shared_code_imports_no_function() -> None:
    assert {path for path in importers("functions") if path.startswith("shared/")} == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_import_no_other_function(name: str) -> None:
    for other in FUNCTIONS:
        if other != name:
            allowed = importers(f"functions.{other}")
            assert not {path for path in allowed if path.startswith(f"functions/{name}/")}


def test_only_the_settings_read_the_environment() -> None:
    readers = {str(path.relative_to(ROOT)) for path in SOURCES if "environ" in path.read_text()}
    assert readers == {"shared/settings.py"}
