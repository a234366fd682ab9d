"""Files that must not be in a snapshot: code, weights in unsafe or unsupported formats, and disguised files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftgate.artifacts.refused_names import SAFE_HINT, is_refused, refuse_names
from ftgate.artifacts.snapshot import Snapshot
from ftgate.errors import ArtifactError, Problems
from ftgate.models.declared_format import require_declared_format
from ftgate.models.file_types import unsafe_kind

_UNSAFE_KEYS = {
    "auto_map": (
        "loads code from the snapshot",
        "remove it and use an architecture the engine supports; ftgate never trusts remote code",
    ),
    "speculators_config": (
        "makes engines run another model",
        "submit the model that answers, without its draft model",
    ),
}
"""Keys, anywhere in a JSON file, that make engines load something other than the weights beside it."""
_IMPLEMENTATION_KEYS = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
"""Keys that select an implementation: the library's own, or a hub repository whose code is then run."""
_HUB_CODE = ("loads code from a hub", "remove it: the engine has its own implementation")
_MAX_DEPTH = 8
"""Levels of JSON to search: no library reads these keys from deeper levels."""


def refuse_unsafe(snapshot: Snapshot) -> None:
    """Raise ArtifactError for code, references to remote code, unsupported weight formats, and disguised files.

    Files are judged by name, and by content where the name says nothing. Of a headers-only file just the beginning is
    checked.
    """
    problems = Problems()
    with problems.noted():
        refuse_names(snapshot.files, snapshot.reference)
    for name in snapshot.files:
        with problems.noted():
            _refuse_content(snapshot, name)
    problems.raise_any()


def _refuse_content(snapshot: Snapshot, name: str) -> None:
    where = f"{snapshot.reference}: {name}"
    if is_refused(name):
        return  # already refused by name
    kind = unsafe_kind(snapshot.path / name)
    if kind is not None:
        raise ArtifactError(f"{where}: {kind} by its content, which can run or hide code", hint=SAFE_HINT)
    if name not in snapshot.headers_only:
        _refuse_unsafe_keys(where, require_declared_format(snapshot.path / name, where))


def _refuse_unsafe_keys(where: str, value: Any) -> None:
    unsafe = _first_unsafe_key(value)
    if unsafe is not None:
        key, (problem, hint) = unsafe
        raise ArtifactError(f"{where}: {key} {problem}", hint=hint)


def _first_unsafe_key(value: Any, path: str = "", depth: int = 0) -> tuple[str, tuple[str, str]] | None:
    """The path of the first key that loads something else, and (problem, hint). None if there is none."""
    if depth > _MAX_DEPTH or not isinstance(value, Mapping | list):
        return None
    for name, child in value.items() if isinstance(value, Mapping) else enumerate(value):
        key_path = f"{path}.{name}" if path else str(name)
        if name in _UNSAFE_KEYS and child and type(child) not in (int, float):  # not a token id in a vocabulary
            return key_path, _UNSAFE_KEYS[name]
        if name in _IMPLEMENTATION_KEYS and any("/" in part for part in _as_texts(child)):
            return key_path, _HUB_CODE
        unsafe = _first_unsafe_key(child, key_path, depth + 1)
        if unsafe is not None:
            return unsafe
    return None


def _as_texts(value: Any) -> list[str]:
    return [str(part) for part in (value.values() if isinstance(value, Mapping) else [value])]
