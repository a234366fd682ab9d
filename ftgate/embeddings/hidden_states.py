"""Vectors for texts from a model's own hidden states: the base's, so that no other model is needed, or an encoder's."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftgate.domain import FloatArray
from ftgate.embeddings.pooling import Step, load_steps, pool
from ftgate.embeddings.st_config import Pipeline, read_pipeline
from ftgate.engines.chat_template import context_of, load_tokenizer, read_json
from ftgate.engines.isolation import Isolation
from ftgate.errors import ArtifactError, EngineError

MAX_TOKENS = 512
BATCH_TOKENS = 4096


class HiddenStateEmbedder:
    """The middle layer's hidden states of the full weights in ``folder``, averaged over the tokens of a text.

    The middle, because the last layers turn from what a text means to which word comes next. The text alone is read,
    without a chat template, and cut at ``max_tokens``. An ``encoder`` (its name), which was trained to embed, gives its
    last layer instead, special tokens included, pooled as its own files say (:mod:`ftgate.embeddings.st_config`). The
    model is loaded with the first call of :meth:`embed`. Raises ArtifactError for files that say what is not known.
    """

    def __init__(
        self, folder: Path, digest: str = "", *, encoder: str | None = None, max_tokens: int = MAX_TOKENS
    ) -> None:
        self._folder = folder
        self._digest = digest
        self._encoder = encoder
        self._pipeline = read_pipeline(folder, encoder) if encoder else Pipeline()
        self._max_tokens = max(1, min(max_tokens, _room(folder, self._pipeline) if encoder else max_tokens))
        config = read_json(folder / "config.json")
        layers = (config.get("text_config") or config).get("num_hidden_layers")
        if not isinstance(layers, int) or layers < 1:
            raise ArtifactError(
                f"{folder}/config.json: num_hidden_layers is missing", hint="give a folder of full weights"
            )
        self._layers = layers
        self._layer = layers if encoder else max(1, layers // 2)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._net: Any = None
        self._tokenizer: Any = None
        self._steps: list[Step] | None = None
        self._skipped = 0
        self._isolation = Isolation()

    @property
    def name(self) -> str:
        """How the vectors are made, for the report."""
        of = f" of {self._encoder}" if self._encoder else ""
        return f"hidden states{of}, layer {self._layer} of {self._layers}, {self._pipeline.in_words}"

    @property
    def identity(self) -> str:
        """The weights, the layer, and where texts are cut."""
        return f"{self._digest} {self.name} {self._max_tokens} {self._device}"

    def fit(self, texts: Iterable[str]) -> None:
        """The model is what it is."""

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> FloatArray:
        """An array of shape (n, d). ``on_progress`` gets the number of texts of each batch when it is done."""
        if not texts:
            return np.zeros((0, 0))
        self._load()
        ids = self._tokens(texts)
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        table: FloatArray | None = None
        while order:
            batch = _take(order, ids)
            pooled = self._pool([ids[index] for index in batch])
            if table is None:
                table = np.empty((len(ids), pooled.shape[1]))
            table[batch] = pooled
            if on_progress is not None:
                on_progress(len(batch))
        assert table is not None
        return table

    def close(self) -> None:
        """Free the model."""
        self._net = self._tokenizer = self._steps = None
        self._isolation.end()
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        prompted = [self._pipeline.prompt + text for text in texts]
        rows = self._tokenizer(
            [text.lower() for text in prompted] if self._pipeline.lower else prompted,
            add_special_tokens=bool(self._encoder),
            truncation=True,
            max_length=self._max_tokens,
        )
        blank = self._tokenizer.eos_token_id or 0
        return [row or [blank] for row in rows["input_ids"]]

    def _prompt_tokens(self) -> int:
        """How many tokens at the beginning of each row are the prompt's, a mark that closes every text left out."""
        if self._pipeline.include_prompt or not self._pipeline.prompt:
            return 0
        ids = self._tokens([""])[0]
        return len(ids) - (ids[-1] in self._tokenizer.all_special_ids)

    def _load(self) -> None:
        if self._net is not None:
            return
        from transformers import AutoModel
        from transformers.utils import logging

        self._isolation.begin()
        # Its bar for the weights would be drawn across the gate's own.
        logging.disable_progress_bar()
        self._tokenizer = load_tokenizer(self._folder)
        dtype = "float32" if self._device == "cpu" else "auto"
        try:
            net = AutoModel.from_pretrained(
                str(self._folder), dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
            )
        except Exception as error:
            raise EngineError(
                f"transformers could not load {self._folder}: {type(error).__name__}: {error}",
                hint="choose embedding: tfidf in the policy to do without a model",
            ) from error
        self._net = net.to(self._device).eval()
        self._skipped = self._prompt_tokens()

    @torch.inference_mode()
    def _pool(self, rows: Sequence[Sequence[int]]) -> FloatArray:
        """The vector of each row, shape (rows, d). Padding stands on the right, where no token looks."""
        width = max(len(ids) for ids in rows)
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        tokens, mask = tokens.to(self._device), mask.to(self._device)
        more = {"use_cache": False} if "use_cache" in inspect.signature(self._net.forward).parameters else {}
        out = self._net(input_ids=tokens, attention_mask=mask, output_hidden_states=True, **more)
        states = out.hidden_states[self._layer].float()
        pooled = pool(states, mask, self._pipeline.pooling, self._skipped)
        if self._steps is None:
            self._steps = load_steps(self._pipeline, pooled.shape[1], self._device)
        for step in self._steps:
            pooled = step(pooled)
        return np.asarray(pooled.cpu().numpy(), dtype=np.float64)


def _room(folder: Path, pipeline: Pipeline) -> int:
    """The longest text that an encoder reads, in tokens."""
    context = context_of(folder) or MAX_TOKENS
    stated = pipeline.max_tokens or read_json(folder / "tokenizer_config.json").get("model_max_length")
    # Its table of positions may begin after a few that it keeps for itself, which only its author accounts for.
    return stated if isinstance(stated, int) and 0 < stated <= context else context - 4


def _take(order: list[int], ids: Sequence[Sequence[int]]) -> list[int]:
    """Remove from the end of ``order``, where the longest are, as many texts as fit into one batch."""
    rows = max(1, BATCH_TOKENS // len(ids[order[-1]]))
    batch = order[-rows:]
    del order[-rows:]
    return batch
