"""docs/stripe-events.md lists the events of the code, and every one of them is known to Stripe."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl

import stripe

from shared.stripe_events.events import HANDLERS
from shared.stripe_events.thin import thin_type
from tests.template.expanded import TEMPLATE
from tools.event_docs import PAGE, listed, page

THIN_EVENTS = Path(stripe.__file__).parent / "events"


def test_the_list_of_events_is_that_of_the_code() -> None:
    assert PAGE.read_text() == page(), "make docs"


def test_every_way_of_listing_the_events_holds_them_all() -> None:
    assert json.loads(listed("snapshot")) == list(HANDLERS)
    assert parse_qsl(listed("form")) == [("enabled_events[]", name) for name in HANDLERS]
    thin = json.loads(listed("thin"))
    assert thin == [thin_type(name) for name in HANDLERS if thin_type(name)]
    assert 40 < len(thin) < len(HANDLERS)


def test_the_thin_events_are_those_of_stripes_library() -> None:
    known = {
        name
        for file in THIN_EVENTS.glob("_v1_*.py")
        for name in re.findall(r'"(v1\.[a-z_.]+)"', file.read_text())
    }
    expected = {name: f"v1.{name}" if f"v1.{name}" in known else None for name in HANDLERS}
    assert {name: thin_type(name) for name in HANDLERS} == expected


def test_what_the_page_names_of_the_template_is_there() -> None:
    template = TEMPLATE.read_text()
    named = set(re.findall(r"\b(Stripe(?:Bus|Event)[A-Z]\w*)", PAGE.read_text()))
    assert "StripeEventSource" in named
    assert {name for name in named if f"  {name}:" not in template} == set()


def test_every_link_of_the_page_to_the_project_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https:)([^)#]+)", PAGE.read_text())
    assert links
    assert {link for link in links if not (PAGE.parent / link).exists()} == set()
