"""Whether the controls of a report, its checklist and what it says of the models follow from their own numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ftgate.measurements.judge_limits import (
    MAX_RETEST_SHIFT,
    MAX_UNPARSEABLE,
    MIN_AUROC,
    MIN_GAP,
    MIN_KNOWN_AUROC,
)
from ftgate.measurements.registry import kind_of
from ftgate.measurements.target import Target
from ftgate.report.failed_controls import ALWAYS_MET, FIT_LINE, caught
from ftgate.report.numbers import in_sentence
from ftgate.report.schema import MeasurementReport, Report, mapping

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
AGAINST_ITSELF = ("a_a", "zero_delta")
"""The controls that compare what should be alike."""


def control_problems(report: Report) -> Iterator[str]:
    """Controls whose outcome does not follow from their numbers, by place."""
    for control, outcomes in report.controls.items():
        of_each = mapping(outcomes) if control in (*AGAINST_ITSELF, "positive_control") else {}
        for name, outcome in of_each.items():
            if not isinstance(ok := mapping(outcome).get("ok"), bool | None):
                yield f"controls.{control}.{name}: ok is {ok!r:.40}: true, false or null was expected"
    for control in AGAINST_ITSELF:
        outcomes = mapping(report.controls.get(control))
        for name, outcome in outcomes.items():
            problem = _alike_problem(mapping(outcome), name, report.measurements.get(name), len(outcomes))
            yield from [f"controls.{control}.{name}: {problem}"] if problem else []
    for name, outcome in mapping(report.controls.get("positive_control")).items():
        problem = _caught_problem(mapping(outcome), report.measurements.get(name))
        yield from [f"controls.positive_control.{name}: {problem}"] if problem else []
    for name, fitness in mapping(report.controls.get("judge_fitness")).items():
        yield from (f"controls.judge_fitness.{name}: fit, and {text}" for text in _unfit(mapping(fitness)))
    yield from _server_problems(report.controls)


def checklist_problems(report: Report) -> Iterator[str]:
    """Lines of the checklist that contradict what they are about."""
    fitness = mapping(report.controls.get("judge_fitness"))
    fit = {FIT_LINE.format(in_sentence(name)): mapping(each).get("fit") for name, each in fitness.items()}
    policy = str(report.provenance.get("policy_sha256") or "")
    for entry in report.checklist:
        if entry.ok is False and entry.item.startswith(ALWAYS_MET):
            yield f"checklist: {entry.item!r:.100} is not met, and every run meets it"
        if entry.item in fit and entry.ok is not fit[entry.item]:
            yield f"checklist: {entry.item!r:.100} is {entry.ok}, and controls.judge_fitness says {fit[entry.item]}"
        digest = re.search(r"policy sha256 `([0-9a-f]{12})`", entry.evidence)
        if digest and policy and not policy.startswith(digest[1]):
            yield f"checklist: its policy is {digest[1]}, and provenance.policy_sha256 is {policy[:12]!r}"


def model_problems(report: Report) -> Iterator[str]:
    """Models that were not compared as the provenance says, or cannot have been."""
    base, candidate, incumbent = (mapping(report.provenance.get(r)) for r in ("base", "candidate", "incumbent"))
    for role, model in (("base", base), ("candidate", candidate)):
        if not model:
            yield f"provenance.{role} is missing"
        elif model.get("kind") != "endpoint" and not DIGEST.fullmatch(str(model.get("digest") or "")):
            yield f"provenance.{role}.digest {model.get('digest')!r:.80}: sha256: and 64 digits were expected"
    if base.get("digest") and base.get("digest") == candidate.get("digest"):
        yield f"provenance: base and candidate have one digest, {str(base['digest'])[:19]}"
    effect = mapping(report.controls.get("adapter_effect"))
    if effect and not effect.get("prompts") and candidate.get("kind") != "endpoint":
        yield "controls.adapter_effect: no prompt was asked"
    again = bool(incumbent) and _same_model(incumbent, candidate)
    for name, m in report.measurements.items():
        if m.incumbent is not None and not incumbent:
            yield f"measurements.{name}.incumbent is a comparison, and provenance names no incumbent"
        if m.incumbent is None and incumbent and not again:
            yield f"measurements.{name} has no comparison with the incumbent, which provenance names"


def _same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two models have the same files or, behind an endpoint, the same name."""
    if one.get("kind") == other.get("kind") == "endpoint":
        return one.get("reference") == other.get("reference")
    return bool(one.get("digest")) and one.get("digest") == other.get("digest")


def _alike_problem(outcome: Mapping[str, Any], name: str, m: MeasurementReport | None, tested: int) -> str:
    """What is wrong with a control that compares what should be alike; empty if nothing is, or it was not made."""
    if "p_value" not in outcome:
        return "" if outcome.get("ok") is not True else "ok, and it has no p_value"
    p_value, change = _number(outcome["p_value"]), _number(outcome.get("change"))
    if p_value is None or not 0 < p_value <= 1:
        return f"p_value {outcome['p_value']!r:.40}: a number above 0, and at most 1, was expected"
    if change is None and outcome.get("change") is not None:
        return f"change {outcome['change']!r:.40}: a number or null was expected"
    tolerance = None if m is None else _tolerance(name, m)
    if outcome.get("ok") is not True or m is None or tolerance is None:
        return ""
    # The error of the whole run is no smaller than that of the last look, whose level the interval has.
    significant = p_value <= (1 - m.level) / 2 / tested
    if significant and (change is None or abs(change) >= tolerance / 4):
        moved = "without limit" if change is None else f"by {change:g}"
        return f"ok, and it moved {moved} (p {p_value:g}), of which a quarter of {tolerance:g} is allowed"
    return ""


def _tolerance(name: str, m: MeasurementReport) -> float | None:
    """The change that matters in a measurement of a known kind, or more than it; None for one of another kind."""
    if kind_of(m.kind or name) is None:
        return None
    return m.limits.get("block") if m.worse == "up" else Target.ALIKE


def _caught_problem(outcome: Mapping[str, Any], m: MeasurementReport | None) -> str:
    """What is wrong with the positive control of one measurement; empty if nothing is."""
    ok, status = outcome.get("ok"), outcome.get("status")
    if status is None:
        return "ok, and it has no status" if ok is True else ""
    if ok is not caught(str(status)):
        return f"ok is {ok}, and the corrupted base came to {status!r:.40}"
    change = _number(outcome.get("change"))
    gates = m is not None and any(part.limit is not None for part in m.slices)
    if ok is not True or m is None or gates:
        return ""
    harm = change is not None and (change > 0 if m.worse == "up" else change <= m.limits.get("min_gain", math.inf))
    return "" if harm else f"the corrupted base was blocked, and its change is {outcome.get('change')!r:.40}"


def _unfit(fitness: Mapping[str, Any]) -> Iterator[str]:
    """What a judge that is said to be fit falls short of, by its numbers."""
    if fitness.get("fit") is not True:
        return
    judged = bool(fitness.get("kinds"))  # a judge that labels refusals is not asked for the gap
    on_known_answers = "known_auroc_low" if fitness.get("known_auroc_low") is not None else ""
    bare = [name if fitness.get(name) is not None else "" for name in ("auroc", "known_auroc")]
    tests = (
        (bare[0], MIN_AUROC, 1.0, "above"),
        (bare[1], MIN_KNOWN_AUROC, 1.0, "above"),
        ("auroc_low", MIN_AUROC, math.inf, "above"),
        (on_known_answers, MIN_KNOWN_AUROC, math.inf, "above"),
        ("gap" if judged else "", MIN_GAP, math.inf, "at least"),
        ("retest_shift", 0.0, MAX_RETEST_SHIFT, "at most"),
        ("unparseable", 0.0, MAX_UNPARSEABLE, "at most"),
    )
    for name, least, most, words in tests:
        value = _number(fitness.get(name)) if name else None
        enough = value is not None and least <= value <= most and (words != "above" or value > least)
        if name and not enough:
            yield f"{name} is {fitness.get(name)!r:.40}, not {words} {most if words == 'at most' else least}"


def _server_problems(controls: Mapping[str, Any]) -> Iterator[str]:
    """Servers that answered as several models, and count all the same."""
    judge, served = mapping(controls.get("judge_model")), mapping(controls.get("served_models"))
    if judge.get("ok") is True and len(judge.get("names") or ()) != 1:
        yield "controls.judge_model: ok, and the judge answered under several names"
    for role in ("base", "candidate", "incumbent"):
        names = served.get(role)
        if served.get("ok") is True and isinstance(names, list) and len(names) > 1:
            yield f"controls.served_models: ok, and the {role} answered under several names"


def _number(value: Any) -> float | None:
    """``value`` if it is a finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
