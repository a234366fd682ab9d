"""Monte-Carlo power: how often each kind of measurement passes or blocks in simulated runs. Pure, given the seed."""

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
"""Distinct values of an earlier run's scores that the simulation keeps; similar ones are merged."""

Answered = Callable[[int, float], Outlook]
"""The shares of outcomes with ``n`` units at a true change: (n, change) -> Outlook."""

POWER = 0.8
"""The probability with which a plan wants a good candidate to pass, and a bad one to be blocked."""
MOST_ITEMS = 1_000_000
"""The largest number of items that a plan suggests."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The looks of a run: the share of items at each, its one-sided level, and the level ``alpha`` of all together."""

    fractions: tuple[float, ...]
    levels: tuple[float, ...]
    alpha: float

    @property
    def boundaries(self) -> tuple[float, ...]:
        """The critical value of each look, in standard errors."""
        return tuple(normal.critical(level) for level in self.levels)


class Simulated(Protocol):
    """A measurement that can be simulated."""

    @property
    def farthest(self) -> float:
        """The largest possible change."""
        ...

    def run(self, n: int, change: float) -> Outlook:
        """Simulate runs with ``n`` units at a true change of ``change``: the shares that pass and block."""
        ...


@dataclass(frozen=True, slots=True)
class PairedPopulation:
    """The joint distribution of both models' scores: base scores ``b``, candidate scores ``c`` and their ``weights``.

    All arrays have shape (k,); ``weights`` sum to 1. ``learned`` says whether it comes from an earlier run.
    """

    b: FloatArray
    c: FloatArray
    weights: FloatArray
    learned: bool
    binary: bool = True

    @classmethod
    def assumed(cls, base: float, phi: float) -> PairedPopulation:
        """0/1 scores, both models equally accurate: of all scores from 0 to 1 these have the largest variance."""
        both = base * base + phi * base * (1 - base)
        return _paired_binary(np.array([both, base - both, base - both, 1 - 2 * base + both]), learned=False)

    @classmethod
    def learned_from(cls, base: FloatArray, candidate: FloatArray, *, binary: bool) -> PairedPopulation:
        """The distribution of an earlier run's scores.

        For 0/1 scores a quarter of an item is added to each of the four cells, so that an outcome that did not occur in
        that run is not taken to be impossible.
        """
        if not binary:
            return cls(base, candidate, np.full(len(base), 1 / len(base)), learned=True, binary=False)
        both, right_b, right_c = float(np.sum(base * candidate)), float(base.sum()), float(candidate.sum())
        cells = np.array([both, right_c - both, right_b - both, len(base) - right_b - right_c + both]) + 0.25
        return _paired_binary(cells / cells.sum(), learned=True)

    def averaged(self, noise: float, share: float = 1.0) -> PairedPopulation:
        """The population with the variance of the difference within an item reduced to ``noise`` of it.

        That is what averaging several answers to an item does, on a ``share`` of the items: where the candidate lost
        nothing, the two models differ on an item by chance alone, as two answers of one model do.
        """
        if noise == 1.0:
            return self
        middle, half = (self.b + self.c - self.gain) / 2, (self.c - self.gain - self.b) / 2
        shrunk = math.sqrt(noise) * half
        b, c = np.concatenate([middle - shrunk, self.b]), np.concatenate([middle + shrunk + self.gain, self.c])
        weights = np.concatenate([share * self.weights, (1 - share) * self.weights])
        return PairedPopulation(b, c, weights, self.learned, binary=False)

    @property
    def base(self) -> float:
        """Mean base score."""
        return float(self.weights @ self.b)

    @property
    def gain(self) -> float:
        """Mean gain of the candidate over the base."""
        return float(self.weights @ (self.c - self.b))

    @property
    def phi(self) -> float:
        """Correlation of the two models' scores; 1 if one of them never varies."""
        b, c = self.b - self.base, self.c - float(self.weights @ self.c)
        spread = math.sqrt(float(self.weights @ b**2) * float(self.weights @ c**2))
        return float(self.weights @ (b * c)) / spread if spread > 0 else 1.0


def _paired_binary(cells: FloatArray, *, learned: bool) -> PairedPopulation:
    return PairedPopulation(np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0]), cells, learned)


@dataclass(frozen=True, slots=True)
class BinaryDrop:
    """The relative drop of 0/1 scores, simulated with the score test that decides it."""

    base: float
    phi: float
    limit: float
    schedule: Schedule
    seed: int
    name: str

    @property
    def farthest(self) -> float:
        """A complete loss."""
        return 1.0

    def run(self, n: int, change: float) -> Outlook:
        """As in the protocol. A phi that is impossible for both accuracies is replaced by the nearest possible one."""
        return power_by_simulation(
            self.base,
            _feasible_phi(self.phi, self.base, self.base * (1 - change)),
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
        """Items needed by formula, for one look."""
        phi, alpha = _feasible_phi(self.phi, self.base, self.base * (1 - change)), self.schedule.alpha
        return items_needed(self.base, phi, self.limit, true_drop=change, power=power, alpha=alpha)


def _feasible_phi(phi: float, base: float, candidate: float) -> float:
    spread = math.sqrt(base * (1 - base) * candidate * (1 - candidate))
    if spread <= 0:
        return 0.0
    low, high = max(0.0, base + candidate - 1), min(base, candidate)
    return min(max(phi, (low - base * candidate) / spread), (high - base * candidate) / spread)


@dataclass(frozen=True, slots=True)
class MeanContrast:
    """Any other scores: tests whether the mean of a contrast w exceeds 0, at a chosen true change.

        gain   w = c - b - limit                      passes above 0
        loss   w = c - b + limit                      the absolute drop, if the base scores close to nothing
        drop   w = c - (1 - limit) b - limit floor    the relative drop above ``floor``, a judge's score for nonsense

    Source: methods, section 3. Differences: normal quantiles replace the bootstrap's; differences of 0/1 scores have
    their variance at the limit, as in the score test. A drop turns answers worthless, and a gain beyond the earlier one
    turns answers perfect, because this gives the largest variance.
    """

    paired: PairedPopulation
    kind: Literal["gain", "loss", "drop"]
    limit: float
    floor: float
    schedule: Schedule
    least_items: int
    seed: int
    name: str

    @property
    def farthest(self) -> float:
        """Everything that can be gained or lost."""
        return {"gain": 1 - self.paired.base, "loss": self._base_excess, "drop": 1.0}[self.kind]

    @property
    def _base_excess(self) -> float:
        """The base score above the floor: what can be lost."""
        return max(self.paired.base - self.floor, 1e-9)

    def population(self, change: float) -> tuple[FloatArray, FloatArray]:
        """The contrast w and its square, shape (k, 2), and the weights (k,), for this true change.

        More than ``GROUPS`` values are merged into groups of similar ones.
        """
        b, gain = self.paired.b, self.paired.gain
        start = min(max(gain, 0.0), change) if self.kind == "gain" else 0.0
        c, end, share_moved = self.paired.c + start - gain, 1.0, 0.0
        if self.kind == "gain":
            share_moved = (change - start) / max(1 - self.paired.base - start, 1e-9)
            if change < 0:  # items that are lost, as chance moves those that are gained
                c, end, share_moved = self.paired.c - gain, 0.0, -change / max(self.paired.base, 1e-9)
        else:
            end, share_moved = self.floor, change / (1.0 if self.kind == "drop" else self._base_excess)
        share_moved = min(share_moved, 1.0)
        w = np.concatenate([self._contrast(b, c), self._contrast(b, np.full(len(b), end))])
        weights = np.concatenate([self.paired.weights * (1 - share_moved), self.paired.weights * share_moved])
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
        """As in the protocol."""
        rng, (columns, weights) = generator(self.seed, f"plan {self.name}"), self.population(change)
        sums, outcome = np.zeros((REPETITIONS, 2)), np.zeros(REPETITIONS)
        items, seen = np.full(REPETITIONS, float(n)), 0
        centre = 0.0 if self.paired.binary and self.kind != "drop" else 1.0
        # An absolute drop only passes at the last look.
        least_items = max(self.least_items, n) if self.kind == "loss" else self.least_items
        for fraction, bound in zip(self.schedule.fractions, self.schedule.boundaries, strict=True):
            size = look_size(fraction, n)
            sums += rng.multinomial(size - seen, weights, size=REPETITIONS) @ columns
            seen = size
            if size < 2:
                continue
            mean = sums[:, 0] / size
            variance = np.maximum(sums[:, 1] / size - centre * mean**2, 0.0) * size / (size - 1) + 1 / size**2
            z, undecided = mean * np.sqrt(size / variance), outcome == 0
            decided = undecided * ((z > bound) & (size >= least_items)) - 1.0 * (undecided & (z < -bound))
            items[decided != 0] = size
            outcome += decided
        return outlook(n, outcome, items)

    def items(self, change: float, power: float) -> int | None:
        """Units needed by formula, for one look; None if that change is beyond the limit."""
        columns, weights = self.population(change)
        mean, square = (float(value) for value in weights @ columns)
        if mean <= 0:
            return None
        z = normal.critical(self.schedule.alpha) + normal.quantile(power)
        exact = z**2 * (square - mean**2) / mean**2
        return max(math.ceil(exact - 1e-9), self.least_items, 2)


def outlook(n: int, outcome: FloatArray, items: FloatArray) -> Outlook:
    """The shares of runs that passed (+1), blocked (-1) and did neither (0), and the mean number of items asked."""
    passed, blocked = float(np.mean(outcome > 0)), float(np.mean(outcome < 0))
    return Outlook(n, passed, blocked, float(np.mean(outcome == 0)), float(items.mean()))


def smallest_detected(detected: Callable[[float], bool], low: float, high: float) -> float | None:
    """The smallest change between ``low`` and ``high`` that is ``detected``, to 0.1 %; None if ``high`` is not."""
    if high <= low or not detected(high):
        return None
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if detected(middle) else (middle, high)
    return high


def needed_units(run: Answered, good: float, start: int) -> int | None:
    """The smallest number of units with which a good candidate passes with 80 %, to within 1 %."""
    low, high = 1, max(start, 2)
    while run(high, good).passed < POWER:
        low, high = high, 2 * high
        if high > MOST_ITEMS:
            return None
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if run(middle, good).passed >= POWER else (middle, high)
    return high
