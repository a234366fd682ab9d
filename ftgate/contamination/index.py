"""An index of prompts and answers, and the matches found in passages of training data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ftgate.contamination.near_duplicates import NearDuplicates
from ftgate.contamination.ngrams import Batch, NgramTable
from ftgate.contamination.normalize import segments, words
from ftgate.contamination.overlap import Match

LONG_NGRAM, SHORT_NGRAM = 13, 8
"""Words per n-gram: texts shorter than LONG_NGRAM words use SHORT_NGRAM; even shorter ones match as a whole only."""
MAX_TEXTS = 10
"""An n-gram in more different texts than this is a common phrase and no evidence; only whole prompts count then."""
BATCH_WORDS = 500_000
"""Words compared at once: 20 MB."""


@dataclass(slots=True)
class _Gram:
    """One n-gram: the prompts and answers that contain it, and the different training texts it was seen in."""

    owners: list[int] = field(default_factory=list)
    answers: set[int] = field(default_factory=set)
    size: int = 0
    first: int = 0
    texts_seen: set[int] = field(default_factory=set)


class Index:
    """Prompts, and reference answers if any, to be found in passages that are added one by one.

    Prompts match by word n-grams (Brown et al. 2020, appendix C, with shorter ones for short texts) or as a whole;
    answers of LONG_NGRAM words or more by n-grams, since shorter ones recur by chance. Departure: an n-gram counts once
    for each *different* text that contains it, so that rows repeated in training remain evidence. A prompt of several
    n-grams also matches a text that contains all of it, even if each n-gram is common, as when one question appears
    under many instructions.
    """

    def __init__(self, prompts: Sequence[str], answers: Sequence[str | None] = ()) -> None:
        self._sets: list[frozenset[str]] = []
        self._prompts_by_text: dict[str, list[int]] = defaultdict(list)
        self._whole_matches: dict[int, int] = {}
        self._grams: dict[tuple[str, ...], _Gram] = defaultdict(_Gram)
        for i, prompt in enumerate(prompts):
            text_words = _words_of(prompt)
            self._sets.append(frozenset(text_words))
            if text_words:
                self._prompts_by_text[" ".join(text_words)].append(i)
            self._add(i, text_words, is_answer=False)
        for i, answer in enumerate(answers):
            text_words = _words_of(answer or "")
            if len(text_words) >= LONG_NGRAM:
                self._add(i, text_words, is_answer=True)
        self._lengths = {key.count(" ") + 1 for key in self._prompts_by_text}
        self._gram_list = list(self._grams.values())
        self._long_prompts = [tuple(key.split(" ")) for key in self._prompts_by_text]
        self._long_prompts = [
            text_words for text_words in self._long_prompts if len(text_words) > _ngram_size(text_words)
        ]
        self._embedded_matches: dict[int, int] = {}
        self._table = NgramTable(list(self._grams), self._long_prompts)
        self._near = NearDuplicates(self._sets)
        self._batch = Batch()

    def _add(self, i: int, text_words: Sequence[str], *, is_answer: bool) -> None:
        size = _ngram_size(text_words)
        for gram in _ngrams(text_words, size):
            entry = self._grams[gram]
            entry.size = size
            entry.owners.append(i)
            if is_answer:
                entry.answers.add(i)

    def add(self, line: int, turns: Sequence[str], texts: Iterable[str]) -> None:
        """Add a passage: its user ``turns`` may equal a prompt, and any of its ``texts`` may contain one."""
        turn_texts = dict.fromkeys((*turns, "\n".join(turns)))
        for text in {**turn_texts, **dict.fromkeys(texts)}:
            segment_words = list(map(words, segments(text)))
            text_words = (
                segment_words[0] if len(segment_words) == 1 else [word for part in segment_words for word in part]
            )
            if text in turn_texts:  # text rendered with a chat template may hold several turns
                for part in (text_words, *segment_words) if len(segment_words) > 1 else (text_words,):
                    self._compare_whole(line, part)
            if len(text_words) >= SHORT_NGRAM:
                self._batch.add(line, text_words, self._table)
        if len(self._batch.ids) >= BATCH_WORDS:
            self._flush()

    def _compare_whole(self, line: int, text_words: list[str]) -> None:
        if len(text_words) in self._lengths:
            for i in self._prompts_by_text.get(" ".join(text_words), ()):
                self._whole_matches.setdefault(i, line)
                self._near.drop(i)
        self._near.compare(line, text_words)

    def _flush(self) -> None:
        hits = self._batch.hits(self._table)
        for prompt, line in self._batch.whole_matches(hits, self._table):
            for i in self._prompts_by_text[" ".join(self._long_prompts[prompt])]:
                self._embedded_matches[i] = min(line, self._embedded_matches.get(i, line))
        for gram, line, text in self._batch.matches(hits, self._table):
            entry = self._gram_list[gram]
            entry.first = entry.first or line
            entry.texts_seen.add(text)
            if len(entry.texts_seen) > MAX_TEXTS:
                self._table.common[gram] = True
        self._batch = Batch()

    def matches(self) -> tuple[dict[int, Match], dict[int, Match]]:
        """(contained, near): matches of prompts that the passages contain, and of those with a near duplicate only."""
        self._flush()
        contained = {i: Match(line, "whole prompt") for i, line in self._whole_matches.items()}
        for gram, entry in enumerate(self._gram_list):
            if not entry.texts_seen or self._table.common[gram]:
                continue
            for i in entry.owners:
                by = f"{entry.size}-gram" + (" of the answer" if i in entry.answers else "")
                if i not in contained or entry.first < contained[i].line:
                    contained[i] = Match(entry.first, by)
        for i, line in self._embedded_matches.items():
            contained.setdefault(i, Match(line, "whole prompt"))
        near = {i: match for i, match in self._near.matches.items() if i not in contained}
        return dict(sorted(contained.items())), dict(sorted(near.items()))


def _ngram_size(text_words: Sequence[str]) -> int:
    return LONG_NGRAM if len(text_words) >= LONG_NGRAM else SHORT_NGRAM


def _words_of(text: str) -> list[str]:
    return [word for part in segments(text) for word in words(part)]


def _ngrams(text_words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(text_words[start : start + size]) for start in range(len(text_words) - size + 1)}
