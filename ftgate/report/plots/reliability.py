"""Reliability diagram: accuracy of each model by confidence, and the number of items in each bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftgate.report import numbers
from ftgate.report.calibration_curve import Bin, CurvePoint, bins_of, with_bins
from ftgate.report.plots.style import FAINT, MODELS, Picture, footnote, heading, interval, percent_axis, picture
from ftgate.report.schema import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_reliability(report: Report) -> Picture | None:
    """Both models' accuracy over confidence with Wilson intervals; None without calibration bins."""
    m, bins = with_bins(report), bins_of(report)
    if m is None or not bins:
        return None
    level = m.level

    def draw(figure: Figure) -> None:
        curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        _curve(curve, bins, level)
        _counts(counts, bins)

    return picture("reliability", _alt(bins), 6.4, draw)


def _curve(axes: Axes, bins: Sequence[Bin], level: float) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=(0, (5, 4)), linewidth=1.2, label="perfect calibration")
    for name, (colour, marker) in MODELS.items():
        points = [p for p in (_point(b, name) for b in bins) if p is not None]
        x = [p.confidence for p in points]
        bands = [interval(p.accuracy, p.n, level) for p in points]
        low, high = [b.low for b in bands], [b.high for b in bands]
        axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.vlines(x, low, high, color=colour, linewidth=1.2)
        axes.plot(
            x,
            [p.accuracy for p in points],
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=1.8,
            label=name,
            clip_on=False,
        )
    heading(axes, "Accuracy by confidence")
    axes.set_ylabel("accuracy")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="upper left")
    footnote(axes, f"below the dashed line: overconfident; bars and bands: {numbers.level(level)} intervals")
    percent_axis(axes.yaxis)


def _counts(axes: Axes, bins: Sequence[Bin]) -> None:
    for place, (name, (colour, _)) in enumerate(MODELS.items()):
        for b in bins:
            point, half = _point(b, name), (b.high - b.low) / 2
            if point is not None:
                axes.bar(b.low + place * half, point.n, 0.92 * half, align="edge", color=colour)
    axes.set_ylabel("items")
    axes.set_xlabel("confidence")
    axes.grid(visible=False, axis="x")
    percent_axis(axes.xaxis)


def _point(b: Bin, name: str) -> CurvePoint | None:
    return b.base if name == "base" else b.candidate


def _alt(bins: Sequence[Bin]) -> str:
    """Each model's mean confidence and accuracy over all bins."""
    parts = []
    for name in MODELS:
        points = [p for p in (_point(b, name) for b in bins) if p is not None]
        n = sum(p.n for p in points)
        if n:
            sure, right = (sum(v * p.n for v, p in zip(vs, points, strict=True)) / n for vs in _columns(points))
            parts.append(
                f"{name} has confidence {numbers.percent(sure)} and accuracy {numbers.percent(right)} on {n} items"
            )
    return f"Reliability diagram: {'; '.join(parts)}."


def _columns(points: Sequence[CurvePoint]) -> tuple[list[float], list[float]]:
    return [p.confidence for p in points], [p.accuracy for p in points]
