"""What is locked, and what it may be used under."""

from __future__ import annotations

import json
import re

import pytest

from tests.template.expanded import ROOT
from tools.licences import copyleft, locked, page

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_python_package_is_locked_with_its_hashes(lock: object) -> None:
    text = (ROOT / "requirements" / getattr(lock, "name", "")).read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("folder", ["console", "tools"])
def test_every_npm_package_is_locked_with_its_hash(folder: str) -> None:
    lock = ROOT / folder / "package-lock.json"
    if not lock.exists():
        pytest.skip("no console in this checkout")
    packages = json.loads(lock.read_text())["packages"]
    unlocked = [
        path
        for path, package in packages.items()
        if path and not package.get("link") and not package.get("inBundle")
        if not str(package.get("integrity", "")).startswith("sha512-")
    ]
    assert unlocked == []


def test_the_functions_get_nothing_that_was_not_tested_with() -> None:
    dev = locked("dev")
    assert {name: dev.get(name) for name in locked("runtime")} == locked("runtime")


def test_nothing_that_is_deployed_asks_for_more_than_a_notice() -> None:
    assert copyleft() == []


def test_the_page_of_licences_lists_every_deployed_package() -> None:
    written = (ROOT / "docs" / "licences.md").read_text()
    for name, version in locked("runtime").items():
        if f"| {name} |" in page():
            assert f"| {name} | {version} |" in written
