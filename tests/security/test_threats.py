"""docs/security.md names tests that exist, for every row of the OWASP API Security Top 10."""

from __future__ import annotations

import ast
import re

import pytest

from tests.template.expanded import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
ROWS = re.findall(r"^\| (API\d+) .*\|$", PAGE, re.MULTILINE)


def named(line: str) -> list[tuple[str, str]]:
    """(file, test) of a line: ``path``: ``name``, ``name``; ``path``: ``name``."""
    found, file = [], ""
    for text in re.findall(r"`([^`]+)`", line):
        if text.startswith("tests/"):
            file = text
        elif text.startswith("test_"):
            found.append((file, text))
    return found


def test_every_row_of_the_top_ten_of_2023_is_there() -> None:
    assert [f"API{number}" for number in range(1, 11)] == ROWS


@pytest.mark.parametrize(
    "row", [line for line in PAGE.splitlines() if line.startswith("| ") and "`tests/" in line]
)
def test_a_threats_tests_exist(row: str) -> None:
    tests = named(row)
    assert tests
    for file, name in tests:
        tree = ast.parse((ROOT / file).read_text())
        assert name in {f.name for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}, file


def test_no_row_is_without_a_test() -> None:
    tables = [
        line for line in PAGE.splitlines() if line.startswith("| ") and "shown by" not in line
    ]
    assert [line for line in tables if not named(line)] == []
