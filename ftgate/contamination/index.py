"""An index of prompts and answers, and the matches found in passages of training data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ftgate.contamination.near_duplicates import MIN_SIMILARITY, NearDuplicates
from ftgate.contamination.ngrams import Batch, NgramTable, Words
from ftgate.contamination.normalize import segments, words, words_of
from ftgate.contamination.overlap import Match
from ftgate.contamination.shared_text import MAX_ROWS, SharedText
from ftgate.contamination.vocabulary import Vocabulary

LONG_NGRAM, SHORT_NGRAM = 13, 8
"""Words per n-gram: texts shorter than LONG_NGRAM words use SHORT_NGRAM; even shorter ones match as a whole only."""
MIN_REST, MIN_EMBEDDED_REST = 3, 5
"""Words outside the shared text from which equal ones are evidence: as a whole turn, and whole in a longer text."""
BATCH_WORDS = 500_000
"""Words compared at once: 50 MB."""
WHOLE, WITHOUT_SHARED = "whole prompt", "whole prompt without shared text"


@dataclass(slots=True)
class _IndexedText:
    """An item's prompt or answer outside the shared text: its words, their numbers, and whether an end was masked."""

    item: int
    is_answer: bool
    words: list[str]
    ids: NDArray[np.int64]
    opens: bool
    closes: bool


@dataclass(slots=True)
class _Gram:
    """One n-gram: the sources that contain it, the rows it was seen in, and the first line it speaks for, by source."""

    size: int = 0
    sources: list[int] = field(default_factory=list)
    rows_seen: set[int] = field(default_factory=set)
    lines: dict[int, int] = field(default_factory=dict)


class Index:
    """Prompts, and reference answers if any, to be found in passages that are added one by one.

    Prompts match by word n-grams (Brown et al. 2020, appendix C, with shorter ones for short texts) or as a whole;
    answers of LONG_NGRAM words or more by n-grams, since shorter ones recur by chance. Departures: only words outside
    the ``shared`` text make n-grams; an n-gram in more than MAX_ROWS different rows is a common phrase, so that rows
    repeated in training remain evidence; and words that both texts begin or end with may be an instruction, unless they
    are most of one text or two n-grams long. A prompt of several n-grams also matches a text that contains all of it.
    """

    def __init__(
        self, prompts: Sequence[str], answers: Sequence[str | None] = (), shared: SharedText | None = None
    ) -> None:
        self._shared = shared or SharedText.find([])
        texts = [words_of(prompt) for prompt in prompts]
        answer_texts = [words_of(answer or "") for answer in answers]
        all_words = {word for text in (*texts, *answer_texts) for word in text}
        self._vocabulary = Vocabulary(all_words | self._shared.words)
        self._whole_by_text = _by_text(dict(enumerate(texts)))
        self._lengths = {len(text) for text in texts}
        self._whole_matches: dict[int, Match] = {}
        self._embedded_matches: dict[int, int] = {}
        self._sources = self._outside_shared(texts, is_answer=False) + self._outside_shared(
            answer_texts, is_answer=True
        )
        prompt_words = {source.item: source.words for source in self._sources if not source.is_answer}
        self._long_prompts = list(
            dict.fromkeys(tuple(text) for i, text in enumerate(texts) if _tells_anywhere(text, prompt_words[i]))
        )
        starts = {text[: _ngram_size(text)] for text in self._long_prompts}
        self._wholes = NgramTable(sorted(starts), self._vocabulary, self._long_prompts)
        self._rest_by_text = _by_text({i: rest for i, rest in prompt_words.items() if len(rest) >= MIN_REST})
        grams: dict[tuple[str, ...], _Gram] = defaultdict(_Gram)
        for number, source in enumerate(self._sources):
            if len(source.words) >= (LONG_NGRAM if source.is_answer else SHORT_NGRAM):
                for gram in _ngrams(source.words, _ngram_size(source.words)):
                    grams[gram].size = len(gram)
                    grams[gram].sources.append(number)
        self._grams = list(grams.values())
        self._table = NgramTable(list(grams), self._vocabulary)
        self._near = NearDuplicates([frozenset(prompt_words[i]) for i in range(len(texts))])
        self._batch = Batch(self._vocabulary)

    def _outside_shared(self, texts: Sequence[list[str]], *, is_answer: bool) -> list[_IndexedText]:
        if not texts:
            return []
        batch = Batch(self._vocabulary)
        for text_words in texts:
            batch.add(0, 0, text_words, is_turn=True)
        _, rest, kept = batch.words(self._shared)
        return [
            _IndexedText(
                i, is_answer, batch.kept_words(i, kept), rest.text(i), bool(rest.opens[i]), bool(rest.closes[i])
            )
            for i in range(len(texts))
        ]

    def add(self, line: int, turns: Sequence[str], texts: Iterable[str]) -> None:
        """Add a passage: its user ``turns`` may equal a prompt, and any of its ``texts`` may contain one."""
        turn_texts = dict.fromkeys((*turns, "\n".join(turns)))
        row = hash(row_text(turns, texts := list(texts)))
        for text in {**turn_texts, **dict.fromkeys(texts)}:
            segment_words = list(map(words, segments(text)))
            text_words = (
                segment_words[0] if len(segment_words) == 1 else [word for part in segment_words for word in part]
            )
            is_turn = text in turn_texts
            if is_turn and len(segment_words) > 1:  # text rendered with a chat template may hold several turns
                for part in segment_words:
                    self._batch.add(line, row, part, is_turn=True)
            if is_turn or len(text_words) >= SHORT_NGRAM:
                self._batch.add(line, row, text_words, is_turn=is_turn)
        if len(self._batch.ids) >= BATCH_WORDS:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch = self._batch, Batch(self._vocabulary)
        if not batch.starts:
            return
        whole, rest, kept = batch.words(self._shared)
        for prompt, text in self._wholes.whole_matches(whole):
            for i in self._whole_by_text[" ".join(self._long_prompts[prompt])]:
                line = batch.lines[text]
                self._embedded_matches[i] = min(line, self._embedded_matches.get(i, line))
        for number, turn in enumerate(batch.turns):
            if turn is not None:
                self._compare_turn(batch.lines[number], turn, batch.kept_words(number, kept))
        self._compare_ngrams(batch, rest)

    def _compare_turn(self, line: int, turn: list[str], rest: list[str]) -> None:
        for text_words, prompts, by in (
            (turn, self._whole_by_text, WHOLE),
            (rest, self._rest_by_text, WITHOUT_SHARED),
        ):
            if len(text_words) in self._lengths or by is WITHOUT_SHARED:
                for i in prompts.get(" ".join(text_words), ()):
                    self._whole_matches.setdefault(i, Match(line, by))
                    self._near.drop(i)
        self._near.compare(line, rest)

    def _compare_ngrams(self, batch: Batch, rest: Words) -> None:
        alike: dict[tuple[int, int], tuple[int, int]] = {}
        for grams, first in self._table.hits(rest):
            texts = rest.texts_at(first)
            offsets = first - rest.starts[texts]
            for gram, text, offset in zip(grams.tolist(), texts.tolist(), offsets.tolist(), strict=True):
                if self._table.common[gram]:
                    continue
                entry = self._grams[gram]
                entry.rows_seen.add(batch.rows[text])
                self._table.common[gram] = len(entry.rows_seen) > MAX_ROWS
                for number in entry.sources:
                    if number in entry.lines:
                        continue
                    pair = (number, text)
                    if pair not in alike:
                        alike[pair] = _ends_in_common(self._sources[number], rest, text)
                    if not _may_be_an_instruction(offset, entry.size, len(rest.text(text)), *alike[pair]):
                        entry.lines[number] = batch.lines[text]

    def matches(self) -> tuple[dict[int, Match], dict[int, Match]]:
        """(contained, near): matches of prompts that the passages contain, and of those with a near duplicate only."""
        self._flush()
        contained = dict(self._whole_matches)
        for gram, entry in enumerate(self._grams):
            if self._table.common[gram]:
                continue
            for number, line in entry.lines.items():
                source = self._sources[number]
                if source.item not in contained or line < contained[source.item].line:
                    by = f"{entry.size}-gram" + (" of the answer" if source.is_answer else "")
                    contained[source.item] = Match(line, by)
        for i, line in self._embedded_matches.items():
            contained.setdefault(i, Match(line, WHOLE))
        near = {i: match for i, match in self._near.matches.items() if i not in contained}
        return dict(sorted(contained.items())), dict(sorted(near.items()))


def row_text(turns: Sequence[str], texts: Iterable[str]) -> str:
    """What tells rows apart: what the user said, or all of the row's texts if that is unknown."""
    return "\n".join(turns) or "\n".join(texts)


def _tells_anywhere(text_words: Sequence[str], rest: Sequence[str]) -> bool:
    """Whether a prompt that stands whole in a longer text is evidence, even if each of its n-grams is common.

    One n-gram could be any phrase, and with a word or two outside the shared text it could be the beginning of others.
    """
    if 0 < len(rest) < len(text_words):
        return len(text_words) >= SHORT_NGRAM and len(rest) >= MIN_EMBEDDED_REST
    return len(text_words) > _ngram_size(text_words)


def _ends_in_common(source: _IndexedText, rest: Words, text: int) -> tuple[int, int]:
    """How many words both texts begin with and end with that may be an instruction, and not the message itself.

    None may where shared text was masked before or after them, nor if they are nearly all of one text.
    """
    mine, other = source.ids, rest.text(text)
    shorter = min(len(mine), len(other))
    opens, closes = source.opens and rest.opens[text], source.closes and rest.closes[text]
    lead = _equal(mine[:shorter], other[:shorter]) if opens else 0
    trail = _equal(mine[::-1][: shorter - lead], other[::-1][: shorter - lead]) if closes else 0
    return (0, 0) if lead + trail >= MIN_SIMILARITY * shorter else (lead, trail)


def _equal(first: NDArray[np.int64], second: NDArray[np.int64]) -> int:
    """How many leading elements of two arrays of equal shape are equal."""
    different = np.flatnonzero(first != second)
    return int(different[0]) if len(different) else len(first)


def _may_be_an_instruction(offset: int, size: int, length: int, lead: int, trail: int) -> bool:
    """Whether an n-gram at ``offset`` in a text of ``length`` words is in a short beginning or end that both share."""
    in_lead = offset + size <= lead < 2 * size
    in_trail = offset >= length - trail and trail < 2 * size
    return in_lead or in_trail


def _by_text(texts: Mapping[int, Sequence[str]]) -> dict[str, list[int]]:
    by_text: dict[str, list[int]] = defaultdict(list)
    for i, text_words in texts.items():
        if text_words:
            by_text[" ".join(text_words)].append(i)
    return by_text


def _ngram_size(text_words: Sequence[str]) -> int:
    return LONG_NGRAM if len(text_words) >= LONG_NGRAM else SHORT_NGRAM


def _ngrams(text_words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(text_words[start : start + size]) for start in range(len(text_words) - size + 1)}
