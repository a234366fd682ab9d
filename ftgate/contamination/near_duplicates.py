"""Near duplicates: texts that have most of their words in common."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ftgate.contamination.overlap import Match

MIN_SIMILARITY = 0.8
"""Jaccard similarity of the word sets from which two texts count as near duplicates."""
MIN_WORDS = 8
"""Smaller word sets are ignored: a single word would decide."""


FEW = 256
"""Up to so many sets are compared with a text one by one, more of them all at once."""


class NearDuplicates:
    """Finds texts whose word set nearly equals one of ``sets``; each set is looked for until its first match.

    Exact, by prefix filtering (Bayardo, Ma and Srikant 2007): if two sets A and B overlap enough, the ``len(A) -
    ceil(0.8 len(A)) + 1`` rarest words of A share a word with those of B, in one order of all words that puts words in
    no set first. Where nearly all texts are made of the same few words, that leaves too many sets: then the words that
    a text shares with each are counted, word by word.
    """

    def __init__(self, sets: Sequence[frozenset[str]]) -> None:
        self._sets = sets
        self.matches: dict[int, Match] = {}
        frequency = Counter(word for group in sets for word in group)
        self._rank = {
            word: rank for rank, word in enumerate(sorted(frequency, key=lambda word: (frequency[word], word)))
        }
        self._vocabulary = set(self._rank)
        self._sizes = np.array([len(group) for group in sets], dtype=np.int64)
        self._wanted = self._sizes >= MIN_WORDS
        sizes = self._sizes[self._wanted].tolist() or [0]
        self._min_words, self._max_words = MIN_SIMILARITY * min(sizes), max(sizes) / MIN_SIMILARITY
        wanted = np.flatnonzero(self._wanted).tolist()
        self._by_rare_word = _sets_by_word({i: self._prefix(sets[i], len(sets[i])) for i in wanted})
        self._by_word = _sets_by_word({i: sets[i] for i in wanted})

    def _prefix(self, indexed: Iterable[str], size: int) -> list[str]:
        """The indexed words among the rarest ones of a set of ``size`` words; ``indexed`` are its words in any set."""
        ordered = sorted(indexed, key=self._rank.__getitem__)
        unknown = size - len(ordered)
        return ordered[: max(0, size - math.ceil(MIN_SIMILARITY * size - 1e-9) + 1 - unknown)]

    def drop(self, i: int) -> None:
        """Stop looking for set ``i``."""
        self._wanted[i] = False

    def compare(self, line: int, text_words: list[str]) -> None:
        """Compare one text with all sets."""
        if len(text_words) < self._min_words:
            return
        word_set = set(text_words)
        if not self._min_words <= len(word_set) <= self._max_words:
            return
        indexed = word_set & self._vocabulary
        rare = [self._by_rare_word[word] for word in self._prefix(indexed, len(word_set)) if word in self._by_rare_word]
        if not rare:
            return
        if sum(map(len, rare)) <= FEW:
            near = np.array(sorted({i for sets in rare for i in sets.tolist()}), dtype=np.int64)
            near = near[self._wanted[near]]
            shared = np.array([len(self._sets[i] & word_set) for i in near.tolist()], dtype=np.int64)
        else:
            near = np.flatnonzero(self._wanted)
            holding = [self._by_word[word] for word in indexed if word in self._by_word]
            shared = np.bincount(np.concatenate(holding), minlength=len(self._sets))[near]
        similarity = shared / (self._sizes[near] + len(word_set) - shared)
        for at in np.flatnonzero(similarity >= MIN_SIMILARITY - 1e-9).tolist():
            i = int(near[at])
            self.matches[i] = Match(line, "nearly the same words", float(similarity[at]))
            self.drop(i)


def _sets_by_word(words: Mapping[int, Iterable[str]]) -> dict[str, NDArray[np.int64]]:
    """The numbers of the sets that hold each word."""
    by_word: dict[str, list[int]] = defaultdict(list)
    for i, of_set in words.items():
        for word in of_set:
            by_word[word].append(i)
    return {word: np.array(sets, dtype=np.int64) for word, sets in by_word.items()}
