"""Next steps for measurements that did not pass: the article's remedies, fitted to the training recipe.

Source: GenAI Systems Lab, "How to Know If Your Fine-Tune Actually Helped". The text is not escaped yet.
"""

from __future__ import annotations

from ftgate.measurements.registry import kind_of
from ftgate.report import numbers
from ftgate.report.advice.recipe import Recipe, recipe_of
from ftgate.report.advice.remedies import REMEDIES
from ftgate.report.explanation import limit_of, straddles
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
            steps.append(
                f"{numbers.title(name)}: the gate failed, not the model; fix what the reason names and run again."
            )
        elif m.status == "inconclusive":
            retrain = _remedies(name, m, recipe, costly=False) if _needs_retraining(m) else []
            steps += [_more_evidence(name, m), *retrain][:MOST]
        elif name in harmed:
            steps += _remedies(name, m, recipe, costly=bool(harmed - {name}))[:MOST]
    if not steps and report.verdict == "allow":
        steps.append("Nothing is left to do: every measurement passed.")
    return list(dict.fromkeys(steps))


def _remedies(name: str, m: MeasurementReport, recipe: Recipe, *, costly: bool) -> list[str]:
    kind = kind_of(name)
    advise = REMEDIES.get(kind.remedy) if kind is not None else None
    return [f"{numbers.title(name)}: {m.reason}"] if advise is None else advise(m, recipe, costly)


def _needs_retraining(m: MeasurementReport) -> bool:
    """Whether an undecided drop is beyond its warning limit, so that retraining is worthwhile."""
    warn = m.limits.get("warn")
    return m.change is not None and warn is not None and "judge unfit" not in m.reason and m.change > warn


def _more_evidence(name: str, m: MeasurementReport) -> str:
    title = numbers.title(name)
    if "judge unfit" in m.reason:
        return f"{title}: use a stronger judge, or add reference answers; the grades of an unfit judge do not count."
    if numbers.kind(m.unit) == "rise" and "cut" in m.unit:
        return (
            f"{title}: raise `max_tokens`, so that fewer answers are cut by chance, or measure more items than "
            f"{numbers.count(m.n)}, and run again."
        )
    unit, size = ("items", m.n) if m.rows is None else ("rows", m.rows)
    if m.needed_n and m.needed_n > size:
        return (
            f"{title}: measure more {unit}, about {numbers.count(m.needed_n)} instead of "
            f"{numbers.count(size)}, and run again."
        )
    if straddles(m) or "too few" in m.reason:
        return f"{title}: measure more {unit} than {numbers.count(size)} and run again."
    if limit_of(m) is not None and m.change is None:
        return f"{title}: there is no estimate; fix what the reason names and run again."
    return f"{title}: fix what the reason names and run again."
