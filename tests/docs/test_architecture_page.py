"""docs/architecture.md is true: its ways are measured, and everything that it names exists.

A test runs each way of the page in a :class:`~tests.functions.shop.Shop`, and :class:`Watch` notes
which functions of ``functions/`` and ``shared/`` are called. The page must name exactly the files
that are entered, and its steps must stand in the order of the calls.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from shared import compose
from shared.compose import BUDGETS
from tests.functions.shop import CHAT, USER, MovableClock, Shop

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
MEASURED = tuple(f"{ROOT / folder}/" for folder in ("functions", "shared"))

# -- the page --------------------------------------------------------------------------------------

NAME = re.compile(r"`([\w./-]+\.(?:py|ts|tsx|yaml)):([A-Za-z_][\w.]*)`")
STEP = re.compile(r"^\d+\. (.+)$", re.MULTILINE)
LINK = re.compile(r"^\[(.+)\]\(#(.+)\)$")
ALSO = re.compile(r"^Also: (.+)$", re.MULTILINE)
ENTERS = re.compile(r"enters? (\d+) files")

Call = tuple[str, str]
"""A function: its file and its qualified name."""


@dataclass(frozen=True)
class Way:
    """A way of the page, with the steps of its parts in their places.

    Attributes:
        number: how many files the page says that it enters.
    """

    steps: Sequence[Call]
    also: frozenset[str]
    number: int

    @property
    def files(self) -> set[str]:
        return {file for file, _ in self.steps} | self.also


def sections() -> Iterator[tuple[str, str]]:
    """The headings of the page, each with the text up to the next one."""
    pieces = re.split(r"^#{2,3} (.+)$", PAGE, flags=re.MULTILINE)
    return zip(pieces[1::2], pieces[2::2], strict=True)


SECTIONS = dict(sections())
WAYS = [heading for heading in SECTIONS if heading.startswith("Way ")]


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def steps_of(heading: str) -> Iterator[Call]:
    """The functions that a section's steps name; a link is followed."""
    for step in STEP.findall(SECTIONS[heading]):
        link = LINK.match(step)
        if link is None:
            names = NAME.findall(step)
            assert len(names) == 1, f"{heading}: a step names one function: {step}"
            yield from names
        else:
            assert link[2] == slug(link[1])
            yield from steps_of(link[1])


def way(heading: str) -> Way:
    """A way of the page, by its heading."""
    text = SECTIONS[heading]
    also = re.findall(r"`(.+?)`", "".join(ALSO.findall(text)))
    (number,) = ENTERS.findall(text)
    return Way(tuple(steps_of(heading)), frozenset(also), int(number))


def table(heading: str) -> list[list[str]]:
    """The rows of a section's table without its head."""
    rows = [line for line in SECTIONS[heading].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


# -- measuring -------------------------------------------------------------------------------------


class Watch:
    """Notes the calls of the project's functions in this thread, in their order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __enter__(self) -> Watch:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> None:
        code = frame.f_code
        # The code of a module that is imported is not a call of it.
        if code.co_filename.startswith(MEASURED) and code.co_name != "<module>":
            file = str(Path(code.co_filename).relative_to(ROOT))
            self.calls.append((file, code.co_qualname))


@dataclass(frozen=True)
class Invocation:
    """An invocation that was watched.

    Attributes:
        name: the type of its event, or the name of its function.
        calls: the functions that it called.
        requests: what it asked DynamoDB for: the operation, and whether it has a condition.
    """

    name: str
    calls: list[Call]
    requests: list[tuple[str, bool]]


@dataclass
class Watched:
    """A shop whose invocations are watched.

    Attributes:
        seen: the invocations, in their order.
    """

    shop: Shop
    clock: MovableClock
    seen: list[Invocation] = field(default_factory=list)

    def __post_init__(self) -> None:
        invoke = self.shop.invoke

        def watched(function: str, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
            is_event = function == "stripe_webhook"
            name = json.loads(event["body"])["type"] if is_event else function
            requests: list[tuple[str, bool]] = []
            self.shop.tables.client.hook = lambda operation, request: requests.append(
                (operation, "ConditionExpression" in request)
            )
            with Watch() as watch:
                answer = invoke(function, event, context)
            self.seen.append(Invocation(name, watch.calls, requests))
            return answer

        self.shop.invoke = watched  # type: ignore[method-assign]

    def calls(self, *names: str) -> list[Call]:
        """The calls of the invocations with these names, one after another."""
        return [call for one in self.seen if one.name in names for call in one.calls]

    def warm(self) -> None:
        """Make the parts of every function, as an earlier invocation would have."""
        for function in ("stripe_webhook", "stripe_bus", "cancel_purchase", "period_end_revoker"):
            importlib.import_module(f"functions.{function}.handler")
            parts = compose.function(function)
            assert all((parts.secrets, parts.reader, parts.schedules, parts.attention))
            if parts.budget.telegram is not None:
                assert all((parts.driver, parts.rights))
        assert compose.function("stripe_bus").receiver

    def sell(self) -> str:
        """Sell a subscription, an hour ago."""
        sold = self.shop.sell()
        self.clock.later(3600)
        self.warm()
        self.seen.clear()
        return sold

    def cancel(self, when: str) -> None:
        """Cancel the only purchase, with an ``Idempotency-Key``."""
        status, answer = self.shop.cancel(when, key="a key")
        assert (status, answer["changed"]) == (200, True)


def renewal(watched: Watched) -> list[Call]:
    watched.shop.stripe.live.renew(watched.sell())
    watched.shop.deliver()
    return watched.calls("customer.subscription.updated")


def renewal_by_bus(watched: Watched) -> list[Call]:
    watched.shop.stripe.live.renew(watched.sell())
    *_, updated = (
        event
        for event in watched.shop.stripe.events()
        if event["type"] == "customer.subscription.updated"
    )
    assert watched.shop.take_from_queue(updated) == "applied"
    return watched.calls("stripe_bus")


def begin(watched: Watched) -> list[Call]:
    shop = watched.shop
    product = shop.stripe.live.create_product(name="Signals", telegram_chat_ids=str(CHAT))
    shop.deliver()
    watched.warm()
    shop.stripe.live.subscribe(product=product["id"], telegram_user_id=USER)
    shop.deliver()
    return watched.calls("customer.subscription.created", "customer.subscription.updated")


def end_in_stripe(watched: Watched) -> list[Call]:
    watched.shop.stripe.live.cancel_subscription(watched.sell())
    watched.shop.deliver()
    assert watched.shop.kicks() == []
    assert len(watched.shop.scheduler.schedules) == 1
    return watched.calls("customer.subscription.deleted")


def cancel_at_once(watched: Watched) -> list[Call]:
    watched.sell()
    watched.cancel("immediately")
    assert watched.shop.kicks() == [(CHAT, USER)]
    return watched.calls("cancel_purchase")


def cancel_at_the_end(watched: Watched) -> list[Call]:
    watched.sell()
    watched.cancel("period_end")
    assert len(watched.shop.scheduler.schedules) == 1
    return watched.calls("cancel_purchase")


def end_of_the_period(watched: Watched) -> list[Call]:
    sold = watched.sell()
    watched.cancel("period_end")
    watched.shop.deliver()
    # Stripe has not come to end it by itself yet, however slow this machine is.
    watched.shop.stripe.freeze()
    watched.clock(watched.shop.stripe.live.get("subscription", sold)["cancel_at"] + 1)
    watched.shop.fire()
    assert watched.shop.kicks() == [(CHAT, USER)]
    return watched.calls("period_end_revoker")


MEASURE: Mapping[str, Callable[[Watched], list[Call]]] = {
    "Way A: a subscription renews": renewal,
    "Way B: a subscription begins": begin,
    "Way C: a subscription ends in Stripe": end_in_stripe,
    "Way D: the owner cancels at once": cancel_at_once,
    "Way E: the owner cancels at the end of the period": cancel_at_the_end,
    "Way F: the end of the period comes": end_of_the_period,
    "Way G: a renewal comes by EventBridge": renewal_by_bus,
}


@pytest.fixture
def watched(shop: Shop, clock: MovableClock) -> Watched:
    # The gateway imports the SDK with its first request. While calls are watched, that takes
    # longer than an invocation may.
    importlib.import_module("stripe")
    return Watched(shop, clock)


def first_out_of_order(steps: Iterable[Call], calls: Iterable[Call]) -> Call | None:
    """The first step that is not called after the step before it; ``None``: there is none."""
    rest = iter(calls)
    return next((step for step in steps if step not in rest), None)


def test_the_ways_of_the_page_are_those_that_are_measured() -> None:
    assert list(MEASURE) == WAYS


@pytest.mark.parametrize("heading", MEASURE)
def test_a_way_enters_the_files_that_the_page_names_in_its_order(
    watched: Watched, heading: str
) -> None:
    calls = MEASURE[heading](watched)
    said, entered = way(heading), {file for file, _ in calls}
    assert {
        "named, but not entered": said.files - entered,
        "entered, but not named": entered - said.files,
        "in a step and in Also": said.also & {file for file, _ in said.steps},
    } == {
        "named, but not entered": set(),
        "entered, but not named": set(),
        "in a step and in Also": set(),
    }
    assert said.number == len(entered)
    assert first_out_of_order(said.steps, calls) is None


def test_a_renewal_is_one_conditional_write(watched: Watched) -> None:
    renewal(watched)
    (updated,) = (one for one in watched.seen if one.name == "customer.subscription.updated")
    assert updated.requests == [("update_item", True)]


def test_a_step_that_is_not_called_in_its_place_is_found() -> None:
    one, other = ("a.py", "one"), ("a.py", "other")
    assert first_out_of_order([one, other, one], [one, one, other, one]) is None
    assert first_out_of_order([one, other, one], [one, other, other]) == one
    assert first_out_of_order([other], [one]) == other


# -- names -----------------------------------------------------------------------------------------


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


@cache
def resources() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    return found


def members(body: Iterable[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """What a module or a class defines, each with the body of a class."""
    found: dict[str, list[ast.stmt]] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = node.body
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = []
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: [] for target in targets if isinstance(target, ast.Name)}
    return found


def exists(file: str, symbol: str) -> bool:
    """Whether a file of the project defines a name."""
    path = ROOT / file
    if not path.is_file():
        return False
    if file == "template.yaml":
        return symbol in resources()
    if path.suffix in (".ts", ".tsx"):
        kinds = "(?:default )?(?:async )?(?:function|const|class|interface|type)"
        pattern = rf"^export {kinds} {re.escape(symbol)}\b"
        return re.search(pattern, path.read_text(), re.MULTILINE) is not None
    body: list[ast.stmt] = tree(file).body
    for name in symbol.split("."):
        known = members(body)
        if name not in known:
            return False
        body = known[name]
    return True


def unknown(named: Iterable[Call]) -> list[Call]:
    return [name for name in named if not exists(*name)]


COMMANDS = "customers_cli/"


def test_every_name_of_the_page_exists() -> None:
    assert unknown(name for name in NAME.findall(PAGE) if not name[0].startswith(COMMANDS)) == []


def test_every_operators_command_of_the_page_exists() -> None:
    assert unknown(name for name in NAME.findall(PAGE) if name[0].startswith(COMMANDS)) == []


def test_every_file_and_folder_of_the_page_exists() -> None:
    named = set(re.findall(r"`([\w.*-]+/[\w./*-]*)`", PAGE))
    assert len(named) > 30
    assert {path for path in named if not any(ROOT.glob(path))} == set()


@pytest.mark.parametrize(
    ("file", "symbol", "there"),
    [
        ("shared/tenant.py", "Tenant.account_pk", True),
        ("shared/tenant.py", "Tenant.store_id", True),
        ("shared/tenant.py", "Tenant.nothing", False),
        ("shared/nowhere.py", "Tenant", False),
        ("shared/stripe_events/events.py", "HANDLERS", True),
        ("template.yaml", "RecordsTable", True),
        ("template.yaml", "Nothing", False),
        ("console/src/texts.ts", "t", True),
        ("console/src/texts.ts", "te", False),
    ],
)
def test_a_name_is_found_where_it_is_defined(file: str, symbol: str, there: bool) -> None:
    assert exists(file, symbol) == there


def test_every_question_has_its_answer() -> None:
    rows = [row for row in table("Where is …?") if not row[0].startswith("**")]
    assert len(rows) >= 20
    assert [row for row in rows if not row[0].endswith("?") or not NAME.search(row[1])] == []


# -- tables ----------------------------------------------------------------------------------------

EVERYTHING, NO_PYTHON = "everything", "no Python"


def folders() -> dict[str, str]:
    """The folders of the page, each with what it may import."""
    return {folder: row[2] for row in table("Folders") for folder in re.findall(r"`(.+?)`", row[0])}


def files_of(folder: str) -> Iterator[Path]:
    """The Python files of a folder; a pattern stands for its matches."""
    return ROOT.glob(folder) if "*" in folder else (ROOT / folder).rglob("*.py")


def imported(path: Path) -> Iterator[str]:
    """The folders, as the page names them, that a file imports from."""
    known = folders()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            top, _, rest = module.partition(".")
            inner = f"{top}/{rest.partition('.')[0]}/"
            whole = f"{top}/*.py" if top == "shared" else f"{top}/"
            yield from {inner if inner in known else whole} & known.keys()


def test_every_folder_with_python_is_on_the_page() -> None:
    tops = (path.parent for path in ROOT.glob("*/*.py"))
    parts = (path.parent for path in ROOT.glob("shared/*/*.py"))
    named = {f"{path.relative_to(ROOT)}/" for path in (*tops, *parts)}
    assert named - folders().keys() == {"shared/"}  # on the page as a pattern


@pytest.mark.parametrize(
    "folder", [name for name, may in folders().items() if may not in (EVERYTHING, NO_PYTHON)]
)
def test_a_folder_imports_no_more_than_the_page_says(folder: str) -> None:
    allowed = folders()[folder]
    foreign = {
        (str(path.relative_to(ROOT)), other)
        for path in files_of(folder)
        for other in imported(path)
        if other != folder and f"`{other}`" not in allowed
    }
    assert foreign == set()


def test_the_time_budgets_of_the_page_are_those_of_the_code() -> None:
    said = {row[0].strip("`"): tuple(map(float, row[1:])) for row in table("Time")}
    assert said == {
        name: (budget.timeout, budget.act_within, budget.begin_within)
        for name, budget in BUDGETS.items()
    }
