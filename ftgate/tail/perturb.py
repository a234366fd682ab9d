"""Perturbing ordinary queries: layout, letter case, typos, two queries in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ftgate.stats.seeding import drawn_order, generator

TYPO_SHARE = 0.15
"""Share of words with a typo, at least one."""
Change = Callable[[str, str, np.random.Generator], str]
"""Takes a query, another query and a generator; returns the perturbed text."""


class PerturbedQuery(NamedTuple):
    """A perturbed query, its kind of perturbation, and the tag of the edge case that it now is."""

    kind: str
    tag: str
    text: str


def perturb_queries(queries: Sequence[str], kinds: Sequence[str], count: int, seed: int) -> Iterator[PerturbedQuery]:
    """Up to ``count`` of ``queries``, perturbed by ``kinds`` in turn; unchanged results are skipped.

    Queries and perturbations follow from the seed and the texts alone. Raises KeyError for an unknown kind.
    """
    changes = [(kind, *KINDS[kind]) for kind in dict.fromkeys(kinds)]
    order = drawn_order(seed, "perturbed queries", queries)
    done = 0
    for position, i in enumerate(order):
        if done == count or not changes:
            return
        kind, tag, change = changes[done % len(changes)]
        other = queries[order[position - 1]]
        text = change(queries[i], other, generator(seed, f"perturb {kind} {queries[i]}"))
        if text.strip() and text not in (queries[i], other):
            done += 1
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


def _typos(text: str, _: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3]
    for i in rng.permutation(long)[: max(1, round(TYPO_SHARE * len(words)))] if long else ():
        word, at = words[i], int(rng.integers(1, len(words[i]) - 1))
        words[i] = (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],  # swapped letters
            word[:at] + word[at + 1 :],  # missing letter
            word[:at] + word[at] + word[at:],  # doubled letter
        )[int(rng.integers(3))]
    return " ".join(words)


def _two_intents(text: str, other: str, rng: np.random.Generator) -> str:
    conjunction = (" Also, ", "\n\nAnother thing: ", " And while you are at it: ")[int(rng.integers(3))]
    return f"{text.strip()}{conjunction}{other.strip()}"


KINDS: Mapping[str, tuple[str, Change]] = {
    "format": ("unusual_format", _layout),
    "case": ("unusual_format", _case),
    "typos": ("unusual_format", _typos),
    "two_intents": ("multi_intent", _two_intents),
}
"""Every kind of perturbation, with the tag of the edge case that it creates."""
