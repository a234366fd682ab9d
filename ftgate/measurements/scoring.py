"""Scores that need no judge: each takes an item and an answer and gives 0 or 1."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from ftgate.domain import Answer, FloatArray, Item, Pair, Scored

_SPACE = re.compile(r"\s+")
_EDGE = " \t\n.,;:!?\"'`"


def normal(text: str) -> str:
    """``text`` as compared: Unicode NFKC, case folded, white space collapsed, outer punctuation removed."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip(_EDGE)


def _bare(text: str) -> str:
    return _SPACE.sub("", unicodedata.normalize("NFKC", text))


def exact(item: Item, answer: Answer) -> float:
    """1 if the answer equals the reference after :func:`normal`; one of punctuation alone is compared as it is."""
    wanted = normal(item.answer or "")
    said = normal(answer.text)
    return float(said == wanted if wanted else not said and _bare(answer.text) == _bare(item.answer or ""))


def contains(item: Item, answer: Answer) -> float:
    """1 if the reference occurs in the answer as whole words, after :func:`normal`."""
    wanted = normal(item.answer or "")
    if not wanted:  # punctuation alone has no words
        return float(_bare(item.answer or "\0") in _bare(answer.text))
    return float(re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", normal(answer.text)) is not None)


def choice(item: Item, answer: Answer) -> float:
    """1 if the likeliest option letter is the right one; a tie between options is no right answer."""
    best = max(answer.option_logprobs)
    winners = [i for i, value in enumerate(answer.option_logprobs) if value == best]
    return float(len(winners) == 1 and item.choices[winners[0]] == item.answer)


SCORERS: dict[str, Callable[[Item, Answer], float]] = {"exact": exact, "contains": contains, "choice": choice}


def score_pairs(scorer: str, pairs: Sequence[Pair]) -> Scored:
    """Score the first answer of each side. A failed answer is not a score: it is bounded by 0 and 1."""
    score = SCORERS[scorer]
    base = [_bounds(score, pair.item, pair.base[0]) for pair in pairs]
    candidate = [_bounds(score, pair.item, pair.candidate[0]) for pair in pairs]
    return bounded(tuple(pair.item for pair in pairs), base, candidate, binary=True)


def bounded(
    items: tuple[Item, ...],
    base: Sequence[tuple[float, float]],
    candidate: Sequence[tuple[float, float]],
    *,
    binary: bool,
) -> Scored:
    """Scores from (lowest, highest) per item; where the two differ the score is unknown and stands at the middle."""
    b, c = _columns(base), _columns(candidate)
    unreadable = int(np.sum(b[0] != b[1]) + np.sum(c[0] != c[1]))
    return Scored(items, (b[0] + b[1]) / 2, (c[0] + c[1]) / 2, b[0], b[1], c[0], c[1], binary, unreadable)


def _columns(bounds: Sequence[tuple[float, float]]) -> tuple[FloatArray, FloatArray]:
    table = np.asarray(bounds, dtype=np.float64).reshape(len(bounds), 2)
    return table[:, 0], table[:, 1]


def _bounds(score: Callable[[Item, Answer], float], item: Item, answer: Answer) -> tuple[float, float]:
    if answer.error is not None or any(math.isnan(value) for value in answer.option_logprobs):
        return 0.0, 1.0
    value = score(item, answer)
    return value, value
