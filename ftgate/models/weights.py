"""The weight files of a snapshot: one safetensors file, or the shards listed in an index."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ftgate.artifacts.headers_only import ADAPTER
from ftgate.errors import ArtifactError
from ftgate.models.declared_format import require_declared_format
from ftgate.models.safetensors_header import Tensor, read_header

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_json(folder: Path, name: str, reference: str) -> dict[str, Any]:
    """A JSON object of a snapshot. Raises ArtifactError if it is missing or not an object."""
    try:
        value = require_declared_format(folder / name, f"{reference}: {name}")
    except FileNotFoundError:
        raise ArtifactError(f"{reference}: {name} is missing", hint="the snapshot is incomplete") from None
    except OSError as error:
        raise ArtifactError(
            f"{reference}: {name}: cannot be read: {error.strerror}", hint="check its permissions"
        ) from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{reference}: {name}: expected an object", hint="save it again")
    return value


def full_weights(folder: Path, reference: str) -> dict[str, Tensor]:
    """The tensors of full weights by name. Raises ArtifactError if there are none, or if the choice is ambiguous."""
    index, single = (folder / INDEX).exists(), (folder / SINGLE).exists()
    if index and single:
        raise ArtifactError(
            f"{reference}: both {SINGLE} and {INDEX}: engines disagree on which one to load",
            hint="remove the wrong one",
        )
    if index:
        return _sharded_weights(folder, reference)
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    if single and len(files) == 1:
        return read_header(folder / SINGLE, f"{reference}: {SINGLE}")
    if single:
        raise ArtifactError(
            f"{reference}: {', '.join(files[:5])} without an index: engines disagree on which one to load",
            hint=f"keep only {SINGLE}, or name the others in artifacts.skip of the policy",
        )
    raise ArtifactError(
        f"{reference}: full weights without {SINGLE} or {INDEX}"
        + (f" (found: {', '.join(files[:5])})" if files else ""),
        hint="save the model with save_pretrained(folder, safe_serialization=True)",
    )


def adapter_weights(folder: Path, reference: str) -> dict[str, Tensor]:
    """The tensors of an adapter by name."""
    if not (folder / ADAPTER).exists():
        raise ArtifactError(
            f"{reference}: an adapter without safetensors weights ({ADAPTER})",
            hint="save it with save_pretrained(folder, safe_serialization=True)",
        )
    return read_header(folder / ADAPTER, f"{reference}: {ADAPTER}")


def _sharded_weights(folder: Path, reference: str) -> dict[str, Tensor]:
    """All tensors of the shards in the index. Raises ArtifactError if index and shards disagree."""
    where, hint = f"{reference}: {INDEX}", "save the model again"
    weight_map = read_json(folder, INDEX, reference).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ArtifactError(f"{where}: weight_map is missing or empty", hint=hint)
    tensors: dict[str, Tensor] = {}
    shards = _shard_names(where, weight_map.values())
    unlisted = sorted({path.name for path in folder.glob("*.safetensors")} - set(shards))
    if unlisted:
        raise ArtifactError(
            f"{where}: {', '.join(unlisted[:5])} not listed: engines disagree on which weights to load",
            hint="remove unlisted files, or name them in artifacts.skip of the policy",
        )
    for shard in shards:
        if not (folder / shard).exists():
            raise ArtifactError(f"{where}: {shard} is listed but missing", hint="download the missing shard")
        for name, tensor in read_header(folder / shard, f"{reference}: {shard}").items():
            if name in tensors:
                raise ArtifactError(
                    f"{reference}: tensor {name} is in {tensors[name].file.name} and in {shard}", hint=hint
                )
            tensors[name] = tensor
    for name, shard in weight_map.items():
        if name not in tensors or tensors[name].file.name != shard:
            raise ArtifactError(f"{where}: tensor {name} is listed in {shard} but is not there", hint=hint)
    return tensors


def _shard_names(where: str, names: Collection[Any]) -> list[str]:
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise ArtifactError(
                f"{where}: {name!a} is not the name of a safetensors file in its folder", hint="save the model again"
            )
    return sorted(set(names))
