"""What an estimator hands back, and the one root finder that all bounds use."""

from __future__ import annotations

import math
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


def edge(margin: Callable[[float], float], inside: float, outside: float) -> float:
    """Where ``margin`` turns from 0 or more (at ``inside``) to negative (at ``outside``), to full precision.

    Returns the last value with a negative margin, so a bound errs away from the estimate by one rounding step at most;
    ``inside`` itself, if its own margin is negative (scores without any spread). By bisection and, where the
    margin proves to be nearly a straight line between both ends, by steps to that line's zero; after one that does not
    halve the bracket, by bisection again. Each evaluation may cost thousands of resamples, and this needs a half to a
    third as many as bisection alone.
    """
    at_inside, at_outside = margin(inside), margin(outside)
    if at_inside < 0:
        return inside
    whole, straight = abs(outside - inside), False
    while True:
        width, middle = abs(outside - inside), inside + (outside - inside) / 2
        if middle in (inside, outside) or width <= 1e-13 * (1 + abs(middle)):
            return outside
        share = _zero_of_line(at_inside, at_outside, 0.2 * width / whole) if straight else 0.5
        point = inside + share * (outside - inside)
        if point in (inside, outside):
            share, point = 0.5, middle
        value = margin(point)
        off_line = abs(value - at_inside - share * (at_outside - at_inside))
        is_line = off_line <= 0.1 * (at_inside - at_outside) < math.inf
        if value < 0:
            outside, at_outside = point, value
        else:
            inside, at_inside = point, value
        straight = is_line and (share == 0.5 or abs(outside - inside) <= width / 2)


def _zero_of_line(at_inside: float, at_outside: float, pull: float) -> float:
    """The share of the way from inside to outside at which the line is 0, ``pull``ed to the middle.

    Without the pull one of the ends would stay where it is.
    """
    share = at_inside / (at_inside - at_outside)
    return min(share + pull, 0.5) if share < 0.5 else max(share - pull, 0.5)


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
