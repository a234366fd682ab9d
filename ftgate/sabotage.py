"""The positive control: a base whose answers were spoilt on purpose, which every measurement must catch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ftgate.domain import Answer, Pair

SPOILT_SHARE = 0.3
"""This share of the base's answers is replaced by bad ones."""
SURE = 0.99
LARGEST_TOLERANCE = 0.2
"""A policy that lets more than this go by cannot be expected to block the loss of ``SPOILT_SHARE``."""


def spoil(pairs: Sequence[Pair], rng: np.random.Generator) -> tuple[Pair, ...]:
    """The base against itself with ``SPOILT_SHARE`` of its answers replaced (methods: section 9).

    A free-form answer becomes another item's reference or, where there is none, another item's answer. An answer by
    option letter puts its confidence on a wrong option. The same pairs and generator state give the same result.
    """
    chosen = set(rng.permutation(len(pairs))[: math.ceil(SPOILT_SHARE * len(pairs))].tolist())
    return tuple(
        replace(pair, candidate=_bad(pair, pairs[(i + 1) % len(pairs)]) if i in chosen else pair.base)
        for i, pair in enumerate(pairs)
    )


def _bad(pair: Pair, other: Pair) -> tuple[Answer, ...]:
    # By how it was answered, not by what the row holds: a row with choices may be answered in free form.
    if any(answer.option_logprobs for answer in pair.base):
        return tuple(_wrong_letter(pair, answer, rotation) for rotation, answer in enumerate(pair.base))
    foreign = other.item.answer or other.base[0].text
    if foreign == pair.item.answer:
        foreign = ""
    return tuple(replace(answer, text=foreign) for answer in pair.base)


def _wrong_letter(pair: Pair, answer: Answer, rotation: int) -> Answer:
    """Near certainty for a wrong option: right or wrong, sure or not, no base answer is as bad as that."""
    size = len(answer.option_logprobs)
    if not size:
        return answer
    right = (pair.item.choices.index(pair.item.answer or "") - rotation) % size
    # One and the same choice in every rotation: letter j of rotation r stands for choice (j + r).
    wrong = (right + 1) % size
    rest = math.log((1 - SURE) / (size - 1))
    return replace(answer, option_logprobs=tuple(math.log(SURE) if i == wrong else rest for i in range(size)))
