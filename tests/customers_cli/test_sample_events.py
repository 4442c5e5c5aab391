"""events/ holds one event of every type and way, and each is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from functions.store_events.apply import HANDLERS as STORE_HANDLERS
from shared.stripe_events.events import HANDLERS
from standins.stripe import thin
from tests.functions.test_webhook_events import FixtureStripe
from tests.functions.webhook_world import STORE, World
from tests.security.test_strange_events import STANDIN, Watched
from tools.sample_events import EVENTS, files, text_of

PATHS = sorted(str(file.relative_to(EVENTS)) for file in EVENTS.rglob("*.json"))


def test_the_files_are_those_that_make_docs_writes() -> None:
    written = {path: text_of(content) for path, content in files()}
    assert {path: (EVENTS / path).read_text() for path in PATHS} == written


def test_there_is_one_of_every_type_and_way() -> None:
    ways = {
        "stripe/snapshot": set(HANDLERS),
        "stripe/eventbridge": set(HANDLERS),
        "stripe/thin": {f"v1.{kind}" for kind in HANDLERS if thin.exists(kind)},
        "store": {name for kind in STORE_HANDLERS for name in (kind, f"{kind}.schema")},
    }
    for way, names in ways.items():
        assert {Path(path).stem for path in PATHS if str(Path(path).parent) == way} == names


class SampledStripe(FixtureStripe):
    """Has the object that an event is about, as the sample tells it."""

    about: dict[str, Any]

    def answer(self, method: str, path: str, *more: Any) -> tuple[int, str]:
        if path.startswith("/v1/") and path.endswith(f"/{self.about['id']}"):
            return 200, json.dumps(self.about)
        return super().answer(method, path, *more)


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("stripe/")])
def test_each_event_of_stripes_is_applied(path: str) -> None:
    told = json.loads((EVENTS / path).read_text())
    event = told.get("detail", told)
    kind = Path(path).stem.removeprefix("v1.")
    stripe = SampledStripe(STANDIN)
    stripe.about = json.loads((EVENTS / "stripe" / "snapshot" / f"{kind}.json").read_text())[
        "data"
    ]["object"]
    world = World(STANDIN, stripe=stripe)
    for account in filter(None, [event.get("account"), event.get("context")]):
        world.registry.register(STORE, account)
    assert world.receive(event) == "applied"


@pytest.mark.parametrize("kind", STORE_HANDLERS)
def test_each_event_of_the_stores_fits_its_schema_and_is_applied(kind: str) -> None:
    event = json.loads((EVENTS / "store" / f"{kind}.json").read_text())
    schema = json.loads((EVENTS / "store" / f"{kind}.schema.json").read_text())
    fastjsonschema.compile(schema)(event["detail"])
    world = Watched()
    redeemed = json.loads((EVENTS / "store" / "AccessCodeRedeemed.json").read_text())
    for each in (redeemed, event):
        assert world.take_of_store(each) == "applied"
