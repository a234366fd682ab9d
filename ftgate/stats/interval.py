"""What an estimator hands back, and the one root finder that all bounds use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftgate.stats import checks, normal


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between two one-sided bounds, each at level alpha: together a 1 - 2 alpha interval.

    A bound is infinite when the data cannot rule anything out on that side. ``doubt`` says why the interval, however
    narrow, must not carry a pass; None when nothing speaks against one.
    """

    estimate: float
    low: float
    high: float
    doubt: str | None = None

    def negated(self) -> Interval:
        """The interval of the quantity with its sign turned: a gain read as a drop."""
        # Adding 0.0 turns -0.0 into 0.0.
        return Interval(-self.estimate + 0.0, -self.high + 0.0, -self.low + 0.0, self.doubt)


def edge(rejected: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where ``rejected`` turns from false (at ``inside``) to true (at ``outside``), by bisection to full precision.

    Returns the last value that is rejected, so a bound errs away from the estimate by one rounding step at most.
    """
    for _ in range(200):
        middle = inside + (outside - inside) / 2
        if middle in (inside, outside) or abs(outside - inside) <= 1e-13 * (1 + abs(middle)):
            break
        if rejected(middle):
            outside = middle
        else:
            inside = middle
    return outside


def wilson_interval(mean: float, n: int, alpha: float) -> Interval:
    """Bounds for the expected score from the mean of n scores in [0, 1] (Wilson 1927), each at level ``alpha``.

    Exact in spirit for 0/1 scores; conservative for graded ones, whose variance is at most mean (1 - mean). It answers
    whether a base score is so low that a relative drop means nothing. Raises ValueError for a mean outside [0, 1] or
    n < 1.
    """
    if not 0.0 <= mean <= 1.0:
        raise ValueError(f"mean = {mean}: a mean of scores from 0 to 1 was expected")
    checks.at_least("n", n, 1)
    z2 = normal.critical(checks.level(alpha)) ** 2
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (mean * (1 - mean) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return Interval(mean, min(mean, max(0.0, centre - half)), max(mean, min(1.0, centre + half)))
