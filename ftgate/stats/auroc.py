"""How well a number separates two groups: the area under the ROC curve and bounds for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ftgate.stats import checks, normal
from ftgate.stats.checks import FloatArray
from ftgate.stats.interval import edge


@dataclass(frozen=True, slots=True)
class AurocInterval:
    """The area, in [0, 1], and its one-sided bounds; NaN, 0 and 1 when one of the groups is empty."""

    value: float
    low: float
    high: float


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """P(a positive's score is higher than a negative's) + half of P(they tie): Mann-Whitney's U over its range.

    ``scores`` and ``labels`` (0 or 1) have shape (n,). NaN when all labels are equal: there is nothing to separate.
    Raises ValueError for scores outside [0, 1], labels that are not 0 or 1, and different lengths.
    """
    return _area(*_groups(scores, labels))


def auroc_interval(scores: ArrayLike, labels: ArrayLike, alpha: float = 0.05) -> AurocInterval:
    """The area with both one-sided bounds, each at ``alpha``: a score interval for the Hanley-McNeil variance.

    The bounds are the areas A at which |A - estimate| = z sqrt(V(A)), with
    V(A) = A (1 - A) [1 + N (1 - A) / (2 - A) + N A / (1 + A)] / (k m) and N = (k + m) / 2 - 1
    (Newcombe 2006, Statistics in Medicine 25:559, method 5). Because the variance is taken at the bound, as in Wilson's
    interval, perfect separation keeps a lower bound below 1: 0.96 with 40 against 40, where DeLong's variance would be
    0 and its bound exactly 1. Errors as for :func:`auroc`.
    """
    z = normal.critical(checks.level(alpha))
    positive, negative = _groups(scores, labels)
    area = _area(positive, negative)
    if math.isnan(area):
        return AurocInterval(area, 0.0, 1.0)

    def margin(value: float) -> float:
        return z * math.sqrt(_variance(value, len(positive), len(negative))) - abs(value - area)

    low = edge(margin, area, 0.0) if area > 0.0 else 0.0
    high = edge(margin, area, 1.0) if area < 1.0 else 1.0
    return AurocInterval(area, low, high)


def _groups(scores: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, FloatArray]:
    values, truth = checks.scores("scores", scores), checks.outcomes("labels", labels)
    checks.aligned("scores", values, "labels", truth)
    return values[truth == 1.0], values[truth == 0.0]


def _area(positive: FloatArray, negative: FloatArray) -> float:
    if not len(positive) or not len(negative):
        return math.nan
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    up_to = np.searchsorted(ordered, positive, side="right")
    return float((below + up_to).sum()) / (2 * len(positive) * len(negative))


def _variance(area: float, positives: int, negatives: int) -> float:
    n = (positives + negatives) / 2 - 1
    spread = 1 + n * (1 - area) / (2 - area) + n * area / (1 + area)
    return area * (1 - area) * spread / (positives * negatives)
