"""Words as numbers, and runs of words as 64-bit hashes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

BEGIN, END = "<begin of text>", "<end of text>"
"""Stand before and after each text. No word of a text has a space."""


class Vocabulary:
    """The words that matter: ``ids`` numbers them from 1, ``codes`` gives the hash of each; 0 is any other word."""

    def __init__(self, words: Iterable[str]) -> None:
        ordered = sorted({*words, BEGIN, END})
        self.ids: Mapping[str, int] = {word: i for i, word in enumerate(ordered, 1)}
        self.codes = np.array([0, *map(word_code, ordered)], dtype=np.uint64)


def word_code(word: str) -> int:
    """An odd 64-bit number for a word, the same in every process."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") | 1


def hash_rows(columns: Iterable[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Polynomial hash, modulo 2^64, of rows given column by column; shape (n,)."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    return functools.reduce(lambda total, column: total * factor + column, columns)


def windows(codes: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """Hash of every ``size`` neighbouring codes, shape (max(0, n - size + 1),)."""
    count = max(0, len(codes) - size + 1)
    return hash_rows([codes[k : k + count] for k in range(size)])


def look_up(sought: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each sought hash stands in the sorted ``hashes`` (of those that do), and a mask of which ones do."""
    if not len(hashes):
        return np.empty(0, np.int64), np.zeros(len(sought), np.bool_)
    nearest = np.minimum(np.searchsorted(hashes, sought), len(hashes) - 1)
    hit = hashes[nearest] == sought
    return nearest[hit].astype(np.int64), hit
