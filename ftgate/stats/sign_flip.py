"""Whether paired differences scatter around 0: a permutation test."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from ftgate.stats import checks
from ftgate.stats.checks import FloatArray

MOST_EXACT = 12
"""Up to this many differences other than 0, all ways to choose the signs are tried."""
_ROUNDING = 1e-9
"""Sums that differ by no more than this, relative to the sum of the absolute values, count as equal."""


def sign_flip_p(differences: ArrayLike, rng: np.random.Generator, *, draws: int = 10_000) -> float:
    """The two-sided p of "each difference may as well have the other sign", in (0, 1]; 1 without any difference.

    The share of all choices of signs under which the absolute sum is at least what it is (Fisher 1935, The Design of
    Experiments, section 21; Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, section 3.2). Exact
    at any number of differences, shape (n,), however they are distributed. With more than ``MOST_EXACT`` that are not 0
    the choices are ``draws`` random ones, and the one observed counts among them (Phipson & Smyth 2010). Raises
    ValueError for a value that is not finite and fewer than 1000 draws.
    """
    values: FloatArray = np.asarray(differences, dtype=np.float64)
    checks.at_least("draws", draws, 1000)
    for i in np.flatnonzero(~np.isfinite(values)):
        raise ValueError(f"differences[{i}] = {values[i]}: a finite number was expected")
    moved = values[values != 0]
    if not len(moved):
        return 1.0
    least = abs(math.fsum(moved)) - _ROUNDING * math.fsum(np.abs(moved))
    if len(moved) <= MOST_EXACT:
        choices = np.array(list(product((-1.0, 1.0), repeat=len(moved))))
        return float(np.mean(np.abs(choices @ moved) >= least))
    signs = rng.integers(0, 2, size=(draws, len(moved))) * 2.0 - 1.0
    return float(1 + np.sum(np.abs(signs @ moved) >= least)) / (draws + 1)
