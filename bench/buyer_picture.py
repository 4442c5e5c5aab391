"""The picture of ``bench.buyer``: calls of the database against how much the buyer did before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

COLOURS = ("#0072b2", "#009e73", "#e69f00", "#d55e00")
PARTS = ("page", "event", "cancel")
WIDTH, HEIGHT, TOP, PLOT_HEIGHT = 900, 330, 50, 200
PLOT_WIDTH, STEP = 230, 290
MOST_CALLS, LARGEST = 60, 10_000


class Cost(Protocol):
    @property
    def page(self) -> int: ...
    @property
    def event(self) -> int: ...
    @property
    def cancel(self) -> int: ...


def picture(costs: Mapping[str, Mapping[int, Cost]]) -> str:
    """An SVG of three plots, with a logarithmic axis of sizes."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for place, name in enumerate(PARTS):
        parts += _axes(50 + place * STEP, name)
        for colour, by_size in zip(COLOURS, costs.values(), strict=True):
            calls = {size: int(getattr(cost, name)) for size, cost in by_size.items()}
            parts += _line(50 + place * STEP, colour, calls)
    for place, (colour, habit) in enumerate(zip(COLOURS, costs, strict=True)):
        at = 60 + place * 200
        parts.append(f'<circle cx="{at}" cy="{HEIGHT - 14}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{at + 8}" y="{HEIGHT - 10}" fill="#333">{habit}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(x0: int, size: int) -> float:
    return x0 + PLOT_WIDTH * math.log10(size) / math.log10(LARGEST)


def _y(calls: int) -> float:
    return TOP + PLOT_HEIGHT * (1 - min(calls, MOST_CALLS) / MOST_CALLS)


def _axes(x0: int, name: str) -> list[str]:
    title = f"Calls of the database: {name}"
    out = [f'<text x="{x0}" y="28" font-size="14" fill="#222">{title}</text>']
    for calls in range(0, MOST_CALLS + 1, 10):
        y = _y(calls)
        out += [
            f'<line x1="{x0}" x2="{x0 + PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{calls}</text>',
        ]
    for power in range(int(math.log10(LARGEST)) + 1):
        out.append(
            f'<text x="{_x(x0, 10**power):.1f}" y="{TOP + PLOT_HEIGHT + 18}" text-anchor="middle"'
            f' fill="#555">{10**power:,}</text>'
        )
    return out


def _line(x0: int, colour: str, calls: Mapping[int, int]) -> list[str]:
    points = [(_x(x0, size), _y(n)) for size, n in calls.items()]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points),
    ]
