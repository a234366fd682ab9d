"""A calibration error without bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ftgate.stats import checks
from ftgate.stats.checks import FloatArray

CELLS = 500
"""Places in [0, 1] at which the smoothed error is evaluated."""
NARROWEST = 1 / CELLS
_IMAGES = range(-8, 9, 2)
"""A Gaussian reflected at 0 and 1 is the sum of its images at a distance of 2 from each other."""


def smooth_ece(confidence: ArrayLike, correct: ArrayLike) -> float:
    """The smooth calibration error of Błasiok and Nakkiran 2023 (Smooth ECE, section 3), in [0, 1].

    smECE(s) is the integral over t in [0, 1] of |mean of K_s(t, confidence) (confidence - correct)|, K_s being the
    Gaussian kernel of width s, reflected at 0 and 1 so that it loses no mass. It falls as s grows; the error is the
    one s at which smECE(s) = s: no number of bins is chosen, and it moves little when the data move little. Departure:
    confidences are first spread over ``CELLS`` places (linearly, to the two nearest), so that widths below 1 / CELLS
    are not told apart. Shapes and errors as for the ECE.
    """
    conf, right = checks.scores("confidence", confidence), checks.outcomes("correct", correct)
    checks.aligned("confidence", conf, "correct", right)
    place = conf * (CELLS - 1)
    below = np.minimum(place.astype(np.int64), CELLS - 2)
    share = place - below
    residual = (conf - right) / len(conf)
    weights = np.zeros(CELLS)
    np.add.at(weights, below, (1 - share) * residual)
    np.add.at(weights, below + 1, share * residual)
    if _smoothed(weights, NARROWEST) <= NARROWEST:
        return _smoothed(weights, NARROWEST)
    low, high = NARROWEST, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _smoothed(weights, middle) > middle else (low, middle)
    return (low + high) / 2


def _smoothed(weights: FloatArray, width: float) -> float:
    """The integral at one kernel width; each kernel is scaled so that its whole mass is on the places there are."""
    distance = np.arange(2 * CELLS - 2) / (CELLS - 1)
    spread = np.fft.rfft(np.sum([np.exp(-(((distance - image) / width) ** 2) / 2) for image in _IMAGES], axis=0))
    mass = _reflected(np.ones(CELLS), spread)
    return float(np.abs(_reflected(weights / mass, spread)).sum())


def _reflected(weights: FloatArray, spread: NDArray[np.complex128]) -> FloatArray:
    """Weights at ``CELLS`` places, blurred by a kernel and its reflections: a convolution of their even extension."""
    twice = np.zeros(2 * CELLS - 2)
    twice[:CELLS] = weights
    twice[0] *= 2  # either end is its own reflection
    twice[CELLS - 1] *= 2
    twice[CELLS:] = weights[-2:0:-1]
    return np.fft.irfft(np.fft.rfft(twice) * spread, len(twice))[:CELLS]
