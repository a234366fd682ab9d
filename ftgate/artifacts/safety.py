"""What must not be in a snapshot: code, and weights in formats that can run code when they are loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ftgate.artifacts.digest import Snapshot
from ftgate.artifacts.sniffing import unsafe_kind
from ftgate.errors import ArtifactError, Problems

_CODE = (".py", ".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack")
_TRAINERS = frozenset({"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"})
"""What trainers leave beside the weights; engines never read these, but nobody should ship them either."""
_MOST_JSON = 50 * 1024 * 1024
_SAFE = "keep safetensors only: save with safe_serialization=True, and remove this file"


def refuse_unsafe(snapshot: Snapshot) -> None:
    """Raise ArtifactError for code, a request for remote code, or pickled weights by name or by content."""
    problems = Problems()
    with problems.noted():
        refuse_names(snapshot.files, snapshot.reference)
    for name in snapshot.files:
        with problems.noted():
            _refuse_content(snapshot, name)
    problems.raise_any()


def _refuse_content(snapshot: Snapshot, name: str) -> None:
    where, suffix = f"{snapshot.reference}: {name}", Path(name).suffix.lower()
    if suffix in (*_CODE, *_PICKLES):
        return  # refused by its name
    kind = unsafe_kind(snapshot.path / name)
    if kind is not None:
        raise ArtifactError(f"{where}: {kind} by its content, which can run code when it is loaded", hint=_SAFE)
    if suffix == ".json" and snapshot.files[name].size <= _MOST_JSON:
        _refuse_remote_code(where, snapshot.path / name)


def refuse_names(names: Iterable[str], reference: str, hint: str = "") -> None:
    """Raise ArtifactError for code or pickled weights by name alone; ``hint`` is added to what to do."""
    problems = Problems()
    for name in names:
        where, suffix = f"{reference}: {name}", Path(name).suffix.lower()
        if suffix in _CODE:
            fix = "ftgate never runs code from a snapshot; remove the file and use an architecture the engine knows"
            problems.found.append(ArtifactError(f"{where}: code in a model snapshot", hint=fix + hint))
        if suffix in _PICKLES:
            trainer = " (left by the trainer)" if Path(name).name in _TRAINERS else ""
            reason = f"{where}{trainer}: a format that can run code when it is loaded"
            problems.found.append(ArtifactError(reason, hint=_SAFE + hint))
    problems.raise_any()


def _refuse_remote_code(where: str, path: Path) -> None:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return  # whoever needs this file says so when reading it
    key = _find_key(value, "auto_map")
    if key is not None:
        raise ArtifactError(
            f"{where}: {key} asks for code from the snapshot",
            hint="remove it and use an architecture the engine knows; ftgate never trusts remote code",
        )


def _find_key(value: Any, key: str, at: str = "", depth: int = 0) -> str | None:
    if depth > 8 or not isinstance(value, Mapping | list):
        return None
    for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
        here = f"{at}.{name}" if at else str(name)
        if name == key and inner:
            return here
        found = _find_key(inner, key, here, depth + 1)
        if found is not None:
            return found
    return None
