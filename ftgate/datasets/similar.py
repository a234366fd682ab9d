"""Near duplicates among texts, by MinHash (Broder 1997) over character 5-grams."""

from __future__ import annotations

MIN_SIMILARITY = 0.8
"""Two texts with this Jaccard similarity of their character 5-grams count as near duplicates."""
PERMUTATIONS = 64


class SimilarTexts:
    """Texts of which none is a near duplicate of another."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._index = MinHashLSH(threshold=MIN_SIMILARITY, num_perm=PERMUTATIONS)
        self._shingles: dict[int, frozenset[str]] = {}

    def add(self, number: int, text: str) -> int | None:
        """Add ``text`` under ``number``, or give the number of one that it is a near duplicate of."""
        from datasketch import MinHash

        shingles = _shingles(text)
        signature = MinHash(num_perm=PERMUTATIONS, seed=1)
        signature.update_batch([part.encode("utf-8") for part in sorted(shingles)])
        for other in sorted(self._index.query(signature)):
            others = self._shingles[other]
            if len(shingles & others) >= MIN_SIMILARITY * len(shingles | others):
                return int(other)
        self._index.insert(number, signature)
        self._shingles[number] = shingles
        return None


def _shingles(text: str) -> frozenset[str]:
    """The character 5-grams of a text, case-folded."""
    plain = " ".join(text.casefold().split())
    return frozenset(plain[i : i + 5] for i in range(max(1, len(plain) - 4)))
