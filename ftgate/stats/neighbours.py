"""Distance of queries from a body of training rows: cosine distance to the k-th nearest neighbour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Distances:
    """``query`` has shape (n,), ``outside_p`` too; ``training`` has one leave-one-out distance a distinct row."""

    query: FloatArray
    outside_p: FloatArray
    training: FloatArray
    k: int


def neighbour_count(n_train: int) -> int:
    """K = 2.5 % of the training rows, at least 5 and at most 50 (and never more than there are)."""
    return max(1, min(int(np.clip(0.025 * n_train, 5, 50)), n_train - 1))


def distances(queries: FloatArray, training: FloatArray, k: int | None = None) -> Distances:
    """How far each query lies from the training rows, and how unusual that is among the training rows themselves.

    ``queries`` has shape (n, d), ``training`` (m, d). Each dimension is standardised on the training rows, each row
    scaled to length one, and repeated training rows dropped. The distance is 1 - cosine to the k-th nearest training
    row; a training row leaves itself out. ``outside_p`` is (1 + #{training distance >= query distance}) / (m + 1), the
    conformal p-value of Bates et al. 2023 (Testing for outliers with conformal p-values, section 2). Raises ValueError
    for values that are not finite, shapes that do not match, or fewer than 2 distinct training rows.
    """
    if queries.ndim != 2 or training.ndim != 2 or queries.shape[1] != training.shape[1]:
        raise ValueError(f"expected two tables of the same width, got {queries.shape} and {training.shape}")
    if not (np.isfinite(queries).all() and np.isfinite(training).all()):
        raise ValueError("an embedding holds a value that is not a finite number")
    distinct = np.unique(training, axis=0)
    if len(distinct) < 2:
        raise ValueError(f"only {len(distinct)} distinct training rows; at least 2 are needed")
    centre, spread = distinct.mean(axis=0), distinct.std(axis=0)
    # A dimension that never varies says nothing about distance; dividing by its spread would make noise of it.
    useful = spread > 1e-12 * (1 + np.abs(centre))
    rows = _unit((distinct[:, useful] - centre[useful]) / spread[useful])
    asked = _unit((queries[:, useful] - centre[useful]) / spread[useful])
    k = neighbour_count(len(rows)) if k is None else k
    if not 1 <= k < len(rows):
        raise ValueError(f"k = {k} neighbours asked of {len(rows)} distinct training rows")
    own = _kth(rows, rows, k, leave_out=True)
    query = _kth(asked, rows, k, leave_out=False)
    # How many training distances are at least as large: sorted once, looked up for each query.
    at_least = len(own) - np.searchsorted(np.sort(own), query, side="left")
    return Distances(query, (1 + at_least) / (len(own) + 1), own, k)


def _unit(table: FloatArray) -> FloatArray:
    length = np.linalg.norm(table, axis=1, keepdims=True)
    unit: FloatArray = table / np.where(length > 0, length, 1.0)
    return unit


def _kth(asked: FloatArray, rows: FloatArray, k: int, *, leave_out: bool) -> FloatArray:
    """Distance to the k-th nearest of ``rows``, in blocks so that memory stays at ``_BLOCK`` x m."""
    found = np.empty(len(asked))
    for start in range(0, len(asked), _BLOCK):
        block = 1.0 - asked[start : start + _BLOCK] @ rows.T
        if leave_out:
            block[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        found[start : start + _BLOCK] = np.partition(block, k - 1, axis=1)[:, k - 1]
    return np.maximum(found, 0.0)
