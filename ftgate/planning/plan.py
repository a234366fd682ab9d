"""What a run can tell before it has run: items needed, the change that would be seen, what stopping early saves. Pure.

Everything is worked out for a *good* candidate, one that lost nothing (and gained what an earlier run gained), and by
simulation: the formula is optimistic where few items fail (methods: section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ftgate.domain import FloatArray
from ftgate.measurements.base import Measurement
from ftgate.measurements.estimate import LEAST_BASE, LEAST_GRADED
from ftgate.planning.simulate import Answered, BinaryDrop, MeanContrast, PairedPopulation, Schedule, Simulated
from ftgate.planning.simulate_ece import EceRise
from ftgate.stats.bootstrap import MIN_CLUSTERS
from ftgate.stats.interval import wilson_interval
from ftgate.stats.power import Outlook, evidence_floor

POWER = 0.8
ASSUMED_BASE, ASSUMED_PHI, ASSUMED_GAIN = 0.8, 0.5, 0.05
MOST_ITEMS = 1_000_000
"""A plan that needs more is no plan."""
_CURVE = (0.0625, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.25, 1.5)


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What an earlier run found out about one measurement.

    ``base`` and ``candidate`` hold the scores of the items that were compared, or of their clusters in units of the
    mean cluster size; None for calibration, where ``rise_error`` is the standard error of the rise at ``n`` items.
    ``floor`` is what its judge gave to worthless answers.
    """

    n: int
    base: FloatArray | None = None
    candidate: FloatArray | None = None
    floor: float = 0.0
    rise_error: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """What a measurement brings to a run.

    ``rows`` are asked about, ``compared`` of them decide (a tail is a part of its queries), in ``units`` that are
    independent: clusters where there are any, else the rows themselves. ``questions`` go to the two models together,
    ``judge_questions`` to the judge at most; seconds for one of each come from an earlier run.
    """

    measurement: Measurement
    rows: int
    compared: int
    units: int
    questions: int
    judge_questions: int = 0
    seconds: float | None = None
    judge_seconds: float | None = None
    past: EarlierRun | None = None


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """One point of a power curve: ``n`` items that decide, and the share of good candidates that pass with them."""

    n: int
    power: float


@dataclass(frozen=True, slots=True)
class PowerEstimate:
    """What is to be expected of one measurement. Changes are in the unit of ``kind``, numbers of items are rows.

    ``power`` is the chance that a good candidate, whose true change is ``good``, passes with the items there are;
    ``needed`` are the items that decide, ``needed_rows`` the rows of the suite, for a chance of 80 %, None when no
    number does. ``detectable_change`` is the smallest true drop or rise that is blocked with 80 %, or the smallest gain
    that passes with 80 %.
    ``saved`` is the share of questions that stopping early saves on average when nothing is wrong.
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


@dataclass(frozen=True, slots=True)
class Plan:
    """The prospects of all measurements, and what is asked beside them: ``control_questions`` of the base again."""

    prospects: tuple[PowerEstimate, ...]
    control_questions: int
    control_seconds: float | None
    other_seconds: float | None
    """Starting engines, embedding and so on, as long as it took in the earlier run."""
    alpha: float
    early_stopping: str
    learned_from: str | None = None


def prospect(load: Workload, schedule: Schedule, seed: int) -> PowerEstimate:
    """What ``load`` can show at the looks of ``schedule``. The same seed gives the same numbers."""
    size = load.compared / load.units if load.units else 1.0
    least = _least(load, schedule.alpha) / size
    odds = _odds(load, schedule, math.ceil(least), seed)
    run = _kept(odds.model.run)
    here = run(load.units, odds.good) if load.units >= 2 else Outlook(load.units, 0.0, 0.0, 1.0, float(load.units))
    units = _needed(run, odds.good, max(math.ceil(least), odds.formula or 2))
    needed = None if units is None else math.ceil(units * size)
    share = load.compared / load.rows
    costs = [_seconds(load.questions, load.seconds), _seconds(load.judge_questions, load.judge_seconds)]
    return PowerEstimate(
        name=load.measurement.name,
        kind=odds.kind,
        limit=odds.limit,
        rows=load.rows,
        compared=load.compared,
        clusters=load.units if load.units != load.compared else None,
        base=odds.base,
        phi=odds.phi,
        learned=load.past is not None,
        good=odds.good,
        power=here.passed,
        needed=needed,
        needed_rows=None if needed is None or share <= 0 else math.ceil(needed / share),
        by_formula=None if odds.formula is None else math.ceil(odds.formula * size),
        detectable_change=_told(run, load.units, odds) if load.units >= 2 else None,
        saved=1 - here.mean_items / load.units if load.units >= 2 else 0.0,
        questions=load.questions,
        judge_questions=load.judge_questions,
        seconds=None if None in costs else sum(c for c in costs if c is not None),
        curve=_curve(run, odds.good, (math.ceil(least), load.units, units), size),
    )


@dataclass(frozen=True, slots=True)
class _Odds:
    """How one measurement is simulated, and the numbers that this rests on. ``formula`` counts units."""

    model: Simulated
    kind: str
    limit: float
    good: float
    base: float | None = None
    phi: float | None = None
    formula: int | None = None


def _odds(load: Workload, schedule: Schedule, least: int, seed: int) -> _Odds:
    m, past = load.measurement, load.past
    facts = m.power_facts()
    limit = facts.limit
    if facts.change == "ece":
        known = (past.rise_error, past.n) if past is not None and past.rise_error is not None else None
        rise = EceRise(limit, facts.bins, schedule, max(least, facts.least_items), seed, known)
        return _Odds(rise, "ECE increase", limit, 0.0)
    binary = not load.judge_questions and load.units == load.compared
    table = _table(past, binary)
    floor = past.floor if past is not None else 0.0
    if facts.change == "gain":
        good = max(table.gain, 0.0) if table.learned else 0.0
        good = good if good > limit + 0.005 else limit + ASSUMED_GAIN
        gained = MeanContrast(table, "gain", limit, floor, schedule, least, seed, m.name)
        return _Odds(gained, "gain", limit, good, table.base, table.phi, gained.items(good, POWER))
    low = wilson_interval(min(table.base, 1.0), max(load.units, 1), schedule.alpha).low - floor
    if low < LEAST_BASE:
        # Where all that could be lost lies within the limit, nothing may pass.
        blind = table.base - floor <= limit
        lost = MeanContrast(table, "loss", limit, floor, schedule, 2 * MOST_ITEMS if blind else least, seed, m.name)
        formula = None if blind else lost.items(0.0, POWER)
        return _Odds(lost, "loss", limit, 0.0, table.base, table.phi, formula)
    if binary:
        ratio = BinaryDrop(table.base, table.phi, limit, schedule, seed, m.name)
        return _Odds(ratio, "drop", limit, 0.0, table.base, table.phi, ratio.items(0.0, POWER))
    dropped = MeanContrast(table, "drop", limit, floor, schedule, least, seed, m.name)
    return _Odds(dropped, "drop", limit, 0.0, table.base, table.phi, dropped.items(0.0, POWER))


def _table(past: EarlierRun | None, binary: bool) -> PairedPopulation:
    if past is None or past.base is None or past.candidate is None or len(past.base) < 2:
        return PairedPopulation.assumed(ASSUMED_BASE, ASSUMED_PHI)
    return PairedPopulation.learned_from(past.base, past.candidate, binary=binary)


def _least(load: Workload, alpha: float) -> float:
    """Items below which this measurement never passes."""
    facts = load.measurement.power_facts()
    if facts.change == "ece":
        return facts.least_items
    clusters = MIN_CLUSTERS * load.compared / max(load.units, 1) if load.units != load.compared else 2
    floor = evidence_floor(facts.floor, alpha) if facts.floor is not None else 1
    return max(floor, facts.least_items, LEAST_GRADED if load.judge_questions else 2, clusters)


def _kept(run: Answered) -> Answered:
    """``run`` that plays nothing twice."""
    known: dict[tuple[int, float], Outlook] = {}

    def once(n: int, change: float) -> Outlook:
        if (n, change) not in known:
            known[n, change] = run(n, change)
        return known[n, change]

    return once


def _needed(run: Answered, good: float, start: int) -> int | None:
    """The least number of units with which a good candidate passes with 80 %, near enough: 1 % of it."""
    low, high = 1, max(start, 2)
    while run(high, good).passed < POWER:
        low, high = high, 2 * high
        if high > MOST_ITEMS:
            return None
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if run(middle, good).passed >= POWER else (middle, high)
    return high


def _told(run: Answered, n: int, odds: _Odds) -> float | None:
    """The change nearest to the limit that is told from it with 80 %, to a tenth of a percent; None if none is."""

    def seen(change: float) -> bool:
        found = run(n, change)
        return (found.passed if odds.kind == "gain" else found.blocked) >= POWER

    return _first(seen, odds.limit, min(odds.model.farthest, 0.99))


def _first(seen: Callable[[float], bool], low: float, high: float) -> float | None:
    if high <= low or not seen(high):
        return None
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high


def _curve(run: Answered, good: float, marks: tuple[int, int, int | None], size: float) -> tuple[PowerPoint, ...]:
    """Power over a range of units that shows the least that can pass, what there is and what is needed."""
    least, here, needed = marks
    around = max(needed or 0, here, 8)
    steps = {round(share * around) for share in _CURVE} | {least - 1, least, here, needed or here}
    points = [(n, run(n, good)) for n in sorted(steps) if n >= 2]
    return tuple(PowerPoint(round(n * size), found.passed) for n, found in points)


def _seconds(questions: int, each: float | None) -> float | None:
    if not questions:
        return 0.0
    return None if each is None else questions * each
