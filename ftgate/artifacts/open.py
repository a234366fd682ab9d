"""From a pinned folder to a model that an engine may load. Reads configuration and headers, never weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ftgate.artifacts.adapter import check_adapter, check_fits_base, check_not_zero
from ftgate.artifacts.digest import Snapshot
from ftgate.artifacts.safetensors_header import Tensor, read_tensors
from ftgate.artifacts.safetensors_header import require_finite as _require_finite
from ftgate.artifacts.safety import read_json, refuse_unsafe
from ftgate.domain import Model
from ftgate.errors import ArtifactError

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")


def open_model(name: str, snapshot: Snapshot, base: Model | None) -> Model:
    """The model in ``snapshot``: an adapter on ``base`` if it has adapter_config.json, full weights otherwise.

    Raises ArtifactError when it is unsafe, incomplete, of a kind that the engine cannot run, or does not fit ``base``.
    """
    refuse_unsafe(snapshot)
    if "adapter_config.json" in snapshot.files:
        return _open_adapter(name, snapshot, base)
    if "config.json" not in snapshot.files:
        found = ", ".join(sorted(snapshot.files)[:8])
        raise ArtifactError(
            f"{snapshot.reference}: neither config.json nor adapter_config.json (found: {found})",
            hint="name the folder that directly holds the model's files",
        )
    return _open_full(name, snapshot)


def require_finite(model: Model) -> None:
    """Scan every weight of ``model`` for NaN and infinity. Raises ControlError naming the first tensor with one."""
    _require_finite(_tensors(model), model.reference or str(model.path))


def _open_full(name: str, snapshot: Snapshot) -> Model:
    config = read_json(snapshot, "config.json")
    tensors = read_tensors(snapshot.path, snapshot.files, snapshot.reference)
    if not tensors:
        raise ArtifactError(
            f"{snapshot.reference}: full weights without a .safetensors file",
            hint="save the model with safe_serialization=True",
        )
    if not any(f in snapshot.files for f in _TOKENIZERS):
        raise ArtifactError(
            f"{snapshot.reference}: no tokenizer ({', '.join(_TOKENIZERS)})",
            hint="save the tokenizer into the model's folder",
        )
    if not _has_chat_template(snapshot):
        raise ArtifactError(
            f"{snapshot.reference}: the tokenizer has no chat template",
            hint="save the template that the model was tuned with: tokenizer_config.json or chat_template.jinja",
        )
    facts = {
        "architecture": (config.get("architectures") or ["unknown"])[0],
        "parameters": sum(math.prod(t.shape) for t in tensors.values()),
    }
    return Model(name, snapshot.path, snapshot.digest, reference=snapshot.reference, facts=facts)


def _open_adapter(name: str, snapshot: Snapshot, base: Model | None) -> Model:
    if base is None:
        raise ArtifactError(
            f"{snapshot.reference}: an adapter cannot be {name}: it needs a base under it",
            hint="name full weights; merge the adapter first if need be",
        )
    config = read_json(snapshot, "adapter_config.json")
    tensors = read_tensors(snapshot.path, snapshot.files, snapshot.reference)
    rank = check_adapter(snapshot, config, tensors)
    check_fits_base(snapshot, tensors, _tensors(base), base.reference)
    check_not_zero(snapshot, tensors)
    targets = config.get("target_modules")
    facts = {
        "rank": rank,
        "alpha": config.get("lora_alpha"),
        "targets": sorted(targets) if isinstance(targets, list) else targets,
        "parameters": sum(math.prod(t.shape) for t in tensors.values()),
    }
    return Model(
        name,
        snapshot.path,
        snapshot.digest,
        kind="adapter",
        base=base,
        lora_rank=rank,
        reference=snapshot.reference,
        facts=facts,
    )


def _tensors(model: Model) -> Mapping[str, Tensor]:
    names = {path.name: None for path in model.path.iterdir()}
    return read_tensors(model.path, names, model.reference)


def _has_chat_template(snapshot: Snapshot) -> bool:
    if "chat_template.jinja" in snapshot.files or "chat_template.json" in snapshot.files:
        return True
    if "tokenizer_config.json" not in snapshot.files:
        return False
    settings: dict[str, Any] = read_json(snapshot, "tokenizer_config.json")
    return bool(settings.get("chat_template"))
