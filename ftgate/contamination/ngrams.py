"""Word n-grams of many texts compared with the indexed ones, a batch of texts at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from ftgate.contamination.shared_text import WINDOW, SharedText
from ftgate.contamination.vocabulary import BEGIN, END, Vocabulary, hash_rows, look_up

Hits = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""For each n-gram size: table positions of the matches, and where each starts in the batch."""


class NgramTable:
    """The indexed n-grams as 64-bit polynomial hashes of their words' codes, sorted, by size.

    ``wholes`` are longer texts that start with one of the n-grams, to be matched as a whole.
    """

    def __init__(
        self, grams: Sequence[tuple[str, ...]], vocabulary: Vocabulary, wholes: Sequence[tuple[str, ...]] = ()
    ) -> None:
        self._vocabulary = vocabulary
        self.common = np.zeros(len(grams), dtype=np.bool_)
        self.sizes = self._sorted(grams)
        self.wholes = self._sorted(wholes)

    def _sorted(self, texts: Sequence[tuple[str, ...]]) -> dict[int, tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """By size: the sorted hashes of the texts, and each one's position."""
        tables = {}
        for size in {len(text) for text in texts}:
            positions = [i for i, text in enumerate(texts) if len(text) == size]
            ids = np.array([[self._vocabulary.ids[word] for word in texts[i]] for i in positions], dtype=np.int64)
            hashes = hash_rows(self._vocabulary.codes[ids].T)
            order = np.argsort(hashes)
            tables[size] = hashes[order], np.array(positions, dtype=np.int64)[order]
        return tables

    def hits(self, words: Words) -> Hits:
        """All n-grams of the ``words`` that are in the table, common or not."""
        hits = []
        positions = np.arange(len(words.ids))
        last_gap = np.maximum.accumulate(np.where(words.ids == 0, positions, -1)) if len(positions) else positions
        for size, (hashes, table_positions) in self.sizes.items():
            first = np.flatnonzero(positions - last_gap >= size) - size + 1
            position, hit = look_up(hash_rows([words.codes[first + k] for k in range(size)]), hashes)
            hits.append((table_positions[position], first[hit]))
        return hits

    def whole_matches(self, words: Words) -> Iterator[tuple[int, int]]:
        """(position, text) of every whole text of the table in the ``words``, sought where an n-gram lets it start."""
        starts = [first for _, first in self.hits(words)]
        first = np.concatenate(starts) if starts else np.empty(0, np.int64)
        total = np.zeros(len(first), dtype=np.uint64)
        for k in range(max(self.wholes, default=0)):
            # The last code is 0, like that of any word in no n-gram.
            code = words.codes[np.minimum(first + k, len(words.codes) - 1)]
            first, total = first[code != 0], hash_rows([total[code != 0], code[code != 0]])
            if not len(first):
                return
            if k + 1 in self.wholes:
                hashes, positions = self.wholes[k + 1]
                position, hit = look_up(total, hashes)
                yield from zip(positions[position].tolist(), words.texts_at(first[hit]).tolist(), strict=True)


@dataclass(frozen=True, slots=True)
class Words:
    """Texts one after the other as word numbers, shape (n,): 0 for words in no n-gram and after each text.

    ``starts`` says where each text starts; ``opens`` and ``closes`` whether it starts with its very first word and ends
    with its very last one, which masking can change; shape (texts,).
    """

    ids: NDArray[np.int64]
    codes: NDArray[np.uint64]
    starts: NDArray[np.int64]
    opens: NDArray[np.bool_]
    closes: NDArray[np.bool_]

    def texts_at(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """The text that each position is in."""
        return np.searchsorted(self.starts, at, side="right") - 1

    def text(self, number: int) -> NDArray[np.int64]:
        """The word numbers of one text."""
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.ids)
        return self.ids[self.starts[number] : end - 1]


class Batch:
    """Texts collected for a vocabulary, to be compared at once: ``lines``, ``rows`` and ``turns`` belong to each.

    ``lines`` are those of the rows, ``rows`` tell different rows apart, and ``turns`` are the words of what a user said
    and None for other texts.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._marks = [vocabulary.ids[BEGIN]] * (WINDOW - 1), [vocabulary.ids[END]] * (WINDOW - 1)
        self.ids: list[int] = []
        self.starts: list[int] = []
        self.lines: list[int] = []
        self.rows: list[int] = []
        self.turns: list[list[str] | None] = []

    def add(self, line: int, row: int, text_words: list[str], *, is_turn: bool = False) -> None:
        """Add one text of the row at ``line``, given as its words."""
        self.starts.append(len(self.ids))
        self.lines.append(line)
        self.rows.append(row)
        self.turns.append(text_words if is_turn else None)
        self.ids += self._marks[0]
        self.ids.extend(map(self._vocabulary.ids.get, text_words, repeat(0)))
        self.ids += self._marks[1]

    def kept_words(self, text: int, kept: NDArray[np.bool_]) -> list[str]:
        """The words of one turn that were kept outside the shared text."""
        turn = self.turns[text] or []
        start = self.starts[text] + WINDOW - 1
        mine = kept[start : start + len(turn)]
        return turn if mine.all() else [turn[k] for k in np.flatnonzero(mine).tolist()]

    def words(self, shared: SharedText) -> tuple[Words, Words, NDArray[np.bool_]]:
        """All words, those outside the ``shared`` text, and which were kept for the latter; the marks become gaps."""
        ids, starts = np.array(self.ids, dtype=np.int64), np.array(self.starts, dtype=np.int64)
        ends = np.append(starts[1:], len(ids)) - (WINDOW - 1)
        inside = np.zeros(len(ids) + 1, dtype=np.int64)
        inside[starts + WINDOW - 1] += 1
        np.add.at(inside, ends, -1)
        is_word = np.cumsum(inside[:-1]) > 0
        kept = is_word & ~shared.mask(self._vocabulary.codes[ids])
        numbers = np.where(is_word, ids, 0)
        return self._part(numbers, is_word, starts, ends), self._part(numbers, kept, starts, ends), kept

    def _part(
        self, ids: NDArray[np.int64], kept: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> Words:
        first, last = np.minimum(starts + WINDOW - 1, len(ids) - 1), np.maximum(ends - 1, 0)
        opens, closes = kept[first], kept[last]
        chosen = kept.copy()
        chosen[ends] = True  # the gap after each text
        before = np.concatenate([[0], np.cumsum(chosen)])
        part = ids[chosen]
        return Words(part, self._vocabulary.codes[part], before[starts], opens, closes)
