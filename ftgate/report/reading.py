"""Reading report.json: refused where it contradicts itself, so that no damaged one reads as an allow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from ftgate.errors import ConfigurationError
from ftgate.report import deployed
from ftgate.report.schema import SCHEMA_VERSION, MeasurementReport, Report, parse_report

STOPPING = ("block", "inconclusive", "error")
"""Statuses of a measurement that gates, with which nothing is allowed."""


def read_report(path: Path | str) -> Report:
    """The report in ``path``, a file or the output folder of a run.

    Raises ConfigurationError if it is not valid, or contradicts itself.
    """
    report = parse_report(path)
    if report.schema_version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise ConfigurationError(
            f"{path}: schema_version {report.schema_version!a}, and this ftgate reads {SCHEMA_VERSION}",
            hint="use the version of ftgate that wrote it, or decide it again: ftgate decide FOLDER",
        )
    if problem := next(contradictions(report), ""):
        raise ConfigurationError(
            f"{path}: {problem}: no run writes that, so the file is damaged or was edited",
            hint="decide it again from its answers: ftgate decide FOLDER; or run `ftgate run` again",
        )
    return report


def contradictions(report: Report) -> Iterator[str]:
    """What in ``report`` contradicts itself, gravest first: it was damaged, cut short, or edited.

    This is no proof that the rest is true: only a second decision from the answers is.
    """
    if not report.measurements:
        yield f"verdict {report.verdict}, and nothing was measured"
    for name, m in report.measurements.items():
        yield from (f"measurements.{name}: {problem}" for problem in _problems(m))
    if report.verdict != "allow":
        return
    gating = {name: m for name, m in report.measurements.items() if m.gates}
    stopping = [f"measurements.{n} is {m.status}" for n, m in gating.items() if m.status in STOPPING]
    stopping += [f"measurements.{n}.incumbent is {part.status}" for n, part in deployed.failing(report)]
    if report.smoke_test:
        stopping.append("it was a smoke test")
    if report.measurements and all(m.status == "not_applicable" for m in gating.values()):
        stopping.append("none of its measurements that gate was made")
    yield from (f"verdict allow, and {reason}" for reason in stopping)


def _problems(m: MeasurementReport) -> Iterator[str]:
    numbers = [m.base, m.candidate, m.change, m.level, *m.interval, *m.limits.values()]
    if not all(number is None or math.isfinite(number) for number in numbers):
        yield "a number is not finite"
        return
    if m.status not in ("pass", "warn"):
        return
    limit = m.limits.get("block" if m.worse == "up" else "min_gain")
    if m.n < 1 or m.change is None or limit is None:
        missing = "items" if m.n < 1 else "change" if m.change is None else "limit"
        yield f"status {m.status}, and it has no {missing}"
    elif (m.change - limit) * (1 if m.worse == "up" else -1) > 0:
        yield f"status {m.status}, and its change {m.change:g} is beyond its limit {limit:g}"
