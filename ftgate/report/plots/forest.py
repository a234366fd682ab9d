"""Forest plot of the slices: the change in each slice, with lines at the limit and at no change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftgate.report import numbers
from ftgate.report.explanation import limit_of
from ftgate.report.plots.distance import decile_of
from ftgate.report.plots.style import BLUE, FAINT, INK, ORANGE, VERMILION, Picture, heading, label, picture
from ftgate.report.schema import MeasurementReport, Number, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 24
"""At most this many slices of a measurement are drawn: those that lost most."""
MOST_PANELS = 6
"""At most this many measurements are drawn, to limit the size of the picture."""
ROW = 0.27
STATUS_STYLES = {"beyond": (VERMILION, "D"), "worse": (ORANGE, "s")}
"""Colour and marker by a slice's status; any other status is plain."""
PLAIN = (BLUE, "o")


@dataclass(frozen=True, slots=True)
class _SliceRow:
    """One line. ``harm`` is the change with the sign for which larger is worse; the others are as reported."""

    name: str
    n: int
    change: float
    low: float | None
    high: float | None
    status: str
    harm: float


def draw_slices(report: Report) -> Picture | None:
    """The slices of each measurement, without distance deciles; None if there is nothing to draw."""
    panels = [(name, m, _rows(m)) for name, m in report.measurements.items()]
    panels = [panel for panel in panels if panel[2]][:MOST_PANELS]
    if not panels:
        return None
    sizes = [max(3, min(len(rows), MOST_ROWS) + 2) for _, _, rows in panels]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sizes)[:, 0]
        for at, (name, m, rows) in zip(axes, panels, strict=True):
            _panel(at, name, m, rows)

    return picture("slices", _alt(panels), ROW * sum(sizes) + 0.95 * len(panels), draw)


def _rows(m: MeasurementReport) -> list[_SliceRow]:
    """The slices that can be drawn, most harmed first."""
    sign = -1.0 if "min_gain" in m.limits else 1.0
    rows = []
    for part in m.slices:
        change = numbers.finite(part.change)
        if decile_of(part) is not None or change is None:
            continue
        low, high = (numbers.finite(bound) for bound in part.interval or (None, None))
        name = label(part.name, 32) or "(no name)"
        rows.append(_SliceRow(name, part.n, change, low, high, part.status, sign * change))
    return sorted(rows, key=lambda row: -row.harm)


def _panel(axes: Axes, name: str, m: MeasurementReport, rows: Sequence[_SliceRow]) -> None:
    drawn, hidden = rows[:MOST_ROWS], len(rows) - MOST_ROWS
    total = numbers.finite(m.change)
    low, high = _range(m, drawn)
    names, counts = [row.name for row in drawn], [_caption(row, m) for row in drawn]
    marks = _Marks((low, high))
    for y, row in enumerate(drawn):
        colour, marker = STATUS_STYLES.get(row.status, PLAIN)
        marks.add_interval(y, (row.low, row.high), colour)
        filled = colour if row.low is not None or row.high is not None else "white"
        marks.add(row.change, y, marker, 6, colour, filled)
    if total is not None:
        y = len(drawn)
        marks.add_interval(y, (numbers.finite(m.interval[0]), numbers.finite(m.interval[1])), INK)
        marks.add(total, y, "d", 8, INK, INK)
        names.append("all items")
        counts.append(f"{numbers.count(m.n)} · {numbers.change(m.change, m.unit)}")
    marks.draw(axes)
    axes.set_xlim(low, high)
    _limits(axes, m)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    for y, count in enumerate(counts):  # as texts: a second axis takes as long to draw as the rest of the panel
        axes.annotate(
            count, (1, y), xycoords=axes.get_yaxis_transform(), xytext=(8, 0), textcoords="offset points",
            va="center", color=INK,
        )  # fmt: skip
    worse = "left" if "min_gain" in m.limits else "right"
    text = f"{numbers.title(label(name))}: change by slice ({worse} is worse"
    heading(axes, text + (f"; the {MOST_ROWS} worst of {numbers.count(len(rows))})" if hidden > 0 else ")"))
    _ticks(axes.xaxis, m.unit)


class _Marks:
    """Estimates and their intervals, clipped to ``span`` and drawn together: matplotlib takes long for each call."""

    def __init__(self, span: tuple[float, float]) -> None:
        self._span = span
        self._bars: list[tuple[float, float, float, str]] = []
        self._points: dict[tuple[str, float, str, str], list[tuple[float, float]]] = {}

    def add(self, x: float, y: float, marker: str, size: float, colour: str, filled: str) -> None:
        """A point."""
        low, high = self._span
        self._points.setdefault((marker, size, colour, filled), []).append((min(max(x, low), high), y))

    def add_interval(self, y: float, bounds: tuple[Number, Number], colour: str) -> None:
        """A bar between the bounds; a bound that is infinite or outside the axis becomes an arrow."""
        if bounds == (None, None):
            return
        limits = (-math.inf if bounds[0] is None else bounds[0], math.inf if bounds[1] is None else bounds[1])
        ends = [min(max(bound, self._span[0]), self._span[1]) for bound in limits]
        self._bars.append((y, ends[0], ends[1], colour))
        for end, bound, arrow in zip(ends, limits, "<>", strict=True):
            self.add(end, y, "|" if bound == end else arrow, 6, colour, colour)

    def draw(self, axes: Axes) -> None:
        """Draw all of them."""
        if self._bars:
            y, low, high, colours = zip(*self._bars, strict=True)
            axes.hlines(y, low, high, color=colours, linewidth=1.8)
        for (marker, size, colour, filled), points in self._points.items():
            x, y = zip(*points, strict=True)
            axes.plot(
                x, y, marker=marker, markersize=size, color=colour, markerfacecolor=filled, linestyle="none",
                clip_on=False,
            )  # fmt: skip


def _limits(axes: Axes, m: MeasurementReport) -> None:
    axes.axvline(0, color=FAINT, linewidth=1, linestyle=(0, (3, 2)))
    limit = numbers.finite(limit_of(m))
    if limit:
        axes.axvline(limit, color=INK, linewidth=1.3)
        low, high = axes.get_xlim()
        side = -1 if limit > low + 0.85 * (high - low) else 1
        axes.annotate(
            "limit", (limit, 0), xycoords=("data", "axes fraction"), xytext=(3 * side, 3), textcoords="offset points",
            ha="left" if side > 0 else "right", fontsize=8.5, color=FAINT,
        )  # fmt: skip


def _range(m: MeasurementReport, rows: Sequence[_SliceRow]) -> tuple[float, float]:
    """The range of the axis: all estimates and intervals, clipped to [-1, 1]."""
    limit = limit_of(m) or 0.0
    values = [0.0, limit, *(v for r in rows for v in (r.change, r.low, r.high) if v is not None)]
    values += [v for v in (m.change, *m.interval) if numbers.finite(v) is not None and v is not None]
    low, high = max(min(values), -1.0), min(max(values), 1.0)
    room = 0.06 * max(high - low, 0.02)
    return low - room, high + room


def _caption(row: _SliceRow, m: MeasurementReport) -> str:
    text = f"{numbers.count(row.n)} · {numbers.change(row.change, m.unit)}"
    return f"{text}, {numbers.slice_status(row.status)}" if row.status in STATUS_STYLES else text


def _ticks(axis: Any, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    # "points" is a long word: more ticks would run into each other.
    axis.set_major_locator(MaxNLocator(3 if numbers.kind(unit) in ("gain", "loss", "rise") else 5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: numbers.amount(float(value), unit).replace(".0 ", " ")))


def _alt(panels: Sequence[tuple[str, MeasurementReport, Sequence[_SliceRow]]]) -> str:
    worst = [
        f"{numbers.title(label(name))}: {len(rows)} slices, worst {rows[0].name} "
        f"({numbers.change(rows[0].change, m.unit)})"
        for name, m, rows in panels
    ]
    return f"Forest plot of slices. {'; '.join(worst)}."
