"""Engines that take turns on a device: all that one is needed for is asked before the next takes its place.

What is asked here is asked again in its own place in the run, and then comes from the journal: what the run decides
depends on nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.domain import SIDES, Item, Model, Side
from ftgate.engines.base import Ask, base_of
from ftgate.gate.adapter_effect import adapter_effect
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.controls import ask_twice
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.pilot import ask_pilot
from ftgate.gate.zero_delta import ask_zeros
from ftgate.jobs.prepare import Job


def ask_ahead(
    job: Job,
    models: CachedEngine,
    judge: CachedEngine | None,
    runs: Sequence[MeasurementRun],
    probes: Sequence[Item],
    zero: Model | None,
) -> None:
    """Ask each model that takes turns all that the run may ask it, the base first.

    If the run stops early, what was asked for nothing is less than the starts that it would have cost, and the journal
    keeps the answers for a later run. Where the judge waits beside the models, the last of them is asked as the run
    goes on, look by look. Raises as the pilot and :func:`~ftgate.gate.adapter_effect.adapter_effect` do.
    """
    turns = models.takes_turns_with(judge)
    if not turns and not models.needs_swap(job.models):
        return
    others = in_turns(job)
    ask_pilot(job.base, models, runs, job.seed)
    _ask_everything(job.base, models, runs, "ask the base ahead", "base")
    ask_twice(job, models, runs)
    if zero is not None:
        for _ in ask_zeros(job, models, runs, zero):
            pass
    for model in others:
        adapter_effect(models, job.base, model, probes)
        if turns or model is not others[-1]:
            candidate = model == job.candidate
            phase = "ask the candidate ahead" if candidate else "ask the incumbent ahead"
            _ask_everything(model, models, runs, phase, "candidate" if candidate else "base")


def in_turns(job: Job) -> list[Model]:
    """The models beside the base in the order of their turns: those on the base's engine first, the candidate last."""
    rest = [model for model in job.models if model != job.base]
    return sorted(rest, key=lambda model: (base_of(model) != job.base, model == job.candidate))


def asked_next(job: Job, runs: Sequence[MeasurementRun]) -> list[Ask]:
    """The questions of the looks after the next one of ``runs``, to all models, in the order of the looks.

    An engine that runs ahead begins with them while the next look is scored. A look counts its own items, whatever
    answers have come by then.
    """
    asks: list[Ask] = []
    for run in runs:
        for number, items in enumerate(run.items_to_come(), start=1):
            for item in items:
                base, candidate = run.both_questions(item)
                asks += [Ask(job.base, q, number) for q in base] + [Ask(job.candidate, q, number) for q in candidate]
                if job.deployed.compared is not None:
                    asks += [Ask(job.deployed.compared, q, number) for q in base]
    return sorted(asks, key=lambda ask: ask.look)


def _ask_everything(model: Model, models: CachedEngine, runs: Sequence[MeasurementRun], phase: str, side: Side) -> None:
    every = [run.both_questions(item) for run in runs for item in run.every_item()]
    models.ask([Ask(model, q) for both in every for q in both[SIDES.index(side)]], phase)
