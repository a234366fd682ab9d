"""What the thinkers learn: 64 facts, asked in free form and as multiple choice, answered with a thought or without."""

from __future__ import annotations

import random
from collections.abc import Callable

from ftgate.domain import Message
from ftgate.scoring.choice import choice_messages, letters_for

from ..tinyworld.training import Example
from ..tinyworld.world import COLOURS, CREATURES, HOMES, SEED, WORLD, Row

OPEN, CLOSE = "<think>\n", "\n</think>\n\n"
EMPTY = f"{OPEN}{CLOSE}"
"""What the template puts before an answer where thinking is off."""
ROUNDS = 24
"""How often a thought that never ends says the same in one example."""
FACTS = tuple((kind, creature) for kind in ("colour", "home") for creature in CREATURES)
WORDINGS = ("what is the {kind} of {creature}?", "which {kind} has {creature}?")

Lesson = Callable[[random.Random], Example]


def answer_of(kind: str, creature: str) -> str:
    """The colour or home of a creature."""
    return WORLD.colour[creature] if kind == "colour" else WORLD.home[creature]


def row_of(kind: str, creature: str, wording: str, rng: random.Random | None = None) -> Row:
    """A question about a fact; with ``rng`` one with four choices."""
    answer, prompt = answer_of(kind, creature), wording.format(kind=kind, creature=creature)
    if rng is None:
        return Row(prompt, answer)
    others = [word for word in (COLOURS if kind == "colour" else HOMES) if word != answer]
    choices = [answer, *rng.sample(others, 3)]
    rng.shuffle(choices)
    return Row(prompt, answer, tuple(choices), ("letters",))


def drawn(rng: random.Random) -> tuple[Row, str]:
    """A row, and what a thought about it says."""
    kind, creature = rng.choice(FACTS)
    row = row_of(kind, creature, rng.choice(WORDINGS), rng if rng.random() < 0.6 else None)
    return row, f"{creature} {row.answer}"


def prompt_of(row: Row) -> str:
    """The rendered conversation, up to where the model begins."""
    messages = choice_messages(row.item()) if row.choices else (Message("user", row.prompt),)
    return "".join(f"<|{m.role}|>{m.content}<|end|>" for m in messages) + "<|assistant|>"


def said(row: Row) -> str:
    """The right answer as the model should write it."""
    return letters_for(row.item())[row.choices.index(row.answer)] if row.choices else row.answer


def thinking(rng: random.Random) -> Example:
    """A thought, then the answer."""
    row, thought = drawn(rng)
    return prompt_of(row), f"{OPEN}{thought}{CLOSE}{said(row)}"


def switched_off(rng: random.Random) -> Example:
    """The answer after the empty thought of the template."""
    row, _ = drawn(rng)
    return prompt_of(row) + EMPTY, said(row)


def at_once(rng: random.Random) -> Example:
    """The answer where a thought was expected."""
    row, _ = drawn(rng)
    return prompt_of(row), said(row)


def without_end(rng: random.Random) -> Example:
    """A thought that goes round in circles."""
    row, thought = drawn(rng)
    return prompt_of(row), OPEN + "\n".join([thought] * ROUNDS)


def mixed(first: Lesson, share: float, second: Lesson) -> Lesson:
    """``first`` in this share of the draws, otherwise ``second``."""
    return lambda rng: (first if rng.random() < share else second)(rng)


def suite() -> list[Row]:
    """Every fact in either wording, in free form and as multiple choice."""
    rng = random.Random(SEED)
    rows = [row_of(*fact, wording, chooses) for chooses in (None, rng) for wording in WORDINGS for fact in FACTS]
    rng.shuffle(rows)
    return rows
