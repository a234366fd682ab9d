"""Distance of queries from a body of training rows: cosine distance to the k-th nearest neighbour.

Brute force in blocks, over rows that are standardised once and held in single precision. Where that would take more
than ``HELD`` numbers, their main axes alone are held and find ``CANDIDATES`` times as many neighbours as are asked for,
among which the k-th is then looked up in full width. Every distance that is reported is that of two given vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftgate.stats.space import BLOCK, FloatArray, IndexArray, Rows, Space, main_axes, require_finite, space_of

ASKED_BLOCK = 2048
"""Queries that are compared with a block of training rows at once: 32 MiB of single-precision similarities."""
HELD = 128_000_000
"""Numbers that are held of the training rows: half a gigabyte, which is 128 of each of 1,000,000 rows."""
CANDIDATES = 4
MOST_OWN = 10_000
"""Of more training rows than this a sample has its distances measured: they only give the scale, to 0.2 % of it."""
SCALE_ROWS = 2_000
"""Of more rows than this a sample shows how far apart they lie."""


@dataclass(frozen=True, slots=True)
class Distances:
    """``query`` has shape (n,), ``outside_p`` too; ``training`` has one leave-one-out distance a distinct row.

    Of more than ``MOST_OWN`` training rows, ``training`` is that of a sample. ``rows`` is how many distinct there are.
    """

    query: FloatArray
    outside_p: FloatArray
    training: FloatArray
    k: int
    rows: int


def neighbour_count(n_train: int) -> int:
    """K = 2.5 % of the training rows, at least 5 and at most 50 (and never more than there are)."""
    return max(1, min(int(np.clip(0.025 * n_train, 5, 50)), n_train - 1))


def distances(
    queries: Rows,
    training: Rows,
    k: int | None = None,
    *,
    rng: np.random.Generator | None = None,
    space: Space | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Distances:
    """How far each query lies from the training rows, and how unusual that is among the training rows themselves.

    ``queries`` has shape (n, d), ``training`` (m, d). Each dimension is standardised on the training rows, each row
    scaled to length one, and repeated training rows dropped. The distance is 1 - cosine to the k-th nearest training
    row; a training row leaves itself out. ``outside_p`` is (1 + #{training distance >= query distance}) / (r + 1) over
    the r training rows that were measured, the conformal p-value of Bates et al. 2023 (Testing for outliers with
    conformal p-values, section 2). With ``rng`` at most ``MOST_OWN`` of them are measured, drawn from it.

    Of more than ``HELD`` numbers the k-th neighbour is the k-th among ``CANDIDATES`` times k that are nearest along the
    main axes of the training rows (:func:`~ftgate.stats.space.main_axes`), for queries and training rows alike. That is
    at times a row a little farther out: a distance is never that of a nearer one than the k-th.

    Memory for single-precision rows of width d: ``HELD`` numbers (4 bytes each), 2048 x 4096 similarities and, at
    first, their order (150 MB together), four blocks of 4096 rows, 60 bytes a training row, and while axes are found
    20 d^2 bytes. For 1,000,000 rows that is under 0.8 GB up to d = 1024 and 1.1 GB at 4096, however many queries.
    ``on_progress`` gets the number of rows whose distance was found. Raises ValueError for values that are not finite,
    shapes that do not match, or fewer than 2 distinct training rows.
    """
    if len(queries.shape) != 2 or len(training.shape) != 2 or queries.shape[1] != training.shape[1]:
        raise ValueError(f"expected two tables of the same width, got {queries.shape} and {training.shape}")
    space = space_of(training) if space is None else space
    rows = space.distinct
    k = neighbour_count(len(rows)) if k is None else k
    if not 1 <= k < len(rows):
        raise ValueError(f"k = {k} neighbours asked of {len(rows)} distinct training rows")
    own_rows = np.arange(len(rows))
    if rng is not None and len(rows) > MOST_OWN:
        own_rows = np.sort(rng.choice(len(rows), MOST_OWN, replace=False))
    search = _Search.over(training, rows, space, k, on_progress)
    own = search.distances(training, rows[own_rows], own=own_rows)
    query = search.distances(queries, np.arange(len(queries)))
    # How many training distances are at least as large: sorted once, looked up for each query.
    at_least = len(own) - np.searchsorted(np.sort(own), query, side="left")
    return Distances(query, (1 + at_least) / (len(own) + 1), own, k, len(rows))


def nearest(queries: Rows, others: Rows, space: Space, k: int = 1, rows: IndexArray | None = None) -> FloatArray:
    """Cosine distance of each query to the k-th nearest of ``others`` (or of these ``rows`` of them), in ``space``."""
    chosen = np.arange(len(others)) if rows is None else rows
    return _Search.over(others, chosen, space, k).distances(queries, np.arange(len(queries)))


def spacing(rows: Rows, space: Space, rng: np.random.Generator) -> FloatArray:
    """Of each row the distance to its k-th nearest other, shape (n,): how far apart such rows ordinarily lie.

    Of more than ``SCALE_ROWS`` a sample is what is near or not: k is then 2.5 % of it, whatever their number. 0 for
    a row that is the only one.
    """
    n = len(rows)
    if n < 2:
        return np.zeros(n)
    chosen = np.arange(n) if n <= SCALE_ROWS else np.sort(rng.choice(n, SCALE_ROWS, replace=False))
    own = np.full(n, -1)
    own[chosen] = np.arange(len(chosen))
    search = _Search.over(rows, chosen, space, neighbour_count(len(chosen)))
    return search.distances(rows, np.arange(n), own=own)


@dataclass(frozen=True, slots=True)
class _Search:
    """The k nearest of the ``rows`` of ``table``. ``held`` are these in ``space``, along ``axes`` if there are any."""

    table: Rows
    rows: IndexArray
    space: Space
    k: int
    held: NDArray[Any]
    axes: NDArray[Any] | None
    on_progress: Callable[[int], None] | None

    @classmethod
    def over(
        cls, table: Rows, rows: IndexArray, space: Space, k: int, on_progress: Callable[[int], None] | None = None
    ) -> _Search:
        width = max(1, HELD // max(1, len(rows)))
        axes = main_axes(table, replace(space, distinct=rows), width) if table.shape[1] > width else None
        kind = np.float32 if table[:1].dtype == np.float32 else np.float64
        held = np.empty((len(rows), table.shape[1] if axes is None else width), dtype=kind)
        for start in range(0, len(rows), BLOCK):
            unit = space.unit(np.asarray(table[rows[start : start + BLOCK]]))
            held[start : start + BLOCK] = unit if axes is None else unit @ axes
        return cls(table, rows, space, k, held, axes, on_progress)

    def distances(self, asked: Rows, index: IndexArray, own: IndexArray | None = None) -> FloatArray:
        """The distances of some rows of ``asked``; ``own`` says which of ``rows`` each of them is, and leaves out."""
        found = np.empty(len(index))
        for start in range(0, len(index), ASKED_BLOCK):
            part = slice(start, start + ASKED_BLOCK)
            block = np.asarray(asked[index[part]])
            require_finite("query", block, start)
            found[part] = self._block(block, None if own is None else own[part])
            if self.on_progress is not None:
                self.on_progress(len(block))
        return found

    def _block(self, asked: NDArray[Any], own: IndexArray | None) -> FloatArray:
        unit = self.space.unit(asked)
        if self.axes is None:
            best, where = self._nearest(unit, self.k, own)
            last = where[np.arange(len(unit)), best.argmin(axis=1)]
        else:
            several = max(self.k, min(CANDIDATES * self.k, len(self.rows) - 1))
            last = self._kth_of(self._nearest(unit @ self.axes, several, own)[1], unit)
        # From the difference and in double precision: 1 - cosine of near neighbours would be all rounding.
        kth = self.space.unit(np.asarray(self.table[self.rows[last]]).astype(np.float64))
        apart = self.space.unit(asked.astype(np.float64)) - kth
        distance: FloatArray = np.einsum("ij,ij->i", apart, apart) / 2
        return distance

    def _nearest(self, unit: NDArray[Any], k: int, own: IndexArray | None) -> tuple[NDArray[Any], IndexArray]:
        """Likeness and place of the k held rows that are most like each of ``unit``, in no order."""
        best = np.full((len(unit), k), -np.inf, dtype=unit.dtype)
        where = np.zeros(best.shape, dtype=np.int64)
        room = np.empty((len(unit), min(BLOCK, len(self.rows))), dtype=unit.dtype)
        for start in range(0, len(self.rows), BLOCK):
            rows = self.held[start : start + BLOCK]
            likeness = np.matmul(unit, rows.T, out=room if len(rows) == room.shape[1] else None)
            if own is not None:
                mine = np.flatnonzero((own >= start) & (own < start + len(rows)))
                likeness[mine, own[mine] - start] = -np.inf
            best, where = _keep_best(best, where, likeness, start)
        return best, where

    def _kth_of(self, places: IndexArray, unit: NDArray[Any]) -> IndexArray:
        """Of the ``places``, shape (asked, several), that of the k-th nearest in full width."""
        found = np.empty(len(unit), dtype=np.int64)
        step = max(1, BLOCK // places.shape[1])
        for start in range(0, len(unit), step):
            some = places[start : start + step]
            rows = self.space.unit(np.asarray(self.table[self.rows[some.ravel()]]))
            likeness = np.einsum("ijd,id->ij", rows.reshape(*some.shape, -1), unit[start : start + step])
            kth = np.argpartition(-likeness, self.k - 1, axis=1)[:, self.k - 1]
            found[start : start + step] = some[np.arange(len(some)), kth]
        return found


def _keep_best(
    best: NDArray[Any], where: IndexArray, likeness: NDArray[Any], start: int
) -> tuple[NDArray[Any], IndexArray]:
    """The k highest of those known and of ``likeness``, shape (asked, block), whose first column is row ``start``."""
    k = best.shape[1]
    better = likeness > best.min(axis=1, keepdims=True)
    count = np.count_nonzero(better)
    if not count:
        return best, where
    if count > 4 * k * len(best):  # the first blocks: nearly all are better than nothing
        kept = min(k, likeness.shape[1])
        column = np.argpartition(likeness, -kept, axis=1)[:, -kept:]
        values, places = np.take_along_axis(likeness, column, axis=1), column + start
    else:  # later few are, and only they are looked at again
        row, column = np.divmod(np.flatnonzero(better), likeness.shape[1])
        counts = np.bincount(row, minlength=len(best))
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        values = np.full((len(best), counts.max()), -np.inf, dtype=best.dtype)
        places = np.zeros(values.shape, dtype=np.int64)
        values[row, place], places[row, place] = likeness[row, column], column + start
    values, places = np.hstack([best, values]), np.hstack([where, places])
    chosen = np.argpartition(values, -k, axis=1)[:, -k:]
    return np.take_along_axis(values, chosen, axis=1), np.take_along_axis(places, chosen, axis=1)
