"""Word n-grams of many texts against those that are looked for, a batch of texts at a time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray


class Table:
    """The n-grams looked for, as 64-bit polynomial hashes of their words' codes, sorted for each size."""

    def __init__(self, grams: Sequence[tuple[str, ...]]) -> None:
        known = sorted({word for gram in grams for word in gram})
        self.ids: Mapping[str, int] = {word: i for i, word in enumerate(known, 1)}
        self.codes = np.array([0, *map(_code, known)], dtype=np.uint64)
        self.common = np.zeros(len(grams), dtype=np.bool_)
        self.sizes: dict[int, tuple[NDArray[np.uint64], NDArray[np.int64]]] = {}
        for size in {len(gram) for gram in grams}:
            places = [place for place, gram in enumerate(grams) if len(gram) == size]
            ids = np.array([[self.ids[word] for word in grams[place]] for place in places], dtype=np.int64)
            hashes = _hashed(self.codes[ids].T)
            order = np.argsort(hashes)
            self.sizes[size] = hashes[order], np.array(places, dtype=np.int64)[order]


class Batch:
    """Texts in a row, each word as its number in the table, 0 for any that no n-gram holds and between texts."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.starts: list[int] = []
        self.lines: list[int] = []
        self.texts: list[int] = []

    def add(self, line: int, said: list[str], table: Table) -> None:
        """One text of the row at ``line``, as its words."""
        self.starts.append(len(self.ids))
        self.lines.append(line)
        self.texts.append(hash(tuple(said)))
        self.ids.extend(map(table.ids.get, said, repeat(0)))
        self.ids.append(0)

    def matches(self, table: Table) -> Iterator[tuple[int, int, int]]:
        """Place in the table, line and text of every n-gram that is in both and not yet common."""
        ids = np.array(self.ids, dtype=np.int64)
        codes, at = table.codes[ids], np.arange(len(ids))
        gap = np.maximum.accumulate(np.where(ids == 0, at, -1)) if len(ids) else at
        starts = np.array(self.starts, dtype=np.int64)
        for size, (hashes, places) in table.sizes.items():
            first = np.flatnonzero(at - gap >= size) - size + 1
            sought = _hashed([codes[first + k] for k in range(size)])
            slot = np.minimum(np.searchsorted(hashes, sought), len(hashes) - 1)
            hit = hashes[slot] == sought
            gram, first = places[slot[hit]], first[hit]
            text = np.searchsorted(starts, first, side="right") - 1
            for place, k in zip(gram.tolist(), text.tolist(), strict=True):
                if not table.common[place]:
                    yield place, self.lines[k], self.texts[k]


def _code(word: str) -> int:
    """An odd 64-bit number for a word, the same in every process."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") | 1


def _hashed(columns: Iterable[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Polynomial hash, modulo 2^64, of rows that are given column by column; shape (n,)."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    return functools.reduce(lambda total, column: total * factor + column, columns)
