"""In which order a list of asks is answered, and in which portions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from ftgate.domain import Model, Question
from ftgate.engines.base import Ask

FIRST_PORTION = 32
TOKENS_PER_UNIT = 64


class Slot(NamedTuple):
    """Where a model runs: the number of its engine, and its own number there, the base being 0."""

    engine: int
    row: int


def portions(asks: Sequence[Ask], place: Callable[[Model], Slot], largest: int) -> Iterator[list[int]]:
    """Indices into ``asks``, in portions that may each go to one engine in one call.

    Engine by engine, option reads before generation, base before adapters, and then by the text of the prompt, so that
    neighbours share prefixes and steps without an adapter stay together. The first portion is small and each is twice
    the one before, up to ``largest`` units (an option read is one, a generation more, by its length): the first answers
    come soon, and a killed run loses little. The order depends on ``asks`` alone.
    """

    def family(index: int) -> tuple[int, bool]:
        return place(asks[index].model).engine, not asks[index].question.options

    def key(index: int) -> tuple[tuple[int, bool], int, tuple[tuple[str, str], ...]]:
        messages = asks[index].question.messages
        return family(index), place(asks[index].model).row, tuple((m.role, m.content) for m in messages)

    limit = min(FIRST_PORTION, largest)
    for _, indices in groupby(sorted(range(len(asks)), key=key), key=family):
        portion: list[int] = []
        weight = 0
        for index in indices:
            units = _units(asks[index].question)
            if portion and weight + units > limit:
                yield portion
                portion, weight, limit = [], 0, min(2 * limit, largest)
            portion.append(index)
            weight += units
        yield portion


def _units(question: Question) -> int:
    return 1 if question.options else 1 + question.max_tokens // TOKENS_PER_UNIT
