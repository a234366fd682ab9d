"""The change of two models' mean scores, judged on all items and corrected by people's grades of some of them.

Prediction-powered inference (Angelopoulos et al. 2023, section 2): the mean of the judge's scores over all N items plus
the mean error of these scores on the n labelled ones, e = h - g for a person's grade h and the judge's g. It is
unbiased whatever the judge does, as long as the labelled items are a random sample of the judged ones. With the
contrast w of :mod:`ftgate.stats.bootstrap`, and k = (N - n) / N,

    mean over N of w + mean over n of e = mean over n of (n / N w + e) + k mean over the other N - n of w,

two independent means: their variances add up, and the bootstrap resamples each sample by itself. This is PPI++
(Angelopoulos, Duchi and Zrnic 2023, section 2) with the tuning parameter k, as the labelled items are judged, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ftgate.stats import checks
from ftgate.stats.bootstrap import Bootstrapped
from ftgate.stats.checks import FloatArray
from ftgate.stats.resampling import FARTHEST, Resampled, ResampledStrata


@dataclass(frozen=True, slots=True)
class Labelled:
    """People's grades of both models' answers to some items: ``places`` of these among all, grades in [0, 1].

    All three have the shape (n,). ``share`` is that of the items that the judge graded; the scores of the others are
    exact, so that only this share of the mean is in error.
    """

    places: NDArray[np.int64]
    base: FloatArray
    candidate: FloatArray
    share: float = 1.0

    def __post_init__(self) -> None:
        checks.scores("labelled.base", self.base)
        checks.scores("labelled.candidate", self.candidate)
        checks.aligned("labelled.base", self.base, "labelled.candidate", self.candidate)
        if len(self.places) != len(self.base) or len(set(self.places.tolist())) != len(self.places):
            raise ValueError(
                f"labelled.places names {len(set(self.places.tolist()))} items for {len(self.base)} grades"
            )
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"labelled.share = {self.share}: a share above 0 and at most 1 was expected")


def corrected_means(base: ArrayLike, candidate: ArrayLike, labelled: Labelled) -> tuple[float, float]:
    """The mean scores of base and candidate, each plus the judge's mean error on the labelled items."""
    sides = ((checks.scores("base", base), labelled.base), (checks.scores("candidate", candidate), labelled.candidate))
    of_base, of_candidate = (
        math.fsum(g) / len(g) + labelled.share * math.fsum(h - g[labelled.places]) / len(h) for g, h in sides
    )
    return of_base, of_candidate


def corrected_drop(
    base: ArrayLike,
    candidate: ArrayLike,
    labelled: Labelled,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    absolute: bool = False,
) -> Bootstrapped:
    """The relative drop of the corrected means or, with ``absolute``, their difference; positive is worse.

    ``base`` and ``candidate`` are the judge's scores in [0, 1] of independent items, shape (N,). No floor is
    subtracted: people grade a worthless answer 0. The order of the items does not matter. A corrected base mean of 0 or
    less rules nothing out (estimate NaN), nor do fewer than 2 labelled items. A single item without a label, whose
    spread is unknown, is left out. Raises ValueError for scores outside [0, 1], other lengths, places that there are
    not, and fewer than 200 draws.
    """
    b, c = checks.scores("base", base), checks.scores("candidate", candidate)
    checks.aligned("base", b, "candidate", c)
    if not 0 <= labelled.places.min() <= labelled.places.max() < len(b):
        raise ValueError(f"labelled.places reach from {labelled.places.min()} to {labelled.places.max()} of {len(b)}")
    if len(b) - len(labelled.places) == 1:
        b, c = b[labelled.places], c[labelled.places]
        labelled = replace(labelled, places=np.arange(len(b)))
    of_base, of_candidate = corrected_means(b, c, labelled)
    lowest, highest = (-1.0, 1.0) if absolute else (-math.inf, math.inf)
    estimate = of_base - of_candidate if absolute else (1 - of_candidate / of_base if of_base > 0 else math.nan)
    if len(labelled.places) < 2 or not abs(estimate) < FARTHEST:
        return Bootstrapped(estimate, lowest, highest, None, None, ratio=not absolute)
    parts = [
        Resampled(x, y, rng, draws, ratio=not absolute)
        for x, y in _samples(b, c, labelled, absolute=absolute)
        if len(x)
    ]
    return Bootstrapped(estimate, lowest, highest, None, ResampledStrata(parts), ratio=not absolute)


def _samples(
    b: FloatArray, c: FloatArray, labelled: Labelled, *, absolute: bool
) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """The x and y of the labelled and of the other items, each in an order that follows from the values alone."""
    places, n = labelled.places, len(b)
    share = len(places) / n
    x, y = b - c, np.ones(n) if absolute else b
    error_b, error_c = labelled.base - b[places], labelled.candidate - c[places]
    x_labelled = share * x[places] + labelled.share * (error_b - error_c)
    y_labelled = share * y[places] + (0.0 if absolute else labelled.share * error_b)
    if absolute:
        y_labelled = np.full(len(places), share)
    others = np.setdiff1d(np.arange(n), places)
    samples = ((x_labelled, y_labelled), ((1 - share) * x[others], (1 - share) * y[others]))
    return tuple((x[order], y[order]) for x, y in samples for order in [np.lexsort((y, x))])
