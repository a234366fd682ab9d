"""Next steps for measurements that did not pass: the article's remedies, fitted to the training recipe.

Source: GenAI Systems Lab, "How to Know If Your Fine-Tune Actually Helped". The text is not escaped yet.
"""

from __future__ import annotations

from ftgate.measurements.registry import kind_of
from ftgate.report import deployed, numbers
from ftgate.report.advice.files import files_of
from ftgate.report.advice.recipe import Recipe, recipe_of
from ftgate.report.advice.remedies import REMEDIES
from ftgate.report.advice.undecided import copy_hint, what_settles
from ftgate.report.schema import MeasurementReport, Report
from ftgate.report.tables import by_weight

MOST = 4
"""The largest number of suggestions for one measurement."""


def next_steps(report: Report) -> list[str]:
    """The suggestions, those on what decided first. More items are no advice on a smoke test."""
    recipe = recipe_of(report)
    gating = {name: m for name, m in by_weight(report) if m.gates}
    harmed = {name for name, m in gating.items() if m.status in ("block", "warn")}
    steps: list[str] = []
    for name, m in gating.items():
        if report.smoke_test and m.status == "inconclusive":
            continue
        own = _steps(name, m, recipe, costly=bool(harmed - {name}), harmed=name in harmed)
        steps += [files_of(report, name).speak(step) for step in own if step][:MOST]
    steps += [files_of(report, "").speak(step) for step in deployed.steps(report)]
    if report.smoke_test and report.verdict == "hold":
        steps.insert(
            0, "It was a smoke test: run again on all items (without --limit, and without evidence.smoke_test)."
        )
    if not steps and report.verdict == "allow":
        some = "that gates " if len(gating) < len(report.measurements) else ""
        some += "that applies " if any(m.status == "not_applicable" for m in gating.values()) else ""
        steps.append(f"Nothing is left to do: every measurement {some.replace('gates that', 'gates and')}passed.")
    return list(dict.fromkeys(steps))


def _steps(name: str, m: MeasurementReport, recipe: Recipe, *, costly: bool, harmed: bool) -> list[str]:
    """The suggestions for one measurement, some of them empty. ``costly``: another one got worse too."""
    if m.status == "error":
        failed = "the gate failed, not the model, and can run again once this is solved"
        return [f"{numbers.title(name)}: {failed}: {m.reason}"]
    if _stands_in_the_way(m):
        retrain = _remedies(name, m, recipe, costly=False) if _needs_retraining(m) else []
        return [_copy(name, m, recipe), _settle(name, m), *retrain]
    if m.status == "warn" and not _reaches_warning(m):
        return [_rule_out(name, m)]
    return [_copy(name, m, recipe), *_remedies(name, m, recipe, costly=costly)] if harmed else []


def _stands_in_the_way(m: MeasurementReport) -> bool:
    """Whether something keeps ``m`` from a decision that its own items, scorer or limit could change."""
    nothing_to_lose = m.status == "not_applicable" and "nothing to lose" in m.reason
    return (m.status == "inconclusive" or nothing_to_lose) and not m.cut_short_by


def _remedies(name: str, m: MeasurementReport, recipe: Recipe, *, costly: bool) -> list[str]:
    kind, title = kind_of(m.kind or name), numbers.title(name)
    if kind is None or kind.remedy not in REMEDIES:
        return [f"{title}: {m.reason}"]
    steps = REMEDIES[kind.remedy](m, recipe, costly)
    return [title + step.removeprefix(kind.title) if step.startswith(kind.title) else step for step in steps]


def _needs_retraining(m: MeasurementReport) -> bool:
    """Whether an undecided change is beyond its warning limit, or has none and is beyond what is allowed.

    Then retraining is worthwhile.
    """
    block = m.limits.get("block")
    beyond = m.limits.get("warn") is None and m.change is not None and block is not None and m.change > block
    return "judge unfit" not in m.reason and (beyond or _reaches_warning(m))


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
