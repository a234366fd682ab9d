"""Finding the weights of a snapshot: one safetensors file, or the shards that an index names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ftgate.artifacts.headers_only import ADAPTER
from ftgate.errors import ArtifactError
from ftgate.models.declared_format import require_as_named
from ftgate.models.safetensors_header import Tensor, read_header

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_json(folder: Path, name: str, reference: str) -> dict[str, Any]:
    """A JSON object of a snapshot. Raises ArtifactError when it is missing or is none."""
    try:
        value = require_as_named(folder / name, f"{reference}: {name}")
    except FileNotFoundError:
        raise ArtifactError(f"{reference}: {name} is missing", hint="the snapshot is incomplete") from None
    except OSError as error:
        raise ArtifactError(f"{reference}: {name}: cannot be read: {error.strerror}", hint="check it") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{reference}: {name}: expected an object", hint="save it again")
    return value


def full_weights(folder: Path, reference: str) -> dict[str, Tensor]:
    """The tensors of full weights by name. Raises ArtifactError when there are none, or engines could disagree."""
    index, single = (folder / INDEX).exists(), (folder / SINGLE).exists()
    if index and single:
        raise ArtifactError(
            f"{reference}: both {SINGLE} and {INDEX}: engines disagree on which of them to load",
            hint="remove the one that is not meant",
        )
    if index:
        return _sharded(folder, reference)
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if single and len(found) == 1:
        return read_header(folder / SINGLE, f"{reference}: {SINGLE}")
    if single:
        raise ArtifactError(
            f"{reference}: {', '.join(found[:5])} without an index: engines disagree on which of them to load",
            hint=f"keep {SINGLE} alone, or name the others in artifacts.skip of the policy",
        )
    raise ArtifactError(
        f"{reference}: full weights without {SINGLE} or {INDEX}"
        + (f" (found: {', '.join(found[:5])})" if found else ""),
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


def _sharded(folder: Path, reference: str) -> dict[str, Tensor]:
    """All tensors of the shards that the index names; the index must agree with what the shards hold."""
    where, again = f"{reference}: {INDEX}", "save the model again"
    places = read_json(folder, INDEX, reference).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ArtifactError(f"{where}: weight_map is missing or empty", hint=again)
    tensors: dict[str, Tensor] = {}
    shards = _shards(where, places.values())
    other = sorted({path.name for path in folder.glob("*.safetensors")} - set(shards))
    if other:
        raise ArtifactError(
            f"{where}: it does not name {', '.join(other[:5])}: engines disagree on which weights to load",
            hint="remove what is not meant, or name it in artifacts.skip of the policy",
        )
    for shard in shards:
        if not (folder / shard).exists():
            raise ArtifactError(f"{where}: it names {shard}, which is missing", hint="download the missing shard")
        for name, tensor in read_header(folder / shard, f"{reference}: {shard}").items():
            if name in tensors:
                raise ArtifactError(
                    f"{reference}: tensor {name} is in {tensors[name].file.name} and in {shard}", hint=again
                )
            tensors[name] = tensor
    for name, shard in places.items():
        if name not in tensors or tensors[name].file.name != shard:
            raise ArtifactError(f"{where}: it says that tensor {name} is in {shard}, which is not so", hint=again)
    return tensors


def _shards(where: str, names: Collection[Any]) -> list[str]:
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise ArtifactError(
                f"{where}: {name!a} is not the name of a safetensors file in its folder", hint="save the model again"
            )
    return sorted(set(names))
