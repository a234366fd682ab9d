"""Reading report.json: refused where it contradicts itself, so that no damaged one reads as an allow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Estimate
from ftgate.errors import ConfigurationError
from ftgate.report import deployed
from ftgate.report.failed_controls import overruling, passes_corrupted, takes_effect
from ftgate.report.schema import SCHEMA_VERSION, MeasurementReport, Number, Report, mapping, parse_report
from ftgate.verdict import assess

STOPPING = ("block", "inconclusive", "error")
"""Statuses of a measurement that gates, with which nothing is allowed."""
NOT_PROVEN = "not proven"
"""`provenance.weights` of a report from the logs of another program, where ftgate ran no control."""
CLOSE = 1e-9
"""Bounds closer than this are one number, rounded."""


def read_report(path: Path | str) -> Report:
    """The report in ``path``, a file or the output folder of a run.

    Raises ConfigurationError if it is not valid, or contradicts itself.
    """
    report = parse_report(path)
    if "schema_version" not in report.model_fields_set:
        raise ConfigurationError(
            f"{path}: schema_version is missing: no run leaves it out, so the file is damaged or was edited",
            hint="decide it again from its answers: ftgate decide FOLDER; or run `ftgate run` again",
        )
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
    yield from _lost_measurements(report)
    for name, m in report.measurements.items():
        problems = (*_problems(m), *_failed_controls(name, m, report.controls))
        yield from (f"measurements.{name}: {problem}" for problem in problems)
    if report.verdict == "allow":
        yield from (f"verdict allow, and {reason}" for reason in (*_stopping(report), *_unshown(report)))


def _stopping(report: Report) -> Iterator[str]:
    """What stands in the way of an allow."""
    gating = {name: m for name, m in report.measurements.items() if m.gates}
    yield from (f"measurements.{n} is {m.status}" for n, m in gating.items() if m.status in STOPPING)
    yield from (f"measurements.{n}.incumbent is {part.status}" for n, part in deployed.failing(report))
    if report.smoke_test:
        yield "it was a smoke test"
    if report.measurements and all(m.status == "not_applicable" for m in gating.values()):
        yield "none of its measurements that gate was made"
    effect = mapping(report.controls.get("adapter_effect"))
    if effect.get("prompts") and not _takes_effect(effect):
        yield "controls.adapter_effect: the weights had no effect"


def _unshown(report: Report) -> Iterator[str]:
    """What every run that allows writes, and ``report`` lacks."""
    yield from (f"{part} is empty" for part in ("checklist", "provenance") if not getattr(report, part))
    if report.provenance.get("weights") == NOT_PROVEN:
        return
    if not report.controls:
        yield "controls is empty"
    if not mapping(report.provenance.get("suites")):
        yield "provenance names no suites"
    if not mapping(report.controls.get("adapter_effect")):
        yield "controls.adapter_effect is missing"
    for control in ("a_a", "positive_control"):
        outcomes = mapping(report.controls.get(control))
        if missing := [name for name in report.measurements if "ok" not in mapping(outcomes.get(name))]:
            yield f"controls.{control} lacks {', '.join(missing)}"
    fitness = mapping(report.controls.get("judge_fitness"))
    for name, m in report.measurements.items():
        if "judge" in m.details and "fit" not in mapping(fitness.get(name)):
            yield f"controls.judge_fitness lacks {name}, which a judge graded"


def _lost_measurements(report: Report) -> Iterator[str]:
    """Measurements that other parts name, and those that ended at no look."""
    suites = mapping(report.provenance.get("suites"))
    yield from (
        f"measurements lacks {name}, which provenance.suites has" for name in suites.keys() - report.measurements
    )
    if report.stopping is not None:
        looks = report.stopping.looks.keys()
        yield from (f"measurements lacks {name}, which stopping.looks has" for name in looks - report.measurements)
        yield from (f"stopping.looks lacks {name}, which was measured" for name in report.measurements.keys() - looks)


def _failed_controls(name: str, m: MeasurementReport, controls: Mapping[str, Any]) -> Iterator[str]:
    """The controls that forbid the pass of a measurement, and did not."""
    if m.status not in ("pass", "warn"):
        return
    fitness = mapping(mapping(controls.get("judge_fitness")).get(name))
    if fitness.get("fit", True) is not True:
        yield f"status {m.status}, and its judge is unfit (controls.judge_fitness)"
    if overruling(name, controls, judged=bool(fitness)) or passes_corrupted(name, controls):
        yield f"status {m.status}, and one of its controls failed"


def _takes_effect(effect: Mapping[str, Any]) -> bool:
    """Whether the weights moved a log-probability; null stands for a number that was not finite, and says nothing."""
    numbers = [effect.get(key, "") for key in ("largest_change", "noise")]
    return None in numbers or (all(isinstance(n, int | float) for n in numbers) and takes_effect(effect))


def _problems(m: MeasurementReport) -> Iterator[str]:
    numbers = [m.base, m.candidate, m.change, m.level, *m.interval, *m.limits.values()]
    if not all(number is None or math.isfinite(number) for number in numbers):
        yield "a number is not finite"
        return
    yield from _pass_problems(m)
    for part, interval, change in (
        ("", m.interval, m.change),
        *((f"slice {part.name}: ", part.interval or (None, None), part.change) for part in m.slices),
        *((("incumbent: ", m.incumbent.interval, m.incumbent.change),) if m.incumbent is not None else ()),
    ):
        yield from (f"{part}{problem}" for problem in _of_interval(interval, change))


def _pass_problems(m: MeasurementReport) -> Iterator[str]:
    """What is wrong with a pass, by its numbers."""
    if m.status not in ("pass", "warn"):
        return
    limit = m.limits.get("block" if m.worse == "up" else "min_gain")
    if m.n < 1 or m.change is None or limit is None:
        missing = "items" if m.n < 1 else "change" if m.change is None else "limit"
        yield f"status {m.status}, and it has no {missing}"
    elif (m.change - limit) * (1 if m.worse == "up" else -1) > 0:
        yield f"status {m.status}, and its change {m.change:g} is beyond its limit {limit:g}"
    elif (decided := _decided(m, m.change, limit)) != m.status:
        yield f"status {m.status}, and by its interval and limits it is {decided}"


def _of_interval(interval: tuple[Number, Number], change: Number) -> Iterator[str]:
    """What is wrong with an interval. An estimate that is biased may lie beside its own, but never far from it."""
    low, high = interval
    if low is None or high is None:
        return
    if low > high + CLOSE:
        yield f"its interval is the wrong way round ({low:g} to {high:g})"
    elif change is not None and not low - (high - low) - CLOSE <= change <= high + (high - low) + CLOSE:
        yield f"its change {change:g} is far outside its interval ({low:g} to {high:g})"


def _decided(m: MeasurementReport, change: float, limit: float) -> str:
    """The status that the numbers give. The rule is known by the reason: that of an interval has it in brackets."""
    low, high = (math.nan if bound is None else bound for bound in m.interval)
    estimate = Estimate(
        measurement="",
        base=math.nan,
        candidate=math.nan,
        change=change,
        unit=m.unit,
        interval=(low, high),
        level=m.level,
        n=m.n,
        method=m.method,
        worse=m.worse,
        limit=limit,
        warn_limit=m.limits.get("warn"),
    )
    return assess(estimate, EvidenceSettings(rule="interval" if "(" in m.reason else "point")).status.value
