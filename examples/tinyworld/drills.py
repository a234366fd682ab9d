"""Warm-up drills for the base model: repeat a list, and look letters up.

A one-million-parameter model learns to copy and to bind an option's letter to its text only after a long plateau when
every example teaches it one token. A drill teaches many tokens, and starts with lists of two: attention has little to
search through, so it finds what to look for. The lists then grow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import torch
from transformers import PreTrainedTokenizerFast

from ftgate.scoring.choice import LETTERS

from .skills import OPPOSITE, WORDS
from .tickets import DEPARTMENTS
from .training import IGNORED, Batch
from .world import CREATURES

POOL = tuple(dict.fromkeys((*WORDS, *OPPOSITE, *DEPARTMENTS, *CREATURES)))
Token = tuple[int, bool]  # a token, and whether it is to be learned


def stack(rows: list[list[Token]]) -> Batch:
    """Ids and labels, padded on the right."""
    width = max(len(row) for row in rows)
    full = [row + [(0, False)] * (width - len(row)) for row in rows]
    tokens = torch.tensor([[token for token, _ in row] for row in full])
    learned = torch.tensor([[flag for _, flag in row] for row in full])
    return Batch(tokens, torch.where(learned, tokens, torch.full_like(tokens, IGNORED)))


class Drills:
    """Makes drill batches that get harder over the first ``growing`` batches."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, growing: int, size: int, seed: int) -> None:
        """Look up the tokens that drills are made of; ``size`` is roughly the number of tokens in a batch."""
        self._rng = random.Random(seed)
        self._growing, self._size = growing, size

        def one(text: str) -> int:
            ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
            return ids[0] if len(ids) == 1 else -1

        self._user, self._line, self._dot, self._colon = one("<|user|>"), one("\n"), one("."), one(":")
        self._letters = [one(letter) for letter in LETTERS[:6]]
        self._words = [(one(" " + word), one(word)) for word in POOL if one(" " + word) >= 0]

    def _copy(self, n: int) -> list[Token]:
        """A list, then the same list twice: as it was, or one word a line."""
        words = self._rng.sample(self._words, n)
        out = [(spaced, False) for spaced, _ in words]
        for _ in range(2):
            out.append((self._colon, False))
            if self._rng.random() < 0.7 or any(bare < 0 for _, bare in words):
                out += [(spaced, True) for spaced, _ in words]
            else:
                out += [token for _, bare in words for token in ((self._line, True), (bare, True))]
        return out

    def _reverse(self, n: int) -> list[Token]:
        """A list, and the same list backwards."""
        words = self._rng.sample(self._words, min(n, 5))
        return [
            *((spaced, False) for spaced, _ in words),
            (self._line, False),
            *((spaced, True) for spaced, _ in reversed(words)),
        ]

    def _lookup(self, n: int) -> list[Token]:
        """A block of options, then the letters of the words that are asked for."""
        n = min(n, 6)
        letters = self._letters[:n] if n > 3 else self._rng.sample(self._letters, n)
        words = [spaced for spaced, _ in self._rng.sample(self._words, n)]
        out: list[Token] = []
        for letter, word in zip(letters, words, strict=True):
            out += [(self._line, False), (letter, False), (self._dot, False), (word, False)]
        out.append((self._line, False))
        for _ in range(n + 2):
            at = self._rng.randrange(n)
            out += [(words[at], False), (letters[at], True)]
        return out

    def batches(self) -> Iterator[Batch]:
        """Endless batches, one sort and one length each."""
        sorts: tuple[Callable[[int], list[Token]], ...] = (self._copy, self._lookup, self._reverse, self._lookup)
        step = 0
        while True:
            make = sorts[step % len(sorts)]
            longest = 2 + round(6 * min(1.0, step / self._growing))
            n = self._rng.randint(2, longest)
            width = len(make(n)) + 1
            yield stack([[(self._user, False), *make(n)] for _ in range(self._size // width)])
            step += 1
