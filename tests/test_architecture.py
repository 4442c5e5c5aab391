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


def importers(package: str, *folders: str) -> set[str]:
    """Files that import a package: of the functions and what they share, or of these folders."""
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {
        str(path.relative_to(ROOT))
        for path in sources or SOURCES
        if any(name == package or name.startswith(f"{package}.") for name in imports(path))
    }


def test_the_rules_know_nothing_of_aws_http_stripe_or_telegram() -> None:
    foreign = ("boto3", "botocore", "aws_lambda_powertools", "stripe", "requests", "pydantic")
    for package in (*foreign, "shared.storage", "shared.integrations", "shared.http", "functions"):
        assert not {path for path in importers(package) if path.startswith("shared/domain/")}


# compose.py imports both for its type annotations alone.
COMPOSE = "shared/compose.py"


def test_only_the_gateway_imports_stripe() -> None:
    assert importers("stripe") == {"shared/integrations/stripe_gateway.py", COMPOSE}


def test_only_the_gateway_imports_requests() -> None:
    assert importers("requests") == {"shared/integrations/telegram_gateway.py", COMPOSE}


def test_only_storage_speaks_to_aws() -> None:
    assert importers("boto3") == {"shared/storage/aws.py"}
    assert {p for p in importers("botocore") if not p.startswith("shared/storage/")} == set()


# Classes that hold a client, and what makes a session: put together in one place, so that every
# function, command, test and simulation runs the same wiring.
BUILT_BY_COMPOSE = frozenset(
    {
        "AccessRemover",
        "Composition",
        "CustomerIndex",
        "Driver",
        "Products",
        "Registry",
        "Schedules",
        "Secrets",
        "StripeGateway",
        "Table",
        "TelegramGateway",
        "client",
        "new_session",
    }
)
# The operators' command chooses its target there, and makes a Composition for it.
CHOOSES_ITS_TARGET = "customers_cli/target.py"


def calls(path: Path) -> Iterator[str]:
    """The last name of everything a module calls: ``aws.client(...)`` is ``client``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).rpartition(".")[2]


def test_only_compose_builds_clients_and_gateways() -> None:
    operators = sorted((ROOT / "customers_cli").rglob("*.py"))
    built = {
        (str(path.relative_to(ROOT)), name)
        for path in (*SOURCES, *operators)
        for name in BUILT_BY_COMPOSE.intersection(calls(path))
    }
    # storage/aws.py makes the client of boto3's session that compose.py asks it for.
    elsewhere = {
        (path, name)
        for path, name in built
        if path not in (COMPOSE, "shared/storage/aws.py", CHOOSES_ITS_TARGET)
    }
    assert elsewhere == set()
    # The maker of a session is called by the name of the leaf that may replace it.
    ours = BUILT_BY_COMPOSE - {"new_session"}
    assert {name for path, name in built if path == COMPOSE} == ours


def private_names(path: Path) -> Iterator[str]:
    """Names with a leading underscore that a module takes from another object or module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if node.attr.startswith("_") and not node.attr.startswith("__") and not own:
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))


def test_no_private_name_of_a_library_is_used() -> None:
    """botocore's private names changed under PynamoDB until it gave them up."""
    found = {
        str(path.relative_to(ROOT)): names for path in SOURCES if (names := [*private_names(path)])
    }
    assert found == {}


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


# --- the operators' command ---------------------------------------------------------------------


def test_only_its_own_tests_and_its_documentation_import_the_operators_command() -> None:
    folders = ("functions", "shared", "standins", "local", "bench", "packaging", "tools", "tests")
    others = {
        path
        for path in importers("customers_cli", *folders)
        if not path.startswith("tests/customers_cli/")
    }
    assert others == {"tools/cli_docs.py"}


def test_functions_know_nothing_of_the_local_run() -> None:
    assert importers("local") == set()


def test_the_operators_command_knows_of_the_local_run_where_it_answers_and_its_tokens() -> None:
    names = {
        name
        for path in (ROOT / "customers_cli").rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] == "local" and name.count(".") == 1
    }
    assert names == {"local.running", "local.issuer"}


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
