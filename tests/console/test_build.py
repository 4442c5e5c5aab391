"""What is shipped: small, without inline code, and typed after the API that is served."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Response, expect

from local.processes import clean_environment
from tests.console.conftest import CONSOLE, NewContext, Shop

pytestmark = pytest.mark.usefixtures("demo")

LARGEST_FIRST_LOAD = 200 * 1024


def test_the_first_load_is_at_most_200_kb_of_gzipped_script(
    new_context: NewContext, shop: Shop
) -> None:
    customer = shop.get("/v1/customers")["items"][0]["customer_id"]
    for path in ("/", f"/customers/{customer}"):
        scripts: dict[str, int] = {}

        def measure(response: Response, scripts: dict[str, int] = scripts) -> None:
            if response.request.resource_type == "script":
                scripts[response.url] = len(gzip.compress(response.body(), 9))

        page = new_context().new_page()
        page.on("response", measure)
        page.goto(shop.url + path)
        expect(page.locator("main h1")).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert scripts
        assert sum(scripts.values()) <= LARGEST_FIRST_LOAD, scripts


def test_the_page_holds_no_inline_script_or_style_and_a_policy_forbids_them(
    new_context: NewContext, shop: Shop
) -> None:
    html = (CONSOLE / "dist" / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|javascript:", html)
    page = new_context().new_page()
    answer = page.goto(f"{shop.url}/favicon.svg")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy


def test_the_types_are_those_of_the_api_that_is_served(shop: Shop, tmp_path: Path) -> None:
    served = tmp_path / "openapi.json"
    served.write_text(json.dumps(shop.get("/v1/openapi.json")))
    generated = tmp_path / "schema.ts"
    subprocess.run(
        ["npx", "--no-install", "openapi-typescript", served, "--output", generated],
        cwd=CONSOLE,
        env=clean_environment(),
        check=True,
        capture_output=True,
        timeout=120,
    )
    committed = CONSOLE / "src" / "api" / "schema.ts"
    assert _code(generated) == _code(committed), "npm run types"


def _code(file: Path) -> str:
    """Without the descriptions: they are for the reader of the API's document."""
    return re.sub(r"\s*/\*\*.*?\*/", "", file.read_text(), flags=re.DOTALL)
