"""Playing runs that have not happened: how often each kind of measurement would pass or block. Pure, given the seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ftgate.domain import FloatArray
from ftgate.stats import normal
from ftgate.stats.power import Outlook, items_needed, power_by_simulation
from ftgate.stats.seeding import generator
from ftgate.stats.sequential import look_size

REPETITIONS = 3000
GROUPS = 24
"""Values of an earlier run that are told apart when runs are played."""

Answered = Callable[[int, float], Outlook]
"""What n units lead to when the true change is the given one."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The looks of a run: shares of the items seen, the one-sided level of each, and of all of them together."""

    fractions: tuple[float, ...]
    levels: tuple[float, ...]
    alpha: float

    @property
    def boundaries(self) -> tuple[float, ...]:
        """The standard errors that each look asks for."""
        return tuple(normal.critical(level) for level in self.levels)


class Simulated(Protocol):
    """A measurement that can be played."""

    @property
    def farthest(self) -> float:
        """The largest change there can be."""
        ...

    def run(self, n: int, change: float) -> Outlook:
        """Shares that pass and block with ``n`` units, at a true change of ``change``."""
        ...


@dataclass(frozen=True, slots=True)
class PairedPopulation:
    """Scores of both models that stand for a population: ``weights`` sum to 1, all arrays have shape (k,).

    ``base`` is the mean base score; ``phi`` the correlation of the two models' scores.
    """

    b: FloatArray
    c: FloatArray
    weights: FloatArray
    learned: bool
    binary: bool = True

    @classmethod
    def assumed(cls, base: float, phi: float) -> PairedPopulation:
        """Right or wrong, both models equally often: among scores from 0 to 1 these scatter most."""
        both = base * base + phi * base * (1 - base)
        return _four(np.array([both, base - both, base - both, 1 - 2 * base + both]), learned=False)

    @classmethod
    def learned_from(cls, base: FloatArray, candidate: FloatArray, *, binary: bool) -> PairedPopulation:
        """The scores of an earlier run.

        For 0/1 scores a quarter of an item is added to each of the four cases, so that what did not happen in that run
        is not taken to be impossible.
        """
        if not binary:
            return cls(base, candidate, np.full(len(base), 1 / len(base)), learned=True, binary=False)
        both, right_b, right_c = float(np.sum(base * candidate)), float(base.sum()), float(candidate.sum())
        cells = np.array([both, right_c - both, right_b - both, len(base) - right_b - right_c + both]) + 0.25
        return _four(cells / cells.sum(), learned=True)

    @property
    def base(self) -> float:
        """Mean base score."""
        return float(self.weights @ self.b)

    @property
    def gain(self) -> float:
        """Mean gain of the candidate."""
        return float(self.weights @ (self.c - self.b))

    @property
    def phi(self) -> float:
        """Correlation of the two models' scores; 1 where one of them never varies."""
        b, c = self.b - self.base, self.c - float(self.weights @ self.c)
        spread = math.sqrt(float(self.weights @ b**2) * float(self.weights @ c**2))
        return float(self.weights @ (b * c)) / spread if spread > 0 else 1.0


def _four(cells: FloatArray, *, learned: bool) -> PairedPopulation:
    return PairedPopulation(np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0]), cells, learned)


@dataclass(frozen=True, slots=True)
class BinaryDrop:
    """The relative drop of 0/1 scores, by the score test that decides it."""

    base: float
    phi: float
    limit: float
    schedule: Schedule
    seed: int
    name: str

    @property
    def farthest(self) -> float:
        """Nothing is left."""
        return 1.0

    def run(self, n: int, change: float) -> Outlook:
        """As the protocol says. A phi that the two accuracies cannot have gives way to the nearest that they can."""
        return power_by_simulation(
            self.base,
            _possible(self.phi, self.base, self.base * (1 - change)),
            self.limit,
            n,
            generator(self.seed, f"plan {self.name}"),
            true_drop=change,
            alpha=self.schedule.alpha,
            repetitions=REPETITIONS,
            fractions=self.schedule.fractions,
            boundaries=self.schedule.boundaries,
        )

    def items(self, change: float, power: float) -> int:
        """Items needed, by formula, for one look."""
        phi, alpha = _possible(self.phi, self.base, self.base * (1 - change)), self.schedule.alpha
        return items_needed(self.base, phi, self.limit, true_drop=change, power=power, alpha=alpha)


def _possible(phi: float, base: float, candidate: float) -> float:
    spread = math.sqrt(base * (1 - base) * candidate * (1 - candidate))
    if spread <= 0:
        return 0.0
    least, most = max(0.0, base + candidate - 1), min(base, candidate)
    return min(max(phi, (least - base * candidate) / spread), (most - base * candidate) / spread)


@dataclass(frozen=True, slots=True)
class MeanContrast:
    """Scores of any kind: the mean of a contrast w against 0, at a true change that can be chosen.

        gain   w = c - b - limit                      passes above 0
        loss   w = c - b + limit                      the absolute drop, where the base scores next to nothing
        drop   w = c - (1 - limit) b - limit floor    the relative drop, above what a judge gives to worthless answers

    Source: methods, section 3. Departures: the normal quantile stands in for the bootstrap's; differences of 0/1 scores
    take the variance that they have on the limit, as the score test does. A drop comes about as answers that are worth
    nothing more, a gain beyond the earlier one as answers that become perfect: of all ways these scatter most.
    """

    table: PairedPopulation
    kind: Literal["gain", "loss", "drop"]
    limit: float
    floor: float
    schedule: Schedule
    least: int
    seed: int
    name: str

    @property
    def farthest(self) -> float:
        """All that can be gained, or lost."""
        return {"gain": 1 - self.table.base, "loss": self._worth, "drop": 1.0}[self.kind]

    @property
    def _worth(self) -> float:
        """What the base has to lose."""
        return max(self.table.base - self.floor, 1e-9)

    def population(self, change: float) -> tuple[FloatArray, FloatArray]:
        """The contrast w and its square, shape (k, 2), and the weights (k,) of a population with this true change.

        Of many values, like ones are put together.
        """
        b, gain = self.table.b, self.table.gain
        start = min(max(gain, 0.0), change) if self.kind == "gain" else 0.0
        c, end, moved = self.table.c + start - gain, 1.0, 0.0
        if self.kind == "gain":
            moved = (change - start) / max(1 - self.table.base - start, 1e-9)
        else:
            end, moved = self.floor, change / (1.0 if self.kind == "drop" else self._worth)
        moved = min(moved, 1.0)
        w = np.concatenate([self._contrast(b, c), self._contrast(b, np.full(len(b), end))])
        weights = np.concatenate([self.table.weights * (1 - moved), self.table.weights * moved])
        columns, weights = np.column_stack([w, w * w])[weights > 0], weights[weights > 0]
        weights = weights / weights.sum()
        if len(weights) <= GROUPS:
            return columns, weights
        groups = np.array_split(np.argsort(columns[:, 0], kind="stable"), GROUPS)
        means = np.array([np.average(columns[g], axis=0, weights=weights[g]) for g in groups])
        return means, np.array([weights[g].sum() for g in groups])

    def _contrast(self, b: FloatArray, c: FloatArray) -> FloatArray:
        if self.kind == "drop":
            return c - (1 - self.limit) * b - self.limit * self.floor
        return c - b + (self.limit if self.kind == "loss" else -self.limit)

    def run(self, n: int, change: float) -> Outlook:
        """As the protocol says."""
        rng, (columns, weights) = generator(self.seed, f"plan {self.name}"), self.population(change)
        sums, outcome = np.zeros((REPETITIONS, 2)), np.zeros(REPETITIONS)
        items, seen = np.full(REPETITIONS, float(n)), 0
        centre = 0.0 if self.table.binary and self.kind != "drop" else 1.0
        least = max(self.least, n) if self.kind == "loss" else self.least  # an absolute drop passes at the end alone
        for fraction, bound in zip(self.schedule.fractions, self.schedule.boundaries, strict=True):
            size = look_size(fraction, n)
            sums += rng.multinomial(size - seen, weights, size=REPETITIONS) @ columns
            seen = size
            if size < 2:
                continue
            mean = sums[:, 0] / size
            variance = np.maximum(sums[:, 1] / size - centre * mean**2, 0.0) * size / (size - 1) + 1 / size**2
            z, still = mean * np.sqrt(size / variance), outcome == 0
            moved = still * ((z > bound) & (size >= least)) - 1.0 * (still & (z < -bound))
            items[moved != 0] = size
            outcome += moved
        return outlook(n, outcome, items)

    def items(self, change: float, power: float) -> int | None:
        """Units needed, by formula, for one look; None where that change lies beyond the limit."""
        columns, weights = self.population(change)
        mean, square = (float(value) for value in weights @ columns)
        if mean <= 0:
            return None
        z = normal.critical(self.schedule.alpha) + normal.quantile(power)
        exact = z**2 * (square - mean**2) / mean**2
        return max(math.ceil(exact - 1e-9), self.least, 2)


def outlook(n: int, outcome: FloatArray, items: FloatArray) -> Outlook:
    """Shares of runs that passed (+1), blocked (-1) and did neither (0)."""
    passed, blocked = float(np.mean(outcome > 0)), float(np.mean(outcome < 0))
    return Outlook(n, passed, blocked, float(np.mean(outcome == 0)), float(items.mean()))
