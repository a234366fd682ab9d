"""Score by distance: both models' mean scores by decile of distance from the training data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ftgate.report import numbers
from ftgate.report.plots.style import MODELS, Picture, footnote, heading, interval, percent_axis, picture
from ftgate.report.schema import MeasurementReport, Report, SliceReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DECILE = re.compile(r"distance decile (\d{1,2})")


def decile_of(part: SliceReport) -> int | None:
    """The distance decile of a slice, from 1; None for any other slice."""
    match = _DECILE.fullmatch(part.name)
    return int(match[1]) if match else None


def _deciles(m: MeasurementReport) -> list[tuple[int, SliceReport]]:
    """The distance deciles that can be drawn, nearest first."""
    tenths = {tenth: part for part in m.slices if (tenth := decile_of(part)) is not None and _drawable(part)}
    return sorted(tenths.items())


def draw_distance(report: Report) -> Picture | None:
    """Mean score of both models by distance decile, with intervals; None if distances were not measured."""
    by_measurement = ((m, _deciles(m)) for m in report.measurements.values())
    m, parts = next(((m, parts) for m, parts in by_measurement if parts), (None, []))
    if m is None:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, (colour, marker) in MODELS.items():
            offset = -0.09 if name == "base" else 0.09
            x, scores = [k + offset for k, _ in parts], [_score(part, name) for _, part in parts]
            bands = [interval(s, part.n, m.level) for s, (_, part) in zip(scores, parts, strict=True)]
            axes.vlines(x, [b.low for b in bands], [b.high for b in bands], color=colour, linewidth=1.4)
            axes.plot(x, scores, color=colour, marker=marker, markersize=6, linewidth=1.8, label=name)
        heading(axes, "Score by distance from the training data")
        axes.set_xlabel("deciles of distance, nearest to the training data first (number of queries below)")
        axes.set_ylabel("mean score")
        axes.set_ylim(0, 1.02)
        axes.set_xticks([k for k, _ in parts], [f"{k}\n{numbers.count(part.n)}" for k, part in parts])
        axes.grid(visible=False, axis="x")
        axes.legend(loc="lower left", ncols=2)
        footnote(axes, f"bars: {numbers.level(m.level)} intervals of each model by itself")
        percent_axis(axes.yaxis)

    ends = [f"{name} {numbers.percent(_score(parts[0][1], name))} and {numbers.percent(_score(parts[-1][1], name))}"
            for name in MODELS]  # fmt: skip
    return picture(
        "distance", f"Score by distance: on the nearest and on the farthest queries, {', '.join(ends)}.", 4.4, draw
    )


def _drawable(part: SliceReport) -> bool:
    scores = (numbers.finite(part.base), numbers.finite(part.candidate))
    return decile_of(part) is not None and part.n > 0 and all(s is not None and 0 <= s <= 1 for s in scores)


def _score(part: SliceReport, name: str) -> float:
    return float((part.base if name == "base" else part.candidate) or 0.0)
