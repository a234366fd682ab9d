"""The one number that repairs confidence without changing an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

LOWEST, HIGHEST = 0.05, 20.0
_SMALLEST_PROBABILITY = 1e-12
_GOLDEN = (math.sqrt(5) - 1) / 2


def best_temperature(probabilities: Sequence[ArrayLike], truth: Sequence[int]) -> float:
    """The temperature T under which the right options are likeliest (Guo et al. 2017, section 4.2).

    ``probabilities`` has one row for each item, over its options, ``truth`` the place of the right one. Minimises the
    mean of -ln softmax(ln p / T)[right], which has one minimum, between ``LOWEST`` and ``HIGHEST``: above 1 for a model
    that is too sure. An end of the range is given where no temperature is best, as for a model that is always right.
    Probabilities below 1e-12 count as that. Raises ValueError for no items, or a place that is no option.
    """
    if not len(probabilities) or len(probabilities) != len(truth):
        raise ValueError(f"{len(probabilities)} rows of probabilities for {len(truth)} items")
    width = max(len(np.asarray(row)) for row in probabilities)
    logits = np.full((len(probabilities), width), -np.inf)
    for i, row in enumerate(probabilities):
        values = np.asarray(row, dtype=np.float64)
        if not 0 <= truth[i] < len(values):
            raise ValueError(f"item {i}: option {truth[i]} of {len(values)}")
        logits[i, : len(values)] = np.log(np.maximum(values, _SMALLEST_PROBABILITY))
    right = np.asarray(truth, dtype=np.int64)
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(60):  # golden section
        left, across = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _loss(logits, right, math.exp(left)) <= _loss(logits, right, math.exp(across)):
            high = across
        else:
            low = left
    return math.exp((low + high) / 2)


def _loss(logits: NDArray[np.float64], right: NDArray[np.int64], temperature: float) -> float:
    scaled = logits / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    total = np.log(np.exp(scaled).sum(axis=1))
    return float((total - scaled[np.arange(len(right)), right]).mean())
