"""Word n-grams of many texts against those that are looked for, a batch of texts at a time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

Hits = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""For each size the n-grams that were found, as places in the table, and where each begins."""


class NgramTable:
    """The n-grams looked for, as 64-bit polynomial hashes of their words' codes, sorted for each size.

    ``wholes`` are longer texts that begin with one of the n-grams, to be found as a whole.
    """

    def __init__(self, grams: Sequence[tuple[str, ...]], wholes: Sequence[tuple[str, ...]] = ()) -> None:
        known = sorted({word for gram in grams for word in gram})
        self.ids: Mapping[str, int] = {word: i for i, word in enumerate(known, 1)}
        self.codes = np.array([0, *map(_code, known)], dtype=np.uint64)
        self.common = np.zeros(len(grams), dtype=np.bool_)
        sizes = {len(gram) for gram in grams}
        beginnings = {whole[:size] for whole in wholes for size in sizes}
        self.begins = np.array([gram in beginnings for gram in grams], dtype=np.bool_)
        self.sizes = self._sorted(grams)
        self.wholes = self._sorted(wholes)

    def _sorted(self, texts: Sequence[tuple[str, ...]]) -> dict[int, tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """By size, the hashes of texts in order and the place of each."""
        found = {}
        for size in {len(text) for text in texts}:
            places = [place for place, text in enumerate(texts) if len(text) == size]
            ids = np.array([[self.ids[word] for word in texts[place]] for place in places], dtype=np.int64)
            hashes = _hashed(self.codes[ids].T)
            order = np.argsort(hashes)
            found[size] = hashes[order], np.array(places, dtype=np.int64)[order]
        return found


class Batch:
    """Texts in a row, each word as its number in the table, 0 for any that no n-gram holds and between texts."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.starts: list[int] = []
        self.lines: list[int] = []
        self.texts: list[int] = []

    def add(self, line: int, said: list[str], table: NgramTable) -> None:
        """One text of the row at ``line``, as its words."""
        self.starts.append(len(self.ids))
        self.lines.append(line)
        self.texts.append(hash(tuple(said)))
        self.ids.extend(map(table.ids.get, said, repeat(0)))
        self.ids.append(0)

    def hits(self, table: NgramTable) -> Hits:
        """Every n-gram that is in both, common or not."""
        found = []
        ids = np.array(self.ids, dtype=np.int64)
        codes, at = table.codes[ids], np.arange(len(ids))
        gap = np.maximum.accumulate(np.where(ids == 0, at, -1)) if len(ids) else at
        for size, (hashes, places) in table.sizes.items():
            first = np.flatnonzero(at - gap >= size) - size + 1
            sought = _hashed([codes[first + k] for k in range(size)])
            place, hit = _looked_up(sought, hashes, places)
            found.append((place, first[hit]))
        return found

    def matches(self, hits: Hits, table: NgramTable) -> Iterator[tuple[int, int, int]]:
        """Place in the table, line and text of every n-gram in ``hits`` that is not yet common."""
        for gram, first in hits:
            for place, k in zip(gram.tolist(), self._texts_at(first), strict=True):
                if not table.common[place]:
                    yield place, self.lines[k], self.texts[k]

    def held(self, hits: Hits, table: NgramTable) -> Iterator[tuple[int, int]]:
        """Place and line of every whole of ``table`` that stands in a text: looked for where ``hits`` let it begin."""
        codes = table.codes[np.array(self.ids, dtype=np.int64)]
        first = np.concatenate([at[table.begins[gram]] for gram, at in hits]) if hits else np.empty(0, np.int64)
        total = np.zeros(len(first), dtype=np.uint64)
        for k in range(max(table.wholes, default=0)):
            code = codes[np.minimum(first + k, len(codes) - 1)]  # the last one is 0, as is any that no whole holds
            first, total = first[code != 0], _hashed([total[code != 0], code[code != 0]])
            if not len(first):
                return
            if k + 1 in table.wholes:
                place, hit = _looked_up(total, *table.wholes[k + 1])
                for whole, text in zip(place.tolist(), self._texts_at(first[hit]), strict=True):
                    yield whole, self.lines[text]

    def _texts_at(self, at: NDArray[np.int64]) -> list[int]:
        found: list[int] = (np.searchsorted(np.array(self.starts, dtype=np.int64), at, side="right") - 1).tolist()
        return found


def _looked_up(
    sought: NDArray[np.uint64], hashes: NDArray[np.uint64], places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The places of those hashes that are known, and which ones these are."""
    slot = np.minimum(np.searchsorted(hashes, sought), len(hashes) - 1)
    hit = hashes[slot] == sought
    return places[slot[hit]], hit


def _code(word: str) -> int:
    """An odd 64-bit number for a word, the same in every process."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") | 1


def _hashed(columns: Iterable[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Polynomial hash, modulo 2^64, of rows that are given column by column; shape (n,)."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    return functools.reduce(lambda total, column: total * factor + column, columns)
