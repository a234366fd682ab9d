"""Graded scores of two models on the same items: studentised bootstrap bounds for a ratio of two means.

Every quantity here is the t at which a linear contrast has mean 0: w_i(t) = x_i - t y_i.

    relative drop      x = b - c, y = b        w = (1 - t) b - c
    above a floor f    x = b - c, y = b - f    w = (1 - t) b - c + t f
    absolute drop      x = b - c, y = 1        w = b - c - t

Source: methods, section 3; Efron & Tibshirani 1993, chapter 12 (bootstrap-t), applied to a Fieller contrast and
inverted. Departures: the standard deviation has a floor, s' = sqrt(s^2 + 1/n^2), so that resamples without any spread
do not divide by zero; a tail too far out for the number of draws is extended along the normal curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ftgate.stats import checks, normal
from ftgate.stats.checks import FloatArray
from ftgate.stats.interval import Interval, edge

MIN_CLUSTERS = 30
"""With fewer clusters the bootstrap of clusters is too short-tailed to carry a pass."""
_CELLS = 2_000_000
"""Resampled items held in memory at once (16 bytes each, about)."""
_TAIL_DRAWS = 20
"""A quantile with fewer resamples beyond it is extrapolated."""
_FARTHEST = 1e6
"""A bound beyond this is reported as infinite, and an estimate beyond it has no bounds."""


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


def relative_drop(base: ArrayLike, candidate: ArrayLike) -> float:
    """(mean(base) - mean(candidate)) / mean(base); positive when the candidate is worse.

    -inf when only the base scores 0 throughout, 0 when both do. Raises ValueError for scores outside [0, 1] or of
    different lengths.
    """
    b, c = _pair(base, candidate)
    return _ratio(math.fsum(b - c), math.fsum(b))


def drop_bootstrap(
    base: ArrayLike,
    candidate: ArrayLike,
    rng: np.random.Generator,
    *,
    alpha: float = 0.05,
    draws: int = 2000,
    clusters: Sequence[Hashable] | None = None,
    floor: Floor | None = None,
) -> Interval:
    """The relative drop with both one-sided bounds, each at ``alpha``, from scores of shape (n,) in [0, 1].

    ``clusters`` names the group each item was drawn with (None: on its own); sums are taken per cluster and clusters
    resampled, and fewer than 30 of them is a doubt. Several samples of one item must be averaged before.
    With ``floor`` it is (mean(b) - mean(c)) / (mean(b) - f), and t^2 Var(f) / m is added to the variance of mean(w):
    the standard error gets it, and each resample draws its own f from a normal with that variance (without this the
    quantiles would shrink by just what the standard error gained).

    Range (-inf, 1], with a floor (-inf, inf). A single item or cluster, or a base whose mean is next to nothing (beside
    the floor: no higher than it, estimate NaN), rules nothing out. The order of the items does not matter. Raises
    ValueError for scores outside [0, 1], misaligned lengths, and as :func:`ftgate.stats.checks.level` does.
    """
    b, c = _pair(base, candidate)
    f = floor.mean if floor else 0.0
    x, y = _sums(b - c, b - f, clusters)
    highest = math.inf if floor else 1.0
    estimate = _ratio(math.fsum(b - c), math.fsum(b - f)) if not floor or math.fsum(b - f) > 0 else math.nan
    if len(x) < 2 or not abs(estimate) < _FARTHEST:
        return Interval(estimate, -math.inf, highest, _doubt(len(x), clusters))
    noise = floor.variance / floor.count if floor else 0.0
    order = np.lexsort((y, x))
    resampled = _Resampled(x[order], y[order], noise, rng, checks.at_least("draws", draws, 200))
    low, high = resampled.bounds(checks.level(alpha), estimate, -math.inf, highest)
    return Interval(estimate, low, high, _doubt(len(x), clusters))


def difference_bootstrap(
    base: ArrayLike,
    candidate: ArrayLike,
    rng: np.random.Generator,
    *,
    alpha: float = 0.05,
    draws: int = 2000,
    clusters: Sequence[Hashable] | None = None,
) -> Interval:
    """The gain mean(candidate) - mean(base) with both one-sided bounds, each at ``alpha``. Range [-1, 1].

    Items are put in a canonical order before anything is drawn, so their order does not matter. Swapping the models
    mirrors the interval exactly: of the data and its mirror image the one that comes first is resampled, and where the
    two are the same the bounds are averaged with their mirror image. Arguments and errors as for
    :func:`drop_bootstrap`.
    """
    b, c = _pair(base, candidate)
    x, y = _sums(c - b, np.ones(len(b)), clusters)
    estimate = math.fsum(c - b) / len(b)
    doubt = _doubt(len(x), clusters)
    if len(x) < 2:
        return Interval(estimate, -1.0, 1.0, doubt)
    straight, mirror = _ordered(x, y), _ordered(-x + 0.0, y)
    sign = -1.0 if mirror.tolist() < straight.tolist() else 1.0
    chosen = min(straight, mirror, key=lambda table: table.tolist())
    resampled = _Resampled(chosen[0], chosen[1], 0.0, rng, checks.at_least("draws", draws, 200))
    low, high = resampled.bounds(checks.level(alpha), sign * estimate, -1.0, 1.0)
    if np.array_equal(straight, mirror):
        low, high = -(high - low) / 2, (high - low) / 2
    found = Interval(sign * estimate, low, high, doubt)
    return found.negated() if sign < 0 else found


class _Resampled:
    """The moments of ``draws`` resamples of (x, y), drawn once and used for every t.

    w(t) is linear in t, so the mean and variance of each resample at any t follow from five sums. These are taken over
    centred values, which keeps the variances from cancelling and centres every T* at the sample mean.
    """

    def __init__(self, x: FloatArray, y: FloatArray, noise: float, rng: np.random.Generator, draws: int) -> None:
        self._x, self._y, self._n, self._noise = x, y, len(x), noise
        self._mean_x, self._mean_y = float(x.mean()), float(y.mean())
        dx, dy = x - self._mean_x, y - self._mean_y
        columns = np.column_stack([dx, dy, dx * dx, dx * dy, dy * dy])
        rows = max(1, _CELLS // self._n)
        parts = [self._draw(columns, min(rows, draws - done), rng) for done in range(0, draws, rows)]
        self._sums: FloatArray = np.vstack(parts).T
        # Drawn even when unused: then the items drawn never depend on the floor.
        self._shift: FloatArray = rng.standard_normal(draws) * math.sqrt(noise)

    def _draw(self, columns: FloatArray, rows: int, rng: np.random.Generator) -> FloatArray:
        index = rng.integers(0, self._n, size=(rows, self._n))
        index += np.arange(rows)[:, None] * self._n
        counts = np.bincount(index.ravel(), minlength=rows * self._n).reshape(rows, self._n)
        sums: FloatArray = counts.astype(np.float64) @ columns
        return sums

    def test(self, t: float) -> tuple[float, FloatArray]:
        """T(t) of the sample, and T*(t) of shape (draws,)."""
        n, extra = self._n, t * t * self._noise
        w = self._x - t * self._y
        error = math.sqrt((float(w.var(ddof=1)) + 1 / n**2) / n + extra)
        sx, sy, sxx, sxy, syy = self._sums
        total = sx - t * sy
        variance = np.maximum(sxx - 2 * t * sxy + t * t * syy - total * total / n, 0.0) / (n - 1)
        stars: FloatArray = (total / n + t * self._shift) / np.sqrt((variance + 1 / n**2) / n + extra)
        return (self._mean_x - t * self._mean_y) / error, stars

    def bounds(self, alpha: float, estimate: float, lowest: float, highest: float) -> tuple[float, float]:
        """The t from which T stays above the upper quantile (below) or under the lower one (above)."""

        def too_low(t: float) -> bool:
            statistic, stars = self.test(t)
            return statistic > -_lower_tail(-stars, alpha)

        def too_high(t: float) -> bool:
            statistic, stars = self.test(t)
            return statistic < _lower_tail(stars, alpha)

        step = 1 / math.sqrt(self._n)
        return _reach(too_low, estimate, -step, lowest), _reach(too_high, estimate, step, highest)


def _reach(rejected: Callable[[float], bool], estimate: float, step: float, limit: float) -> float:
    """The bound on the side of ``step``: widen until something is rejected, then bisect; ``limit`` if nothing is."""
    while abs(step) < _FARTHEST:
        outside = max(estimate + step, limit) if step < 0 else min(estimate + step, limit)
        if rejected(outside):
            return edge(rejected, estimate, outside)
        if outside == limit:
            return limit
        step *= 2
    return math.copysign(math.inf, step)


def _lower_tail(stars: FloatArray, alpha: float) -> float:
    """The alpha quantile of the resampled statistics, never above 0.

    Where fewer than 20 resamples lie beyond it (early looks), the quantile at 20 is scaled by the ratio of the normal
    ones: the smallest of B draws says little about a level below 1/B.
    """
    reachable = max(alpha, min(_TAIL_DRAWS / len(stars), 0.25))
    value = min(float(np.quantile(stars, reachable)), 0.0)
    return value * (normal.critical(alpha) / normal.critical(reachable))


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


def _sums(x: FloatArray, y: FloatArray, clusters: Sequence[Hashable] | None) -> tuple[FloatArray, FloatArray]:
    """Sums per cluster, in units of the mean cluster size; the arrays themselves without clusters.

    The unit keeps values near [0, 1], which the floor under the standard deviation counts on. ``fsum`` is exact, so
    the order within a cluster cannot show.
    """
    if clusters is None:
        return x, y
    if len(clusters) != len(x):
        raise ValueError(f"clusters has {len(clusters)} entries for {len(x)} items")
    members: dict[Hashable, list[int]] = {}
    for i, name in enumerate(clusters):
        members.setdefault((i,) if name is None else ("cluster", name), []).append(i)
    size = len(x) / len(members)
    sums = [[math.fsum(values[group]) / size for group in members.values()] for values in (x, y)]
    return np.array(sums[0]), np.array(sums[1])


def _doubt(units: int, clusters: Sequence[Hashable] | None) -> str | None:
    if clusters is None or units >= MIN_CLUSTERS:
        return None
    return f"{units} clusters are too few to resample: at least {MIN_CLUSTERS} are needed"
