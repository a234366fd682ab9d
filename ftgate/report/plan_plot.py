"""The picture of ``ftgate plan --plot``: power against the number of items, as SVG made by hand."""

from __future__ import annotations

import math
from html import escape

from ftgate.planning import POWER, Plan, Prospect
from ftgate.report import view

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 190, 48, 56
COLOURS = ("#0b6e99", "#b3541e", "#4a7c2c", "#7b3f98")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.small{font-size:11px}"
    ".grid{stroke:#ddd}.goal{stroke:#999;stroke-dasharray:4 4}.curve{fill:none;stroke-width:2}"
)


def plot(plan: Plan) -> str:
    """One curve a measurement: the chance that a good candidate passes; a dot marks the items there are.

    The number of items is on a logarithmic axis. Curves differ in colour, dashes and label.
    """
    numbers = [point.n for p in plan.prospects for point in p.curve] or [10, 1000]
    low, high = math.log10(max(min(numbers), 1)), math.log10(max(numbers))
    high = max(high, low + 0.1)

    def place(n: float, power: float) -> tuple[float, float]:
        x = LEFT + (math.log10(max(n, 1)) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        return x, TOP + (1 - power) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="22">How often a good candidate passes, by the number of items that decide</text>']
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        y, label = place(10**low, tick)[1], f"{view.decimal(100 * tick, 0)} %"
        kind = "goal" if tick == POWER else "grid"
        parts += [
            f'<line class="{kind}" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>',
            f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>',
        ]
    for n in _ticks(low, high):
        x, y = place(n, 0.0)
        parts += [
            f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{y:.1f}"/>',
            f'<text class="small" x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{view.count(n)}</text>',
        ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="small" x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">items that decide</text>')
    for i, p in enumerate(plan.prospects):
        parts += _curve(i, p, [place(point.n, point.power) for point in p.curve], place(max(p.compared, 1), p.power))
    body = "\n".join(parts)
    return (
        f'<svg role="img" aria-label="Power against the number of items" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" xmlns="http://www.w3.org/2000/svg">\n<style>{STYLE}</style>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _curve(i: int, p: Prospect, at: list[tuple[float, float]], here: tuple[float, float]) -> list[str]:
    colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    y = TOP + 12 + 44 * i
    x = WIDTH - RIGHT + 16
    needed = view.NONE if p.needed is None else view.count(p.needed)
    return [
        f'<polyline class="curve" stroke="{colour}" stroke-dasharray="{dash}" points="{path}"/>',
        f'<circle cx="{here[0]:.1f}" cy="{here[1]:.1f}" r="4.5" fill="{colour}"/>',
        f'<line x1="{x}" y1="{y - 4}" x2="{x + 24}" y2="{y - 4}" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dash}"/>',
        f'<text x="{x + 30}" y="{y}">{escape(view.title(p.name))}</text>',
        f'<text class="small" x="{x + 30}" y="{y + 15}">has {view.count(p.compared)}, 80 % at {needed}</text>',
    ]


def _ticks(low: float, high: float) -> list[int]:
    """1, 2 and 5 times the powers of ten within the axis."""
    steps = [m * 10**k for k in range(math.floor(low), math.ceil(high) + 1) if k >= 0 for m in (1, 2, 5)]
    return [n for n in steps if low - 1e-9 <= math.log10(n) <= high + 1e-9]
