"""Next steps for measurements that did not pass: the article's remedies, fitted to the training recipe.

Source: GenAI Systems Lab, "How to Know If Your Fine-Tune Actually Helped". The text is not escaped yet.
"""

from __future__ import annotations

from ftgate.measurements.registry import kind_of
from ftgate.report import deployed, numbers
from ftgate.report.advice.files import ReadersFiles, files_of
from ftgate.report.advice.recipe import Recipe, recipe_of
from ftgate.report.advice.remedies import REMEDIES
from ftgate.report.advice.undecided import copy_hint, what_settles
from ftgate.report.schema import MeasurementReport, Report
from ftgate.report.tables import by_weight
from ftgate.scoring import amounts

MOST = 4
"""The largest number of suggestions for one measurement."""


def next_steps(report: Report) -> list[str]:
    """The suggestions, those on what decided first, each beginning with what to do.

    More items are no advice on a smoke test. What several measurements ask for is said once.
    """
    recipe = recipe_of(report)
    gating = {name: m for name, m in by_weight(report) if m.gates}
    harmed = {name for name, m in gating.items() if m.status in ("block", "warn")}
    steps: dict[str, str] = {}
    if report.smoke_test and report.verdict == "hold":
        steps[""] = "Run again on all items, without `--limit` and `evidence.smoke_test`: this was a smoke test."
    leading = next(iter(gating), "")
    for name, m in gating.items():
        if report.smoke_test and m.status == "inconclusive":
            continue
        files = files_of(report, name)
        own = _steps(name, m, recipe, files, costly=bool(harmed - {name}))
        for step in [step for step in own if step][:MOST]:
            spoken = files.speak(step)
            key = f"{name}: {spoken}" if spoken.startswith("Measure") else spoken.split(": ")[0]
            steps.setdefault(key, spoken if name == leading else _about(name, spoken))
    for step in deployed.steps(report):
        steps.setdefault(step, files_of(report, "").speak(step))
    return list(steps.values())


def _about(name: str, step: str) -> str:
    """A step on another measurement than that which decided, with its title."""
    return f"{numbers.title(name)}: {step[0].lower()}{step[1:]}"


def _steps(name: str, m: MeasurementReport, recipe: Recipe, files: ReadersFiles, *, costly: bool) -> list[str]:
    """The suggestions for one measurement, some of them empty. ``costly``: another one got worse too."""
    if m.status == "error":
        return [f"Solve this: {m.reason.rstrip('.')}. The gate failed here, not the model."]
    if _stands_in_the_way(m):
        retrain = _remedies(name, m, recipe, costly=False) if _needs_retraining(m) else []
        return [copy_hint(m, recipe), what_settles(m, files), *retrain]
    if m.status == "warn" and not _reaches_warning(m):
        return [_rule_out(m)]
    harmed = m.status in ("block", "warn")
    return [copy_hint(m, recipe), *_remedies(name, m, recipe, costly=costly)] if harmed else []


def _stands_in_the_way(m: MeasurementReport) -> bool:
    """Whether something keeps ``m`` from a decision that its own items, scorer or limit could change."""
    nothing_to_lose = m.status == "not_applicable" and "nothing to lose" in m.reason
    return (m.status == "inconclusive" or nothing_to_lose) and not m.cut_short_by


def _remedies(name: str, m: MeasurementReport, recipe: Recipe, *, costly: bool) -> list[str]:
    kind = kind_of(m.kind or name)
    if kind is None or kind.remedy not in REMEDIES:
        return [f"Look at what changed: {m.reason}"]
    return REMEDIES[kind.remedy](m, recipe, costly)


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


def _rule_out(m: MeasurementReport) -> str:
    """Advice on a warning whose estimate is below the warning limit."""
    warn, high = amounts.size(m.limits.get("warn"), m.unit), amounts.size(m.interval[1], m.unit)
    return (
        f"Measure more items than {numbers.count(m.n)} to rule out {warn}: it {numbers.change(m.change, m.unit)} by "
        f"estimate, and {high} is possible."
    )
