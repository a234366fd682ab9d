"""Item scores of both models: known or bounded, by rule or from a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ftgate.domain import BoolArray, FloatArray, Item


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Item scores of both models, aligned: arrays of shape (n,), in [0, 1], higher is better.

    ``base_high``, ``candidate_low`` and so on are the worst and best case where a score could not be read; they equal
    ``base`` and ``candidate`` where it could. ``graded`` marks the items that a judge graded; the others are right or
    wrong by rule. ``retried`` counts the judge's replies, on all that was scored together, that were asked for twice.
    Raises ValueError for an array that does not have one entry for each item.
    """

    items: tuple[Item, ...]
    base: FloatArray
    candidate: FloatArray
    base_low: FloatArray
    base_high: FloatArray
    candidate_low: FloatArray
    candidate_high: FloatArray
    graded: BoolArray
    retried: int = 0

    def __post_init__(self) -> None:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, values in arrays.items():
            if name not in ("items", "retried") and np.shape(values) != (len(self.items),):
                raise ValueError(
                    f"{name} has shape {np.shape(values)}: one entry for each of {len(self.items)} items was expected"
                )

    @classmethod
    def exact(cls, items: tuple[Item, ...], base: FloatArray, candidate: FloatArray, *, binary: bool) -> PairedScores:
        """Scores that are all known."""
        graded = np.full(len(items), not binary)
        return cls(items, base, candidate, base, base, candidate, candidate, graded)

    @property
    def binary(self) -> bool:
        """Whether every item is right or wrong."""
        return not self.graded.any()

    @property
    def known(self) -> BoolArray:
        """Of which items the scores of both models are known, and not only as a range."""
        known: BoolArray = (self.base_low == self.base_high) & (self.candidate_low == self.candidate_high)
        return known

    @property
    def unreadable(self) -> int:
        """How many scores, of both models together, are known only as a range."""
        return int(np.sum(self.base_low != self.base_high) + np.sum(self.candidate_low != self.candidate_high))

    def subset(self, index: Sequence[int] | NDArray[np.int64]) -> PairedScores:
        """The scores of some of the items, in the order of ``index``."""
        at = np.asarray(index, dtype=np.int64)
        return PairedScores(
            tuple(self.items[i] for i in at),
            self.base[at],
            self.candidate[at],
            self.base_low[at],
            self.base_high[at],
            self.candidate_low[at],
            self.candidate_high[at],
            self.graded[at],
            self.retried,
        )
