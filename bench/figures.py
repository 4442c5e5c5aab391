"""Figures of a measurement: quantiles, the machine, and their place in a document."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path


def quantile(values: Sequence[float], part: float) -> float:
    """The nearest-rank quantile; ``part``: 0.5 is the median."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def machine() -> str:
    """Processor, cores, Python, date and load, for the head of a page of figures."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    return (
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" {datetime.now(UTC):%Y-%m-%d}; load average before the run {load:.1f}"
    )


def put_into(document: Path, name: str, text: str) -> None:
    """Replace what stands between a document's marks ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: the document has no such marks.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, mark, rest = document.read_text().partition(begin)
    _, closing, after = rest.partition(end)
    if not (mark and closing):
        raise ValueError(f"{document} has no place for the figures of {name}")
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")
