"""The order in which asks are answered, and their batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from ftgate.domain import Model, Question
from ftgate.engines.base import Ask

FIRST_BATCH = 32
TOKENS_PER_UNIT = 64


class Slot(NamedTuple):
    """Where a model runs: the number of its engine, and its own number in it; the base is 0."""

    engine: int
    row: int


def make_batches(
    asks: Sequence[Ask], slot_of: Callable[[Model], Slot], max_units: int, thought: int = 0
) -> Iterator[list[int]]:
    """Indices into ``asks``, in batches that each go to one engine in one call.

    Sorted by engine, option reads before continuations and these before generation, base before adapters, then by
    prompt text, so that neighbours share prefixes and steps without an adapter stay together. The first batch is small
    and each is twice the one before, up to ``max_units`` units (1 for an option read, more for a generation, by its
    length and that of a ``thought`` before it, in tokens): the first answers come soon, and a killed run loses little.
    The order depends on ``asks`` alone.
    """

    def family(index: int) -> tuple[int, int]:
        question = asks[index].question
        return slot_of(asks[index].model).engine, (1 if question.continued else 0) if question.options else 2

    def key(index: int) -> tuple[tuple[int, int], int, tuple[tuple[str, str], ...]]:
        messages = asks[index].question.messages
        return family(index), slot_of(asks[index].model).row, tuple((m.role, m.content) for m in messages)

    limit = min(FIRST_BATCH, max_units)
    for _, indices in groupby(sorted(range(len(asks)), key=key), key=family):
        batch: list[int] = []
        weight = 0
        for index in indices:
            units = _cost(asks[index].question, thought)
            if batch and weight + units > limit:
                yield batch
                batch, weight, limit = [], 0, min(2 * limit, max_units)
            batch.append(index)
            weight += units
        yield batch


def _cost(question: Question, thought: int) -> int:
    if question.continued:
        return len(question.options)
    tokens = thought + (0 if question.options else question.max_tokens)
    return 1 + tokens // TOKENS_PER_UNIT
