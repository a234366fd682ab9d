"""Resamples of a linear contrast, drawn once: bounds at any level and p-values from the same draws.

The quantity is the t at which w_i(t) = x_i - t y_i has mean 0. Source: methods, section 3; Efron & Tibshirani 1993,
chapter 12 (bootstrap-t), applied to a Fieller contrast and inverted. Departures: a tail too far out for the number of
draws is extended along the normal curve, and the standard deviation has a floor, s'^2 = s^2 + g / n^2, so that
resamples without any spread do not divide by zero. g is 1 for a difference; for a ratio it is (1 + (1 - t)^2) / 2,
about 1 near t = 0, because then w(t) of the swapped models, at 1 / (1 - t), is the same statistic with its sign turned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from ftgate.stats import checks, normal
from ftgate.stats.checks import FloatArray
from ftgate.stats.interval import edge

FARTHEST = 1e6
"""A bound beyond this is reported as infinite, and an estimate beyond it has no bounds."""
_CELLS = 2_000_000
"""Resampled items held in memory at once (16 bytes each, about)."""
_TAIL_DRAWS = 20
"""A quantile with fewer resamples beyond it is extrapolated."""


class Resampled:
    """The moments of ``draws`` resamples of (x, y), drawn once and used for every t.

    w(t) is linear in t, so the mean and variance of each resample at any t follow from five sums. These are taken over
    centred values, which keeps the variances from cancelling and centres every T* at the sample mean. ``noise`` is the
    variance of the mean of y that is not due to the items; ``ratio`` says which floor the standard deviation has.
    """

    def __init__(
        self, x: FloatArray, y: FloatArray, rng: np.random.Generator, draws: int, *, noise: float = 0.0, ratio: bool
    ) -> None:
        self._x, self._y, self._n, self._noise, self._ratio = x, y, len(x), noise, ratio
        self._mean_x, self._mean_y = float(x.mean()), float(y.mean())
        dx, dy = x - self._mean_x, y - self._mean_y
        columns = np.column_stack([dx, dy, dx * dx, dx * dy, dy * dy])
        rows = max(1, _CELLS // self._n)
        draws = checks.at_least("draws", draws, 200)
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
        least = ((1 + (1 - t) ** 2) / 2 if self._ratio else 1.0) / n**2
        w = self._x - t * self._y
        error = math.sqrt((float(w.var(ddof=1)) + least) / n + extra)
        sx, sy, sxx, sxy, syy = self._sums
        total = sx - t * sy
        variance = np.maximum(sxx - 2 * t * sxy + t * t * syy - total * total / n, 0.0) / (n - 1)
        stars: FloatArray = (total / n + t * self._shift) / np.sqrt((variance + least) / n + extra)
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

    def p_above(self, t: float) -> float:
        """The one-sided p of "it is at most t": about the level at which the lower bound reaches t."""
        statistic, stars = self.test(t)
        return _level(-statistic, -stars)

    def p_below(self, t: float) -> float:
        """The one-sided p of "it is at least t"."""
        return _level(*self.test(t))


def sums_by_cluster(columns: Sequence[FloatArray], clusters: Sequence[Hashable] | None) -> list[FloatArray]:
    """Sums per cluster, in units of the mean cluster size; the columns themselves without clusters.

    The unit keeps values near [0, 1], which the floor under the standard deviation counts on. ``fsum`` is exact, so
    the order within a cluster cannot show. Raises ValueError for another number of clusters than of items.
    """
    n = len(columns[0])
    if clusters is None:
        return list(columns)
    if len(clusters) != n:
        raise ValueError(f"clusters has {len(clusters)} entries for {n} items")
    members: dict[Hashable, list[int]] = {}
    for i, name in enumerate(clusters):
        members.setdefault((i,) if name is None else ("cluster", name), []).append(i)
    size = n / len(members)
    return [np.array([math.fsum(values[group]) / size for group in members.values()]) for values in columns]


def _reach(rejected: Callable[[float], bool], estimate: float, step: float, limit: float) -> float:
    """The bound on the side of ``step``: widen until something is rejected, then bisect; ``limit`` if nothing is."""
    while abs(step) < FARTHEST:
        outside = max(estimate + step, limit) if step < 0 else min(estimate + step, limit)
        if rejected(outside):
            return edge(rejected, estimate, outside)
        if outside == limit:
            return limit
        step *= 2
    return math.copysign(math.inf, step)


def _reachable(stars: FloatArray) -> float:
    """The smallest level that the draws themselves say something about."""
    return min(_TAIL_DRAWS / len(stars), 0.25)


def _quantile(values: FloatArray, share: float) -> float:
    """``np.quantile``, without what that spends on every other case: it is asked for a hundred times an interval."""
    place = share * (len(values) - 1)
    below = math.floor(place)
    ranks = [below, min(below + 1, len(values) - 1)]
    low, high = np.partition(values, ranks)[ranks].tolist()
    return float(low + (place - below) * (high - low))


def _lower_tail(stars: FloatArray, alpha: float) -> float:
    """The alpha quantile of the resampled statistics, never above 0.

    Where fewer than 20 resamples lie beyond it (early looks), the quantile at 20 is scaled by the ratio of the normal
    ones: the smallest of B draws says little about a level below 1/B.
    """
    reachable = max(alpha, _reachable(stars))
    value = min(_quantile(stars, reachable), 0.0)
    return value * (normal.critical(alpha) / normal.critical(reachable))


def _level(statistic: float, stars: FloatArray) -> float:
    """The alpha at which ``statistic`` meets :func:`_lower_tail`.

    It is the share of resamples at or below it, and extrapolated alike where these are few.
    """
    share, reachable = float(np.mean(stars <= statistic)), _reachable(stars)
    if statistic >= 0 or share >= reachable:
        return share
    quantile = min(_quantile(stars, reachable), 0.0)
    return normal.cdf(statistic * normal.critical(reachable) / -quantile) if quantile < 0 else 0.0
