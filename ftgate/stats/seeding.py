"""Where every draw comes from."""

from __future__ import annotations

import hashlib

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
