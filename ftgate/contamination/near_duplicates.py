"""Texts that are nearly the same: they have most of their words in common."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ftgate.contamination.overlap import Match

ALIKE = 0.8
"""Two texts whose sets of words overlap this much (Jaccard) are nearly the same."""
LEAST = 8
"""Sets of fewer words are left out: one word decides there."""


class NearDuplicates:
    """Finds texts whose set of words nearly equals one of ``sets``; each is looked for until it is found once.

    Exact, by prefix filtering (Bayardo, Ma and Srikant 2007): of two sets A and B that overlap enough, the
    ``len(A) - ceil(0.8 len(A)) + 1`` rarest words of A hold one of as many of B, in one order of all words, where
    those that no set holds come first.
    """

    def __init__(self, sets: Sequence[frozenset[str]]) -> None:
        self._sets = sets
        self.found: dict[int, Match] = {}
        often = Counter(word for group in sets for word in group)
        self._rank = {word: rank for rank, word in enumerate(sorted(often, key=lambda word: (often[word], word)))}
        self._known = set(self._rank)
        self._by_word: dict[str, set[int]] = defaultdict(set)
        sizes = [len(group) for group in sets if len(group) >= LEAST] or [0]
        self._least, self._most = ALIKE * min(sizes), max(sizes) / ALIKE
        for i, group in enumerate(sets):
            if len(group) >= LEAST:
                for word in self._rarest(group, len(group)):
                    self._by_word[word].add(i)

    def _rarest(self, known: Iterable[str], size: int) -> list[str]:
        """Of a set of ``size`` words, those among its rarest that any set holds; ``known`` are all that any holds."""
        ordered = sorted(known, key=self._rank.__getitem__)
        unknown = size - len(ordered)
        return ordered[: max(0, size - math.ceil(ALIKE * size - 1e-9) + 1 - unknown)]

    def drop(self, i: int) -> None:
        """Stop looking for one that was found."""
        for word in self._rarest(self._sets[i], len(self._sets[i])):
            self._by_word[word].discard(i)

    def compare(self, line: int, said: list[str]) -> None:
        """Look for every set in one text."""
        if len(said) < self._least:
            return
        given = set(said)
        if not self._least <= len(given) <= self._most:
            return
        rarest = self._rarest(given & self._known, len(given))
        least, most = ALIKE * len(given) - 1e-9, len(given) / ALIKE + 1e-9
        for i in {i for word in rarest for i in self._by_word[word]}:
            if not least <= len(self._sets[i]) <= most:
                continue
            shared = len(self._sets[i] & given)
            likeness = shared / (len(self._sets[i]) + len(given) - shared)
            if likeness >= ALIKE - 1e-9:
                self.found[i] = Match(line, "nearly the same words", likeness)
                self.drop(i)
