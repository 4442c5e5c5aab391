"""Who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.py")
)
STANDINS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "standins").rglob("*.py"))
}
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


# --- the stand-ins: Stripe and Telegram as others would have written them ---------------------


def test_stand_ins_import_nothing_of_the_project() -> None:
    own = ("functions", "shared", "local", "customers_cli", "tests", "bench", "tools")
    assert not [
        (module, name)
        for module, path in STANDINS.items()
        for name in imports(path)
        if name.partition(".")[0] in own
    ]


def imported_stand_ins(path: Path) -> set[str]:
    """The modules of the stand-ins a module imports, in whatever place, for types alone as well."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in STANDINS else str(node.module))
    return found & set(STANDINS)


def circle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """A way through the graph that ends where it began; empty where there is none."""
    finished: set[str] = set()

    def walk(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node not in finished:
            for following in sorted(graph[node]):
                if found := walk(following, [*way, node]):
                    return found
            finished.add(node)
        return []

    return next((found for node in sorted(graph) if (found := walk(node, []))), [])


def test_a_circle_is_found() -> None:
    assert circle({"a": ["b"], "b": ["c", "d"], "c": ["d"], "d": []}) == []
    assert circle({"a": ["b"], "b": ["c"], "c": ["d", "b"], "d": []}) == ["b", "c", "b"]


def test_no_import_circle_in_the_stand_ins() -> None:
    graph = {module: imported_stand_ins(path) for module, path in STANDINS.items()}
    assert any(graph.values())
    assert circle(graph) == []


def nodes_of_stand_ins() -> Iterator[tuple[str, ast.AST]]:
    for module, path in STANDINS.items():
        for node in ast.walk(ast.parse(path.read_text())):
            yield module, node


def test_no_class_of_the_stand_ins_has_more_than_one_base_of_theirs() -> None:
    bases = {
        node.name: [ast.unparse(base).rpartition(".")[2] for base in node.bases]
        for _, node in nodes_of_stand_ins()
        if isinstance(node, ast.ClassDef)
    }
    own = {name: [base for base in given if base in bases] for name, given in bases.items()}
    assert not {name: given for name, given in own.items() if len(given) > 1}
    assert not {name for name, given in own.items() if any(own[base] for base in given)}


def test_no_function_of_the_stand_ins_has_more_than_ten_parameters() -> None:
    counted = {
        (module, node.name): len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
        for module, node in nodes_of_stand_ins()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: number for name, number in counted.items() if number > 10}
