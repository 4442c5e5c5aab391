"""The README's walk, as printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from typing import Any

import pytest

from local.seed import person
from local.stack import ROOT, Stack
from shared.domain.search import normalize
from tests.e2e.store import Store, subscribe

README = (ROOT / "README.md").read_text()
WALK = README.partition("## A walk")[2].partition("```sh")[2].partition("```")[0]


def documents(text: str) -> list[Any]:
    """JSON documents that follow one another."""
    found, decoder, rest = [], json.JSONDecoder(), text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document)
        rest = rest[end:].lstrip()
    return found


def test_the_demo_store_has_whom_the_walk_looks_for() -> None:
    (searched,) = set(re.findall(r"search=(\w+)&payment_provider=stripe", WALK))
    people = [person(number, int(time.time())) for number in range(200)]
    assert any(searched in normalize(who.name) and who.livemode for who in people)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the walk is made with curl")
def test_the_walk_shows_something_at_every_step(stack: Stack) -> None:
    store = Store(stack)
    store.approve(-1001900000009)
    args = {"name": "Walks", "telegram_chat_ids": "-1001900000009"}
    product = str(store.scenario({"do": "create_product", "args": args})[0]["id"])
    subscribe(store, product, name="Zoë", user=7300001)
    script = WALK.replace("$(make -s token STORE=demo)", stack.token())
    script = script.replace("http://localhost:8080", stack.url)
    assert "localhost:8080" not in script
    assert "make" not in script
    walked = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    newest, found, detail, scheduled, ended = documents(walked.stdout)
    assert newest["items"]
    assert [row["name"] for row in found["items"]] == ["Zoë"]
    assert detail["customer"] == found["items"][0]
    assert all(
        detail["transactions"]["items"] and detail[n] for n in ("purchases", "payment_methods")
    )
    assert scheduled["changed"]
    assert scheduled["purchase"]["cancel_at"]
    assert scheduled["purchase"]["access"]["state"] == "granted"
    assert ended["changed"]
    assert ended["purchase"]["status"] == "cancelled"
    assert ended["purchase"]["access"]["state"] == "revoked"
