"""Ordinary queries made unusual: another layout, another case, slips of the fingers, two of them in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ftgate.stats.seeding import drawn_order, generator

SLIP_SHARE = 0.15
"""The share of words that a typo hits, at least one."""
Change = Callable[[str, str, np.random.Generator], str]
"""From a query, another query and a generator to the changed text."""


class PerturbedQuery(NamedTuple):
    """A changed query, the way it was changed, and the edge case that it now is."""

    kind: str
    tag: str
    text: str


def perturbed(queries: Sequence[str], kinds: Sequence[str], count: int, seed: int) -> Iterator[PerturbedQuery]:
    """Up to ``count`` of ``queries``, changed in each of ``kinds`` in turn, but for those that a change leaves alone.

    Which queries and which changes follows from the seed and the texts alone. Raises KeyError for an unknown kind.
    """
    changes = [(kind, *KINDS[kind]) for kind in dict.fromkeys(kinds)]
    order = drawn_order(seed, "perturbed queries", queries)
    made = 0
    for place, i in enumerate(order):
        if made == count or not changes:
            return
        kind, tag, change = changes[made % len(changes)]
        other = queries[order[place - 1]]
        text = change(queries[i], other, generator(seed, f"perturb {kind} {queries[i]}"))
        if text.strip() and text not in (queries[i], other):
            made += 1
            yield PerturbedQuery(kind, tag, text)


def _layout(text: str, _: str, rng: np.random.Generator) -> str:
    words = text.split()
    return (
        lambda: "\n".join(f"- {word}" for word in words),
        lambda: f"SUBJECT: {words[0]}\nBODY >>> {' '.join(words)} <<<",
        lambda: "  ".join(words).replace(",", " , ") + "\n\n\n--\nsent from my phone",
        lambda: "|".join(words),
    )[int(rng.integers(4))]()


def _case(text: str, _: str, rng: np.random.Generator) -> str:
    def mixed() -> str:
        return "".join(c.upper() if up else c.lower() for c, up in zip(text, rng.random(len(text)) < 0.5, strict=True))

    return (text.upper, text.lower, mixed)[int(rng.integers(3))]()


def _slips(text: str, _: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3]
    for i in rng.permutation(long)[: max(1, round(SLIP_SHARE * len(words)))] if long else ():
        word, at = words[i], int(rng.integers(1, len(words[i]) - 1))
        words[i] = (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],  # two letters changed places
            word[:at] + word[at + 1 :],  # one is missing
            word[:at] + word[at] + word[at:],  # one came twice
        )[int(rng.integers(3))]
    return " ".join(words)


def _both(text: str, other: str, rng: np.random.Generator) -> str:
    joint = (" Also, ", "\n\nAnother thing: ", " And while you are at it: ")[int(rng.integers(3))]
    return f"{text.strip()}{joint}{other.strip()}"


KINDS: Mapping[str, tuple[str, Change]] = {
    "format": ("unusual_format", _layout),
    "case": ("unusual_format", _case),
    "typos": ("unusual_format", _slips),
    "two_intents": ("multi_intent", _both),
}
"""Every way to change a query, with the tag of the edge case that it makes."""
