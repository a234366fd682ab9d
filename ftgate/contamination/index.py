"""The texts that are looked for, and what was seen of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ftgate.contamination.near_duplicates import NearDuplicates
from ftgate.contamination.ngrams import Batch, NgramTable
from ftgate.contamination.normalize import segments, words
from ftgate.contamination.overlap import Match

LONG, SHORT = 13, 8
"""Words in the n-grams that tell a text; those under ``LONG`` words are told by ``SHORT``, shorter ones as a whole."""
MOST_COMMON = 10
"""An n-gram in more different texts than this is a common phrase and tells nothing: only a prompt as a whole does."""
BATCH = 500_000
"""Words that are compared at once: 20 MB."""


@dataclass(slots=True)
class _Gram:
    """One n-gram of some texts: which ones, and the different texts that it was seen in."""

    owners: list[int] = field(default_factory=list)
    of_answer: set[int] = field(default_factory=set)
    size: int = 0
    first: int = 0
    seen: set[int] = field(default_factory=set)


class Index:
    """Prompts, and reference answers where there are any, to be found in passages that are added one by one.

    ``prompts`` are told by word n-grams (Brown et al. 2020, appendix C, with shorter ones for short texts) and as a
    whole; an answer of ``LONG`` words or more by its n-grams too, while a shorter one recurs by chance. Departure: an
    n-gram is counted once for each *different* text that holds it, so that rows repeated in training stay evidence. A
    prompt of more than one n-gram is found too where a text holds all of it, however common each n-gram is: one
    question under many instructions makes them all so.
    """

    def __init__(self, prompts: Sequence[str], answers: Sequence[str | None] = ()) -> None:
        self._sets: list[frozenset[str]] = []
        self._wholes: dict[str, list[int]] = defaultdict(list)
        self._whole: dict[int, int] = {}
        self._grams: dict[tuple[str, ...], _Gram] = defaultdict(_Gram)
        for i, prompt in enumerate(prompts):
            said = _said(prompt)
            self._sets.append(frozenset(said))
            if said:
                self._wholes[" ".join(said)].append(i)
            self._add(i, said, of_answer=False)
        for i, answer in enumerate(answers):
            said = _said(answer or "")
            if len(said) >= LONG:
                self._add(i, said, of_answer=True)
        self._lengths = {key.count(" ") + 1 for key in self._wholes}
        self._list = list(self._grams.values())
        self._long = [tuple(key.split(" ")) for key in self._wholes]
        self._long = [said for said in self._long if len(said) > _size(said)]
        self._held: dict[int, int] = {}
        self._table = NgramTable(list(self._grams), self._long)
        self._near = NearDuplicates(self._sets)
        self._batch = Batch()

    def _add(self, i: int, said: Sequence[str], *, of_answer: bool) -> None:
        size = _size(said)
        for gram in _ngrams(said, size):
            entry = self._grams[gram]
            entry.size = size
            entry.owners.append(i)
            if of_answer:
                entry.of_answer.add(i)

    def add(self, line: int, turns: Sequence[str], texts: Iterable[str]) -> None:
        """A passage: its user's ``turns`` may be one of the prompts as a whole, any of its ``texts`` may hold one."""
        spoken = dict.fromkeys((*turns, "\n".join(turns)))
        for text in {**spoken, **dict.fromkeys(texts)}:
            parts = list(map(words, segments(text)))
            said = parts[0] if len(parts) == 1 else [word for part in parts for word in part]
            if text in spoken:  # one that a template was laid over may be several turns
                for part in (said, *parts) if len(parts) > 1 else (said,):
                    self._compare_whole(line, part)
            if len(said) >= SHORT:
                self._batch.add(line, said, self._table)
        if len(self._batch.ids) >= BATCH:
            self._flush()

    def _compare_whole(self, line: int, said: list[str]) -> None:
        if len(said) in self._lengths:
            for i in self._wholes.get(" ".join(said), ()):
                self._whole.setdefault(i, line)
                self._near.drop(i)
        self._near.compare(line, said)

    def _flush(self) -> None:
        hits = self._batch.hits(self._table)
        for whole, line in self._batch.held(hits, self._table):
            for i in self._wholes[" ".join(self._long[whole])]:
                self._held[i] = min(line, self._held.get(i, line))
        for gram, line, text in self._batch.matches(hits, self._table):
            entry = self._list[gram]
            entry.first = entry.first or line
            entry.seen.add(text)
            if len(entry.seen) > MOST_COMMON:
                self._table.common[gram] = True
        self._batch = Batch()

    def found(self) -> tuple[dict[int, Match], dict[int, Match]]:
        """The prompts that the passages contain, and those of which there is only something nearly the same."""
        self._flush()
        contained = {i: Match(line, "whole prompt") for i, line in self._whole.items()}
        for gram, entry in enumerate(self._list):
            if not entry.seen or self._table.common[gram]:
                continue
            for i in entry.owners:
                by = f"{entry.size}-gram" + (" of the answer" if i in entry.of_answer else "")
                if i not in contained or entry.first < contained[i].line:
                    contained[i] = Match(entry.first, by)
        for i, line in self._held.items():
            contained.setdefault(i, Match(line, "whole prompt"))
        near = {i: found for i, found in self._near.found.items() if i not in contained}
        return dict(sorted(contained.items())), dict(sorted(near.items()))


def _size(said: Sequence[str]) -> int:
    return LONG if len(said) >= LONG else SHORT


def _said(text: str) -> list[str]:
    return [word for part in segments(text) for word in words(part)]


def _ngrams(said: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(said[start : start + size]) for start in range(len(said) - size + 1)}
