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


Family = tuple[int, int, int]


def families(asks: Sequence[Ask], slot_of: Callable[[Model], Slot]) -> list[Family]:
    """What is asked in one go: the engine, the look, and option reads before continuations before generation."""
    return [
        (slot_of(model).engine, look, (1 if question.continued else 0) if question.options else 2)
        for model, question, look in asks
    ]


def in_order(asks: Sequence[Ask], slot_of: Callable[[Model], Slot]) -> list[int]:
    """Indices into ``asks``, sorted by engine, look and way of asking, base before adapters, then by prompt text.

    So neighbours share prefixes, and steps without an adapter stay together. Everything is read at once: which engine
    runs changes while answers are on their way.
    """
    family, rows = families(asks, slot_of), [slot_of(ask.model).row for ask in asks]
    texts = [tuple((m.role, m.content) for m in ask.question.messages) for ask in asks]
    return sorted(range(len(asks)), key=lambda index: (family[index], rows[index], texts[index]))


def make_batches(
    asks: Sequence[Ask], slot_of: Callable[[Model], Slot], max_units: int, thought: int = 0
) -> Iterator[list[int]]:
    """Indices into ``asks``, in batches that each go to one engine in one call, in the order of :func:`in_order`.

    The first batch is small and each is twice the one before, up to ``max_units`` units (1 for an option read, more for
    a generation, by its length and that of a ``thought`` before it, in tokens): the first answers come soon, and a
    killed run loses little.
    """
    family, order = families(asks, slot_of), in_order(asks, slot_of)
    limit = min(FIRST_BATCH, max_units)
    for _, indices in groupby(order, key=family.__getitem__):
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
