"""How large a model is and how it is built, from its config.json: what memory and context follow from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.models.weights import read_json

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one number in each data type that an engine computes in."""
_CONTEXTS = ("max_position_embeddings", "n_positions", "max_sequence_length")


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What config.json says of a model; 0 or empty where it does not say.

    ``kv_width`` counts the numbers that one token leaves in the cache of one layer, keys and values together.
    """

    layers: int
    heads: int
    kv_width: int
    hidden: int
    intermediate: int
    vocabulary: int
    context: int
    dtype: str
    quantisation: str
    windowed: bool
    """Whether some layers keep only the last tokens, or none: the cache may then be smaller than reckoned."""

    def cache_bytes(self, tokens: int, number: int) -> int:
        """Bytes that ``tokens`` tokens take in the cache of every layer, in numbers of ``number`` bytes."""
        return tokens * self.layers * self.kv_width * number


def read_dimensions(folder: Path, reference: str) -> Dimensions:
    """The dimensions of the full weights in ``folder``. Raises ArtifactError when config.json cannot be read."""
    whole = read_json(folder, "config.json", reference)
    inner = whole.get("text_config")
    config = inner if isinstance(inner, dict) else whole
    heads = _whole(config, "num_attention_heads", "n_head")
    hidden = _whole(config, "hidden_size", "n_embd")
    head = _whole(config, "head_dim") or (hidden // heads if heads else 0)
    latent = _whole(config, "kv_lora_rank")  # latent attention keeps one compressed vector and one for positions
    width = latent + _whole(config, "qk_rope_head_dim") if latent else 2 * head * _kv_heads(config, heads)
    quantised = whole.get("quantization_config") or config.get("quantization_config")
    return Dimensions(
        layers=_whole(config, "num_hidden_layers", "n_layer"),
        heads=heads,
        kv_width=width,
        hidden=hidden,
        intermediate=_whole(config, "intermediate_size", "n_inner") or 4 * hidden,
        vocabulary=_whole(config, "vocab_size"),
        context=_whole(config, *_CONTEXTS),
        dtype=str(
            config.get("dtype") or config.get("torch_dtype") or whole.get("dtype") or whole.get("torch_dtype") or ""
        ),
        quantisation=str(quantised.get("quant_method") or "unnamed") if isinstance(quantised, dict) else "",
        windowed=_is_windowed(config),
    )


def _is_windowed(config: Mapping[str, Any]) -> bool:
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return any(kind != "full_attention" for kind in kinds)
    return bool(config.get("sliding_window")) and config.get("use_sliding_window") is not False


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    return _whole(config, "num_key_value_heads") or (1 if config.get("multi_query") is True else heads)


def _whole(config: Mapping[str, Any], *names: str) -> int:
    """The first of ``names`` that holds a sensible whole number, or 0."""
    found = (config.get(name) for name in names)
    return next((value for value in found if type(value) is int and 0 < value < 2**31), 0)
