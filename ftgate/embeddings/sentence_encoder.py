"""Text embeddings from a model that was trained to embed, loaded and pooled by sentence-transformers."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftgate.domain import FloatArray, Model
from ftgate.embeddings.base import take_batch
from ftgate.engines.isolation import Isolation
from ftgate.errors import EngineError

MAX_TOKENS = 512
BATCH_CHARACTERS = 16_384
"""About four thousand tokens of English."""
_CHARACTERS_PER_TOKEN = 4
_TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


class SentenceEncoder:
    """The vectors that sentence-transformers makes with ``model``, as its own files say.

    Its files were checked by :func:`ftgate.models.open.open_encoder`: they name no code and no other folder. Without
    modules.json the last layer is averaged over a text's tokens. Texts are truncated to the model's own maximum, 512
    tokens at most, and preceded by its default prompt, if it has one. The model is loaded by the first call of
    :meth:`embed`, without network and without code from the folder.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._encoder: Any = None
        self._blank = ""
        self._max_characters = MAX_TOKENS * _CHARACTERS_PER_TOKEN
        self._isolation = Isolation()

    @property
    def name(self) -> str:
        """How the vectors are computed, for the report."""
        return f"embedding model {self._model.reference or self._model.name}, {self._model.facts['vectors']}"

    @property
    def identity(self) -> str:
        """Weights, files, truncation, library and device."""
        library = f"sentence-transformers {version('sentence-transformers')}"
        return f"{self._model.digest} {self.name} {MAX_TOKENS} {library} {self._device}"

    def fit(self, texts: Iterable[str]) -> None:
        """There is nothing to learn."""

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> FloatArray:
        """An array of shape (n, d). ``on_progress`` gets the number of texts of each finished batch."""
        if not texts:
            return np.zeros((0, 0))
        self._load()
        lengths = [min(len(text), self._max_characters) for text in texts]
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        table: FloatArray | None = None
        while order:
            batch = take_batch(order, lengths, BATCH_CHARACTERS)
            vectors = self._encoder.encode(
                [texts[index] or self._blank for index in batch], batch_size=len(batch), show_progress_bar=False
            )
            if table is None:
                table = np.empty((len(texts), vectors.shape[1]))
            table[batch] = vectors
            if on_progress is not None:
                on_progress(len(batch))
        assert table is not None
        return table

    def close(self) -> None:
        """Free the model."""
        self._encoder = None
        self._isolation.end()
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _load(self) -> None:
        if self._encoder is not None:
            return
        from transformers.utils import logging as transformers_logging

        self._isolation.begin()
        # Its progress bar would overwrite ours.
        transformers_logging.disable_progress_bar()
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        try:
            self._encoder = self._load_modules(self._model.path)
            self._prepare_tokenizer()
        except Exception as error:
            raise EngineError(
                f"sentence-transformers could not load {self._model.reference or self._model.path}: "
                f"{type(error).__name__}: {error}",
                hint="set embedding: tfidf in the policy, which needs no model",
            ) from error

    def _load_modules(self, folder: Path) -> Any:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        closed = {"local_files_only": True, "trust_remote_code": False}
        weights = {"dtype": "float32" if self._device == "cpu" else "auto", "use_safetensors": True}
        if (folder / "modules.json").exists():
            return SentenceTransformer(str(folder), device=self._device, model_kwargs=weights, **closed)
        transformer = Transformer(
            str(folder),
            model_kwargs={**weights, **closed},
            processor_kwargs=closed,
            config_kwargs=closed,
            modality_config=_TEXT,
            module_output_name="token_embeddings",
        )
        pooling = Pooling(transformer.get_embedding_dimension(), "mean")
        return SentenceTransformer(modules=[transformer, pooling], device=self._device)

    def _prepare_tokenizer(self) -> None:
        """Truncate texts to what the model reads, pad them, and give an empty text at least one token."""
        transformer = self._encoder[0]
        config = getattr(transformer, "config", None)
        if config is None:  # word vectors: any length, and those of no words are 0
            return
        tokenizer = transformer.tokenizer
        context = getattr(config.get_text_config(), "max_position_embeddings", None) or 0
        context = context if context > 0 else 2 * MAX_TOKENS
        declared = tokenizer.init_kwargs.get("model_max_length")
        # Some position tables reserve their first few entries, which only the declared length accounts for.
        limit = declared if isinstance(declared, int) and 0 < declared <= context else context - 4
        self._encoder.max_seq_length = limit = max(1, min(MAX_TOKENS, limit))
        self._max_characters = limit * _CHARACTERS_PER_TOKEN
        stand_in = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        if tokenizer.pad_token is None:  # no token attends to padding
            tokenizer.pad_token = stand_in
        if not tokenizer("")["input_ids"]:
            self._blank = stand_in
