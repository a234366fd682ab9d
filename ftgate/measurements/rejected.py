"""Right answers of the base that its scorer rejects: a suite that is scored so says nothing of what could be lost."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.domain import Pair
from ftgate.scoring.scores import PairedScores
from ftgate.scoring.text import contains_words

MOST_REJECTED = 0.2
"""Share of answers that hold the right one and are scored as wrong, from which the scorer is named."""


def holds_reference(pair: Pair) -> bool:
    """Whether the base's first answer, which is a text, holds the reference word for word."""
    answer = pair.base[0] if pair.base else None
    if answer is None or answer.option_logprobs or not pair.item.answer:
        return False
    return contains_words(pair.item.answer, answer.text)


def rejected_text(scored: PairedScores, pairs: Sequence[Pair]) -> str:
    """What to say if a rule scores many right answers of the base as wrong; empty if it does not.

    ``scored`` may cover a part of ``pairs``. Answers that a judge graded do not count.
    """
    pair_of = {pair.item.id: pair for pair in pairs}
    texts = rejected = 0
    for item, score, graded in zip(scored.items, scored.base_high, scored.graded, strict=True):
        pair = pair_of.get(item.id)
        if graded or pair is None or not pair.base or pair.base[0].option_logprobs:
            continue
        texts += 1
        rejected += bool(score == 0) and holds_reference(pair)
    if not texts or rejected < MOST_REJECTED * texts:
        return ""
    return f"{rejected} of {texts} answers of the base hold the right answer and are scored as wrong"
