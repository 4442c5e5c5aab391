"""The range of API versions is stated once in the code, and the documents say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import stripe

from shared.domain.api_versions import NEW_TYPES, NEWEST, OLDEST, has_type, is_supported
from shared.stripe_events.events import HANDLERS
from standins.stripe import NEWEST as NEWEST_OF_STANDIN
from standins.stripe import OLDEST as OLDEST_OF_STANDIN

ROOT = Path(__file__).resolve().parents[2]
VERSION = re.compile(r"\b20\d\d-\d\d-\d\d(?:\.[a-z]+)?\b")


def test_the_newest_version_is_the_one_that_the_sdk_is_pinned_to() -> None:
    assert stripe.api_version == NEWEST


def test_the_stand_in_makes_events_of_both_ends() -> None:
    assert (OLDEST_OF_STANDIN, NEWEST_OF_STANDIN) == (OLDEST, NEWEST)


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "CHANGELOG.md"])
def test_the_documents_state_the_range(page: str) -> None:
    text = (ROOT / page).read_text()
    stated = [
        VERSION.findall(sentence)
        for sentence in re.split(r"\.\s|\n", text)
        if "API version" in sentence and OLDEST in sentence
    ]
    assert stated
    assert all(found == [OLDEST, NEWEST] for found in stated)


def test_no_other_module_of_the_code_names_the_range() -> None:
    naming = [
        str(path.relative_to(ROOT))
        for folder in ("functions", "shared", "customers_cli", "local")
        for path in (ROOT / folder).rglob("*.py")
        if OLDEST in path.read_text() or NEWEST in path.read_text()
    ]
    assert naming == ["shared/domain/api_versions.py"]


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ("2020-08-27", True),
        ("2024-12-18.acacia", True),
        (NEWEST, True),
        ("2026-10-28.preview", True),
        ("2020-03-02", False),
        ("2011-01-01", False),
        ("2026-11-25.fuchsia", False),
        ("", False),
        ("endive", False),
    ],
)
def test_a_version_is_in_the_range_by_its_date(version: str, supported: bool) -> None:
    assert is_supported(version) is supported


def test_only_what_a_version_knows_is_asked_of_its_endpoints() -> None:
    assert set(NEW_TYPES) <= set(HANDLERS)
    assert not has_type("2024-12-18.acacia", "invoice_payment.paid")
    assert has_type("2025-03-31.basil", "invoice_payment.paid")
    assert has_type(None, "invoice_payment.paid")
    assert has_type(OLDEST, "customer.created")
