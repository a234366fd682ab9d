"""The names of an adapter's tensors as peft writes them, from the names that other ways of saving leave there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ftgate.errors import ArtifactError
from ftgate.models.safetensors_header import Tensor

_WRAPPERS = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch.compile, FSDP and activation checkpointing put into the name of a module."""
_ADAPTER_NAME = re.compile(
    r"(\.(?:lora_[AB]|lora_magnitude_vector|modules_to_save|token_adapter\.trainable_tokens_delta)|"
    r"\.lora_embedding_[AB])\.default(?=\.|$)"
)
"""The name of the adapter itself, which peft leaves out when it saves, and a plain state_dict keeps."""


def usual_name(name: str) -> str:
    """``name`` without wrappers and without the adapter's own name."""
    return _ADAPTER_NAME.sub(r"\1", _WRAPPERS.sub("", name))


def is_wrapped(name: str) -> bool:
    """Whether a wrapper's name is part of ``name``."""
    return bool(_WRAPPERS.search(name))


def by_usual_name(tensors: Mapping[str, Tensor], reference: str) -> dict[str, Tensor]:
    """The tensors by their usual names. Raises ArtifactError if two have the same."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        usual = usual_name(name)
        if usual in named:
            raise ArtifactError(
                f"{reference}: {named[usual].name} and {name} are both {usual}",
                hint="save the adapter with peft (save_pretrained), without a wrapper around the model",
            )
        named[usual] = tensor
    return named
