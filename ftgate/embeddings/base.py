"""The embedding interface, and hashed TF-IDF, which needs no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ftgate.domain import Model, digest_of

DIMENSIONS = 1024
BATCH = 4096
"""Texts vectorised at once."""


class Embedder(Protocol):
    """Turns texts into vectors; ``name`` describes how."""

    @property
    def name(self) -> str:
        """How the vectors are computed, for the report."""
        ...

    @property
    def identity(self) -> str:
        """Everything that a vector depends on except its text."""
        ...

    def fit(self, texts: Iterable[str]) -> None:
        """Learn from the training texts, before any text is embedded."""
        ...

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> NDArray[Any]:
        """An array of shape (n, d)."""
        ...

    def close(self) -> None:
        """Free all resources."""
        ...


def open_embedder(kind: str, base: Model, encoder: Model | None = None) -> Embedder:
    """``tfidf``, ``hidden_states`` of ``base``, or the vectors of an ``encoder``. Models are loaded on first use."""
    if kind == "tfidf":
        return HashedTfidf()
    if kind == "encoder" and encoder is not None:
        from ftgate.embeddings.sentence_encoder import SentenceEncoder

        return SentenceEncoder(encoder)
    from ftgate.embeddings.hidden_states import HiddenStateEmbedder

    return HiddenStateEmbedder(base.path, base.digest)


class HashedTfidf:
    """Words, word pairs and character 3- to 5-grams, hashed into 1024 columns and weighted by IDF.

    Hashing (Weinberger et al. 2009, Feature Hashing for Large Scale Multitask Learning) bounds memory for any
    vocabulary. IDF is ln((1 + n) / (1 + texts with it)) + 1 over the texts given to :meth:`fit`. Weaker than a model's
    hidden states, but it needs no weights and no accelerator.
    """

    name = f"hashed TF-IDF of words and characters, {DIMENSIONS} columns"

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer
        from sklearn.pipeline import make_union

        half = DIMENSIONS // 2
        words = HashingVectorizer(analyzer="word", ngram_range=(1, 2), n_features=half, norm=None)
        characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=half, norm=None)
        self._union = make_union(words, characters)
        self._weights = np.ones(DIMENSIONS)

    @property
    def identity(self) -> str:
        """The columns and their weights."""
        return digest_of([self.name, self._weights.tolist()])

    def fit(self, texts: Iterable[str]) -> None:
        """Count the texts in which each column occurs."""
        total, document_counts = 0, np.zeros(DIMENSIONS)
        for batch in batches(texts):
            document_counts += np.asarray((self._counts(batch) > 0).sum(axis=0)).ravel()
            total += len(batch)
        self._weights = np.log((1 + total) / (1 + document_counts)) + 1

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> NDArray[Any]:
        """An array of shape (n, 1024), each row of length one; the row of a text without letters or symbols is 0."""
        table = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            part = self._counts(texts[start : start + BATCH]).toarray() * self._weights
            length = np.linalg.norm(part, axis=1, keepdims=True)
            table[start : start + BATCH] = part / np.where(length > 0, length, 1.0)
            if on_progress is not None:
                on_progress(len(part))
        return table

    def close(self) -> None:
        """There is nothing to free."""

    def _counts(self, texts: Sequence[str]) -> Any:
        return abs(self._union.transform([text or " " for text in texts]))


def batches(texts: Iterable[str], size: int = BATCH) -> Iterator[list[str]]:
    """The texts in lists of ``size``."""
    remaining = iter(texts)
    while batch := list(islice(remaining, size)):
        yield batch


def take_batch(order: list[int], lengths: Sequence[int], budget: int) -> list[int]:
    """Remove one batch from the end of ``order``, where the longest texts are.

    Together they have at most ``budget``, counted as if each were as long as the longest; a longer text comes alone.
    """
    rows = max(1, budget // max(1, lengths[order[-1]]))
    batch = order[-rows:]
    del order[-rows:]
    return batch
