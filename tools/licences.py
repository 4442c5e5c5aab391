"""``make licences``: writes docs/licences.md, what everything that is locked may be used under.

Python packages tell their licence in their metadata, npm packages in the lock file.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"
# Packages that say it in words of their own, or in a file only.
KNOWN = {
    "types-requests": "Apache-2.0",
}
_NAMES = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
}
_COPYLEFT = re.compile(r"\b(A?GPL|LGPL|SSPL|BUSL)")


def locked(name: str) -> dict[str, str]:
    """Packages of a Python lock file: name to version."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", text, re.MULTILINE))


def licence_of(package: str) -> str | None:
    """A Python package's licence; ``None`` where it is not installed here."""
    if package in KNOWN:
        return KNOWN[package]
    try:
        told: Any = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return None
    expression = told.get("License-Expression")
    if expression:
        return str(expression)
    classified = [
        line.rsplit(" :: ", 1)[1]
        for line in told.get_all("Classifier") or ()
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    if classified:
        return " AND ".join(sorted({_NAMES.get(name, name) for name in classified}))
    text = (told.get("License") or "").strip()
    return _NAMES.get(text, text.splitlines()[0] if text else "?")


def npm_licences(folder: str) -> dict[str, tuple[str, str, bool]]:
    """Packages of an npm lock file: name to version, licence and whether only to build with."""
    lock = ROOT / folder / "package-lock.json"
    if not lock.exists():
        return {}
    packages = json.loads(lock.read_text())["packages"]
    return {
        path.rpartition("node_modules/")[2]: (
            str(package.get("version", "")),
            str(package.get("license", "?")),
            bool(package.get("dev")),
        )
        for path, package in packages.items()
        if path and not package.get("link")
    }


def page() -> str:
    runtime, dev = locked("runtime"), locked("dev")
    lines = [
        "# Licences",
        "",
        "Written by `make licences` from what is locked. Deployed are the packages of the layer",
        "(requirements/runtime.txt) and the console's; everything else builds, runs locally or",
        "checks, and is not passed on.",
    ]
    for title, packages in (
        ("Deployed with the functions", runtime),
        ("Local run and checks", {n: v for n, v in dev.items() if n not in runtime}),
    ):
        lines += ["", f"## {title}", "", "| package | version | licence |", "|---|---|---|"]
        for name, version in sorted(packages.items()):
            licence = licence_of(name)
            if licence is not None:
                lines.append(f"| {name} | {version} | {licence} |")
    for folder in ("console", "tools"):
        found = npm_licences(folder)
        if not found:
            continue
        lines += [
            "",
            f"## npm, {folder}/",
            "",
            "| package | version | licence | |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {version} | {licence} | {'builds' if builds else ''} |"
            for name, (version, licence, builds) in sorted(found.items())
        ]
    return "\n".join([*lines, ""])


def copyleft() -> list[str]:
    """Deployed packages whose licence asks for more than a notice."""
    python = {name: licence_of(name) or "?" for name in locked("runtime")}
    npm = {n: licence for n, (_, licence, builds) in npm_licences("console").items() if not builds}
    return sorted(
        f"{name}: {licence}"
        for name, licence in {**python, **npm}.items()
        if licence == "?" or _COPYLEFT.search(licence)
    )


def main() -> int:
    PAGE.write_text(page())
    problems = copyleft()
    for problem in problems:
        print(f"not for deployment: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
