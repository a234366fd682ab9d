"""Several tests at once: Holm's step-down correction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ftgate.stats import checks
from ftgate.stats.checks import FloatArray


def holm(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values, shape (m,) in the order given.

    Reject where one is at most alpha: the chance of any false rejection among the m is then at most alpha, however the
    tests depend on each other. The k-th smallest p is multiplied by m - k + 1, is no smaller than any before it, and at
    most 1; equal ones stay equal (Holm 1979, Scandinavian Journal of Statistics 6:65). Raises ValueError for none, NaN,
    or a value outside [0, 1].
    """
    p = checks.scores("p_values", p_values)
    order = np.argsort(p, kind="stable")
    steps = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    adjusted: FloatArray = np.empty(len(p))
    adjusted[order] = steps
    return adjusted


def step_down_levels(p_values: ArrayLike, alpha: float) -> FloatArray:
    """The level at which Holm's procedure tests each of them, shape (m,): alpha / (m - k + 1) for the k-th smallest p.

    An interval at this level shows what the adjusted p says, as long as those before it were rejected. Equal p-values
    share the strictest of their levels. Errors as for :func:`holm`, and unless 0 < alpha < 0.5.
    """
    p = checks.scores("p_values", p_values)
    smaller = np.sum(p[None, :] < p[:, None], axis=1)
    levels: FloatArray = checks.level(alpha) / (len(p) - smaller)
    return levels
