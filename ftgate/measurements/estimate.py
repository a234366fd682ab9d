"""From item scores to an estimate with its interval: the statistic for each kind of score."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ftgate.domain import Estimate, FloatArray
from ftgate.measurements.base import Evidence
from ftgate.measurements.labelled import labelled_of
from ftgate.measurements.paired import Compare, bootstrap, score_test
from ftgate.measurements.rejected import rejected_text
from ftgate.scoring import amounts
from ftgate.scoring.scores import PairedScores
from ftgate.stats.bootstrap import MIN_CLUSTERS, Floor, relative_drop
from ftgate.stats.interval import Interval, wilson_interval
from ftgate.stats.prediction_powered import Labelled, corrected_means
from ftgate.stats.resampling import effective_clusters

LEAST_BASE = 0.1
"""If the lower bound of the base score is below this, a relative drop cannot pass."""
LEAST_WORTH = 8.0
"""On a low base, graded items block only if the base's scores add up to this many whole answers. With fewer, the
bootstrap blocks up to 10 % of the candidates that lie on the limit (tests/unit/measurements/test_low_base.py)."""
LEAST_GRADED = 100
"""With fewer graded items the bootstrap passes too often when a rare collapse shows on none of them."""
NEXT_TO_NOTHING = 0.05
"""A base whose score lies below this with confidence may have nothing to lose."""
MOST_LISTED = 50
SMALLEST_NOTED = 0.01
"""A judge's floor is worth a note from this difference between the drop above it and that of the bare grades on."""
CORRECTED = "corrected by people's grades of"
RELATIVE, ABSOLUTE = "relative drop", "absolute drop (the base scores too low for a relative one)"


@dataclass(frozen=True, slots=True)
class ScoreEstimate:
    """Mean scores of both models and the change between them, with one-sided bounds of level alpha on either side.

    Below ``least_n`` items no pass is possible.
    """

    base: float
    candidate: float
    change: float
    interval: tuple[float, float]
    unit: str
    method: str
    cannot_pass: tuple[str, ...]
    least_n: int
    not_applicable: str | None = None

    def to_estimate(self, measurement: str, evidence: Evidence, n: int, **more: Any) -> Estimate:
        """The estimate of ``measurement`` on ``n`` items; ``more`` are the fields that the scores do not determine."""
        return Estimate(
            measurement=measurement,
            base=self.base,
            candidate=self.candidate,
            change=self.change,
            unit=self.unit,
            interval=self.interval,
            level=1 - 2 * evidence.alpha,
            n=n,
            method=self.method,
            cannot_pass=self.cannot_pass,
            least_n=self.least_n,
            not_applicable=self.not_applicable,
            **more,
        )


def drop(scored: PairedScores, evidence: Evidence, limit: float, rng: np.random.Generator) -> ScoreEstimate:
    """The relative drop of ``scored`` (all of the evidence or a part), or the absolute one where the base is too low.

    Binary scores of independent items use the score test for a ratio (methods: section 2), all others the studentised
    bootstrap (section 3), with a judge's floor subtracted if there is one, or corrected by people's grades (section 6).
    If the base score may lie below ``LEAST_BASE``, a relative drop may block but not pass: the drop is relative if all
    of it lies beyond ``limit``, and absolute otherwise (section 1). As that can change from look to look, an absolute
    drop can pass at the last look only, unless it is an improvement. A base with nothing to lose makes it not
    applicable, unless the scorer rejects right answers, which forbids a pass. Raises ValueError for no items, and for a
    score that is NaN or outside [0, 1], naming the item.
    """
    _check_scores(scored)
    if labelled := correction(scored, evidence):
        least = evidence.least_items(limit)
        too_few = _too_few_items(scored, least, limit)
        return _estimate(scored, evidence, rng, too_few, least, absolute=False, labelled=labelled)
    floor = _floor(scored, evidence)
    floor_mean = floor.mean if floor else 0.0
    base = mean(scored.base)
    low_base = wilson_interval(base, len(scored.items), evidence.whole_alpha).low - floor_mean < LEAST_BASE
    least_items = evidence.least_items(limit)
    cannot_pass = _too_few_items(scored, least_items, limit)
    if not low_base:
        return _estimate(scored, evidence, rng, cannot_pass, least_items, absolute=False)
    worth = base - floor_mean
    absolute = _estimate(scored, evidence, rng, cannot_pass, least_items, absolute=True)
    if absolute.change > limit * worth and _worth_enough(scored, worth):
        too_low = (f"the base may score below {100 * LEAST_BASE:.0f} %, too low for a relative drop to pass",)
        relative = _estimate(scored, evidence, rng, cannot_pass + too_low, least_items, absolute=False)
        if relative.interval[0] > limit:
            return relative
    if absolute.interval[1] < 0:  # an improvement is one whatever the base scores, at any look
        return absolute
    if evidence.last and not absolute.cannot_pass and _nothing_to_lose(scored, evidence, limit, floor_mean, rng):
        # A scorer that rejects right answers shows nothing of what the base has to lose.
        if rejected := rejected_text(scored, evidence.pairs):
            return replace(absolute, cannot_pass=(f"{rejected}: what could be lost is unknown",))
        return replace(absolute, not_applicable=_nothing_text(absolute, len(scored.items)))
    reasons = _within_the_limit(worth, limit)
    reasons += () if evidence.last else ("an absolute drop cannot pass before the last look",)
    return replace(absolute, cannot_pass=absolute.cannot_pass + reasons)


def difference(
    scored: PairedScores,
    evidence: Evidence,
    rng: np.random.Generator,
    least_gain: float = 0.0,
    comparisons: int = 1,
) -> ScoreEstimate:
    """The gain ``mean(candidate) - mean(base)``: Tango's score interval for binary scores, else the bootstrap.

    If a loss is allowed (``least_gain`` below 0), it needs as many items as a drop does. The lower bound is corrected
    for the number of ``comparisons`` (Bonferroni). Errors as for :func:`drop`.
    """
    _check_scores(scored)
    least_items = evidence.least_items(-least_gain) if -1 < least_gain < 0 else 1
    too_few = _too_few_items(scored, least_items, -least_gain)
    labelled = correction(scored, evidence)
    drop_estimate = _estimate(
        scored, evidence, rng, too_few, least_items, absolute=True, comparisons=comparisons, labelled=labelled
    )
    low, high = drop_estimate.interval
    gain_interval = (-high + 0.0, -low + 0.0)
    return replace(drop_estimate, change=-drop_estimate.change + 0.0, interval=gain_interval, unit="absolute gain")


def comparison(
    scored: PairedScores,
    evidence: Evidence,
    rng: np.random.Generator,
    *,
    absolute: bool,
    labelled: Labelled | None = None,
) -> tuple[str, Compare]:
    """The name of the statistic that fits the scores, and the statistic, for an absolute or a relative drop."""
    if labelled is not None:
        method = f"studentised bootstrap, {evidence.draws} resamples, {CORRECTED} {len(labelled.places)} items"
        return method, bootstrap(rng, evidence.draws, None, None, absolute=absolute, labelled=labelled)
    clusters, floor = _clusters(scored), None if absolute else _floor(scored, evidence)
    if scored.binary and clusters is None and floor is None:
        name = "paired difference" if absolute else "ratio"
        return f"score test for the {name}, N-1 corrected", score_test(absolute=absolute)
    method = f"studentised bootstrap, {evidence.draws} resamples" + (" of clusters" if clusters else "")
    method += f", judge floor {floor.mean:.3f} subtracted" if floor else ""
    return method, bootstrap(rng, evidence.draws, clusters, floor, absolute=absolute)


def _estimate(
    scored: PairedScores,
    evidence: Evidence,
    rng: np.random.Generator,
    cannot_pass: tuple[str, ...],
    least_items: int,
    *,
    absolute: bool,
    comparisons: int = 1,
    labelled: Labelled | None = None,
) -> ScoreEstimate:
    method, compare = comparison(scored, evidence, rng, absolute=absolute, labelled=labelled)
    low = evidence.alpha if evidence.shared is None else evidence.shared[0]
    interval = drop_of(scored, compare, low, evidence.alpha / comparisons, absolute=absolute)
    base, candidate = mean(scored.base), mean(scored.candidate)
    if labelled is not None:
        means = corrected_means(scored.base, scored.candidate, labelled)
        base, candidate = (min(max(value, 0.0), 1.0) for value in means)
    return ScoreEstimate(
        base=base,
        candidate=candidate,
        change=interval.estimate,
        interval=(interval.low, interval.high),
        unit=ABSOLUTE if absolute else RELATIVE,
        method=method,
        cannot_pass=(*cannot_pass, interval.doubt) if interval.doubt else cannot_pass,
        least_n=_least_n(scored, least_items),
    )


def drop_of(
    scored: PairedScores, compare: Compare, alpha: float, alpha_high: float | None = None, *, absolute: bool
) -> Interval:
    """Compare the scores; if some are unknown, with the worst and with the best values they could have.

    The lower bound is at ``alpha``, the upper one at ``alpha_high`` (None: ``alpha``). With unknown scores the interval
    reaches from the best case's lower bound to the worst case's upper bound, and the estimate is that of the middle.
    (If the candidate scores below a judge's floor, the two cases swap.) All three use the same resamples. No bound and
    no estimate lies above a total loss.
    """
    if not scored.unreadable:
        return _within_scores(compare(scored.base, scored.candidate).interval(alpha, alpha_high), absolute=absolute)
    worst = compare(scored.base_high, scored.candidate_low).interval(alpha, alpha_high)
    best = compare(scored.base_low, scored.candidate_high).interval(alpha, alpha_high)
    if not scored.binary:
        middle = compare(scored.base, scored.candidate).interval(alpha).estimate
    else:  # the score test takes 0 and 1 only, not the 1/2 of an unknown score
        middle = change_of(scored, absolute=absolute)
    low, high = min(best.low, worst.low, middle), max(worst.high, best.high, middle)
    return _within_scores(Interval(middle, low, high, worst.doubt), absolute=absolute)


def _within_scores(drop: Interval, *, absolute: bool) -> Interval:
    """``drop`` cut to what scores in [0, 1] allow: a corrected mean, or one above a judge's floor, can be below 0."""
    lowest = -1.0 if absolute else -math.inf
    estimate, low, high = (max(min(value, 1.0), lowest) for value in (drop.estimate, drop.low, drop.high))
    return replace(drop, estimate=estimate, low=low, high=high)


def change_of(scored: PairedScores, *, absolute: bool) -> float:
    """The drop of the mean score, without an interval."""
    if absolute:
        return math.fsum(scored.base - scored.candidate) / len(scored.items) + 0.0
    return relative_drop(scored.base, scored.candidate)


def flip_details(scored: PairedScores) -> dict[str, Any]:
    """How many items got worse and how many better, and the ids of those that got worse, worst first."""
    change = scored.candidate - scored.base
    order = sorted(range(len(change)), key=lambda i: (change[i], scored.items[i].id))
    return {
        "worse": int(np.sum(change < 0)),
        "better": int(np.sum(change > 0)),
        "worse_items": [scored.items[i].id for i in order[:MOST_LISTED] if change[i] < 0],
    }


def judge_details(evidence: Evidence) -> dict[str, Any]:
    """How many judge replies had to be asked for again, and how many scores stayed unknown."""
    if evidence.judge_validation is None:
        return {}
    return {"judge": {"asked_again": evidence.scored.retried, "unreadable": evidence.scored.unreadable}}


def floor_details(scored: PairedScores, evidence: Evidence, change: float, unit: str) -> dict[str, Any]:
    """The drop of the bare grades beside ``change``, the one above the judge's floor, and a note where they differ."""
    floor = _floor(scored, evidence)
    if floor is None or unit != RELATIVE or correction(scored, evidence) is not None:
        return {}
    bare = change_of(scored, absolute=False)
    details: dict[str, Any] = {"judge_floor": floor.mean, "drop_of_bare_grades": bare}
    if abs(change - bare) >= SMALLEST_NOTED:
        details["notes"] = [
            f"what the judge gives even to worthless answers, {100 * floor.mean:.0f} of 100, is subtracted from both "
            f"scores first; without that it {amounts.change(bare, unit)}"
        ]
    return details


def correction(scored: PairedScores, evidence: Evidence) -> Labelled | None:
    """People's grades that correct the judge's scores of ``scored``; None where there are none, or they may not."""
    labelled = _correction(scored, evidence)
    return None if isinstance(labelled, str) else labelled


def _correction(scored: PairedScores, evidence: Evidence) -> Labelled | str:
    """People's grades that correct the judge's scores of ``scored``, or why none do.

    A judge that is unfit does not count at all. On a base that people may grade next to nothing no drop is corrected.
    """
    if evidence.labelled is None or evidence.judge_validation is None:
        return "there are none"
    labelled = labelled_of(scored, evidence.labelled)
    if isinstance(labelled, str):
        return labelled
    if not evidence.judge_validation.fit:
        return "the judge is unfit"
    base, _ = corrected_means(scored.base, scored.candidate, labelled)
    low_base = wilson_interval(min(max(base, 0.0), 1.0), len(labelled.places), evidence.whole_alpha).low < LEAST_BASE
    return "by people's grades the base scores next to nothing" if low_base else labelled


def label_details(scored: PairedScores, evidence: Evidence, estimate: Estimate) -> dict[str, Any]:
    """Whether people's grades corrected ``estimate``, how many there are, and the change by the judge alone."""
    if evidence.labelled is None or evidence.judge_validation is None:
        return {}
    labelled = _correction(scored, evidence)
    if isinstance(labelled, str):
        return {"people": {"corrected": False, "reason": labelled}}
    by_judge = change_of(scored, absolute=estimate.unit != RELATIVE)
    by_judge = -by_judge if estimate.worse == "down" else by_judge
    return {"people": {"corrected": True, "items": len(labelled.places), "by_the_judge_alone": by_judge}}


def mean(values: FloatArray) -> float:
    """The mean by an exact sum, so that it does not depend on the order of the items; NaN if there are none."""
    return math.fsum(values) / len(values) if len(values) else math.nan


def _check_scores(scored: PairedScores) -> None:
    if not scored.items:
        raise ValueError("there are no items to compare")
    for name in ("base", "candidate", "base_low", "base_high", "candidate_low", "candidate_high"):
        values = getattr(scored, name)
        bad = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
        if bad.size:
            item, value = scored.items[bad[0]].id, values[bad[0]]
            raise ValueError(f"{name} score of item {item!r} = {value}: a number from 0 to 1 was expected")


def _least_n(scored: PairedScores, least_items: int) -> int:
    """The smallest number of items that can pass: the evidence floor, enough graded items and effective clusters."""
    clusters = _clusters(scored)
    grouped = math.ceil(MIN_CLUSTERS * len(scored.items) / effective_clusters(clusters)) if clusters else 1
    return max(least_items, 1 if scored.binary else LEAST_GRADED, grouped)


def _clusters(scored: PairedScores) -> list[str] | None:
    """The cluster of each item; an item without one is a cluster of its own. None if no item has one."""
    if not any(item.cluster for item in scored.items):
        return None
    return [f"cluster {item.cluster}" if item.cluster else f"item {item.id}" for item in scored.items]


def _floor(scored: PairedScores, evidence: Evidence) -> Floor | None:
    """The mean score of worthless answers, if a validated judge graded some of the items; None otherwise.

    A rule scores a worthless answer 0, so the floor of the mean is the judge's floor times the share of items that the
    judge graded.
    """
    judge_validation, share = evidence.judge_validation, float(np.mean(scored.graded)) if len(scored.items) else 0.0
    if judge_validation is None or not judge_validation.fit or not share:
        return None
    count = judge_validation.canaries if judge_validation.worthless is None else judge_validation.worthless
    return Floor(share * judge_validation.floor, share**2 * judge_validation.floor_variance, count)


def _worth_enough(scored: PairedScores, base_above_floor: float) -> bool:
    """Whether the base has enough to lose for a relative drop to block; the score test sees to that itself."""
    clusters = _clusters(scored)
    units = len(set(clusters)) if clusters else len(scored.items)
    return (scored.binary and clusters is None) or units * base_above_floor >= LEAST_WORTH


def _nothing_to_lose(
    scored: PairedScores, evidence: Evidence, limit: float, floor_mean: float, rng: np.random.Generator
) -> bool:
    """Whether the base scores next to nothing, so little that not even the loss of all of it would block."""
    worth, n = max(mean(scored.base) - floor_mean, 0.0), len(scored.items)
    if wilson_interval(worth, n, evidence.whole_alpha).high >= NEXT_TO_NOTHING:
        return False
    if not _worth_enough(scored, worth):
        return True
    _, compare = comparison(scored, evidence, rng, absolute=False)
    return not compare(scored.base, np.full(n, floor_mean)).interval(evidence.alpha).low > limit


def _nothing_text(estimate: ScoreEstimate, n: int) -> str:
    base, candidate = 100 * estimate.base, 100 * estimate.candidate
    scores = f"the base scores {base:.1f} and the candidate {candidate:.1f} of 100 on {n} items"
    return f"nothing to lose: {scores}, too few right answers for a loss to be told from chance"


def _within_the_limit(base_above_floor: float, limit: float) -> tuple[str, ...]:
    if base_above_floor > limit:
        return ()
    return (f"the base scores so low that a loss of {100 * limit:g} % could go unseen, so only an improvement passes",)


def _too_few_items(scored: PairedScores, least_items: int, limit: float) -> tuple[str, ...]:
    n = len(scored.items)
    if n < least_items:
        unseen = f"a total collapse on {100 * limit:g} % of them can go unseen"
        return (f"{n} items are too few: with fewer than {least_items}, {unseen}",)
    return _too_few_graded(scored)


def _too_few_graded(scored: PairedScores) -> tuple[str, ...]:
    n = len(scored.items)
    if scored.binary or n >= LEAST_GRADED:
        return ()
    return (
        f"{n} graded items are too few: with fewer than {LEAST_GRADED}, the bootstrap errs more often than its level",
    )
