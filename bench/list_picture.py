"""The benchmark's picture: rows evaluated per page, and time, against the size of the store."""

from __future__ import annotations

import math
from typing import Any

WIDTH, HEIGHT = 860, 400
LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 60, 50, 330, 270
COLOURS = {"everybody": "#0072b2", "p50": "#009e73", "p95": "#e69f00", "p99": "#d55e00"}


def picture(report: dict[str, Any]) -> str:
    """An SVG of two plots, both with logarithmic axes."""
    stores = {int(size): store["kinds"] for size, store in report["stores"].items()}
    sizes = sorted(stores)
    rows = {
        "everybody": [stores[s]["everybody"]["evaluated"]["p50"] for s in sizes],
        **{
            f"search, {part}": [stores[s]["all searches"]["evaluated"][part] for s in sizes]
            for part in ("p50", "p95", "p99")
        },
    }
    searches = [
        kind for kind in stores[sizes[0]] if kind not in ("everybody", "filters", "all searches")
    ]
    times = {
        "everybody": [stores[s]["everybody"]["ms"]["p50"] for s in sizes],
        **{
            f"search, {part}": [_typical(stores[s], searches, part) for s in sizes]
            for part in ("p50", "p95", "p99")
        },
    }
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_plot(0, "Rows evaluated per page of 25", sizes, rows, (1, 10_000), report["bound"]),
        *_plot(430, "Milliseconds per page (mean of the kinds)", sizes, times, (1, 1000), None),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _typical(kinds: dict[str, Any], searches: list[str], part: str) -> float:
    return float(sum(kinds[kind]["ms"][part] for kind in searches) / len(searches))


def _plot(
    x0: int,
    title: str,
    sizes: list[int],
    series: dict[str, list[float]],
    span: tuple[int, int],
    bound: int | None,
) -> list[str]:
    low, high = (math.log10(value) for value in span)
    first, last = math.log10(sizes[0]), math.log10(max(sizes[-1], sizes[0] * 10))

    def x(size: float) -> float:
        return x0 + LEFT + PLOT_WIDTH * (math.log10(size) - first) / (last - first)

    def y(value: float) -> float:
        at = (math.log10(min(max(value, span[0]), span[1])) - low) / (high - low)
        return TOP + PLOT_HEIGHT * (1 - at)

    out = [f'<text x="{x0 + LEFT}" y="28" font-size="15" fill="#222">{title}</text>']
    for power in range(int(low), int(high) + 1):
        at = y(10**power)
        out.append(
            f'<line x1="{x0 + LEFT}" x2="{x0 + LEFT + PLOT_WIDTH}" y1="{at:.1f}" y2="{at:.1f}"'
            ' stroke="#ddd"/>'
        )
        out.append(
            f'<text x="{x0 + LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#555">'
            f"{10**power:,}</text>"
        )
    for size in sizes:
        out.append(
            f'<text x="{x(size):.1f}" y="{TOP + PLOT_HEIGHT + 20}" text-anchor="middle"'
            f' fill="#555">{size:,}</text>'
        )
    out.append(
        f'<text x="{x0 + LEFT + PLOT_WIDTH / 2}" y="{TOP + PLOT_HEIGHT + 40}"'
        ' text-anchor="middle" fill="#555">customers in the store</text>'
    )
    if bound is not None:
        out.append(
            f'<line x1="{x0 + LEFT}" x2="{x0 + LEFT + PLOT_WIDTH}" y1="{y(bound):.1f}"'
            f' y2="{y(bound):.1f}" stroke="#999" stroke-dasharray="5 4"/>'
            f'<text x="{x0 + LEFT + 4}" y="{y(bound) - 5:.1f}" fill="#777">bound</text>'
        )
    for place, (name, values) in enumerate(series.items()):
        colour = COLOURS[name.removeprefix("search, ")]
        line = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(sizes, values, strict=True))
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [
            f'<circle cx="{x(s):.1f}" cy="{y(v):.1f}" r="3.5" fill="{colour}"/>'
            for s, v in zip(sizes, values, strict=True)
        ]
        at = x0 + LEFT + place * 90
        out.append(f'<circle cx="{at}" cy="{HEIGHT - 18}" r="4" fill="{colour}"/>')
        out.append(f'<text x="{at + 8}" y="{HEIGHT - 14}" fill="#333">{name}</text>')
    return out
