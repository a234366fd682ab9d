"""File names that no snapshot may hold, checked before anything is downloaded."""

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
    ".h5": "HDF5 (Keras)",
    ".keras": "Keras",
    ".msgpack": "MessagePack (Flax)",
    ".ot": "rust-bert",
    ".mlmodel": "Core ML",
    ".pte": "ExecuTorch",
    ".engine": "TensorRT",
    ".plan": "TensorRT",
}
"""Weight formats that ftgate does not evaluate, by file suffix."""
_OR_SKIP = "; to ignore it for good, name it in artifacts.skip of the policy"
_SAFETENSORS_ONLY = f"convert it after approval and publish it elsewhere: ftgate evaluates safetensors only{_OR_SKIP}"
SAFE_HINT = f"keep safetensors only: save with safe_serialization=True and remove this file{_OR_SKIP}"


def is_refused(name: str) -> bool:
    """Whether a file is refused by its name: code, pickled weights, or weights in an unsupported format."""
    return Path(name).suffix.lower() in (*_CODE, *_PICKLES, *_OTHER_WEIGHTS)


def refuse_names(names: Iterable[str], reference: str) -> None:
    """Raise ArtifactError for every file name that means code, pickled weights, or an unsupported format."""
    problems = Problems()
    for name in names:
        where, suffix = f"{reference}: {name}", Path(name).suffix.lower()
        if suffix in _CODE:
            fix = "ftgate never runs code from a snapshot: remove the file; use an architecture the engine supports"
            problems.found.append(ArtifactError(f"{where}: code in a model snapshot", hint=fix + _OR_SKIP))
        if suffix in _PICKLES:
            problems.found.append(ArtifactError(f"{where}: this format can run code when loaded", hint=SAFE_HINT))
        if suffix in _OTHER_WEIGHTS:
            kind = f"{_OTHER_WEIGHTS[suffix]} found; only safetensors is supported"
            problems.found.append(ArtifactError(f"{where}: {kind}", hint=_SAFETENSORS_ONLY))
    problems.raise_any()
