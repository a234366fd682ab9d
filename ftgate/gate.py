"""The gate: ask both models the same questions, then judge the difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ftgate.asking import Respondents
from ftgate.conclusion import Result, conclude
from ftgate.controls import adapter_effect
from ftgate.distance import Embedder, locate
from ftgate.domain import Fitness, Pair, Scored, TailMap
from ftgate.engines.base import Ask
from ftgate.job import Job
from ftgate.judge.grading import Judge
from ftgate.looks import Look, items_at, looks, settled
from ftgate.measurements.base import Evidence, Measurement
from ftgate.measurements.scoring import score_pairs
from ftgate.report.document import Report
from ftgate.stats.seeding import generator
from ftgate.verdict import assess


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part in a run: the two models, the judge, and whoever measures distances."""

    models: Respondents
    judge: Respondents | None
    embedder: Callable[[str], Embedder]


def run_gate(job: Job, cast: Cast) -> Report:
    """Ask both models the same questions, then judge the difference."""
    started = time.time()
    tail_map = locate_tail(job, cast)
    cast.models.require([job.base, job.candidate])
    controls = run_controls(job, cast)
    fitness = test_judge(job, cast)
    results: dict[str, Result] = {}
    for look in looks(job.policy.evidence):
        open_ = [m for m in job.measurements if m.name not in results or not results[m.name].finding.settled]
        pairs = ask_both(job, cast, look, open_)
        scores = score(job, cast, pairs)
        results |= examine(job, look, pairs, scores, fitness, tail_map)
        if settled([r.finding for r in results.values()]):
            break
    return conclude(job, cast.models, results, controls, fitness, started)


def locate_tail(job: Job, cast: Cast) -> TailMap | None:
    """How far each query of the tail lies from the training data, or None where there is nothing to compare with."""
    wanting = next((m for m in job.measurements if m.wants_training_data), None)
    if wanting is None or job.training is None:
        return None
    return locate(wanting, job.suites[wanting.name], job.training, job.base, job.seed, cast.models, cast.embedder)


def run_controls(job: Job, cast: Cast) -> dict[str, Any]:
    """Prove that the experiment can tell the two models apart at all. Raises ControlError when it cannot."""
    items = [item for suite in job.suites.values() for item in suite.items[:8]]
    return {"adapter_effect": adapter_effect(cast.models, job.base, job.candidate, items)}


def test_judge(job: Job, cast: Cast) -> dict[str, Fitness]:
    """Whether the judge has earned its vote on each suite that it grades."""
    return {
        m.name: judge_for(job, cast, m.name, "test judge").fitness(
            job.suites[m.name].items, generator(job.seed, f"{m.name} fitness")
        )
        for m in job.measurements
        if m.reads == "judge"
    }


def ask_both(job: Job, cast: Cast, look: Look, open_: list[Measurement]) -> dict[str, tuple[Pair, ...]]:
    """Every question of the open measurements to both models, all in one go; answers paired by item."""
    plan = [(m.name, item, m.plan(item)) for m in open_ for item in items_at(look, job.suites[m.name], job.seed)]
    asks = [Ask(model, q) for model in (job.base, job.candidate) for _, _, questions in plan for q in questions]
    answers = iter(cast.models.ask(asks, "answer questions"))
    said = [[tuple(next(answers) for _ in questions) for _, _, questions in plan] for _ in ("base", "candidate")]
    pairs: dict[str, list[Pair]] = {m.name: [] for m in open_}
    for (name, item, _), base, candidate in zip(plan, *said, strict=True):
        pairs[name].append(Pair(item, base, candidate))
    return {name: tuple(rows) for name, rows in pairs.items()}


def score(job: Job, cast: Cast, pairs: Mapping[str, tuple[Pair, ...]]) -> dict[str, Scored]:
    """Both models' item scores for every open measurement, by the judge or by rule, written to the journal."""
    scores = {}
    for m in job.measurements:
        if m.name not in pairs:
            continue
        if m.reads == "judge":
            found = judge_for(job, cast, m.name, "grade answers").score(pairs[m.name])
        else:
            found = score_pairs(m.reads, pairs[m.name])
        both = list(zip(found.base.tolist(), found.candidate.tolist(), strict=True))
        cast.models.journal.add_scores(m.name, [item.id for item in found.items], both)
        scores[m.name] = found
    return scores


def examine(
    job: Job,
    look: Look,
    pairs: Mapping[str, tuple[Pair, ...]],
    scores: Mapping[str, Scored],
    fitness: Mapping[str, Fitness],
    tail_map: TailMap | None,
) -> dict[str, Result]:
    """Estimate each open measurement from its answers, then decide it. Pure, given the seed."""
    rules = job.policy.evidence
    results = {}
    for m in job.measurements:
        if m.name not in pairs:
            continue
        evidence = Evidence(
            pairs=pairs[m.name],
            scored=scores[m.name],
            alpha=look.alpha,
            draws=rules.draws,
            tail=tail_map if m.wants_training_data else None,
            fitness=fitness.get(m.name),
            overall_alpha=rules.alpha,
        )
        finding = assess(m.compare(evidence, generator(job.seed, m.name)), rules)
        results[m.name] = Result(look, pairs[m.name], scores[m.name], finding)
    return results


def judge_for(job: Job, cast: Cast, measurement: str, phase: str) -> Judge:
    """The judge, asking through its own respondents."""
    judge, model = cast.judge, job.judge
    assert judge is not None, "a job with a judged measurement always has a judge"
    assert model is not None, "and its weights"
    judge.require([model])
    return Judge(lambda questions: judge.ask([Ask(model, q) for q in questions], phase), measurement)
