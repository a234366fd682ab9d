"""Looking at the data more than once: group-sequential boundaries that keep the error rate (methods, section 4).

Source: Lan & DeMets 1983 (spending functions); Armitage, McPherson & Rowe 1969 (the recursive integration); Jennison &
Turnbull 2000, chapters 7 and 19. The statistic at information fraction t is that of a Brownian motion, Z = W(t) /
sqrt(t): at looks after a fixed random order of the items the fraction is the share of items seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ftgate.stats import checks, normal
from ftgate.stats.checks import FloatArray

Spending = Literal["obrien-fleming", "pocock"]
PLANNED_ERROR = 0.6
"""The share of alpha that the planned items may use, where there are more to fall back on."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)
_FARTHEST = 9.0
"""Standard errors beyond which the density is nothing."""


def spent(fraction: float, alpha: float, spending: Spending = "obrien-fleming") -> float:
    """The part of ``alpha`` (one side) that may be used up once ``fraction`` of the items is in; alpha at 1.

    O'Brien-Fleming type: 2 - 2 Phi(z(alpha / 2) / sqrt(t)), almost nothing early. Pocock type: alpha ln(1 + (e - 1) t),
    nearly even. Raises ValueError unless 0 < fraction <= 1 and 0 < alpha < 0.5, or for another spending function.
    """
    checks.level(alpha)
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction = {fraction}: a share above 0 and at most 1 was expected")
    if spending == "obrien-fleming":
        return 2 * normal.cdf(-normal.critical(alpha / 2) / math.sqrt(fraction))
    if spending == "pocock":
        return alpha * math.log1p((math.e - 1) * fraction)
    raise ValueError(f"spending = {spending!r}: 'obrien-fleming' or 'pocock' was expected")


def spent_in_stages(
    fraction: float, alpha: float, spending: Spending = "obrien-fleming", planned: float = 1.0
) -> float:
    """The part of ``alpha`` that may be used up at ``fraction`` where the items up to ``planned`` are meant to do.

    ``PLANNED_ERROR`` of alpha is spent by ``planned``, as :func:`spent` says; the rest evenly over the items beyond it,
    which are asked only where the planned ones leave the question open. Any rising function that ends at alpha is a
    spending function (Lan & DeMets 1983). Raises ValueError as :func:`spent`, and unless 0 < planned <= 1.
    """
    if not 0.0 < planned <= 1.0:
        raise ValueError(f"planned = {planned}: a share above 0 and at most 1 was expected")
    if planned == 1.0:
        return spent(fraction, alpha, spending)
    first = PLANNED_ERROR * alpha
    if fraction <= planned:
        return spent(fraction / planned, first, spending)
    checks.level(alpha)
    return first + (alpha - first) * (fraction - planned) / (1 - planned)


def boundaries(
    fractions: Sequence[float], alpha: float = 0.05, spending: Spending = "obrien-fleming", planned: float = 1.0
) -> tuple[float, ...]:
    """The one-sided z that the statistic must exceed at each look, so that all looks together err with ``alpha``.

    ``fractions`` are the shares of the items seen, rising, in (0, 1]; any schedule will do, and a later look does not
    change an earlier boundary. Both sides of a decision may use the same boundaries, each with its own ``alpha``.
    25/50/75/100 % at 0.05: 3.75, 2.54, 2.02, 1.72. Where fewer items than all are ``planned``, most of alpha is spent
    on those (:func:`spent_in_stages`). Raises ValueError for a schedule that does not rise within (0, 1].
    """
    _schedule(fractions)
    process, found, used = _Process(), [], 0.0
    for fraction in fractions:
        total = spent_in_stages(fraction, alpha, spending, planned)
        found.append(process.boundary(fraction, total - used))
        process.advance(fraction, found[-1])
        used = total
    return tuple(found)


def look_size(fraction: float, n: int) -> int:
    """How many of ``n`` items are in at a look after this share of them: rounded up, at least 1."""
    # A share such as 200 / 420 * 0.75 must not ask for one item more by its last digit.
    return max(1, math.ceil(fraction * n - 1e-9))


def nominal_levels(z: Sequence[float]) -> tuple[float, ...]:
    """The one-sided level of a single test at each boundary: what an interval at that look is computed with."""
    return tuple(normal.cdf(-value) for value in z)


class _Process:
    """Brownian motion that has not crossed yet: its sub-density at the last look, on Gauss-Legendre nodes."""

    def __init__(self) -> None:
        self._time = 0.0
        self._at: FloatArray = np.zeros(1)
        self._mass: FloatArray = np.ones(1)

    def exceeds(self, fraction: float, z: float) -> float:
        """P(no crossing before, and Z > z at ``fraction``)."""
        step = fraction - self._time
        distance = (z * math.sqrt(fraction) - self._at) / math.sqrt(step)
        return float(sum(m * normal.cdf(-d) for m, d in zip(self._mass.tolist(), distance.tolist(), strict=True)))

    def boundary(self, fraction: float, probability: float) -> float:
        """The z that is first exceeded with ``probability`` at ``fraction``, by bisection."""
        low, high = -_FARTHEST, 4 * _FARTHEST
        while high - low > 1e-10:
            middle = (low + high) / 2
            if self.exceeds(fraction, middle) > probability:
                low = middle
            else:
                high = middle
        return high

    def advance(self, fraction: float, z: float) -> None:
        """Move on to ``fraction`` with all paths above z taken out."""
        step, spread = fraction - self._time, math.sqrt(fraction)
        low = -_FARTHEST * spread
        high = max(min(z * spread, _FARTHEST * spread), low)
        nodes = low + (high - low) * (_NODES + 1) / 2
        distance = (nodes[:, None] - self._at[None, :]) / math.sqrt(step)
        density = (np.exp(-0.5 * distance**2) @ self._mass) / math.sqrt(2 * math.pi * step)
        self._at, self._mass, self._time = nodes, density * _WEIGHTS * (high - low) / 2, fraction


def _schedule(fractions: Sequence[float]) -> None:
    if not fractions:
        raise ValueError("the schedule has no looks")
    for earlier, later in zip((0.0, *fractions), fractions, strict=False):
        if not earlier < later <= 1.0:
            raise ValueError(f"looks {tuple(fractions)}: shares that rise within (0, 1] were expected, got {later}")
