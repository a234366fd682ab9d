"""Near duplicates: texts that have most of their words in common."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ftgate.contamination.overlap import Match

MIN_SIMILARITY = 0.8
"""Jaccard similarity of the word sets from which two texts count as near duplicates."""
MIN_WORDS = 8
"""Smaller word sets are ignored: a single word would decide."""


class NearDuplicates:
    """Finds texts whose word set nearly equals one of ``sets``; each set is looked for until its first match.

    Exact, by prefix filtering (Bayardo, Ma and Srikant 2007): if two sets A and B overlap enough, the ``len(A) -
    ceil(0.8 len(A)) + 1`` rarest words of A share a word with those of B, in one order of all words that puts words in
    no set first.
    """

    def __init__(self, sets: Sequence[frozenset[str]]) -> None:
        self._sets = sets
        self.matches: dict[int, Match] = {}
        frequency = Counter(word for group in sets for word in group)
        self._rank = {
            word: rank for rank, word in enumerate(sorted(frequency, key=lambda word: (frequency[word], word)))
        }
        self._vocabulary = set(self._rank)
        self._by_word: dict[str, set[int]] = defaultdict(set)
        sizes = [len(group) for group in sets if len(group) >= MIN_WORDS] or [0]
        self._min_words, self._max_words = MIN_SIMILARITY * min(sizes), max(sizes) / MIN_SIMILARITY
        for i, group in enumerate(sets):
            if len(group) >= MIN_WORDS:
                for word in self._prefix(group, len(group)):
                    self._by_word[word].add(i)

    def _prefix(self, indexed: Iterable[str], size: int) -> list[str]:
        """The indexed words among the rarest ones of a set of ``size`` words; ``indexed`` are its words in any set."""
        ordered = sorted(indexed, key=self._rank.__getitem__)
        unknown = size - len(ordered)
        return ordered[: max(0, size - math.ceil(MIN_SIMILARITY * size - 1e-9) + 1 - unknown)]

    def drop(self, i: int) -> None:
        """Stop looking for set ``i``."""
        for word in self._prefix(self._sets[i], len(self._sets[i])):
            self._by_word[word].discard(i)

    def compare(self, line: int, text_words: list[str]) -> None:
        """Compare one text with all sets."""
        if len(text_words) < self._min_words:
            return
        word_set = set(text_words)
        if not self._min_words <= len(word_set) <= self._max_words:
            return
        prefix = self._prefix(word_set & self._vocabulary, len(word_set))
        min_size, max_size = MIN_SIMILARITY * len(word_set) - 1e-9, len(word_set) / MIN_SIMILARITY + 1e-9
        for i in {i for word in prefix for i in self._by_word[word]}:
            if not min_size <= len(self._sets[i]) <= max_size:
                continue
            shared = len(self._sets[i] & word_set)
            similarity = shared / (len(self._sets[i]) + len(word_set) - shared)
            if similarity >= MIN_SIMILARITY - 1e-9:
                self.matches[i] = Match(line, "nearly the same words", similarity)
                self.drop(i)
