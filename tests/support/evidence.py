"""Evidence for a comparison, built from plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Estimate, Finding, Item, Message, Pair
from ftgate.measurements.base import Evidence, Measurement
from ftgate.scoring.scores import PairedScores
from ftgate.stats.seeding import generator
from ftgate.verdict import assess


def items(n: int, tags: Sequence[tuple[str, ...]] = (), clusters: Sequence[str | None] = ()) -> tuple[Item, ...]:
    """Items i0, i1, ... with four options, the first of them right."""
    return _items(n, tuple(tags), tuple(clusters))


@lru_cache(maxsize=64)  # simulations ask for the same ones in every run
def _items(n: int, tags: tuple[tuple[str, ...], ...], clusters: tuple[str | None, ...]) -> tuple[Item, ...]:
    plain = [Item(f"i{i}", (Message("user", f"question {i}"),), ("a", "b", "c", "d"), "a") for i in range(n)]
    tagged = [replace(item, tags=tags[i]) for i, item in enumerate(plain)] if tags else plain
    return tuple(replace(item, cluster=clusters[i]) for i, item in enumerate(tagged)) if clusters else tuple(tagged)


def right_or_wrong(both: int, gained: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """0/1 scores of base and candidate from how often both, one or none of them is right."""
    cells = (both, gained, lost, neither)
    return np.repeat([1.0, 0.0, 1.0, 0.0], cells), np.repeat([1.0, 1.0, 0.0, 0.0], cells)


def evidence_of(scored: PairedScores, **more: Any) -> Evidence:
    """One look at ``scored``, every answer said."""
    said = (Answer(text="x", tokens=1),)
    pairs = tuple(Pair(item, said, said) for item in scored.items)
    return Evidence(**{"pairs": pairs, "scored": scored, "alpha": 0.05, "draws": 400, **more})


def decided(measurement: Measurement, evidence: Evidence) -> Finding:
    """What the measurement's comparison is decided as."""
    return assess(described(measurement, evidence), EvidenceSettings())


def described(measurement: Measurement, evidence: Evidence, seed: int = 0) -> Estimate:
    """What the measurement's comparison says, with all that the report shows beside it."""
    estimate = measurement.compare(evidence, generator(seed, measurement.name))
    return measurement.with_details(estimate, evidence, generator(seed, f"{measurement.name} details"))
