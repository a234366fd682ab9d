"""Whether full weights have every tensor that the model needs. Engines fill what is missing at random."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ftgate.errors import ArtifactError
from ftgate.models.safetensors_header import Tensor

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:embed_tokens|wte)\.weight\Z")
_TIED = ("lm_head.weight",)
"""Not stored where the output layer is the embedding."""


def require_all_layers(names: Collection[str], config: Mapping[str, Any], reference: str) -> None:
    """Raise ArtifactError if config.json counts more layers than the weights have."""
    counted, stored = _layers(config), {int(layer[1]) for name in names if (layer := _LAYER.search(name))}
    if stored and counted is not None and (missing := sorted(set(range(counted)) - stored)):
        raise ArtifactError(
            f"{reference}: config.json says num_hidden_layers {counted}, and the weights have no layer "
            f"{', '.join(map(str, missing[:3]))}: an engine would fill it at random",
            hint="save model and config.json again, together",
        )


def require_vocabulary(tensors: Mapping[str, Tensor], config: Mapping[str, Any], reference: str) -> None:
    """Raise ArtifactError if the embedding has another number of rows than config.json says, or no output layer has.

    An output layer of its own is needed where config.json says that it is not the embedding.
    """
    rows = config.get("vocab_size")
    embeddings = [tensor for name, tensor in tensors.items() if _EMBEDDING.search(name)]
    if len(embeddings) != 1 or not isinstance(rows, int):
        return
    if embeddings[0].shape[0] != rows:
        raise ArtifactError(
            f"{reference}: config.json says vocab_size {rows}, and {embeddings[0].name} has "
            f"{embeddings[0].shape[0]} rows: no engine loads that",
            hint="save model and config.json again, together, after the vocabulary was resized",
        )
    of_that_size = [tensor for tensor in tensors.values() if tensor.shape[:1] == (rows,)]
    if config.get("tie_word_embeddings") is False and len(of_that_size) == 1:
        raise ArtifactError(
            f"{reference}: config.json says tie_word_embeddings false, and there is no output layer (lm_head): an "
            "engine would fill it at random",
            hint="save the model again, whole; or set tie_word_embeddings to true if it was trained so",
        )


def require_tensors_of_base(
    names: Collection[str], config: Mapping[str, Any], of_base: Collection[str], reference: str
) -> None:
    """Raise ArtifactError if a candidate lacks a tensor that its base, a model of the same architecture, has.

    Where less than half of the names are the same, the models are saved in different ways, which proves nothing.
    """
    counted = _layers(config)
    needed = {
        name
        for name in of_base
        if name not in _TIED
        and not (counted is not None and (layer := _LAYER.search(name)) and int(layer[1]) >= counted)
    }
    missing = sorted(needed - set(names))
    if missing and len(missing) <= len(needed) / 2:
        raise ArtifactError(
            f"{reference}: {len(missing)} tensors of the base are missing, the first is {missing[0]}: an engine would "
            "fill them at random",
            hint="save the model again, whole (save_pretrained); a merge or a shard may be unfinished",
        )


def _layers(config: Mapping[str, Any]) -> int | None:
    text = config.get("text_config")
    count = (text if isinstance(text, Mapping) else config).get("num_hidden_layers")
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 < count < 10_000 else None
