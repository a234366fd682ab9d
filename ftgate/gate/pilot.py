"""The pilot: the base answers a few items of each suite before anything else is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ftgate.domain import Model, Pair
from ftgate.engines.base import Ask
from ftgate.engines.registry import open_judge, open_model
from ftgate.errors import EngineError
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.journal import Journal
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.jobs.prepare import Job
from ftgate.measurements.looks import pilot_items
from ftgate.measurements.pilot import PILOT_ITEMS, Pilot, common_failure, read_pilot
from ftgate.progress import Progress


def run_pilot(
    base: Model, models: CachedEngine, runs: Sequence[MeasurementRun], seed: int, count: int = PILOT_ITEMS
) -> dict[str, Pilot]:
    """Ask the base ``count`` items of each suite, and print why a suite may not be able to decide.

    The items are among the first that the run asks anyway, so the journal answers them later. Raises EngineError where
    the base answers none of them: such a measurement can neither pass nor block.
    """
    pairs = ask_pilot(base, models, runs, seed, count)
    pilots = {
        run.name: read_pilot(run.measurement, pairs[run.name], run.score(pairs[run.name]), run.judge_unfit)
        for run in runs
    }
    for name, pilot in pilots.items():
        for warning in pilot.warnings:
            models.progress.note(f"warning: {name}: {warning}")
    return pilots


def ask_pilot(
    base: Model, models: CachedEngine, runs: Sequence[MeasurementRun], seed: int, count: int = PILOT_ITEMS
) -> dict[str, list[Pair]]:
    """The base's answers to the pilot, by measurement, as the base against itself. Raises as :func:`run_pilot`."""
    plan = [(run, item, run.questions(item)) for run in runs for item in pilot_items(run.suite, seed, count)]
    answers = iter(models.ask([Ask(base, q) for _, _, questions in plan for q in questions], "pilot"))
    pairs: dict[str, list[Pair]] = {run.name: [] for run in runs}
    for run, item, questions in plan:
        of_base = tuple(next(answers) for _ in questions)
        pairs[run.name].append(Pair(item, of_base, of_base))
    for name, of_suite in pairs.items():
        failure = common_failure(of_suite)
        if failure is not None:
            raise EngineError(
                f"{name} can neither pass nor block: the base answered none of {len(of_suite)} items; the first "
                f"failure: {failure}",
                hint="mend what the failure names and run again; nothing else was asked",
            )
    return pairs


def pilot_control(pilots: dict[str, Pilot]) -> dict[str, Any]:
    """The pilot as the report shows it among the controls: ``ok`` is None where there is a warning."""
    return {name: _outcome(pilot) for name, pilot in pilots.items()}


def _outcome(pilot: Pilot) -> dict[str, Any]:
    scored = "no score is known" if pilot.base is None else f"the base scores {100 * pilot.base:.0f} %"
    reason = "; ".join(pilot.warnings) or f"{scored} on {pilot.items} items"
    return {"ok": None if pilot.warnings else True, "reason": reason, "items": pilot.items, "base": pilot.base}


def pilot_base(job: Job, count: int, progress: Progress) -> dict[str, Pilot]:
    """The pilot alone, for a plan: only the base is loaded and, where a suite needs it, the judge. Keeps nothing."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        journal = stack.enter_context(Journal(Path(folder) / "answers.jsonl"))
        log = Path(folder) / "engine.log"
        engine = open_model(job.policy.engine.of("base"), job.base, log, journal.fact)
        stack.callback(engine.close)
        judge = None
        if job.judge is not None and job.policy.judge is not None:
            log = Path(folder) / "judge-engine.log"
            judge_engine = open_judge(job.policy.judge, job.policy.engine, log, journal.fact)
            stack.callback(judge_engine.close)
            judge = CachedEngine(judge_engine, judge_engine.info(), journal, progress)
        models = CachedEngine(engine, engine.info(), journal, progress)
        models.require([job.base])
        runs = [MeasurementRun(m, job, models, judge) for m in job.measurements]
        return run_pilot(job.base, models, runs, job.seed, count)
