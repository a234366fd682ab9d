"""Graded scores of two models on the same items: studentised bootstrap bounds for a ratio of two means.

Every quantity here is the t at which a linear contrast has mean 0: w_i(t) = x_i - t y_i.

    relative drop      x = b - c, y = b        w = (1 - t) b - c
    above a floor f    x = b - c, y = b - f    w = (1 - t) b - c + t f
    gain               x = c - b, y = 1        w = c - b - t

Source: methods, section 3; how bounds come from resamples, and with which departures, is in
:mod:`ftgate.stats.resampling`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ftgate.stats import checks
from ftgate.stats.checks import FloatArray
from ftgate.stats.interval import Interval
from ftgate.stats.resampling import FARTHEST, BoundSearch, Resampled, effective_clusters, sums_by_cluster

MIN_CLUSTERS = 60
"""With fewer effective clusters the bootstrap of clusters is too short-tailed to carry a pass."""
TOO_FEW_CLUSTERS = "too few to resample"
"""What the doubt about too few clusters says of them."""
ONE_CLUSTER = f"1 cluster is {TOO_FEW_CLUSTERS}"
"""How the doubt about a single one begins."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What a judge gives to worthless answers: ``mean`` in [0, 1] and ``variance`` of the grades of ``count`` ones."""

    mean: float
    variance: float
    count: int

    def __post_init__(self) -> None:
        checks.scores("floor.mean", [self.mean])
        checks.at_least("floor.count", self.count, 1)
        if not 0.0 <= self.variance <= 1.0:
            raise ValueError(f"floor.variance = {self.variance}: the variance of scores from 0 to 1 was expected")


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A change of means and its resamples, which give bounds at any level and p-values that agree with them.

    ``resampled`` is None where nothing can be ruled out. With ``sign`` -1 the mirror image was resampled. ``even``
    marks data that are their own mirror image: their p-values are averaged with those of the mirror image. Levels are
    taken times ``level_share``, the share of effective among all clusters: where large clusters fail as a whole, the
    resamples have too short a tail.
    """

    estimate: float
    lowest: float
    highest: float
    doubt: str | None
    resampled: Resampled | None
    ratio: bool
    sign: float = 1.0
    even: bool = False
    level_share: float = 1.0

    def interval(self, alpha: float, alpha_high: float | None = None) -> Interval:
        """Both one-sided bounds: the lower at ``alpha``, the upper at ``alpha_high`` (None: at ``alpha``, too).

        Raises ValueError unless both levels are above 0 and below 0.5.
        """
        levels = [checks.level(level) * self.level_share for level in (alpha, alpha_high or alpha)]
        below, above = levels if self.sign > 0 else levels[::-1]
        low, high = self.lowest, self.highest
        if self.resampled is not None:
            low = self._downwards(self.resampled).bound(below)
            if self.even:
                high = self._mirrored(low if above == below else self._downwards(self.resampled).bound(above))
            else:
                high = self._upwards(self.resampled).bound(above)
        found = Interval(self.sign * self.estimate, low, high, self.doubt)
        return found.negated() if self.sign < 0 else found

    def p_above(self, change: float) -> float:
        """The one-sided p of "the change is at most ``change``"; 1 where nothing can be ruled out.

        At most alpha exactly when the lower bound at alpha is above ``change`` (see :class:`BoundSearch`).
        """
        return self._p_below(-change) if self.sign < 0 else self._p_above(change)

    def p_below(self, change: float) -> float:
        """The one-sided p of "the change is at least ``change``"; 1 where nothing can be ruled out."""
        return self._p_above(-change) if self.sign < 0 else self._p_below(change)

    def _p_above(self, t: float) -> float:
        if self.resampled is None:
            return 1.0
        return min(1.0, self._downwards(self.resampled).p_value(t) / self.level_share)

    def _p_below(self, t: float) -> float:
        if self.resampled is None:
            return 1.0
        if self.even:
            return self._p_above(self._mirrored(t))
        return min(1.0, self._upwards(self.resampled).p_value(t) / self.level_share)

    def _downwards(self, resampled: Resampled) -> BoundSearch:
        def level(t: float) -> float:
            straight = resampled.level_above(t)
            return (straight + resampled.level_below(self._mirrored(t))) / 2 if self.even else straight

        return BoundSearch(level, self.sign * self.estimate, -1 / math.sqrt(resampled.size), self.lowest)

    def _upwards(self, resampled: Resampled) -> BoundSearch:
        return BoundSearch(
            resampled.level_below, self.sign * self.estimate, 1 / math.sqrt(resampled.size), self.highest
        )

    def _mirrored(self, t: float) -> float:
        """What ``t`` is after swapping the models."""
        if not self.ratio:
            return -t + 0.0
        if math.isinf(t):
            return 1.0
        return -t / (1 - t) + 0.0 if t < 1 else -math.inf


def relative_drop(base: ArrayLike, candidate: ArrayLike) -> float:
    """(mean(base) - mean(candidate)) / mean(base); positive when the candidate is worse.

    -inf when only the base scores 0 throughout, 0 when both do. Raises ValueError for scores outside [0, 1] or of
    different lengths.
    """
    b, c = _pair(base, candidate)
    return _ratio(math.fsum(b - c), math.fsum(b))


def resampled_drop(
    base: ArrayLike,
    candidate: ArrayLike,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    clusters: Sequence[Hashable] | None = None,
    floor: Floor | None = None,
) -> Bootstrapped:
    """The relative drop and its resamples, from scores of shape (n,) in [0, 1].

    ``clusters`` names the group each item was drawn with (None: on its own); sums are taken per cluster and clusters
    resampled, and fewer than ``MIN_CLUSTERS`` effective ones are a doubt. Several samples of one item must be averaged
    before (:func:`ftgate.stats.samples.average_samples`). With ``floor`` it is (mean(b) - mean(c)) / (mean(b) - f), and
    t^2 Var(f) / m is added to the variance of mean(w): the standard error gets it, and each resample draws its own f
    from a normal with that variance (without this the quantiles would shrink by just what the standard error gained).

    Range (-inf, 1], with a floor (-inf, inf). A single item or cluster, or a base whose mean is next to nothing (beside
    the floor: no higher than it, estimate NaN), rules nothing out. The order of the items does not matter. Swapping the
    models maps 1 - t to 1 / (1 - t) for both bounds, to the precision of the search: items are resampled in an order
    that does not depend on which model is the base. Raises ValueError for scores outside [0, 1], misaligned lengths,
    and fewer than 200 draws.
    """
    b, c = _pair(base, candidate)
    f = floor.mean if floor else 0.0
    x, y, mirrored = sums_by_cluster([b - c, b - f, c - f], clusters)
    highest, (doubt, share) = math.inf if floor else 1.0, _clustering(len(x), clusters)
    estimate = _ratio(math.fsum(b - c), math.fsum(b - f)) if not floor or math.fsum(b - f) > 0 else math.nan
    if len(x) < 2 or not abs(estimate) < FARTHEST:
        return Bootstrapped(estimate, -math.inf, highest, doubt, None, ratio=True)
    straight, mirror = np.lexsort((mirrored, y)), np.lexsort((y, mirrored))
    tables = [np.vstack([y[straight], mirrored[straight]]).tolist(), np.vstack([mirrored[mirror], y[mirror]]).tolist()]
    order = mirror if tables[1] < tables[0] else straight
    noise = floor.variance / floor.count if floor else 0.0
    resampled = Resampled(x[order], y[order], rng, draws, noise=noise, ratio=True)
    even = tables[0] == tables[1]
    return Bootstrapped(estimate, -math.inf, highest, doubt, resampled, ratio=True, even=even, level_share=share)


def resampled_difference(
    base: ArrayLike,
    candidate: ArrayLike,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    clusters: Sequence[Hashable] | None = None,
) -> Bootstrapped:
    """The gain mean(candidate) - mean(base) and its resamples. Range [-1, 1].

    Items are put in a canonical order before anything is drawn, so their order does not matter. Swapping the models
    mirrors the interval exactly: of the data and its mirror image the one that comes first is resampled, and where the
    two are the same the bounds are averaged with their mirror image. Arguments and errors as for
    :func:`resampled_drop`.
    """
    b, c = _pair(base, candidate)
    x, y = sums_by_cluster([c - b, np.ones(len(b))], clusters)
    estimate, (doubt, share) = math.fsum(c - b) / len(b), _clustering(len(x), clusters)
    if len(x) < 2:
        return Bootstrapped(estimate, -1.0, 1.0, doubt, None, ratio=False)
    straight, mirror = _ordered(x, y), _ordered(-x + 0.0, y)
    sign = -1.0 if mirror.tolist() < straight.tolist() else 1.0
    chosen = mirror if sign < 0 else straight
    resampled = Resampled(chosen[0], chosen[1], rng, draws, ratio=False)
    even = bool(np.array_equal(straight, mirror))
    return Bootstrapped(estimate, -1.0, 1.0, doubt, resampled, ratio=False, sign=sign, even=even, level_share=share)


def _pair(base: ArrayLike, candidate: ArrayLike) -> tuple[FloatArray, FloatArray]:
    b, c = checks.scores("base", base), checks.scores("candidate", candidate)
    checks.aligned("base", b, "candidate", c)
    return b, c


def _ratio(top: float, bottom: float) -> float:
    if bottom > 0:
        return top / bottom + 0.0
    return 0.0 if top == 0 else -math.inf


def _ordered(x: FloatArray, y: FloatArray) -> FloatArray:
    """Both rows, shape (2, n), in the order of x, then y."""
    order = np.lexsort((y, x))
    return np.vstack([x[order], y[order]])


def _clustering(units: int, clusters: Sequence[Hashable] | None) -> tuple[str | None, float]:
    """The doubt about this many clusters, and the share of effective ones among them."""
    if clusters is None:
        return None, 1.0
    effective = effective_clusters(clusters)
    if effective >= MIN_CLUSTERS:
        return None, effective / units
    count = (
        f"{units} clusters are" if round(effective) == units else f"{units} clusters count as {effective:.0f}, which is"
    )
    few = ONE_CLUSTER if units == 1 else f"{count} {TOO_FEW_CLUSTERS}"
    return f"{few}: at least {MIN_CLUSTERS} are needed", effective / units
