"""From findings to the report: verdict, checklist, flipped items and provenance."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from ftgate.datasets import TrainingData
from ftgate.domain import (
    EngineInfo,
    Finding,
    Item,
    Model,
    Pair,
    Suite,
)
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.changes import changes_of
from ftgate.gate.findings import findings_of, incumbent_findings
from ftgate.gate.incumbent import incumbent_lines
from ftgate.gate.judge_labels import checklist_lines, labels_facts, with_note
from ftgate.gate.notes import verdict_notes
from ftgate.gate.result import Result
from ftgate.gate.served import candidate_engine, effect_line, proof, same_engine
from ftgate.jobs.prepare import Job
from ftgate.jobs.remote_models import seems_same, unproven
from ftgate.measurements import registry
from ftgate.measurements.base import JudgeValidation, Measurement
from ftgate.measurements.incumbent import objections
from ftgate.measurements.looks import Look, items_at, planned_share
from ftgate.report.escape import as_code
from ftgate.report.explanation import listed
from ftgate.report.failed_controls import FIT_LINE
from ftgate.report.numbers import in_sentence, subject
from ftgate.report.schema import (
    Changes,
    ChecklistEntry,
    Report,
    StoppingReport,
    measurement_report,
    plain,
)
from ftgate.scoring.rules import version_of
from ftgate.verdict import capped, decide

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def build_report(
    job: Job,
    models: CachedEngine,
    judge: CachedEngine | None,
    results: Mapping[str, Result],
    controls: Mapping[str, Any],
    started: float,
) -> Report:
    """The report of a finished run."""
    results = {name: _with_planned(job, result) for name, result in results.items()}
    findings, rivals = list(findings_of(results).values()), incumbent_findings(results)
    rules = job.policy.evidence
    decided = decide([*findings, *objections(rivals)], rules, [m.name for m in job.derived])
    verdict, reasons = capped(*decided, unproven(job.models), rules)
    measurements, asked = {}, {m.name: m for m in job.measurements}
    for finding, result in zip(findings, results.values(), strict=True):
        name = finding.estimate.measurement
        noted, rival = with_note(finding, controls), _rival(result, rivals.get(name), asked.get(name))
        measurements[name] = measurement_report(noted, changes_of(result, asked.get(name)), rival)
    judge_validations = {
        name: result.evidence.judge_validation
        for name, result in results.items()
        if result.evidence.judge_validation is not None
    }
    judge_fitness = {name: plain(asdict(validation)) for name, validation in judge_validations.items()}
    return Report(
        verdict=verdict.value,
        reasons=list(reasons),
        notes=verdict_notes(job, results),
        name=job.name,
        measurements=measurements,
        checklist=[
            *checklist(job, findings, controls, judge_validations, same_engine=same_engine(job, models)),
            *_behind_endpoint(job),
        ],
        controls={"judge_fitness": judge_fitness or None, **controls},
        provenance=_provenance(job, models, judge.info if judge is not None else None, started),
        timing={name: round(seconds, 3) for name, seconds in models.progress.seconds.items()},
        engine_starts=models.starts,
        stopping=_stopping(job, results),
    )


def _rival(result: Result, finding: Finding | None, asked: Measurement | None) -> tuple[Finding, Changes] | None:
    """The finding against the incumbent with the items that changed; None without one."""
    if finding is None or result.incumbent is None:
        return None
    return finding, changes_of(result.incumbent, asked)


def _with_planned(job: Job, result: Result) -> Result:
    """``result`` with the number of planned items (``n``, else the whole suite), if the run stopped before them."""
    finding = result.finding
    measurement = next((m for m in job.measurements if m.name == finding.estimate.measurement), None)
    if measurement is None:  # a derived one, which plans nothing of its own
        return result
    planned = len(_planned_items(job, measurement))
    if len(result.pairs) >= planned:
        return result
    return replace(result, finding=replace(finding, estimate=replace(finding.estimate, planned_n=planned)))


def _planned_items(job: Job, measurement: Measurement) -> tuple[Item, ...]:
    share = planned_share(measurement, job.clean_size(measurement.name))
    return items_at(Look(1, 1, share, 0.5), job.suites[measurement.name], job.seed)


def _stopping(job: Job, results: Mapping[str, Result]) -> StoppingReport:
    """The look at which each measurement ended, and how many questions to the models that saved."""
    saved = added = asked = 0
    like_base = len(job.models) - 1  # an incumbent of its own is asked what the base is
    for m in job.measurements:
        planned, pairs = {item.id: item for item in _planned_items(job, m)}, results[m.name].pairs
        spared = [planned[item_id] for item_id in planned.keys() - {pair.item.id for pair in pairs}]
        saved += sum(like_base * len(m.plan(item)) + len(m.plan(item, "candidate")) for item in spared)
        added += sum(_answers_in(pair, like_base) for pair in pairs if pair.item.id not in planned)
        asked += sum(_answers_in(pair, like_base) for pair in results[m.name].evidence.pairs)
    return StoppingReport(
        rule=job.policy.evidence.early_stopping,
        looks={name: result.look.number for name, result in results.items()},
        of=max(result.look.of for result in results.values()),
        questions_asked=asked,
        questions_saved=saved,
        questions_added=added,
    )


def _answers_in(pair: Pair, like_base: int) -> int:
    return like_base * len(pair.base) + len(pair.candidate)


def checklist(
    job: Job,
    findings: Sequence[Finding],
    controls: Mapping[str, Any],
    judge_validations: Mapping[str, JudgeValidation],
    *,
    same_engine: bool = True,
) -> list[ChecklistEntry]:
    """The checklist: each requirement for a sound decision, with its evidence. ``ok`` is None if it was not checked."""
    lines = [
        ChecklistEntry(
            item="Limits were fixed before the run",
            ok=True,
            evidence=f"policy sha256 `{job.policy.sha256()[:12]}`",
        ),
        ChecklistEntry(
            item="Base and candidate answered the same questions"
            + (" on the same engine" if same_engine else ", each on an engine of its own"),
            ok=True,
            evidence=", ".join(
                f"{in_sentence(m.name)}: {_count_of(job.suites[m.name])}{_averaged(m)}" for m in job.measurements
            ),
        ),
        effect_line(controls["adapter_effect"]),
        *incumbent_lines(job, controls.get("incumbent_effect")),
        *proof(job),
        *_held_out(job),
        *_measurement_lines(findings),
    ]
    lines += [
        ChecklistEntry(
            item=FIT_LINE.format(in_sentence(name)),
            ok=judge.fit,
            evidence=_judge_evidence(judge),
        )
        for name, judge in judge_validations.items()
    ]
    return [*lines, *checklist_lines(controls)]


def _count_of(suite: Suite) -> str:
    repeats = f" ({len(suite.repeats)} repeated rows left out)" if suite.repeats else ""
    return f"{len(suite.items)} items{repeats}"


def _averaged(measurement: Measurement) -> str:
    """How many answers to each item are averaged; empty if there is one."""
    base, candidate = measurement.answer_counts
    if (base, candidate) == (1, 1):
        return ""
    if base == candidate:
        return f" ({base} answers by each averaged)"
    return f" ({base} of the base's answers and {candidate} of the candidate's averaged)"


def _judge_evidence(judge: JudgeValidation) -> str:
    """How the judge was tested and every result; the reason why it failed comes first."""
    if not judge.kinds:
        return judge.reason
    grades = ", ".join(f"{kind} {grade:.2f}" for kind, grade in judge.kinds.items())
    return (
        f"{'' if judge.fit else f'{judge.reason}. '}AUROC {judge.auroc:.2f} (lower bound "
        f"{judge.auroc_low:.2f}) on {judge.gold} good and {judge.canaries} bad answers, gap {judge.gap:.2f}; "
        f"{_on_known_answers(judge)}; grades changed by {judge.retest_shift:.3f} when asked again; "
        f"{100 * judge.unparseable:.1f} % of the replies had no grade; mean grades: {grades}"
    )


def _on_known_answers(judge: JudgeValidation) -> str:
    if judge.known_auroc is None or judge.known_auroc_low is None:
        return "not tested on known answers (`judge.known_answers`), so it may only compare words"
    return (
        f"AUROC {judge.known_auroc:.2f} (lower bound {judge.known_auroc_low:.2f}) on {judge.known_answers} known "
        "answers, right ones in other words and subtly wrong ones"
    )


def _behind_endpoint(job: Job) -> list[ChecklistEntry]:
    """A line for a judge behind an endpoint: whether its name is that of the base or the candidate.

    An endpoint does not show its weights, so the name is all that can be compared.
    """
    if job.judge is None or job.judge.kind != "endpoint":
        return []
    same_name = next((m.name for m in (job.base, job.candidate) if seems_same(job.judge, m)), None)
    naming = (
        f"the name of {same_name}, which `judge.allow_self` allows"
        if same_name
        else "another name than base and candidate"
    )
    evidence = f"{as_code(job.judge.reference)} has {naming}; an endpoint does not show its weights"
    item = "The judge is neither of the two models"
    return [ChecklistEntry(item=item, ok=False if same_name else None, evidence=evidence)]


def _held_out(job: Job) -> list[ChecklistEntry]:
    """One line for each suite from the training distribution, and one for all other suites together."""
    groups = [(f"The suite for {subject(m.name)} is", [m.name]) for m in job.measurements if m.as_trained]
    others = [m.name for m in job.measurements if not m.as_trained]
    groups += [("The other suites are", others)] if others else []
    return [_held_out_line(job, f"{suites} held out from the training data", names) for suites, names in groups]


def _held_out_line(job: Job, item: str, names: Sequence[str]) -> ChecklistEntry:
    if job.training is None:
        not_checked = "no training data was given"
        return ChecklistEntry(item=item, ok=None, evidence=not_checked)
    touched = [name for name in names if job.overlaps[name].contained or job.overlaps[name].alike] or list(names)
    evidence = [_overlap(job, name, with_name=len(names) > 1) for name in touched]
    if untouched := [name for name in names if name not in touched]:
        evidence.append(f"none in {listed([in_sentence(name) for name in untouched])}")
    if job.training.skipped:
        evidence.append(f"training data: {job.training.reading()}")
    return ChecklistEntry(
        item=item,
        ok=not any(job.overlaps[name].contained for name in names),
        evidence="; ".join(evidence),
    )


def _overlap(job: Job, name: str, *, with_name: bool) -> str:
    """How many rows the training data contain: ``3 of the suite's 200 rows occur in the training data``."""
    overlap, total = job.overlaps[name], job.suite_size(name)
    text = f"{in_sentence(name)}: " if with_name else ""
    one = len(overlap.contained) == 1
    text += f"{len(overlap.contained)} of the suite's {total} rows {'occurs' if one else 'occur'} in the training data"
    if overlap.contained:
        first = min(match.line for match in overlap.contained.values())
        text += f" (first at line {first}) and {'is' if one else 'are'} left out"
    alike = len(overlap.alike)
    verbs = "is similar to a training row and counts" if alike == 1 else "are similar to a training row and count"
    return text + (f"; {alike} more {verbs}" if alike else "")


def _measurement_lines(findings: Sequence[Finding]) -> list[ChecklistEntry]:
    """The checklist line of each kind, whether or not the policy has it: of several, the one that meets it best."""
    entries = []
    for kind in registry.every_kind():
        of_kind = [f.estimate for f in findings if (f.kind or f.estimate.measurement) == kind.kind]
        lines = [(kind.checklist(e), e.measurement) for e in of_kind] or [(kind.checklist(None), kind.kind)]
        line, name = min(lines, key=lambda each: each[0] is None or not each[0].ok)
        if line is not None:
            evidence = line.evidence if name == kind.kind else f"{in_sentence(name)}: {line.evidence}"
            entries.append(ChecklistEntry(item=line.item, ok=line.ok, evidence=evidence))
    return entries


def _provenance(job: Job, models: CachedEngine, judge: EngineInfo | None, started: float) -> dict[str, Any]:
    info = models.info
    return {
        "base": _model(job.base),
        "candidate": _model(job.candidate),
        **({"incumbent": _model(named)} if (named := job.deployed.named) is not None else {}),
        "judge": _judge(job.judge, judge) if job.judge is not None else None,
        "suites": {
            name: {
                "source": suite.source,
                "sha256": suite.sha256,
                "items": job.suite_size(name),
                **({"repeats": len(suite.repeats)} if suite.repeats else {}),
            }
            for name, suite in job.suites.items()
        },
        "training_data": _training_data(job.training) if job.training is not None else None,
        **labels_facts(job),
        "policy": job.policy_path,
        "policy_sha256": job.policy.sha256(),
        "manifest": job.manifest_path,
        "manifest_sha256": job.manifest_sha256,
        **({"commit": commit} if COMMIT.fullmatch(commit := os.environ.get("FTGATE_COMMIT", "")) else {}),
        "engine": {"kind": info.kind, "dtype": info.dtype, **info.settings},
        **candidate_engine(job, models),
        "versions": dict(info.versions),
        **_scorers(job),
        "device": info.device,
        "seed": job.seed,
        "started": _timestamp(started),
        "finished": _timestamp(time.time()),
    }


def _training_data(training: TrainingData) -> dict[str, Any]:
    identity = {"source": training.source, "sha256": training.sha256, "rows": training.rows}
    shape = {"shape": training.shape} if training.shape else {}
    return {**identity, **shape, **({"rows_without_text": training.skipped} if training.skipped else {})}


def _scorers(job: Job) -> dict[str, Any]:
    """The packages that scorers of the policy are from; nothing if all are ftgate's own."""
    versions = {name: version for m in job.measurements if (version := version_of(name := m.answer_scorer))}
    return {"scorers": versions} if versions else {}


def _model(model: Model) -> dict[str, Any]:
    identity = {"name": model.name, "reference": model.reference, "digest": model.digest or None, "kind": model.kind}
    files = {name: {"size": size, "sha256": sha256} for name, (size, sha256) in model.files.items()}
    description: dict[str, Any] = identity | dict(model.facts) | ({"files": files} if files else {})
    if "merge" in model.facts:  # digest and files stay the adapter's: the adapter is what was submitted
        description["merged"] = {"because": list(model.merge), **description.pop("merge")}
    return description


def _judge(model: Model, engine: EngineInfo | None) -> dict[str, Any]:
    reads = engine.settings.get("reads") if engine is not None else None
    return _model(model) | ({"reads": reads} if reads else {})


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
