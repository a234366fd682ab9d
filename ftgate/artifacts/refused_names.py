"""File names that no snapshot may hold: known before a byte of them is fetched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ftgate.errors import ArtifactError, Problems

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
_OR_SKIP = "; to leave it aside for good, name it in artifacts.skip of the policy"
_ELSEWHERE = f"convert what was allowed, and publish it elsewhere: only safetensors are run and judged{_OR_SKIP}"
SAFE_HINT = f"keep safetensors only: save with safe_serialization=True, and remove this file{_OR_SKIP}"


def is_refused(name: str) -> bool:
    """Whether a file is refused by its name alone: code, pickled weights, or weights in a format that is not run."""
    return Path(name).suffix.lower() in (*_CODE, *_PICKLES, *_OTHER_WEIGHTS)


def refuse_names(names: Iterable[str], reference: str) -> None:
    """Raise ArtifactError for code, pickled weights, or weights that are not evaluated, by name alone."""
    problems = Problems()
    for name in names:
        where, suffix = f"{reference}: {name}", Path(name).suffix.lower()
        if suffix in _CODE:
            fix = "ftgate never runs code from a snapshot; remove the file and use an architecture the engine knows"
            problems.found.append(ArtifactError(f"{where}: code in a model snapshot", hint=fix + _OR_SKIP))
        if suffix in _PICKLES:
            problems.found.append(
                ArtifactError(f"{where}: a format that can run code when it is loaded", hint=SAFE_HINT)
            )
        if suffix in _OTHER_WEIGHTS:
            kind = f"weights in another format ({_OTHER_WEIGHTS[suffix]}), which nobody would have judged"
            problems.found.append(ArtifactError(f"{where}: {kind}", hint=_ELSEWHERE))
    problems.raise_any()
