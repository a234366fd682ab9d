"""Right or wrong answers of two models to the same items: score tests for the ratio and the difference.

Notation of the methods: over n items, a = both right, b = only the candidate, c = only the base, d = neither;
theta = p_candidate / p_base = 1 - drop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ftgate.stats import checks, normal
from ftgate.stats.checks import FloatArray
from ftgate.stats.interval import Interval, edge


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """How many items both models, only one of them, or neither got right. Raises ValueError for a negative count."""

    both: int
    candidate_only: int
    base_only: int
    neither: int

    def __post_init__(self) -> None:
        for name in ("both", "candidate_only", "base_only", "neither"):
            checks.at_least(name, getattr(self, name), 0)
        checks.at_least("the number of items", self.n, 1)

    @property
    def n(self) -> int:
        """All items."""
        return self.both + self.candidate_only + self.base_only + self.neither

    @classmethod
    def from_scores(cls, base: ArrayLike, candidate: ArrayLike) -> PairedCounts:
        """Count two aligned arrays of 0 and 1, shape (n,). Raises ValueError for other values or lengths."""
        b, c = checks.outcomes("base", base), checks.outcomes("candidate", candidate)
        checks.aligned("base", b, "candidate", c)
        both, base_right, candidate_right = int(np.sum(b * c)), int(b.sum()), int(c.sum())
        return cls(both, candidate_right - both, base_right - both, len(b) - base_right - candidate_right + both)

    def swapped(self) -> PairedCounts:
        """The same items with the models in each other's place."""
        return PairedCounts(self.both, self.base_only, self.candidate_only, self.neither)


def score_statistic(counts: PairedCounts, theta: float, *, correction: bool = True) -> float:
    """Z(theta): how far the data lie from p_candidate = theta p_base, in standard errors under that hypothesis.

    Positive when the candidate does better than theta times the base. The variance is the one at the restricted
    maximum-likelihood estimate (Nam & Blackwelder 2002; Tang, Tang & Chan 2003); ``correction`` multiplies by
    sqrt((n - 1) / n), as in Laud's ratesci. 0 when neither model got anything right, and when n = 1. Raises ValueError
    unless 0 < theta < infinity.
    """
    if not 0.0 < theta < math.inf:
        raise ValueError(f"theta = {theta}: a positive ratio was expected")
    z = _z_of_one(counts, theta) if theta <= 1 else -_z_of_one(counts.swapped(), 1 / theta)
    return z * math.sqrt((counts.n - 1) / counts.n) if correction else z


def score_statistics(tables: ArrayLike, theta: float, *, correction: bool = True) -> FloatArray:
    """:func:`score_statistic` of many tables at once: counts of shape (r, 4) -> Z of shape (r,)."""
    both, gained, lost, neither = np.asarray(tables, dtype=np.float64).reshape(-1, 4).T
    if not 0.0 < theta < math.inf:
        raise ValueError(f"theta = {theta}: a positive ratio was expected")
    # Swapping the models maps theta to 1 / theta and Z to -Z. Only theta <= 1 is ever computed: there the quadratic
    # has one root of each sign and nothing cancels.
    z = _ratio_z(both, gained, lost, theta) if theta <= 1 else -_ratio_z(both, lost, gained, 1 / theta)
    n = both + gained + lost + neither
    return z * np.sqrt((n - 1) / n) if correction else z


def _ratio_z(both: FloatArray, gained: FloatArray, lost: FloatArray, theta: float) -> FloatArray:
    """Z without the N - 1 factor, for theta <= 1."""
    m = both + gained + lost
    qa = theta * (1 + theta) * m
    qb = both * (1 - theta**2) + gained * (1 - 2 * theta**2) - lost * theta**2
    qc = -gained * theta * (1 - theta)
    root = np.sqrt(qb**2 - 4 * qa * qc)
    # x = p10 n / m is the positive root, in the form that does not subtract like from like.
    x = np.where(qb > 0, _divide(-2 * qc, qb + root), _divide(root - qb, 2 * qa))
    variance = theta * ((1 + theta) * x + 1 - theta) * m
    return _divide(both + gained - theta * (both + lost), np.sqrt(variance))


def _z_of_one(counts: PairedCounts, theta: float) -> float:
    """:func:`_ratio_z` of one table in plain numbers, with every bit of its result: the same steps in the same order.

    A bound needs dozens, and with arrays of one number each takes ten times as long.
    """
    both, gained, lost = float(counts.both), float(counts.candidate_only), float(counts.base_only)
    m = both + gained + lost
    qa = theta * (1 + theta) * m
    qb = both * (1 - theta**2) + gained * (1 - 2 * theta**2) - lost * theta**2
    qc = -gained * theta * (1 - theta)
    root = math.sqrt(qb * qb - 4 * qa * qc)
    above, below = (-2 * qc, qb + root) if qb > 0 else (root - qb, 2 * qa)
    x = above / below if below > 0 else 0.0
    variance = theta * ((1 + theta) * x + 1 - theta) * m
    return (both + gained - theta * (both + lost)) / math.sqrt(variance) if variance > 0 else 0.0


def _divide(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """The quotient, and 0 where ``bottom`` is 0."""
    out: FloatArray = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    return out


def drop_interval(counts: PairedCounts, alpha: float = 0.05) -> Interval:
    """The relative drop (p_base - p_candidate) / p_base with both one-sided score bounds, each at ``alpha``.

    ``high < t`` iff Z(1 - t) > z_alpha and ``low > t`` iff Z(1 - t) < -z_alpha: the bounds invert the very test that
    decides. Range (-inf, 1]. Nothing is undefined: with base accuracy 0 the low bound is -inf and the estimate is -inf,
    or 0 when the candidate has nothing right either; with candidate accuracy 0 estimate and high bound are 1; a single
    item says nothing, which is (-inf, 1). The bounds do not apply the evidence floor.
    """
    z = normal.critical(checks.level(alpha))
    lost, base_right = counts.base_only - counts.candidate_only, counts.both + counts.base_only
    nothing_right = -math.inf if counts.candidate_only else 0.0
    estimate = lost / base_right if base_right else nothing_right
    mirrored = _lowest_ratio(counts.swapped(), z)
    low = 1 - 1 / mirrored if mirrored else -math.inf
    return Interval(estimate, min(low, estimate), max(1 - _lowest_ratio(counts, z), estimate))


def _lowest_ratio(counts: PairedCounts, z: float) -> float:
    """The theta at which Z(theta) = z: below it every ratio is rejected. 0 when nothing can be rejected."""
    if counts.both + counts.candidate_only == 0 or counts.n == 1:
        return 0.0

    def margin(log_theta: float) -> float:
        return z - score_statistic(counts, math.exp(log_theta))

    # Z falls from infinity (theta -> 0) to at most 0 (theta -> infinity), so both searches end.
    outside = inside = 0.0
    while margin(outside) >= 0:
        outside -= 1.0
    while margin(inside) < 0:
        inside += 1.0
    return math.exp(edge(margin, inside, outside))


def difference_statistic(counts: PairedCounts, difference: float, *, correction: bool = True) -> float:
    """Z for p_candidate - p_base = ``difference`` (Tango 1998, Statistics in Medicine 17:891, equations 5 to 7).

    Positive when the candidate gained more. At 0 it is McNemar's (b - c) / sqrt(b + c), which is also Z(theta = 1) of
    the ratio. Departure from Tango: the factor sqrt((n - 1) / n). May be infinite at -1 and 1. Raises ValueError for a
    difference outside [-1, 1].
    """
    if not -1.0 <= difference <= 1.0:
        raise ValueError(f"difference = {difference}: a difference of two shares lies in [-1, 1]")
    if difference < 0:
        return -difference_statistic(counts.swapped(), -difference, correction=correction)
    n, gained, lost = counts.n, counts.candidate_only, counts.base_only
    qb = -gained - lost + (2 * n - gained + lost) * difference
    qc = -lost * difference * (1 - difference)
    root = math.sqrt(qb * qb - 8 * n * qc)
    # q is the restricted estimate of P(only the base is right), again in the form that does not cancel.
    q = -2 * qc / (qb + root) if qb > 0 else (root - qb) / (4 * n)
    top = gained - lost - n * difference
    variance = n * (2 * q + difference * (1 - difference))
    if variance <= 0:
        return math.copysign(math.inf, top) if top else 0.0
    return top / math.sqrt(variance) * (math.sqrt((n - 1) / n) if correction else 1.0)


def difference_interval(counts: PairedCounts, alpha: float = 0.05) -> Interval:
    """The gain p_candidate - p_base with both one-sided score bounds, each at ``alpha``. Range [-1, 1].

    Swapping the models mirrors it exactly. A single item gives [-1, 1]. Negated it is the absolute drop.
    """
    z = normal.critical(checks.level(alpha))
    estimate = (counts.candidate_only - counts.base_only) / counts.n
    low, high = _lowest_difference(counts, z), -_lowest_difference(counts.swapped(), z)
    return Interval(estimate, min(low, estimate), max(high + 0.0, estimate))


def _lowest_difference(counts: PairedCounts, z: float) -> float:
    """The difference at which Z = z: below it every difference is rejected. -1 when nothing can be."""

    def margin(difference: float) -> float:
        return z - difference_statistic(counts, difference)

    if counts.n == 1 or margin(-1.0) >= 0:
        return -1.0
    return edge(margin, (counts.candidate_only - counts.base_only) / counts.n, -1.0)
