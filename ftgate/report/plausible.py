"""Numbers of a report that no run can write: intervals, scores and counts that do not belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ftgate.measurements.estimate import ABSOLUTE, CORRECTED, RELATIVE
from ftgate.measurements.registry import kind_of
from ftgate.report.numbers import finite
from ftgate.report.schema import MeasurementReport, Number, Report, mapping

CLOSE = 1e-9
"""Bounds closer than this are one number, rounded."""
ROUNDED = 1e-3
"""A change and the scores that it follows from are shown to a tenth of a point."""
SCORE_TEST, BOOTSTRAP = "score test", "studentised bootstrap"
"""How the methods begin whose change follows from the two scores."""


def not_finite(m: MeasurementReport) -> bool:
    """Whether a number that should be finite is not."""
    numbers = [m.base, m.candidate, *m.limits.values()]
    numbers += [number for _, interval, change in _intervals(m) for number in (*interval, change)]
    return not all(number is None or math.isfinite(number) for number in numbers)


def implausible(name: str, m: MeasurementReport, report: Report) -> Iterator[str]:
    """What in the numbers of one measurement no run writes; all of them are finite."""
    for part, interval, change in _intervals(m):
        yield from (f"{part}{problem}" for problem in _of_interval(interval, change))
    items = mapping(mapping(report.provenance.get("suites")).get(name)).get("items")
    yield from _of_counts(m, items if isinstance(items, int) else None)
    kind = kind_of(m.kind or name)
    if kind is None:
        return
    if kind.worse != m.worse:
        yield f"worse {m.worse!r}, and for {kind.kind} {kind.worse!r} is worse"
    for side, score in (("base", m.base), ("candidate", m.candidate)):
        if score is not None and not -CLOSE <= score <= 1 + CLOSE:
            yield f"{side} {score:g}: a score from 0 to 1 was expected"
    yield from _of_scores(m)


def _intervals(m: MeasurementReport) -> list[tuple[str, tuple[Number, Number], Number]]:
    """The intervals of the measurement, its slices and its comparison with the incumbent, each with its change."""
    parts = [(f"slice {part.name:.80}: ", part.interval or (None, None), part.change) for part in m.slices]
    against = [("incumbent: ", m.incumbent.interval, m.incumbent.change)] if m.incumbent is not None else []
    return [("", m.interval, m.change), *parts, *against]


def _of_interval(interval: tuple[Number, Number], change: Number) -> Iterator[str]:
    """What is wrong with an interval. An estimate that is biased may lie beside its own, but never far from it."""
    low, high = interval
    if low is None or high is None:
        return
    if low > high + CLOSE:
        yield f"its interval is the wrong way round ({low:g} to {high:g})"
    elif change is not None and not low - (high - low) - CLOSE <= change <= high + (high - low) + CLOSE:
        yield f"its change {change:g} is far outside its interval ({low:g} to {high:g})"


def _of_scores(m: MeasurementReport) -> Iterator[str]:
    """What is wrong with the change or the width of the interval, by the two scores and the method."""
    if m.change is None or m.base is None or m.candidate is None or m.n < 1:
        return
    by_test = m.method.startswith(SCORE_TEST)
    # Resamples do not differ where no item changed, or all items, or all clusters, changed by the same.
    unchanged = abs(m.base - m.candidate) <= CLOSE and abs(m.change) <= CLOSE
    alike = unchanged or m.regressed + m.improved >= m.n or "clusters" in m.method
    if m.status != "block" and _without_width(m.interval) and (by_test or not alike):
        yield f"its interval has no width ({m.interval[0]:g}), on {m.n} items"
    if not by_test and (not m.method.startswith(BOOTSTRAP) or CORRECTED in m.method):
        return
    change = _change(m, m.base, m.candidate)
    if change is not None and abs(change - m.change) > ROUNDED * max(1.0, abs(change)):
        yield f"its change is {m.change:g}, and from {m.base:g} to {m.candidate:g} it is {change:g}"


def _change(m: MeasurementReport, base: float, candidate: float) -> float | None:
    """The change from ``base`` to ``candidate`` in the measurement's unit; None where that cannot be said."""
    if m.unit == RELATIVE:
        floor = finite(m.details.get("judge_floor")) or 0.0
        follows = base - floor > ROUNDED and ("floor" in m.method) is ("judge_floor" in m.details)
        return (base - candidate) / (base - floor) if follows else None
    return base - candidate if m.unit == ABSOLUTE else candidate - base


def _of_counts(m: MeasurementReport, items: int | None) -> Iterator[str]:
    """What is wrong with ``n``, ``rows`` and the numbers of items that changed; the suite has ``items`` rows."""
    if m.rows is not None and m.n > m.rows:
        yield f"n {m.n} is more than its rows, {m.rows}"
    rows = m.n if m.rows is None else m.rows
    if items is not None and rows > items:
        field = "n" if m.rows is None else "rows"
        yield f"{field} {rows} is more than its suite has (provenance.suites: {items} items)"


def _without_width(interval: tuple[Number, Number]) -> bool:
    low, high = interval
    return low is not None and high is not None and abs(high - low) <= CLOSE
