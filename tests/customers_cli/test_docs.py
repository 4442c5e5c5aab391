"""The command is described as it is."""

from __future__ import annotations

import re
import subprocess

from customers_cli.exits import MEANINGS, Exit
from local.stack import ROOT
from tests.customers_cli.invoking import CALLS, clean, customers
from tools.cli_docs import PAGE, page, paths

MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_page_of_commands_is_their_help() -> None:
    assert PAGE.read_text() == page(), "make docs"


def test_the_page_holds_every_command() -> None:
    told = {" ".join(words) for words in paths()}
    assert set(CALLS) <= told
    assert told - set(CALLS) == {"", "store", "chat", "bot", "console"}


def test_every_exit_code_has_its_meaning() -> None:
    assert set(MEANINGS) == set(Exit)
    told = customers("--help").out
    assert all(re.search(rf"^ +{c.value}  {m}$", told, re.MULTILINE) for c, m in MEANINGS.items())


def test_make_help_lists_every_target() -> None:
    ran = subprocess.run(
        ["make", "-s", "help"],
        cwd=ROOT,
        env=clean({}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = dict(line.split(maxsplit=1) for line in ran.stdout.splitlines())
    targets = {
        name
        for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
        for name in line.split()
    }
    assert set(told) == targets
    for name, text in told.items():
        assert re.search(rf"^{name}:.* ## {re.escape(text)}$", MAKEFILE, re.MULTILINE)


def test_every_command_that_make_knows_is_called_with_its_variables() -> None:
    called = {
        "token": "token $(STORE)",
        "store": "store add $(STORE) $(ACCOUNT)"
        " $(if $(TELEGRAM_OWNER),--telegram-owner $(TELEGRAM_OWNER))",
        "sweep": "sweep",
        "reindex": "reindex $(STORE)",
        "backfill": "backfill $(STORE) $(if $(RATE),--rate $(RATE))",
        "replay": "replay $(STORE) $(if $(RATE),--rate $(RATE)) $(if $(ALL),--all)",
        "doctor": "doctor",
        "bot": "bot $(or $(DO),show)",
        "export": "export $(STORE) $(CUSTOMER)",
        "forget": "forget $(STORE) $(CUSTOMER)",
        "deploy-console": "console deploy",
    }
    for target, command in called.items():
        recipe = rf"^{target}: install.*\n\t@\$\(CUSTOMERS\) {re.escape(command)}$"
        assert re.search(recipe, MAKEFILE, re.MULTILINE), target
