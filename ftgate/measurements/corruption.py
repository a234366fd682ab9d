"""Bad answers, made on purpose: what a measurement must notice (methods: section 9)."""

from __future__ import annotations

import math
from dataclasses import replace

from ftgate.domain import Answer, Pair
from ftgate.scoring.tool_calls import BROKEN

WRONG_OPTION_PROBABILITY = 0.99
"""The probability that a bad answer by option letter puts on its wrong option."""


def bad_answers(pair: Pair, other: Pair) -> tuple[Answer, ...]:
    """Answers to the item of ``pair`` that are as bad as can be, in the form in which the base answered.

    A free-form answer becomes the reference of the ``other`` item or, where there is none, the base's answer to it. An
    answer by option letter puts its confidence on a wrong option. Where tools are to be called none is, and where no
    tool is, one is.
    """
    # By how it was answered, not by what the row holds: a row with choices may be answered in free form.
    if any(answer.option_logprobs for answer in pair.base):
        return tuple(_wrong_option(pair, answer, rotation) for rotation, answer in enumerate(pair.base))
    wanted = (pair.item.check or {}).get("tool_call")
    if wanted is not None:  # any text is right where no call is wanted
        calls = () if wanted else (BROKEN,)
        return tuple(replace(answer, text="", trace="", tool_calls=calls) for answer in pair.base)
    replacement = other.item.answer or other.base[0].text
    if replacement == pair.item.answer:
        replacement = ""
    return tuple(replace(answer, text=replacement, trace="", tool_calls=None) for answer in pair.base)


def _wrong_option(pair: Pair, answer: Answer, rotation: int) -> Answer:
    """Near certainty for a wrong option: right or wrong, sure or not, no base answer is as bad as that."""
    size = len(answer.option_logprobs)
    if not size:
        return answer
    right = 0 if pair.item.request else (pair.item.choices.index(pair.item.answer or "") - rotation) % size
    # One and the same choice in every rotation: letter j of rotation r stands for choice (j + r).
    wrong = (right + 1) % size
    if pair.item.request is not None:  # several may be right; if all are, there is nothing to corrupt
        wrong = next((place for place in range(size) if place not in pair.item.request.gold), wrong)
    rest = math.log((1 - WRONG_OPTION_PROBABILITY) / (size - 1))
    return replace(
        answer, option_logprobs=tuple(math.log(WRONG_OPTION_PROBABILITY) if i == wrong else rest for i in range(size))
    )
