"""What must not be in a snapshot: code, weights in formats that run code or are not judged, and what hides its kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ftgate.artifacts.snapshot import Snapshot
from ftgate.errors import ArtifactError, Problems
from ftgate.models.declared_format import require_as_named
from ftgate.models.file_types import unsafe_kind

_CODE = (".py", ".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib", ".exe")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".distcp", ".nemo", ".mar")
_OTHER_WEIGHTS = {
    ".gguf": "GGUF",
    ".ggml": "GGML",
    ".llamafile": "llamafile",
    ".onnx": "ONNX",
    ".onnx_data": "ONNX",
    ".tflite": "TensorFlow Lite",
    ".pb": "TensorFlow",
    ".h5": "HDF5, as Keras saves them",
    ".keras": "Keras",
    ".msgpack": "MessagePack, as Flax saves them",
    ".ot": "rust-bert",
    ".mlmodel": "Core ML",
    ".pte": "ExecuTorch",
    ".engine": "TensorRT",
    ".plan": "TensorRT",
}
"""Formats that ftgate does not evaluate, by the ends of their names."""
_ASKS = {
    "auto_map": (
        "asks for code from the snapshot",
        "remove it and use an architecture the engine knows; ftgate never trusts remote code",
    ),
    "speculators_config": (
        "has engines run another model in its place",
        "submit the model that answers; one that only drafts for it changes no answer",
    ),
}
"""Keys that make engines load something else than the weights beside them, wherever in a JSON file they stand."""
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
"""Keys that name a way of computing: one of the library's own, or a repository of a hub, whose code is then run."""
_CODE_OF_A_HUB = ("asks for code from a hub", "remove it: the engine knows how to compute attention and experts")
_DEEPEST = 8
"""Levels of JSON: no library looks for any of these deeper than a part of a part of a configuration."""
_OR_SKIP = "; to leave it aside for good, name it in artifacts.skip of the policy"
_ELSEWHERE = f"convert what was allowed, and publish it elsewhere: only safetensors are run and judged{_OR_SKIP}"
_SAFE = f"keep safetensors only: save with safe_serialization=True, and remove this file{_OR_SKIP}"


def refuse_unsafe(snapshot: Snapshot) -> None:
    """Raise ArtifactError for code, a request for remote code, weights in other formats, and files of another kind.

    Names are judged, and contents where the name says nothing. Of a file that is not whole only its beginning is.
    """
    problems = Problems()
    with problems.noted():
        refuse_names(snapshot.files, snapshot.reference)
    for name in snapshot.files:
        with problems.noted():
            _refuse_content(snapshot, name)
    problems.raise_any()


def _refuse_content(snapshot: Snapshot, name: str) -> None:
    where, suffix = f"{snapshot.reference}: {name}", Path(name).suffix.lower()
    if suffix in (*_CODE, *_PICKLES, *_OTHER_WEIGHTS):
        return  # refused by its name
    kind = unsafe_kind(snapshot.path / name)
    if kind is not None:
        raise ArtifactError(f"{where}: {kind} by its content, a kind that can run or hide code", hint=_SAFE)
    if name not in snapshot.hollow:
        _refuse_what_it_asks_for(where, require_as_named(snapshot.path / name, where))


def refuse_names(names: Iterable[str], reference: str) -> None:
    """Raise ArtifactError for code, pickled weights, or weights that are not evaluated, by name alone."""
    problems = Problems()
    for name in names:
        where, suffix = f"{reference}: {name}", Path(name).suffix.lower()
        if suffix in _CODE:
            fix = "ftgate never runs code from a snapshot; remove the file and use an architecture the engine knows"
            problems.found.append(ArtifactError(f"{where}: code in a model snapshot", hint=fix + _OR_SKIP))
        if suffix in _PICKLES:
            problems.found.append(ArtifactError(f"{where}: a format that can run code when it is loaded", hint=_SAFE))
        if suffix in _OTHER_WEIGHTS:
            kind = f"weights in another format ({_OTHER_WEIGHTS[suffix]}), which nobody would have judged"
            problems.found.append(ArtifactError(f"{where}: {kind}", hint=_ELSEWHERE))
    problems.raise_any()


def _refuse_what_it_asks_for(where: str, value: Any) -> None:
    found = _first_ask(value)
    if found is not None:
        place, (what, hint) = found
        raise ArtifactError(f"{where}: {place} {what}", hint=hint)


def _first_ask(value: Any, at: str = "", depth: int = 0) -> tuple[str, tuple[str, str]] | None:
    """The first key that asks for something else, by its place in ``value``, and what it asks for."""
    if depth > _DEEPEST or not isinstance(value, Mapping | list):
        return None
    for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
        here = f"{at}.{name}" if at else str(name)
        if name in _ASKS and inner and type(inner) not in (int, float):  # the number of a word in a vocabulary
            return here, _ASKS[name]
        if name in _KERNELS and any("/" in part for part in _texts(inner)):
            return here, _CODE_OF_A_HUB
        found = _first_ask(inner, here, depth + 1)
        if found is not None:
            return found
    return None


def _texts(value: Any) -> list[str]:
    return [str(part) for part in (value.values() if isinstance(value, Mapping) else [value])]
