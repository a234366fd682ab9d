"""The standard normal distribution, without scipy."""

from __future__ import annotations

import math
from statistics import NormalDist

_STANDARD = NormalDist()


def cdf(x: float) -> float:
    """P(Z <= x). Through erfc, so that the lower tail keeps its relative precision (``NormalDist.cdf`` loses it)."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def density(x: float) -> float:
    """The density of Z at x."""
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def quantile(p: float) -> float:
    """The x with P(Z <= x) = p (Wichura 1988, AS 241). Raises ValueError unless 0 < p < 1."""
    if not 0.0 < p < 1.0:
        raise ValueError(f"a probability strictly between 0 and 1 was expected, got {p}")
    return _STANDARD.inv_cdf(p)


def critical(alpha: float) -> float:
    """The z that a standard normal exceeds with probability alpha: 1.645 for 0.05."""
    return -quantile(alpha)
