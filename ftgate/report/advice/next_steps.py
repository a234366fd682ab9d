"""Next steps for measurements that did not pass: the article's remedies, fitted to the training recipe.

Source: GenAI Systems Lab, "How to Know If Your Fine-Tune Actually Helped". The text is not escaped yet.
"""

from __future__ import annotations

from ftgate.measurements.registry import kind_of
from ftgate.report import numbers
from ftgate.report.advice.recipe import Recipe, recipe_of
from ftgate.report.advice.remedies import REMEDIES
from ftgate.report.advice.undecided import copy_hint, what_settles
from ftgate.report.schema import MeasurementReport, Report

MOST = 4
"""The largest number of suggestions for one measurement."""


def next_steps(report: Report) -> list[str]:
    """The suggestions, in the order of the measurements."""
    recipe = recipe_of(report)
    harmed = {name for name, m in report.measurements.items() if m.status in ("block", "warn")}
    steps: list[str] = []
    for name, m in report.measurements.items():
        if m.status == "error":
            failed = "the gate failed, not the model, and can run again once this is solved"
            steps.append(f"{numbers.title(name)}: {failed}: {m.reason}")
        elif _stands_in_the_way(m):
            retrain = _remedies(name, m, recipe, costly=False) if _needs_retraining(m) else []
            steps += [step for step in (_copy(name, m, recipe), _settle(name, m), *retrain) if step][:MOST]
        elif m.status == "warn" and not _reaches_warning(m):
            steps.append(_rule_out(name, m))
        elif name in harmed:
            remedies = _remedies(name, m, recipe, costly=bool(harmed - {name}))
            steps += [step for step in (_copy(name, m, recipe), *remedies) if step][:MOST]
    if not steps and report.verdict == "allow":
        some = any(m.status == "not_applicable" for m in report.measurements.values())
        steps.append(f"Nothing is left to do: every measurement {'that applies ' if some else ''}passed.")
    return list(dict.fromkeys(steps))


def _stands_in_the_way(m: MeasurementReport) -> bool:
    """Whether something keeps ``m`` from a decision that its own items, scorer or limit could change."""
    nothing_to_lose = m.status == "not_applicable" and "nothing to lose" in m.reason
    return (m.status == "inconclusive" or nothing_to_lose) and not m.cut_short_by


def _remedies(name: str, m: MeasurementReport, recipe: Recipe, *, costly: bool) -> list[str]:
    kind = kind_of(name)
    advise = REMEDIES.get(kind.remedy) if kind is not None else None
    return [f"{numbers.title(name)}: {m.reason}"] if advise is None else advise(m, recipe, costly)


def _needs_retraining(m: MeasurementReport) -> bool:
    """Whether an undecided drop is beyond its warning limit, so that retraining is worthwhile."""
    return "judge unfit" not in m.reason and _reaches_warning(m)


def _reaches_warning(m: MeasurementReport) -> bool:
    """Whether the estimate, and not only its upper bound, reaches the warning limit."""
    warn = m.limits.get("warn")
    return m.change is not None and warn is not None and m.change >= warn


def _rule_out(name: str, m: MeasurementReport) -> str:
    """Advice on a warning whose estimate is below the warning limit."""
    high, warn = numbers.amount(m.interval[1], m.unit), numbers.amount(m.limits.get("warn"), m.unit)
    return (
        f"{numbers.title(name)}: the drop is estimated at {numbers.amount(m.change, m.unit)} and may be as large as "
        f"{high}: to rule out {warn}, measure more items than {numbers.count(m.n)}."
    )


def _settle(name: str, m: MeasurementReport) -> str:
    return what_settles(numbers.title(name), m)


def _copy(name: str, m: MeasurementReport, recipe: Recipe) -> str:
    return copy_hint(numbers.title(name), m, recipe)
