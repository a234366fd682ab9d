"""Time of the statistics alone: one decision on four measurements of 2000 items each, with 2000 resamples."""

from __future__ import annotations

import time

import numpy as np

from ftgate.domain import Answer, Item, Message, Pair, TailMap
from ftgate.measurements.base import Evidence, Measurement
from ftgate.measurements.registry import MEASUREMENTS
from ftgate.scores import Scored
from ftgate.stats.seeding import generator

ITEMS, DRAWS = 2000, 2000


def evidence(graded: bool, rng: np.random.Generator) -> Evidence:
    """Random answers and scores for ``ITEMS`` items; a fifth of the items differ between the models."""
    items = tuple(Item(f"i{i}", (Message("user", "q"),), ("a", "b", "c", "d"), "a") for i in range(ITEMS))
    base = rng.beta(8, 2, ITEMS) if graded else (rng.random(ITEMS) < 0.8).astype(float)
    candidate = np.where(rng.random(ITEMS) < 0.2, rng.permutation(base), base)
    pairs = tuple(Pair(item, (_answer(rng),) * 2, (_answer(rng),) * 2) for item in items)
    tail = TailMap(tuple(i.id for i in items), tuple(rng.random(ITEMS)), tuple(rng.random(ITEMS)), 25, 1000, "random")
    return Evidence(pairs, Scored.exact(items, base, candidate, binary=not graded), 0.05, DRAWS, tail)


def _answer(rng: np.random.Generator) -> Answer:
    return Answer(option_logprobs=tuple(np.log(rng.dirichlet([4, 1, 1, 1])).tolist()))


def main() -> None:
    """Print one line a measurement and their sum."""
    rng = generator(0, "benchmark")
    total = 0.0
    for kind in MEASUREMENTS:
        measurement: Measurement = kind(dataset="none")
        given = evidence(measurement.reads == "judge", rng)
        started = time.perf_counter()
        measurement.compare(given, generator(0, measurement.name))
        seconds = time.perf_counter() - started
        total += seconds
        print(f"{measurement.name:<14}{seconds:>8.2f} s")
    print(f"{'all four':<14}{total:>8.2f} s   ({ITEMS} items each, {DRAWS} resamples)")
