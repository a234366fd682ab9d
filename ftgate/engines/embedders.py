"""Which texts-to-vectors method serves a policy: the base model's hidden states, or hashed TF-IDF without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ftgate.domain import FloatArray

DIMENSIONS = 1024


class Embedder(Protocol):
    """Turns texts into vectors; ``name`` says how."""

    @property
    def name(self) -> str:
        """How the vectors are made, for the report."""
        ...

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> FloatArray:
        """An array of shape (n, d)."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


def open_embedder(kind: str, base: Path) -> Embedder:
    """``hidden_states`` of the full weights in ``base``, or ``tfidf``. The model is loaded when first used."""
    if kind == "tfidf":
        return HashedTfidf()
    from ftgate.engines.embedding import HiddenStateEmbedder

    return HiddenStateEmbedder(base)


class HashedTfidf:
    """Words, word pairs and character 3- to 5-grams hashed into 1024 columns, weighted by rarity.

    Hashing (Weinberger et al. 2009, Feature Hashing for Large Scale Multitask Learning) bounds memory whatever the
    vocabulary. Weak beside a model's own states, but it needs no weights and no accelerator.
    """

    name = f"hashed TF-IDF of words and characters, {DIMENSIONS} columns"

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> FloatArray:
        """An array of shape (n, 1024); rarity is counted over ``texts``."""
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
        from sklearn.pipeline import make_union

        half = DIMENSIONS // 2
        words = HashingVectorizer(analyzer="word", ngram_range=(1, 2), n_features=half, norm=None)
        characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=half, norm=None)
        counts = make_union(words, characters).transform([text or " " for text in texts])
        table: FloatArray = np.asarray(TfidfTransformer(sublinear_tf=False).fit_transform(abs(counts)).todense())
        if on_progress is not None:
            on_progress(len(texts))
        return table

    def close(self) -> None:
        """Nothing is held."""
