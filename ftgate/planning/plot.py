"""The picture of ``ftgate plan --plot``: power against the number of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftgate.planning.plan import Plan, PowerPoint
from ftgate.planning.simulate import POWER
from ftgate.report import numbers
from ftgate.report.plots.style import BLUE, FAINT, GREEN, PURPLE, VERMILION, Picture, heading, percent_axis, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = ((BLUE, "-", "o"), (VERMILION, "--", "s"), (GREEN, ":", "D"), (PURPLE, "-.", "^"))
"""Colour, dashes and marker of each measurement's curve, in the plan's order."""


def draw_power(plan: Plan) -> Picture:
    """One power curve per measurement, with a marker at the available number of items.

    The number of items is on a logarithmic axis.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for p, (colour, dashes, marker) in zip(plan.prospects, LINES * len(plan.prospects), strict=False):
            needed = numbers.NONE if p.needed is None else numbers.count(p.needed)
            label = f"{numbers.title(p.name)}\nhas {numbers.count(p.compared)}, 80 % at {needed}"
            x, y = _columns(p.curve)
            axes.plot(x, y, color=colour, linestyle=dashes, linewidth=2)
            axes.plot([], [], color=colour, linestyle=dashes, linewidth=2, marker=marker, markersize=7, label=label)
            axes.plot(max(p.compared, 1), p.power, color=colour, marker=marker, markersize=7, linestyle="none")
        heading(axes, "Power: how often a good candidate passes, by the number of compared items")
        axes.axhline(POWER, color=FAINT, linewidth=1.2, linestyle=(0, (5, 4)))
        axes.set_xscale("log")
        axes.set_xlabel("compared items")
        axes.set_ylabel("power: good candidates that pass")
        axes.set_ylim(-0.02, 1.03)
        _counts(axes.xaxis)
        percent_axis(axes.yaxis)
        if plan.prospects:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), labelspacing=1.0)

    ends = [
        f"{numbers.title(p.name)} {numbers.decimal(100 * p.power, 0)} % with {numbers.count(p.compared)} items"
        for p in plan.prospects
    ]
    return picture("power", f"Power against the number of items: {'; '.join(ends) or 'nothing to plan'}.", 4.4, draw)


def _columns(curve: Sequence[PowerPoint]) -> tuple[list[int], list[float]]:
    return [max(point.n, 1) for point in curve], [point.power for point in curve]


def _counts(axis: object) -> None:
    """Whole numbers at 1, 2 and 5 times the powers of ten."""
    from matplotlib.axis import Axis
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    assert isinstance(axis, Axis)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda n, _: numbers.count(round(n)) if n >= 1 else ""))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
