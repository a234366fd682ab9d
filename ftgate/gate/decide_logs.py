"""Deciding on the logs of two evaluations by another program: no weights, hence no proof of what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftgate.config.policy import Policy, read_policy
from ftgate.datasets.eval_logs import EvalLog, Sample, read_log
from ftgate.domain import Answer, Item, Message, Pair, Verdict
from ftgate.errors import ConfigurationError
from ftgate.gate.changes import changes_of
from ftgate.gate.evaluate import write_results
from ftgate.gate.item_rows import rows_of
from ftgate.gate.result import Result
from ftgate.jobs.remote_models import UNPROVEN
from ftgate.measurements.base import Evidence, Measurement
from ftgate.measurements.looks import Look
from ftgate.measurements.registry import read_measurements
from ftgate.report import numbers
from ftgate.report.reading import NOT_PROVEN
from ftgate.report.schema import ChecklistEntry, Report, measurement_report
from ftgate.scoring.rules import bounded
from ftgate.stats.seeding import generator
from ftgate.verdict import assess, capped, decide

FROM_LOGS = f"{UNPROVEN}: the scores are from logs, which do not show which weights were asked"
FED = ("target", "forgetting")
"""The kinds of measurements that logs can decide."""
LEAST_SHARED = 0.99
"""Share of the samples of either log that the other must have too."""


def decide_on_logs(
    base: Path, candidate: Path, policy_path: Path, out: Path, measurement: str | None = None, metric: str | None = None
) -> Report:
    """Compare two logs sample by sample, decide one measurement of the policy on them, and write the report to ``out``.

    An allow becomes a hold, unless the policy says ``evidence.allow_unproven_weights``. Raises ConfigurationError if
    the logs are of different tasks or samples, or if ``out`` has a run, whose report would be lost.
    """
    if any((out / name).exists() for name in ("job.json", "answers.jsonl")):
        raise ConfigurationError(
            f"--out {out}: a run is in it, and its report would be overwritten", hint="name another folder with --out"
        )
    policy = read_policy(policy_path)
    asked = read_measurements(policy.measurements, f"policy {policy_path}")
    chosen = _measurement(asked, measurement, policy_path)
    logs = (read_log(base, metric), read_log(candidate, metric))
    result = _result(policy, chosen, logs, (base, candidate))
    out.mkdir(parents=True, exist_ok=True)
    report = _report(policy, asked, chosen, result, logs, (base, candidate))
    return write_results(report, out, rows_of(chosen.name, result, {}, chosen))


def _measurement(asked: Sequence[Measurement], name: str | None, policy_path: Path) -> Measurement:
    able = [m for m in asked if m.kind in FED]
    chosen = [m for m in able if name in (None, m.name)]
    if len(chosen) != 1:
        names = ", ".join(m.name for m in able) or "neither"
        text = f"policy {policy_path}: logs decide target or forgetting, and it has {names}"
        hint = f"name one of them: --measurement {able[0].name if able else FED[-1]}"
        raise ConfigurationError(text, hint=hint)
    return chosen[0]


def _result(policy: Policy, m: Measurement, logs: tuple[EvalLog, EvalLog], paths: tuple[Path, Path]) -> Result:
    pairs, scores = _paired(logs, paths)
    binary = all(low == high and low in (0, 1) for side in scores for low, high in side if low == high)
    scored = bounded(tuple(pair.item for pair in pairs), *scores, binary=binary)
    rules = policy.evidence
    evidence = Evidence(pairs, scored, rules.alpha, rules.draws, overall_alpha=rules.alpha)
    estimate = m.compare(evidence, generator(rules.seed, m.name))
    estimate = m.with_details(estimate, evidence, generator(rules.seed, f"{m.name} details"))
    finding = replace(assess(estimate, rules), kind=m.kind, tier=m.tier, title=numbers.in_sentence(m.name))
    return Result(Look(1, 1, 1.0, rules.alpha), pairs, scored, finding, evidence)


def _paired(
    logs: tuple[EvalLog, EvalLog], paths: tuple[Path, Path]
) -> tuple[tuple[Pair, ...], tuple[list[tuple[float, float]], list[tuple[float, float]]]]:
    """The samples that both logs have, and both models' scores of them as (lowest, highest)."""
    for what in ("kind", "task", "metric", "filter"):
        first, second = (getattr(log, what) for log in logs)
        if first != second and not (what == "task" and logs[0].kind == "lm-eval"):  # a part of the file's name
            text = f"{paths[0]} and {paths[1]} differ in {what}: {first!r} and {second!r}"
            raise ConfigurationError(text, hint="name two logs of the same evaluation")
    by_id = [_grouped(log) for log in logs]
    shared = [name for name in by_id[0] if name in by_id[1]]
    for path, samples in zip(paths, by_id, strict=True):
        if len(shared) < LEAST_SHARED * len(samples):
            text = f"{path}: only {len(shared)} of its {len(samples)} samples are in the other log"
            raise ConfigurationError(text, hint="evaluate both models on the same samples")
    other = [n for n in shared if by_id[0][n][0].prompt != by_id[1][n][0].prompt]
    if other:
        text = f"sample {other[0]!r} and {len(other) - 1} more have another prompt in {paths[1]} than in {paths[0]}"
        raise ConfigurationError(text, hint="evaluate both models on the same samples, without a chat template of each")
    pairs = tuple(Pair(_item(by_id[0][name][0]), *(_answers(side[name]) for side in by_id)) for name in shared)
    base, candidate = ([_bounds(side[name]) for name in shared] for side in by_id)
    return pairs, (base, candidate)


def _grouped(log: EvalLog) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in log.samples:
        groups.setdefault(sample.id, []).append(sample)
    return groups


def _item(sample: Sample) -> Item:
    prompt = (Message("user", sample.prompt or sample.id),)
    return Item(sample.id, prompt, answer=sample.target or None, tags=sample.tags, cluster=sample.cluster)


def _answers(samples: Sequence[Sample]) -> tuple[Answer, ...]:
    failed = "the log has no score from 0 to 1 for it"
    return tuple(
        Answer(s.answer) if s.score is not None else Answer(s.answer, finish="error", error=failed) for s in samples
    )


def _bounds(samples: Sequence[Sample]) -> tuple[float, float]:
    """The lowest and highest mean over the epochs of a sample; one without a score may be anything."""
    low = math.fsum(s.score or 0.0 for s in samples) / len(samples)
    high = math.fsum(1.0 if s.score is None else s.score for s in samples) / len(samples)
    return low, high


def _report(
    policy: Policy,
    asked: Sequence[Measurement],
    m: Measurement,
    result: Result,
    logs: tuple[EvalLog, EvalLog],
    paths: tuple[Path, Path],
) -> Report:
    verdict, reasons = decide([result.finding], policy.evidence)
    others = [other.name for other in asked if other.name != m.name]
    held = [f"{', '.join(others)} cannot be decided on logs: run `ftgate run`"] if others else []
    if verdict is Verdict.ALLOW and held:
        verdict, reasons = Verdict.HOLD, (*held, *reasons)
    verdict, reasons = capped(verdict, reasons, FROM_LOGS, policy.evidence)
    log = logs[0]
    evidence = f"{log.kind} logs of {log.task}, {log.scored_by()}; {len(result.pairs)} samples in both"
    return Report(
        verdict=verdict.value,
        reasons=list(reasons),
        name=logs[1].model or paths[1].name,
        measurements={m.name: measurement_report(result.finding, changes_of(result, m))},
        checklist=[
            ChecklistEntry(item="The weights are those that were judged", ok=False, evidence=FROM_LOGS),
            ChecklistEntry(item="Base and candidate were asked the same samples", ok=True, evidence=evidence),
        ],
        controls={},
        provenance={
            **{side: _log_facts(log, path) for side, log, path in zip(("base", "candidate"), logs, paths, strict=True)},
            "weights": NOT_PROVEN,
            "policy_sha256": policy.sha256(),
            "seed": policy.evidence.seed,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        timing={},
        engine_starts=0,
    )


def _log_facts(log: EvalLog, path: Path) -> dict[str, Any]:
    """What a log says of itself. There is no digest: the weights were not seen."""
    return {"name": log.model or path.name, "log": path.name, "log_sha256": log.sha256, "program": log.kind}
