"""The gate: ask both models the same questions, then judge the difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ftgate.domain import Fitness, Pair
from ftgate.embeddings.base import Embedder
from ftgate.engines.base import Ask
from ftgate.gate import decide as contamination
from ftgate.gate.build_report import conclude
from ftgate.gate.cached_engine import Respondents
from ftgate.gate.controls import (
    LARGEST_TOLERANCE,
    TOO_LENIENT,
    adapter_effect,
    caught,
    noisy,
    same_model,
    spoil,
    withdraw,
)
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.judge.grading import Grades, Judge
from ftgate.measurements.base import Evidence, failures, seeded
from ftgate.measurements.looks import Look, items_at, looks, planned_share, sample, settled
from ftgate.measurements.tail_map import TailMap
from ftgate.report.schema import Report
from ftgate.scoring.rules import interleaved, score_pairs
from ftgate.scoring.scores import Scored
from ftgate.stats.seeding import generator
from ftgate.tail.distance import Surroundings, locate


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part in a run: the two models, the judge, and whoever measures distances."""

    models: Respondents
    judge: Respondents | None
    embedder: Callable[[str], Embedder]
    vectors: Path
    """The folder that keeps vectors of texts."""
    grades: dict[str, Grades] = field(default_factory=dict)
    """What the judge said so far, by measurement."""


def run_gate(job: Job, cast: Cast) -> Report:
    """Ask both models the same questions, then judge the difference."""
    started = time.time()
    tail_map = locate_tail(job, cast)
    job = contamination.set_apart(job, contamination.overlaps(job, cast.models))
    cast.models.require([job.base, job.candidate])
    ask_base_ahead(job, cast)
    controls = run_controls(job, cast)
    fitness = test_judge(job, cast)
    results: dict[str, Result] = {}
    while due := next_looks(job, results, noisy(controls)):
        before = {name: known for name, result in results.items() if (known := kept(result)) is not None}
        pairs = ask_both(job, cast, due, before)
        results |= examine(job, due, pairs, score(job, cast, pairs, before), fitness, tail_map)
    results = {m.name: contamination.described(job, m, results[m.name]) for m in job.measurements}
    controls["positive_control"] = sabotage(job, cast, results, fitness, tail_map)
    judge = cast.judge.info if cast.judge is not None else None
    return conclude(job, cast.models, judge, withdraw(results, controls), controls, fitness, started)


def locate_tail(job: Job, cast: Cast) -> TailMap | None:
    """How far each query of the tail lies from the training data, or None where there is nothing to compare with."""
    if job.tail is None or job.training is None:
        return None
    around = Surroundings(job.suites[job.tail.name], job.training, job.query_log, job.base, job.encoder, job.seed)
    return locate(job.tail, around, cast.models, cast.embedder, cast.vectors)


def ask_base_ahead(job: Job, cast: Cast) -> None:
    """Where the two models take turns, put every question of every look to the base first, for the journal.

    Each look would otherwise cost a start of either engine. What is asked in vain, when the run stops early, is at most
    the base's half of what early stopping saves; a run that is cut short does not lose it, nor does the next candidate.
    """
    if cast.models.in_turn((job.base, job.candidate)):
        rows = [(m, job.suites[m.name].items + contamination.asked_aside(job, m.name)) for m in job.measurements]
        asks = [Ask(job.base, q) for m, items in rows for item in items for q in seeded(m.plan(item), job.seed)]
        cast.models.ask(asks, "ask the base ahead")


def run_controls(job: Job, cast: Cast) -> dict[str, Any]:
    """Prove that the candidate is in force and that the base agrees with itself. Raises ControlError for the first."""
    # The shortest of each suite's first: a probe must fit into any context.
    firsts = [sorted(suite.items[:32], key=lambda i: len(i.user_text))[:8] for suite in job.suites.values()]
    items = [item for row in zip(*firsts, strict=False) for item in row]
    # Where models take turns, whatever concerns the base alone comes before the change.
    a_a = base_against_itself(job, cast) if cast.models.in_turn((job.base, job.candidate)) else None
    effect = adapter_effect(cast.models, job.base, job.candidate, items)
    return {"adapter_effect": effect, "a_a": a_a or base_against_itself(job, cast)}


def base_against_itself(job: Job, cast: Cast) -> dict[str, Any]:
    """Ask the base some questions a second time, in other company and past the journal, and compare its two selves."""
    chosen = [(m, item) for m in job.measurements for item in sample(job.suites[m.name], job.seed)]
    first = [Ask(job.base, q) for m, item in chosen for q in seeded(m.plan(item), job.seed)]
    again = [Ask(job.base, replace(ask.question, repeat=1)) for ask in first]
    once = iter(cast.models.ask(first, "ask the base twice"))
    # Engines sort what they are asked at once: only other questions, asked apart, make another company.
    halves = [iter(cast.models.ask(again[start::2], "ask the base twice")) for start in (0, 1)]
    twice = (next(halves[i % 2]) for i in range(len(again)))
    pairs: dict[str, list[Pair]] = {m.name: [] for m in job.measurements}
    for m, item in chosen:
        size = len(m.plan(item))
        pairs[m.name].append(
            Pair(item, tuple(next(once) for _ in range(size)), tuple(next(twice) for _ in range(size)))
        )
    scores = score(job, cast, {name: tuple(rows) for name, rows in pairs.items()}, keep=False)
    # All of them together may raise a false alarm no more often than one would.
    rules = job.policy.evidence.model_copy(update={"alpha": job.policy.evidence.alpha / len(job.measurements)})
    sides = {m.name: m.per_item(pairs[m.name], scores[m.name]) for m in job.measurements}
    return {m.name: same_model(*sides[m.name], m, rules, job.seed) for m in job.measurements}


def sabotage(
    job: Job,
    cast: Cast,
    results: Mapping[str, Result],
    fitness: Mapping[str, Fitness],
    tail_map: TailMap | None,
) -> dict[str, Any]:
    """Spoil some of the base's answers and see that each measurement would have blocked them."""
    # Each measurement draws for itself, so that a change to one asks nothing new of the judge about another.
    pairs = {
        m.name: spoil(results[m.name].pairs, generator(job.seed, f"{m.name} positive control"))
        for m in job.measurements
        if m.tolerance <= LARGEST_TOLERANCE
    }
    end = dict.fromkeys(pairs, Look(1, 1, 1.0, job.policy.evidence.alpha))
    found = examine(job, end, pairs, score(job, cast, pairs, keep=False), fitness, tail_map)
    return {m.name: caught(found[m.name].finding) if m.name in found else TOO_LENIENT for m in job.measurements}


def test_judge(job: Job, cast: Cast) -> dict[str, Fitness]:
    """Whether the judge has earned its vote on each suite that it grades."""
    return {
        m.name: judge_for(job, cast, m.name, "test judge").fitness(
            job.suites[m.name].items + job.aside.get(m.name, ()), generator(job.seed, f"{m.name} fitness")
        )
        for m in job.measurements
        if m.judges(job.suites[m.name].items)
    }


def next_looks(job: Job, results: Mapping[str, Result], noisy: frozenset[str] = frozenset()) -> dict[str, Look]:
    """The look that each open measurement is due for; none once something blocks or everything is settled.

    What a measurement in ``noisy`` says will not count, so that it neither stops the run nor is looked at again.
    """
    if results and settled([r.finding for name, r in results.items() if name not in noisy]):
        return {}
    due = {}
    for m in job.measurements:
        if m.name in results and m.name in noisy:
            continue
        schedule = looks(job.policy.evidence, planned_share(m, job.suites[m.name]))
        done = results[m.name].look.number if m.name in results else 0
        if done < len(schedule) and not (m.name in results and results[m.name].finding.settled):
            due[m.name] = schedule[done]
    return due


def kept(result: Result) -> Evidence | None:
    """What the next look builds on; None where an answer failed, so that all is asked for and it gets another chance.

    The journal answers what was answered.
    """
    return None if any(failures(pair) for pair in result.evidence.pairs) else result.evidence


def ask_both(
    job: Job, cast: Cast, due: Mapping[str, Look], before: Mapping[str, Evidence]
) -> dict[str, tuple[Pair, ...]]:
    """Every new question of the measurements that are due to both models, all in one go; answers paired by item."""
    open_ = [m for m in job.measurements if m.name in due]
    items = {m.name: items_at(due[m.name], job.suites[m.name], job.seed) for m in open_}
    # Those that do not count are asked with the first look.
    wanted = {m.name: (*items[m.name], *contamination.asked_aside(job, m.name)) for m in open_}
    pairs = {name: {p.item.id: p for p in before[name].pairs} if name in before else {} for name in wanted}
    asked = [(m, i) for m in open_ for i in wanted[m.name] if i.id not in pairs[m.name]]
    plan = [(m.name, i, seeded(m.plan(i), job.seed)) for m, i in asked]
    asks = [Ask(model, q) for model in (job.base, job.candidate) for _, _, questions in plan for q in questions]
    answers = iter(cast.models.ask(asks, "answer questions"))
    said = [[tuple(next(answers) for _ in questions) for _, _, questions in plan] for _ in ("base", "candidate")]
    for (name, item, _), base, candidate in zip(plan, *said, strict=True):
        pairs[name][item.id] = Pair(item, base, candidate)
    return {name: tuple(pairs[name][item.id] for item in items) for name, items in wanted.items()}


def score(
    job: Job,
    cast: Cast,
    pairs: Mapping[str, tuple[Pair, ...]],
    before: Mapping[str, Evidence] = MappingProxyType({}),
    *,
    keep: bool = True,
) -> dict[str, Scored]:
    """Both sides' item scores for every open measurement, by the judge or by rule; kept in the journal if asked."""
    scores = {}
    for m in job.measurements:
        if m.name not in pairs:
            continue
        parts = [before[m.name].scored] if m.name in before else []
        done = {item.id for part in parts for item in part.items}
        new = [pair for pair in pairs[m.name] if pair.item.id not in done]
        judged = [pair for pair in new if m.scored_by(pair.item) == "judge"]
        ruled = [pair for pair in new if m.scored_by(pair.item) != "judge"]
        parts += [score_pairs(m.scored_by, ruled)] if ruled else []
        parts += [judge_for(job, cast, m.name, "grade answers").score(judged)] if judged else []
        found = interleaved([pair.item for pair in pairs[m.name]], parts)
        if keep:
            both = list(zip(found.base.tolist(), found.candidate.tolist(), strict=True))
            cast.models.journal.add_scores(m.name, [item.id for item in found.items], both)
        scores[m.name] = found
    return scores


def examine(
    job: Job,
    due: Mapping[str, Look],
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
            alpha=due[m.name].alpha,
            draws=rules.draws,
            tail=tail_map if m.wants_training_data else None,
            fitness=fitness.get(m.name),
            overall_alpha=rules.alpha,
            last=due[m.name].last,
        )
        results[m.name] = contamination.judged(job, m, evidence, due[m.name])
    return results


def judge_for(job: Job, cast: Cast, measurement: str, phase: str) -> Judge:
    """The judge, asking through its own respondents."""
    judge, model = cast.judge, job.judge
    assert judge is not None, "a job with a judged measurement always has a judge"
    assert model is not None, "and its weights"
    judge.require([model])
    known = cast.grades.setdefault(measurement, {})
    return Judge(lambda questions: judge.ask([Ask(model, q) for q in questions], phase), measurement, known)
