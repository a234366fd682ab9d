"""Item scores of both models: exact or bounded, by rule or from a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ftgate.domain import BoolArray, FloatArray, Item


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Item scores of both models, aligned: arrays of shape (n,), in [0, 1], higher is better.

    ``base_high``, ``candidate_low`` and so on bound a score that could not be read; otherwise they equal ``base`` and
    ``candidate``. ``graded`` marks items with scores in between, by a judge or by a rule such as F1; all others are
    right or wrong. ``retried`` counts judge replies that were requested twice, over everything scored together;
    ``averaged`` says whether a score may be the mean over several answers. Raises ValueError for an array without one
    entry per item.
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
    averaged: bool = False

    def __post_init__(self) -> None:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, values in arrays.items():
            if name not in ("items", "retried", "averaged") and np.shape(values) != (len(self.items),):
                raise ValueError(
                    f"{name} has shape {np.shape(values)}: expected one entry for each of {len(self.items)} items"
                )

    @classmethod
    def exact(cls, items: tuple[Item, ...], base: FloatArray, candidate: FloatArray, *, binary: bool) -> PairedScores:
        """Scores without any uncertainty."""
        graded = np.full(len(items), not binary)
        return cls(items, base, candidate, base, base, candidate, candidate, graded)

    @property
    def binary(self) -> bool:
        """Whether every item is right or wrong."""
        return not (self.averaged or self.graded.any())

    @property
    def is_exact(self) -> BoolArray:
        """Mask of the items whose scores are exact, not a range, for both models."""
        mask: BoolArray = (self.base_low == self.base_high) & (self.candidate_low == self.candidate_high)
        return mask

    @property
    def unreadable(self) -> int:
        """The number of scores, of both models together, that are known only as a range."""
        return int(np.sum(self.base_low != self.base_high) + np.sum(self.candidate_low != self.candidate_high))

    def subset(self, index: Sequence[int] | NDArray[np.int64]) -> PairedScores:
        """The scores of some items, in the order of ``index``."""
        rows = np.asarray(index, dtype=np.int64)
        return PairedScores(
            tuple(self.items[i] for i in rows),
            self.base[rows],
            self.candidate[rows],
            self.base_low[rows],
            self.base_high[rows],
            self.candidate_low[rows],
            self.candidate_high[rows],
            self.graded[rows],
            self.retried,
            self.averaged,
        )
