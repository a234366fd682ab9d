"""The forest plot of the web page as hand-written SVG: the interval of each measurement against its limit.

Colours come from the page's style sheet through class names, so that they follow light and dark mode. All text except
ftgate's own numbers goes through ``safe``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftgate.report import numbers
from ftgate.report.explanation import limit_of
from ftgate.report.schema import MeasurementReport, Report
from ftgate.report.svg import drawing, safe
from ftgate.scoring import amounts

LIMIT_AT = 0.72
"""The position of every limit on the shared axis, as a share of its width."""


@dataclass(frozen=True, slots=True)
class AxisInterval:
    """An interval on the shared axis, as shares of its width in [0, 1]: to the right of ``LIMIT_AT`` is harm."""

    low: float
    point: float
    high: float
    zero: float


def place(m: MeasurementReport) -> AxisInterval | None:
    """The position of a measurement on the shared axis; None if there is nothing to draw.

    Gains are mirrored, so that right is always worse. Each measurement has its own scale, on which the bound farthest
    from the limit still fits.
    """
    limit, low, high = limit_of(m), *m.interval
    if limit is None or low is None or high is None or m.change is None:
        return None
    sign = -1.0 if "min_gain" in m.limits else 1.0
    away = [sign * (value - limit) for value in (low, m.change, high, 0.0)]
    room = max(-min(away) / (LIMIT_AT - 0.04), max(away) / (0.96 - LIMIT_AT), 1e-9)
    low_, point, high_, zero = (LIMIT_AT + value / room for value in away)
    return AxisInterval(min(low_, high_), point, max(low_, high_), zero)


def forest(report: Report) -> str:
    """Every measurement's interval as a bar with its estimate, and one line for all limits."""
    rows = [(name, m, place(m)) for name, m in report.measurements.items()]
    left, width, right, top, step = 190, 420, 330, 34, 44
    x = LIMIT_AT * width + left
    height = top + step * len(rows) + 8
    parts = [
        f'<text class="small" x="{x - 8:.1f}" y="16" text-anchor="end">within the limit</text>',
        f'<text class="small" x="{x + 8:.1f}" y="16">beyond it</text>',
        f'<rect class="beyond" x="{x:.1f}" y="{top - 10}" width="{left + width - x:.1f}" height="{height - top}"/>',
    ]
    for i, (name, m, at) in enumerate(rows):
        parts += _forest_row(name, m, at, top + step * i + 14, lambda share: left + width * share)
    parts.append(f'<line class="limit" x1="{x:.1f}" y1="{top - 10}" x2="{x:.1f}" y2="{height - 10}"/>')
    label = "Interval of each measurement against its limit"
    return drawing("forest", left + width + right, height, label, parts)


def _forest_row(
    name: str, m: MeasurementReport, at: AxisInterval | None, y: float, x: Callable[[float], float]
) -> list[str]:
    title, limit = safe(numbers.title(name)[:24]), safe(numbers.limit(m.limits, m.unit, short=True))
    parts = [
        f'<text class="name" x="0" y="{y:.1f}">{title}</text>',
        f'<text class="small" x="0" y="{y + 16:.1f}">{limit}</text>',
    ]
    if at is None:
        return [*parts, f'<text class="small" x="{x(0.04):.1f}" y="{y + 4:.1f}">no estimate</text>']
    status = m.status
    bounds = amounts.within_reach(m.interval, m.base, m.unit)
    caption = safe(numbers.change_and_interval(m.change, bounds, m.unit))
    return [
        *parts,
        f'<line class="zero" x1="{x(at.zero):.1f}" y1="{y - 9:.1f}" x2="{x(at.zero):.1f}" y2="{y + 9:.1f}"/>',
        f'<line class="bar s-{status}" x1="{x(at.low):.1f}" y1="{y:.1f}" x2="{x(at.high):.1f}" y2="{y:.1f}"/>',
        *(
            f'<line class="cap s-{status}" x1="{x(end):.1f}" y1="{y - 6:.1f}" x2="{x(end):.1f}" y2="{y + 6:.1f}"/>'
            for end in (at.low, at.high)
        ),
        f'<circle class="dot s-{status}" cx="{x(at.point):.1f}" cy="{y:.1f}" r="5"/>',
        f'<text class="small" x="{x(1.0) + 12:.1f}" y="{y + 4:.1f}">{caption}</text>',
    ]
