"""Resamples of a linear contrast, drawn once: bounds at any level and p-values from the same draws.

The quantity is the t at which w_i(t) = x_i - t y_i has mean 0. Source: methods, section 3; Efron & Tibshirani 1993,
chapter 12 (bootstrap-t), applied to a Fieller contrast and inverted. Departures: a tail too far out for the number of
draws is extended along the normal curve, and the standard deviation has a floor, s'^2 = s^2 + g / n^2, so that
resamples without any spread do not divide by zero. g is 1 for a difference; for a ratio it is (1 + (1 - t)^2) / 2,
about 1 near t = 0, because then w(t) of the swapped models, at 1 / (1 - t), is the same statistic with its sign turned.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ftgate.stats import checks, normal
from ftgate.stats.checks import FloatArray
from ftgate.stats.interval import edge

FARTHEST = 1e6
"""A bound beyond this is reported as infinite, and an estimate beyond it has no bounds."""
_CELLS = 250_000
"""Resampled items held in memory at once: 16 bytes each, about, which stay in a processor's cache."""
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
        draws = checks.at_least("draws", draws, 200)
        self._sums: FloatArray = np.ascontiguousarray(resampled_sums(columns, rng, draws).T)
        # Drawn even when unused: then the items drawn never depend on the floor.
        self._shift: FloatArray = rng.standard_normal(draws) * math.sqrt(noise)

    @property
    def size(self) -> int:
        """The number of items or clusters."""
        return self._n

    def test(self, t: float) -> tuple[float, FloatArray]:
        """T(t) of the sample, and T*(t) of shape (draws,)."""
        mean, variance, means, variances = self.moments(t)
        return mean / math.sqrt(variance), means / np.sqrt(variances)

    def moments(self, t: float) -> tuple[float, float, FloatArray, FloatArray]:
        """Mean of w(t) and variance of this mean; and those of the resamples around it, of shape (draws,) each."""
        n, extra = self._n, t * t * self._noise
        least = ((1 + (1 - t) ** 2) / 2 if self._ratio else 1.0) / n**2
        w = self._x - t * self._y
        sx, sy, sxx, sxy, syy = self._sums
        total = sx - t * sy
        variance = sxx - 2 * t * sxy
        variance += t * t * syy
        variance -= total * total / n
        np.maximum(variance, 0.0, out=variance)
        variance /= n - 1
        variance += least
        variance /= n
        variance += extra
        total /= n
        if self._noise:
            total += t * self._shift
        return self._mean_x - t * self._mean_y, (float(w.var(ddof=1)) + least) / n + extra, total, variance

    def level_above(self, t: float) -> float:
        """The one-sided p of "it is at most t", at this t alone."""
        statistic, stars = self.test(t)
        return _level(-statistic, -stars)

    def level_below(self, t: float) -> float:
        """The one-sided p of "it is at least t", at this t alone."""
        return _level(*self.test(t))


class ResampledStrata(Resampled):
    """Resamples of a sum of means over several samples, each of which is resampled by itself."""

    def __init__(self, parts: Sequence[Resampled]) -> None:
        self._parts = parts

    @property
    def size(self) -> int:
        """The number of items of all samples."""
        return sum(part.size for part in self._parts)

    def moments(self, t: float) -> tuple[float, float, FloatArray, FloatArray]:
        """The sums of the samples' moments, as these are independent."""
        mean, variance, means, variances = zip(*(part.moments(t) for part in self._parts), strict=True)
        return math.fsum(mean), math.fsum(variance), np.sum(means, axis=0), np.sum(variances, axis=0)


@dataclass(frozen=True, slots=True)
class BoundSearch:
    """The way from an estimate to a bound: outwards in steps that double, until ``level`` says no more than alpha.

    ``level`` gives the p of a value, ``step`` is signed and first goes to ``start + step``, ``limit`` is the last value
    there is. Bounds and p-values follow the same steps, so that they agree: the bound at alpha lies beyond t exactly
    when the p of t is at most alpha. They could differ only where ``level`` rises and falls again within one step.
    """

    level: Callable[[float], float]
    start: float
    step: float
    limit: float

    def bound(self, alpha: float) -> float:
        """Where ``level`` falls below ``alpha``; ``limit`` if it does not, infinite if that is too far."""
        inside, level = self.start, cache(self.level)  # the ends of the last step are asked for again
        for outside in self._steps():
            if level(outside) < alpha:
                return edge(lambda t: level(t) - alpha, inside, outside)
            if outside == self.limit:
                return self.limit
            inside = outside
        return math.copysign(math.inf, self.step)

    def p_value(self, t: float) -> float:
        """The smallest alpha at which the bound does not go beyond ``t``."""
        if (t - self.start) * self.step <= 0:
            return self.level(t)
        smallest = 1.0
        for outside in self._steps():
            level = self.level(outside)
            if (outside - t) * self.step >= 0:
                return min(smallest, max(self.level(t), level))
            smallest = min(smallest, level)
            if outside == self.limit:
                break
        return smallest

    def _steps(self) -> Iterator[float]:
        step, nearest = self.step, min if self.step > 0 else max
        while abs(step) < FARTHEST:
            yield nearest(self.start + step, self.limit)
            step *= 2


def resampled_sums(columns: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """Column sums of ``draws`` resamples of the rows of ``columns``, shape (draws, number of columns).

    A block of resamples at a time, all blocks of about the same size: a small one at the end would be summed in another
    order by the library for linear algebra.
    """
    n, parts = len(columns), []
    blocks = min(draws, max(1, draws * n // _CELLS))
    for block in range(blocks):
        rows = draws * (block + 1) // blocks - draws * block // blocks
        index = rng.integers(0, n, size=(rows, n))
        index += np.arange(rows)[:, None] * n
        counts = np.bincount(index.ravel(), minlength=rows * n).reshape(rows, n)
        parts.append(counts.astype(np.float64) @ columns)
    sums: FloatArray = np.vstack(parts)
    return sums


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


def effective_clusters(clusters: Sequence[Hashable]) -> float:
    """(sum of the sizes)^2 / sum of the squared sizes: how many equal clusters vary as much (Kish 1965, section 11.7).

    An entry that is None is a cluster of its own. 0 without items.
    """
    sizes = Counter((i,) if name is None else ("cluster", name) for i, name in enumerate(clusters)).values()
    return len(clusters) ** 2 / sum(size**2 for size in sizes) if clusters else 0.0


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


def _level(statistic: float, stars: FloatArray) -> float:
    """The alpha at whose quantile of the resampled statistics ``statistic`` lies; 1/2 or more from 0 on.

    Quantiles are interpolated as ``np.quantile`` does. Where fewer than 20 resamples lie beyond it (early looks), the
    quantile at 20 is scaled by the ratio of the normal ones: the smallest of B draws says little about a level below
    1/B.
    """
    at_most = stars <= statistic
    count = int(np.count_nonzero(at_most))
    if count == len(stars):
        return 1.0
    share = 0.0
    if count:
        below, above = float(stars[at_most].max()), float(stars[~at_most].min())
        share = (count - 1 + (statistic - below) / (above - below)) / (len(stars) - 1)
    if statistic >= 0:
        return max(share, 0.5)
    reachable = _reachable(stars)
    if share >= reachable:
        return share
    quantile = _quantile(stars, reachable)
    return normal.cdf(statistic * normal.critical(reachable) / -quantile) if quantile < 0 else 0.0
