"""The space in which distances are measured: what the training rows make of an embedding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BLOCK = 4096
"""Rows that are read at once."""
AXES_ROWS = 20_000
"""Training rows that are enough to tell along which axes they lie."""


class Rows(Protocol):
    """A table of vectors, shape (n, d), of which blocks are read: an array, a memory map, or several files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class Space:
    """Dimensions standardised on the training rows, each vector scaled to length one.

    ``distinct`` are the places of the training rows, repeats left out. A dimension in which no two of them differ takes
    the middle spread of the others: what the training rows never had is what makes a query foreign.
    """

    distinct: IndexArray
    centre: FloatArray
    spread: FloatArray

    def unit(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Some rows in this space, in the precision in which they came; one that lies at the centre stays 0."""
        kind = rows.dtype if rows.dtype == np.float32 else np.dtype(np.float64)
        found: NDArray[Any] = np.subtract(rows, self.centre.astype(kind), dtype=kind)
        found /= self.spread.astype(kind)
        length = np.sqrt(np.einsum("ij,ij->i", found, found))[:, None]
        found /= np.where(length > 0, length, 1)
        return found


def space_of(training: Rows, most: int | None = None, rng: np.random.Generator | None = None) -> Space:
    """The space that ``training``, shape (m, d), spans; reads it three times, ``BLOCK`` rows in memory at once.

    Beside those it keeps 16 bytes of each row, by which repeats are found (BLAKE2b; alike in every bit, and 0 like
    -0). With ``most`` and ``rng`` no more than so many distinct rows count. Raises ValueError for a table of another
    form, fewer than 2 distinct rows, and values that are not finite, naming the row.
    """
    if len(training.shape) != 2:
        raise ValueError(f"expected a table of vectors, got the shape {training.shape}")
    distinct = _first_of_each(training)
    if len(distinct) < 2:
        raise ValueError(f"only {len(distinct)} distinct training rows; at least 2 are needed")
    if most is not None and rng is not None and len(distinct) > most:
        distinct = np.sort(rng.choice(distinct, most, replace=False))
    total = np.zeros(training.shape[1])
    for block in _blocks(training, distinct):
        total += block.sum(axis=0, dtype=np.float64)
    centre = total / len(distinct)
    squares = np.zeros(training.shape[1])
    for block in _blocks(training, distinct):
        squares += ((block - centre) ** 2).sum(axis=0, dtype=np.float64)
    spread = np.sqrt(squares / len(distinct))
    # Dividing by the spread of a dimension that does not vary would make noise of it.
    noise = 1e-12 if training[:1].dtype == np.float64 else 1e-6
    varies = spread > noise * (1 + np.abs(centre))
    middle = float(np.median(spread[varies])) if varies.any() else 1.0
    return Space(distinct, centre, np.where(varies, spread, middle))


def main_axes(training: Rows, space: Space, width: int) -> NDArray[Any]:
    """The ``width`` axes along which the training rows of a space reach farthest, shape (d, width), without centring.

    The eigenvectors of their second moments (Jolliffe 2002, Principal Component Analysis, chapter 2), in single
    precision, from evenly spaced rows: ``AXES_ROWS`` of them or a few more.
    """
    moments = np.zeros((training.shape[1],) * 2, dtype=np.float32)
    for block in _blocks(training, space.distinct[:: max(1, len(space.distinct) // AXES_ROWS)]):
        unit = space.unit(block).astype(np.float32)
        moments += unit.T @ unit
    axes: NDArray[Any] = np.ascontiguousarray(np.linalg.eigh(moments)[1][:, -width:])
    return axes


def require_finite(what: str, rows: NDArray[Any], start: int = 0) -> None:
    """Raise ValueError naming the first of ``rows`` that holds a value which is not a finite number."""
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ValueError(f"the embedding of {what} {start + int(bad[0]) + 1} holds a value that is not a finite number")


def _blocks(rows: Rows, index: IndexArray) -> Iterator[NDArray[Any]]:
    return (rows[index[start : start + BLOCK]] for start in range(0, len(index), BLOCK))


def _first_of_each(rows: Rows) -> IndexArray:
    """The places of the rows that no earlier row equals."""
    marks = np.empty(len(rows), dtype="V16")
    for start in range(0, len(rows), BLOCK):
        block = np.asarray(rows[start : start + BLOCK])
        require_finite("training row", block, start)
        plain = np.ascontiguousarray(block + block.dtype.type(0))
        marks[start : start + len(block)] = [hashlib.blake2b(row, digest_size=16).digest() for row in plain]
    halves = marks.view(np.uint64).reshape(len(marks), 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    again = (halves[order[1:]] == halves[order[:-1]]).all(axis=1)
    # lexsort is stable: of equal rows the first in the file comes first.
    return np.sort(order[np.concatenate([[True], ~again])]) if len(order) else order
