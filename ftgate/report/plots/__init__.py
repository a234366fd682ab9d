"""The report's pictures, as SVG and PNG, drawn from report.json alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ftgate.files import write_whole
from ftgate.report.plots.distance import draw_distance
from ftgate.report.plots.forest import draw_slices
from ftgate.report.plots.reliability import draw_reliability
from ftgate.report.plots.style import Picture
from ftgate.report.schema import Report

__all__ = ["Picture", "pictures", "write_pictures"]

DRAWN: dict[str, Callable[[Report], Picture | None]] = {
    "reliability": draw_reliability,
    "distance": draw_distance,
    "slices": draw_slices,
}


def pictures(report: Report) -> dict[str, Picture]:
    """Every picture that the report has the numbers for, by name."""
    drawn = {name: draw(report) for name, draw in DRAWN.items()}
    return {name: drawing for name, drawing in drawn.items() if drawing is not None}


def write_pictures(drawn: Mapping[str, Picture], directory: Path) -> None:
    """Write NAME.svg and NAME.png into ``directory``, each atomically; pictures of an earlier report are removed."""
    directory.mkdir(exist_ok=True)
    for name in DRAWN:
        for suffix in (".svg", ".png"):
            path = directory / f"{name}{suffix}"
            if name not in drawn:
                path.unlink(missing_ok=True)
                continue
            write_whole(path, drawn[name].content(suffix))
