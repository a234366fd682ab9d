"""Folders with a model: full weights or an adapter, and what keeps one from being used. Reads headers, no weights."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ftgate.artifacts.headers_only import ADAPTER
from ftgate.errors import ArtifactError, Problems
from ftgate.models.adapter_change import require_change
from ftgate.models.adapter_config import check_config, read_contents
from ftgate.models.base_match import check_fits_base
from ftgate.models.complete import require_all_layers, require_vocabulary
from ftgate.models.declared_shapes import require_declared_shapes
from ftgate.models.dimensions import Dimensions, quantisation_of, read_dimensions
from ftgate.models.open import require_one_kind
from ftgate.models.tensor_names import by_usual_name
from ftgate.models.weights import INDEX, SINGLE, adapter_weights, full_weights, read_json

CONFIG, ADAPTER_CONFIG, ENCODER = "config.json", "adapter_config.json", "modules.json"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin", "*.gguf")
"""Files that only a model's folder has."""
_OF_A_MODEL = ("model_type", "architectures")
"""Fields of a model's config.json, which other programs' files of that name do not have."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with full weights or an adapter. ``trained_on``: what the adapter calls its base, empty if nothing.

    ``size``: bytes of its safetensors files. ``changed``: when its configuration was written, in seconds. ``fault``:
    why it cannot be used, empty if nothing is known against it.
    """

    path: Path
    kind: Literal["full", "adapter"]
    size: int = 0
    rank: int = 0
    trained_on: str = ""
    changed: float = 0.0
    fault: str = ""

    @property
    def in_words(self) -> str:
        """What is in the folder, in one line."""
        if self.fault:
            return f"cannot be used: {self.fault}"
        if self.kind == "full":
            return "full weights"
        rank = f", rank {self.rank}" if self.rank else ""
        return f"adapter{rank}" + (f", trained on {self.trained_on}" if self.trained_on else "")

    @property
    def dimensions(self) -> Dimensions | None:
        """Its dimensions, if they can be read."""
        with suppress(ArtifactError):
            return read_dimensions(self.path, str(self.path))
        return None


def read_model_folder(folder: Path) -> ModelFolder | None:
    """The model in ``folder``, whole or broken; None if there is neither an adapter nor full weights."""
    weights = [path.name for pattern in _WEIGHTS for path in sorted(folder.glob(pattern)) if path.is_file()]
    config = _config(folder, CONFIG)
    is_model = any(name in config for name in _OF_A_MODEL)
    if (folder / ENCODER).is_file():
        return None
    if (folder / ADAPTER_CONFIG).is_file() or (
        not is_model and any(name.startswith("adapter_model") for name in weights)
    ):
        return _read_adapter(folder)
    if not weights and not is_model:
        return None
    size = sum((folder / name).stat().st_size for name in weights if name.endswith(".safetensors"))
    changed = (folder / CONFIG).stat().st_mtime if (folder / CONFIG).is_file() else 0.0
    return ModelFolder(folder, "full", size, changed=changed, fault=_fault(folder, "full"))


def _read_adapter(folder: Path) -> ModelFolder:
    config = _config(folder, ADAPTER_CONFIG)
    rank, trained_on = config.get("r"), config.get("base_model_name_or_path")
    return ModelFolder(
        folder,
        "adapter",
        (folder / ADAPTER).stat().st_size if (folder / ADAPTER).is_file() else 0,
        rank if type(rank) is int else 0,
        trained_on if isinstance(trained_on, str) else "",
        (folder / ADAPTER_CONFIG).stat().st_mtime if (folder / ADAPTER_CONFIG).is_file() else 0.0,
        _fault(folder, "adapter"),
    )


def _config(folder: Path, name: str) -> dict[str, Any]:
    with suppress(ArtifactError):
        return read_json(folder, name, str(folder))
    return {}


def misfit(model: ModelFolder, base: ModelFolder) -> str:
    """Why the headers of ``model`` cannot be those of a model trained from ``base``; empty if nothing says so."""
    reference = str(model.path)
    try:
        if model.kind == "adapter":
            config = read_json(model.path, ADAPTER_CONFIG, reference)
            contents, _ = read_contents(
                by_usual_name(adapter_weights(model.path, reference), reference), config, reference
            )
            of_base, transposed = full_weights(base.path, str(base.path)), bool(config.get("fan_in_fan_out"))
            check_fits_base(contents, of_base, reference, str(base.path), transposed=transposed)
        else:
            config, tensors = read_json(model.path, CONFIG, reference), full_weights(model.path, reference)
            if not quantisation_of(config):
                require_all_layers(tensors, config, reference)
                require_vocabulary(tensors, config, reference)
                require_declared_shapes(tensors, config, reference)
    except ArtifactError as error:
        return error.message.removeprefix(f"{reference}: ")
    return ""


def _fault(folder: Path, kind: Literal["full", "adapter"]) -> str:
    """The first thing that `ftgate check` would refuse in the configuration or in the headers of the weights.

    Of an adapter also that it was not trained; of one that was, reading stops at the first number that is not 0.
    """
    problems, reference = Problems(), str(folder)
    with problems.noted():
        config = read_json(folder, ADAPTER_CONFIG if kind == "adapter" else CONFIG, reference)
        if kind == "adapter":
            check_config(config, f"{reference}: {ADAPTER_CONFIG}")
            require_one_kind(reference, [name for name in (SINGLE, INDEX) if (folder / name).is_file()])
    with problems.noted():
        tensors = (adapter_weights if kind == "adapter" else full_weights)(folder, reference)
        if kind == "adapter" and not problems.found:
            contents, _ = read_contents(by_usual_name(tensors, reference), config, reference)
            require_change(contents, config, reference)
    return problems.found[0].message.removeprefix(f"{reference}: ") if problems.found else ""
