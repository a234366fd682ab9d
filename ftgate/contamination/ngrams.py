"""Word n-grams of many texts compared with the indexed ones, a batch of texts at a time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

Hits = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""For each n-gram size: table positions of the matches, and where each starts in the batch."""


class NgramTable:
    """The indexed n-grams as 64-bit polynomial hashes of their words' codes, sorted, by size.

    ``wholes`` are longer texts that start with one of the n-grams, to be matched as a whole.
    """

    def __init__(self, grams: Sequence[tuple[str, ...]], wholes: Sequence[tuple[str, ...]] = ()) -> None:
        vocabulary = sorted({word for gram in grams for word in gram})
        self.ids: Mapping[str, int] = {word: i for i, word in enumerate(vocabulary, 1)}
        self.codes = np.array([0, *map(_code, vocabulary)], dtype=np.uint64)
        self.common = np.zeros(len(grams), dtype=np.bool_)
        sizes = {len(gram) for gram in grams}
        beginnings = {whole[:size] for whole in wholes for size in sizes}
        self.begins = np.array([gram in beginnings for gram in grams], dtype=np.bool_)
        self.sizes = self._sorted(grams)
        self.wholes = self._sorted(wholes)

    def _sorted(self, texts: Sequence[tuple[str, ...]]) -> dict[int, tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """By size: the sorted hashes of the texts, and each one's position."""
        tables = {}
        for size in {len(text) for text in texts}:
            positions = [i for i, text in enumerate(texts) if len(text) == size]
            ids = np.array([[self.ids[word] for word in texts[i]] for i in positions], dtype=np.int64)
            hashes = _hash_rows(self.codes[ids].T)
            order = np.argsort(hashes)
            tables[size] = hashes[order], np.array(positions, dtype=np.int64)[order]
        return tables


class Batch:
    """Concatenated texts as word numbers of the table; 0 for words in no n-gram and between texts."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.starts: list[int] = []
        self.lines: list[int] = []
        self.texts: list[int] = []

    def add(self, line: int, text_words: list[str], table: NgramTable) -> None:
        """Add one text of the row at ``line``, given as its words."""
        self.starts.append(len(self.ids))
        self.lines.append(line)
        self.texts.append(hash(tuple(text_words)))
        self.ids.extend(map(table.ids.get, text_words, repeat(0)))
        self.ids.append(0)

    def hits(self, table: NgramTable) -> Hits:
        """All n-grams of the batch that are in the table, common or not."""
        hits = []
        ids = np.array(self.ids, dtype=np.int64)
        codes, positions = table.codes[ids], np.arange(len(ids))
        last_gap = np.maximum.accumulate(np.where(ids == 0, positions, -1)) if len(ids) else positions
        for size, (hashes, table_positions) in table.sizes.items():
            first = np.flatnonzero(positions - last_gap >= size) - size + 1
            candidates = _hash_rows([codes[first + k] for k in range(size)])
            gram, hit = _lookup(candidates, hashes, table_positions)
            hits.append((gram, first[hit]))
        return hits

    def matches(self, hits: Hits, table: NgramTable) -> Iterator[tuple[int, int, int]]:
        """(table position, line, text) of every n-gram in ``hits`` that is not common yet."""
        for gram, first in hits:
            for i, k in zip(gram.tolist(), self._text_numbers(first), strict=True):
                if not table.common[i]:
                    yield i, self.lines[k], self.texts[k]

    def whole_matches(self, hits: Hits, table: NgramTable) -> Iterator[tuple[int, int]]:
        """(position, line) of every whole text of ``table`` in the batch, checked only where ``hits`` let it start."""
        codes = table.codes[np.array(self.ids, dtype=np.int64)]
        first = np.concatenate([at[table.begins[gram]] for gram, at in hits]) if hits else np.empty(0, np.int64)
        total = np.zeros(len(first), dtype=np.uint64)
        for k in range(max(table.wholes, default=0)):
            # The last code is 0, like that of any word in no n-gram.
            code = codes[np.minimum(first + k, len(codes) - 1)]
            first, total = first[code != 0], _hash_rows([total[code != 0], code[code != 0]])
            if not len(first):
                return
            if k + 1 in table.wholes:
                positions, hit = _lookup(total, *table.wholes[k + 1])
                for whole, text in zip(positions.tolist(), self._text_numbers(first[hit]), strict=True):
                    yield whole, self.lines[text]

    def _text_numbers(self, at: NDArray[np.int64]) -> list[int]:
        numbers: list[int] = (np.searchsorted(np.array(self.starts, dtype=np.int64), at, side="right") - 1).tolist()
        return numbers


def _lookup(
    sought: NDArray[np.uint64], hashes: NDArray[np.uint64], positions: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The table positions of the ``sought`` hashes that exist, and a mask of which ones do."""
    nearest = np.minimum(np.searchsorted(hashes, sought), len(hashes) - 1)
    hit = hashes[nearest] == sought
    return positions[nearest[hit]], hit


def _code(word: str) -> int:
    """An odd 64-bit number for a word, the same in every process."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") | 1


def _hash_rows(columns: Iterable[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Polynomial hash, modulo 2^64, of rows given column by column; shape (n,)."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    return functools.reduce(lambda total, column: total * factor + column, columns)
