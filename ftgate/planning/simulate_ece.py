"""Monte-Carlo power of the calibration measurement. Pure, given the seed."""

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

SHARED_LUCK = 0.3
"""Share of items on which both models' answers depend on the same random draw; with more, fewer items are needed."""
REFERENCE_ITEMS, REFERENCE_RUNS, REFERENCE_DRAWS = 1000, 200, 200


@dataclass(frozen=True, slots=True)
class EceRise:
    """The rise of the calibration error (ECE), from one set of simulated runs of two calibrated models.

    Errors scale with 1 / sqrt(items). ``earlier_error`` is the standard error of an earlier run, and its number of
    items; ``pass_factor`` is how many times wider the interval is on the side of a pass. All looks of a run use the
    same deviation, which slightly underestimates what early stopping saves.
    """

    limit: float
    bins: int
    schedule: Schedule
    least_items: int
    seed: int
    earlier_error: tuple[float, int] | None = None
    pass_factor: float = PASS_FACTOR

    @property
    def farthest(self) -> float:
        """A model that is always certain and never right."""
        return 1.0

    def run(self, n: int, change: float) -> Outlook:
        """As in the protocol; the rise is assumed to be overconfidence."""
        rise, error, gap, gap_error = self._reference()
        outcome, items = np.zeros(len(rise)), np.full(len(rise), float(n))
        for fraction, bound in zip(self.schedule.fractions, self.schedule.boundaries, strict=True):
            size = look_size(fraction, n)
            noise = self._scale() / math.sqrt(size)
            high = change + noise * (rise + self.pass_factor * bound * error)
            gap_high = change + noise * (gap + bound * gap_error)
            passes = (np.maximum(high, gap_high) < self.limit) & (size >= self.least_items)
            blocks = change + noise * (rise - bound * error) > self.limit
            decided = (outcome == 0) * (passes * 1.0 - blocks)
            items[decided != 0] = size
            outcome += decided
        return outlook(n, outcome, items)

    def _scale(self) -> float:
        """The factor from the reference's errors to those of this measurement, times the root of the items."""
        root = math.sqrt(REFERENCE_ITEMS)
        if self.earlier_error is None:
            return root
        return self.earlier_error[0] * math.sqrt(self.earlier_error[1]) / float(self._reference()[1].mean())

    def _reference(self) -> FloatArray:
        return _calibrated(self.bins, self.seed)


@cache
def _calibrated(bins: int, seed: int) -> FloatArray:
    """Rise, its standard error, gap and its standard error, for two calibrated models, shape (4, runs)."""
    n, runs = REFERENCE_ITEMS, []
    for i in range(REFERENCE_RUNS):
        rng = generator(seed, f"plan calibration {i}")
        confidence, shared = 0.4 + 0.57 * rng.beta(2, 1.2, n), rng.random(n)
        own = np.where(rng.random(n) < SHARED_LUCK, shared, rng.random(n))
        right = [(luck < confidence).astype(float) for luck in (shared, own)]
        difference = ece_difference(confidence, right[0], confidence, right[1], rng, draws=REFERENCE_DRAWS, bins=bins)
        runs.append((difference.change, difference.standard_error, difference.gap, difference.gap_standard_error))
    return np.array(runs).T
