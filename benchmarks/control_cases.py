"""How often the zero-delta control, and so the A/A test, holds a measurement: simulated kernels with noise and bias."""

from __future__ import annotations

import numpy as np

from benchmarks.error_cases import FORGETTING, ONE_LOOK, SEED
from ftgate.gate.controls import compare_with_itself
from ftgate.stats.checks import FloatArray
from ftgate.stats.seeding import generator

ACCURACY = 0.8
MEASUREMENTS = 3
"""Measurements of the policy: each is tested at alpha divided by so many."""
PATHS = tuple((items, noise) for items in (50, 100) for noise in (0.02, 0.1, 0.3))
"""Items that the control asks, and the share of them that a path through the kernels scores otherwise by chance."""
BIASES = (0.0, 0.25, 0.5, 1.0)
"""The loss that the path causes by itself, as a share of the tolerance."""
RUNS = 400


def held(items: int, noise: float, bias: float, repetitions: int) -> int:
    """How many of ``repetitions`` runs the control holds: 0/1 scores, a base of accuracy 0.8, tolerance 10 %.

    The path turns a share of ``noise`` over, as many right as wrong answers, and makes wrong what loses ``bias``
    tolerances.
    """
    evidence = ONE_LOOK.model_copy(update={"alpha": ONE_LOOK.alpha / MEASUREMENTS})
    count = 0
    for i in range(repetitions):
        rng = generator(SEED, f"zero-delta {items} {noise} {bias} {i}")
        base, zeros = _scores(items, noise, bias * FORGETTING.tolerance * ACCURACY, rng)
        count += not compare_with_itself(base, zeros, FORGETTING, evidence, i)["ok"]
    return count


def _scores(items: int, noise: float, loss: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Scores of the base and of an adapter of zeros, shape (items,), whose mean is lower by ``loss``."""
    right = rng.random(items) < ACCURACY
    turned = rng.random(items)
    to_wrong = turned < (noise / 2 + loss) / ACCURACY
    to_right = turned < noise / 2 / (1 - ACCURACY)
    zeros = np.where(right, ~to_wrong, to_right)
    return right.astype(np.float64), zeros.astype(np.float64)
