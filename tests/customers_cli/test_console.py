"""How a build of the console gets into its bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from customers_cli.console import advice, publish


@dataclass
class FakeS3:
    """A bucket that remembers what was put, in order."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put_object(self, *, Bucket: str, Key: str, **of: Any) -> None:  # noqa: N803
        assert Bucket == "console"
        self.objects[Key] = of


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    for name in ("index.html", "favicon.svg", "robots.txt", "assets/app-1.js", "assets/app-1.css"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
        file.with_name(f"{file.name}.gz").write_text("for the local run")
    (tmp_path / "assets" / "inter-1.woff2").write_bytes(b"font")
    return tmp_path


def test_a_build_is_put_with_types_and_the_page_that_names_the_rest_comes_last(dist: Path) -> None:
    s3 = FakeS3()
    keys = publish(s3, "console", '{"issuer": "https://login.example"}', dist)
    assert list(s3.objects) == keys
    assert set(keys[:3]) == {"assets/app-1.js", "assets/app-1.css", "assets/inter-1.woff2"}
    assert keys[-1] == "index.html"
    assert not any(key.endswith(".gz") for key in keys)
    types = {key: of["ContentType"] for key, of in s3.objects.items()}
    assert types["assets/app-1.js"] == "text/javascript; charset=utf-8"
    assert types["assets/inter-1.woff2"] == "font/woff2"
    assert types["index.html"] == "text/html; charset=utf-8"
    assert s3.objects["config.json"]["Body"] == b'{"issuer": "https://login.example"}'
    assert s3.objects["assets/inter-1.woff2"]["Body"] == b"font"


def test_only_files_named_by_their_content_are_kept_by_browsers(dist: Path) -> None:
    s3 = FakeS3()
    publish(s3, "console", "{}", dist)
    for key, of in s3.objects.items():
        lasting = "public, max-age=31536000, immutable"
        assert of["CacheControl"] == (lasting if key.startswith("assets/") else "no-cache")


def test_files_of_the_build_before_stay_for_pages_that_are_open(dist: Path) -> None:
    s3 = FakeS3()
    publish(s3, "console", "{}", dist)
    (dist / "assets" / "app-1.js").rename(dist / "assets" / "app-2.js")
    publish(s3, "console", "{}", dist)
    assert {"assets/app-1.js", "assets/app-2.js"} <= set(s3.objects)


def test_what_is_not_built_or_of_no_known_type_is_not_put(dist: Path) -> None:
    s3 = FakeS3()
    (dist / "notes.docx").write_text("?")
    with pytest.raises(ValueError, match=r"notes\.docx"):
        publish(s3, "console", "{}", dist)
    (dist / "index.html").unlink()
    with pytest.raises(FileNotFoundError, match="make console"):
        publish(s3, "console", "{}", dist)
    assert s3.objects == {}


def test_it_is_told_when_the_login_does_not_know_the_address() -> None:
    url = "https://d111.cloudfront.net"
    assert advice({"ConsoleUrl": url, "ConsoleOrigin": url}) is None
    left = advice({"ConsoleUrl": url, "ConsoleOrigin": "http://localhost:8080"})
    assert left is not None
    assert left.endswith(f"sam deploy --parameter-overrides ConsoleOrigin={url}")
