"""Where every draw comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """The generator of the measurement ``name`` in a run with ``seed``: the same two always give the same draws.

    Seed and name are hashed together (SHA-256 into a SeedSequence, PCG64), so that measurements draw independently of
    each other and adding one changes none of the others. ``seed`` may be any integer.
    """
    digest = hashlib.sha256(f"{int(seed)}\n{name}".encode()).digest()
    entropy = [int.from_bytes(digest[i : i + 4], "big") for i in range(0, len(digest), 4)]
    # Named outright: numpy may change what default_rng returns.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def drawn_order(seed: int, name: str, keys: Sequence[str]) -> list[int]:
    """The places of ``keys`` in a random order that follows from ``seed``, ``name`` and the keys alone.

    Each key is given a lot of its own (SHA-256), so that where it stands among the others does not matter, and a key
    more or less moves none of the others past each other. Like keys keep the order that they have.
    """
    return list(_order(seed, name, tuple(keys)))


@lru_cache(maxsize=64)  # every look asks for the same orders again
def _order(seed: int, name: str, keys: tuple[str, ...]) -> tuple[int, ...]:
    lots = [hashlib.sha256(f"{int(seed)}\n{name}\n{key}".encode(errors="surrogatepass")).digest() for key in keys]
    return tuple(sorted(range(len(keys)), key=lots.__getitem__))
