"""The calibration curve of both models, accuracy by confidence: data, table and Mermaid chart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftgate.report import numbers
from ftgate.report.schema import MeasurementReport, Number, Report

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8c8c8c"
"""Blue for the base, vermilion for the candidate: distinguishable with any colour vision (Okabe and Ito 2008)."""
MAX_BINS = 100


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One model in one bin: ``n`` items, their mean confidence and accuracy, both in [0, 1]."""

    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Bin:
    """A range of confidence and each model's point in it; None for a model without items there."""

    low: float
    high: float
    base: CurvePoint | None
    candidate: CurvePoint | None


def with_bins(report: Report) -> MeasurementReport | None:
    """The measurement with confidence bins in its details, if there is one."""
    models = ("base", "candidate")
    with_curve = (m for m in report.measurements.values() if any(_points(m.details.get(model)) for model in models))
    return next(with_curve, None)


def bins_of(report: Report) -> list[Bin]:
    """The bins with items of at least one model, lowest confidence first; empty without calibration."""
    m = with_bins(report)
    if m is None:
        return []
    base, candidate = _points(m.details.get("base")), _points(m.details.get("candidate"))
    return [Bin(*edges, base.get(edges), candidate.get(edges)) for edges in sorted({*base, *candidate})]


def bin_rows(bins: list[Bin]) -> list[tuple[str, str, str, str, str]]:
    """Confidence range, then items and accuracy of base and candidate."""
    return [(numbers.bin_range(b.low, b.high), *_cells(b.base), *_cells(b.candidate)) for b in bins]


def mermaid(bins: list[Bin]) -> str:
    """The curve as the source of a Mermaid chart; empty if fewer than two bins have items of both models.

    A Mermaid line needs a value at every point of the axis, so only bins with items of both models are drawn.
    """
    shared = [(b, b.base, b.candidate) for b in bins if b.base is not None and b.candidate is not None]
    if len(shared) < 2:
        return ""
    labels = ", ".join(f'"{numbers.bin_range(b.low, b.high)}"' for b, _, _ in shared)
    ideal = _numbers([50 * (b.low + b.high) for b, _, _ in shared])
    base = _numbers([100 * p.accuracy for _, p, _ in shared])
    candidate = _numbers([100 * p.accuracy for _, _, p in shared])
    palette = f"{GREY}, {BLUE}, {ORANGE}"
    return "\n".join(
        [
            f'%%{{init: {{"themeVariables": {{"xyChart": {{"plotColorPalette": "{palette}"}}}}}}}}%%',
            "xychart-beta",
            '    title "Accuracy by confidence"',
            f'    x-axis "confidence" [{labels}]',
            '    y-axis "accuracy in %" 0 --> 100',
            f"    line [{ideal}]",
            f"    line [{base}]",
            f"    line [{candidate}]",
        ]
    )


def _points(summary: Any) -> dict[tuple[float, float], CurvePoint]:
    """The valid bins of one model by their edges; anything else is skipped."""
    rows = summary.get("bins") if isinstance(summary, Mapping) else None
    points = {}
    for row in rows[:MAX_BINS] if isinstance(rows, list) else []:
        if not isinstance(row, Mapping):
            continue
        low, high, n, confidence, accuracy = (
            numbers.finite(row.get(key)) for key in ("low", "high", "n", "confidence", "accuracy")
        )
        if low is None or high is None or not n or confidence is None or accuracy is None:
            continue
        points[(_share(low), _share(high))] = CurvePoint(int(n), _share(confidence), _share(accuracy))
    return points


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _cells(point: CurvePoint | None) -> tuple[str, str]:
    return (numbers.NONE, numbers.NONE) if point is None else (numbers.count(point.n), numbers.percent(point.accuracy))


def _numbers(values: list[Number]) -> str:
    return ", ".join(numbers.decimal(value, 1) for value in values)
