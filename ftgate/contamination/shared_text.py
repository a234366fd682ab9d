"""What many rows share, such as an instruction around every message: found in a sample, and masked in each text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftgate.contamination.normalize import words_of
from ftgate.contamination.vocabulary import BEGIN, END, hash_rows, look_up, windows, word_code

WINDOW = 4
"""Words per n-gram in which shared text is sought. Each text has WINDOW - 1 marks before and after it."""
MAX_ROWS = 10
"""What stands in more different rows than this is shared."""
FIXED = 0.8
"""The share of cases in which a word goes on, or comes before, in the same way, from which it belongs to one phrase."""
HEAD, FOOT = 400, 100
"""Words of a long text that are sampled, at its beginning and end."""

_BEGIN, _END = 0, 1
Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class SharedText:
    """The n-grams of WINDOW words that more than MAX_ROWS rows share.

    ``hashes`` are sorted; ``ends`` and ``begins`` say whether the last word leaves the phrase of those before it, and
    the first word that of those after it; shape (n,) each. ``words`` are those that occur in them.
    """

    hashes: Words
    ends: NDArray[np.bool_]
    begins: NDArray[np.bool_]
    words: frozenset[str]

    @classmethod
    def find(cls, rows: Iterable[Sequence[str]]) -> SharedText:
        """The shared text of ``rows``, each given by its texts. Equal rows should come once: each counts as one."""
        ids = {BEGIN: _BEGIN, END: _END}
        numbers, owners = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for row, texts in enumerate(rows):
            for text in dict.fromkeys(texts):
                padded = [BEGIN] * (WINDOW - 1) + _sampled(words_of(text)) + [END] * (WINDOW - 1)
                numbers.append(np.array([ids.setdefault(word, len(ids)) for word in padded], dtype=np.int64))
                owners.append(np.full(len(padded), row, dtype=np.int64))
        number, owner = np.concatenate(numbers), np.concatenate(owners)
        codes = np.array(list(map(word_code, ids)), dtype=np.uint64)[number]
        grams, first, counts = _row_counts(windows(codes, WINDOW), owner)
        frequent = counts > MAX_ROWS
        shorter, _, shorter_counts = _row_counts(windows(codes, WINDOW - 1), owner)
        frequent &= ~_across_texts(number, first)
        grams, first, counts = grams[frequent], first[frequent], counts[frequent]
        inside = first[:, None] + np.arange(WINDOW)
        beginning = hash_rows(list(codes[inside[:, :-1]].T))
        ending = hash_rows(list(codes[inside[:, 1:]].T))
        all_words = list(ids)
        return cls(
            grams,
            counts < FIXED * shorter_counts[np.searchsorted(shorter, beginning)],
            counts < FIXED * shorter_counts[np.searchsorted(shorter, ending)],
            frozenset(all_words[i] for i in np.unique(number[inside])),
        )

    def mask(self, codes: Words) -> NDArray[np.bool_]:
        """Which words are shared text, shape (n,); texts stand one after the other, each between its marks.

        Shared are whole phrases, in which each word fixes the next, and what lies in shared n-grams between two of
        them or between one and an end of the text. What many messages only begin with ("how do I") stays.
        """
        masked = np.zeros(len(codes), dtype=np.bool_)
        position, frequent = look_up(windows(codes, WINDOW), self.hashes)
        at = np.flatnonzero(frequent)
        if not len(at):
            return masked
        apart = np.zeros(len(codes), dtype=np.bool_)  # word i + 1 does not follow from those around it
        apart[at[self.ends[position]] + WINDOW - 2] = True
        apart[at[self.begins[position]]] = True
        phrase = at[~np.logical_or.reduce([apart[at + k] for k in range(WINDOW - 1)])]
        covered, fixed = masked.copy(), masked
        for k in range(WINDOW):
            covered[at + k] = True
            fixed[phrase + k] = True
        fixed |= covered & ((codes == word_code(BEGIN)) | (codes == word_code(END)))
        return _between(fixed, covered)


def _across_texts(number: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the n-grams that stand at ``first`` begin in one text and end in the next."""
    inside = number[first[:, None] + np.arange(WINDOW)]
    across: NDArray[np.bool_] = ((inside[:, :-1] == _END) & (inside[:, 1:] == _BEGIN)).any(axis=1)
    return across


def _between(fixed: NDArray[np.bool_], covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``fixed``, and every run of ``covered`` words from one fixed word to another."""
    number = np.cumsum(~covered)  # the same for all words of a run
    at = np.flatnonzero(fixed)
    joined = np.flatnonzero(number[at[1:]] == number[at[:-1]])
    change = np.zeros(len(fixed) + 1, dtype=np.int64)
    np.add.at(change, at[joined], 1)
    np.add.at(change, at[joined + 1], -1)
    return fixed | (np.cumsum(change[:-1]) > 0)


def _row_counts(grams: Words, owner: NDArray[np.int64]) -> tuple[Words, NDArray[np.int64], NDArray[np.int64]]:
    """The different grams, where each stands first, and the number of rows that contain it; those across texts too."""
    order = np.argsort(grams, kind="stable")
    ordered, rows = grams[order], owner[order]
    new = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.empty(0, np.bool_)
    new_row = new | np.r_[True, rows[1:] != rows[:-1]] if len(ordered) else new
    starts = np.flatnonzero(new)
    counts = np.add.reduceat(new_row.astype(np.int64), starts) if len(starts) else np.empty(0, np.int64)
    return ordered[starts], order[starts], counts


def _sampled(text_words: list[str]) -> list[str]:
    return text_words if len(text_words) <= HEAD + FOOT else text_words[:HEAD] + text_words[-FOOT:]
