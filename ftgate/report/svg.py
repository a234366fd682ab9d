"""Hand-written SVG for the pages. Colours come from the style sheet through class names, in light and dark mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape as html_escape
from itertools import pairwise

from ftgate.report.escape import clean


def drawing(kind: str, width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """An SVG element of the class ``kind``. ``label`` is what a screen reader says; ``parts`` are elements in it."""
    body = "\n".join(parts)
    return (
        f'<svg class="{kind}" role="img" aria-label="{safe(label)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" xmlns="http://www.w3.org/2000/svg">\n{body}\n</svg>'
    )


def text(words: str, x: float, y: float, kind: str = "small", anchor: str = "start") -> str:
    """A line of text; ``words`` may be untrusted."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{safe(words)}</text>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight line of the class ``kind``."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def mark(status: str, x: float, y: float, *, square: bool = False) -> str:
    """A point whose shape, not its colour alone, says what it is: a disc passes, a cross blocks, a ring is open.

    With ``square`` what passes is a square.
    """
    if status in ("block", "error"):
        arms = f"M{x - 5:.1f},{y - 5:.1f} l10,10 m0,-10 l-10,10"
        return f'<path class="cross s-{status}" d="{arms}"/>'
    if square and status in ("pass", "warn"):
        return f'<rect class="ring s-{status}" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'
    if status in ("pass", "warn"):
        return f'<circle class="dot s-{status}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    return f'<circle class="ring s-{status}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


def safe(words: str) -> str:
    """Untrusted text, escaped."""
    return html_escape(clean(words))


def spaced(places: Sequence[float], least: float, *, most: float = math.inf) -> list[float]:
    """``places`` moved down, in their own order, until any two are ``least`` apart, so that labels do not overlap.

    Where that leads below ``most``, they are moved up again.
    """
    order = sorted(range(len(places)), key=lambda at: places[at])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    for at in reversed(order):
        moved[at] = min(moved[at], most)
        most = moved[at] - least
    return moved
