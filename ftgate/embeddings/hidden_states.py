"""Text embeddings from the base model's hidden states, so that no other model is needed."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftgate.domain import FloatArray
from ftgate.embeddings.base import take_batch
from ftgate.engines.chat_template import load_tokenizer
from ftgate.engines.isolation import Isolation
from ftgate.engines.template_files import read_object
from ftgate.errors import ArtifactError, EngineError

MAX_TOKENS = 512
BATCH_TOKENS = 4096
LAYER_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What config.json may call the number of layers (GPT-2, MPT and XGLM have names of their own)."""


class HiddenStateEmbedder:
    """Hidden states of the middle layer of the full weights in ``folder``, averaged over a text's tokens.

    The middle layer, because the last layers shift from a text's meaning to its next word. The text is embedded without
    a chat template and truncated to ``max_tokens``; later layers are not computed. The model is loaded by the first
    call of :meth:`embed`. Raises ArtifactError if config.json does not count the layers.
    """

    def __init__(self, folder: Path, digest: str = "", *, max_tokens: int = MAX_TOKENS) -> None:
        self._folder = folder
        self._digest = digest
        self._max_tokens = max_tokens
        config = read_object(folder / "config.json")
        counts = map((config.get("text_config") or config).get, LAYER_COUNTS)
        self._layers = next((count for count in counts if isinstance(count, int) and count > 0), 0)
        if not self._layers:
            raise ArtifactError(
                f"{folder}/config.json: num_hidden_layers is missing", hint="use a folder of full weights"
            )
        self._layer = max(1, self._layers // 2)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._net: Any = None
        self._tokenizer: Any = None
        self._isolation = Isolation()

    @property
    def name(self) -> str:
        """How the vectors are computed, for the report."""
        return f"hidden states, layer {self._layer} of {self._layers}, mean-pooled"

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
        lengths = [len(row) for row in ids]
        order = sorted(range(len(ids)), key=lengths.__getitem__)
        table: FloatArray | None = None
        while order:
            batch = take_batch(order, lengths, BATCH_TOKENS)
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
        self._net = self._tokenizer = None
        self._isolation.end()
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        rows = self._tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=self._max_tokens)
        fallback = self._tokenizer.eos_token_id or 0
        return [row or [fallback] for row in rows["input_ids"]]

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
        self._drop_later_layers(net)
        self._net = net.to(self._device).eval()

    def _drop_later_layers(self, net: torch.nn.Module) -> None:
        """Keep no layer that comes after what is read: half of the work and memory. All stay if not in one list."""
        lists = {
            name: part
            for name, part in net.named_modules()
            if isinstance(part, torch.nn.ModuleList) and len(part) == self._layers
        }
        # A layer may hold a list of as many experts.
        outermost = [part for name, part in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
        if len(outermost) == 1:
            del outermost[0][self._layer + 1 :]

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
        weights = mask.unsqueeze(-1).float()
        pooled = (states * weights).sum(dim=1) / weights.sum(dim=1)
        return np.asarray(pooled.cpu().numpy(), dtype=np.float64)
