"""A model's dimensions from its config.json, from which memory and context length follow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.models.weights import read_json

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes per number of each data type that an engine computes in."""
_CONTEXTS = ("max_position_embeddings", "n_positions", "max_sequence_length")
_SIZES = frozenset((*_CONTEXTS, "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"))
"""Fields that no model has without a number, if it has them."""
QUANTISED_BESIDE = ("quantize_config.json", "quant_config.json", "hf_quant_config.json", "quantization_config.json")
"""Where vLLM finds how weights are stored if their config.json does not say it."""
_ABOVE_0 = frozenset({"rope_theta", "rope_local_base_freq", "rotary_emb_base"})
"""Bases of powers, by which positions are turned."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Dimensions of a model from its config.json; 0 or empty where not stated.

    ``kv_width``: numbers per token in one layer's KV cache, keys and values together.
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
    """Whether some layers use sliding-window or linear attention: the KV cache may then be smaller than estimated."""
    head_width: int = 0
    """Numbers of one attention head; 0 if unknown, or where attention is latent."""

    def cache_bytes(self, tokens: int, number_bytes: int) -> int:
        """KV cache bytes of ``tokens`` tokens in all layers, at ``number_bytes`` bytes per number."""
        return tokens * self.layers * self.kv_width * number_bytes


def read_dimensions(folder: Path, reference: str) -> Dimensions:
    """The dimensions of the full weights in ``folder``. Raises ArtifactError if config.json cannot be read."""
    root_config = read_json(folder, "config.json", reference)
    text_config = root_config.get("text_config")
    config = text_config if isinstance(text_config, dict) else root_config
    heads = _positive_int(config, "num_attention_heads", "n_head")
    hidden = _positive_int(config, "hidden_size", "n_embd")
    head_width = _positive_int(config, "head_dim") or (hidden // heads if heads else 0)
    latent_width = _positive_int(
        config, "kv_lora_rank"
    )  # latent attention caches one compressed vector, and one for positions
    kv_width = (
        latent_width + _positive_int(config, "qk_rope_head_dim")
        if latent_width
        else 2 * head_width * _kv_heads(config, heads)
    )
    return Dimensions(
        layers=_positive_int(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        heads=heads,
        kv_width=kv_width,
        hidden=hidden,
        intermediate=_positive_int(config, "intermediate_size", "n_inner") or 4 * hidden,
        vocabulary=_positive_int(config, "vocab_size"),
        context=_positive_int(config, *_CONTEXTS),
        dtype=str(
            config.get("dtype")
            or config.get("torch_dtype")
            or root_config.get("dtype")
            or root_config.get("torch_dtype")
            or ""
        ),
        quantisation=quantisation_of(root_config) or quantisation_of(config),
        windowed=_is_windowed(config),
        # A nested configuration leaves out what is the default of its kind.
        head_width=0 if latent_width or (config is text_config and "head_dim" not in config) else head_width,
    )


def why_unloadable(config: Mapping[str, Any], *, by_architecture: bool) -> Iterator[str]:
    """What in a config.json keeps engines from loading the model, as phrases with the field and its value.

    ``by_architecture``: whether the engine goes by ``architectures``, as vLLM does; transformers goes by
    ``model_type``.
    """
    if not (isinstance(kind := config.get("model_type"), str) and kind):
        yield f"model_type is {kind!a:.80}, and engines need the name of the model's family, such as llama"
    named = config.get("architectures")
    if by_architecture and not (isinstance(named, list) and named and all(isinstance(n, str) for n in named)):
        yield f"architectures is {named!a:.80}, and vLLM needs a list with a class, such as [LlamaForCausalLM]"
    inner = config.get("text_config")
    for name, value in (inner if isinstance(inner, dict) else config).items():
        is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if name in _SIZES and value is not None and not is_number:
            yield f"{name} is {value!a:.80}, and a number above 0 was expected"
    yield from _impossible_numbers(config)
    text = inner if isinstance(inner, dict) else config
    heads, key_heads = _positive_int(text, "num_attention_heads"), _positive_int(text, "num_key_value_heads")
    if heads and key_heads and heads % key_heads:
        yield f"num_attention_heads is {heads}, which num_key_value_heads {key_heads} does not divide"


def _impossible_numbers(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """NaN, and numbers out of range of what is added to a variance or turns positions, here or in what is within."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _impossible_numbers(value, f"{prefix}{name}.")
        elif isinstance(value, float) and math.isnan(value):
            yield f"{prefix}{name} is NaN, and a number was expected"
        elif value is not None and name.endswith(("_eps", "_epsilon")) and not _in_range(value, 0):
            yield f"{prefix}{name} is {value!a:.80}, and a number of 0 or more was expected, such as 1e-6"
        elif value is not None and name in _ABOVE_0 and not all(_in_range(v, 0) and v for v in _each(value)):
            yield f"{prefix}{name} is {value!a:.80}, and a number above 0 was expected, such as 10000"


def _each(value: Any) -> Sequence[Any]:
    """The entries of a list, which some models have one of for each kind of layer."""
    return value if isinstance(value, list) else [value]


def _in_range(value: Any, least: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= least


def quantisation_of(config: Mapping[str, Any]) -> str:
    """The quantisation that a configuration declares (``quant_method``); empty if none, "unnamed" without a name."""
    declared = config.get("quantization_config")
    return str(declared.get("quant_method") or "unnamed") if isinstance(declared, dict) and declared else ""


def _is_windowed(config: Mapping[str, Any]) -> bool:
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return any(kind != "full_attention" for kind in kinds)
    return bool(config.get("sliding_window")) and config.get("use_sliding_window") is not False


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    return _positive_int(config, "num_key_value_heads") or (1 if config.get("multi_query") is True else heads)


def _positive_int(config: Mapping[str, Any], *names: str) -> int:
    """The first of ``names`` that holds a plausible positive integer, or 0."""
    values = (config.get(name) for name in names)
    return next((value for value in values if type(value) is int and 0 < value < 2**31), 0)
