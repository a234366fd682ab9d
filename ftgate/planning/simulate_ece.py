"""Playing runs of calibration that have not happened. Pure, given the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from ftgate.domain import FloatArray
from ftgate.measurements.calibration import PASS_FACTOR
from ftgate.planning.simulate import Schedule, outlook
from ftgate.stats.calibration import ece_difference
from ftgate.stats.power import Outlook
from ftgate.stats.seeding import generator
from ftgate.stats.sequential import look_size

ALIKE = 0.3
"""Share of answers that two calibrated models have in common beyond chance; with more, fewer items are needed."""
REFERENCE_ITEMS, REFERENCE_RUNS, REFERENCE_DRAWS = 1000, 200, 200


@dataclass(frozen=True, slots=True)
class EceRise:
    """The rise of the calibration error, from one set of simulated runs of two calibrated models.

    Their errors shrink with the square root of the number of items; ``known`` is the standard error that an earlier run
    found, and its number of items; ``pass_factor`` is how many times wider the interval is on the side of a pass. Looks
    are taken to err all in the same direction, which finds a little less saving than there is.
    """

    limit: float
    bins: int
    schedule: Schedule
    least: int
    seed: int
    known: tuple[float, int] | None = None
    pass_factor: float = PASS_FACTOR

    @property
    def farthest(self) -> float:
        """Always sure, never right."""
        return 1.0

    def run(self, n: int, change: float) -> Outlook:
        """As the protocol says; the rise is taken to be overconfidence."""
        rise, error, gap, gap_error = self._reference()
        outcome, items = np.zeros(len(rise)), np.full(len(rise), float(n))
        for fraction, bound in zip(self.schedule.fractions, self.schedule.boundaries, strict=True):
            size = look_size(fraction, n)
            noise = self._scale() / math.sqrt(size)
            high = change + noise * (rise + self.pass_factor * bound * error)
            gap_high = change + noise * (gap + bound * gap_error)
            passes = (np.maximum(high, gap_high) < self.limit) & (size >= self.least)
            blocks = change + noise * (rise - bound * error) > self.limit
            moved = (outcome == 0) * (passes * 1.0 - blocks)
            items[moved != 0] = size
            outcome += moved
        return outlook(n, outcome, items)

    def _scale(self) -> float:
        """How much the errors of one run, times the root of its items, differ from the reference's."""
        root = math.sqrt(REFERENCE_ITEMS)
        if self.known is None:
            return root
        return self.known[0] * math.sqrt(self.known[1]) / float(self._reference()[1].mean())

    def _reference(self) -> FloatArray:
        return _calibrated(self.bins, self.seed)


@cache
def _calibrated(bins: int, seed: int) -> FloatArray:
    """Rise, its standard error, gap and its standard error, shape (4, runs), of two calibrated models."""
    n, runs = REFERENCE_ITEMS, []
    for i in range(REFERENCE_RUNS):
        rng = generator(seed, f"plan calibration {i}")
        confidence, shared = 0.4 + 0.57 * rng.beta(2, 1.2, n), rng.random(n)
        own = np.where(rng.random(n) < ALIKE, shared, rng.random(n))
        right = [(luck < confidence).astype(float) for luck in (shared, own)]
        found = ece_difference(confidence, right[0], confidence, right[1], rng, draws=REFERENCE_DRAWS, bins=bins)
        runs.append((found.change, found.standard_error, found.gap, found.gap_standard_error))
    return np.array(runs).T
