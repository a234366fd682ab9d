"""Reading report.json: refused where it contradicts itself, so that no damaged one reads as an allow."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from ftgate.config.policy import EvidenceSettings
from ftgate.errors import ConfigurationError
from ftgate.report import deployed
from ftgate.report.control_numbers import checklist_problems, control_problems, model_problems
from ftgate.report.failed_controls import overruling, passes_corrupted, takes_effect
from ftgate.report.numbers import in_sentence
from ftgate.report.plausible import implausible, not_finite
from ftgate.report.recomputed import (
    Rules,
    cut_short_problems,
    incumbent_problems,
    measurement_problems,
    rules_of,
    verdict_problems,
)
from ftgate.report.schema import DECIDE_AGAIN, SCHEMA_VERSION, MeasurementReport, Report, mapping, parse_report
from ftgate.report.seal import seal_problems

REPORT = "report.json"
STOPPING = ("block", "inconclusive", "error")
"""Statuses of a measurement that gates, with which nothing is allowed."""
NOT_PROVEN = "not proven"
"""`provenance.weights` of a report from the logs of another program, where ftgate ran no control."""
RULES: tuple[str, ...] = get_args(EvidenceSettings.model_fields["early_stopping"].annotation)
"""The rules by which a run may stop early."""


def read_report(path: Path | str) -> Report:
    """The report in ``path``, a file or the output folder of a run.

    Raises ConfigurationError if it is not valid, or contradicts itself.
    """
    report = parse_report(path)
    if "schema_version" not in report.model_fields_set:
        raise ConfigurationError(
            f"{path}: schema_version is missing: no run leaves it out, so the file is damaged or was edited",
            hint=DECIDE_AGAIN,
        )
    if report.schema_version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise ConfigurationError(
            f"{path}: schema_version {report.schema_version!a}, and this ftgate reads {SCHEMA_VERSION}",
            hint="use the version of ftgate that wrote it, or decide it again: ftgate decide FOLDER",
        )
    folder = folder_of_run(Path(path))
    file = Path(path) if folder is None else folder / REPORT
    document = json.loads(file.read_bytes().removeprefix(codecs.BOM_UTF8))
    if problem := next(chain(contradictions(report), seal_problems(document, folder)), ""):
        raise ConfigurationError(
            f"{path}: {problem}: no run writes that, so the file is damaged or was edited",
            hint=DECIDE_AGAIN,
        )
    return report


def folder_of_run(path: Path) -> Path | None:
    """The folder of the run whose report is in ``path``; None for a copy, beside which another run's files may lie."""
    return path if path.is_dir() else path.parent if path.name == REPORT else None


def contradictions(report: Report) -> Iterator[str]:
    """What in ``report`` contradicts itself, gravest first: it was damaged, cut short, or edited.

    This is no proof that the rest is true: only a second decision from the answers is.
    """
    if not report.measurements:
        yield f"verdict {report.verdict}, and nothing was measured"
    if not report.name.strip():
        yield "name is empty"
    yield from _lost_measurements(report)
    rules = rules_of(report)
    for name, m in report.measurements.items():
        yield from (f"measurements.{name}: {problem}" for problem in _problems(name, m, report, rules))
    yield from cut_short_problems(report)
    yield from control_problems(report)
    yield from checklist_problems(report)
    if report.verdict == "allow":
        yield from (f"verdict allow, and {reason}" for reason in (*_stopping(report), *_unshown(report)))
    yield from verdict_problems(report)


def _problems(name: str, m: MeasurementReport, report: Report, rules: Rules) -> Iterator[str]:
    """What is wrong with one measurement: its status first."""
    if not_finite(m):
        yield "a number is not finite"
        return
    yield from measurement_problems(name, m, rules)
    if m.incumbent is not None:
        yield from (f"incumbent: {problem}" for problem in incumbent_problems(m.incumbent, rules))
    yield from _failed_controls(name, m, report.controls)
    yield from implausible(name, m, report)


def _stopping(report: Report) -> Iterator[str]:
    """What stands in the way of an allow."""
    gating = {name: m for name, m in report.measurements.items() if m.gates}
    yield from (f"measurements.{n} is {m.status}" for n, m in gating.items() if m.status in STOPPING)
    yield from (f"measurements.{n}.incumbent is {part.status}" for n, part in deployed.failing(report))
    if not report.reasons:
        yield "reasons is empty"
    passed = [name for name, m in gating.items() if m.status == "pass"]
    yield from (f"measurements.{name} is pass, and reasons name it" for name in passed if _has_reason(name, report))
    if report.smoke_test:
        yield "it was a smoke test"
    if report.measurements and all(m.status == "not_applicable" for m in gating.values()):
        yield "none of its measurements that gate was made"
    for control in ("adapter_effect", "incumbent_effect"):
        effect = mapping(report.controls.get(control))
        if effect.get("prompts") and not _takes_effect(effect):
            yield f"controls.{control}: the weights had no effect"


def _has_reason(name: str, report: Report) -> bool:
    """Whether a reason of the verdict is about this measurement: it begins with its title, in older ones its name."""
    begins = tuple(f"{called}{after}" for called in (name, in_sentence(name)) for after in (": ", " ("))
    return any(reason.startswith(begins) for reason in report.reasons)


def _unshown(report: Report) -> Iterator[str]:
    """What every run that allows writes, and ``report`` lacks."""
    yield from (f"{part} is empty" for part in ("checklist", "provenance") if not getattr(report, part))
    if report.provenance.get("weights") == NOT_PROVEN:
        return
    if report.stopping is None:
        yield "stopping is missing"
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
    yield from model_problems(report)


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
        yield from (
            f"stopping.looks.{name} is {look}, of {report.stopping.of}"
            for name, look in report.stopping.looks.items()
            if look > report.stopping.of
        )
        if report.stopping.rule not in RULES:
            yield f"stopping.rule {report.stopping.rule!r:.40}: one of {', '.join(RULES)} was expected"


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
