"""The order of a run: ask both models the same questions, decide each measurement, build the report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ftgate.domain import Item, Model, Pair
from ftgate.embeddings.base import Embedder
from ftgate.engines.base import Ask
from ftgate.gate.adapter_effect import adapter_effect
from ftgate.gate.ahead import ask_ahead, asked_next
from ftgate.gate.build_report import build_report
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.controls import (
    aa_test,
    apply_controls,
    failed_aa,
    judge_model,
    positive_control,
)
from ftgate.gate.decide import exclude_contaminated, find_overlaps, leave_out_head
from ftgate.gate.derived_run import DerivedRun
from ftgate.gate.incumbent import DerivedIncumbentRun, IncumbentRun, incumbent_effect
from ftgate.gate.item_rows import item_rows
from ftgate.gate.judge_labels import judge_against_people
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.pilot import ask_pilot, pilot_control, run_pilot
from ftgate.gate.served import served_models
from ftgate.gate.zero_delta import failed_zero_delta, zero_delta
from ftgate.jobs.prepare import Job
from ftgate.measurements.looks import settled
from ftgate.measurements.tail_map import TailMap
from ftgate.report.items import ItemRow
from ftgate.report.schema import Report
from ftgate.tail.distance import TailInputs, build_tail_map


@dataclass(frozen=True, slots=True)
class Participants:
    """Who takes part in a run: the two models, the judge, and the embedder for distances."""

    models: CachedEngine
    judge: CachedEngine | None
    open_embedder: Callable[[str], Embedder]
    vectors: Path
    """The folder that keeps vectors of texts."""
    zero: Model | None = None
    """An adapter of zeros in the candidate's shape, for the zero-delta control."""


def run_gate(job: Job, participants: Participants) -> tuple[Report, list[ItemRow]]:
    """Ask the base a few questions (the pilot), then both models the same ones, measure, decide, and report.

    Beside the report comes every item with its answers.
    """
    started, models = time.time(), participants.models
    job, runs = _begin(job, participants)
    derived = [DerivedRun(m, job, runs) for m in job.derived]
    rivals = [IncumbentRun(run, job) for run in runs] if job.deployed.compared is not None else []
    derived_rivals = [DerivedIncumbentRun(run, rivals, job) for run in derived if rivals]
    if not models.replays:
        models.progress.expect(questions_left(job, participants, runs))
    controls = run_controls(job, participants, runs, derived)
    controls |= judge_against_people(job, participants.judge)
    controls |= zero_delta(job, models, runs, participants.zero)
    failed = failed_aa(controls) | failed_zero_delta(controls) | {run.name for run in runs if run.judge_unfit}
    while due := due_runs(runs, derived, failed):
        due_rivals = [rival for rival in rivals if rival.run in due]
        ask_all(job, models, due, due_rivals)
        for run in due:
            run.decide()
        for rival in due_rivals:
            rival.decide()
        models.journal.sync()
        last = not due_runs(runs, derived, failed)
        for reader in derived:
            reader.decide(last=last)
        for other in derived_rivals:
            other.decide(last=last)
    models.stop()
    every_run: list[MeasurementRun | DerivedRun] = [*runs, *derived]
    for each in every_run:
        each.add_details()
    controls["positive_control"] = positive_control(every_run, job.seed)
    controls |= judge_model(participants.judge) | served_models(models, job)
    results = apply_controls(every_run, controls)
    return build_report(job, models, participants.judge, results, controls, started), item_rows(job, every_run)


def ask_before_judge(job: Job, participants: Participants) -> None:
    """Ask the models all that :func:`run_gate` may ask them, if the judge takes their place; nothing otherwise.

    For several candidates: the judge comes once for all of them, when each was asked everything.
    """
    models = participants.models
    job, runs = _begin(job, participants)
    models.progress.expect(questions_left(job, participants, runs))
    ask_ahead(job, models, participants.judge, runs, _probes(runs), participants.zero)
    models.stop()


def _begin(job: Job, participants: Participants) -> tuple[Job, list[MeasurementRun]]:
    """The job without what must not be asked, and its measurements; the models are declared."""
    models = participants.models
    tail_map = tail_map_of(job, participants)
    job = leave_out_head(exclude_contaminated(job, find_overlaps(job, models)), tail_map)
    require_models(job, participants)
    return job, [MeasurementRun(m, job, models, participants.judge, tail_map) for m in job.measurements]


def _probes(runs: Sequence[MeasurementRun]) -> list[Item]:
    """The shortest of the first items of each suite, in turn: a probe must fit into any context."""
    firsts = [sorted(run.suite.items[:32], key=lambda i: len(i.user_text))[:8] for run in runs]
    return [item for row in zip(*firsts, strict=False) for item in row]


def require_models(job: Job, participants: Participants) -> None:
    """Declare the models that are asked, once all engines know what will share the memory of a GPU."""
    asked = [model for model in (*job.models, participants.zero) if model is not None]
    participants.models.reserve(asked)
    if participants.judge is not None and job.judge is not None:
        participants.judge.reserve([job.judge])
    participants.models.require(asked)


def questions_left(job: Job, participants: Participants, runs: Sequence[MeasurementRun]) -> int:
    """How many questions the run asks at most: all items of all looks, the controls, and a grade of each judged answer.

    The judge's own test is not counted.
    """
    models, every = participants.models, [(run, item) for run in runs for item in run.every_item()]
    both = [run.both_questions(item) for run, item in every]
    asks = [
        Ask(model, q)
        for questions in both
        for model, of_side in zip((job.base, job.candidate), questions, strict=True)
        for q in of_side
    ]
    if job.deployed.compared is not None:
        asks += [Ask(job.deployed.compared, q) for questions in both for q in questions[0]]
    control = sum(len(run.questions(item)) for run in runs for item in run.control_items())
    graded = sum(run.measurement.judges([item]) for run, item in every) if participants.judge is not None else 0
    answers = 2 if job.deployed.compared is None else 3
    return models.missing(asks) + control * (2 if participants.zero is not None else 1) + answers * graded


def tail_map_of(job: Job, participants: Participants) -> TailMap | None:
    """Each query's distance from the training data; None if no measurement needs it or there is no training data."""
    measurement = job.by_distance
    if measurement is None or measurement.distances is None or job.training is None:
        return None
    inputs = TailInputs(job.suites[measurement.name], job.training, job.query_log, job.base, job.encoder, job.seed)
    models = participants.models
    return build_tail_map(
        measurement.distances,
        inputs,
        models.journal.fact,
        models.progress,
        participants.open_embedder,
        participants.vectors,
    )


def run_controls(
    job: Job, participants: Participants, runs: Sequence[MeasurementRun], derived: Sequence[DerivedRun]
) -> dict[str, Any]:
    """The pilot, and whether the candidate's weights take effect (ControlError if not) and the base repeats itself.

    The judge is tested as soon as the base is known to answer, before it grades anything.
    """
    models = participants.models
    items = _probes(runs)
    ask_ahead(job, models, participants.judge, runs, items, participants.zero)
    effect = adapter_effect(models, job.base, job.candidate, items)
    ask_pilot(job.base, models, runs, job.seed)
    for run in runs:
        run.test_judge()
    pilots = run_pilot(job.base, models, runs, job.seed)
    a_a = aa_test(job, models, runs, derived)
    rival = incumbent_effect(models, job, items)
    return {"pilot": pilot_control(pilots), "adapter_effect": effect, **rival, "a_a": a_a}


def due_runs(
    runs: Sequence[MeasurementRun], derived: Sequence[DerivedRun], failed: frozenset[str]
) -> list[MeasurementRun]:
    """The measurements that are due for a look; none once something blocks or all that ask are settled.

    A measurement in ``failed``, by a control or for want of a fit judge, does not count: it neither stops the run nor
    gets another look.
    """
    results = {run.name: run.result for run in runs if run.result is not None}
    if results and settled([f for name, result in results.items() if name not in failed for f in result.findings]):
        return []
    read = [run.result for run in derived if run.result is not None and run.name not in failed]
    if any(finding.blocks for result in read for finding in result.findings):
        return []
    return [run for run in runs if run.due() is not None and not (run.name in results and run.name in failed)]


def ask_all(
    job: Job, models: CachedEngine, runs: Sequence[MeasurementRun], rivals: Sequence[IncumbentRun] = ()
) -> None:
    """Ask all models every new question of ``runs`` and ``rivals`` in one batch, and pass each run its answers."""
    plan = [(run, item) for run in runs for item in run.unanswered()]
    both = [run.both_questions(item) for run, item in plan]
    for_base, for_candidate = ([questions[side] for questions in both] for side in (0, 1))
    asks = [Ask(job.base, q) for questions in for_base for q in questions]
    asks += [Ask(job.candidate, q) for questions in for_candidate for q in questions]
    to_incumbent = [(rival, item, rival.questions(item)) for rival in rivals for item in rival.unanswered()]
    asks += [
        Ask(job.deployed.compared, q)
        for _, _, questions in to_incumbent
        for q in questions
        if job.deployed.compared is not None
    ]
    if models.missing(asks):
        asked = Counter(run.name for run, _ in plan)
        models.progress.note(f"asking: {', '.join(f'{name} {count:,} items' for name, count in asked.items())}")
    ahead = asked_next(job, runs) if models.runs_ahead else []
    answers = iter(models.ask(asks, "answer questions", ahead))
    base, candidate = ([tuple(islice(answers, len(qs))) for qs in side] for side in (for_base, for_candidate))
    for (run, item), of_base, of_candidate in zip(plan, base, candidate, strict=True):
        run.add(Pair(item, of_base, of_candidate))
    for rival, item, questions in to_incumbent:
        rival.add(item, tuple(islice(answers, len(questions))))
