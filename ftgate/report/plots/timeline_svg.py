"""The picture of a time line: one panel for each measurement, with up as better, against base and deployed model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftgate.report import numbers, svg
from ftgate.report.escape import clip

LEFT, RIGHT, TOP, PANEL, GAP = 70, 730, 48, 92, 34
SIDE = 10
"""How far left and right of its release the two marks stand, against base and against deployed model."""
Pair = tuple["TimePoint | None", "TimePoint | None"]


@dataclass(frozen=True, slots=True)
class TimePoint:
    """A change as a share in which up is better, its interval and its status."""

    value: float
    interval: tuple[float, float] | None
    status: str


def timeline_plot(
    title: str,
    labels: Sequence[str],
    verdicts: Sequence[str],
    panels: Mapping[str, Sequence[Pair]],
    breaks: Sequence[int],
) -> str:
    """One column for each release, labelled at the bottom; a line in front of the columns in ``breaks``.

    Each pair is the change against the base and that against the deployed model. Empty without panels.
    """
    if not panels or not labels:
        return ""
    bottom = TOP + len(panels) * (PANEL + GAP) - GAP
    parts = [
        svg.text("● against the base", LEFT, 16),
        svg.text("□ against the deployed model", LEFT + 150, 16),
        svg.text("up is better", RIGHT, 16, anchor="end"),
    ]
    for row, (name, pairs) in enumerate(panels.items()):
        parts += _panel(name, pairs, TOP + row * (PANEL + GAP), breaks)
    parts += [svg.line("break", _x(at - 0.5, labels), TOP, _x(at - 0.5, labels), bottom) for at in breaks]
    for at, (label, verdict) in enumerate(zip(labels, verdicts, strict=True)):
        x = _x(at, labels)
        step = max(len(labels) // 8, 1)
        parts.append(svg.text(numbers.SYMBOLS.get(verdict, ""), x, bottom + 18, "name", "middle"))
        if at % step == 0:
            parts.append(svg.text(clip(label, 14), x, bottom + 36, anchor="middle"))
    description = f"{clip(title, 100)}: {len(labels)} releases, verdicts {', '.join(verdicts)}"
    return svg.drawing("chart", RIGHT + 30, bottom + 46, description, parts)


def _x(at: float, columns: Sequence[object]) -> float:
    return LEFT + (at + 0.5) * (RIGHT - LEFT) / len(columns)


def _panel(name: str, pairs: Sequence[Pair], top: float, breaks: Sequence[int]) -> list[str]:
    points = [point for pair in pairs for point in pair if point is not None]
    values: list[float] = [v for p in points for v in (p.value, *(p.interval or ()))]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    room = 0.12 * (high - low) or 0.01

    def y(value: float) -> float:
        return top + PANEL - (value - low + room) / (high - low + 2 * room) * PANEL

    parts = [
        svg.text(clip(name, 40), LEFT, top - 4, "name"),
        svg.line("axis", LEFT, top, LEFT, top + PANEL),
        svg.line("zero", LEFT, y(0.0), RIGHT, y(0.0)),
    ]
    parts += [
        svg.text(numbers.percent(value, signed=value != 0), LEFT - 6, y(value) + 4, anchor="end")
        for value in sorted({low, 0.0, high})
        if value == 0.0 or abs(y(value) - y(0.0)) > 12
    ]
    for before, after in ((at - 1, at) for at in range(1, len(pairs)) if at not in breaks):
        ends = pairs[before][0], pairs[after][0]
        if ends[0] is not None and ends[1] is not None:
            xs = (_x(at, pairs) - SIDE for at in (before, after))
            (x1, x2), y1, y2 = xs, y(ends[0].value), y(ends[1].value)
            parts.append(svg.line("course", x1, y1, x2, y2))
    for at, pair in enumerate(pairs):
        for point, side in zip(pair, (-SIDE, SIDE), strict=True):
            if point is not None:
                x = _x(at, pairs) + side
                bounds = point.interval or (point.value, point.value)
                parts.append(svg.line(f"bar s-{point.status}", x, y(bounds[0]), x, y(bounds[1])))
                parts.append(svg.mark(point.status, x, y(point.value), square=side > 0))
    return parts
