"""The power of a planned run: items needed, detectable change, and what early stopping saves. Pure.

Power is that of a *good* candidate, one that lost nothing (and gained what an earlier run gained). It is simulated,
because the formula is optimistic when few items fail (methods: section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

from ftgate.domain import FloatArray
from ftgate.measurements.base import Measurement
from ftgate.measurements.calibration import PASS_FACTOR
from ftgate.measurements.estimate import LEAST_BASE
from ftgate.measurements.gated_slices import SlicePower
from ftgate.measurements.pilot import Pilot, never_passes
from ftgate.measurements.power_facts import PowerFacts
from ftgate.measurements.shortage import least_items
from ftgate.planning.simulate import (
    MOST_ITEMS,
    POWER,
    Answered,
    BinaryDrop,
    MeanContrast,
    PairedPopulation,
    Schedule,
    Simulated,
    needed_units,
    smallest_detected,
)
from ftgate.planning.simulate_ece import EceRise
from ftgate.stats.bootstrap import MIN_CLUSTERS
from ftgate.stats.interval import wilson_interval
from ftgate.stats.power import Outlook, evidence_floor

ASSUMED_PHI, ASSUMED_GAIN = 0.5, 0.05
ANSWERS_TRIED = (2, 3, 4, 6, 8, 12, 16)
"""Numbers of answers to an item that a plan suggests; item difficulty, which they do not average out, caps the rest."""
_CURVE = (0.0625, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.25, 1.5)


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The result of one measurement in an earlier run.

    ``base`` and ``candidate`` hold the scores of the compared items, or of their clusters in units of the mean cluster
    size; None for calibration, where ``rise_error`` is the standard error of the ECE increase at ``n`` items, and
    ``pass_factor`` how many times wider the interval was on the side of a pass.
    ``floor`` is the judge's mean grade for worthless answers, ``answers`` the number of answers to an item that were
    averaged for either model.
    """

    n: int
    base: FloatArray | None = None
    candidate: FloatArray | None = None
    floor: float = 0.0
    rise_error: float | None = None
    pass_factor: float = PASS_FACTOR
    answers: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class Workload:
    """What one measurement adds to a run.

    Of the ``rows`` of the suite ``compared`` decide (the tail is a part of its queries), and ``asked`` are asked about.
    ``units`` is the number of independent units: effective clusters if there are any, else the compared rows.
    ``questions`` go to both models together, ``judge_questions`` is the most that go to the judge; the seconds per
    question come from an earlier run. ``shortage`` says why it can never pass with these rows, ``pilot`` what the
    base's first answers do. ``graded`` says that some rows score between 0 and 1. ``answers`` to each item are averaged
    for either model, on the ``free_form`` share of rows.
    """

    measurement: Measurement
    rows: int
    compared: int
    units: int
    questions: int
    judge_questions: int = 0
    graded: bool = False
    seconds: float | None = None
    judge_seconds: float | None = None
    past: EarlierRun | None = None
    asked: int = 0
    shortage: str | None = None
    pilot: Pilot | None = None
    answers: tuple[int, int] = (1, 1)
    free_form: float = 0.0
    slices: tuple[SlicePower, ...] = ()
    block_drop: float | None = None
    """The limit on a drop against the incumbent, if that is the comparison that is planned."""
    blocks: Schedule | None = None
    """The looks with the levels of a block, where it has a part of alpha only."""

    @property
    def facts(self) -> PowerFacts:
        """What the simulation needs to know of the measurement."""
        facts = self.measurement.power_facts()
        if self.block_drop is None or facts.change in ("rise", "ece"):  # those keep their limits
            return facts
        return PowerFacts("drop", self.block_drop, self.block_drop)

    @property
    def assumed_base(self) -> float:
        """The base's score without an earlier run: that of the pilot, at least half an item from 0 and 1, or 80 %."""
        if self.pilot is None or self.pilot.base is None:
            return self.measurement.power_facts().base
        half = 0.5 / self.pilot.items
        return min(max(self.pilot.base, half), 1 - half)


@dataclass(frozen=True, slots=True)
class MoreAnswers:
    """The way to the wanted power with more answers to the same rows, and what either way costs.

    ``answers`` to each of ``prompts`` rows, by base and candidate, lead to ``power`` and are ``generated`` answers of
    both models together. ``rows`` are needed if there are more of them instead, which makes it ``generated_by_rows``
    answers (None: no number suffices).
    """

    answers: tuple[int, int]
    power: float
    prompts: int
    generated: int
    rows: int | None
    generated_by_rows: int | None


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """One point of a power curve: the share of good candidates that pass with ``n`` items that decide."""

    n: int
    power: float


@dataclass(frozen=True, slots=True)
class PowerEstimate:
    """The power of one measurement. Changes are in the unit of ``kind``, numbers of items are rows.

    ``power`` is the probability that a good candidate, whose true change is ``good``, passes with the planned items.
    ``needed`` is the number of items that decide, ``needed_rows`` that of rows in the suite, for a power of 80 %; None
    if no number reaches it. ``detectable_change`` is the smallest true drop or rise that is blocked with probability
    80 %, or the smallest gain that passes with it. ``saved`` is the share of questions that early stopping saves on
    average for a good candidate. ``shortage`` says why none can pass with these rows, and what to do. ``pilot``
    holds the base's first answers, if it was asked.
    """

    name: str
    kind: str
    limit: float
    rows: int
    compared: int
    clusters: int | None
    base: float | None
    phi: float | None
    learned: bool
    good: float
    power: float
    needed: int | None
    needed_rows: int | None
    by_formula: int | None
    detectable_change: float | None
    saved: float
    questions: int
    judge_questions: int
    seconds: float | None
    curve: tuple[PowerPoint, ...]
    shortage: str | None = None
    pilot: Pilot | None = None
    answers: tuple[int, int] = (1, 1)
    more_answers: MoreAnswers | None = None
    slices: tuple[SlicePower, ...] = ()
    """What each slice that gates can show; where there are any, a good candidate is asked all planned items."""
    measures: str = ""
    """The measurement's kind, such as ``forgetting``; ``kind`` is that of the change."""
    tier: str = "blocking"
    also: str = ""
    """What a pass needs beside this; empty if nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The power of all measurements, and the cost of the controls: ``control_questions`` go to the base again."""

    prospects: tuple[PowerEstimate, ...]
    control_questions: int
    control_seconds: float | None
    other_seconds: float | None
    """Time for starting engines, embedding and so on in the earlier run."""
    alpha: float
    early_stopping: str
    learned_from: str | None = None
    continuations: int = 0
    """Continuations whose log-likelihoods are read of both models together, where suites are tasks."""
    against_incumbent: tuple[PowerEstimate, ...] = ()
    """The power of the comparison with the deployed model, where it is one of drops; empty without such a model."""
    incumbent_questions: int = 0
    """Questions to the deployed model."""


def estimate_power(workload: Workload, schedule: Schedule, seed: int) -> PowerEstimate:
    """The power of ``workload`` at the looks of ``schedule``. The same seed gives the same numbers."""
    size = workload.compared / workload.units if workload.units else 1.0
    minimum = _minimum_items(workload, schedule.alpha) / size
    simulation = _simulation(workload, schedule, math.ceil(minimum), seed)
    run = cache(simulation.model.run)
    n = workload.units
    outcome = run(n, simulation.good) if n >= 2 else Outlook(n, 0.0, 0.0, 1.0, float(n))
    units = needed_units(run, simulation.good, max(math.ceil(minimum), simulation.formula or 2))
    needed = None if units is None else math.ceil(units * size)
    needed_rows = math.ceil(needed * workload.rows / workload.compared) if needed and workload.compared else None
    return PowerEstimate(
        name=workload.measurement.name,
        kind=simulation.kind,
        limit=simulation.limit,
        rows=workload.rows,
        compared=workload.compared,
        clusters=workload.units if workload.units != workload.compared else None,
        base=simulation.base,
        phi=simulation.phi,
        learned=workload.past is not None,
        good=simulation.good,
        power=outcome.passed,
        needed=needed,
        needed_rows=needed_rows,
        by_formula=None if simulation.formula is None else math.ceil(simulation.formula * size),
        detectable_change=_detectable_change(workload, workload.blocks or schedule, math.ceil(minimum), seed),
        saved=1 - outcome.mean_items / workload.units if workload.units >= 2 else 0.0,
        questions=workload.questions,
        judge_questions=workload.judge_questions,
        seconds=_all_seconds(workload),
        curve=_curve(run, simulation.good, (math.ceil(minimum), workload.units, units), size),
        shortage=workload.shortage,
        pilot=workload.pilot,
        answers=workload.answers,
        slices=workload.slices,
        measures=workload.measurement.kind,
        tier=workload.measurement.tier,
        also=workload.facts.also,
        more_answers=_more_answers(workload, schedule, seed, needed_rows) if outcome.passed < POWER else None,
    )


def _all_seconds(workload: Workload) -> float | None:
    asked = _seconds(workload.questions, workload.seconds)
    judged = _seconds(workload.judge_questions, workload.judge_seconds)
    return None if asked is None or judged is None else asked + judged


def _more_answers(workload: Workload, schedule: Schedule, seed: int, needed_rows: int | None) -> MoreAnswers | None:
    """The fewest answers an item with which the rows at hand suffice; None if none of ``ANSWERS_TRIED`` do."""
    if not workload.free_form or workload.units != workload.compared or workload.units < 2:
        return None
    for each in ANSWERS_TRIED:
        answers = (max(workload.answers[0], each), max(workload.answers[1], each))
        if answers == workload.answers:
            continue
        more = replace(workload, answers=answers)
        simulation = _simulation(more, schedule, math.ceil(_minimum_items(more, schedule.alpha)), seed)
        power = simulation.model.run(workload.units, simulation.good).passed
        if power >= POWER:
            by_rows = None if needed_rows is None else needed_rows * workload.questions / workload.rows
            prompts = workload.asked or workload.rows
            return MoreAnswers(
                answers=answers,
                power=power,
                prompts=prompts,
                generated=round(prompts * _answers_a_row(more)),
                rows=needed_rows,
                generated_by_rows=None if by_rows is None else math.ceil(by_rows),
            )
    return None


def _answers_a_row(workload: Workload) -> float:
    """Answers of both models together to one row, on average."""
    return workload.free_form * sum(workload.answers) + (1 - workload.free_form) * 2


@dataclass(frozen=True, slots=True)
class _Simulation:
    """How one measurement is simulated, with its assumptions. ``formula`` is the number of units by formula."""

    model: Simulated
    kind: str
    limit: float
    good: float
    base: float | None = None
    phi: float | None = None
    formula: int | None = None


def _simulation(workload: Workload, schedule: Schedule, minimum: int, seed: int) -> _Simulation:
    m, past = workload.measurement, workload.past
    facts = workload.facts
    limit = facts.limit
    if facts.change == "ece":
        rise_error = (past.rise_error, past.n) if past is not None and past.rise_error is not None else None
        factor = past.pass_factor if past is not None else PASS_FACTOR
        least = 2 * MOST_ITEMS if never_passes(m, workload.pilot) else max(minimum, facts.least_items)
        rise = EceRise(limit, facts.bins, schedule, least, seed, rise_error, factor)
        return _Simulation(rise, "ECE increase", limit, 0.0)
    binary = not workload.graded and workload.units == workload.compared
    source = _population(past, binary, workload.assumed_base)
    population = source.averaged(_noise(workload), workload.free_form)
    binary = binary and population.binary
    floor = past.floor if past is not None else 0.0
    if facts.change in ("gain", "rise"):
        rises = facts.change == "rise"  # of the share of bad answers: the score falls by as much
        limit = -limit if rises else limit
        good = max(population.gain, 0.0) if population.learned else 0.0
        good = good if good > limit + 0.005 else limit + ASSUMED_GAIN
        gained = MeanContrast(population, "gain", limit, floor, schedule, minimum, seed, m.name)
        if rises:
            return _Simulation(gained, "rise", facts.limit, 0.0, source.base, source.phi, gained.items(0.0, POWER))
        return _Simulation(gained, "gain", limit, good, source.base, source.phi, gained.items(good, POWER))
    low = wilson_interval(min(population.base, 1.0), max(workload.units, 1), schedule.alpha).low - floor
    if low < LEAST_BASE:
        # If losing everything stays within the limit, nothing may pass.
        cannot_lose = population.base - floor <= limit
        loss = MeanContrast(
            population, "loss", limit, floor, schedule, 2 * MOST_ITEMS if cannot_lose else minimum, seed, m.name
        )
        formula = None if cannot_lose else loss.items(0.0, POWER)
        return _Simulation(loss, "loss", limit, 0.0, source.base, source.phi, formula)
    if binary:
        ratio = BinaryDrop(source.base, source.phi, limit, schedule, seed, m.name)
        return _Simulation(ratio, "drop", limit, 0.0, source.base, source.phi, ratio.items(0.0, POWER))
    dropped = MeanContrast(population, "drop", limit, floor, schedule, minimum, seed, m.name)
    return _Simulation(dropped, "drop", limit, 0.0, source.base, source.phi, dropped.items(0.0, POWER))


def _population(past: EarlierRun | None, binary: bool, assumed_base: float) -> PairedPopulation:
    if past is None or past.base is None or past.candidate is None or len(past.base) < 2:
        return PairedPopulation.assumed(assumed_base, ASSUMED_PHI)
    return PairedPopulation.learned_from(past.base, past.candidate, binary=binary and past.answers == (1, 1))


def _noise(workload: Workload) -> float:
    """The share of the chance differences within an item that averaging more answers leaves.

    It is relative to the earlier run, if there is one. In clusters averaging is taken to change nothing, as items vary
    mostly with their cluster.
    """
    if workload.units != workload.compared:
        return 1.0
    before = workload.past.answers if workload.past is not None else (1, 1)
    return sum(1 / count for count in workload.answers) / sum(1 / count for count in before)


def _minimum_items(workload: Workload, alpha: float) -> float:
    """The smallest number of items with which the measurement can pass."""
    m = workload.measurement
    clusters = MIN_CLUSTERS * workload.compared / max(workload.units, 1) if workload.units != workload.compared else 2
    graded = workload.graded or workload.answers != (1, 1)
    if workload.block_drop is not None and workload.facts.change == "drop":
        return max(evidence_floor(workload.block_drop, alpha), 2, clusters)
    return max(least_items(m, alpha, graded=graded), 2, clusters)


def _detectable_change(workload: Workload, schedule: Schedule, minimum: int, seed: int) -> float | None:
    """The detectable change: the one nearest to the limit that is decided with 80 %, to 0.1 %; None if none is."""
    if workload.units < 2:
        return None
    simulation = _simulation(workload, schedule, minimum, seed)
    if isinstance(simulation.model, MeanContrast) and simulation.kind == "rise":
        as_loss = replace(simulation.model, kind="loss", limit=simulation.limit)
        simulation = replace(simulation, model=as_loss)

    def detected(change: float) -> bool:
        outcome = simulation.model.run(workload.units, change)
        return (outcome.passed if simulation.kind == "gain" else outcome.blocked) >= POWER

    return smallest_detected(detected, simulation.limit, min(simulation.model.farthest, 0.99))


def _curve(run: Answered, good: float, marks: tuple[int, int, int | None], size: float) -> tuple[PowerPoint, ...]:
    """Power over a range of units that includes the minimum, the available and the needed number."""
    minimum, available, needed = marks
    around = max(needed or 0, available, 8)
    steps = {round(share * around) for share in _CURVE} | {minimum - 1, minimum, available, needed or available}
    points = [(n, run(n, good)) for n in sorted(steps) if n >= 2]
    return tuple(PowerPoint(round(n * size), outcome.passed) for n, outcome in points)


def _seconds(questions: int, each: float | None) -> float | None:
    if not questions:
        return 0.0
    return None if each is None else questions * each
