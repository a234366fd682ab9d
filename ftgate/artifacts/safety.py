"""What must not be in a snapshot: code, and weights in formats that can run code when they are loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftgate.artifacts.digest import Snapshot
from ftgate.errors import ArtifactError

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack")
_HARMLESS = frozenset({"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"})
"""What trainers leave beside the weights; engines never read these, but nobody should ship them either."""
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def refuse_unsafe(snapshot: Snapshot) -> None:
    """Raise ArtifactError for Python files, remote code, or pickled weights by name or by content."""
    for name in snapshot.files:
        if name.endswith((".py", ".pyc", ".so", ".pyd")):
            raise ArtifactError(
                f"{snapshot.reference}: {name}: code in a model snapshot",
                hint="ftgate never runs code from a snapshot; remove the file and use an architecture the engine knows",
            )
        if name.endswith(_PICKLE_SUFFIXES):
            trainer = " (left by the trainer)" if Path(name).name in _HARMLESS else ""
            raise ArtifactError(
                f"{snapshot.reference}: {name}{trainer}: a format that can run code when it is loaded",
                hint="keep safetensors only: save with safe_serialization=True, and remove this file",
            )
        if not name.endswith((".safetensors", ".json", ".txt", ".md", ".jinja")):
            _sniff(snapshot, name)
        if name.endswith(".json"):
            _refuse_remote_code(snapshot, name)


def read_json(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """A JSON object of the snapshot. Raises ArtifactError when it is missing or is none."""
    try:
        value = json.loads((snapshot.path / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{snapshot.reference}: {name} is missing", hint="the snapshot is incomplete") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ArtifactError(f"{snapshot.reference}: {name}: not valid JSON: {error}", hint="save it again") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{snapshot.reference}: {name}: expected an object", hint="save it again")
    return value


def _sniff(snapshot: Snapshot, name: str) -> None:
    """A pickle or a zipped torch file under another name."""
    with (snapshot.path / name).open("rb") as file:
        start = file.read(4)
    if start.startswith(_ZIP) or (start.startswith(_PICKLE) and len(start) > 1 and start[1] in (2, 3, 4, 5)):
        raise ArtifactError(
            f"{snapshot.reference}: {name}: a pickle or a zip archive by its content",
            hint="keep safetensors only, and remove this file",
        )


def _refuse_remote_code(snapshot: Snapshot, name: str) -> None:
    if snapshot.files[name].size > 50 * 1024 * 1024:
        return
    try:
        value = json.loads((snapshot.path / name).read_bytes())
    except (ValueError, RecursionError):
        return
    where = _find_key(value, "auto_map")
    if where is not None:
        raise ArtifactError(
            f"{snapshot.reference}: {name}: {where} asks for code from the snapshot",
            hint="remove it and use an architecture the engine knows; ftgate never trusts remote code",
        )


def _find_key(value: Any, key: str, at: str = "", depth: int = 0) -> str | None:
    if depth > 8 or not isinstance(value, Mapping):
        return None
    for name, inner in value.items():
        here = f"{at}.{name}" if at else str(name)
        if name == key:
            return here
        found = _find_key(inner, key, here, depth + 1)
        if found is not None:
            return found
    return None
