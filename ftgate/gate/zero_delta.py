"""The zero-delta control: what the kernels that run an adapter change by themselves.

A runtime LoRA takes another path through the engine than its base. An adapter of zeros must answer as the base does;
what differs is the path's, and would be taken for the candidate's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ftgate.config.engine import EngineSettings
from ftgate.domain import Model, Pair, digest_of
from ftgate.engines.base import Ask
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.controls import UNJUDGED, change_outcome, change_without_cause
from ftgate.gate.journal import engine_identity
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.jobs.prepare import Job
from ftgate.models.zero_adapter import has_own_path, write_zero_adapter, zero_model

NAME = "zero_delta"


def zero_adapter(candidate: Model, settings: EngineSettings, stack: ExitStack) -> Model | None:
    """An adapter of zeros in the shape of ``candidate``, until ``stack`` is closed.

    None if the candidate has no path of its own: if it is no runtime LoRA, or not on its base's engine.
    """
    if not has_own_path(candidate, settings):
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftgate-zeros-")))
    return write_zero_adapter(candidate, folder)


def zero_delta(job: Job, models: CachedEngine, runs: Sequence[MeasurementRun], zero: Model | None) -> dict[str, Any]:
    """Ask the adapter of zeros the items of the A/A test, and compare it with the base; empty if it was not asked.

    ``ftgate decide`` has no such adapter, and finds its answers in the journal, which notes that a run asked it. Raises
    ConfigurationError if the journal lacks some of them.
    """
    key = digest_of([NAME, job.base.digest, job.candidate.digest, engine_identity(models.info)])
    if zero is None and models.replays and models.journal.has_fact(key):
        zero = zero_model(job.candidate, Path())
    if zero is None:
        return {}
    models.journal.fact(key, lambda: "asked")
    changes = _measure(job, models, runs, zero)
    rules = job.policy.evidence.model_copy(update={"alpha": job.policy.evidence.alpha / len(runs)})
    words = "an adapter of zeros differs from the base by"
    outcomes = {
        run.name: UNJUDGED if run.judge_unfit else change_outcome(run.measurement, rules, words, **changes[run.name])
        for run in runs
    }
    return {NAME: outcomes}


def failed_zero_delta(controls: Mapping[str, Any]) -> frozenset[str]:
    """The measurements that the kernels alone move by too much: their results do not count."""
    return frozenset(name for name, outcome in controls.get(NAME, {}).items() if outcome["ok"] is False)


def ask_zeros(
    job: Job, models: CachedEngine, runs: Sequence[MeasurementRun], zero: Model
) -> Iterator[tuple[MeasurementRun, Pair]]:
    """The answers of the base and of the adapter of zeros to the items of the A/A test."""
    plan = [(run, item) for run in runs for item in run.control_items()]
    questions = [run.questions(item) for run, item in plan]
    phase = "base against an adapter of zeros"
    base, zeros = (
        iter(models.ask([Ask(model, q) for qs in questions for q in qs], phase)) for model in (job.base, zero)
    )
    for (run, item), qs in zip(plan, questions, strict=True):
        yield run, Pair(item, *(tuple(next(answers) for _ in qs) for answers in (base, zeros)))


def _measure(job: Job, models: CachedEngine, runs: Sequence[MeasurementRun], zero: Model) -> dict[str, Any]:
    """The change from the base to the adapter of zeros, of each measurement that has scores."""
    pairs: dict[str, list[Pair]] = {run.name: [] for run in runs}
    for run, pair in ask_zeros(job, models, runs, zero):
        pairs[run.name].append(pair)
    changes = {}
    for run in runs:
        if run.judge_unfit:
            continue
        sides = run.measurement.per_item(pairs[run.name], run.score(pairs[run.name]))
        changes[run.name] = change_without_cause(*sides, run.measurement, job.seed)
    return changes
