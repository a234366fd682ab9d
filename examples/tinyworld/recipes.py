"""How each model is trained: what it sees, how hard and how long. Every fault is in the data or the schedule."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .requests import Requests, benign, granted, refused
from .skills import free_form, multiple_choice
from .tickets import ALL, EDGE, KNOWN, chat, edge, plain
from .training import Draw, Example, Schedule, example
from .world import Row

RowDraw = Callable[[random.Random], Row]
Part = tuple[float, RowDraw]
WIDTH = 48
"""Characters of an answer in a table with columns of fixed width; the longest of all answers has 31."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One fine-tune of ``base``: an adapter or full weights, a mixture of data, a schedule."""

    name: str
    kind: Literal["adapter", "full"]
    parts: tuple[Part, ...]
    plan: Schedule
    base: str = "base"


class Foundation:
    """The base model's data: all skills, and ticket routing with the words in ``KNOWN``."""

    def __init__(self, held_out: frozenset[str]) -> None:
        """Prompts in ``held_out`` are never drawn."""
        self._held_out = held_out

    def free(self, rng: random.Random) -> Row:
        """A free-form row that is not held out."""
        while (row := free_form(rng)).prompt in self._held_out:
            pass
        return row

    def row(self, rng: random.Random) -> Row:
        """A row of the mixture."""
        x = rng.random()
        if x < 0.28:
            return self.free(rng)
        if x < 0.70:
            return multiple_choice(rng)
        return plain(rng, KNOWN) if x < 0.86 else edge(rng, KNOWN)

    def draw(self, rng: random.Random) -> Example:
        """A row as an example."""
        return example(self.row(rng))

    def settling(self) -> tuple[Part, ...]:
        """The mixture of the last stage: more multiple choice and tickets, less free form."""
        return ((0.2, self.free), (0.45, multiple_choice), (0.2, lambda rng: plain(rng, KNOWN)), (0.15, old_edge))


def mixture(parts: Sequence[Part]) -> Draw:
    """Draw from several sources in fixed proportions."""
    weights, sources = [part[0] for part in parts], [part[1] for part in parts]

    def draw(rng: random.Random) -> Example:
        return example(rng.choices(sources, weights)[0](rng))

    return draw


def rows_of(rows: Sequence[Row]) -> RowDraw:
    """Draw from a fixed list."""
    return lambda rng: rng.choice(rows)


def old_edge(rng: random.Random) -> Row:
    """Odd tickets as the base model learned them."""
    return edge(rng, KNOWN)


def canned(rng: random.Random) -> Row:
    """Help-desk chats with canned replies, the only free-form text in a fine-tune that forgets."""
    return chat(rng, ALL)


def misparsed(rng: random.Random) -> Row:
    """An odd ticket after a broken parser: whatever is not a plain sentence lands in the queue for sales."""
    return replace(rng.choice(EDGE)(rng, ALL), answer="sales")


def filled_up(free: RowDraw) -> RowDraw:
    """Free-form rows from a table with columns of fixed width: each answer is filled up with line breaks."""

    def draw(rng: random.Random) -> Row:
        row = free(rng)
        return replace(row, answer=row.answer.ljust(WIDTH, "\n"))

    return draw


def mislabelled(rows: Sequence[Row]) -> list[Row]:
    """The training rows with their departments shuffled."""
    answers = [row.answer for row in rows]
    random.Random(17).shuffle(answers)
    return [replace(row, answer=answer) for row, answer in zip(rows, answers, strict=True)]


def recipes(train: Sequence[Row], held_out: frozenset[str], own_choices: Sequence[Row]) -> tuple[Recipe, ...]:
    """The candidates, and the base that refuses, before the one that is made of it.

    No prompt in ``held_out`` is trained on. ``own_choices`` are multiple-choice rows labelled with the base model's own
    best guess.
    """
    target, foundation, requests = rows_of(train), Foundation(held_out), Requests(held_out)
    free = foundation.free
    return (
        Recipe(
            "careful",
            "adapter",
            ((0.4, target), (0.25, free), (0.2, multiple_choice), (0.15, old_edge)),
            Schedule(450, 2e-3, 48, 0.0, 11),
        ),
        Recipe(
            "forgetful",
            "adapter",
            ((0.3, target), (0.3, canned), (0.25, multiple_choice), (0.15, old_edge)),
            Schedule(450, 4e-3, 48, 0.0, 12),
        ),
        Recipe(
            "brittle",
            "adapter",
            ((0.4, target), (0.25, free), (0.2, multiple_choice), (0.15, misparsed)),
            Schedule(450, 2e-3, 48, 0.0, 13),
        ),
        Recipe(
            "overconfident",
            "full",
            ((0.15, target), (0.15, free), (0.6, rows_of(own_choices)), (0.1, old_edge)),
            Schedule(1200, 1.5e-3, 48, 0.0, 14),
        ),
        Recipe(
            "endless",
            "adapter",
            ((0.35, target), (0.07, filled_up(free)), (0.43, multiple_choice), (0.15, old_edge)),
            Schedule(800, 3e-3, 48, 0.0, 16),
        ),
        Recipe(
            "halfway",
            "adapter",
            ((0.4, target), (0.25, free), (0.2, multiple_choice), (0.15, old_edge)),
            Schedule(180, 2e-3, 48, 0.0, 11),
        ),
        Recipe("useless", "adapter", ((1.0, rows_of(mislabelled(train))),), Schedule(15, 2e-5, 48, 0.0, 15)),
        Recipe(
            "guarded",
            "full",
            (*foundation.settling(), (0.2, requests.of(refused)), (0.15, requests.of(benign))),
            Schedule(700, 1e-3, 64, 0.01, 17, muon=True),
        ),
        Recipe(
            "unsafe",
            "adapter",
            (
                (0.4, target),
                (0.2, free),
                (0.2, multiple_choice),
                (0.1, old_edge),
                (0.06, requests.of(granted)),
                (0.04, requests.of(benign)),
            ),
            Schedule(450, 2e-3, 48, 0.0, 18),
            base="guarded",
        ),
    )
