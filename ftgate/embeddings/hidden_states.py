"""Text embeddings from hidden states: the base model's, so that no other model is needed, or an encoder's."""

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
    """Hidden states of the middle layer of the full weights in ``folder``, averaged over a text's tokens.

    The middle layer, because the last layers shift from a text's meaning to its next word. The text is embedded without
    a chat template and truncated to ``max_tokens``. For an ``encoder`` (its name), a model trained to embed, the last
    layer is used, with special tokens, pooled as its own files say (:mod:`ftgate.embeddings.st_config`). The model is
    loaded by the first call of :meth:`embed`. Raises ArtifactError for files with unsupported settings.
    """

    def __init__(
        self, folder: Path, digest: str = "", *, encoder: str | None = None, max_tokens: int = MAX_TOKENS
    ) -> None:
        self._folder = folder
        self._digest = digest
        self._encoder = encoder
        self._pipeline = read_pipeline(folder, encoder) if encoder else Pipeline()
        self._max_tokens = max(1, min(max_tokens, _max_text_tokens(folder, self._pipeline) if encoder else max_tokens))
        config = read_json(folder / "config.json")
        layers = (config.get("text_config") or config).get("num_hidden_layers")
        if not isinstance(layers, int) or layers < 1:
            raise ArtifactError(
                f"{folder}/config.json: num_hidden_layers is missing", hint="use a folder of full weights"
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
        """How the vectors are computed, for the report."""
        of = f" of {self._encoder}" if self._encoder else ""
        return f"hidden states{of}, layer {self._layer} of {self._layers}, {self._pipeline.in_words}"

    @property
    def identity(self) -> str:
        """Weights, layer, truncation and device."""
        return f"{self._digest} {self.name} {self._max_tokens} {self._device}"

    def fit(self, texts: Iterable[str]) -> None:
        """There is nothing to learn."""

    def embed(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> FloatArray:
        """An array of shape (n, d). ``on_progress`` gets the number of texts of each finished batch."""
        if not texts:
            return np.zeros((0, 0))
        self._load()
        ids = self._tokens(texts)
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        table: FloatArray | None = None
        while order:
            batch = _take_batch(order, ids)
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
        fallback = self._tokenizer.eos_token_id or 0
        return [row or [fallback] for row in rows["input_ids"]]

    def _prompt_tokens(self) -> int:
        """The number of leading tokens that belong to the prompt; a final special token does not count."""
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
        # Its progress bar would overwrite ours.
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
                hint="set embedding: tfidf in the policy, which needs no model",
            ) from error
        self._net = net.to(self._device).eval()
        self._skipped = self._prompt_tokens()

    @torch.inference_mode()
    def _pool(self, rows: Sequence[Sequence[int]]) -> FloatArray:
        """The vector of each row, shape (rows, d). Padding is on the right, where no token attends to it."""
        width = max(len(ids) for ids in rows)
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        tokens, mask = tokens.to(self._device), mask.to(self._device)
        options = {"use_cache": False} if "use_cache" in inspect.signature(self._net.forward).parameters else {}
        output = self._net(input_ids=tokens, attention_mask=mask, output_hidden_states=True, **options)
        states = output.hidden_states[self._layer].float()
        pooled = pool(states, mask, self._pipeline.pooling, self._skipped)
        if self._steps is None:
            self._steps = load_steps(self._pipeline, pooled.shape[1], self._device)
        for step in self._steps:
            pooled = step(pooled)
        return np.asarray(pooled.cpu().numpy(), dtype=np.float64)


def _max_text_tokens(folder: Path, pipeline: Pipeline) -> int:
    """The longest text that an encoder reads, in tokens."""
    context = context_of(folder) or MAX_TOKENS
    declared = pipeline.max_tokens or read_json(folder / "tokenizer_config.json").get("model_max_length")
    # Some position tables reserve their first few entries, which only the declared length accounts for.
    return declared if isinstance(declared, int) and 0 < declared <= context else context - 4


def _take_batch(order: list[int], ids: Sequence[Sequence[int]]) -> list[int]:
    """Remove one batch from the end of ``order``, where the longest texts are."""
    rows = max(1, BATCH_TOKENS // len(ids[order[-1]]))
    batch = order[-rows:]
    del order[-rows:]
    return batch
