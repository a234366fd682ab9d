"""From item scores to an estimate with its interval: which statistic serves which kind of score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftgate.domain import FloatArray, Slice
from ftgate.measurements.base import Evidence
from ftgate.scores import Scored
from ftgate.stats.bootstrap import Floor, difference_bootstrap, drop_bootstrap, relative_drop
from ftgate.stats.interval import Interval, wilson_interval
from ftgate.stats.ratio import PairedCounts, difference_interval, drop_interval

LEAST_BASE = 0.1
"""Below this base score (lower bound) a relative drop is a quotient of noise."""
LEAST_GRADED = 100
"""Below this many graded items a rare collapse that no item shows makes the bootstrap pass too often."""
MOST_LISTED = 50

Compare = Callable[[FloatArray, FloatArray], Interval]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean scores of both models and the change between them, with one-sided bounds of level alpha on either side."""

    base: float
    candidate: float
    change: float
    interval: tuple[float, float]
    unit: str
    method: str
    doubts: tuple[str, ...]


def drop(scored: Scored, evidence: Evidence, limit: float, rng: np.random.Generator) -> Estimate:
    """The relative drop of ``scored`` (all of the evidence or a part), or the absolute one where the base is too low.

    Binary scores of independent items take the score test for a ratio (methods: section 2), all others the studentised
    bootstrap (section 3); a judge's floor is taken off where there is one (section 6). A base whose score may lie below
    ``LEAST_BASE`` makes the quotient one of noise (section 1).
    """
    alpha, draws, clusters, floor = evidence.alpha, evidence.draws, _clusters(scored), _floor(scored, evidence)
    doubts = _few(scored, evidence.least_items(limit), limit)
    if wilson_interval(_mean(scored.base), len(scored.items), alpha).low - (floor.mean if floor else 0) < LEAST_BASE:
        gain = difference(scored, evidence, rng)
        low, high = gain.interval
        unit = "absolute drop (the base scores too low for a relative one)"
        change, interval = -gain.change + 0.0, (-high + 0.0, -low + 0.0)
        doubts = tuple(dict.fromkeys((*doubts, *gain.doubts)))
        doubts = (*doubts, *_nothing_to_lose(gain.base - (floor.mean if floor else 0), limit))
        return Estimate(gain.base, gain.candidate, change, interval, unit, gain.method, doubts)
    if scored.binary and clusters is None and floor is None:
        method = "score test for the ratio, N-1 corrected"

        def compare(b: FloatArray, c: FloatArray) -> Interval:
            return drop_interval(PairedCounts.from_scores(b, c), alpha)
    else:
        method = f"studentised bootstrap, {draws} resamples" + (" of clusters" if clusters else "")
        method += f", judge floor {floor.mean:.3f} taken off" if floor else ""
        state = rng.bit_generator.state

        def compare(b: FloatArray, c: FloatArray) -> Interval:
            rng.bit_generator.state = state
            return drop_bootstrap(b, c, rng, alpha=alpha, draws=draws, clusters=clusters, floor=floor)

    return _estimate(scored, compare, "relative drop", method, doubts, worse_is_up=True)


def difference(scored: Scored, evidence: Evidence, rng: np.random.Generator) -> Estimate:
    """The gain ``mean(candidate) - mean(base)``: Tango's score interval for binary scores, else the bootstrap."""
    alpha, draws, clusters = evidence.alpha, evidence.draws, _clusters(scored)
    if scored.binary and clusters is None:
        method = "score test for the paired difference, N-1 corrected"

        def compare(b: FloatArray, c: FloatArray) -> Interval:
            return difference_interval(PairedCounts.from_scores(b, c), alpha)
    else:
        method = f"studentised bootstrap, {draws} resamples" + (" of clusters" if clusters else "")
        state = rng.bit_generator.state

        def compare(b: FloatArray, c: FloatArray) -> Interval:
            rng.bit_generator.state = state
            return difference_bootstrap(b, c, rng, alpha=alpha, draws=draws, clusters=clusters)

    return _estimate(scored, compare, "absolute gain", method, _few_graded(scored), worse_is_up=False)


def _estimate(
    scored: Scored, compare: Compare, unit: str, method: str, doubts: tuple[str, ...], *, worse_is_up: bool
) -> Estimate:
    """Compare the scores; where some are unknown, once with the worst and once with the best they could be.

    The interval then reaches from the best case's lower to the worst case's upper bound, and the estimate is that of
    the middle. The same resamples serve all three.
    """
    if not scored.unreadable:
        found = compare(scored.base, scored.candidate)
        change, low, high, doubt = found.estimate, found.low, found.high, found.doubt
    else:
        dropped = compare(scored.base_high, scored.candidate_low)
        gained = compare(scored.base_low, scored.candidate_high)
        low, high = (gained.low, dropped.high) if worse_is_up else (dropped.low, gained.high)
        change, doubt = _middle(scored, compare, worse_is_up=worse_is_up), dropped.doubt
    doubts = (*doubts, doubt) if doubt else doubts
    return Estimate(_mean(scored.base), _mean(scored.candidate), change, (low, high), unit, method, doubts)


def _middle(scored: Scored, compare: Compare, *, worse_is_up: bool) -> float:
    """The estimate at the middle of what unknown scores could be: for right or wrong, a half that no test takes."""
    if not scored.binary:
        return compare(scored.base, scored.candidate).estimate
    return relative_drop(scored.base, scored.candidate) if worse_is_up else _mean(scored.candidate - scored.base)


def flips(scored: Scored) -> dict[str, Any]:
    """How many items got worse and how many better, and the ids of those that got worse, worst first."""
    change = scored.candidate - scored.base
    order = np.argsort(change, kind="stable")
    return {
        "worse": int(np.sum(change < 0)),
        "better": int(np.sum(change > 0)),
        "worse_items": [scored.items[i].id for i in order[:MOST_LISTED] if change[i] < 0],
    }


def judging(evidence: Evidence) -> dict[str, Any]:
    """How well the judge could be read: replies that it was asked for twice, and scores that stayed unknown."""
    if evidence.fitness is None:
        return {}
    return {"judge": {"asked_again": evidence.scored.retried, "unreadable": evidence.scored.unreadable}}


def by_tag(scored: Scored) -> tuple[Slice, ...]:
    """One slice for each tag, in alphabetical order. An item with two tags is in both."""
    tags = sorted({tag for item in scored.items for tag in item.tags})
    members = {tag: [i for i, item in enumerate(scored.items) if tag in item.tags] for tag in tags}
    return tuple(plain_slice(tag, scored.subset(index)) for tag, index in members.items())


def plain_slice(name: str, scored: Scored) -> Slice:
    """Mean scores and relative drop of some items, without an interval: informative, not a decision."""
    change = relative_drop(scored.base, scored.candidate)
    return Slice(name, len(scored.items), _mean(scored.base), _mean(scored.candidate), change)


def _mean(values: FloatArray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _clusters(scored: Scored) -> list[str] | None:
    """The cluster of each item, an item without one standing alone; None when no item has one."""
    if not any(item.cluster for item in scored.items):
        return None
    return [f"cluster {item.cluster}" if item.cluster else f"item {item.id}" for item in scored.items]


def _floor(scored: Scored, evidence: Evidence) -> Floor | None:
    """What a worthless model would score, if a judge that can be trusted did some of the scoring.

    A rule gives nothing to a worthless answer, so that the floor of the mean is the judge's floor times the share of
    the items that it graded.
    """
    fitness, share = evidence.fitness, float(np.mean(scored.graded)) if len(scored.items) else 0.0
    if fitness is None or not fitness.fit or not share:
        return None
    return Floor(share * fitness.floor, share**2 * fitness.floor_variance, fitness.canaries)


def _nothing_to_lose(most: float, limit: float) -> tuple[str, ...]:
    if most > limit:
        return ()
    return (f"the base scores so low that losing all of it, {100 * most:.1f} p.p., would stay within the limit",)


def _few(scored: Scored, enough: int, limit: float) -> tuple[str, ...]:
    n = len(scored.items)
    if n < enough:
        text = f"{n} items are too few: below {enough} a total collapse on {100 * limit:g} % of them can go unseen"
        return (text,)
    return _few_graded(scored)


def _few_graded(scored: Scored) -> tuple[str, ...]:
    n = len(scored.items)
    if scored.binary or n >= LEAST_GRADED:
        return ()
    return (f"{n} graded items are too few: below {LEAST_GRADED} the bootstrap errs more often than it says",)
