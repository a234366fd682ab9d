"""Whether tensors have the names and shapes that config.json describes: engines fill at random what does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ftgate.errors import ArtifactError
from ftgate.models.safetensors_header import Tensor

_LAYER_PREFIX = re.compile(r"(?P<prefix>(?:.*\.)?)layers\.\d+\.")
_OF_A_PART = re.compile(r"(?:^|\.)language_model\.")
"""What precedes the names of a text model that is a part of a larger one."""
_USUAL = "model."
_LARGER = ("text_config", "vision_config", "audio_config", "llm_config")
"""Fields of the configuration of a larger model, of which the text model is a part."""


class _Rule(NamedTuple):
    """``field``: what config.json calls the size of one ``axis`` of the tensors whose names end with ``names``."""

    field: str
    names: re.Pattern[str]
    axis: int
    expected: Callable[[Mapping[str, Any]], int | None]
    multiple: bool = False
    """Whether the size may also be a multiple: some queries hold a gate as well."""


def _stated(field: str) -> Callable[[Mapping[str, Any]], int | None]:
    return lambda config: _count(config.get(field))


def _width(config: Mapping[str, Any]) -> int | None:
    """``hidden_size``, unless embeddings have a width of their own."""
    return (
        None if config.get("word_embed_proj_dim") or config.get("embedding_size") else _count(config.get("hidden_size"))
    )


def _of_heads(field: str) -> Callable[[Mapping[str, Any]], int | None]:
    def expected(config: Mapping[str, Any]) -> int | None:
        heads, hidden = _count(config.get("num_attention_heads")), _count(config.get("hidden_size"))
        count = _count(config.get(field)) or (heads if config.get(field) is None else None)
        each = _count(config.get("head_dim")) or (hidden // heads if heads and hidden else None)
        return count * each if count and each else None

    return expected


_RULES = (
    _Rule("hidden_size", re.compile(r"(?:^|\.)embed_tokens\.weight"), 1, _width),
    _Rule(
        "intermediate_size",
        re.compile(r".*\.layers\.\d+\.mlp\.(?:gate|up)_proj\.weight"),
        0,
        _stated("intermediate_size"),
    ),
    _Rule(
        "num_key_value_heads",
        re.compile(r".*\.layers\.\d+\.self_attn\.k_proj\.weight"),
        0,
        _of_heads("num_key_value_heads"),
    ),
    _Rule(
        "num_attention_heads",
        re.compile(r".*\.layers\.\d+\.self_attn\.q_proj\.weight"),
        0,
        _of_heads("num_attention_heads"),
        multiple=True,
    ),
)


_OF_HEADS = ("num_attention_heads", "num_key_value_heads")


def require_declared_shapes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], reference: str) -> None:
    """Raise ArtifactError if no tensor of some kind has the size that config.json gives it.

    Where some have it, others may be of another size on purpose, as in models whose layers differ.
    """
    inner = config.get("text_config")
    of_text = inner if isinstance(inner, Mapping) else config
    for rule in _RULES:
        if rule.field in _OF_HEADS and of_text is inner and "head_dim" not in inner:
            continue  # a nested configuration leaves out what is the default of its kind
        expected = rule.expected(of_text)
        of_kind = [tensor for name, tensor in tensors.items() if rule.names.search(name) and len(tensor.shape) == 2]
        if expected is None or not of_kind or any(_fits(tensor.shape[rule.axis], expected, rule) for tensor in of_kind):
            continue
        first = of_kind[0]
        stated = of_text.get(rule.field)
        raise ArtifactError(
            f"{reference}: config.json says {rule.field} {stated}, so that {first.name} should have {expected} "
            f"{'columns' if rule.axis else 'rows'}, and it has {first.shape[rule.axis]}: engines stop, or fill it at "
            "random",
            hint="save model and config.json again, together",
        )


def require_usual_prefix(
    names: Collection[str], config: Mapping[str, Any], of_base: Collection[str], reference: str
) -> None:
    """Raise ArtifactError if the layers of a text model have names that some engine does not look for.

    ``of_base``: the names in the base, if that is a model of the same architecture; else empty.
    """
    if any(isinstance(config.get(field), Mapping) for field in _LARGER):
        return  # such names differ between versions of transformers, and engines know all of them
    prefixes, usual = _prefixes(names), _prefixes(of_base)
    unusual = next((prefix for prefix in prefixes if _OF_A_PART.search(prefix)), None)
    if unusual is None and usual and prefixes.isdisjoint(usual | {_USUAL}):
        unusual = next(iter(sorted(prefixes)), None)
    if unusual is None:
        return
    others = f"those of the base with {min(usual)}layers" if usual else f"those of text models with {_USUAL}layers"
    raise ArtifactError(
        f"{reference}: the names of its layers begin with {unusual}layers, and {others}: engines for "
        f"{_architecture(config)} look for other names, and stop or fill the layers at random",
        hint="save the whole model as its architecture has it (AutoModelForCausalLM, save_pretrained)",
    )


def _fits(size: int, expected: int, rule: _Rule) -> bool:
    return size == expected or (rule.multiple and size % expected == 0)


def _prefixes(names: Collection[str]) -> set[str]:
    return {match["prefix"] for name in names if (match := _LAYER_PREFIX.match(name))}


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return ", ".join(map(str, named))[:100] if isinstance(named, list) and named else "this model"


def _count(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
