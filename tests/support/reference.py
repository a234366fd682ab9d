"""Statistics that only tests need: a shorthand for the bootstrap, and stopping probabilities."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ftgate.stats.bootstrap import Floor, resampled_difference, resampled_drop
from ftgate.stats.interval import Interval

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(300)
_FARTHEST = 9.0
"""Standard errors beyond which the density is negligible."""


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
    """The relative drop with both one-sided bounds, each at ``alpha``."""
    return resampled_drop(base, candidate, rng, draws=draws, clusters=clusters, floor=floor).interval(alpha)


def difference_bootstrap(
    base: ArrayLike,
    candidate: ArrayLike,
    rng: np.random.Generator,
    *,
    alpha: float = 0.05,
    draws: int = 2000,
    clusters: Sequence[Hashable] | None = None,
) -> Interval:
    """The gain with both one-sided bounds, each at ``alpha``."""
    return resampled_difference(base, candidate, rng, draws=draws, clusters=clusters).interval(alpha)


def crossing_probabilities(fractions: Sequence[float], z: Sequence[float], drift: float = 0.0) -> tuple[float, ...]:
    """P(the statistic first exceeds z at look k), for each k; ``drift`` is E(Z) once all items are in.

    The recursion of Armitage, McPherson & Rowe (1969), on finer nodes than :mod:`ftgate.stats.sequential` uses. With
    drift 0 the probabilities sum to the error rate of these boundaries.
    """
    probabilities: list[float] = []
    points, weights, time = np.zeros(1), np.ones(1), 0.0
    for fraction, bound in zip(fractions, z, strict=True):
        step, spread, mean = fraction - time, fraction**0.5, drift * fraction
        expected = points + drift * step
        probabilities.append(float(weights @ stats.norm.sf(bound * spread, expected, step**0.5)))
        low, high = mean - _FARTHEST * spread, min(bound * spread, mean + _FARTHEST * spread)
        nodes = (low + high) / 2 + (high - low) / 2 * _NODES
        density = stats.norm.pdf(nodes[:, None], expected[None, :], step**0.5) @ weights
        points, weights, time = nodes, density * _WEIGHTS * (high - low) / 2, fraction
    return tuple(probabilities)
