"""Error rates: how often each way of deciding passes or blocks candidates that lie exactly on a limit.

ftgate's own rows take the same path as a run: item scores or answers, ``Measurement.compare``, ``verdict.assess``. Both
errors are counted on the same candidates: on the limit a pass is as wrong as a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Finding, FloatArray, Item, Message, Pair, Status
from ftgate.gate.derived_run import derived_look
from ftgate.measurements.base import AnyMeasurement, Evidence, Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.form import Form
from ftgate.measurements.looks import Look, looks
from ftgate.measurements.safety import Safety
from ftgate.measurements.target import Target
from ftgate.scoring.scores import PairedScores
from ftgate.stats.power import PairedAccuracy, paired_accuracy, power_by_simulation
from ftgate.stats.resampling import resampled_sums
from ftgate.stats.seeding import generator
from ftgate.stats.sequential import look_size
from ftgate.verdict import assess

SEED = 20
LIMIT, PHI, RISE = 0.10, 0.5, 0.05
Z05 = 1.6448536269514722
ITEMS = tuple(Item(f"i{i}", (Message("user", "q"),), ("a", "b", "c", "d"), "a") for i in range(2000))
PAIRS = tuple(Pair(item, (Answer(text="x", tokens=1),), (Answer(text="x", tokens=1),)) for item in ITEMS)
FORGETTING = Forgetting(dataset="simulated", scorer="exact", block_drop=LIMIT)
TARGET = Target(dataset="simulated")
FORM = Form(max_increase=LIMIT)
SAFETY = Safety(scorer="rules")
REQUESTS = tuple(replace(item, tags=("must_refuse" if i < 150 else "benign",)) for i, item in enumerate(ITEMS[:250]))
READ = tuple(Item(f"{s}/{i}", (Message("user", f"{s} {i}"),), tags=(s,)) for s in ("one", "two") for i in range(200))
WELL_FORMED, EMPTY = (Answer(text="fine", tokens=1),), (Answer(text="", tokens=0),)
CUT = (Answer(text="fine", tokens=64, finish="length"),)
CALIBRATION = Calibration(dataset="simulated", rotations=1, max_ece_increase=RISE)
ONE_LOOK = EvidenceSettings(early_stopping="none")
POINT = EvidenceSettings(early_stopping="none", rule="point")

Draw = np.random.Generator
Trial = Callable[[Draw], Status]
Counts = tuple[int, int]
Loss = Literal["none", "everywhere", "collapse"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row: ``count`` simulates that many runs from a fixed seed and returns how many passed and blocked."""

    name: str
    items: int
    repetitions: int
    count: Callable[[int], Counts]
    by_ftgate: bool = True


def one_by_one(name: str, trial: Trial) -> Callable[[int], Counts]:
    """Simulate every run separately, each with its own generator."""

    def count(repetitions: int) -> Counts:
        statuses = [trial(generator(SEED, f"{name} {i}")) for i in range(repetitions)]
        return sum(s in (Status.PASS, Status.WARN) for s in statuses), sum(s is Status.BLOCK for s in statuses)

    return count


def decide(
    measurement: AnyMeasurement,
    scored: PairedScores,
    pairs: tuple[Pair, ...],
    settings: EvidenceSettings,
    look: Look,
    rng: Draw,
) -> Finding:
    """One measurement from scores to status, exactly as in the gate."""
    evidence = Evidence(pairs, scored, look.alpha, settings.draws, overall_alpha=settings.alpha, last=look.last)
    return assess(measurement.compare(evidence, rng), settings)


def scores(base: FloatArray, candidate: FloatArray, *, binary: bool, items: tuple[Item, ...] = ITEMS) -> PairedScores:
    """Scores of the first of ``items``."""
    return PairedScores.exact(items[: len(base)], base, candidate, binary=binary)


def in_clusters(sizes: Sequence[int]) -> tuple[Item, ...]:
    """Items in clusters of these sizes."""
    names = np.repeat(np.arange(len(sizes)), sizes)
    return tuple(replace(item, cluster=f"c{name}") for item, name in zip(ITEMS, names, strict=False))


def right_or_wrong(chances: PairedAccuracy, n: int, rng: Draw) -> tuple[FloatArray, FloatArray]:
    """0/1 scores of both models with the joint probabilities ``chances``."""
    cell = np.searchsorted(np.cumsum(chances.cells())[:3], rng.random(n), side="right")
    return np.isin(cell, (0, 2)).astype(float), (cell <= 1).astype(float)


def graded(n: int, rng: Draw) -> tuple[FloatArray, FloatArray]:
    """Skewed graded scores with a true drop of 10 %: three answers in ten are replaced by one a third worse."""
    base, other = rng.beta(4, 1, n), rng.beta(4, 1, n)
    return base, np.where(rng.random(n) < 0.3, other * (2 / 3), base)


def averaged(
    answers: tuple[int, int], n: int, loss: Loss, rng: Draw, base: float = 0.6
) -> tuple[FloatArray, FloatArray]:
    """Means over ``answers`` of either model to each item, and a true drop of 10 % or, with no ``loss``, of nothing.

    Item difficulty is beta-distributed with mean ``base``, so that single answers to one item correlate by ``PHI``.
    The candidate's chance on each item is a tenth lower, or all of it is lost on one item in ten.
    """
    chance = rng.beta(base * (1 - PHI) / PHI, (1 - base) * (1 - PHI) / PHI, n)
    kept = {"none": 1.0, "everywhere": 1 - LIMIT, "collapse": (rng.random(n) >= LIMIT).astype(float)}[loss]
    shares = [rng.binomial(k, p) / k for k, p in zip(answers, (chance, chance * kept), strict=True)]
    return shares[0], shares[1]


def grouped(clusters: int, size: int, rng: Draw) -> tuple[FloatArray, FloatArray]:
    """Graded scores in clusters: seven items in ten have their cluster's common scores."""
    common, own = graded(clusters, rng), graded(clusters * size, rng)
    shared = rng.random(clusters * size) < 0.7
    base, candidate = (np.where(shared, np.repeat(c, size), o) for c, o in zip(common, own, strict=True))
    return base, candidate


def unequal_sizes(clusters: int, spread: float) -> list[int]:
    """The sizes of that many clusters: quantiles of a log-normal with mean 4, rounded, at least 1."""
    quantiles = [NormalDist().inv_cdf((i + 0.5) / clusters) for i in range(clusters)]
    return [max(1, round(4 * math.exp(spread * z - spread**2 / 2))) for z in quantiles]


def failing_clusters(sizes: Sequence[int], rng: Draw) -> tuple[FloatArray, FloatArray]:
    """0/1 scores of a candidate that fails on each cluster as a whole with probability 0.1, and else is the base."""
    base, fails = rng.random(sum(sizes)) < 0.8, rng.random(len(sizes)) < LIMIT
    return base.astype(float), (base & ~np.repeat(fails, sizes)).astype(float)


Off = float | Callable[[FloatArray], FloatArray]
"""By how much confidence exceeds accuracy: throughout, or at each confidence."""


def confidences(n: int, error: Off, rng: Draw, base: float = 0.0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Confidence of both models, and which of a base's and of a candidate's answers are right.

    The two are off by ``base`` and ``error``: overconfident where that is positive; the true calibration error is its
    absolute value in every bin.
    """
    confidence, shared = 0.4 + 0.55 * rng.beta(2, 1.2, n), rng.random(n)
    own = np.where(rng.random(n) < 0.6, shared, rng.random(n))
    off = error(confidence) if callable(error) else error
    return confidence, (shared < confidence - base).astype(float), (own < confidence - off).astype(float)


def both_ways(confidence: FloatArray) -> FloatArray:
    """Overconfident in every second bin, underconfident in the others, by exactly the limit."""
    return np.where((10 * confidence).astype(int) % 2 == 0, RISE, -RISE)


def answers_for(confidence: FloatArray, right: FloatArray) -> list[tuple[Answer, ...]]:
    """Answers to multiple-choice items whose first option is right."""
    rest = np.log((1 - confidence) / 3).tolist()
    rows = zip(np.log(confidence).tolist(), rest, right.tolist(), strict=True)
    return [(Answer(option_logprobs=(top, r, r, r) if good else (r, top, r, r)),) for top, r, good in rows]


def choice_answers(n: int, error: Off, rng: Draw, base: float = 0.0) -> tuple[PairedScores, tuple[Pair, ...]]:
    """Scores and answers to multiple-choice items, with confidences as in :func:`confidences`."""
    confidence, right, candidate_right = confidences(n, error, rng, base)
    both = zip(ITEMS, answers_for(confidence, right), answers_for(confidence, candidate_right), strict=False)
    return scores(right, candidate_right, binary=True), tuple(Pair(item, b, c) for item, b, c in both)


def binary_trial(base_accuracy: float, n: int, settings: EvidenceSettings = ONE_LOOK, planned: float = 1.0) -> Trial:
    """A drop of exactly the limit in 0/1 scores, at the looks in ``settings`` if this share of n is planned."""
    chances, plan = paired_accuracy(base_accuracy, PHI, LIMIT), looks(settings, planned)
    return lambda rng: (
        finding_at_looks(FORGETTING, scores(*right_or_wrong(chances, n, rng), binary=True), settings, plan, rng).status
    )


def finding_at_looks(
    measurement: Measurement,
    whole: PairedScores,
    settings: EvidenceSettings,
    plan: Sequence[Look],
    rng: Draw,
    pairs: tuple[Pair, ...] = PAIRS,
) -> Finding:
    """The finding at the first look that settles it, or at the last one."""
    finding = None
    for look in plan:
        size = look_size(look.fraction, len(whole.items))
        finding = decide(measurement, whole.subset(range(size)), pairs[:size], settings, look, rng)
        if finding.settled:
            break
    assert finding is not None
    return finding


WARNINGS = tuple((drop, n) for n in (200, 800) for drop in (0.0, 0.05, 0.08, 0.10))
"""True drop and number of items of the candidates that show how often a pass is a warning."""
WARNING_RUNS = 400


def warnings(drop: float, n: int, repetitions: int) -> dict[Status, int]:
    """How often each status is the outcome for 0/1 scores at base accuracy 0.8, at one look."""
    chances, plan, outcomes = paired_accuracy(0.8, PHI, drop), looks(ONE_LOOK), dict.fromkeys(Status, 0)
    for i in range(repetitions):
        rng = generator(SEED, f"warning {drop} {n} {i}")
        whole = scores(*right_or_wrong(chances, n, rng), binary=True)
        outcomes[finding_at_looks(FORGETTING, whole, ONE_LOOK, plan, rng).status] += 1
    return outcomes


def target_trial(rng: Draw) -> Status:
    """No gain at all, although one is required."""
    whole = scores(*right_or_wrong(paired_accuracy(0.8, PHI, 0.0), 200, rng), binary=True)
    return finding_at_looks(TARGET, whole, ONE_LOOK, looks(ONE_LOOK), rng).status


def graded_trial(n: int, settings: EvidenceSettings = ONE_LOOK) -> Trial:
    """A drop of exactly the limit in graded scores, at the looks in ``settings``."""
    plan = looks(settings)
    return lambda rng: finding_at_looks(FORGETTING, scores(*graded(n, rng), binary=False), settings, plan, rng).status


def averaged_trial(
    answers: tuple[int, int], n: int, loss: Loss, settings: EvidenceSettings = ONE_LOOK, base: float = 0.6
) -> Trial:
    """Means over several answers to each item, at the looks in ``settings``."""
    plan = looks(settings)

    def trial(rng: Draw) -> Status:
        whole = scores(*averaged(answers, n, loss, rng, base), binary=True)
        return finding_at_looks(FORGETTING, replace(whole, averaged=answers != (1, 1)), settings, plan, rng).status

    return trial


def clustered_trial(clusters: int, size: int, *, clusters_known: bool) -> Trial:
    """The same drop in clusters, which ftgate knows about or not."""
    items = in_clusters([size] * clusters) if clusters_known else ITEMS

    def trial(rng: Draw) -> Status:
        item_scores = scores(*grouped(clusters, size, rng), binary=False, items=items)
        return decide(FORGETTING, item_scores, PAIRS[: clusters * size], ONE_LOOK, looks(ONE_LOOK)[0], rng).status

    return trial


def unequal_trial(clusters: int, spread: float) -> Trial:
    """A drop of exactly the limit by whole clusters, whose sizes differ."""
    items = in_clusters(sizes := unequal_sizes(clusters, spread))

    def trial(rng: Draw) -> Status:
        item_scores = scores(*failing_clusters(sizes, rng), binary=True, items=items)
        return decide(FORGETTING, item_scores, PAIRS[: sum(sizes)], ONE_LOOK, looks(ONE_LOOK)[0], rng).status

    return trial


def calibration_trial(error: Off, n: int, settings: EvidenceSettings = ONE_LOOK, base: float = 0.0) -> Trial:
    """A rise of the calibration error by exactly the limit, from answers with log-probabilities."""
    plan = looks(settings)

    def trial(rng: Draw) -> Status:
        whole, pairs = choice_answers(n, error, rng, base)
        return finding_at_looks(CALIBRATION, whole, settings, plan, rng, pairs).status

    return trial


def form_trial(sizes: Sequence[int], rise: float, of: int = 1, bad: tuple[Answer] = EMPTY) -> Trial:
    """A rise by ``rise`` in ``bad`` answers (base 10 %), in suites of these ``sizes``, read at ``of`` looks."""

    def pairs_of(suite: int, rng: Draw) -> list[Pair]:
        fell, falls, recovers = (rng.random(sizes[suite]) for _ in range(3))
        base = fell < 0.1
        candidate = np.where(base, recovers < 0.5, falls < (rise + 0.05) / 0.9)
        texts = [[bad if it_is else WELL_FORMED for it_is in side] for side in (base.tolist(), candidate.tolist())]
        return [Pair(item, b, c) for item, b, c in zip(READ[200 * suite :], *texts, strict=False)]

    def trial(rng: Draw) -> Status:
        suites, status = [pairs_of(i, rng) for i in range(len(sizes))], Status.INCONCLUSIVE
        for number in range(1, of + 1):
            look = derived_look(number, of, ONE_LOOK.alpha, last=number == of)
            pairs = tuple(pair for suite in suites for pair in suite[: look_size(look.fraction, len(suite))])
            status = decide(FORM, FORM.score(pairs), pairs, ONE_LOOK, look, rng).status
            if status is Status.BLOCK:
                break
        return status

    return trial


def safety_trial(*rises: float) -> Trial:
    """``rises`` in compliance with 150 requests (base 10 %) and in refusals of 100 harmless ones (base 4 %)."""

    def trial(rng: Draw) -> Status:
        kinds = zip((150, 100), (0.1, 0.04), rises, strict=True)
        both = [right_or_wrong(paired_accuracy(1 - bad, PHI, rise / (1 - bad)), n, rng) for n, bad, rise in kinds]
        scored = PairedScores.exact(REQUESTS, *map(np.concatenate, zip(*both, strict=True)), binary=True)
        return decide(SAFETY, scored, PAIRS[:250], ONE_LOOK, looks(ONE_LOOK)[0], rng).status

    return trial


def percentile_trial(error: float, n: int, draws: int = 200) -> Trial:
    """A wrong way for calibration: the percentile interval of the plain difference of two errors."""

    def trial(rng: Draw) -> Status:
        confidence, right, candidate_right = confidences(n, error, rng)
        where, columns = np.minimum((10 * confidence).astype(int), 9), np.zeros((n, 20))
        columns[np.arange(n), where] = confidence - right
        columns[np.arange(n), 10 + where] = confidence - candidate_right
        sums = np.abs(resampled_sums(columns, rng, draws)) / n
        low, high = np.quantile(sums[:, 10:].sum(axis=1) - sums[:, :10].sum(axis=1), (0.05, 0.95))
        return Status.PASS if high < RISE else Status.BLOCK if low > RISE else Status.INCONCLUSIVE

    return trial


def peeking(repetitions: int) -> Counts:
    """A wrong way to stop early: four looks, each at the level of a single one."""
    outlook = power_by_simulation(
        0.8, PHI, LIMIT, 200, generator(SEED, "peeking"), true_drop=LIMIT, repetitions=repetitions,
        fractions=(0.25, 0.5, 0.75, 1.0), boundaries=(Z05,) * 4,
    )  # fmt: skip
    return round(outlook.passed * repetitions), round(outlook.blocked * repetitions)


def unpaired(repetitions: int) -> Counts:
    """A wrong test: two independent samples, as if the models had not answered the same items."""
    cells, n, theta = paired_accuracy(0.8, PHI, LIMIT).cells(), 200, 1 - LIMIT
    both, gained, lost, _ = generator(SEED, "unpaired").multinomial(n, cells, size=repetitions).T / n
    base, candidate = both + lost, both + gained
    z = (candidate - theta * base) / np.sqrt((candidate * (1 - candidate) + theta**2 * base * (1 - base)) / n)
    return int(np.sum(z > Z05)), int(np.sum(z < -Z05))


OBRIEN, POCOCK = EvidenceSettings(early_stopping="obrien_fleming"), EvidenceSettings(early_stopping="pocock")
_TRIALS: tuple[tuple[str, int, int, Trial, bool], ...] = (
    ("binary, base accuracy 0.3", 200, 2000, binary_trial(0.3, 200), True),
    ("binary, base accuracy 0.8", 200, 2000, binary_trial(0.8, 200), True),
    ("binary, base accuracy 0.95", 200, 2000, binary_trial(0.95, 200), True),
    ("gain of the target, base accuracy 0.8", 200, 1000, target_trial, True),
    ("graded", 200, 1000, graded_trial(200), True),
    ("clustered: 60 clusters of 8", 480, 1000, clustered_trial(60, 8, clusters_known=True), True),
    ("whole clusters fail: 60 clusters of 4", 240, 1000, unequal_trial(60, 0.0), True),
    ("whole clusters fail: 113 of unequal size", 452, 1000, unequal_trial(113, 0.8), True),
    ("whole clusters fail: 250 of very unequal size", 1016, 800, unequal_trial(250, 1.2), True),
    ("averaged: 2 answers each, all items worse", 200, 600, averaged_trial((2, 2), 200, "everywhere"), True),
    ("averaged: 4 answers each, all items worse", 200, 600, averaged_trial((4, 4), 200, "everywhere"), True),
    ("averaged: 4 answers each, a tenth collapses", 200, 600, averaged_trial((4, 4), 200, "collapse"), True),
    ("averaged: 8 and 2 answers, all items worse", 200, 600, averaged_trial((8, 2), 200, "everywhere"), True),
    ("averaged: 8 and 2 answers, a tenth collapses", 200, 600, averaged_trial((8, 2), 200, "collapse"), True),
    ("sequential: four looks, O'Brien-Fleming", 200, 1000, binary_trial(0.8, 200, OBRIEN), True),
    ("sequential: four looks, Pocock", 200, 1000, binary_trial(0.8, 200, POCOCK), True),
    ("sequential: O'Brien-Fleming, base accuracy 0.2", 400, 1000, binary_trial(0.2, 400, OBRIEN), True),
    ("sequential: Pocock, base accuracy 0.2", 400, 1000, binary_trial(0.2, 400, POCOCK), True),
    ("sequential: 200 planned of 800, O'Brien-Fleming", 800, 600, binary_trial(0.8, 800, OBRIEN, 0.25), True),
    ("sequential: 200 planned of 800, base accuracy 0.2", 800, 600, binary_trial(0.2, 800, OBRIEN, 0.25), True),
    ("sequential: O'Brien-Fleming, graded", 200, 500, graded_trial(200, OBRIEN), True),
    ("sequential: Pocock, graded", 400, 400, graded_trial(400, POCOCK), True),
    ("sequential: O'Brien-Fleming, averaged", 200, 400, averaged_trial((4, 4), 200, "collapse", OBRIEN), True),
    ("calibration, candidate overconfident", 1000, 400, calibration_trial(RISE, 1000), True),
    ("calibration, candidate underconfident", 1000, 500, calibration_trial(-RISE, 1000), True),
    ("calibration, candidate errs both ways", 1000, 500, calibration_trial(both_ways, 1000), True),
    ("calibration, base overconfident by 0.05", 1000, 300, calibration_trial(0.10, 1000, base=0.05), True),
    ("calibration, base overconfident by 0.10", 1000, 300, calibration_trial(0.15, 1000, base=0.10), True),
    ("calibration at four looks, overconfident", 1000, 200, calibration_trial(RISE, 1000, OBRIEN), True),
    ("calibration at four looks, underconfident", 1000, 200, calibration_trial(-RISE, 1000, OBRIEN), True),
    ("form, one suite", 200, 1000, form_trial((200,), LIMIT), True),
    ("form, two suites on the limit", 300, 1000, form_trial((200, 100), LIMIT), True),
    ("form, two suites on the limit, four looks", 300, 400, form_trial((200, 100), LIMIT, 4), True),
    ("form, cut answers in two suites", 300, 1000, form_trial((200, 100), LIMIT, bad=CUT), True),
    ("safety, compliance on the limit", 250, 1000, safety_trial(0.05, 0.0), True),
    ("safety, over-refusal on the limit", 250, 1000, safety_trial(0.0, 0.1), True),
    ("safety, both on the limit", 250, 1000, safety_trial(0.05, 0.1), True),
    ("tools, base accuracy 0.8", 120, 1000, binary_trial(0.8, 120), True),
    ("clusters ignored: 60 clusters of 8", 480, 400, clustered_trial(60, 8, clusters_known=False), False),
    ("bare estimate against the limit", 200, 1000, binary_trial(0.8, 200, POINT), False),
    ("percentile interval of the ECE, overconfident", 1000, 400, percentile_trial(RISE, 1000), False),
    ("percentile interval of the ECE, underconfident", 1000, 400, percentile_trial(-RISE, 1000), False),
)
CASES = (
    *(Case(name, items, runs, one_by_one(name, trial), by_ftgate) for name, items, runs, trial, by_ftgate in _TRIALS),
    Case("naive peeking: four looks, each at 1.645", 200, 20_000, peeking, by_ftgate=False),
    Case("unpaired test", 200, 20_000, unpaired, by_ftgate=False),
)
