"""The comparison with the incumbent, the model that is deployed today, for every medium. Not escaped yet."""

from __future__ import annotations

from ftgate.measurements.incumbent import DEPLOYED
from ftgate.report import numbers
from ftgate.report.schema import IncumbentReport, MeasurementReport, Report
from ftgate.scoring import amounts

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
    bounds = amounts.within_reach(part.interval, part.score, part.unit)
    change = numbers.change_and_interval(part.change, bounds, part.unit)
    return f"{change}, limit {numbers.compact_limit({'block': part.limit}, part.unit).removeprefix('< ')}"


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
        holds = f"In the policy, {numbers.in_sentence(name)} is supporting: that holds instead of blocking"
        return f"{harm(name, part)}. {holds}"
    return f"is undecided on {numbers.in_sentence(name)}: {part.reason.rstrip('.')}"


def harm(name: str, part: IncumbentReport) -> str:
    """What makes the candidate worse than the incumbent, as the predicate of a sentence about it, and the limit."""
    where, limit = numbers.subject(name), amounts.allowed({"block": part.limit}, part.unit)
    of_score = "its score is " if numbers.kind(part.unit) in ("drop", "loss") else ""
    return f"is worse than {DEPLOYED} on {where}: {of_score}{lower(part)}; {limit}"


def lower(part: IncumbentReport) -> str:
    """By how much it is worse than the incumbent: ``12.2 % lower``, ``6.0 points more error``."""
    if numbers.kind(part.unit) in ("drop", "loss") and (part.change or 0.0) > 0:
        return f"{amounts.size(part.change, part.unit)} lower"
    return numbers.change(part.change, part.unit)


def steps(report: Report) -> list[str]:
    """What to try where the candidate is not shown to be as good as the incumbent."""
    suggestions = []
    if worse := [numbers.subject(name) for name, part in failing(report) if part.status == "block"]:
        suggestions.append(
            f"Compare the training data with the deployed model's, and add what is missing for {' and '.join(worse)}."
        )
    for name, part in failing(report):
        if part.status != "block" and report.measurements[name].status not in _FAILING:
            looser = "allow more in `incumbent.block_drop`" if "drop" in part.unit else "set a wider limit"
            suggestions.append(
                f"Give the suite more items (`n_max`), or {looser}: on {numbers.in_sentence(name)} it passes against "
                f"the base, and is not shown to be as good as {DEPLOYED}."
            )
    return suggestions
