"""The score test and the bootstrap for paired scores, behind one interface: intervals at any level, and p-values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ftgate.domain import FloatArray
from ftgate.stats import normal
from ftgate.stats.bootstrap import Bootstrapped, Floor, resampled_difference, resampled_drop
from ftgate.stats.interval import Interval
from ftgate.stats.prediction_powered import Labelled, corrected_drop
from ftgate.stats.ratio import (
    PairedCounts,
    difference_interval,
    difference_statistic,
    drop_interval,
    score_statistic,
)


class PairedEffect(Protocol):
    """A drop, relative or absolute; positive is worse."""

    def interval(self, alpha: float, alpha_high: float | None = None) -> Interval:
        """Estimate and both one-sided bounds: the lower at ``alpha``, the upper at ``alpha_high`` (None: ``alpha``)."""
        ...

    def p_above(self, drop: float) -> float:
        """The one-sided p-value of the hypothesis that the drop is at most ``drop``."""
        ...


Compare = Callable[[FloatArray, FloatArray], PairedEffect]
"""Compares aligned scores of base and candidate."""


@dataclass(frozen=True, slots=True)
class ScoreTest:
    """The score test for 0/1 scores of independent items (methods: section 2; Tango 1998 for the absolute drop)."""

    counts: PairedCounts
    absolute: bool

    def interval(self, alpha: float, alpha_high: float | None = None) -> Interval:
        """As the protocol says."""
        both_bounds = self._interval(alpha)
        if alpha_high is None or alpha_high == alpha:
            return both_bounds
        return replace(both_bounds, high=self._interval(alpha_high).high)

    def _interval(self, alpha: float) -> Interval:
        return difference_interval(self.counts, alpha).negated() if self.absolute else drop_interval(self.counts, alpha)

    def p_above(self, drop: float) -> float:
        """As the protocol says."""
        z = difference_statistic(self.counts, -drop) if self.absolute else score_statistic(self.counts, 1 - drop)
        return normal.cdf(z)


@dataclass(frozen=True, slots=True)
class AbsoluteDrop:
    """A bootstrapped gain with its sign reversed."""

    gain: Bootstrapped

    def interval(self, alpha: float, alpha_high: float | None = None) -> Interval:
        """As the protocol says."""
        return self.gain.interval(alpha_high or alpha, alpha).negated()

    def p_above(self, drop: float) -> float:
        """As the protocol says."""
        return self.gain.p_below(-drop)


def score_test(*, absolute: bool) -> Compare:
    """The comparison of 0/1 scores."""
    return lambda base, candidate: ScoreTest(PairedCounts.from_scores(base, candidate), absolute)


def bootstrap(
    rng: np.random.Generator,
    draws: int,
    clusters: list[str] | None,
    floor: Floor | None,
    *,
    absolute: bool,
    labelled: Labelled | None = None,
) -> Compare:
    """The comparison of other scores (methods: section 3), corrected by people's grades if there are some (section 6).

    Every call uses the same resamples; results are cached.
    """
    state = rng.bit_generator.state
    effects: dict[tuple[bytes, bytes], PairedEffect] = {}

    def resampled(base: FloatArray, candidate: FloatArray) -> PairedEffect:
        rng.bit_generator.state = state
        if labelled is not None:
            return corrected_drop(base, candidate, labelled, rng, draws=draws, absolute=absolute)
        if absolute:
            return AbsoluteDrop(resampled_difference(base, candidate, rng, draws=draws, clusters=clusters))
        return resampled_drop(base, candidate, rng, draws=draws, clusters=clusters, floor=floor)

    def compare(base: FloatArray, candidate: FloatArray) -> PairedEffect:
        key = (base.tobytes(), candidate.tobytes())
        if key not in effects:
            effects[key] = resampled(base, candidate)
        return effects[key]

    return compare
