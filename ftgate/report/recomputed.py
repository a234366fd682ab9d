"""What a report's own numbers come to: statuses and verdict, by the functions that decide a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Estimate, Finding, Slice, Status
from ftgate.measurements.estimate import ABSOLUTE, NEXT_TO_NOTHING, RELATIVE
from ftgate.measurements.form import Form
from ftgate.measurements.incumbent import objections
from ftgate.measurements.registry import DERIVED
from ftgate.measurements.safety import COMPLIANCE
from ftgate.report.plausible import CLOSE
from ftgate.report.schema import IncumbentReport, MeasurementReport, Number, Report, SliceReport
from ftgate.verdict import assess, decide

PASSED = ("pass", "warn")
OPEN = ("inconclusive", "error")
"""Statuses that a run gives for reasons beside the numbers, too: a judge that is unfit, a control that failed."""
MOST_LOOKS_AT_THE_END = 2
"""Without early stopping a run looks after ``n`` items and, where the policy has one, after ``n_max``."""
Rules = tuple[EvidenceSettings, ...]


def rules_of(report: Report) -> Rules:
    """By what the run decided: intervals or the bare estimate; both where the report does not show it.

    A run with early stopping looks several times, and one that decides by the estimate does not stop early. Else the
    reasons of what passed show it: those of intervals have them in brackets.
    """
    stopping, interval, point = report.stopping, EvidenceSettings(), EvidenceSettings(rule="point")
    if stopping is not None and stopping.of > MOST_LOOKS_AT_THE_END:
        return (interval,)
    if stopping is not None and stopping.rule != "none":
        return (point,)
    passed = ["(" in m.reason for m in report.measurements.values() if m.status in PASSED]
    return ((interval,) if any(passed) else (point,)) if passed else (interval, point)


def status_problem(reported: Finding, evidence: EvidenceSettings) -> str:
    """Why the status of ``reported`` does not follow from its estimate under ``evidence``; empty if it may.

    A run may call any result inconclusive for reasons that the numbers do not show. That there was nothing to decide
    they do not show either, only that nothing blocks; the answers do.
    """
    least_level = 1 - 2 * evidence.alpha
    if evidence.rule == "interval" and reported.estimate.level < least_level - CLOSE:
        return f"its interval has level {reported.estimate.level:g}, but the policy asks for more"
    recomputed = assess(reported.estimate, evidence).status
    if reported.status is Status.NOT_APPLICABLE and recomputed is not Status.BLOCK:
        return ""
    if reported.status not in (recomputed, Status.INCONCLUSIVE, Status.ERROR):
        return f"it says {reported.status.value}, but its numbers give {recomputed.value}"
    return ""


def measurement_problems(name: str, m: MeasurementReport, rules: Rules) -> Iterator[str]:
    """How the status of ``m`` does not follow from its numbers."""
    if m.status in OPEN:
        return
    limit = m.limits.get("block" if m.worse == "up" else "min_gain")
    if limit is None:
        yield f"status {m.status}, and it has no limit"
        return
    if m.status != "not_applicable" and (m.n < 1 or m.change is None):
        yield f"status {m.status}, and it has no {'items' if m.n < 1 else 'change'}"
        return
    estimate = _by_own_limits(name, m, limit)
    decided = [_decided(estimate, m.status, m.reason, rule) for rule in rules]
    if m.status in PASSED and m.change is not None and (m.change - limit) * (1 if m.worse == "up" else -1) > 0:
        yield f"status {m.status}, and its change {m.change:g} is beyond its limit {limit:g}"
    elif m.status in PASSED and m.least_n is not None and m.n < m.least_n:
        yield f"status {m.status}, and it has {m.n} items of the {m.least_n} (least_n) that a pass needs"
    elif m.status not in decided:
        yield f"status {m.status}, and by its interval and limits it is {decided[0]}"
    elif m.status == "not_applicable" and (something := _something_to_decide(name, m, limit)):
        yield f"status not_applicable, and {something}"


def incumbent_problems(part: IncumbentReport, rules: Rules) -> Iterator[str]:
    """How the status against the deployed model does not follow from its numbers."""
    if part.status in OPEN:
        return
    if part.status != "not_applicable" and (part.n < 1 or part.change is None):
        yield f"status {part.status}, and it has no {'items' if part.n < 1 else 'change'}"
        return
    decided = [_decided(reported_comparison(part), part.status, part.reason, rule) for rule in rules]
    # The limit of a warning is that of a block there, and an estimate on the limit itself reaches both.
    if part.status.replace("warn", "pass") not in decided:
        yield f"status {part.status}, and by its interval and limit it is {decided[0]}"


def verdict_problems(report: Report) -> Iterator[str]:
    """How the verdict does not follow from the statuses. What is undecided may hold or block; that a policy says."""
    findings = [_finding(name, m) for name, m in report.measurements.items()]
    rivals = {
        name: Finding(
            reported_comparison(m.incumbent),
            Status(m.incumbent.status),
            "",
            None,
            m.incumbent.cut_short_by,
            "",
            m.tier,
        )
        for name, m in report.measurements.items()
        if m.incumbent is not None
    }
    asking_nothing = {kind.kind for kind in DERIVED}
    derived = [name for name, m in report.measurements.items() if (m.kind or name) in asking_nothing]
    settings = (EvidenceSettings(on_inconclusive="hold"), EvidenceSettings(on_inconclusive="block"))
    possible = [decide([*findings, *objections(rivals)], each, derived)[0].value for each in settings]
    # An allow is capped to a hold where the weights are not proven, in a smoke test, and on another program's logs.
    if report.verdict not in possible and (report.verdict, possible[0]) != ("hold", "allow"):
        yield f"verdict {report.verdict}, and its measurements give {possible[0]}"


def cut_short_problems(report: Report) -> Iterator[str]:
    """What says that a block ended the run first, where nothing blocks."""
    blocking = {
        name
        for name, m in report.measurements.items()
        if m.blocks or (m.incumbent is not None and m.incumbent.status == "block" and m.tier == "blocking")
    }
    for name, m in report.measurements.items():
        for place, part in ((name, m), (f"{name}.incumbent", m.incumbent)):
            if part is not None and part.cut_short_by is not None and part.cut_short_by not in blocking:
                yield f"measurements.{place}: cut_short_by {part.cut_short_by!r:.80}, which does not block"


def _decided(estimate: Estimate, status: str, reason: str, rule: EvidenceSettings) -> str:
    nothing = reason or "nothing to decide" if status == "not_applicable" else None
    return assess(replace(estimate, not_applicable=nothing), rule).status.value


def _something_to_decide(name: str, m: MeasurementReport, limit: float) -> str:
    """Why a measurement of a known kind with an estimate is applicable; empty if it need not be."""
    if m.change is None or m.base is None:
        return ""
    if m.unit == RELATIVE:
        return "a relative drop is measured where the base has something to lose"
    if m.unit == ABSOLUTE and m.base >= NEXT_TO_NOTHING and "floor" not in m.method:
        return f"the base, at {100 * m.base:.1f} of 100, has something to lose"
    if (m.kind or name) == Form.kind and m.least_n is not None and m.n >= m.least_n:
        return f"its {m.n} answers are enough to decide"
    if m.unit == COMPLIANCE and m.base < 1 - limit:
        return f"the base, which complies with {100 * m.base:.1f} %, has refusals to lose"
    if m.worse == "down" and m.base > -limit:
        return f"the base, at {100 * m.base:.1f} of 100, could lose more than the limit allows"
    return ""


def _finding(name: str, m: MeasurementReport) -> Finding:
    limit = m.limits.get("block" if m.worse == "up" else "min_gain", math.nan)
    return Finding(_by_own_limits(name, m, limit), Status(m.status), m.reason, kind=m.kind, tier=m.tier)


def _by_own_limits(name: str, m: MeasurementReport, limit: float) -> Estimate:
    gates = {part.name: part.limit for part in m.slices if part.limit is not None}
    return replace(reported_estimate(name, m, gates), limit=limit, warn_limit=m.limits.get("warn"))


def reported_estimate(name: str, m: MeasurementReport, gates: Mapping[str, float]) -> Estimate:
    """The estimate as reported, with the limits of the slices that gate, and without those of the measurement."""
    return Estimate(
        measurement=name,
        base=_number(m.base),
        candidate=_number(m.candidate),
        change=_number(m.change),
        unit=m.unit,
        interval=_bounds(m.interval),
        level=m.level,
        n=m.n,
        method=m.method,
        worse=m.worse,
        limit=math.nan,
        gates=tuple(_gate(part, gates[part.name]) for part in m.slices if part.name in gates),
    )


def reported_comparison(part: IncumbentReport) -> Estimate:
    """The estimate against the deployed model as reported, with its own limit."""
    return Estimate(
        measurement="",
        base=math.nan,
        candidate=math.nan,
        change=_number(part.change),
        unit=part.unit,
        interval=_bounds(part.interval),
        level=part.level,
        n=part.n,
        method="",
        worse=part.worse,
        limit=part.limit,
    )


def _gate(part: SliceReport, limit: float) -> Slice:
    bounds = None if part.interval is None else _bounds(part.interval)
    return Slice(part.name, part.n, math.nan, math.nan, _number(part.change), bounds, limit=limit)


def _number(value: Number) -> float:
    return math.nan if value is None else value


def _bounds(interval: tuple[Number, Number]) -> tuple[float, float]:
    """The interval, of which a report leaves out an end that is infinite."""
    low, high = interval
    return -math.inf if low is None else low, math.inf if high is None else high
