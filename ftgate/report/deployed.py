"""The comparison with the incumbent, the model that is deployed today, for every medium. Not escaped yet."""

from __future__ import annotations

from ftgate.measurements.incumbent import DEPLOYED
from ftgate.report import intervals, numbers
from ftgate.report.schema import IncumbentReport, MeasurementReport, Report

HEADING = "against the deployed model"
_FAILING = ("block", "inconclusive", "error")


def compared(report: Report) -> bool:
    """Whether the candidate was compared with an incumbent, so that the tables have a column for it."""
    return any(m.incumbent is not None for m in report.measurements.values())


def cell(m: MeasurementReport) -> str:
    """The change against the incumbent with its interval and limit; empty without one."""
    part = m.incumbent
    if part is None or part.change is None:
        return ""
    change = numbers.change(part.change, part.unit)
    spread = intervals.beside(part.change, part.interval, part.unit)
    return f"{change} ({spread}), limit {numbers.compact_limit({'block': part.limit}, part.unit).removeprefix('< ')}"


def short_cell(m: MeasurementReport) -> str:
    """Status and change against the incumbent, for a narrow column."""
    part = m.incumbent
    if part is None:
        return numbers.NONE
    return f"{numbers.SYMBOLS[part.status]} {numbers.change(part.change, part.unit)}"


def failing(report: Report) -> list[tuple[str, IncumbentReport]]:
    """The measurements that do not let the candidate pass against the incumbent, those beyond the limit first."""
    return _failing(report, gating=True)


def advisory(report: Report) -> list[tuple[str, IncumbentReport]]:
    """The advisory measurements that would not let it pass, those beyond the limit first: shown, and nothing more."""
    return _failing(report, gating=False)


def _failing(report: Report, *, gating: bool) -> list[tuple[str, IncumbentReport]]:
    shown = [(name, m) for name, m in report.measurements.items() if m.gates is gating]
    parts = [(name, m.incumbent) for name, m in shown if m.incumbent is not None]
    bad = [(name, part) for name, part in parts if part.status in _FAILING and not part.cut_short_by]
    return sorted(bad, key=lambda entry: entry[1].status != "block")


def blocking(report: Report) -> list[tuple[str, IncumbentReport]]:
    """Those among them that block: not the ones that only support."""
    tiers = {name: m.tier for name, m in report.measurements.items()}
    return [(name, part) for name, part in failing(report) if part.status == "block" and tiers[name] == "blocking"]


def standing(name: str, part: IncumbentReport) -> str:
    """What holds the candidate, as the predicate of a sentence about it."""
    if part.status == "block":
        return f"{harm(name, part)}, and as {numbers.in_sentence(name)} is supporting, that holds"
    return f"is undecided on {numbers.in_sentence(name)}: {part.reason.rstrip('.')}"


def harm(name: str, part: IncumbentReport) -> str:
    """What makes the candidate worse than the incumbent, as the predicate of a sentence about it."""
    bound = part.interval[0] if part.worse == "up" else part.interval[1]
    moved = numbers.scores(part.score, part.candidate, part.unit)
    change = numbers.change(part.change, part.unit)
    lead = f"is {change}" if change.endswith("worse") else f"is worse ({change})"
    at_least = f" (at least {numbers.change(bound, part.unit)})" if bound is not None else ""
    allowed = numbers.limit({"block": part.limit}, part.unit, short=True)
    return f"{lead} on {numbers.subject(name)} than {DEPLOYED}{at_least}: {moved}; {allowed} is allowed"


def steps(report: Report) -> list[str]:
    """What to try where the candidate is not shown to be as good as the incumbent."""
    suggestions = []
    if worse := [numbers.title(name) for name, part in failing(report) if part.status == "block"]:
        suggestions.append(
            f"{', '.join(worse)}: {DEPLOYED} does better. Compare how the two were trained: data "
            "that only the deployed model has seen may be what this one lacks."
        )
    for name, part in failing(report):
        title = numbers.title(name)
        if part.status != "block" and report.measurements[name].status not in _FAILING:
            looser = "allow more in incumbent.block_drop" if "drop" in part.unit else "a wider limit"
            suggestions.append(
                f"{title}: it passes against the base, and is not shown to be as good as {DEPLOYED}: give the suite "
                f"more items (n_max), or {looser}."
            )
    return suggestions
